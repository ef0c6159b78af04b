"""Finds many known texts in a text at once, in time linear in it.

Of each known text, some neighbouring blocks of four characters near its middle are indexed: so many that one of
them lies on any grid of that width. A text is looked at on the grid only, one look-up in a dictionary a
point. Where a block is known, what lies around it is compared as a whole: one look-up for each length at which
a known text has that block there. Neither grows with the number of texts. Nothing is compiled, so a new
version costs what it costs alone.

*Rejected:* one alternation of the standard `re`, which tries every text at every character; a regular
expression of their trie, and Aho and Corasick's automaton in Python: both are built anew for each new version,
0.3 s for 1,000 secrets with their forms, in whatever request logs next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Container

BLOCK = 4

#: Shortest text of each tier; the grid of a tier is as wide as its shortest text has blocks.
TIERS = (4, 8, 16)

#: Texts that were discarded, from which the index is made anew if that is half of all.
WORTHWHILE = 1000


#: Where one or more known texts are that overlap: where the first begins, where all of them end, and where the
#: longest ends that begins there.
Place: TypeAlias = "tuple[int, int, int]"


class _Tier:
    """Texts of at least so many characters."""

    def __init__(self, shortest: int) -> None:
        self._width = shortest - BLOCK + 1
        self._places: dict[str, tuple[tuple[int, int], ...]] = {}

    def add(self, text: str) -> None:
        begin = self._begin(text)
        for at in range(begin, begin + self._width):
            block, place = text[at : at + BLOCK], (at, len(text))
            known = self._places.get(block, ())
            if place not in known:
                self._places[block] = (*known, place)

    def _begin(self, text: str) -> int:
        """Where the blocks that are indexed begin."""
        # In the middle: "https://", "sk_live_" and "==" would be met in vain. Elsewhere, if it is more varied there:
        # a run of spaces, or a line of dashes, would be met wherever a text has one.
        shortest = self._width + BLOCK - 1
        rest = len(text) - shortest
        return max(
            (rest * eighths // 8 for eighths in (4, 3, 5, 2, 6, 1, 7)),
            key=lambda begin: len(set(text[begin : begin + shortest])),
        )

    def find(self, text: str, known: Container[str]) -> list[tuple[int, int]]:
        places, found = self._places, []
        grid = range(0, len(text) - BLOCK + 1, self._width) if places else ()
        for at in [at for at in grid if text[at : at + BLOCK] in places]:
            for offset, length in places[text[at : at + BLOCK]]:
                begin, end = at - offset, at - offset + length
                if begin >= 0 and end <= len(text) and text[begin:end] in known:
                    found.append((begin, end))
        return found


class Index:
    """Known texts of 4 characters or more, and the name for each.

    One thread at a time adds and discards; any number find meanwhile. Both may be repeated, so that what was
    interrupted is done again from its beginning.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._tiers = tuple(map(_Tier, TIERS))
        self._discarded = 0

    def __len__(self) -> int:
        return len(self._names)

    def add(self, text: str, name: str) -> None:
        """Know a text by a name from now on."""
        self._names[text] = name
        _enter(self._tiers, text)

    def discard(self, text: str) -> None:
        """Find a text no more."""
        if self._names.pop(text, None) is None:
            return
        # What its blocks say stays, and finds nothing, until it is worthwhile to make all of them anew.
        self._discarded += 1
        if self._discarded > max(WORTHWHILE, len(self._names)):
            tiers = tuple(map(_Tier, TIERS))
            for known in list(self._names):
                _enter(tiers, known)
            self._tiers, self._discarded = tiers, 0

    def find(self, text: str) -> list[Place]:
        """Where known texts are, in order."""
        names = self._names
        found = [span for tier in self._tiers for span in tier.find(text, names)]
        places: list[Place] = []
        for begin, end in sorted(found):
            first, last, first_end = places[-1] if places else (0, 0, 0)
            if begin >= last:
                places.append((begin, end, end))
            else:
                places[-1] = first, max(end, last), end if begin == first else first_end
        return places

    def name(self, text: str) -> str:
        """What stands for a text."""
        return self._names.get(text, "redacted")  # if it was forgotten meanwhile


def _enter(tiers: tuple[_Tier, ...], text: str) -> None:
    at = max(number for number, shortest in enumerate(TIERS) if shortest <= len(text))
    tiers[at].add(text)
