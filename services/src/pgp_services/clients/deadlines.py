"""Bounds an attempt of a thread in time, whatever its server does: each step ends with the attempt.

httpx bounds each read, and a server that sends a byte now and then, or one interim answer after the other, makes as
many of them as it likes; it gives each of a host's addresses the whole time to connect; and nothing bounds
the look-up of a name. Coroutines need none of this: a time-out cancels them.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class Deadline:
    """When an attempt is over.

    Attributes:
        end: By its clock.
        clock: Monotonic seconds.
    """

    end: float
    clock: Callable[[], float]

    def bound(self, timeout: float | None, late: type[Exception]) -> float:
        """Seconds that a step may take, more than 0.

        Args:
            timeout: What it may take by itself.
            late: Raised if the attempt is over.
        """
        left = self.end - self.clock()
        if left <= 0:
            raise late
        return left if timeout is None else min(timeout, left)


#: The deadline of the attempt that runs in this context; each attempt has a context of its own.
current = ContextVar("pgp_services_deadline", default=Deadline(inf, time.monotonic))  # noqa: B039  frozen


def bounded(client: httpx.Client) -> None:
    """Let the requests of a client end with the deadline of their context."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001  httpx has no parameter for it
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend()  # noqa: SLF001  as above


class _Backend(httpcore.SyncBackend):
    """Connects within the deadline, to one address of a host after the other."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError()
        for address in _addresses(host, port, timeout):
            limit = current.get().bound(timeout, httpcore.ConnectTimeout)
            try:
                return _Stream(
                    super().connect_tcp(address, port, limit, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as fault:
                failure = fault
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection whose steps end with the deadline.

    Args:
        stream: The connection itself.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, current.get().bound(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, current.get().bound(timeout, httpcore.WriteTimeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        limit = current.get().bound(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, limit))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _addresses(host: str, port: int, timeout: float | None) -> list[str]:
    """Those of a host, the preferred one first.

    The system's look-up cannot be told how long it may take: a thread waits for it, which outlives the attempt
    by what the system's resolver takes at most (`resolv.conf`: 5 s, twice, for each name server).
    """
    if _is_address(host):
        return [host]
    found: Future[list[str]] = Future()
    threading.Thread(target=_look_up, args=(host, port, found), daemon=True).start()
    try:
        return found.result(current.get().bound(timeout, httpcore.ConnectTimeout))
    except TimeoutError:
        raise httpcore.ConnectTimeout from None
    except OSError as fault:
        raise httpcore.ConnectError(fault) from None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int, found: Future[list[str]]) -> None:
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except Exception as fault:  # noqa: BLE001  whoever waits for it raises it
        found.set_exception(fault)
    else:
        found.set_result(list(dict.fromkeys(f"{place[4][0]}" for place in places)))
