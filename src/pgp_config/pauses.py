"""How long something that fails is left alone: a growing, jittered pause, the same rule everywhere."""

from __future__ import annotations

#: Seconds: from, up to, and the jitter as a share.
SHORTEST_PAUSE, LONGEST_PAUSE, PAUSE_JITTER = 1.0, 60.0, 0.25

#: How often a pause is doubled at most: enough for the longest. A float has room for 1,023.
DOUBLINGS = 6


def pause_after(failures: int, chance: float) -> float:
    """Seconds for which nothing is tried again after one failure more than so many in a row.

    Args:
        failures: How many there were before, 0 or more.
        chance: A number from 0 to 1, for the jitter: upwards, at the longest downwards.
    """
    pause, jitter = SHORTEST_PAUSE * 2.0 ** min(failures, DOUBLINGS), PAUSE_JITTER * chance
    longer = min(LONGEST_PAUSE, pause) * (1 + jitter)
    return longer if longer <= LONGEST_PAUSE else LONGEST_PAUSE * (1 - jitter)
