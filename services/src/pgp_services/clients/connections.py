"""Clients that hold connections: one a process or an event loop, made on first use.

Neither a socket nor a gRPC channel may cross a fork, and an asynchronous client belongs to its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import httpx

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


def base_of(url: str) -> httpx.URL | None:
    """A base URL, unless it would send a key in the clear or carries one itself.

    Whoever gives None the meaning of an error forgets the text first: it may hold a password, and a
    traceback's locals are logged.

    Args:
        url: `https://` and a host; plain http for a local server on the loopback only.
    """
    base = url_of(url)
    return base if base is not None and base.raw_path == b"/" else None


def url_of(url: str) -> httpx.URL | None:
    """As `base_of`, for a URL that may have a path and a query."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return None
    local = parsed.scheme == "http" and is_loopback(parsed.host)
    bare = parsed.host and not parsed.userinfo and not parsed.fragment
    return parsed if bare and (parsed.scheme == "https" or local) else None


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
        self._closing: set[asyncio.Future[object]] = set()

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

    def close_soon(self) -> None:
        """Have each closed in its own loop, from whatever thread; nobody waits for it."""
        for loop in list(self._made):
            # A loop that has been closed meanwhile has nothing to be closed in.
            with contextlib.suppress(KeyError, RuntimeError):
                loop.call_soon_threadsafe(self._begin_to_close, self._made.pop(loop))

    def _begin_to_close(self, held: T) -> None:
        closing = asyncio.ensure_future(self._close(held))
        # The loop itself holds a task weakly.
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class HttpConnections:
    """The HTTP clients of a process and of its loops.

    A server on the loopback is not behind the proxy that the environment may name: it has clients of
    its own, without one.
    """

    def __init__(self) -> None:
        self._clients = {
            local: PerProcess(partial(httpx.Client, trust_env=not local), httpx.Client.close)
            for local in (False, True)
        }
        self._async_clients = {
            local: PerLoop(partial(_async_client, trust_env=not local), httpx.AsyncClient.aclose)
            for local in (False, True)
        }

    def to(self, url: httpx.URL) -> httpx.Client:
        """The client of this process for a URL."""
        return self._clients[is_loopback(url.host)]()

    async def to_async(self, url: httpx.URL) -> httpx.AsyncClient:
        """The client of the running loop for a URL."""
        return await self._async_clients[is_loopback(url.host)]()

    def close(self) -> None:
        """Close the connections of this process; the next use opens new ones."""
        for clients in self._clients.values():
            clients.close()

    def close_all(self) -> None:
        """Close those of this process, and have those of its loops closed there soon."""
        self.close()
        for clients in self._async_clients.values():
            clients.close_soon()

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next use opens new ones."""
        for clients in self._async_clients.values():
            await clients.aclose()


async def _async_client(*, trust_env: bool) -> httpx.AsyncClient:
    # Reading the certificate authorities takes a while: not in the loop's thread.
    context = await asyncio.to_thread(httpx.create_ssl_context, trust_env=trust_env)
    return httpx.AsyncClient(verify=context, trust_env=trust_env)
