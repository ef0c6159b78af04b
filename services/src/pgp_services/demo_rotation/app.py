"""The service: queries and signed webhooks, and of each answer which process gave it with which version.

For gunicorn: `gunicorn 'pgp_services.demo_rotation.app:create_app()'`.
"""

from __future__ import annotations

import atexit
import os
import time
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from psycopg_pool import ConnectionPool
from pydantic import BaseModel, SecretStr

from pgp_config import (
    DynamicSecret,
    GoogleTokens,
    KeyRing,
    PerVersion,
    PushEndpoint,
    SecretContainer,
)
from pgp_config.push.tokens import fetch_certificates
from pgp_config.sources.urls import source_from_url
from pgp_config_flask import install
from pgp_services.settings import SOURCE_VARIABLE, required

#: Environment variables: a file while which exists `/hold` does not end, and where the certificates of
#: the local Secret Manager are; without the latter the service hears of no push.
HOLD_VARIABLE, CERTIFICATES_VARIABLE = "DEMO_HOLD", "DEMO_CERTIFICATES"

#: Whom the local Secret Manager pushes as, and where to.
PUSHER, PUSH_PATH = "push@local.iam.gserviceaccount.com", "/pubsub/secrets"

#: Headers of each answer: the process, what it used (the role that the database knows it by; the version
#: of the key), and when, in monotonic seconds, which all processes of a machine share.
PROCESS, USED, AT = "Demo-Process", "Demo-Used", "Demo-At"

#: The header of a webhook with its signature, HMAC-SHA256 in hexadecimal digits.
SIGNATURE = "Demo-Signature"

#: Seconds for which a connection that nobody needs is kept: few, so that most queries need a new one.
MAX_IDLE = 0.1

#: Seconds between two looks at whether a request is still to be held.
_TICK = 0.05


class Database(BaseModel):
    """The secret DEMO_DATABASE, one JSON object: what belongs together rotates together."""

    user: str
    password: SecretStr
    host: str
    port: int
    name: str


def make_pool(database: Database) -> ConnectionPool[Any]:
    """A pool of connections, not yet connected."""
    arguments = {
        "user": database.user,
        "password": database.password.get_secret_value(),
        "host": database.host,
        "port": database.port,
        "dbname": database.name,
    }
    return ConnectionPool(kwargs=arguments, min_size=1, max_size=8, max_idle=MAX_IDLE, open=True)


def has_connected(pool: ConnectionPool[Any]) -> None:
    """Ask the database before the new pool serves.

    Raises:
        PoolTimeout: If there is no connection within 1.5 s.
    """
    pool.wait(1.5)


class Demo(SecretContainer):
    """The service's secrets, and the pool that follows one of them."""

    database = DynamicSecret("DEMO_DATABASE", Database)
    pool = PerVersion(make_pool, database, probe=has_connected)
    webhook_key = KeyRing("DEMO_WEBHOOK_KEY")


def create_app(secrets: Demo | None = None) -> Flask:
    """The application.

    Args:
        secrets: The service's container; by default as the environment variables say.

    Raises:
        PgpConfigError: If a setting or a secret is missing or cannot be used.
    """
    if secrets is None:
        secrets = Demo(source=source_from_url(required(SOURCE_VARIABLE)))
        atexit.register(secrets.close)
    app = Flask("pgp_services.demo_rotation")

    @app.get("/query")
    def query() -> Response:
        return _answer(_role(secrets))

    @app.get("/hold")
    def hold() -> Response:
        # Two queries of one scope, however long it lasts: on one pool, of one version.
        before = _role(secrets)
        while Path(os.environ[HOLD_VARIABLE]).exists():
            time.sleep(_TICK)
        after = _role(secrets)
        return _answer(after, 200 if after == before else 500)

    @app.post("/webhook")
    def webhook() -> Response:
        keys = secrets.webhook_key()
        genuine = keys.verify(request.get_data(), request.headers.get(SIGNATURE))
        return _answer(str(keys.version), 200 if genuine else 401)

    install(app, secrets, push=_push())
    return app


def _role(secrets: Demo) -> str:
    # No `rotation_retry`: with two roles in turn no log-in is refused (docs/objects.md).
    with secrets.pool().connection() as connection:
        row = connection.execute("SELECT session_user").fetchone()
    return str(row[0]) if row else ""


def _answer(used: str, status: int = 200) -> Response:
    headers = {PROCESS: str(os.getpid()), USED: used, AT: repr(time.monotonic())}
    return Response(status=status, headers=headers)


def _push() -> PushEndpoint | None:
    certificates = os.environ.get(CERTIFICATES_VARIABLE)
    if certificates is None:
        return None
    tokens = GoogleTokens(
        audience=f"http://127.0.0.1:{os.environ['PORT']}{PUSH_PATH}",
        service_account=PUSHER,
        certificates=lambda: fetch_certificates(certificates),
    )
    return PushEndpoint(PUSH_PATH, verifier=tokens)
