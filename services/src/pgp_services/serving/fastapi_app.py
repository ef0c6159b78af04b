"""Any service as a FastAPI application, if its handlers are coroutines."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pgp_config_fastapi import install
from pgp_services import registry
from pgp_services.names import Service
from pgp_services.serving.answers import Answer, refused_by_framework
from pgp_services.serving.bodies import MAX_BODY
from pgp_services.serving.responder import Responder
from pgp_services.serving.routes import Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from pgp_services.fleet import Fleet
    from pgp_services.serving.routes import Route


def create_app(name: str, secrets: Fleet | None = None) -> FastAPI:
    """The application of a service.

    Args:
        name: The service's name, such as `PGP_WEBAPI_v1`.
        secrets: Its container; by default as the environment variables say.

    Raises:
        ValueError: If there is no such service.
        PgpConfigError: If a setting is missing; secrets are loaded when the server starts.
    """
    service = Service(name)
    secrets = registry.deployed(service) if secrets is None else secrets
    handler = registry.handler_of(secrets)
    alerts = secrets.alerts()
    responder = Responder(service, secrets.operations(), alerts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await handler.aclose()
        if alerts is not None:
            await alerts.aclose()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    for route in handler.routes():
        app.add_api_route(route.path, _view(responder, route), methods=[route.method])
    app.add_exception_handler(HTTPException, _refused_by_framework)
    install(app, secrets)
    return app


def _view(
    responder: Responder, route: Route
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    handle = route.handle_async
    assert handle is not None, f"{route.path} has no handler for coroutines"  # noqa: S101  a fault of the service

    async def view(request: Request) -> Response:
        call = Call(await _body(request), dict(request.headers), dict(request.query_params))
        return _response(await responder.respond_async(handle, call))

    return view


async def _body(request: Request) -> bytes:
    """The body, or as much of it as shows that it is too long."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                break
    except ClientDisconnect:
        # Nobody is there to read an answer; what came is no JSON, and nothing is done with it.
        return b""
    return bytes(body)


def _response(answer: Answer) -> Response:
    if isinstance(answer.content, str):
        return HTMLResponse(answer.content, answer.status, dict(answer.headers))
    return JSONResponse(dict(answer.content), answer.status, dict(answer.headers))


async def _refused_by_framework(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException), "registered for this type"  # noqa: S101  for mypy
    return _response(refused_by_framework(fault.status_code, fault.headers or {}))
