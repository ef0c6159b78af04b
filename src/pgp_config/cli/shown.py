"""How a rotation is shown: lines for people, or one JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pgp_config.cli.output import DONE, INTERRUPTED, UNFINISHED, Output
from pgp_config.cost import VERSION_PRICE
from pgp_config.rotation.look import in_words
from pgp_config.rotation.steps import Note
from pgp_config.uptake.verdict import REMEDIES, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config.errors import PgpConfigError
    from pgp_config.rotation.plan import Plan
    from pgp_config.rotation.steps import Outcome
    from pgp_config.uptake.verdict import Laggard

_ENDS = {
    "done": "Done.",
    "waiting": "Not yet safe: {old} may still be in use, and {stays}. Run again to go on.",
    "unknown": "Not known to be safe: {old} {stays}. Nobody has proved that {it} unread.",
    "restart": "Version {new} waits for restarts: {old} {stays}. Restart the processes, then run again.",
}

#: Where no version was enabled before: nothing is left to disable, and processes may go on with what they have.
_ENDS_OF_FIRST = {
    "waiting": "Not yet taken up: not every process has version {new}. Run again to go on.",
    "unknown": "Not known to be taken up: nobody has proved that a process uses version {new}.",
    "restart": "Version {new} waits for restarts. Restart the processes, then run again.",
}


class Shown:
    """What the command shows; never a value.

    Args:
        name: The secret's name.
        action: "rotate", "rollback" or "forget".
        as_json: Whether one JSON document is all there is to be on standard output.
    """

    def __init__(self, name: str, action: str, *, as_json: bool) -> None:
        self._output = Output(as_json=as_json)
        self._document: dict[str, Any] = {
            "secret": name,
            "action": action,
            "state": None,
            "old": None,
            "others": [],
            "new": None,
            "verdict": None,
            "plan": None,
            "steps": [],
            "error": None,
        }

    # -- on the way --------------------------------------------------------------------------

    def tell(self, told: str | Verdict) -> None:
        """Show a step, or a verdict that differs from the last one."""
        if isinstance(told, Verdict):
            self._show_verdict(told)
            return
        self._document["steps"].append(told)
        mark, style = ("! ", "yellow") if isinstance(told, Note) else ("✓ ", "green")
        self._line(told, mark=mark, style=style)

    def _show_verdict(self, verdict: Verdict) -> None:
        up = ", ".join(f"{count} of {service}" for service, count in verdict.up)
        if verdict.state == "safe":
            self._line(f"Taken up by {up}.", mark="✓ ", style="green")
            return
        if verdict.state == "unknown" and not verdict.missing:
            self._line("No process reports that it uses this secret.", mark="? ", style="yellow")
        if up and not verdict.waiting_for:
            self._line(f"Taken up by {up}.", mark="✓ ", style="green")
        for service in verdict.missing:
            self._line(f"No process of {service} reports.", mark="? ", style="yellow")
        if verdict.waiting_for:
            have = f"; taken up by {up}" if up else ""
            self._line(f"Waiting for {len(verdict.waiting_for)}{have}:", mark="… ", style="yellow")
        for laggard in verdict.waiting_for:
            self._line(f"    {_line_of(laggard)}")

    # -- the end -----------------------------------------------------------------------------

    def plan(self, plan: Plan) -> int:
        """Show what would be done."""
        cost = {
            "accesses": plan.accesses,
            "accesses_usd": plan.dollars,
            "versions_billed_now": plan.billed,
            "versions_added": plan.adds,
            "versions_usd_a_month": plan.dollars_a_month,
        }
        facts = asdict(plan)
        facts["audience"] = None if plan.audience is None else _counts(plan.audience)
        self._document |= {"plan": {**facts, "cost": cost}, "new": plan.new, "state": "planned"}
        for number, step in enumerate(plan.steps, 1):
            self._line(f"{number}. {step}")
        if not plan.steps:
            self._line("There is nothing to do.")
        if plan.resumes:
            self._line("This goes on with what was interrupted.")
        if plan.lacking:
            self._line(f"This identity lacks {', '.join(plan.lacking)}.", style="red")
        self._line(_audience_of(plan))
        accesses = "1 access" if plan.accesses == 1 else f"{plan.accesses} accesses"
        self._line(
            f"Costs: {accesses} at most (${plan.dollars:.6f}); {plan.billed + plan.adds} versions "
            f"${plan.dollars_a_month:.2f} a month (${plan.billed * VERSION_PRICE:.2f} now), also when disabled, until "
            "destroyed. The services' accesses stay what they are."
        )
        return self._output.end(self._document, DONE)

    def outcome(self, outcome: Outcome) -> int:
        """Show how far it came.

        Returns:
            The exit code.
        """
        old = None
        if outcome.old is not None:
            old = {"version": outcome.old, "state": outcome.old_state}
        verdict = outcome.verdict
        self._document |= {
            "state": outcome.state,
            "old": old,
            "others": [{"version": number, "state": state} for number, state in outcome.others],
            "new": outcome.new,
            "verdict": None if verdict is None else _facts_of(verdict),
        }
        done = outcome.state == "done"
        self._line(_end_of(outcome), style="bold green" if done else "bold yellow")
        return self._output.end(self._document, DONE if done else UNFINISHED)

    def failure(self, error: PgpConfigError) -> int:
        """Show why it stopped."""
        self._document["state"] = "failed"
        return self._output.fail(self._document, error)

    def interruption(self) -> int:
        """Say that it can be gone on with."""
        self._document["state"] = "interrupted"
        self._output.error(
            "Interrupted. Run the command again: it goes on from here.", style="yellow"
        )
        return self._output.end(self._document, INTERRUPTED)

    def _line(self, text: str, *, mark: str = "", style: str = "") -> None:
        self._output.line(text, mark=mark, style=style)


def _end_of(outcome: Outcome) -> str:
    replaced = dict(outcome.others)
    if outcome.old is not None:
        replaced[outcome.old] = str(outcome.old_state)
    old, many = in_words(sorted(replaced)) if replaced else "", len(replaced) > 1
    if outcome.state == "done" and outcome.new is not None:
        return f"Done: version {outcome.new} is served{_states_of(replaced)}."
    ends = _ENDS if replaced or outcome.state not in _ENDS_OF_FIRST else _ENDS_OF_FIRST
    return ends[outcome.state].format(
        old=old,
        new=outcome.new,
        stays="stay as they are" if many else "stays as it is",
        it="they are" if many else "it is",
    )


def _states_of(replaced: Mapping[int, str]) -> str:
    """Such as ", versions 5 and 6 are disabled": those of one state together."""
    text = ""
    for state in sorted(set(replaced.values())):
        numbers = sorted(number for number, each in replaced.items() if each == state)
        text += f", {in_words(numbers)} {'are' if len(numbers) > 1 else 'is'} {state}"
    return text


def _line_of(laggard: Laggard) -> str:
    held = ", ".join(map(str, laggard.in_use)) or "none"
    read = "" if laggard.read_ago is None else f", read {laggard.read_ago:.0f} s before"
    return (
        f"{laggard.service} {laggard.instance}: {laggard.reason}, has version {held}, heard "
        f"{laggard.heard_ago:.0f} s ago{read}. {REMEDIES[laggard.reason]}"
    )


def _audience_of(plan: Plan) -> str:
    if plan.audience is None:
        return "Who uses it is not known: give --uptake."
    if not plan.audience:
        return "No process reports that it uses it."
    return f"Used by {', '.join(f'{count} of {service}' for service, count in plan.audience)}."


def _counts(pairs: tuple[tuple[str, int], ...]) -> list[dict[str, object]]:
    return [{"service": service, "processes": count} for service, count in pairs]


def _facts_of(verdict: Verdict) -> dict[str, object]:
    return {
        "state": verdict.state,
        "up": _counts(verdict.up),
        "waiting_for": [asdict(laggard) for laggard in verdict.waiting_for],
        "missing": list(verdict.missing),
    }
