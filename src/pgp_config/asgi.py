"""One request, one scope, for any ASGI application; the start-up load in the lifespan, pushes, and the status page."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeAlias

from pgp_config.errors import PgpConfigError
from pgp_config.health import refuse_non_container
from pgp_config.push.endpoint import PushEndpoint
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from pgp_config.health import Container
    from pgp_config.push.endpoint import Announcing, Answer
    from pgp_config.push.listener import PubSubListener
    from pgp_config.status import StatusPage, StatusRequest

    #: What `PushMiddleware` takes events from.
    Push: TypeAlias = PushEndpoint | PubSubListener

# As Starlette has them. asgiref's own are TypedDicts, which no framework's application accepts.
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_logger = logging.getLogger("pgp_config")


class ScopeMiddleware:
    """Opens a new scope for each request and each websocket, and closes it at the end of the call.

    Streamed bodies and background tasks that the application awaits are inside. A websocket is one
    scope for as long as it is open: use `request_scope()` for each message to see rotations.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        # Always a new scope: uvicorn can show a request the context of the one before it on the
        # same connection (python/cpython#140947).
        with request_scope():
            await self._app(scope, receive, send)


class LifespanMiddleware:
    """Loads a container before the application starts, and closes it after the application's end.

    A failed load is `lifespan.startup.failed`, and the server exits: the message names secrets and
    causes. The application need not know the lifespan protocol.

    Args:
        app: The application.
        container: What is loaded.
        close: Whether the container ends with the application; False where it serves longer, such
            as with several test clients, one after the other.

    Raises:
        DeclarationError: If the container is none.
    """

    def __init__(self, app: ASGIApp, container: Container, *, close: bool = True) -> None:
        refuse_non_container(container)
        self._app = app
        self._container = container
        self._closes = close

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Serve one connection, or the life of the application."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        startup = await receive()
        try:
            await self._load(send)
            await self._live(scope, _Lifespan(startup, receive, send, self._close))
        finally:
            # In this thread: a loop that is being stopped cancels what it has not begun in another.
            if self._closes:
                self._container.close()

    async def _load(self, send: Send) -> None:
        # In an empty context: a test's request_scope around the client is not the application's.
        loading = asyncio.get_running_loop().create_task(
            self._container.aload(), context=Context()
        )
        try:
            await loading
        except Exception as error:
            # An error that is not ours may hold anything, so only its type is told.
            told = str(error) if isinstance(error, PgpConfigError) else type(error).__name__
            await send({"type": "lifespan.startup.failed", "message": told})
            raise

    async def _live(self, scope: MutableMapping[str, Any], lifespan: _Lifespan) -> None:
        try:
            await self._app(scope, lifespan.receive, lifespan.send)
        except Exception as error:
            if lifespan.has_begun:
                raise
            _logger.info("The application has no lifespan of its own: %s", type(error).__name__)
        await lifespan.finish()

    async def _close(self) -> None:
        if self._closes:
            # Waits for calls in flight, for the source, and for objects that belong to this loop.
            aclose = getattr(self._container, "aclose", None)
            await (asyncio.to_thread(self._container.close) if aclose is None else aclose())


class _Lifespan:
    """The application's part of the conversation, and what it leaves unsaid.

    Args:
        startup: The server's first message, which the application is still to receive.
        receive: Gets the server's further messages.
        send: Answers the server.
        close: Called before the server hears of the end, after which it may stop the loop.
    """

    def __init__(
        self, startup: Message, receive: Receive, send: Send, close: Callable[[], Awaitable[None]]
    ) -> None:
        self._unread: Message | None = startup
        self._receive = receive
        self._send = send
        self._close = close
        self._is_asked_to_end = False
        self._has_ended = False
        self.has_begun = False

    async def receive(self) -> Message:
        """The server's next message."""
        if self._unread is not None:
            message, self._unread = self._unread, None
            return message
        message = await self._receive()
        self._is_asked_to_end = message["type"] == "lifespan.shutdown"
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on."""
        self.has_begun = True
        if message["type"] != "lifespan.startup.complete":
            self._has_ended = True
            await self._close()
        await self._send(message)

    async def finish(self) -> None:
        """Say what the application did not: that it has started, and that it has ended."""
        if not self.has_begun:
            await self.send({"type": "lifespan.startup.complete"})
        if self._has_ended:
            return
        if not self._is_asked_to_end:
            await self._receive()
        await self.send({"type": "lifespan.shutdown.complete"})


class PushMiddleware:
    """Takes the pushes of Secret Manager's events, or has a listener pull them.

    Put it around all the rest: a push opens no scope, and runs none of the application's code.

    Args:
        app: The application.
        container: Hears of the events.
        push: The endpoint that answers; or a listener, which is started with the lifespan (without one,
            with the first request), and closed with it.
    """

    def __init__(self, app: ASGIApp, container: Announcing, push: Push) -> None:
        self._app = app
        self._container = container
        self._push = push

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Serve one connection, or the life of the application."""
        push = self._push
        if not isinstance(push, PushEndpoint):
            await self._listen(push, scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and _path(scope) == push.path:
            headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
            answer = await push.answer_async(self._container, headers, _reader(receive))
            await _respond(answer, send)
        else:
            await self._app(scope, receive, send)

    async def _listen(
        self,
        listener: PubSubListener,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        listener.start(self._container)
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                listener.close()


class StatusMiddleware:
    """Serves the status page, and leaves every other request to the application.

    Put it around all the rest: the page opens no scope, and runs none of the application's code.

    Args:
        app: The application.
        container: What the page shows.
        page: The page, with its auth callable.

    Raises:
        DeclarationError: If the container is none.
    """

    def __init__(self, app: ASGIApp, container: object, page: StatusPage) -> None:
        page.attach(container)
        self._app = app
        self._page = page

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Serve one connection."""
        page, answer = self._page, None
        if scope["type"] == "http" and page.serves(scope["method"], _path(scope)):
            answer = await page.answer_async(_status_request(scope))
        if answer is None:
            await self._app(scope, receive, send)
        else:
            body = b"" if scope["method"] == "HEAD" else answer.body
            await _send(answer.status, answer.headers, body, send)


def _status_request(scope: MutableMapping[str, Any]) -> StatusRequest:
    from pgp_config.status import StatusRequest  # noqa: PLC0415  whoever has a page has imported it

    headers: dict[str, str] = {}
    for raw_name, raw in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw.decode("latin-1")
        # HTTP/2 may send cookies one by one (RFC 9113, 8.2.3).
        comma = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{comma}{value}" if name in headers else value
    client = scope.get("client")
    return StatusRequest(
        method=scope["method"],
        path=_path(scope),
        headers=headers,
        remote=client[0] if client else None,
        query=scope.get("query_string", b"").decode("latin-1"),
    )


def _path(scope: MutableMapping[str, Any]) -> str:
    """The path within the application, also where it is mounted under another one."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _reader(receive: Receive) -> Callable[[int], Awaitable[bytes]]:
    async def read(most: int) -> bytes:
        body = b""
        while len(body) < most:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        return body[:most]

    return read


async def _respond(answer: Answer, send: Send) -> None:
    body = json.dumps(answer.content).encode() if answer.content else b""
    headers = dict(answer.headers)
    if body:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    await _send(answer.status, headers, body, send)


async def _send(status: int, headers: Mapping[str, str], body: bytes, send: Send) -> None:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": pairs})
    await send({"type": "http.response.body", "body": body})
