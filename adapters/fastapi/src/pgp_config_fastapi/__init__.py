"""pgp_config for FastAPI: one request, one scope; secrets loaded at start-up; health pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.websockets import WebSocketState

from pgp_config import DeclarationError, PgpConfigError, RejectedVersion, SecretUnavailable
from pgp_config.asgi import LifespanMiddleware, PushMiddleware, ScopeMiddleware, StatusMiddleware
from pgp_config.health import (
    Answer,
    liveness,
    paths_of,
    readiness,
    refuse_non_container,
    refuse_taken,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from starlette.types import Scope

    from pgp_config.asgi import Push
    from pgp_config.health import Container, Paths
    from pgp_config.status import StatusPage

__all__ = ["install", "value_of"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: "Try again later", of the IANA registry of close codes (RFC 6455, 11.7).
_TRY_AGAIN_LATER = 1013


def install(
    app: FastAPI,
    container: Container,
    *,
    health: bool | str = True,
    close: bool = True,
    push: Push | None = None,
    status: StatusPage | None = None,
) -> None:
    """Give each request and websocket of an application one scope, and its container its lifespan.

    The container is loaded before the application's own lifespan begins, and closed after it ends.
    An uncaught `SecretUnavailable` or `RejectedVersion` is answered with 503 and `Retry-After`, on a
    websocket with close code 1013, unless the application has a handler of its own for it.

    Call it last: middleware that is added later runs outside the scope.

    Args:
        app: The application, before it is started.
        container: An instance of a `SecretContainer`.
        health: Whether `/healthz` and `/readyz` are served, or the prefix under which they are. They
            are not in the OpenAPI schema, and the application's dependencies do not guard them.
        close: Whether the container ends with the application; False where several test clients
            run it one after the other.
        push: Where rotations are heard of: a `PushEndpoint`, or a `PubSubListener`, which lives as long as
            the application.
        status: A `pgp_config.status.StatusPage`, where there is to be one.

    Raises:
        DeclarationError: If an argument is wrong, the application has it already, has a page at one
            of these paths, or has been started.
    """
    paths = paths_of(health)
    refuse_non_container(container)
    _refuse_app(app, paths, push, status)
    if status is not None:
        status.attach(container, push=push)  # first: it may refuse, and sees the load
    app.add_middleware(ScopeMiddleware)
    app.add_middleware(LifespanMiddleware, container=container, close=close)
    if push is not None:
        app.add_middleware(PushMiddleware, container=container, push=push)
    if status is not None:
        app.add_middleware(StatusMiddleware, container=container, page=status)
    if paths is not None:
        # First: a page like "/{name}" would hide them.
        pages = ((paths.liveness, liveness), (paths.readiness, readiness))
        app.router.routes[:0] = [_page(path, build, container) for path, build in pages]
    _answer_unavailable(app)


def _refuse_app(
    app: object, paths: Paths | None, push: Push | None, status: StatusPage | None
) -> None:
    if not isinstance(app, FastAPI):
        raise DeclarationError(
            f"install() was given a {type(app).__name__} in place of a FastAPI application",
            remedy="Call install(app, container).",
        )
    present: list[object] = [middleware.cls for middleware in app.user_middleware]
    if ScopeMiddleware in present:
        raise DeclarationError(
            "pgp_config is installed in this application already",
            remedy="Install one container; the scope serves every other that is loaded.",
        )
    if app.middleware_stack is not None:
        raise DeclarationError(
            "the application has been started already",
            remedy="Call install() where the application is made.",
        )
    used = [getattr(route, "path", None) for route in app.routes]
    refuse_taken(paths, used, push=push, status=status)


class _Page(Route):
    """A page that is looked at before all others, and so by each request: it says no at once."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if not scope["path"].endswith(self.path):
            return Match.NONE, {}
        return super().matches(scope)


def _page(path: str, build: Callable[[Container], Answer], container: Container) -> Route:
    async def page(_: Request) -> JSONResponse:
        return _response(build(container))

    return _Page(path, page, include_in_schema=False)


def _response(answer: Answer) -> JSONResponse:
    return JSONResponse(answer.content, answer.status, answer.headers)


def _answer_unavailable(app: FastAPI) -> None:
    handlers: dict[Any, Any] = app.exception_handlers
    for kind in (SecretUnavailable, RejectedVersion):
        if not {kind, PgpConfigError} & handlers.keys():
            handlers[kind] = _unavailable


async def _unavailable(
    connection: Request | WebSocket, error: PgpConfigError
) -> JSONResponse | None:
    response = _response(unavailable(error))
    if not isinstance(connection, WebSocket):
        return response
    state, extensions = connection.application_state, connection.scope.get("extensions", {})
    if state is WebSocketState.CONNECTING and "websocket.http.response" in extensions:
        # Sent here: Starlette up to 0.40 drops what the handler of a websocket returns.
        await connection.send_denial_response(response)
    elif state in {WebSocketState.CONNECTING, WebSocketState.CONNECTED}:
        await connection.close(_TRY_AGAIN_LATER)
    return None


class _Readable(Protocol[T_co]):
    def async_(self) -> Awaitable[T_co]: ...


def value_of(secret: _Readable[T]) -> Callable[[], Coroutine[Any, Any, T]]:
    """A dependency that gives the value of a secret: `Annotated[SecretStr, Depends(value_of(…))]`.

    It is a coroutine function, so that FastAPI spends no thread on it.

    Args:
        secret: A secret of a container's instance, or any other provider with `async_()`.

    Raises:
        DeclarationError: If it is none, such as the value in its place.
    """
    if not hasattr(secret, "async_"):
        raise DeclarationError(
            f"value_of() was given a {type(secret).__name__} in place of a secret",
            remedy="Give the provider, without calling it: value_of(secrets.api_key).",
        )

    async def read() -> T:
        return await secret.async_()

    return read
