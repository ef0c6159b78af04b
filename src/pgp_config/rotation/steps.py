"""The steps of a rotation. Each looks at what is there, so that it can be interrupted and run again."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from pgp_config.errors import ChangedMeanwhile, RejectedVersion
from pgp_config.rotation.errors import RotationStopped
from pgp_config.rotation.look import (
    Look,
    in_words,
    look_at,
    rollback_of,
    rotation_begun,
    rotation_to_begin,
)
from pgp_config.rotation.mark import ANNOTATION, BACK, FORWARD, Mark, mark_of
from pgp_config.rotation.plan import Plan, plan_of_rollback, plan_of_rotation
from pgp_config.rotation.values import Value, refuse
from pgp_config.sources.administration import DISABLED, ENABLED
from pgp_config.uptake.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgp_config.rotation.values import Declaration
    from pgp_config.sources.administration import Administration
    from pgp_config.uptake.base import UptakeStore
    from pgp_config.uptake.entries import Heard

#: Seconds between two looks at the uptake store.
POLL = 1.0

#: Seconds from which on "safe" is believed: a process that was starting with the old version has reported by then (a
#: fetch takes 2 s at most, a report 2 s).
SETTLE = 10.0


_OVERLAP = "may still verify; --disable-old ends that."


class Note(str):
    """What is told and is no step that was made: something is left as it is, or is not known."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Options:
    """How a rotation waits.

    Attributes:
        expected: Services of which at least one process must report.
        timeout: Seconds to wait for the uptake at most, 0 or more.
        settle: Seconds before which "safe" is not believed, 0 or more.
        gone_after: Seconds without a report after which a process is taken to be gone.
        keep_old: Whether to leave the old version enabled; None for what the declaration says: a key ring
            goes on verifying with it.
        wait_for_restarts: Wait for processes that need a restart.
        all_older: Replace every older version that is enabled, and not only those that were in use.
    """

    expected: tuple[str, ...] = ()
    timeout: float = 300.0
    settle: float = SETTLE
    gone_after: float = inf
    keep_old: bool | None = None
    wait_for_restarts: bool = False
    all_older: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a rotation came.

    Attributes:
        action: "rotate" or "rollback".
        state: "done"; or why the old version may still be in use: "waiting", "unknown" or "restart" (it is
            static, and processes that were not restarted hold it).
        old: The version that is replaced: the one that was in use, as far as that is known; or None.
        new: The version in its place; None where nothing was done.
        old_state: "enabled", "disabled" or "destroyed"; None where there is no old one.
        verdict: What the reports prove; None where nobody needed to be asked.
        others: What is replaced besides, in order: versions, each with its state.
    """

    action: str
    state: str
    old: int | None
    new: int | None
    old_state: str | None
    verdict: Verdict | None = None
    others: tuple[tuple[int, str], ...] = ()


class Rotation:
    """Rotates one secret.

    Args:
        administration: Changes the secret.
        name: The secret's name.
        store: Where processes report; None where they do not.
        declarations: What containers say of the secret's type.
        options: How to wait.
        tell: Told of each step, in words, and of each verdict that differs from the last one.
        clock: Monotonic seconds; a test gives its own.
        sleep: Waits so many seconds; as above.
    """

    def __init__(
        self,
        administration: Administration,
        name: str,
        *,
        store: UptakeStore | None,
        declarations: Sequence[Declaration] = (),
        options: Options = Options(),
        tell: Callable[[str | Verdict], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._administration = administration
        self._name = name
        self._store = store
        self._declarations = declarations
        self._options = options
        self._tell = tell
        self._clock = clock
        self._sleep = sleep
        self._told: set[str] = set()

    def plan(self, *, rollback: bool = False) -> Plan:
        """What would be done; nothing is changed.

        Raises:
            PgpConfigError: If the secret cannot be looked at, or the rotation would stop at once.
        """
        look, heard = self._look(), self._heard()
        try:
            plan = self._plan(look, heard, rollback=rollback)
        except RotationStopped as fault:
            raise fault.located(secret=self._name) from None
        audience = None
        if heard is not None:
            services = [each.entry.service for each in heard]
            audience = tuple((name, services.count(name)) for name in sorted(set(services)))
        lacking = tuple(self._administration.lacking(self._name))
        return replace(plan, lacking=lacking, audience=audience)

    def rotate(self, value: Value | None, *, given: bool = True) -> Outcome:
        """Rotate, or go on with a rotation that was interrupted.

        Args:
            value: The new value; None to go on without giving it again, also with a finished one whose old versions
                are to be disabled after all (`keep_old=False`, `all_older`).
            given: Whether a person gave it: then it must be that of the rotation which is gone on with. A
                generated one is not used where a version was added already.

        Raises:
            RotationStopped: If the value is refused, or what is there is not what was left there.
            ChangedMeanwhile: If somebody else changed the secret or a version.
            PgpConfigError: If the store of the secret does not answer or refuses.
        """
        try:
            return self._rotate(self._look(), value, given=given)
        except RotationStopped as fault:
            raise fault.located(secret=self._name) from None

    def rollback(self) -> Outcome:
        """Undo the last rotation, or one that is under way: its old value becomes the newest version.

        The value is added again: were the newest version just disabled, `latest` would name a disabled
        version, and a process that starts would find nothing.

        Raises:
            PgpConfigError: As `rotate`.
        """
        try:
            return self._roll_back(self._look())
        except RotationStopped as fault:
            raise fault.located(secret=self._name) from None

    def forget(self) -> Outcome:
        """Forget where a rotation stands, and change no version: others have changed what it left there.

        Where there is none it says so, and is no failure: a runbook may come here a second time.

        Raises:
            PgpConfigError: If the store of the secret does not answer or refuses.
        """
        facts = self._administration.describe(self._name)
        text = facts.annotations.get(ANNOTATION)
        if text is None:
            self._tell(Note("No rotation is under way, and there is nothing to forget."))
            return Outcome("forget", "done", None, None, None)
        rest = {name: text for name, text in facts.annotations.items() if name != ANNOTATION}
        self._administration.annotate(self._name, facts, rest)
        which = "The last rotation, which is finished," if _is_done(text) else "The rotation"
        self._tell(f"{which} is forgotten; no version was changed.")
        return Outcome("forget", "done", None, None, None)

    # -- steps -------------------------------------------------------------------------------

    def _rotate(self, look: Look, value: Value | None, *, given: bool) -> Outcome:
        mark = rotation_begun(look)
        if mark is None:
            if value is None:
                return self._finish_after_all(look)
            if given and look.served is not None and self._has(look.served, value):
                return self._rotated_already(look)
            mark = self._begin(look, rotation_to_begin(look, self._heard() or ()), value)
        elif value is not None and given and mark.new is not None:
            self._refuse_other(mark.new, value)
        return self._finish(look, self._added(look, mark, value, given=given))

    def _roll_back(self, look: Look) -> Outcome:
        mark = rollback_of(look, self._heard() or ())
        if mark is None:
            self._note(look.mark, None)
            self._tell("Nothing had been added: the rotation is forgotten.")
            return Outcome(BACK, "done", None, None, None)
        if mark.done:
            self._tell(f"It was rolled back already: version {mark.new} is served.")
            return self._outcome("done", mark, None)
        if mark is not look.mark:
            self._note(look.mark, mark)
        return self._undo(look, mark)

    def _begin(self, look: Look, mark: Mark, value: Value) -> Mark:
        """Check everything that can be checked, and only then make the mark."""
        refuse(value, look.newest + 1, self._declarations)
        lacking = self._administration.lacking(self._name)
        if lacking:
            raise RotationStopped(
                f"this identity lacks {', '.join(lacking)}",
                remedy="Grant roles/secretmanager.admin on that secret to whoever rotates it.",
            )
        self._note(look.mark, mark)
        return mark

    def _added(self, look: Look, mark: Mark, value: Value | None, *, given: bool) -> Mark:
        """Add the version, unless an earlier run did; and note its number."""
        if mark.new is not None:
            return mark
        number = mark.after + 1
        if look.newest > mark.after:
            self._adopt(look, number, value if given else None)
        else:
            self._add(mark, number, value)
        noted = replace(mark, new=number)
        self._note(mark, noted)
        return noted

    def _add(self, mark: Mark, number: int, value: Value | None) -> None:
        if value is None:
            raise RotationStopped(
                "the rotation was interrupted before its version was added",
                remedy="Give the value again.",
            )
        refuse(value, number, self._declarations)
        added = self._administration.add(self._name, value.data)
        if added != number:
            raise RotationStopped(
                f"somebody else added a version meanwhile: the new value is version {added}, and not "
                f"{mark.after + 1}",
                remedy="Look who rotates it besides; --forget ends this rotation and changes no version.",
            )
        self._tell(f"Added version {number}.")

    def _adopt(self, look: Look, number: int, value: Value | None) -> None:
        """Go on with a version that was added before an interruption."""
        if look.newest > number:
            raise RotationStopped(
                f"versions {number} to {look.newest} were added since the rotation began",
                remedy="Look who rotates it besides; --forget ends this rotation and changes no version.",
            )
        if value is not None:
            self._refuse_other(number, value)
        payload = self._administration.fetch(self._name, number)
        try:
            for each in self._declarations:
                each.check(payload)
        except RejectedVersion as fault:
            raise RotationStopped(
                fault.happened, remedy="Run the command with --rollback."
            ) from None
        self._tell(f"Version {number} was added before: going on with it.")

    def _finish(self, look: Look, mark: Mark) -> Outcome:
        mark = self._with(mark, self._wider(look, mark))
        if self._has_no_audience(mark):
            self._note(mark, replace(mark, done=True))
            return self._outcome("done", mark, None)
        verdict, held = self._await(mark)
        mark = self._with(mark, held & _older(look, mark))
        if verdict.state != "safe":
            if verdict.state == "unknown":
                self._tell_of_rest(look, mark, "no process has said whether it uses {}")
            return self._outcome(self._state_of(verdict), mark, verdict)
        self._replace(look, mark)
        self._note(mark, replace(mark, done=True))
        return self._outcome("done", mark, verdict)

    def _replace(self, look: Look, mark: Mark) -> None:
        """Disable what nobody holds any more, unless it is kept."""
        replaced = mark.replaced
        if not replaced:
            self._tell("No process holds an older version.")
            return
        many = len(replaced) > 1
        self._tell(f"{in_words(replaced).capitalize()} {'are' if many else 'is'} unread.")
        if self._keeps_old():
            stay, them = ("stay", "them") if many else ("stays", "it")
            self._tell(
                f"{in_words(replaced).capitalize()} {stay} enabled. What was signed with {them} {_OVERLAP}"
            )
            return
        for number in replaced:
            self._disable(look, mark, number)
        self._tell_of_rest(
            look, mark, "no process reported {} in use. --continue --all-older disables {}"
        )

    def _tell_of_rest(self, look: Look, mark: Mark, why: str) -> None:
        """Say which older versions are left as they are; that one of them was in use may not have been known."""
        rest = sorted(_older(look, mark).difference(mark.replaced))
        if rest:
            stay, them = ("stay", "them") if len(rest) > 1 else ("stays", "it")
            why = why.replace("{}", them)
            self._tell(Note(f"{in_words(rest).capitalize()} {stay} enabled: {why}."))

    def _wider(self, look: Look, mark: Mark) -> set[int]:
        """What the options add to what is replaced."""
        return _older(look, mark) if self._options.all_older else set()

    def _with(self, mark: Mark, numbers: Iterable[int]) -> Mark:
        """Have these replaced as well, and note that: the next run may not see who held them."""
        wider = _widened(mark, numbers)
        if wider != mark:
            self._note(mark, wider)
        return wider

    def _has_no_audience(self, mark: Mark) -> bool:
        """Whether nobody can hold an older version: there was none, and nobody uses the secret yet.

        Where there was one that is not enabled, a process may go on with what it has of it.
        """
        if mark.after or self._options.expected:
            return False
        return self._store is None or self._heard() == []

    def _plan(self, look: Look, heard: Sequence[Heard] | None, *, rollback: bool) -> Plan:
        if rollback:
            return plan_of_rollback(look, rollback_of(look, heard or ()))
        begun = rotation_begun(look)
        mark = rotation_to_begin(look, heard or ()) if begun is None else begun
        return plan_of_rotation(
            look,
            _widened(mark, self._wider(look, mark)),
            resumes=begun is not None,
            keep_old=self._keeps_old(),
            waits=not self._has_no_audience(mark),
        )

    def _keeps_old(self) -> bool:
        if self._options.keep_old is None:
            return any(each.has_overlap for each in self._declarations)
        return self._options.keep_old

    def _undo(self, look: Look, mark: Mark) -> Outcome:
        if mark.new is None:
            mark = self._copied(look, mark)
        self._disable(look, mark, mark.old or 0)
        verdict, _ = self._await(mark)
        if verdict.state != "safe":
            return self._outcome(self._state_of(verdict), mark, verdict)
        if mark.reopened:
            self._disable(self._look(), mark, mark.copy_of or 0)
        self._note(mark, replace(mark, done=True))
        return self._outcome("done", mark, verdict)

    def _copied(self, look: Look, mark: Mark) -> Mark:
        """Add the value of the version before once more."""
        good = mark.copy_of or 0
        if look.state(good) == DISABLED:
            if not mark.reopened:
                reopened = replace(mark, reopened=True)
                self._note(mark, reopened)
                mark = reopened
            self._administration.enable(self._name, look.versions[good])
            self._tell(f"Enabled version {good}, to read its value.")
        value = Value(self._administration.fetch(self._name, good).data)
        return self._added(look, mark, value, given=True)

    def _disable(self, look: Look, mark: Mark, number: int) -> None:
        """Disable a version as it was seen at the beginning, if the new one is what services get."""
        now = self._look()
        if now.newest != mark.new or now.state(now.newest) != ENABLED:
            raise RotationStopped(
                f"version {number} stays enabled: the newest version is {now.newest} "
                f"({now.state(now.newest)}), and not version {mark.new} of this rotation",
                remedy="Look who changed it. If their version is to stay: --forget.",
            )
        if now.state(number) != ENABLED:
            self._tell(f"Version {number} is {now.state(number)} already.")
            return
        seen = look.versions.get(number, now.versions[number])
        if seen.state == ENABLED and seen.etag != now.versions[number].etag:
            raise ChangedMeanwhile(
                f"version {number} was changed by somebody else since this run began, and stays enabled",
                remedy="Look who changed it, and run the command again.",
                secret=self._name,
            )
        self._administration.disable(self._name, now.versions[number])
        self._tell(f"Disabled version {number}.")

    # -- uptake ------------------------------------------------------------------------------

    def _await(self, mark: Mark) -> tuple[Verdict, set[int]]:
        """Wait for the uptake; the verdict, and which versions were held meanwhile by those waited for."""
        began, last = self._clock(), None
        held: set[int] = set()
        while True:
            verdict = self._judge(mark)
            for laggard in verdict.waiting_for:
                held.update(laggard.in_use)
            if last is None or _news(verdict) != _news(last):
                self._tell(verdict)
            last, waited = verdict, self._clock() - began
            if self._is_over(verdict, waited):
                return verdict, held
            self._sleep(POLL)

    def _is_over(self, verdict: Verdict, waited: float) -> bool:
        if self._store is None:
            return True
        if verdict.state == "safe":
            return waited >= self._options.settle
        reasons = {laggard.reason for laggard in verdict.waiting_for}
        # What the processes say goes before what a declaration, or a mere name, lets one think.
        needs_restarts = reasons == {"restart"} if reasons else self._is_static()
        if "refused" in reasons or (needs_restarts and not self._options.wait_for_restarts):
            return True
        return waited >= self._options.timeout

    def _is_static(self) -> bool:
        return bool(self._declarations) and not any(d.is_dynamic for d in self._declarations)

    def _judge(self, mark: Mark) -> Verdict:
        heard = self._heard()
        if heard is None:
            return Verdict("unknown", missing=tuple(sorted(self._options.expected)))
        return judge(
            heard,
            old=mark.old,
            new=mark.new or 0,
            expected=self._options.expected,
            gone_after=self._options.gone_after,
        )

    def _heard(self) -> list[Heard] | None:
        """What the processes say; None where it cannot be known."""
        if self._store is None:
            return None
        try:
            return self._store.read(self._name)
        except Exception as fault:  # noqa: BLE001  a store may raise anything; its text may hold a password
            self._tell_once(f"The uptake store cannot be read ({type(fault).__name__}).")
            return None

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(Note(text))

    def _state_of(self, verdict: Verdict) -> str:
        reasons = {laggard.reason for laggard in verdict.waiting_for}
        return "restart" if reasons == {"restart"} else verdict.state

    # -- the secret --------------------------------------------------------------------------

    def _look(self) -> Look:
        return look_at(self._administration, self._name)

    def _has(self, number: int, value: Value) -> bool:
        return value.is_in(self._administration.fetch(self._name, number))

    def _rotated_already(self, look: Look) -> Outcome:
        mark = look.mark
        if mark is not None and mark.action == FORWARD and mark.new == look.served:
            self._tell(f"It was rotated already: version {mark.new} has this value.")
            if self._is_left(look, mark):
                return self._finish(look, mark)
            return self._outcome("done", mark, None)
        raise RotationStopped(
            f"the new value is that of version {look.served}, which is served already",
            remedy="Give another value.",
        )

    def _finish_after_all(self, look: Look) -> Outcome:
        """Disable what a finished rotation has left, where that is asked for in so many words."""
        mark = look.mark
        asked = self._options.all_older or self._options.keep_old is False
        is_newest = mark is not None and mark.action == FORWARD and mark.new == look.served
        if asked and mark is not None and is_newest and self._is_left(look, mark):
            return self._finish(look, mark)
        raise RotationStopped("no rotation is under way", remedy="Give a value to begin one.")

    def _is_left(self, look: Look, mark: Mark) -> bool:
        replaced = {*mark.replaced, *self._wider(look, mark)}
        return not self._keeps_old() and not replaced.isdisjoint(look.enabled)

    def _refuse_other(self, number: int, value: Value) -> None:
        if not self._has(number, value):
            raise RotationStopped(
                f"a rotation to version {number} is under way, and the value given is another one",
                remedy="Finish that one with --continue, or undo it with --rollback; then rotate again.",
            )

    def _note(self, before: Mark | None, mark: Mark | None) -> None:
        """Keep the mark with the secret, if it is still the one that was found."""
        facts = self._administration.describe(self._name)
        was = None if before is None else before.to_json()
        if facts.annotations.get(ANNOTATION) != was:
            raise ChangedMeanwhile(
                "somebody else has begun or continued a rotation of it",
                remedy="Wait for them, or run the command again to go on from where they stopped.",
                secret=self._name,
            )
        rest = {name: text for name, text in facts.annotations.items() if name != ANNOTATION}
        noted = rest if mark is None else {**rest, ANNOTATION: mark.to_json()}
        self._administration.annotate(self._name, facts, noted)

    def _outcome(self, state: str, mark: Mark, verdict: Verdict | None) -> Outcome:
        if not mark.replaced:
            return Outcome(mark.action, state, None, mark.new, None, verdict)
        look = self._look()
        old_state = None if mark.old is None else look.state(mark.old)
        others = tuple((number, look.state(number)) for number in mark.others)
        return Outcome(mark.action, state, mark.old, mark.new, old_state, verdict, others)


def _older(look: Look, mark: Mark) -> set[int]:
    """The enabled versions that were there when the rotation began."""
    return {number for number in look.enabled if number <= mark.after}


def _widened(mark: Mark, numbers: Iterable[int]) -> Mark:
    return replace(mark, others=tuple(sorted({*mark.others, *numbers} - {mark.old})))


def _is_done(text: str) -> bool:
    """Whether an annotation is that of a finished rotation; one that is not understood may be of any."""
    try:
        mark = mark_of(text)
    except RotationStopped:
        return False
    return mark is not None and mark.done


def _news(verdict: Verdict) -> tuple[object, ...]:
    """What a person is told anew when it changes: all but the ages."""
    who = [(each.instance, each.reason, each.in_use) for each in verdict.waiting_for]
    return (verdict.state, who, verdict.missing, verdict.up)
