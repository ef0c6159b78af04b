"""A loop over Telegram's updates in a thread of the process that serves, for as long as that lives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that the end of the process waits for the update at hand.
PATIENCE = 8.0


class Loop(Protocol):
    """Asks for updates, and has each handled."""

    def run(self) -> None:
        """Go on until its event is set."""
        ...


class Polling:
    """Runs a loop, and ends it between two updates.

    The loop may be waiting for Telegram when the process ends: that is given up, and costs nothing, because
    an update counts as taken with the next question only. What is being handled is waited for.

    Args:
        make: Makes the loop from what handles an update, and from the event `stop`.
        handle: Handles an update; never raises.
    """

    def __init__(self, make: Callable[..., Loop], handle: Callable[[Any], object]) -> None:
        self._make = make
        self._handle = handle
        # Made where the thread is started: a fork would copy them in whatever state they are.
        self._stop: threading.Event | None = None
        self._busy: threading.Lock | None = None

    def start(self) -> None:
        """Start the thread, in the process that serves."""
        self._stop, self._busy = threading.Event(), threading.Lock()
        loop = self._make(handle=self._unless_stopped, stop=self._stop)
        threading.Thread(target=loop.run, name="telegram-updates", daemon=True).start()

    def stop(self) -> None:
        """Let no further update be handled, and wait for the one at hand, `PATIENCE` seconds at most."""
        if self._stop is None or self._busy is None:
            return
        self._stop.set()
        if self._busy.acquire(timeout=PATIENCE):
            self._busy.release()

    def _unless_stopped(self, update: Any) -> None:  # noqa: ANN401  whatever the loop brings
        assert self._stop is not None  # noqa: S101  for mypy
        assert self._busy is not None  # noqa: S101  as above
        with self._busy:
            if not self._stop.is_set():
                self._handle(update)
