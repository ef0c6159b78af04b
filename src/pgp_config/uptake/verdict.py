"""Whether an old version is unread everywhere: a pure function of what the processes last said."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pgp_config.uptake.entries import Entry, Heard

#: Seconds without a report after which a process is called silent: three pauses between two reports of one in use.
SILENT_AFTER = 30.0

#: Why a process is waited for, and what to do about it.
REMEDIES = {
    "behind": "It takes the new version up with its next read.",
    "silent": "It is idle, frozen or dead. It confirms its version before it serves again: send it a request, end "
    "it, or wait until its entry expires.",
    "holds": "Scopes that were opened before the rotation are still open, or an object built from the old version "
    "is still in service.",
    "failing": "It cannot reach the source, or the source refuses it: see its log.",
    "refused": "The new version fails its type there: roll back.",
    "restart": "It has loaded the secret at its start: restart it.",
}


@dataclass(frozen=True, slots=True)
class Laggard:
    """A process that may still use the old version.

    Attributes:
        service: Its service.
        instance: The process.
        reason: A key of `REMEDIES`.
        version: The version that it serves, or None.
        in_use: All that it holds.
        heard_ago: Seconds since its last report.
        read_ago: Seconds, at its last report, since its last read; None where that is not known.
    """

    service: str
    instance: str
    reason: str
    version: int | None
    in_use: tuple[int, ...]
    heard_ago: float
    read_ago: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reports prove.

    Attributes:
        state: "safe" (every process that reports has the new version and holds no older one), "waiting" (some
            do not) or "unknown" (nobody reports, or none of an expected service).
        waiting_for: The processes that are waited for.
        missing: Expected services of which no process reports.
        up: How many processes have taken the new version up, by service.
    """

    state: str
    waiting_for: tuple[Laggard, ...] = ()
    missing: tuple[str, ...] = ()
    up: tuple[tuple[str, int], ...] = ()


def judge(
    heard: Iterable[Heard],
    *,
    old: int | None,
    new: int,
    expected: Collection[str] = (),
    gone_after: float = inf,
) -> Verdict:
    """Judge whether an old version is unread.

    Args:
        heard: What the store holds of the secret; expired entries are not among it.
        old: The version that is to be disabled; None where there is none.
        new: The version that takes its place: higher, or lower after a rollback to it.
        expected: Services of which at least one process must report.
        gone_after: Seconds without a report after which a process is taken to be gone.
    """
    alive = [each for each in heard if each.ago <= gone_after]
    lagging = [each for each in alive if not _is_up(each.entry, old, new)]
    waiting_for = tuple(
        sorted(
            (_laggard(each, new) for each in lagging),
            key=lambda laggard: (laggard.service, laggard.instance),
        )
    )
    services = [each.entry.service for each in alive]
    ups = [each.entry.service for each in alive if each not in lagging]
    missing = tuple(sorted(set(expected) - set(services)))
    return Verdict(
        _state(waiting=bool(lagging), proven=bool(alive) and not missing),
        waiting_for,
        missing,
        tuple((service, ups.count(service)) for service in sorted(set(ups))),
    )


def _state(*, waiting: bool, proven: bool) -> str:
    if waiting:
        return "waiting"
    return "safe" if proven else "unknown"


def _is_up(entry: Entry, old: int | None, new: int) -> bool:
    if entry.version is None:
        return False
    held = {entry.version, *entry.in_use}
    backwards = old is not None and old > new
    return max(held) <= new if backwards else min(held) >= new


def _laggard(heard: Heard, new: int) -> Laggard:
    entry = heard.entry
    return Laggard(
        service=entry.service,
        instance=entry.instance,
        reason=_reason(heard, new),
        version=entry.version,
        in_use=entry.in_use,
        heard_ago=heard.ago,
        read_ago=entry.read_ago,
    )


def _reason(heard: Heard, new: int) -> str:
    entry = heard.entry
    if new in entry.refused:
        return "refused"
    if entry.kind == "static":
        return "restart"
    if heard.ago > SILENT_AFTER:
        return "silent"
    if entry.failing:
        return "failing"
    return "holds" if entry.version == new else "behind"
