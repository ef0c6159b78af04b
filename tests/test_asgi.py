"""Any ASGI application: one request or websocket, one scope; the start-up load in the lifespan."""

import asyncio
import contextvars
import logging

import httpx
import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    SecretContainer,
    SecretForbidden,
    StartupError,
    StaticSecret,
    request_scope,
)
from pgp_config.asgi import LifespanMiddleware, ScopeMiddleware
from pgp_config.scopes import open_scope


class Service(SecretContainer):
    key = DynamicSecret("ASGI_KEY", str, freshness=EVERY_REQUEST)
    fixed = StaticSecret("ASGI_FIXED", str)


@pytest.fixture
def secrets(source, make):
    source.add("ASGI_KEY", "k1")
    source.add("ASGI_FIXED", "f1")
    return make(Service)


HTTP = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}


async def get(app):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        return (await client.get("/")).text


async def start(send, status=200):
    await send({"type": "http.response.start", "status": status, "headers": []})


async def say(send, text, *, more=True):
    await send({"type": "http.response.body", "body": text.encode(), "more_body": more})


# promise 1
async def test_a_streamed_body_and_what_comes_after_it_are_in_one_scope(secrets, source):
    await secrets.aload()
    seen = []

    async def app(scope, receive, send):
        seen.append(open_scope())
        await start(send)
        await say(send, await secrets.key.async_())
        source.add("ASGI_KEY", "k2")
        await say(send, await asyncio.to_thread(secrets.key))
        await say(send, await sync_to_async(secrets.key)(), more=False)
        source.add("ASGI_KEY", "k3")
        seen.append(await asyncio.create_task(secrets.key.async_()))  # a background task

    wrapped = ScopeMiddleware(app)
    assert await get(wrapped) == "k1k1k1"
    assert (seen[0].closed, seen[1]) == (True, "k1")
    assert await get(wrapped) == "k3k3k3"


# promise 1
async def test_a_websocket_is_one_scope_and_a_nested_one_sees_the_rotation(secrets, source):
    await secrets.aload()

    async def app(scope, receive, send):
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": await secrets.key.async_()})
            async with request_scope():
                await send({"type": "websocket.send", "text": await secrets.key.async_()})

    socket = ApplicationCommunicator(ScopeMiddleware(app), {"type": "websocket"})
    texts = []
    for number in (2, 3):
        await socket.send_input({"type": "websocket.receive"})
        texts += [(await socket.receive_output(30))["text"] for _ in range(2)]
        source.add("ASGI_KEY", f"k{number}")
    await socket.send_input({"type": "websocket.disconnect"})
    await socket.wait(30)
    assert texts == ["k1", "k1", "k1", "k2"]


async def test_an_application_that_raises_leaves_no_scope():
    seen = []

    async def app(scope, receive, send):
        seen.append(open_scope())
        raise KeyError("path")

    with pytest.raises(KeyError):
        await ScopeMiddleware(app)(HTTP, None, None)
    assert seen[0].closed
    assert open_scope() is None


async def test_a_cancelled_request_closes_its_scope():
    seen, entered = [], asyncio.Event()

    async def app(scope, receive, send):
        seen.append(open_scope())
        entered.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(ScopeMiddleware(app)(HTTP, None, None))
    await entered.wait()
    assert not seen[0].closed
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert seen[0].closed


@pytest.mark.parametrize("kind", ["lifespan", "something-new"])
async def test_what_is_no_request_has_no_scope(kind):
    seen = []

    async def app(scope, receive, send):
        seen.append(open_scope())

    await ScopeMiddleware(app)({"type": kind}, None, None)
    assert seen == [None]


# promise 2
@pytest.mark.parametrize("is_open", [True, False])
async def test_the_context_of_an_older_request_is_not_used(secrets, source, is_open):
    """As uvicorn shows it after a large body on a keep-alive connection (cpython#140947)."""
    await secrets.aload()

    async def app(scope, receive, send):
        await start(send)
        await say(send, await secrets.key.async_(), more=False)

    async with request_scope():
        assert await secrets.key.async_() == "k1"
        leaked = contextvars.copy_context()
        source.add("ASGI_KEY", "k2")
        if is_open:
            assert await asyncio.create_task(get(ScopeMiddleware(app)), context=leaked) == "k2"
            assert await secrets.key.async_() == "k1"
    assert await asyncio.create_task(get(ScopeMiddleware(app)), context=leaked) == "k2"


# promise 2
async def test_concurrent_requests_are_independent(secrets, source):
    await secrets.aload()
    entered, released = asyncio.Event(), asyncio.Event()

    async def hold(scope, receive, send):
        first = await secrets.key.async_()
        entered.set()
        await released.wait()
        await start(send)
        await say(send, first + await secrets.key.async_(), more=False)

    async def quick(scope, receive, send):
        await start(send)
        await say(send, await secrets.key.async_(), more=False)

    held = asyncio.create_task(get(ScopeMiddleware(hold)))
    await entered.wait()
    source.add("ASGI_KEY", "k2")
    assert await get(ScopeMiddleware(quick)) == "k2"
    released.set()
    assert await held == "k1k1"


async def test_a_tests_values_reach_the_application(secrets):
    async def app(scope, receive, send):
        await start(send)
        await say(send, secrets.key(), more=False)

    async with request_scope(values={"ASGI_KEY": "given"}):
        assert await get(ScopeMiddleware(app)) == "given"


# -- the lifespan --------------------------------------------------------------------------------


