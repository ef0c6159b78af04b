"""Retrying inside a budget: how long an attempt may take, and when the next one follows.

stamina repeats the call and waits; the decisions are here, for threads and coroutines alike.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import stamina

from pgp_services.failures import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds below which another attempt is not worth beginning.
SHORTEST_ATTEMPT = 0.05

#: Repeats a call as its course says; no limits of their own.
retrying = stamina.RetryingCaller(attempts=None, timeout=None)
retrying_async = stamina.AsyncRetryingCaller(attempts=None, timeout=None)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The bounds of a call with all its attempts.

    Attributes:
        budget: Seconds for all attempts and pauses together, more than 0.
        attempt: Seconds for one attempt, more than 0.
        first_pause: Seconds before the second attempt; doubled for each further one.
        longest_pause: Seconds that a pause grows to at most.
        retries: How often it is tried again at most, 0 or more; None for as often as the budget allows.
        clock: Monotonic seconds; a test gives its own.
        chance: Numbers from 0 to 1 for jitter; a test gives its own.
    """

    budget: float
    attempt: float
    first_pause: float = 0.1
    longest_pause: float = 2.0
    retries: int | None = None
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random

    def start(self) -> Course:
        """Begin a call: its budget runs from now."""
        return Course(self)


class Course:
    """The attempts of one call.

    Args:
        policy: Its bounds.

    Attributes:
        clock: Monotonic seconds, the policy's.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.clock = policy.clock
        self._end = self.clock() + policy.budget
        self._failed = 0

    def left(self) -> float:
        """Seconds left of the budget, 0 or more."""
        return max(0.0, self._end - self.clock())

    def attempt_limit(self) -> float:
        """Seconds that the next attempt may take, more than 0."""
        return max(SHORTEST_ATTEMPT, min(self._policy.attempt, self.left()))

    def pause_after(self, error: Exception) -> float | bool:
        """Seconds until the next attempt, or False if there is none: stamina's backoff hook.

        A pause is half fixed, half by chance, so that callers who failed together come back apart.
        It is never shorter than the other side asked for; if the budget does not cover it, the call
        ends now, and its caller can be told to come back.
        """
        if not isinstance(error, Unavailable) or not error.passing:
            return False
        if self._failed == self._policy.retries:
            return False
        pause = max(self._pause(), error.retry_after or 0.0)
        return pause if pause + SHORTEST_ATTEMPT <= self.left() else False

    def _pause(self) -> float:
        policy = self._policy
        full = min(policy.longest_pause, policy.first_pause * 2.0**self._failed)
        self._failed += 1
        return full * (0.5 + 0.5 * policy.chance())
