"""The budget of a fetch: so many seconds an attempt, so many in all, a jittered pause between attempts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import tenacity

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Seconds below which an attempt is not worth its start.
LEAST_ATTEMPT = 0.05

#: Seconds of the pause before a retry, each a random share of: at first, doubled up to.
SHORTEST_BACKOFF, LONGEST_BACKOFF = 0.2, 1.0


def within(
    total: float,
    attempt: Callable[[float], T],
    *,
    each: float,
    may_pass: Callable[[BaseException], bool],
) -> T:
    """Try, and again while that may help and time is left.

    Args:
        total: Seconds for all attempts and pauses.
        attempt: Takes the seconds that it may last.
        each: Seconds for one attempt; the last one gets what is left.
        may_pass: Whether the same attempt may succeed after this fault.

    Raises:
        BaseException: The last attempt's.
    """
    deadline = time.monotonic() + total
    try:
        return attempt(min(each, total))
    except Exception as fault:
        if not may_pass(fault):
            raise
        first = [fault]

    def timed() -> T:
        if first:
            raise first.pop()
        return attempt(min(each, max(deadline - time.monotonic(), LEAST_ATTEMPT)))

    # Only now: tenacity takes 40 µs, and nearly every first attempt succeeds. It is told of that one, and
    # so waits and stops as if it had made it.
    left = deadline - time.monotonic() - LEAST_ATTEMPT
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_pass),
        wait=tenacity.wait_random_exponential(multiplier=SHORTEST_BACKOFF, max=LONGEST_BACKOFF),
        stop=tenacity.stop_before_delay(max(left, 0.0)),
        reraise=True,
    )
    return retrying(timed)
