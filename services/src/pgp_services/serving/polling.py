"""A loop over Telegram's updates in a thread of the process that serves, for as long as that lives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that the end of the process waits for the loop: for its last poll, and for the update at hand.
PATIENCE = 8.0


class Loop(Protocol):
    """Asks for updates, and has each handled."""

    def run(self) -> None:
        """Go on until its event is set, and end within seconds then."""
        ...


class Polling:
    """Runs a loop from where a process begins to serve until it ends.

    Args:
        make: Makes the loop from what handles an update, and from the event `stop`.
        handle: Handles an update.
    """

    def __init__(self, make: Callable[..., Loop], handle: Callable[[Any], object]) -> None:
        self._make = make
        self._handle = handle
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, in the process that serves: no thread, and no event of one, crosses a fork."""
        self._stop = threading.Event()
        loop = self._make(handle=self._handle, stop=self._stop)
        # A daemon: where Telegram holds the last poll for too long, the process ends without it.
        self._thread = threading.Thread(target=loop.run, name="telegram-updates", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let no further update be handled, and wait for the one at hand, `PATIENCE` seconds at most."""
        if self._stop is None or self._thread is None:
            return
        self._stop.set()
        self._thread.join(PATIENCE)
