"""What is FastAPI's own; what all adapters do is in tests/adapters."""

import asyncio
import inspect
import threading
import warnings
from contextlib import asynccontextmanager
from typing import Annotated

import fastapi
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import JSONResponse
from packaging.version import Version
from pydantic import SecretStr
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.websockets import WebSocketDisconnect

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    Memory,
    PgpConfigError,
    SecretContainer,
    SecretNotFound,
    SecretUnavailable,
    StartupError,
    StaticSecret,
    request_scope,
)
from pgp_config_fastapi import install, value_of

with warnings.catch_warnings():
    # Starlette asks for httpx2, and goes on with httpx.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient, WebSocketDenialResponse


class Service(SecretContainer):
    key = DynamicSecret("FASTAPI_KEY", freshness=EVERY_REQUEST)
    text = DynamicSecret("FASTAPI_TEXT", str)
    fixed = StaticSecret("FASTAPI_FIXED", str)


@pytest.fixture
def source():
    return Memory(
        {"FASTAPI_KEY": "canary-1", "FASTAPI_TEXT": "text-1", "FASTAPI_FIXED": "canary-fixed"}
    )


@pytest.fixture
def secrets(source):
    secrets = Service(source=source)
    yield secrets
    secrets.close()


@pytest.fixture
def app():
    return FastAPI()


def missing():
    raise SecretNotFound("the cause-canary", secret="FASTAPI_KEY")


@pytest.fixture
def failing(app):
    app.add_api_route("/missing", missing)
    return app


def get(app, path):
    with TestClient(app) as client:
        answer = client.get(path)
    return answer.status_code, answer.text


# -- dependencies --------------------------------------------------------------------------------


def test_a_dependency_gives_the_value_of_its_request(app, secrets, source):
    @app.get("/")
    async def index(
        key: Annotated[SecretStr, Depends(value_of(secrets.key))],
        text: Annotated[str, Depends(value_of(secrets.text))],
    ):
        source.add("FASTAPI_KEY", "canary-2")
        again = await secrets.key.async_()
        return [key.get_secret_value(), again.get_secret_value(), text]

    install(app, secrets)
    with TestClient(app) as client:
        assert client.get("/").json() == ["canary-1", "canary-1", "text-1"]
        assert client.get("/").json() == ["canary-2", "canary-2", "text-1"]
        with request_scope(values={"FASTAPI_KEY": "given"}):
            assert client.get("/").json() == ["given", "given", "text-1"]


def test_a_dependency_costs_no_thread(app):
    class Secret:
        async def async_(self):
            return threading.get_ident()

    read = value_of(Secret())
    assert inspect.iscoroutinefunction(read)

    @app.get("/")
    async def index(thread: Annotated[int, Depends(read)]):
        return thread == threading.get_ident()

    assert TestClient(app).get("/").json() is True


def test_a_dependency_on_an_unusable_secret_is_answered_with_503(app, secrets):
    class Secret:
        async def async_(self):
            missing()

    @app.get("/")
    async def index(key: Annotated[str, Depends(value_of(Secret()))]):
        return key

    install(app, secrets)
    assert get(app, "/") == (503, '{"error":"temporarily unavailable"}')


def test_a_dependency_on_a_value_is_refused(secrets):
    with pytest.raises(DeclarationError, match="was given a SealedStr in place of a secret"):
        value_of(secrets.key())


# -- the lifespan --------------------------------------------------------------------------------


def test_the_applications_lifespan_is_inside_the_containers(secrets):
    told = []

    @asynccontextmanager
    async def lifespan(_):
        told.append(secrets.fixed())
        yield {"pool": "of the application"}
        told.append(secrets.fixed())

    app = FastAPI(lifespan=lifespan)
    install(app, secrets)
    with TestClient(app) as client:
        assert client.app_state == {"pool": "of the application"}
        assert told == ["canary-fixed"]
    assert told == ["canary-fixed"] * 2
    with pytest.raises(SecretUnavailable, match="was closed"):
        secrets.fixed()


@pytest.mark.skipif(
    Version(fastapi.__version__) < Version("0.112.2"),
    reason="FastAPI itself dropped their lifespan",
)
def test_routers_with_a_lifespan_may_be_included_later(app, secrets):
    told = []

    @asynccontextmanager
    async def lifespan(_):
        told.append(secrets.fixed())
        yield

    install(app, secrets)
    app.include_router(APIRouter(lifespan=lifespan))
    with TestClient(app):
        assert told == ["canary-fixed"]


def test_an_application_does_not_start_without_its_secrets(app):
    secrets = Service(source=Memory())
    install(app, secrets)
    with pytest.raises(StartupError) as caught, TestClient(app):
        pass
    assert len(caught.value.faults) == 3


def test_several_test_clients_one_after_the_other(app, secrets):
    app.add_api_route("/", lambda: f"{secrets.fixed()}")
    install(app, secrets, close=False)
    assert [get(app, "/"), get(app, "/")] == [(200, '"canary-fixed"')] * 2


def test_a_test_client_that_starts_inside_a_scope(app, secrets):
    app.add_api_route("/", lambda: secrets.key().get_secret_value())
    install(app, secrets)
    with request_scope(values={"FASTAPI_KEY": "given"}):
        assert get(app, "/") == (200, '"given"')


# -- what is inside the scope --------------------------------------------------------------------


