"""What a type checker makes of the adapters, the status page, the observers and the sources beside the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, assert_type

from fastapi import Depends, FastAPI
from flask import Flask
from pydantic import SecretStr

from pgp_config import DynamicSecret, KeyRing, LoggingObserver, Memory, SecretContainer
from pgp_config.asgi import LifespanMiddleware
from pgp_config.asgi import ScopeMiddleware as AsgiScope
from pgp_config.observers.otel import OpenTelemetryObserver
from pgp_config.status import Challenge, SecretAuth, Status, StatusPage, StatusRequest
from pgp_config.wsgi import ScopeMiddleware as WsgiScope
from pgp_config_aws import AwsSecretsManager
from pgp_config_fastapi import install as install_in_fastapi
from pgp_config_fastapi import value_of
from pgp_config_flask import KeyRingSessionInterface
from pgp_config_flask import install as install_in_flask
from pgp_config_vault import AppRole, Vault

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from starlette.types import Receive, Scope, Send


class Service(SecretContainer):
    """A container."""

    key = DynamicSecret("KEY")
    token = DynamicSecret("TOKEN")
    sessions = KeyRing("SESSIONS")


def behind_a_proxy(request: StatusRequest) -> bool | Challenge:
    """Who may see the page."""
    return request.headers.get("x-user") == "ops" or Challenge("Basic")


def flask_app() -> Flask:
    """Everything that `install` takes."""
    secrets = Service(source=Memory({"KEY": "k"}), observers=[LoggingObserver()])
    app = Flask("service")
    app.session_interface = KeyRingSessionInterface(secrets.sessions)
    install_in_flask(app, secrets, load="first_request", status=StatusPage(behind_a_proxy))
    return app


def fastapi_app() -> FastAPI:
    """The same; a dependency has the type of its secret."""
    secrets = Service(source=Memory({"KEY": "k"}), observers=[OpenTelemetryObserver()])
    app = FastAPI()

    async def index(key: Annotated[SecretStr, Depends(value_of(secrets.key))]) -> int:
        assert_type(await value_of(secrets.key)(), SecretStr)
        return len(key)

    app.add_api_route("/", index)
    install_in_fastapi(
        app, secrets, health="/internal", status=StatusPage(SecretAuth(secrets.token))
    )
    return app


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A plain one."""
    start_response("200 OK", [])
    return [str(environ).encode()]


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    """A plain one."""


def plain() -> None:
    """Middleware takes them as they are."""
    secrets = Service(source=Vault("https://vault.example:8200", auth=AppRole("role", "secret")))
    WsgiScope(wsgi_app)
    LifespanMiddleware(AsgiScope(asgi_app), secrets)
    Status(secrets)
    Service(source=AwsSecretsManager("eu-west-1", prefix="live/"))
