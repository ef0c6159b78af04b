"""PGP_SPLIT2_v1 as a Flask application."""

from __future__ import annotations

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from pgp_config_flask import install
from pgp_services.split2.container import Split2
from pgp_services.split2.handler import MAX_BODY, Answer, refused_by_framework


def create_app(secrets: Split2 | None = None) -> Flask:
    """The application, for gunicorn: `gunicorn 'pgp_services.split2.flask_app:create_app()'`.

    Args:
        secrets: The service's container; by default as the environment variables say.

    Raises:
        PgpConfigError: If a setting or a secret is missing or cannot be used.
    """
    secrets = Split2.deployed() if secrets is None else secrets
    app = Flask("pgp_services.split2")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    handler = secrets.handler()

    @app.post("/", provide_automatic_options=False)
    def estimate() -> Response:
        return _response(handler.handle(request.get_data()))

    app.register_error_handler(HTTPException, _refused_by_framework)
    install(app, secrets)
    return app


def _response(answer: Answer) -> Response:
    response = jsonify(answer.content)
    response.status_code = answer.status
    response.headers.update(answer.headers)
    return response


def _refused_by_framework(fault: HTTPException) -> Response:
    headers = {name: value for name, value in fault.get_headers() if name != "Content-Type"}
    return _response(refused_by_framework(fault.code or 500, headers))
