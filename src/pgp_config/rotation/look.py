"""What is there before a step: the versions of a secret, and how far a rotation has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.rotation.errors import RotationStopped
from pgp_config.rotation.mark import ANNOTATION, BACK, FORWARD, Mark, mark_of
from pgp_config.sources.administration import DESTROYED, ENABLED, VersionFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgp_config.sources.administration import Administration
    from pgp_config.uptake.entries import Heard


@dataclass(frozen=True, slots=True)
class Look:
    """A secret as it was found.

    Attributes:
        mark: How far a rotation has come, if there was ever one.
        versions: Its versions by number.
    """

    mark: Mark | None
    versions: Mapping[int, VersionFacts]

    @property
    def newest(self) -> int:
        """The highest number, in any state; 0 where there is no version."""
        return max(self.versions, default=0)

    @property
    def enabled(self) -> set[int]:
        """The numbers that can be read."""
        return {n for n, v in self.versions.items() if v.state == ENABLED}

    @property
    def served(self) -> int | None:
        """The highest number that is enabled: what `latest` names, whether or not a process could use it."""
        return max(self.enabled, default=None)

    @property
    def kept(self) -> list[int]:
        """The numbers that are billed: those that are not destroyed."""
        return sorted(n for n, v in self.versions.items() if v.state != DESTROYED)

    def state(self, number: int) -> str:
        """The state of a version; "missing" where it was not among those listed."""
        found = self.versions.get(number)
        return "missing" if found is None else found.state


def look_at(administration: Administration, name: str) -> Look:
    """Look at a secret: two metadata reads."""
    text = administration.describe(name).annotations.get(ANNOTATION)
    versions = {facts.number: facts for facts in administration.versions(name)}
    try:
        return Look(mark_of(text), versions)
    except RotationStopped as fault:
        raise fault.located(secret=name) from None


def in_words(numbers: Iterable[int]) -> str:
    """Such as "version 3", or "versions 3, 4 and 6"."""
    *first, last = map(str, numbers)
    return f"versions {', '.join(first)} and {last}" if first else f"version {last}"


def rotation_to_begin(look: Look, heard: Iterable[Heard]) -> Mark:
    """The mark of a new rotation: what it replaces.

    The old version is the one that processes are served, by what they report. `latest` may name a newer one,
    which all of them refused: that is replaced too, and is nothing to go back to.
    """
    said = list(heard)
    old = _in_use(look, said)
    held = {number for each in said for number in (*each.entry.in_use, each.entry.version)}
    others = {number for number in look.enabled if number in held or number == look.served}
    return Mark(FORWARD, old, look.newest, others=tuple(sorted(others - {old})))


def _in_use(look: Look, heard: Iterable[Heard]) -> int | None:
    """The newest enabled version that a process is served; where none is known, the newest enabled one."""
    served = look.enabled & {each.entry.version for each in heard}
    return max(served, default=look.served)


def rotation_begun(look: Look) -> Mark | None:
    """The mark of a rotation that is under way; None where a new one may begin.

    Raises:
        RotationStopped: If a rollback is under way.
    """
    mark = look.mark
    if mark is None or mark.done:
        return None
    if mark.action == BACK:
        raise RotationStopped(
            f"a rollback from version {mark.old} is under way",
            remedy="Finish it: run the command with --rollback.",
        )
    return mark


def rollback_of(look: Look, heard: Iterable[Heard] = ()) -> Mark | None:
    """The mark of the rollback to make, or to go on with; None where there is nothing to undo.

    Args:
        look: The secret.
        heard: What processes report: it says what to go back to where no rotation has noted that.

    Raises:
        RotationStopped: If there is nothing to go back to, or another version was added since.
    """
    mark = look.mark
    if mark is not None and mark.action == BACK and not (mark.done and mark.new != look.newest):
        return mark
    # Without a mark nobody knows why a version was disabled: it may have been a bad one.
    bad, good = look.newest, _in_use(look, heard)
    if good == bad:
        good = max(look.enabled - {bad}, default=None)
    if mark is not None and mark.action == FORWARD:
        if mark.new is None and look.newest == mark.after:
            return None
        bad = mark.new or mark.after + 1
        good = good if mark.old is None else mark.old
    if bad != look.newest:
        raise RotationStopped(
            f"version {look.newest} was added after version {bad}, which is to be undone",
            remedy="Look who added it. To replace it: --forget, and rotate to the value that you want.",
        )
    if good is None or look.state(good) not in ("enabled", "disabled"):
        raise RotationStopped(
            "there is no version to go back to: none below is enabled, or the one before is destroyed",
            remedy="Enable the one to go back to; or rotate to the value that you want.",
        )
    return Mark(BACK, bad, look.newest, copy_of=good)
