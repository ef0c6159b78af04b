"""Counts of what is too frequent to tell of: how scopes came by their values."""

from __future__ import annotations

import itertools


class Tally:
    """A number that any thread raises by one, at the cost of one call of C.

    `add()` raises it, and `int()` reads it. Without a lock, which a fork would have to know of, and unlike
    `+= 1` without an interpreter's promise that nothing comes in between.
    """

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin at zero again."""
        self._count = itertools.count()
        self.add = self._count.__next__

    def __int__(self) -> int:
        # Its `repr` alone shows where a count is without moving it on.
        return int(repr(self._count).removeprefix("count(").removesuffix(")"))

    def __repr__(self) -> str:
        return f"<Tally {int(self)}>"


#: What came of a read; each has one of these.
OUTCOMES = ("fresh", "waited", "stale", "failed")


class Reads:
    """How scopes came by the values of one secret: each read that no dictionary look-up answers is one.

    Attributes:
        fresh: From memory, confirmed within `max_age`.
        waited: After a fetch that brought, or confirmed, a version.
        stale: The last good version, in an outage.
        failed: Not at all: an error was raised.
        coalesced: Of those, the reads that waited for a fetch that another one had set off.
    """

    __slots__ = ("coalesced", "failed", "fresh", "stale", "waited")

    fresh: Tally
    waited: Tally
    stale: Tally
    failed: Tally
    coalesced: Tally

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, Tally())

    def by_outcome(self) -> dict[str, int]:
        """How many there were, by outcome."""
        return {name: int(getattr(self, name)) for name in OUTCOMES}

    def reset(self) -> None:
        """Begin at zero again."""
        for name in self.__slots__:
            tally: Tally = getattr(self, name)
            tally.reset()
