"""Clients that hold connections: one a process or an event loop, made on first use.

Neither a socket nor a gRPC channel may cross a fork, and an asynchronous client belongs to its loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def is_loopback(host: str | None) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class PerProcess(Generic[T]):
    """Something that is made on first use in each process.

    There is no lock: another thread could hold it while the process forks. Two threads that come
    first at once both make one; the later one is closed again.

    Args:
        make: Makes one.
        close: Closes one.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], object]) -> None:
        self._make = make
        self._close = close
        self._made: dict[int, T] = {}

    def __call__(self) -> T:
        """The one of this process."""
        pid = os.getpid()
        held = self._made.get(pid)
        if held is not None:
            return held
        made = self._make()
        self._forget_parents(pid)
        kept = self._made.setdefault(pid, made)
        if kept is not made:
            self._close(made)
        return kept

    def _forget_parents(self, pid: int) -> None:
        for other in [known for known in list(self._made) if known != pid]:
            self._made.pop(other, None)

    def close(self) -> None:
        """Close the one of this process, if there is one; the next use makes another."""
        held = self._made.pop(os.getpid(), None)
        if held is not None:
            self._close(held)


class PerLoop(Generic[T]):
    """Something that is made on first use in each event loop.

    Args:
        make: Makes one; it may wait.
        close: Closes one, in its loop.
    """

    def __init__(
        self, make: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[object]]
    ) -> None:
        self._make = make
        self._close = close
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    async def __call__(self) -> T:
        """The one of the running loop."""
        loop = asyncio.get_running_loop()
        held = self._made.get(loop)
        if held is not None:
            return held
        made = await self._make()
        self._forget_closed()
        kept = self._made.setdefault(loop, made)
        if kept is not made:
            await self._close(made)
        return kept

    def _forget_closed(self) -> None:
        """What is made in a loop refers to it: a weak dictionary would never let go."""
        for loop in [known for known in list(self._made) if known.is_closed()]:
            self._made.pop(loop, None)

    async def aclose(self) -> None:
        """Close the one of the running loop, if there is one; the next use makes another."""
        held = self._made.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await self._close(held)
