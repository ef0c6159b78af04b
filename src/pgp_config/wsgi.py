"""One request, one scope, for any WSGI application; the start-up load, pushes, and the status page."""

from __future__ import annotations

import io
import json
import threading
from contextvars import Context, copy_context
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

from pgp_config.errors import DeclarationError, PgpConfigError
from pgp_config.forking import gate
from pgp_config.health import refuse_non_container, unavailable
from pgp_config.push.endpoint import PushEndpoint
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from pgp_config import health
    from pgp_config.health import Container
    from pgp_config.push import endpoint as pushes
    from pgp_config.push.endpoint import Announcing
    from pgp_config.push.listener import PubSubListener
    from pgp_config.scopes import Scope
    from pgp_config.status import StatusPage, StatusRequest

    #: What `PushMiddleware` takes events from.
    Push: TypeAlias = PushEndpoint | PubSubListener


class ScopeMiddleware:
    """Opens a new scope for each request, and closes it when the server closes the answer.

    The application, each step of its iterable and its `close()` run in one copy of the server's
    context, so that streamed bodies see the scope and the server's context sees nothing of it.

    A list and a plain file in the server's `wsgi.file_wrapper` hold no more of the application's
    code: the scope ends with the call, and the server gets them as they are, for its `sendfile`.

    Args:
        app: The application.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        context, scope = copy_context(), request_scope()
        context.run(scope.settle)
        finished = True
        try:
            body = context.run(self._app, environ, start_response)
            finished = isinstance(body, list | tuple) or _is_plain_file(body, environ)
        finally:
            if finished:
                scope.close()
        return body if finished else _Body(body, context, scope)


def _is_plain_file(body: object, environ: WSGIEnvironment) -> bool:
    """Whether the server knows this body as a file of the operating system."""
    if type(body) is not environ.get("wsgi.file_wrapper"):
        return False
    file = getattr(body, "filelike", None)
    return isinstance(getattr(file, "raw", file), io.FileIO)


class _Body:
    """The application's iterable, each step of it in the request's context."""

    __slots__ = ("_body", "_closed", "_run", "_scope", "_steps")

    def __init__(self, body: Iterable[bytes], context: Context, scope: Scope) -> None:
        self._body = body
        self._run = context.run
        self._scope = scope
        self._steps: Iterator[bytes] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        steps = self._steps
        if steps is None:
            steps = self._steps = self._run(iter, self._body)
        return self._run(next, steps)

    def close(self) -> None:
        """Close the application's iterable, and the scope whatever comes of that; once."""
        if self._closed:
            return
        self._closed = True
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                self._run(close)
        finally:
            # Outside the context it was opened in: a server that closes the answer while a step of it
            # still runs could not enter that.
            self._scope.close()

    def __del__(self) -> None:
        # asgiref's WsgiToAsgi, and a server that loses its client half-way, never call close().
        self.close()


