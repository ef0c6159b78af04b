"""Clients that hold connections: one a process or an event loop, made on first use.

Neither a socket nor a gRPC channel may cross a fork, and an asynchronous client belongs to its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import ssl
from contextvars import Context
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Generic, TypeVar

import httpx

from pgp_services.clients.deadlines import bounded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

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
        self._parents: list[T] = []

    def __call__(self) -> T:
        """The one of this process."""
        pid = os.getpid()
        held = self._made.get(pid)
        if held is not None:
            return held
        made = self._make()
        self._set_parents_aside(pid)
        kept = self._made.setdefault(pid, made)
        if kept is not made:
            self._close(made)
        return kept

    def _set_parents_aside(self, pid: int) -> None:
        """Never used and never closed here; without a reference Python would warn of open sockets."""
        for other in [known for known in list(self._made) if known != pid]:
            with contextlib.suppress(KeyError):  # another thread was first
                self._parents.append(self._made.pop(other))

    def close(self) -> None:
        """Close the one of this process, if there is one; the next use makes another."""
        held = self._made.pop(os.getpid(), None)
        if held is not None:
            self._close(held)


class PerLoop(Generic[T]):
    """Something that is made on first use in each event loop, by a task that all who come first wait for.

    Args:
        make: Makes one; it may wait.
        close: Closes one, in its loop.
    """

    def __init__(
        self, make: Callable[[], Coroutine[None, None, T]], close: Callable[[T], Awaitable[object]]
    ) -> None:
        self._make = make
        self._close = close
        self._made: dict[asyncio.AbstractEventLoop, T] = {}
        self._making: dict[asyncio.AbstractEventLoop, asyncio.Task[T]] = {}
        self._closing: set[asyncio.Future[object]] = set()

    async def __call__(self) -> T:
        """The one of the running loop; who is cancelled meanwhile leaves its making to the others."""
        loop = asyncio.get_running_loop()
        held = self._made.get(loop)
        if held is not None:
            return held
        making = self._making.get(loop)
        if making is None:
            self._forget_closed()
            # In an empty context: in the first request's it would keep what that one holds.
            making = loop.create_task(self._make_for(loop), context=Context())
            self._making[loop] = making
        return await asyncio.shield(making)

    async def _make_for(self, loop: asyncio.AbstractEventLoop) -> T:
        try:
            made = self._made[loop] = await self._make()
        finally:
            del self._making[loop]
        return made

    def _forget_closed(self) -> None:
        """What is made in a loop refers to it: a weak dictionary would never let go."""
        for held in (self._made, self._making):
            for loop in [known for known in list(held) if known.is_closed()]:
                held.pop(loop, None)

    async def aclose(self) -> None:
        """Close the one of the running loop, if there is one; the next use makes another."""
        loop = asyncio.get_running_loop()
        making = self._making.get(loop)
        if making is not None:
            await asyncio.wait({making})
        held = self._made.pop(loop, None)
        if held is not None:
            await self._close(held)

    def close_soon(self) -> None:
        """Have each closed in its own loop, from whatever thread; nobody waits for it."""
        for loop in list(self._made):
            # A loop that has been closed meanwhile has nothing to be closed in.
            with contextlib.suppress(KeyError, RuntimeError):
                loop.call_soon_threadsafe(self._begin, self._close, self._made.pop(loop))
        for loop in list(self._making):
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._begin, self.aclose)

    def _begin(self, close: Callable[..., Awaitable[object]], *held: T) -> None:
        closing = asyncio.ensure_future(close(*held))
        # The loop itself holds a task weakly.
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class HttpConnections:
    """The HTTP clients of a process and of its loops.

    A server on the loopback is not behind the proxy that the environment may name, and has no certificate:
    it has clients of its own, without a proxy and without certificate authorities. No client keeps a cookie: one
    that was set for a key would outlive it.
    """

    def __init__(self) -> None:
        self._clients = {
            local: PerProcess(partial(_client, local=local), httpx.Client.close)
            for local in (False, True)
        }
        self._async_clients = {
            local: PerLoop(partial(_async_client, local=local), httpx.AsyncClient.aclose)
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


def _client(*, local: bool) -> httpx.Client:
    context = _trusting_nobody() if local else httpx.create_ssl_context()
    client = httpx.Client(verify=context, trust_env=not local, cookies=_no_cookies())
    bounded(client)
    return client


async def _async_client(*, local: bool) -> httpx.AsyncClient:
    # Reading the certificate authorities takes a while: not in the loop's thread.
    context = _trusting_nobody() if local else await asyncio.to_thread(httpx.create_ssl_context)
    return httpx.AsyncClient(verify=context, trust_env=not local, cookies=_no_cookies())


def _trusting_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _no_cookies() -> CookieJar:
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
