"""Django: one request, one scope, in sync and async views, under WSGI and ASGI and in Django's test clients."""

from __future__ import annotations

import atexit
import io
import pkgutil
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings  # type: ignore[import-untyped]  # Django has no types
from django.http import JsonResponse  # type: ignore[import-untyped]  # as above

from pgp_config.errors import DeclarationError, RejectedVersion, SecretUnavailable
from pgp_config.health import refuse_non_container, unavailable
from pgp_config.jobs import run_async
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.health import Container
    from pgp_config.scopes import Scope

_SETTING = "PGP_CONFIG_CONTAINER"


class ScopeMiddleware:
    """Opens a new scope for each request, and closes it when the server closes the response.

    Put it first in `MIDDLEWARE`, and name the container in `PGP_CONFIG_CONTAINER`, as `"shop.secrets:secrets"`.
    It is loaded when Django makes its handler: so by each process that serves, once, and neither by a
    management command nor by the parent of `runserver`, as it would be in `AppConfig.ready`. It is closed when
    the interpreter ends.

    An uncaught `SecretUnavailable` or `RejectedVersion` of a view is answered with 503 and `Retry-After`.

    Views, the middlewares after it and each step of a streamed body run in one copy of the server's context.

    Args:
        get_response: The rest of the application.

    Raises:
        DeclarationError: If the setting names no container.
        StartupError: If the load finds faults; all are named.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        container = _container()
        # In an empty context: a test's request_scope around the client is not the application's.
        Context().run(container.load)
        atexit.unregister(
            container.close
        )  # a process makes several handlers, each test client one
        atexit.register(container.close)

    def __call__(self, request: Any) -> Any:  # noqa: ANN401  Django has no types
        """Serve one request, or give the coroutine that does."""
        if self._is_async:
            return self._serve_async(request)
        context, scope = copy_context(), request_scope()
        context.run(scope.settle)
        try:
            response = context.run(self._get_response, request)
        except BaseException:
            scope.close()
            raise
        return _held(response, context, scope)

    async def _serve_async(self, request: Any) -> Any:  # noqa: ANN401  as above
        context, scope = copy_context(), request_scope()
        context.run(scope.settle)
        try:
            response = await run_async(context, self._get_response(request))
        except BaseException:
            scope.close()
            raise
        return _held(response, context, scope)

    def process_exception(self, request: object, error: Exception) -> Any:  # noqa: ANN401, ARG002  Django's hook
        """Django's hook: answer what a view raised, or leave it to others."""
        if not isinstance(error, SecretUnavailable | RejectedVersion):
            return None
        answer = unavailable(error)
        return JsonResponse(answer.content, status=answer.status, headers=answer.headers)


def _container() -> Container:
    named = getattr(settings, _SETTING, None)
    container: Container | None = _resolved(named) if isinstance(named, str) else named
    if container is None:
        raise DeclarationError(
            f"the settings name no container in {_SETTING}",
            remedy=f'Set {_SETTING} = "package.module:attribute".',
        )
    refuse_non_container(container)
    return container


def _resolved(named: str) -> Any:  # noqa: ANN401  whatever it names
    try:
        return pkgutil.resolve_name(named)
    except (ImportError, AttributeError, ValueError) as fault:
        raise DeclarationError(
            f"{_SETTING} = {named!r} names nothing that can be imported ({fault})",
            remedy=f'Set {_SETTING} = "package.module:attribute".',
        ) from fault


def _held(response: Any, context: Context, scope: Scope) -> Any:  # noqa: ANN401  Django has no types
    """The response, its scope open for as long as it has a body to come."""
    if not response.streaming or _is_plain_file(response):
        scope.close()
        return response
    kind = _AsyncBody if response.is_async else _Body
    response.streaming_content = kind(response.streaming_content, context, scope)
    return response


def _is_plain_file(response: Any) -> bool:  # noqa: ANN401  as above
    """Whether no code of the application makes the body: the server's `sendfile` is kept for it."""
    file = getattr(response, "file_to_stream", None)
    return isinstance(getattr(file, "raw", file), io.FileIO)


class _Held:
    """A streamed body, each step of it in the request's context.

    Args:
        body: An iterator, or an asynchronous one.
        context: The request's.
        scope: What is open until `close()`, which Django calls when the server closes the response.
    """

    def __init__(self, body: Any, context: Context, scope: Scope) -> None:  # noqa: ANN401  two kinds
        self._body = body
        self._context = context
        self.close = scope.close


class _Body(_Held):
    """Where the steps are calls."""

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        part: bytes = self._context.run(next, self._body)
        return part


class _AsyncBody(_Held):
    """Where the steps are coroutines."""

    def __aiter__(self) -> _AsyncBody:
        return self

    async def __anext__(self) -> bytes:
        part: bytes = await run_async(self._context, self._body.__anext__())
        return part
