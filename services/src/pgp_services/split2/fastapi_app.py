"""PGP_SPLIT2_v1 as a FastAPI application: the same handler, awaited."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pgp_config_fastapi import install
from pgp_services.split2.container import Split2
from pgp_services.split2.handler import MAX_BODY, Answer, refused_by_framework

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def create_app(secrets: Split2 | None = None) -> FastAPI:
    """The application, for uvicorn: `uvicorn --factory pgp_services.split2.fastapi_app:create_app`.

    Args:
        secrets: The service's container; by default as the environment variables say.

    Raises:
        PgpConfigError: If a setting is missing; secrets are loaded when the server starts.
    """
    secrets = Split2.deployed() if secrets is None else secrets
    handler = secrets.handler()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await handler.aclose()

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.post("/")
    async def estimate(request: Request) -> JSONResponse:
        return _response(await handler.handle_async(await _body(request)))

    app.add_exception_handler(HTTPException, _refused_by_framework)
    install(app, secrets)
    return app


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


def _response(answer: Answer) -> JSONResponse:
    return JSONResponse(dict(answer.content), answer.status, dict(answer.headers))


async def _refused_by_framework(_: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException), "registered for this type"  # noqa: S101  for mypy
    return _response(refused_by_framework(fault.status_code, fault.headers or {}))
