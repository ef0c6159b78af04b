"""Many readers at once, in threads or coroutines, and what they waited."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: What a read gave, when it began and when it was over.
Read: TypeAlias = tuple[object, float, float]


def burst(count: int, read: Callable[[], object]) -> list[float]:
    """Read in so many threads at once; how long each took, in seconds."""
    barrier = threading.Barrier(count)
    took: list[float] = []

    def reader() -> None:
        barrier.wait()
        began = time.perf_counter()
        read()
        took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=reader) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(took) < count:
        raise RuntimeError("a reader failed; its traceback is above")
    return took


async def burst_async(count: int, read: Callable[[], Any]) -> list[float]:
    """The same in so many coroutines."""

    async def reader() -> float:
        began = time.perf_counter()
        await read()
        return time.perf_counter() - began

    return await asyncio.gather(*(reader() for _ in range(count)))


def percentile(times: Sequence[float], share: float = 0.99) -> float:
    """The smallest of them that so large a share does not exceed."""
    return sorted(times)[math.ceil(share * len(times)) - 1]


def waited_for(ended: Mapping[int, float], read: Read) -> int:
    """For how many calls, one after another, a read waited: that under way when it began included.

    Args:
        ended: When each call was over, by its number.
        read: Its value is the number of the call that it got.
    """
    value, began, _ = read
    got = int(str(value))
    return sum(ended[number] > began for number in range(1, got + 1))
