"""Writes the events that a person should see to the standard log, one line each."""

from __future__ import annotations

import logging
import time
from dataclasses import fields
from math import inf
from typing import TYPE_CHECKING

from pgp_config.errors import RejectedVersion
from pgp_config.events import (
    Announced,
    BuildFailed,
    Built,
    CloseFailed,
    Event,
    FetchFailed,
    LatestDisabled,
    Loaded,
    PreviousVersionUsed,
    Rebuilt,
    Reloaded,
    ServedStale,
    StaticAnnounced,
    StaticReadRefused,
    TakenUp,
    UptakeUnreported,
    VersionRefused,
    VersionRejected,
)
from pgp_config.payload import DamagedVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Line = tuple[int, str]

#: How the line of a `StaticReadRefused` begins; alerts look for it.
STATIC_REFUSED = "Refused to fetch the static secret"


def _loaded(event: Loaded) -> _Line:
    return logging.INFO, f"Loaded {event.secret} version {event.version}"


def _reloaded(event: Reloaded) -> _Line:
    change = f"version {event.old_version} -> {event.version}"
    return logging.INFO, f"Hot-reloaded {event.secret} {change}"


def _failed(event: FetchFailed) -> _Line:
    if isinstance(event.error, RejectedVersion) and not isinstance(event.error, DamagedVersion):
        # Why is in the line of its `VersionRejected`; the pause is that of a newer version.
        what = f"{event.secret} in {event.container}: the version that there is was rejected."
        again = f"A newer one is looked for in {event.pause:.1f} s at the earliest."
        return logging.WARNING, f"Could not fetch {what} {again}"
    again = f"Asked again in {event.pause:.1f} s at the earliest."
    return logging.WARNING, f"Could not fetch {event.error} {again} ({event.error.explained_by})"


def _stale(event: ServedStale) -> _Line:
    age = f"confirmed {event.age:.0f} s ago"
    return logging.WARNING, f"Served stale {event.secret} version {event.version}, {age}"


def _latest_disabled(event: LatestDisabled) -> _Line:
    served = f"version {event.version} is served"
    return logging.WARNING, f"The newest version of {event.secret} is disabled: {served}"


def _rejected(event: VersionRejected) -> _Line:
    return logging.ERROR, f"Rejected a version: {event.error} ({event.error.explained_by})"


def _refused(event: VersionRefused) -> _Line:
    again = f". Tried again in {event.pause:.1f} s at the earliest" if event.rests else ""
    return logging.WARNING, f"{event.secret} version {event.version} was refused{again}"


def _previous(event: PreviousVersionUsed) -> _Line:
    text = f"{event.secret} version {event.version} is accepted, and {event.newest} is not"
    return logging.WARNING, text


def _announced(event: Announced) -> _Line:
    version = "" if event.version is None else f" version {event.version}"
    return logging.DEBUG, f"Heard of {event.secret}{version}: {event.kind}"


def _static_announced(event: StaticAnnounced) -> _Line:
    return (
        logging.INFO,
        f"{event.secret} has a version {event.version}; it is static, and read at the next start",
    )


def _static_refused(event: StaticReadRefused) -> _Line:
    return logging.ERROR, f"{STATIC_REFUSED} {event.secret}: a scope was open"


def _taken_up(event: TakenUp) -> _Line:
    older = [str(number) for number in event.in_use if number != event.version]
    rest = f"and still {', '.join(older)}" if older else "and no other"
    who = f"{event.service} ({event.instance})"
    return logging.INFO, f"{who} uses {event.secret} version {event.version} {rest}"


def _unreported(event: UptakeUnreported) -> _Line:
    again = f"Tried again in {event.pause:.1f} s at the earliest"
    return logging.WARNING, (
        f"The uptake store of {event.container} cannot be told ({event.failure}). {again}."
    )


def _built(event: Built) -> _Line:
    return logging.INFO, f"Built {event.name} from {_list(event.versions)}"


def _rebuilt(event: Rebuilt) -> _Line:
    change = f"{_list(event.old_versions)} -> {_list(event.versions)}"
    return logging.INFO, f"Rebuilt {event.name}: {change}"


def _build_failed(event: BuildFailed) -> _Line:
    again = f"Tried again in {event.pause:.1f} s at the earliest."
    failed = f"Could not build {event.name} from {_list(event.versions)}: {event.reason}."
    return logging.ERROR, f"{failed} {again}"


def _close_failed(event: CloseFailed) -> _Line:
    failed = f"Could not close {event.name} of {_list(event.versions)}: {event.reason}."
    return logging.WARNING, failed


def _list(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{name} version {version}" for name, version in versions.items())


_LINES: dict[type[Event], Callable[..., _Line]] = {
    Announced: _announced,
    Loaded: _loaded,
    Reloaded: _reloaded,
    FetchFailed: _failed,
    LatestDisabled: _latest_disabled,
    PreviousVersionUsed: _previous,
    ServedStale: _stale,
    VersionRefused: _refused,
    StaticAnnounced: _static_announced,
    StaticReadRefused: _static_refused,
    TakenUp: _taken_up,
    UptakeUnreported: _unreported,
    VersionRejected: _rejected,
    Built: _built,
    Rebuilt: _rebuilt,
    BuildFailed: _build_failed,
    CloseFailed: _close_failed,
}


#: Events that last, and the seconds between two lines that say so of one secret.
LASTING = (LatestDisabled, ServedStale)
REPEAT_PAUSE = 30.0


def line_of(event: Event) -> tuple[int, str] | None:
    """The level and the text of an event's line; None for one that has none, such as a fetch that went well."""
    line = _LINES.get(type(event))
    return None if line is None else line(event)


class LoggingObserver:
    """Logs under the logger `pgp_config`: changes as INFO, trouble as WARNING and ERROR.

    Each record carries the event's fields in `extra`, prefixed with `pgp_config_`. What
    lasts (a secret served stale, a newest version that is disabled) is logged once in 30 s.

    Args:
        logger: Another logger.
        clock: Monotonic seconds; a test gives its own.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger or logging.getLogger("pgp_config")
        self._clock = clock
        self._told: dict[tuple[type[Event], str, str], float] = {}

    def __call__(self, event: Event) -> None:
        """Write the line of one event; a fetch that went well has none."""
        line = line_of(event)
        if line is None or (isinstance(event, LASTING) and self._told_lately(event)):
            return
        level, text = line
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", text, extra=_extra(event))

    def _told_lately(self, event: Event) -> bool:
        key, now = (type(event), event.container, event.secret), self._clock()
        if now < self._told.get(key, -inf) + REPEAT_PAUSE:
            return True
        self._told[key] = now
        return False


def _extra(event: Event) -> dict[str, object]:
    known = {part.name: getattr(event, part.name) for part in fields(event)}
    shown = {name: str(fact) if name == "error" else fact for name, fact in known.items()}
    return {"pgp_config_event": type(event).__name__} | {
        f"pgp_config_{name}": fact for name, fact in shown.items()
    }
