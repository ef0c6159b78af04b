"""The frameworks that are ASGI applications: the plain middlewares around them, by one contract."""

import asyncio
import json

import httpx
import litestar
import pytest
import quart
from asgiref.testing import ApplicationCommunicator
from litestar import response as litestar_response
from litestar.background_tasks import BackgroundTask as LitestarTask
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from pgp_config import StartupError, request_scope, scoped
from pgp_config.asgi import LifespanMiddleware, ScopeMiddleware


class Background:
    """A task that the framework runs after the response; it may outlive the request."""

    def __init__(self, stage):
        self._stage = stage
        self.done = asyncio.Event()
        self.values = []

    async def run(self):
        self.values += await self._stage.atwice()
        self.done.set()


def starlette(stage, background):
    async def atwice(request):
        return JSONResponse(await stage.atwice())

    def twice(request):
        return JSONResponse(stage.twice())

    async def alines(request):
        return StreamingResponse(stage.alines())

    async def lines(request):
        return StreamingResponse(stage.lines())

    async def afail(request):
        await stage.afail()

    async def blocking(request):
        return JSONResponse(stage.blocking())

    async def later(request):
        return JSONResponse(await stage.aread(), background=BackgroundTask(background.run))

    pages = (atwice, twice, alines, lines, afail, blocking, later)
    app = Starlette(routes=[Route(f"/{page.__name__}", page) for page in pages])
    app.add_middleware(ScopeMiddleware)
    app.add_middleware(LifespanMiddleware, container=stage.secrets)
    return app


def litestar_app(stage, background):
    @litestar.get("/atwice")
    async def atwice() -> list[str]:
        return await stage.atwice()

    @litestar.get("/twice", sync_to_thread=True)
    def twice() -> list[str]:
        return stage.twice()

    @litestar.get("/alines")
    async def alines() -> litestar_response.Stream:
        return litestar_response.Stream(stage.alines())

    @litestar.get("/lines")
    async def lines() -> litestar_response.Stream:
        return litestar_response.Stream(stage.lines())

    @litestar.get("/afail")
    async def afail() -> None:
        await stage.afail()

    @litestar.get("/blocking")
    async def blocking() -> str:
        return stage.blocking()

    @litestar.get("/later")
    async def later() -> litestar.Response[str]:
        return litestar.Response(await stage.aread(), background=LitestarTask(background.run))

    app = litestar.Litestar(
        [atwice, twice, alines, lines, afail, blocking, later],
        openapi_config=None,
        logging_config=None,
    )
    return LifespanMiddleware(ScopeMiddleware(app), stage.secrets)


def quart_app(stage, background):
    app = quart.Quart(__name__)

    @app.get("/atwice")
    async def atwice():
        return await stage.atwice()

    @app.get("/twice")
    def twice():
        return stage.twice()

    @app.get("/alines")
    async def alines():
        return stage.alines(), {"Content-Type": "text/plain"}

    @app.get("/lines")
    async def lines():
        return stage.lines(), {"Content-Type": "text/plain"}

    @app.get("/afail")
    async def afail():
        await stage.afail()

    @app.get("/blocking")
    async def blocking():
        return stage.blocking()

    @app.get("/later")
    async def later():
        # A task of its own, which Quart does not await: it outlives the request.
        app.add_background_task(scoped(background.run))
        return json.dumps(await stage.aread())

    app.asgi_app = LifespanMiddleware(ScopeMiddleware(app.asgi_app), stage.secrets)
    return app


@pytest.fixture
def background(stage):
    return Background(stage)


@pytest.fixture(
    params=[starlette, litestar_app, quart_app], ids=["starlette", "litestar", "quart"]
)
def build(request, stage, background):
    return lambda: request.param(stage, background)


async def life_of(app, *, answer="complete"):
    life = ApplicationCommunicator(
        app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    )
    await life.send_input({"type": "lifespan.startup"})
    said = await life.receive_output(30)
    assert said["type"] == f"lifespan.startup.{answer}"
    return life, said


@pytest.fixture
async def get(build, source):
    """Ask the application; started before, stopped after."""
    app = build()
    life, _ = await life_of(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client.get
    await life.send_input({"type": "lifespan.shutdown"})
    assert (await life.receive_output(30))["type"] == "lifespan.shutdown.complete"
    assert source.closed == 1
    await life.wait(30)


# promise 1
@pytest.mark.parametrize("path", ["/atwice", "/twice"])
async def test_a_request_sees_one_value_and_the_next_one_the_newest(get, stage, path):
    first, second = (await get(path)).json(), (await get(path)).json()
    assert set(first) == {"canary-0"}
    assert len(set(second)) == 1
    assert second != first
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


# promise 1
@pytest.mark.parametrize("path", ["/alines", "/lines"])
async def test_a_streamed_body_is_in_the_scope_to_its_end(get, stage, path):
    assert set((await get(path)).text.split()) == {"canary-0"}
    assert "canary-0" not in (await get(path)).text
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


async def test_a_handler_that_raises_closes_its_scope(get, stage):
    assert (await get("/afail")).status_code == 500
    assert stage.all_closed()


# promise 16
async def test_a_read_that_would_block_the_loop_names_the_await_form(get):
    assert "Write: await secrets.framework_key.async_()" in (await get("/blocking")).text


# promise 3
async def test_a_background_task_sees_one_value(get, stage, background):
    assert "canary-0" in (await get("/later")).text
    await background.done.wait()
    assert len(set(background.values)) == 1
    assert stage.all_closed()


async def test_a_tests_values_reach_the_handlers(get):
    with request_scope(values={"FRAMEWORK_KEY": "given"}):
        assert set((await get("/atwice")).json()) == {"given"}
        assert set((await get("/twice")).json()) == {"given"}
    assert "given" not in (await get("/atwice")).text


# promise 12
async def test_static_secrets_are_loaded_before_the_first_request(get, source):
    await get("/twice")
    assert source.count("FRAMEWORK_FIXED") == 1


# promise 11
async def test_a_start_that_fails_tells_every_fault_at_once(build, stage, source):
    stage.break_start()
    life, said = await life_of(build(), answer="failed")
    assert all(fault in said["message"] for fault in stage.faults)
    with pytest.raises(StartupError):
        await life.wait(30)
    assert source.closed == 1
