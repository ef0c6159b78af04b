"""A history of reads under rotation, and a checker of what was promised of it.

Record what readers saw and what the source held, then ask `violations()`: it knows nothing of how the
values were cached. Promises by their number in docs/design.md:

- 1: within a scope, a secret has one version, until a refresh moves the scope on;
- 4: what a scope sees was the newest at most `max_age` before its first read of any secret, at which
  it is pinned (served stale: `max_stale` before the read);
- 7: no scope falls behind a version that was seen before it began, unless that was taken back.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_Scope = tuple[int, int]
"""A process, and the number of a scope in it."""


@dataclass(frozen=True, slots=True)
class Read:
    """One read of one secret; times are seconds of one clock for the whole history.

    Attributes:
        scope: Which scope it was, by any number that no other scope of the process has.
        secret: The secret's name.
        version: The version that was seen, 1 or more.
        opened: When the scope was opened.
        started: When the read began.
        ended: When it had its value.
        stale: Whether it was served the last good value while the source failed.
        moved: Whether it was a refresh, which moves the scope on.
        process: Which process it was: each has a cache of its own.
    """

    scope: int
    secret: str
    version: int
    opened: float
    started: float
    ended: float
    stale: bool = False
    moved: bool = False
    process: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What the source holds of one secret from some moment on.

    Attributes:
        secret: The secret's name.
        newest: The newest good version that it answers with.
        began: When the change was begun; it took effect no earlier.
        ended: When it was done; it took effect no later.
        highest: The highest version that can be accessed by number; `newest` by default. It is
            higher while the source's answer for the newest lags.
    """

    secret: str
    newest: int
    began: float
    ended: float
    highest: int = 0

    @property
    def ceiling(self) -> int:
        """The highest version that can be accessed."""
        return max(self.highest, self.newest)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What was promised of one secret, in seconds.

    Attributes:
        max_age: 0 for `EVERY_REQUEST`: confirmed by a fetch no older than the scope.
        max_stale: For reads that were served stale.
    """

    max_age: float
    max_stale: float = 3600.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that a read broke.

    Attributes:
        promise: Its number.
        read: The read.
        because: What it should have seen.
    """

    promise: int
    read: Read
    because: str

    def __str__(self) -> str:
        seen = f"{self.read.secret} version {self.read.version}"
        where = f"scope {self.read.scope} of process {self.read.process}"
        when = f"{self.read.started:.6f} to {self.read.ended:.6f}"
        return f"promise {self.promise}: {where} read {seen} ({when}), but {self.because}"


class History:
    """Reads and changes, recorded from any thread."""

    def __init__(self) -> None:
        self._reads: list[Read] = []
        self._changes: list[Change] = []
        self._scopes = itertools.count(1)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<History of {len(self._reads)} reads and {len(self._changes)} changes>"

    def __len__(self) -> int:
        """How many reads there are."""
        return len(self._reads)

    @property
    def changes(self) -> list[Change]:
        """What the source held, so far."""
        with self._lock:
            return list(self._changes)

    def new_scope(self) -> int:
        """A number for a scope."""
        return next(self._scopes)

    def add(self, fact: Read | Change) -> None:
        """Note a read or a change; changes of one secret in their order."""
        with self._lock:
            if isinstance(fact, Read):
                self._reads.append(fact)
            else:
                self._changes.append(fact)

    def violations(self, bounds: Mapping[str, Bounds]) -> list[Violation]:
        """Every broken promise.

        Args:
            bounds: By secret; one that is not named has the default freshness of 5 s and 1 h.

        Raises:
            ValueError: If a secret was read of which no change was noted.
        """
        with self._lock:
            reads, changes = list(self._reads), list(self._changes)
        return list(check(reads, changes, bounds))


