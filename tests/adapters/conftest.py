"""Every adapter, with every way to reach it: test clients, transports and real servers."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import warnings
from typing import ClassVar, Final

import httpx
import pytest
import uvicorn
from asgiref.wsgi import WsgiToAsgi
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from flask import Flask, Response, stream_with_context
from werkzeug.serving import make_server
from werkzeug.test import Client

import pgp_config_fastapi
import pgp_config_flask
from pgp_config import asgi, wsgi
from pgp_config.testing.contracts import AdapterBackend, Stage


def flask_app(stage):
    app = Flask("contract")
    for path, answer in stage.answers.items():
        app.add_url_rule(path, path, answer)
    app.add_url_rule("/stream", "stream", lambda: Response(stage.stream()))
    app.add_url_rule("/astream", "astream", lambda: Response(stream_with_context(stage.stream())))
    pgp_config_flask.install(app, stage.secrets)
    return app


def fastapi_app(stage):
    app = FastAPI()
    for path, answer in stage.answers.items():
        app.add_api_route(path, answer, response_model=None)
    app.add_api_route("/stream", lambda: StreamingResponse(stage.stream()), response_model=None)
    app.add_api_route("/astream", lambda: StreamingResponse(stage.astream()), response_model=None)
    pgp_config_fastapi.install(app, stage.secrets)
    return app


class FlaskClient(AdapterBackend):
    def __init__(self, stage):
        self._app = flask_app(stage)

    def get(self, path):
        answer = self._app.test_client().get(path)
        return answer.status_code, answer.headers, answer.text


class Transport(AdapterBackend):
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


class FlaskThroughAsgi(Transport):
    lacks: ClassVar = {"concurrent": "asgiref runs an application in one thread for all requests"}

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


class FastAPIClient(AdapterBackend):
    def __init__(self, stage):
        self._start(fastapi_app(stage))

    def _start(self, app):
        self._client = test_client_class()(app)
        self._client.__enter__()

    def get(self, path):
        answer = self._client.get(path)
        return answer.status_code, answer.headers, answer.text

    def stop(self):
        self._client.__exit__(None, None, None)


class Server(AdapterBackend):
    """A real server in a thread, on a port of 127.0.0.1."""

    lacks: ClassVar = {"in_process": "the server's threads are not in the test's context"}
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


UNANSWERED: Final = {
    "unavailable": "middleware answers no errors",
    "health": "middleware has no pages",
}


class PlainWsgi(AdapterBackend):
    lacks: ClassVar = {**UNANSWERED, "async": "WSGI has no coroutines"}

    def __init__(self, stage):
        self._stage = stage
        app = wsgi.LoadMiddleware(wsgi.ScopeMiddleware(self._app), stage.secrets)
        self._client = Client(app)

    def _app(self, environ, start_response):
        path = environ["PATH_INFO"]
        start_response("200 OK", [])
        if path in self._stage.streams:
            return (piece.encode() for piece in self._stage.streams[path]())
        return [json.dumps(self._stage.answers[path]()).encode()]

    def get(self, path):
        answer = self._client.get(path)
        return answer.status_code, answer.headers, answer.text


class PlainAsgi(FastAPIClient):
    lacks: ClassVar = UNANSWERED

    def __init__(self, stage):
        self._stage = stage
        app = asgi.LifespanMiddleware(asgi.ScopeMiddleware(self._app), stage.secrets)
        self._start(app)

    async def _app(self, scope, receive, send):
        assert scope["type"] == "http"  # it knows no lifespan
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for piece in self._pieces(scope["path"]):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async def _pieces(self, path):
        if path == "/astream":
            async for piece in self._stage.astream():
                yield piece.encode()
        elif path == "/stream":
            steps = self._stage.stream()
            while piece := await asyncio.to_thread(next, steps, None):
                yield piece.encode()
        else:
            made = await asyncio.to_thread(self._stage.answers[path])
            yield json.dumps(await made if asyncio.iscoroutine(made) else made).encode()


WAYS = [
    FlaskClient,
    FlaskThroughAsgi,
    Werkzeug,
    FastAPIClient,
    FastAPITransport,
    Uvicorn,
    PlainWsgi,
    PlainAsgi,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request):
    """One of them, to be made with a stage."""
    return request.param


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.secrets.close()
    assert all(scope is not None and scope.closed for scope in stage.scopes)


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
