"""The seam: where processes report, and its twin in memory."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pgp_config.forking import gate
from pgp_config.uptake.entries import Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgp_config.uptake.entries import Entry


@runtime_checkable
class UptakeStore(Protocol):
    """Where processes report, and the command reads.

    Called from one thread at a time in a process; blocks, and bounds its own time (2 s). Ages are told by one
    clock, the store's own. Whatever it raises is told by its type alone.
    """

    def report(self, entries: Sequence[Entry]) -> None:
        """Replace what this process says of these secrets, for as long as each entry's `ttl`."""
        ...

    def read(self, secret: str) -> list[Heard]:
        """What all processes say of a secret, without the entries that have expired."""
        ...

    def leave(self, instance: str, secrets: Iterable[str]) -> None:
        """Forget what a process says of these secrets: it ends."""
        ...

    def close(self) -> None:
        """End the connection; a call after it connects anew."""
        ...


class MemoryUptake:
    """Reports of one process to itself: for tests.

    Args:
        clock: Monotonic seconds; a test gives its own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[tuple[str, str], tuple[float, Entry]] = {}
        self._lock = threading.Lock()
        gate.register(self)

    def report(self, entries: Sequence[Entry]) -> None:
        """As `UptakeStore.report`."""
        now = self._clock()
        with self._lock:
            self._entries |= {(each.secret, each.instance): (now, each) for each in entries}

    def read(self, secret: str) -> list[Heard]:
        """As `UptakeStore.read`."""
        now = self._clock()
        with self._lock:
            self._entries = {
                key: (at, entry)
                for key, (at, entry) in self._entries.items()
                if now < at + entry.ttl
            }
            found = [(at, entry) for at, entry in self._entries.values() if entry.secret == secret]
        return [Heard(entry, now - at) for at, entry in found]

    def leave(self, instance: str, secrets: Iterable[str]) -> None:
        """As `UptakeStore.leave`."""
        with self._lock:
            for secret in secrets:
                self._entries.pop((secret, instance), None)

    def close(self) -> None:
        """Nothing is open."""

    def renew_after_fork(self) -> None:
        """In a child: the lock may have been held by a thread that is not here."""
        self._lock = threading.Lock()
