"""Rotation in the local Secret Manager, pushed over HTTP to real Flask and FastAPI servers."""

import http.client
import queue
import socket
import threading

import pytest
import uvicorn
from fastapi import FastAPI
from flask import Flask
from werkzeug.serving import make_server

import pgp_config_fastapi
import pgp_config_flask
from pgp_config import (
    DynamicSecret,
    Freshness,
    GoogleSecretManager,
    GoogleTokens,
    PushEndpoint,
    SecretContainer,
)
from pgp_config.emulator import PushUrl, SecretManagerEmulator
from pgp_config.push.tokens import fetch_certificates

AUDIENCE = "https://split2.example/pubsub/secrets"
ACCOUNT = "push@local.iam.gserviceaccount.com"


class Served(SecretContainer):
    # Only a push explains a change within the hour.
    key = DynamicSecret("SERVED_KEY", str, freshness=Freshness(max_age=3600))


@pytest.fixture
def manager():
    with SecretManagerEmulator(topics=["projects/local/topics/secrets"]) as emulator:
        emulator.add("SERVED_KEY", "v1")
        yield emulator


@pytest.fixture
def secrets(manager):
    secrets = Served(source=GoogleSecretManager("local", endpoint=manager.endpoint))
    yield secrets
    secrets.close()


@pytest.fixture
def push(manager):
    """An endpoint that gets its certificates over HTTP, as from Google."""
    url = f"http://{manager.rest_endpoint}/oauth2/v1/certs"
    tokens = GoogleTokens(
        audience=AUDIENCE, service_account=ACCOUNT, certificates=lambda: fetch_certificates(url)
    )
    return PushEndpoint(verifier=tokens)


@pytest.fixture
def flask(secrets, push):
    app = Flask("served")
    app.add_url_rule("/", "index", secrets.key)
    pgp_config_flask.install(app, secrets, push=push)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.port
    server.shutdown()
    thread.join(30)
    server.server_close()


class _Uvicorn(uvicorn.Server):
    def __init__(self, app):
        super().__init__(uvicorn.Config(app, log_config=None, lifespan="on", ws="none"))
        self.up = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.up.set()


@pytest.fixture
def fastapi(secrets, push):
    app = FastAPI()

    @app.get("/")
    async def index() -> str:
        return await secrets.key.async_()

    pgp_config_fastapi.install(app, secrets, push=push)
    listening = socket.create_server(("127.0.0.1", 0))
    server = _Uvicorn(app)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    assert server.up.wait(30)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(30)
    listening.close()


@pytest.fixture(params=["flask", "fastapi"])
def port(request):
    return request.getfixturevalue(request.param)


def get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    text = connection.getresponse().read().decode().strip('"')
    connection.close()
    return text


@pytest.fixture
def delivered(manager, port):
    """What was pushed and accepted, each event twice."""
    accepted = queue.Queue()
    push = PushUrl(
        f"http://127.0.0.1:{port}/pubsub/secrets", signer=manager.signer, audience=AUDIENCE
    )

    def deliver(notice):
        push(notice)
        accepted.put(notice.attributes["eventType"])

    manager.publish_to(deliver, times=2)
    return accepted


# promise 19
def test_the_request_after_a_push_sees_the_rotation(manager, port, delivered):
    assert get(port) == "v1"
    manager.calls.reset()
    manager.add("SERVED_KEY", "v2")
    assert delivered.get(timeout=30) == "SECRET_VERSION_ADD"
    assert get(port) == "v2"
    assert delivered.get(timeout=30) == "SECRET_VERSION_ADD"
    manager.disable("SERVED_KEY", 2)
    assert [delivered.get(timeout=30) for _ in range(2)] == ["SECRET_VERSION_DISABLE"] * 2
    assert get(port) == "v1"
    # The number; then `latest`, which is disabled, the one above, and the two below it.
    assert manager.calls.count("AccessSecretVersion") <= 5


def test_what_others_push_is_refused(manager, port, caplog):
    forger = SecretManagerEmulator().signer
    push = PushUrl(f"http://127.0.0.1:{port}/pubsub/secrets", signer=forger, audience=AUDIENCE)
    manager.publish_to(push)
    manager.calls.reset()
    manager.add("SERVED_KEY", "v2")
    manager.stop()
    assert get(port) == "v1"
    assert "Could not deliver SECRET_VERSION_ADD: HTTPError" in caplog.text
    assert manager.calls.count("AccessSecretVersion") == 0
