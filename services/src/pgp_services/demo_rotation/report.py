"""What the demo found: the closing tables, and whether every promise was kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from rich.table import Table

from pgp_services.demo_rotation.traffic import OK, QUERY, WEBHOOK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from pgp_services.demo_rotation.traffic import Answer

#: How many processes serve.
PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """One rotation, or rollback; moments are monotonic seconds.

    Attributes:
        title: What was rotated, and how the processes heard of it.
        kind: The requests that use the secret.
        new: What they use from now on: a role, or the version of the key.
        ended: The exit code of the command.
        added: When the version was added, by Secret Manager's own word.
        verdict: When the command said that the old version is unread; None if it did not.
        disabled: When the old one was disabled, by Secret Manager's own word; None if it was not.
        released: When the process went on that was held back; None if none was.
        answers: All answers of the service that then ran.
        until: When the next version of the secret was added; infinity if none was.
        is_rollback: A rollback disables the version that it replaces at once.
    """

    title: str
    kind: str
    new: str
    ended: int
    added: float
    verdict: float | None
    disabled: float | None
    released: float | None
    answers: Sequence[Answer]
    until: float = inf
    is_rollback: bool = False

    def first_uses(self) -> dict[str, float]:
        """When each process used the new version for the first time."""
        uses: dict[str, float] = {}
        for answer in self._since():
            if answer.used == self.new:
                uses[answer.process] = min(answer.at, uses.get(answer.process, answer.at))
        return uses

    @property
    def last_uptake(self) -> float | None:
        """When the last of all processes did so; None if one did not."""
        uses = self.first_uses()
        return max(uses.values()) if len(uses) >= PROCESSES else None

    @property
    def last_old_use(self) -> float | None:
        """When the old version was used for the last time after the new one was there."""
        return max((a.at for a in self._since() if a.used != self.new), default=None)

    def _since(self) -> list[Answer]:
        return [
            a
            for a in self.answers
            if a.kind == self.kind and a.status == OK and self.added <= a.at < self.until
        ]

    def broken_promises(self) -> list[str]:
        """What was not as promised."""
        last, old, verdict = self.last_uptake, self.last_old_use, self.verdict
        proofs = [moment for moment in (verdict, self.disabled) if moment is not None]
        if self.is_rollback:
            proofs = proofs[:1]
        uses = [moment for moment in (last, old, self.released) if moment is not None]
        checks = {
            "the command ended with 0": self.ended == 0,
            f"{PROCESSES} processes took it up": last is not None,
            "the command gave its verdict": verdict is not None,
            "the old version was disabled": self.disabled is not None,
            "the verdict came after the last use of the old version": (
                not proofs or not uses or min(proofs) > max(uses)
            ),
        }
        return [f"{self.title}: {promise}" for promise, kept in checks.items() if not kept]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured.

    Attributes:
        turns: The rotations, in their order.
        compared: Those of them whose times are told side by side, by how the processes heard.
        answers: All answers of the service.
        seconds: How long it was under load.
        old_key_refused: How many processes refuse the old webhook key at the end.
        rolled_back: Whether the value that is served after the rollback is the one of before.
    """

    turns: Sequence[Turn]
    compared: Mapping[str, Turn]
    answers: Sequence[Answer]
    seconds: float
    old_key_refused: int
    rolled_back: bool

    def count(self, kind: str) -> int:
        """How many requests of a kind there were."""
        return sum(answer.kind == kind for answer in self.answers)

    def failed(self, kind: str) -> list[Answer]:
        """Those of a kind that were not answered with 200; all webhooks are valid."""
        return [a for a in self.answers if a.kind == kind and a.status != OK]

    def broken_promises(self) -> list[str]:
        """What was not as promised; empty if all is well."""
        checks = {
            "queries and webhooks were sent": bool(self.count(QUERY) and self.count(WEBHOOK)),
            "no query failed": not self.failed(QUERY),
            "no valid webhook was refused": not self.failed(WEBHOOK),
            "every process refuses the old webhook key now": self.old_key_refused == PROCESSES,
            "the rollback brought the former value back": self.rolled_back,
        }
        broken = [promise for promise, kept in checks.items() if not kept]
        return broken + [each for turn in self.turns for each in turn.broken_promises()]


def show(facts: Facts, console: Console) -> None:
    """Print the closing tables."""
    console.print(_moments(facts))
    table = Table(title="In all", show_header=False, title_justify="left")
    for label, text in _totals(facts):
        table.add_row(label, text)
    console.print(table)


def _moments(facts: Facts) -> Table:
    table = Table(
        title=f"Seconds from the new version to …; {PROCESSES} processes",
        title_justify="left",
    )
    table.add_column("", no_wrap=True)
    for heading in (
        "last\nuptake",
        "held back\nuntil",
        "last old\nuse",
        "“safe”",
        "old one\ndisabled",
    ):
        table.add_column(heading, justify="right")
    for turn in facts.turns:
        moments = (
            turn.last_uptake,
            turn.released,
            turn.last_old_use,
            turn.verdict,
            turn.disabled,
        )
        table.add_row(turn.title, *(_after(turn.added, moment) for moment in moments))
    return table


def _after(added: float, moment: float | None) -> str:
    return "-" if moment is None else f"{moment - added:.2f}"


def _totals(facts: Facts) -> Iterable[tuple[str, str]]:
    for way, turn in facts.compared.items():
        yield f"last uptake by {way}", f"{_after(turn.added, turn.last_uptake)} s"
    total = len(facts.answers)
    yield "requests", f"{total:,} in {facts.seconds:.0f} s ({total / facts.seconds:.0f} a second)"
    yield "queries", f"{facts.count(QUERY):,}, of which {_failures(facts.failed(QUERY))} failed"
    refused = _failures(facts.failed(WEBHOOK))
    yield "valid webhooks", f"{facts.count(WEBHOOK):,}, of which {refused} refused"
    yield "old webhook key", f"refused by {facts.old_key_refused} of {PROCESSES} processes"
    yield "rollback", "the former value is served" if facts.rolled_back else "FAILED"


def _failures(failed: Sequence[Answer]) -> str:
    statuses = sorted({answer.status for answer in failed})
    told = f" (status {', '.join(map(str, statuses))}; 0 is no answer)" if failed else ""
    return f"{len(failed):,}{told}"