class LoadMiddleware:
    """Loads a container before the first request of each process, and refuses requests until then.

    Put it around `ScopeMiddleware`: static secrets are not fetched while a scope is open. A failed
    load answers 503 with `Retry-After` to the requests that waited for it; the next request tries
    again. What was loaded before a fork stays, and costs the child no call.

    Args:
        app: The application.
        container: What is loaded.
        exempt: Paths (`PATH_INFO`) that are served without it, such as a liveness page.

    Raises:
        DeclarationError: If the container is none.
    """

    def __init__(
        self, app: WSGIApplication, container: Container, *, exempt: Collection[str] = ()
    ) -> None:
        refuse_non_container(container)
        self._app = app
        self._container = container
        self._exempt = frozenset(exempt)
        self.renew_after_fork()
        gate.register(self)

    def renew_after_fork(self) -> None:
        """Begin afresh in a child: another thread may have held the lock."""
        self._lock = threading.Lock()
        self._attempts = 0
        self._loaded = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, after the load."""
        error = None
        if not self._loaded and environ.get("PATH_INFO") not in self._exempt:
            error = self._load()
        if error is None:
            return self._app(environ, start_response)
        return _refuse(error, environ, start_response)

    def _load(self) -> PgpConfigError | None:
        """Why there is no load yet; requests that wait for a load share what comes of it."""
        attempts = self._attempts
        with self._lock:
            if not self._loaded and self._attempts == attempts:
                self._error = self._attempt()
                self._attempts += 1
            return self._error

    def _attempt(self) -> PgpConfigError | None:
        try:
            # In an empty context: a test's request_scope around the client is not this request's.
            Context().run(self._container.load)
        except PgpConfigError as error:
            return error
        self._loaded = True
        return None


class PushMiddleware:
    """Takes the pushes of Secret Manager's events, or has a listener pull them.

    Put it around all the rest: a push opens no scope, and runs none of the application's code.

    Args:
        app: The application.
        container: Hears of the events.
        push: The endpoint that answers, or a listener, which is started with the first request of each
            process, so never in a server's parent process.
    """

    def __init__(self, app: WSGIApplication, container: Announcing, push: Push) -> None:
        self._app = app
        self._container = container
        self._push = push

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        push = self._push
        if not isinstance(push, PushEndpoint):
            push.start(self._container)
        elif environ.get("PATH_INFO") == push.path and environ["REQUEST_METHOD"] == "POST":
            read = _reader(environ)
            return _respond(
                push.answer(self._container, _headers(environ), read), environ, start_response
            )
        return self._app(environ, start_response)


class StatusMiddleware:
    """Serves the status page, and leaves every other request to the application.

    Put it around all the rest: the page opens no scope, is there while secrets are still missing, and runs
    none of the application's code.

    Args:
        app: The application.
        container: What the page shows.
        page: The page, with its auth callable.

    Raises:
        DeclarationError: If the container is none, or the auth callable is a coroutine function.
    """

    def __init__(self, app: WSGIApplication, container: object, page: StatusPage) -> None:
        if page.is_async:
            raise DeclarationError(
                "auth= is a coroutine function, which a WSGI application cannot wait for",
                remedy="Give a plain function.",
            )
        page.attach(container)
        self._app = app
        self._page = page

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        page, answer = self._page, None
        if page.serves(environ["REQUEST_METHOD"], environ.get("PATH_INFO")):
            answer = page.answer(_status_request(environ))
        if answer is None:
            return self._app(environ, start_response)
        return _send(answer.status, answer.headers, answer.body, environ, start_response)


def _status_request(environ: WSGIEnvironment) -> StatusRequest:
    from pgp_config.status import StatusRequest  # noqa: PLC0415  whoever has a page has imported it

    return StatusRequest(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        headers=_headers(environ),
        remote=environ.get("REMOTE_ADDR") or None,
        query=environ.get("QUERY_STRING", ""),
    )


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    """The request's headers, by name in lower case."""
    headers = {
        key[5:].replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    return {**headers, "content-length": environ.get("CONTENT_LENGTH") or ""}


def _reader(environ: WSGIEnvironment) -> Callable[[int], bytes]:
    """Reads a body; without a length, only where the server marks the body's end."""

    def read(most: int) -> bytes:
        length = environ.get("CONTENT_LENGTH") or ""
        if length.isdecimal():
            most = min(most, int(length))
        elif not environ.get("wsgi.input_terminated"):
            return b""
        return bytes(environ["wsgi.input"].read(most))

    return read


def _refuse(
    error: PgpConfigError, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    return _respond(unavailable(error), environ, start_response)


def _respond(
    answer: health.Answer | pushes.Answer, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    body = json.dumps(answer.content).encode() if answer.content else b""
    headers = dict(answer.headers)
    if body:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return _send(answer.status, headers, body, environ, start_response)


def _send(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    start_response(f"{status:d} {HTTPStatus(status).phrase}", list(headers.items()))
    return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else body]
