"""aiohttp: one request or websocket, one scope; the container's life is the application's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.payload import Payload

from pgp_config.errors import DeclarationError, RejectedVersion, SecretUnavailable
from pgp_config.health import refuse_non_container, unavailable
from pgp_config.integrations.lifetimes import lifetime
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

    from pgp_config.providers import SecretContainer


def install(app: web.Application, container: SecretContainer) -> None:
    """Give each request and websocket of an application one scope, and its container its lifespan.

    The container is loaded before the application's own start-up begins, and closed after its clean-up
    ends. An uncaught `SecretUnavailable` or `RejectedVersion` is answered with 503 and `Retry-After`. The
    requests of sub-applications are covered: install it in the outermost application only.

    Args:
        app: The application, before it is started.
        container: An instance of a `SecretContainer`.

    Raises:
        DeclarationError: If an argument is wrong, or the application has it already or is running.
    """
    refuse_non_container(container)
    _refuse_app(app)

    async def live(_: web.Application) -> AsyncIterator[None]:
        async with lifetime(container):
            yield

    # The outermost, so that what it sends has gone through all of the application's own middlewares.
    app.middlewares.insert(0, scope_middleware)
    app.cleanup_ctx.insert(0, live)


def _refuse_app(app: object) -> None:
    if not isinstance(app, web.Application):
        raise DeclarationError(
            f"install() was given a {type(app).__name__} in place of an aiohttp application",
            remedy="Call install(app, container).",
        )
    if app.frozen:
        raise DeclarationError(
            "the application has been started already",
            remedy="Call install() where the application is made.",
        )
    if scope_middleware in app.middlewares:
        raise DeclarationError(
            "pgp_config is installed in this application already",
            remedy="Install one container; the scope serves every other that is loaded.",
        )


@web.middleware
async def scope_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve one request in a new scope, its body to the end."""
    # Reset at the end, for aiohttp goes on in this context, and in some releases to the connection's next request.
    with request_scope():
        try:
            response = await handler(request)
        except (SecretUnavailable, RejectedVersion) as error:
            if request.writer.output_size > 0:
                raise  # its head was sent already
            answer = unavailable(error)
            return web.json_response(answer.content, status=answer.status, headers=answer.headers)
        if isinstance(response, web.Response) and isinstance(response.body, Payload):
            # aiohttp would iterate such a body after all middlewares. It does neither of these twice.
            await response.prepare(request)
            await response.write_eof()
        return response
