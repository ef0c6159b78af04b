"""Any service as a Flask application: `gunicorn "pgp_services.serving.flask_app:create_app('PGP_SPLIT2_v1')"`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from pgp_config_flask import install
from pgp_services import registry
from pgp_services.names import Service
from pgp_services.serving.answers import Answer, refused_by_framework
from pgp_services.serving.bodies import MAX_BODY
from pgp_services.serving.responder import Responder
from pgp_services.serving.routes import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_services.fleet import Fleet
    from pgp_services.serving.routes import Route


def create_app(name: str, secrets: Fleet | None = None) -> Flask:
    """The application of a service.

    Args:
        name: The service's name, such as `PGP_SPLIT2_v1`.
        secrets: Its container; by default as the environment variables say.

    Raises:
        ValueError: If there is no such service.
        PgpConfigError: If a setting or a secret is missing or cannot be used.
    """
    service = Service(name)
    secrets = registry.deployed(service) if secrets is None else secrets
    app = Flask("pgp_services")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    responder = Responder(service, secrets.operations(), secrets.alerts())
    for route in registry.handler_of(secrets).routes():
        _add(app, responder, route)
    app.register_error_handler(HTTPException, _refused_by_framework)
    install(app, secrets)
    return app


def _add(app: Flask, responder: Responder, route: Route) -> None:
    app.add_url_rule(
        route.path,
        endpoint=f"{route.method} {route.path}",
        view_func=_view(responder, route),
        methods=[route.method],
        provide_automatic_options=False,
    )


def _view(responder: Responder, route: Route) -> Callable[[], Response]:
    handle = route.handle
    assert handle is not None, f"{route.path} has no handler for threads"  # noqa: S101  a fault of the service

    def view() -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.get_data(), headers, request.args.to_dict())
        return _response(responder.respond(handle, call))

    return view


def _response(answer: Answer) -> Response:
    if isinstance(answer.content, str):
        response = Response(answer.content, mimetype="text/html")
    else:
        response = jsonify(answer.content)
    response.status_code = answer.status
    response.headers.update(answer.headers)
    return response


def _refused_by_framework(fault: HTTPException) -> Response:
    headers = {name: value for name, value in fault.get_headers() if name != "Content-Type"}
    return _response(refused_by_framework(fault.code or 500, headers))
