"""What has happened in one process, as told to observers: counts by secret, and the latest events."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from pgp_config.events import (
    CallFailed,
    Confirmed,
    Event,
    Fetched,
    FetchFailed,
    Loaded,
    Reloaded,
    ServedStale,
    StaticAnnounced,
)
from pgp_config.forking import gate
from pgp_config.observers.logs import LASTING, REPEAT_PAUSE, line_of
from pgp_config.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable

#: Events that are kept.
REMEMBERED_EVENTS = 200

#: Characters of a text at most: a source's error may hold whatever the other side answered.
LONGEST_TEXT = 2000


class Moment(NamedTuple):
    """When something happened.

    Attributes:
        wall: Seconds since 1970, for people.
        monotonic: Monotonic seconds, to tell how long ago it was.
    """

    wall: float
    monotonic: float


class Entry(NamedTuple):
    """One event that a person should see.

    Attributes:
        seq: Counts from 1 in each process; a forked child goes on with its parent's.
        moment: When it happened.
        kind: The name of the event's class.
        level: As in the log: "debug", "info", "warning" or "error".
        secret: The name of the secret, or several, separated by ", ".
        text: The line of the log; without a value.
    """

    seq: int
    moment: Moment
    kind: str
    level: str
    secret: str
    text: str


class Change(NamedTuple):
    """A version took its place: the first one (`old_version` is None), or that of another."""

    moment: Moment
    old_version: int | None
    version: int


class Trouble(NamedTuple):
    """What went wrong with a secret: the class of the error or of the event, its text, and its section of errors.md."""

    moment: Moment
    kind: str
    text: str
    explained_as: str | None


@dataclass(slots=True)
class Record:
    """What happened to one secret in this process.

    Attributes:
        fetched: Calls that the source answered with a version.
        failed: Calls that it did not.
        stale: Reads that were served the last good version in an outage.
        change: The last change of its version.
        trouble: The last thing that went wrong, also where it is over.
        failing_since: Since when no fetch was good; None while it is not failing.
        newer: The version of a static secret that waits for a restart.
    """

    fetched: int = 0
    failed: int = 0
    stale: int = 0
    change: Change | None = None
    trouble: Trouble | None = None
    failing_since: Moment | None = None
    newer: int | None = None
    told: dict[type[Event], float] = field(default_factory=dict)


class Journal:
    """An observer that remembers what the status page shows.

    It is told of fetches and changes, never of a warm read, which so costs nothing more. Its memory ends
    at one record a declared secret and 200 events; what lasts, such as an outage, is an event once in 30 s.

    Args:
        clock: Monotonic seconds; a test gives its own.
        wall: Seconds since 1970; likewise.

    Attributes:
        seq: The number of the last event, or 0.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._records: dict[str, Record] = {}
        self._entries: deque[Entry] = deque(maxlen=REMEMBERED_EVENTS)
        self.seq = 0
        self.renew_after_fork()
        gate.register(self)

    def __repr__(self) -> str:
        return f"<Journal of {self.seq} events>"

    def renew_after_fork(self) -> None:
        """In a child: the values came along, and so does their history; the calls were the parent's."""
        # Re-entrant: a signal handler may read a secret in a thread that holds it.
        self._lock = threading.RLock()
        self._records = {
            name: replace(record, fetched=0, failed=0, stale=0)
            for name, record in self._records.items()
        }

    def now(self) -> Moment:
        """This moment."""
        return Moment(self._wall(), self._clock())

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        now = self.now()
        with self._lock:
            records = [self._record(name) for name in _names_of(event)]
            for record in records:
                _note(record, event, now)
            line = None if _told_lately(records[0], event, now) else line_of(event)
            if line is not None:
                self._write(event, *line, records, now)

    def _record(self, name: str) -> Record:
        return self._records.setdefault(name, Record())

    def _write(
        self, event: Event, level: int, text: str, records: list[Record], now: Moment
    ) -> None:
        self.seq += 1
        kind, text = type(event).__name__, _shortened(_scrubbed(event, text))
        told = logging.getLevelName(level).lower()
        self._entries.append(Entry(self.seq, now, kind, told, event.secret, text))
        if level >= logging.WARNING and not isinstance(event, ServedStale):
            for record in records:
                record.trouble = _trouble_of(event, text, now)

    def record(self, name: str) -> Record:
        """What happened to a secret, as it is now."""
        with self._lock:
            return replace(self._records.get(name) or Record())

    def since(self, after: int = 0) -> tuple[list[Entry], int]:
        """The events with a higher number than this, the oldest first, and the number of the last one that is told.

        Both are of one moment: who asks for what is later than that number misses no event.
        """
        with self._lock:
            # A copy: a signal handler in this thread may add to it.
            told = list(self._entries)
        return [entry for entry in told if entry.seq > after], told[-1].seq if told else 0


def _names_of(event: Event) -> list[str]:
    """The secrets that an event concerns: several, where an object is built from them."""
    return list(getattr(event, "versions", ())) or [event.secret]


def _scrubbed(event: Event, text: str) -> str:
    # Only what a source has worded can hold a value. Each version that is learned ends the redactor's
    # compiled search, so that scrubbing every line would make it anew with each secret that is loaded.
    return redact(text) if hasattr(event, "error") else text


def _note(record: Record, event: Event, now: Moment) -> None:
    match event:
        case Fetched():
            record.fetched += 1
        case CallFailed():
            record.failed += 1
        case ServedStale():
            record.stale += 1
        case FetchFailed():
            record.failing_since = record.failing_since or now
        case StaticAnnounced():
            record.newer = event.version
        case Loaded():
            record.change = Change(now, None, event.version)
        case Reloaded():
            record.change = Change(now, event.old_version, event.version)
    if isinstance(event, Loaded | Reloaded | Confirmed):
        record.failing_since = None
        record.told.clear()


def _told_lately(record: Record, event: Event, now: Moment) -> bool:
    if not isinstance(event, LASTING):
        return False
    if now.monotonic < record.told.get(type(event), -inf) + REPEAT_PAUSE:
        return True
    record.told[type(event)] = now.monotonic
    return False


def _trouble_of(event: Event, text: str, now: Moment) -> Trouble:
    error = getattr(event, "error", None)
    if error is None:
        return Trouble(now, type(event).__name__, text, None)
    return Trouble(now, type(error).__name__, _shortened(redact(str(error))), error.explained_as)


def _shortened(text: str) -> str:
    """After `redact`, which would not know half a value."""
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