def test_background_tasks_and_earlier_middleware_are_inside_the_scope(app, secrets, source):
    told = []

    async def middleware(request, call_next):
        told.append((await secrets.key.async_()).get_secret_value())
        return await call_next(request)

    def task():
        source.add("FASTAPI_KEY", "canary-2")
        told.append(secrets.key().get_secret_value())

    @app.get("/")
    async def index(tasks: BackgroundTasks):
        tasks.add_task(task)

    app.add_middleware(BaseHTTPMiddleware, dispatch=middleware)
    install(app, secrets)
    assert get(app, "/")[0] == 200
    assert told == ["canary-1", "canary-1"]


def test_many_readers_of_one_request_see_one_value(app, secrets, source):
    @app.get("/")
    async def index():
        async def read():
            value = await secrets.key.async_()
            source.add("FASTAPI_KEY", "canary-2")
            return value.get_secret_value()

        return sorted(set(await asyncio.gather(*(read() for _ in range(20)))))

    install(app, secrets)
    assert get(app, "/") == (200, '["canary-1"]')


# -- errors --------------------------------------------------------------------------------------


async def teapot(_, error):
    return JSONResponse(type(error).__name__, 418)


@pytest.mark.parametrize("kind", [SecretNotFound, SecretUnavailable, PgpConfigError])
def test_a_handler_of_the_application_wins(failing, secrets, kind):
    failing.add_exception_handler(kind, teapot)
    install(failing, secrets)
    assert get(failing, "/missing") == (418, '"SecretNotFound"')


def test_a_handler_that_is_registered_later_wins(failing, secrets):
    install(failing, secrets)
    failing.add_exception_handler(SecretUnavailable, teapot)
    assert get(failing, "/missing")[0] == 418


@pytest.mark.parametrize("kind", [LookupError, Exception, HTTPException])
def test_a_handler_for_other_errors_does_not_take_a_missing_secret(failing, secrets, kind):
    failing.add_exception_handler(kind, teapot)
    install(failing, secrets)
    assert get(failing, "/missing")[0] == 503


def test_a_mistake_in_the_service_is_no_503(app, secrets):
    app.add_api_route("/", lambda: f"{secrets.fixed()}")
    install(app, secrets)
    # Without `with`, the client does not start the application: nothing was loaded.
    answer = TestClient(app, raise_server_exceptions=False).get("/")
    assert answer.status_code == 500
    assert "FASTAPI_FIXED" not in answer.text


@pytest.fixture
def sockets(app, secrets):
    @app.websocket("/early")
    async def early(websocket: WebSocket):
        missing()

    @app.websocket("/accepted")
    async def accepted(websocket: WebSocket):
        await websocket.accept()
        missing()

    @app.websocket("/over")
    async def over(websocket: WebSocket):
        await websocket.accept()
        await websocket.close(3000)
        missing()

    install(app, secrets)
    return app


def test_a_websocket_that_is_not_accepted_is_denied_with_503(sockets):
    with (
        TestClient(sockets) as client,
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect("/early"),
    ):
        pass
    assert caught.value.status_code == 503
    assert caught.value.headers["Retry-After"] == "2"
    assert "cause" not in caught.value.text


@pytest.mark.parametrize(("path", "code"), [("/accepted", 1013), ("/over", 3000)])
def test_an_open_websocket_is_asked_to_come_back_later(sockets, path, code):
    with TestClient(sockets) as client, client.websocket_connect(path) as socket:
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_text()
        assert (caught.value.code, caught.value.reason) == (code, "")


async def test_a_server_that_cannot_deny_a_websocket_closes_it(sockets, secrets):
    await secrets.aload()
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/early", "headers": [], "query_string": b""}
    await sockets(scope, receive, send)
    assert [(message["type"], message.get("code")) for message in sent] == [
        ("websocket.close", 1013)
    ]


# -- the health pages ----------------------------------------------------------------------------


def test_the_pages_are_not_in_the_schema_and_answer_head(app, secrets):
    install(app, secrets)
    with TestClient(app) as client:
        assert client.get("/openapi.json").json()["paths"] == {}
        assert client.head("/readyz").status_code == 200
        assert client.post("/readyz").status_code == 405


def test_the_pages_can_be_left_out(app, secrets):
    install(app, secrets, health=False)
    assert get(app, "/healthz")[0] == 404


def test_the_pages_can_have_a_prefix(app, secrets):
    install(app, secrets, health="/internal")
    with TestClient(app) as client:
        assert client.get("/internal/readyz").status_code == 200
        assert client.get("/readyz").status_code == 404


def test_a_page_for_every_name_does_not_hide_them(app, secrets):
    app.add_api_route("/{name}", lambda name: "by name")
    install(app, secrets)
    assert "alive" in get(app, "/healthz")[1]


def test_a_page_that_is_there_already_is_not_hidden(app, secrets):
    app.add_api_route("/readyz", lambda: "own")
    with pytest.raises(DeclarationError, match="has a page at /readyz already"):
        install(app, secrets)
    install(app, secrets, health="/internal")
    assert get(app, "/readyz") == (200, '"own"')


# -- bad input -----------------------------------------------------------------------------------


def test_installing_twice_is_refused(app, secrets):
    install(app, secrets)
    with pytest.raises(DeclarationError, match="installed in this application already"):
        install(app, secrets)


def test_installing_after_the_start_is_refused(app, secrets):
    get(app, "/")
    with pytest.raises(DeclarationError, match="has been started already"):
        install(app, secrets)


def test_something_else_in_place_of_the_arguments_is_refused(app, secrets):
    with pytest.raises(DeclarationError, match="in place of a FastAPI application"):
        install(secrets, secrets)
    with pytest.raises(DeclarationError, match="the class Service was given"):
        install(app, Service)
    with pytest.raises(DeclarationError, match="health='internal'"):
        install(app, secrets, health="internal")
    install(app, secrets)
