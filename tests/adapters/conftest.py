"""Every adapter, with every way to reach it: test clients, transports and real servers."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import warnings

import httpx
import pytest
import uvicorn
from asgiref.wsgi import WsgiToAsgi
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from flask import Flask, Response, stream_with_context
from werkzeug.serving import make_server

import pgp_config_fastapi
import pgp_config_flask
from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    RejectedVersion,
    SecretContainer,
    SecretForbidden,
    StaticSecret,
)
from pgp_config.scopes import open_scope


class Service(SecretContainer):
    key = DynamicSecret("ADAPTER_KEY", freshness=EVERY_REQUEST)
    fixed = StaticSecret("ADAPTER_FIXED")


class Stage:
    """What the handlers of both frameworks do, and what they saw."""

    def __init__(self, source, secrets):
        self.source = source
        self.secrets = secrets
        self.scopes = []
        self.entered = threading.Event()
        self.released = threading.Event()

    def rotate(self):
        self.source.add("ADAPTER_KEY", f"canary-{self.source.count('ADAPTER_KEY') + 100}")

    def read(self):
        self.scopes.append(open_scope())
        return self.secrets.key().get_secret_value()

    async def aread(self):
        self.scopes.append(open_scope())
        return (await self.secrets.key.async_()).get_secret_value()

    def twice(self):
        first = self.read()
        self.rotate()
        return [first, self.read()]

    async def atwice(self):
        first = await self.aread()
        self.rotate()
        return [first, *await asyncio.gather(self.aread(), asyncio.to_thread(self.read))]

    def hold(self):
        first = self.read()
        self.entered.set()
        assert self.released.wait(30)
        return [first, self.read()]

    def stream(self):
        yield self.read() + "\n"
        self.rotate()
        yield self.read() + "\n"

    async def astream(self):
        yield await self.aread() + "\n"
        self.rotate()
        yield await self.aread() + "\n"

    def fail(self):
        raise SecretForbidden("the cause-canary", remedy="A remedy.", secret="ADAPTER_KEY")

    def reject(self):
        raise RejectedVersion("version 3 the cause-canary", secret="ADAPTER_KEY")

    def sealed(self):
        return [self.secrets.fixed().get_secret_value()]


def flask_app(stage):
    app = Flask("contract")
    for name in ("twice", "atwice", "hold", "fail", "reject", "sealed"):
        app.add_url_rule(f"/{name}", name, getattr(stage, name))
    app.add_url_rule("/stream", "stream", lambda: Response(stage.stream()))
    app.add_url_rule("/astream", "astream", lambda: Response(stream_with_context(stage.stream())))
    pgp_config_flask.install(app, stage.secrets)
    return app


def fastapi_app(stage):
    app = FastAPI()
    for name in ("twice", "atwice", "hold", "fail", "reject", "sealed"):
        app.add_api_route(f"/{name}", getattr(stage, name))
    app.add_api_route("/stream", lambda: StreamingResponse(stage.stream()), response_model=None)
    app.add_api_route("/astream", lambda: StreamingResponse(stage.astream()), response_model=None)
    pgp_config_fastapi.install(app, stage.secrets)
    return app


class Way:
    """A way to reach an application."""

    in_process = True
    concurrent = True


class FlaskClient(Way):
    def __init__(self, stage):
        self._app = flask_app(stage)

    def get(self, path):
        answer = self._app.test_client().get(path)
        return answer.status_code, answer.headers, answer.text

    def stop(self):
        pass


class Transport(Way):
    """httpx's ASGITransport, which knows no lifespan."""

    def __init__(self, app):
        self._app = app

    def get(self, path):
        return asyncio.run(self._get(path))

    async def _get(self, path):
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.get(path)
        return answer.status_code, answer.headers, answer.text

    def stop(self):
        pass


class FlaskThroughAsgi(Transport):
    # asgiref runs the application in one thread for all requests.
    concurrent = False

    def __init__(self, stage):
        super().__init__(WsgiToAsgi(flask_app(stage)))


class FastAPITransport(Transport):
    def __init__(self, stage):
        stage.secrets.load()
        super().__init__(fastapi_app(stage))


def test_client_class():
    with warnings.catch_warnings():
        # Starlette asks for httpx2, and goes on with httpx.
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    return TestClient


class FastAPIClient(Way):
    def __init__(self, stage):
        self._client = test_client_class()(fastapi_app(stage))
        self._client.__enter__()

    def get(self, path):
        answer = self._client.get(path)
        return answer.status_code, answer.headers, answer.text

    def stop(self):
        self._client.__exit__(None, None, None)


class Server(Way):
    """A real server in a thread, on a port of 127.0.0.1."""

    in_process = False
    port = 0

    def get(self, path):
        with contextlib.closing(self.connect()) as connection:
            return self.ask(connection, "GET", path)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, connection, method, path, body=None):
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


class Werkzeug(Server):
    def __init__(self, stage):
        self._server = make_server("127.0.0.1", 0, flask_app(stage), threaded=True)
        self._server.daemon_threads = False
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()


class _Uvicorn(uvicorn.Server):
    def __init__(self, app):
        options = {"log_config": None, "lifespan": "on", "ws": "websockets-sansio"}
        super().__init__(uvicorn.Config(app, **options))
        self.up = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.up.set()


class Uvicorn(Server):
    def __init__(self, stage, app=None):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._server = _Uvicorn(app or fastapi_app(stage))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        assert self._server.up.wait(30)

    def stop(self):
        self._server.should_exit = True
        self._thread.join(30)
        self._socket.close()


@pytest.fixture
def stage(source, make):
    source.add("ADAPTER_KEY", "canary-0")
    source.add("ADAPTER_FIXED", "canary-fixed")
    stage = Stage(source, make(Service))
    yield stage
    assert all(scope is not None and scope.closed for scope in stage.scopes)


WAYS = [FlaskClient, FlaskThroughAsgi, Werkzeug, FastAPIClient, FastAPITransport, Uvicorn]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request, stage):
    way = request.param(stage)
    yield way
    way.stop()


@pytest.fixture
def uvicorn_server(stage):
    """Starts a real uvicorn for an application."""
    started = []

    def start(app):
        started.append(Uvicorn(stage, app))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def test_client():
    return test_client_class()


@pytest.fixture
def get_json(way):
    return lambda path: json.loads(way.get(path)[2])
