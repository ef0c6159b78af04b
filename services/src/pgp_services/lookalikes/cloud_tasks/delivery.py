"""Delivers tasks: an HTTP call each, to the local port that a table of routes names for its host.

Headers are those of https://cloud.google.com/tasks/docs/creating-http-target-tasks; the bearer token looks
like Google's and is signed by nobody.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import jwt
from google.cloud.tasks_v2 import types

from pgp_services.lookalikes.cloud_tasks import rules
from pgp_services.lookalikes.cloud_tasks.store import Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_services.lookalikes.cloud_tasks.rules import Message
    from pgp_services.lookalikes.cloud_tasks.store import Held, Store
    from pgp_services.lookalikes.routes import Routes

#: Seconds for which an identity token is valid.
TOKEN_LIFE = 3600

#: Headers that a task's creator cannot set.
_OURS = (
    *("host", "content-length", "user-agent", "connection", "transfer-encoding"),
    "authorization",
)
_OUR_PREFIXES = ("x-google-", "x-appengine-", "x-cloudtasks-")


class Dispatcher:
    """Takes due tasks from the store and delivers them, each in a thread, until it is stopped.

    How many dispatches a second a queue allows is not enforced; how many at a time is.

    Args:
        store: The tasks.
        routes: Where their hosts are.
        limit: Seconds that a worker may take, at most, whatever the task says.
    """

    def __init__(self, store: Store, routes: Routes, limit: float) -> None:
        self._store = store
        self._routes = routes
        self._limit = limit
        self._stopped = False
        self._calls: set[http.client.HTTPConnection] = set()
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(
            target=self._dispatch, name="cloud-tasks-dispatcher", daemon=True
        )

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver nothing more, and end what is being delivered."""
        with self._store.changed:
            self._stopped = True
            self._store.changed.notify_all()
        self._thread.join()
        for call in list(self._calls):
            with contextlib.suppress(OSError, AttributeError):  # not connected yet, or closed
                call.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(rules.DEADLINE_FROM)

    def _dispatch(self) -> None:
        changed = self._store.changed
        with changed:
            while not self._stopped:
                held = self._store.take()
                if held is None:
                    changed.wait(self._store.next_due())
                else:
                    self._begin(held)

    def _begin(self, held: Held) -> None:
        thread = threading.Thread(
            target=self._attempt, args=(held,), name="cloud-tasks-delivery", daemon=True
        )
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()

    def _attempt(self, held: Held) -> None:
        began = time.monotonic()
        retry_after = 0.0
        status, trouble = 0, ""
        try:
            status, retry_after = self._call(held)
        except (OSError, http.client.HTTPException, ValueError) as error:
            trouble = str(error) if isinstance(error, _NoRouteError) else type(error).__name__
        task = held.message
        delivery = Delivery(
            task=task.name,
            queue=held.queue.rpartition("/")[2],
            url=task.http_request.url,
            retry_count=task.dispatch_count - 1,
            status=status,
            trouble=trouble,
            is_duplicate=held.is_duplicate,
            began=began,
            ended=time.monotonic(),
        )
        self._store.conclude(held, delivery, retry_after)

    def _call(self, held: Held) -> tuple[int, float]:
        """The status of the worker's answer, and the pause in seconds that it asks for."""
        request = held.message.http_request
        url = urlsplit(request.url)
        port = self._routes.port_of(url.netloc)
        if port is None:
            raise _NoRouteError("no route")
        deadline = rules.seconds(held.message.dispatch_deadline)
        connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=min(self._limit, deadline)
        )
        self._calls.add(connection)
        try:
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request(
                _method(request), target, request.body, self._headers(held, url.netloc)
            )
            answer = connection.getresponse()
            answer.read()
            return answer.status, _seconds(answer.headers.get("Retry-After"))
        finally:
            self._calls.discard(connection)
            connection.close()

    def _headers(self, held: Held, host: str) -> dict[str, str]:
        task = held.message
        given = task.http_request.headers.items()
        headers = {
            **{name: value for name, value in given if not _is_ours(name)},
            "Host": host,
            "User-Agent": "Google-Cloud-Tasks",
            "Connection": "close",
            "X-CloudTasks-QueueName": held.queue.rpartition("/")[2],
            "X-CloudTasks-TaskName": task.name.rpartition("/")[2],
            "X-CloudTasks-TaskRetryCount": str(task.dispatch_count - 1),
            "X-CloudTasks-TaskExecutionCount": str(task.response_count),
            "X-CloudTasks-TaskETA": f"{task.schedule_time.timestamp():.6f}",
        }
        if held.previous:
            headers["X-CloudTasks-TaskPreviousResponse"] = str(held.previous)
        if task.http_request.oidc_token.service_account_email:
            headers["Authorization"] = f"Bearer {self._identity(task.http_request)}"
        return headers

    def _identity(self, request: Message) -> str:
        """A token with the claims of Google's, for whom and of whom; signed by nobody."""
        now, account = int(self._store.clock()), request.oidc_token.service_account_email
        claims = {
            "iss": "https://accounts.google.com",
            "aud": request.oidc_token.audience or request.url,
            "azp": account,
            "sub": account,
            "email": account,
            "email_verified": True,
            "iat": now,
            "exp": now + TOKEN_LIFE,
        }
        return jwt.encode(claims, "", algorithm="none")


class _NoRouteError(OSError):
    """Nobody on this machine answers for the host."""


def _method(request: Message) -> str:
    return str(types.HttpMethod(request.http_method or types.HttpMethod.POST).name)


def _is_ours(name: str) -> bool:
    return name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES)


def _seconds(retry_after: str | None) -> float:
    """Retry-After, where it is a number of seconds."""
    text = retry_after or ""
    return float(text[:9]) if text.isascii() and text.isdecimal() else 0.0


def identity_of(headers: Mapping[str, str]) -> dict[str, object]:
    """The claims of a delivery's bearer token, unverified; empty without one."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer":
        return {}
    claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return claims
