"""Real servers, and what only they do: connections that are kept, sockets, a start that fails."""

import contextlib
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from websockets.sync.client import connect

from pgp_config import SecretForbidden, request_scope
from pgp_config.asgi import LifespanMiddleware, ScopeMiddleware
from pgp_config_fastapi import install

LARGE = b"x" * 1_000_000


# promise 2
def test_a_kept_connection_does_not_keep_the_scope(uvicorn_server, stage):
    app = FastAPI()

    @app.post("/large")
    async def large(request: Request):
        size = len(await request.body())
        return [size, await stage.aread()]

    app.add_api_route("/twice", stage.atwice)
    install(app, stage.secrets)
    server = uvicorn_server(app)
    seen = []
    with contextlib.closing(server.connect()) as connection:
        for number in range(1, 4):
            _, _, text = server.ask(connection, "POST", "/large", LARGE)
            seen.append(json.loads(text)[1])
            stage.source.add("ADAPTER_KEY", f"canary-{number}")
            _, _, text = server.ask(connection, "GET", "/twice")
            seen.append(json.loads(text)[0])
            stage.source.add("ADAPTER_KEY", f"canary-{number}")
    assert seen == ["canary-0", "canary-1", "canary-1", "canary-2", "canary-2", "canary-3"]


# promise 1
def test_a_background_task_is_in_the_scope_of_its_request(uvicorn_server, stage):
    app, done, told = FastAPI(), threading.Event(), []

    async def task():
        stage.rotate()
        told.append(await stage.aread())
        done.set()

    @app.get("/")
    async def index(tasks: BackgroundTasks):
        tasks.add_task(task)
        return await stage.aread()

    install(app, stage.secrets)
    assert json.loads(uvicorn_server(app).get("/")[2]) == "canary-0"
    assert done.wait(30)
    assert told == ["canary-0"]


# promise 1
def test_a_websocket_keeps_its_value_and_a_nested_scope_sees_the_rotation(uvicorn_server, stage):
    app = FastAPI()

    @app.websocket("/socket")
    async def socket(websocket: WebSocket):
        await websocket.accept()
        async for _ in websocket.iter_text():
            await websocket.send_text(await stage.aread())
            async with request_scope():
                await websocket.send_text(await stage.aread())

    install(app, stage.secrets)
    server = uvicorn_server(app)
    with connect(f"ws://127.0.0.1:{server.port}/socket") as client:
        client.send("first")
        assert [client.recv(30), client.recv(30)] == ["canary-0", "canary-0"]
        stage.source.add("ADAPTER_KEY", "canary-1")
        client.send("second")
        assert [client.recv(30), client.recv(30)] == ["canary-0", "canary-1"]


def test_plain_asgi_under_a_real_server(uvicorn_server, stage):
    async def app(scope, receive, send):
        assert scope["type"] == "http", "the application has no lifespan"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for more in (True, False):
            body = (await stage.aread()).encode()
            await send({"type": "http.response.body", "body": body, "more_body": more})
            stage.rotate()

    server = uvicorn_server(LifespanMiddleware(ScopeMiddleware(app), stage.secrets))
    assert server.get("/")[2] == "canary-0canary-0"


# promise 11
def test_a_server_does_not_start_without_its_secrets(stage, caplog):
    app = FastAPI()
    install(app, stage.secrets)
    stage.source.fail("ADAPTER_FIXED", SecretForbidden("may not be read", remedy="Grant it."))
    caplog.set_level(logging.ERROR, "uvicorn.error")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="auto"))
    with ThreadPoolExecutor(1) as pool, pytest.raises(SystemExit):
        pool.submit(server.run).result(30)
    assert not server.started
    assert "ADAPTER_FIXED in StageSecrets: may not be read. Grant it." in caplog.text
    assert "canary" not in caplog.text
    assert stage.source.closed == 1
