"""What a source holds for its process, and no fork may carry along: a client, a session, a token."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from pgp_config.forking import gate

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: What a fork brought along. It is neither used nor closed, nor ever freed: to close a connection with TLS tells
#: the other side so, on the socket that the parent uses too.
_inherited: list[object] = []


class PerProcess(Generic[T]):
    """Makes something on first use in each process, and shares it among threads; for sources of your own.

    Args:
        make: Makes it. Others wait meanwhile; after an error the next one tries anew.
        end: Ends it, when this is closed.
    """

    def __init__(self, make: Callable[[], T], end: Callable[[T], object]) -> None:
        self._make = make
        self._end = end
        self._renew()
        gate.register(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("What belongs to one process is not pickled or copied.")

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._made: list[T] = []

    def get(self, timeout: float = -1) -> T:
        """This process's; made now, if there is none.

        Args:
            timeout: Seconds to wait for another thread that makes it; -1 for as long as that takes.

        Raises:
            TimeoutError: If that was not enough.
            BaseException: Whatever `make` raises.
        """
        lock = self._lock
        if not lock.acquire(timeout=timeout):
            raise TimeoutError(f"another thread was still connecting after {timeout:g} s")
        try:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
        finally:
            lock.release()

    def close(self) -> None:
        """End it, if it was made; `get` makes a new one after that."""
        with self._lock:
            made, self._made = self._made, []
        for one in made:
            self._end(one)

    def renew_after_fork(self) -> None:
        """In a child: leave the parent's alone."""
        _inherited.append(self._made)
        self._renew()
