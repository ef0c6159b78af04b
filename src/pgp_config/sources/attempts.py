"""Calls that end in time, whatever a client library does: each in a thread of its own."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Attempts at once, each perhaps with a connection; those that were given up count until they end.
MOST_ATTEMPTS = 32


class Attempts:
    """Makes attempts that are left behind when their time is up.

    Nothing else ends one in time: the time-outs of HTTP clients are for each address and each read, and not for
    looking up the name. It is for one process: a forked child needs a new one.

    Args:
        name: Of the threads.
        most: Attempts at once, 1 or more; further ones wait within their time.
    """

    def __init__(self, name: str, most: int = MOST_ATTEMPTS) -> None:
        self._name = name
        self._free = threading.BoundedSemaphore(most)

    def run(self, work: Callable[[], T], timeout: float) -> T:
        """What the work returns or raises, in time.

        Args:
            work: Called once, or not at all.
            timeout: Seconds.

        Raises:
            TimeoutError: If there is no outcome in time.
        """
        deadline = time.monotonic() + timeout
        outcome: Future[T] = Future()

        def attempt() -> None:
            try:
                outcome.set_result(work())
            except BaseException as fault:  # noqa: BLE001  raised where the outcome is waited for
                outcome.set_exception(fault)
            finally:
                self._free.release()

        if self._free.acquire(timeout=timeout):
            self._start(attempt)
        return outcome.result(max(deadline - time.monotonic(), 0.0))

    def _start(self, attempt: Callable[[], None]) -> None:
        try:
            threading.Thread(target=attempt, name=self._name, daemon=True).start()
        except BaseException:
            self._free.release()
            raise