def check(
    reads: Iterable[Read], changes: Iterable[Change], bounds: Mapping[str, Bounds]
) -> Iterator[Violation]:
    """As `History.violations`, of given facts.

    Raises:
        ValueError: If a secret was read of which there is no change.
    """
    reads = list(reads)
    held: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        held[change.secret].append(change)
    pinned = _pinned(reads)
    for (_, secret), group in _grouped(reads).items():
        if secret not in held:
            raise ValueError(f"{secret} was read, and no change of it was noted")
        timeline = _Timeline(held[secret])
        firsts = []
        for scope in _by_scope(group):
            yield from _one_version(scope)
            firsts += [read for n, read in enumerate(scope) if n == 0 or read.moved]
        yield from _fresh(firsts, timeline, bounds.get(secret, Bounds(5.0)), pinned)
        yield from _monotonic(firsts, timeline)


def _grouped(reads: Iterable[Read]) -> dict[tuple[int, str], list[Read]]:
    groups: dict[tuple[int, str], list[Read]] = defaultdict(list)
    for read in reads:
        groups[read.process, read.secret].append(read)
    return groups


def _pinned(reads: Iterable[Read]) -> dict[_Scope, float]:
    """When each scope began to read."""
    pinned: dict[_Scope, float] = {}
    for read in reads:
        key = read.process, read.scope
        pinned[key] = min(read.started, pinned.get(key, inf))
    return pinned


def _by_scope(reads: Iterable[Read]) -> Iterable[list[Read]]:
    scopes: dict[int, list[Read]] = defaultdict(list)
    for read in sorted(reads, key=lambda read: read.started):
        scopes[read.scope].append(read)
    return scopes.values()


class _Timeline:
    """What the source held of one secret, and when.

    A change takes effect at an unknown moment between its beginning and its end: before its end the
    state before it may still have held, from its beginning on the new one may have.
    """

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes
        self._until = [change.ended for change in changes[1:]] + [inf]

    def between(self, start: float, end: float) -> Iterator[Change]:
        """Every state that may have held at some moment of a span."""
        for number in range(bisect_left(self._until, start), len(self._changes)):
            if self._changes[number].began > end:
                return
            yield self._changes[number]


def _one_version(scope: Sequence[Read]) -> Iterator[Violation]:
    """Promise 1; a refresh that others of the scope overlap may show them either version."""
    for before, read in itertools.pairwise(scope):
        if read.version == before.version or read.moved:
            continue
        if not any(_explains(move, before, read) for move in scope if move.moved):
            yield Violation(1, read, f"version {before.version} was read in this scope before")


def _explains(move: Read, before: Read, read: Read) -> bool:
    """Whether a refresh may have come between two reads; one that is `before` itself is over."""
    overlaps = move.ended > before.started and move.started < read.ended
    return overlaps and (move is not before or move.ended > read.started)


def _fresh(
    reads: Iterable[Read], timeline: _Timeline, bounds: Bounds, pinned: Mapping[_Scope, float]
) -> Iterator[Violation]:
    for read in reads:
        since = _since(read, bounds, pinned[read.process, read.scope])
        states = list(timeline.between(since, read.ended))
        low = min((state.newest for state in states), default=1)
        high = max((state.ceiling for state in states), default=0)
        if not low <= read.version <= high:
            span = f"from {since:.6f} on the source held {low} to {high}"
            yield Violation(4, read, span)


def _since(read: Read, bounds: Bounds, pinned: float) -> float:
    """From when on the source must have confirmed what was read."""
    if read.stale:
        return read.started - bounds.max_stale
    if read.moved:
        return read.started
    return read.opened if bounds.max_age == 0 else pinned - bounds.max_age


def _monotonic(reads: Sequence[Read], timeline: _Timeline) -> Iterator[Violation]:
    """Promise 7, by the last read of each version that had ended when a scope began."""
    ended = sorted(reads, key=lambda read: read.ended)
    last: dict[int, Read] = {}
    done = 0
    for read in sorted(reads, key=_began):
        while ended[done].ended < _began(read):
            last[ended[done].version] = ended[done]
            done += 1
        for before in last.values():
            if before.version > read.version and not _taken_back(before, read, timeline):
                yield Violation(7, read, f"version {before.version} was seen before it began")
                break


def _began(read: Read) -> float:
    return read.started if read.moved else read.opened


def _taken_back(before: Read, read: Read, timeline: _Timeline) -> bool:
    states = timeline.between(before.ended, read.ended)
    return any(state.ceiling < before.version for state in states)
