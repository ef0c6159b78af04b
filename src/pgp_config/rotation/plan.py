"""What a rotation would do and what it costs; nothing is changed for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.cost import ACCESS_PRICE, VERSION_PRICE
from pgp_config.rotation.look import in_words

if TYPE_CHECKING:
    from pgp_config.rotation.look import Look
    from pgp_config.rotation.mark import Mark


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done.

    Attributes:
        action: "rotate" or "rollback".
        old: The version that would be replaced, or None.
        new: The number of the version that would take its place; None where nothing would be done.
        resumes: Whether a rotation that was interrupted would be gone on with.
        steps: What is left to do, in order, in words.
        accesses: Accesses that the command itself makes, at most; those of the services stay what they are.
        billed: How many versions are billed now.
        lacking: Permissions that this identity lacks.
        others: What would be replaced besides, in order.
        audience: How many processes report that they use the secret, by service; None where that is not known.
    """

    action: str
    old: int | None
    new: int | None
    resumes: bool
    steps: tuple[str, ...]
    accesses: int
    billed: int
    others: tuple[int, ...] = ()
    lacking: tuple[str, ...] = ()
    audience: tuple[tuple[str, int], ...] | None = None

    @property
    def adds(self) -> int:
        """How many versions would be added."""
        return sum(step.startswith("add") for step in self.steps)

    @property
    def dollars_a_month(self) -> float:
        """What the versions would cost a month until one is destroyed."""
        return round((self.billed + self.adds) * VERSION_PRICE, 2)

    @property
    def dollars(self) -> float:
        """What the accesses cost, once."""
        return self.accesses * ACCESS_PRICE


def plan_of_rotation(
    look: Look, mark: Mark, *, resumes: bool, keep_old: bool, waits: bool
) -> Plan:
    """What would be done now.

    Args:
        look: The secret.
        mark: Of the rotation that is gone on with, or that would be begun.
        resumes: Whether it is gone on with.
        keep_old: Whether what is replaced stays enabled.
        waits: Whether the uptake would be waited for.
    """
    new = mark.new or mark.after + 1
    is_added = look.newest > mark.after
    steps = [] if is_added else ["check the value against its type", f"add it as version {new}"]
    replaced = mark.replaced
    if waits:
        older = in_words(replaced).replace(" and ", " or ") if replaced else "an older one"
        steps.append(f"wait until every process has version {new} and none holds {older}")
    many = len(replaced) > 1
    if replaced and not keep_old:
        steps.append(f"disable {in_words(replaced)} under {'their etags' if many else 'its etag'}")
    elif replaced:
        them = "them" if many else "it"
        steps.append(f"leave {in_words(replaced)} enabled; --disable-old disables {them}")
    return Plan(
        "rotate", mark.old, new, resumes, tuple(steps), 1, len(look.kept), others=mark.others
    )


def plan_of_rollback(look: Look, mark: Mark | None) -> Plan:
    """What would be done now; `mark` is that of the rollback, or None where nothing was added."""
    if mark is None or mark.done:
        steps = ("forget the rotation: nothing was added",) if mark is None else ()
        return Plan("rollback", None, None, mark is None, steps, 0, len(look.kept))
    resumes = look.mark is mark
    new = mark.new or mark.after + 1
    return Plan(
        "rollback", mark.old, new, resumes, tuple(_undoing(look, mark, new)), 2, len(look.kept)
    )


def _undoing(look: Look, mark: Mark, new: int) -> list[str]:
    steps = []
    if look.newest == mark.after:
        if look.state(mark.copy_of or 0) == "disabled":
            steps.append(f"enable version {mark.copy_of} under its etag, to read its value")
        steps.append(f"add the value of version {mark.copy_of} as version {new}")
    if look.state(mark.old or 0) == "enabled":
        steps.append(f"disable version {mark.old} under its etag")
    steps.append(f"wait until every process has version {new} and none holds version {mark.old}")
    if mark.reopened or look.state(mark.copy_of or 0) == "disabled":
        steps.append(f"disable version {mark.copy_of} again")
    return steps
