"""How often a user may claim: what a claim makes is a task, and anybody may write to the bot."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two claims of a user.
INTERVAL = 10.0

#: Users who are remembered, at most: who claims beyond them within `INTERVAL` waits too.
MAX_USERS = 10_000


class Pace:
    """Lets each user pass once an interval, in this process; used from threads.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._passed: dict[int, float] = {}

    def passes(self, user_id: int) -> bool:
        """Whether it is a user's turn; who asks has had it."""
        with self._lock:
            now = self._clock()
            # The oldest are the first.
            while self._passed and now - next(iter(self._passed.values())) >= INTERVAL:
                del self._passed[next(iter(self._passed))]
            if user_id in self._passed or len(self._passed) >= MAX_USERS:
                return False
            self._passed[user_id] = now
            return True

    def give_back(self, user_id: int) -> None:
        """It was for nothing: the user may try again at once."""
        with self._lock:
            self._passed.pop(user_id, None)
