"""Numbers for versions that AWS names by ids: 1 is the oldest, counted by when they were made.

A number, once told, stays with its version as long as the process lives; a newer version's is higher. That holds
also when AWS removes old ones, which it does past `MOST_LISTED`: then a process that starts later counts fewer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

#: Versions of a secret past which AWS removes the oldest ones without a label.
MOST_LISTED = 100


class Listed(NamedTuple):
    """A version as AWS lists it.

    Attributes:
        id: Its id.
        created: When it was made.
        is_current: Whether it has the label that is read.
    """

    id: str
    created: datetime
    is_current: bool


class History:
    """The versions of one secret that this process knows; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._current = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was learned yet."""
        return not self._numbers

    @property
    def current(self) -> int:
        """The number of the version that was last seen with the label; 0 if none was."""
        return self._current

    def number_of(self, version_id: str) -> int | None:
        """The number of a version, if it is known."""
        return self._numbers.get(version_id)

    def id_of(self, number: int) -> str | None:
        """The id of a number, if there is such."""
        return self._ids.get(number)

    def learn(self, listed: Iterable[Listed]) -> None:
        """Number those that are new, the oldest first, after all that have a number."""
        versions = sorted(listed, key=lambda version: version.created)
        with self._lock:
            for version in versions:
                self._give_number(version.id)
            for version in versions:
                if version.is_current:
                    self._current = self._numbers[version.id]

    def see_current(self, version_id: str) -> int:
        """That this version has the label now; its number, the next one if a list did not show it yet."""
        with self._lock:
            self._current = self._give_number(version_id)
            return self._current

    def _give_number(self, version_id: str) -> int:
        number = self._numbers.setdefault(version_id, len(self._numbers) + 1)
        self._ids[number] = version_id
        return number