class Life:
    """A server's side of a lifespan."""

    def __init__(self, app):
        self._communicator = ApplicationCommunicator(app, {"type": "lifespan"})

    async def say(self, kind):
        await self._communicator.send_input({"type": f"lifespan.{kind}"})

    async def hear(self):
        return await self._communicator.receive_output(30)

    async def start(self):
        await self.say("startup")
        return await self.hear()

    async def stop(self):
        await self.say("shutdown")
        return await self.hear()

    async def end(self):
        await self._communicator.wait(30)


def lifespan_app(secrets, said, *, until="shutdown"):
    """An application that speaks the protocol, up to some word of it."""

    async def app(scope, receive, send):
        assert (await receive())["type"] == "lifespan.startup"
        said.append(secrets.fixed())
        if until == "startup":
            return
        await send({"type": "lifespan.startup.complete"})
        if until == "complete":
            return
        assert (await receive())["type"] == "lifespan.shutdown"
        said.append(secrets.fixed())
        if until != "silence":
            await send({"type": "lifespan.shutdown.complete"})

    return app


@pytest.mark.parametrize("until", ["startup", "complete", "silence", "shutdown"])
async def test_loaded_before_the_application_starts_and_closed_after_it_ends(
    secrets, source, until
):
    said = []
    life = Life(LifespanMiddleware(lifespan_app(secrets, said, until=until), secrets))
    assert await life.start() == {"type": "lifespan.startup.complete"}
    assert source.closed == 0
    assert await life.stop() == {"type": "lifespan.shutdown.complete"}
    assert source.closed == 1
    await life.end()
    assert set(said) == {"f1"}


async def test_an_application_without_a_lifespan_is_loaded_too(secrets, caplog):
    async def app(scope, receive, send):
        raise NotImplementedError("the cause-canary")

    caplog.set_level(logging.INFO, "pgp_config")
    life = Life(LifespanMiddleware(app, secrets))
    assert await life.start() == {"type": "lifespan.startup.complete"}
    assert secrets.fixed() == "f1"
    assert "no lifespan of its own: NotImplementedError" in caplog.text
    assert "cause-canary" not in caplog.text
    assert await life.stop() == {"type": "lifespan.shutdown.complete"}
    await life.end()


# promise 11
async def test_a_failed_load_ends_the_start_and_names_every_fault(secrets, source):
    source.add("ASGI_KEY", "canary-value")
    source.fail("ASGI_FIXED", SecretForbidden("may not be read", remedy="Grant it."))
    life = Life(LifespanMiddleware(lifespan_app(secrets, []), secrets))
    answer = await life.start()
    assert answer["type"] == "lifespan.startup.failed"
    assert "ASGI_FIXED in Service: may not be read. Grant it." in answer["message"]
    assert "canary" not in answer["message"]
    with pytest.raises(StartupError):
        await life.end()
    assert source.closed == 1


class Wrapped:
    """A container in which one thing is otherwise."""

    def __init__(self, secrets, **otherwise):
        for name in ("load", "aload", "close", "status", "announce"):
            setattr(self, name, otherwise.get(name, getattr(secrets, name)))


async def test_an_error_that_is_not_ours_is_told_by_its_type_only(secrets):
    async def fail():
        raise OSError("canary-value")

    life = Life(LifespanMiddleware(lifespan_app(secrets, []), Wrapped(secrets, aload=fail)))
    assert await life.start() == {"type": "lifespan.startup.failed", "message": "OSError"}
    with pytest.raises(OSError, match="canary"):
        await life.end()


async def test_an_application_that_fails_to_start_is_heard_and_the_container_closed(
    secrets, source
):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the database"})
        raise OSError("the database")

    life = Life(LifespanMiddleware(app, secrets))
    assert await life.start() == {"type": "lifespan.startup.failed", "message": "the database"}
    assert source.closed == 1
    with pytest.raises(OSError, match="database"):
        await life.end()


async def test_a_cancelled_lifespan_closes_the_container(secrets, source):
    entered = asyncio.Event()

    async def app(scope, receive, send):
        entered.set()
        await asyncio.Event().wait()

    async def receive():
        return {"type": "lifespan.startup"}

    life = asyncio.create_task(
        LifespanMiddleware(app, secrets)({"type": "lifespan"}, receive, None)
    )
    await entered.wait()
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life
    assert source.closed == 1


async def test_a_container_that_serves_longer_is_left_open(secrets, source):
    for _ in range(2):
        life = Life(LifespanMiddleware(lifespan_app(secrets, []), secrets, close=False))
        await life.start()
        await life.stop()
        await life.end()
    assert source.closed == 0
    assert source.count("ASGI_FIXED") == 1


# promise 12
async def test_the_load_is_outside_the_scope_that_a_test_opened(secrets):
    async with request_scope(values={"ASGI_KEY": "given"}):
        life = Life(LifespanMiddleware(lifespan_app(secrets, []), secrets))
        assert await life.start() == {"type": "lifespan.startup.complete"}
        await life.stop()
        await life.end()


async def test_requests_pass_through_the_lifespan_middleware(secrets):
    async def app(scope, receive, send):
        await start(send)
        await say(send, scope["type"], more=False)

    assert await get(LifespanMiddleware(app, secrets)) == "http"


def test_something_else_in_place_of_a_container_is_refused():
    with pytest.raises(DeclarationError, match="the class Service was given"):
        LifespanMiddleware(None, Service)
