"""PGP_SPLIT2_v1 as a FastAPI application: the same handler, awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.names import Service
from pgp_services.serving import fastapi_app

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pgp_services.split2.container import Split2


def create_app(secrets: Split2 | None = None) -> FastAPI:
    """The application, for uvicorn: `uvicorn --factory pgp_services.split2.fastapi_app:create_app`.

    Args:
        secrets: The service's container; by default as the environment variables say.

    Raises:
        PgpConfigError: If a setting is missing; secrets are loaded when the server starts.
    """
    return fastapi_app.create_app(Service.SPLIT2, secrets)
