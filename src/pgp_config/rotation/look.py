"""What is there before a step: the versions of a secret, and how far a rotation has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.rotation.errors import RotationStopped
from pgp_config.rotation.mark import ANNOTATION, BACK, FORWARD, Mark, mark_of
from pgp_config.sources.administration import DESTROYED, ENABLED, VersionFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config.sources.administration import Administration


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
    def served(self) -> int | None:
        """The highest number that is enabled."""
        return max((n for n, v in self.versions.items() if v.state == ENABLED), default=None)

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


def rollback_of(look: Look) -> Mark | None:
    """The mark of the rollback to make, or to go on with; None where there is nothing to undo.

    Raises:
        RotationStopped: If there is nothing to go back to, or another version was added since.
    """
    mark = look.mark
    if mark is not None and mark.action == BACK and not (mark.done and mark.new != look.newest):
        return mark
    # Without a mark nobody knows why a version was disabled: it may have been a bad one.
    below = (n for n in look.kept if n < look.newest and look.state(n) == "enabled")
    bad, good = look.newest, max(below, default=None)
    if mark is not None and mark.action == FORWARD:
        if mark.new is None and look.newest == mark.after:
            return None
        bad, good = mark.new or mark.after + 1, mark.old
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
