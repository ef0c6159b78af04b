"""PGP_SPLIT2_v1 as a Flask application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.names import Service
from pgp_services.serving import flask_app

if TYPE_CHECKING:
    from flask import Flask

    from pgp_services.split2.container import Split2


def create_app(secrets: Split2 | None = None) -> Flask:
    """The application, for gunicorn: `gunicorn 'pgp_services.split2.flask_app:create_app()'`.

    Args:
        secrets: The service's container; by default as the environment variables say.

    Raises:
        PgpConfigError: If a setting or a secret is missing or cannot be used.
    """
    return flask_app.create_app(Service.SPLIT2, secrets)
