"""Finds secret values in text, also as other programs write them, and puts names in their place."""

from __future__ import annotations

import itertools
import json
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Shorter texts are not looked for: they occur by chance. As in `pgp_config.redaction`.
SHORTEST = 4

#: A line of a value of several lines that is this long is a secret of its own: reports indent them.
LONG_LINE = 16

#: Characters of a line that a report shows around what was found.
EXCERPT = 120


class Values:
    """Texts that may not be shown, each with a name for it.

    Args:
        canaries: Texts that the test names itself. What follows one, up to a space or a quote, is taken as part of it.

    Raises:
        DeclarationError: If a canary has under 4 characters.
    """

    def __init__(self, canaries: Iterable[str] = ()) -> None:
        self._names: dict[str, str] = {}
        self._canaries: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        # Re-entrant: a signal handler may write in a thread that holds it.
        self._lock = threading.RLock()
        self.add_canaries(canaries)

    def __repr__(self) -> str:
        return f"<Values of {len(set(self._names.values()))} secrets>"

    def learn(self, name: str, texts: Iterable[str]) -> None:
        """Look for these from now on.

        Args:
            name: The secret's name, which stands in their place.
            texts: What may not be shown; texts of under 4 characters are left out.
        """
        long = [text for text in texts if len(text) >= SHORTEST]
        with self._lock:
            for written in itertools.chain.from_iterable(map(_ways_to_write, long)):
                self._names.setdefault(written, name)
            self._pattern = None

    def add_canaries(self, canaries: Iterable[str]) -> None:
        """Look for more texts that the test names itself.

        Raises:
            DeclarationError: If one has under 4 characters.
        """
        for canary in canaries:
            number = len(self._canaries) + 1
            if len(canary) < SHORTEST:
                raise DeclarationError(
                    f"canary {number} has under {SHORTEST} characters",
                    remedy="Name a text that occurs nowhere by chance.",
                )
            with self._lock:
                self._canaries.setdefault(canary, f"canary {number}")
                self._pattern = None

    def scrub(self, text: str) -> str:
        """The text with each value replaced by `[NAME]`."""
        return self._search().sub(lambda found: f"[{self._name_of(found[0])}]", text)

    def find(self, text: str) -> list[str]:
        """Where the values are: the name, the line's number and the line, without a value."""
        # By line: one that holds a value twice is told once.
        return list(
            dict.fromkeys(self._tell(text, found) for found in self._search().finditer(text))
        )

    def _tell(self, text: str, found: re.Match[str]) -> str:
        start = text.rfind("\n", 0, found.start()) + 1
        end = text.find("\n", found.end())
        line = self.scrub(text[start : end if end >= 0 else len(text)])
        name = self._name_of(found[0])
        number = text.count("\n", 0, found.start()) + 1
        return f"the value of {name}, in line {number}: {_excerpt(line, f'[{name}]')}"

    def _search(self) -> re.Pattern[str]:
        with self._lock:
            if self._pattern is None:
                longest_first = sorted(self._names, key=len, reverse=True)
                canaries = [re.escape(text) + r"[^\s'\"\\<>&]*" for text in self._canaries]
                # Without a text, something that is nowhere.
                texts = [*canaries, *map(re.escape, longest_first)] or ["(?!)"]
                self._pattern = re.compile("|".join(texts))
            return self._pattern

    def _name_of(self, found: str) -> str:
        name = self._names.get(found)
        return name or next(n for text, n in self._canaries.items() if found.startswith(text))


def _ways_to_write(text: str) -> Iterator[str]:
    """The text itself, as `repr`, JSON and URLs have it, and its long lines."""
    yield text
    yield repr(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield quote(text, safe="")
    lines = text.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= LONG_LINE and "-----" not in line)


def _excerpt(line: str, mark: str) -> str:
    line = line.strip()
    if len(line) <= EXCERPT:
        return line
    start = max(0, line.index(mark) - EXCERPT // 2)
    return f"…{line[start : start + EXCERPT]}…"
