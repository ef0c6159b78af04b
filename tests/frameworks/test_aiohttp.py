"""aiohttp behind its own server, which keeps connections, and sends bodies after all middlewares."""

import asyncio

import pytest
from aiohttp import ClientPayloadError, MultipartWriter, TCPConnector, web
from aiohttp.test_utils import TestClient, TestServer

from pgp_config import DeclarationError, StartupError, request_scope
from pgp_config.integrations.aiohttp import install
from pgp_config.scopes import open_scope


def application(stage):  # noqa: C901  nine handlers in a row
    routes = web.RouteTableDef()

    @routes.get("/atwice")
    async def atwice(request):
        return web.json_response(await stage.atwice())

    @routes.get("/stream")
    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for line in stage.alines():
            await response.write(line.encode())
        return response

    @routes.get("/payload")
    async def payload(request):
        return web.Response(body=(line.encode() async for line in stage.alines()))

    @routes.get("/socket")
    async def socket(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            await socket.send_str(await stage.aread())
            async with request_scope():
                await socket.send_str(await stage.aread())
        return socket

    @routes.get("/afail")
    async def afail(request):
        await stage.afail()

    @routes.get("/blocking")
    async def blocking(request):
        return web.json_response(stage.blocking())

    @routes.get("/late")
    async def late(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        await stage.aread()

    @routes.get("/gone")
    async def gone(request):
        raise web.HTTPGone

    @routes.get("/hold")
    async def hold(request):
        stage.scopes.append(open_scope())
        stage.entered.set()
        await asyncio.Event().wait()

    @routes.get("/nothing")
    async def nothing(request):
        return web.Response(status=204)

    app = web.Application()
    app.add_routes(routes)
    return app


@pytest.fixture
def app(stage):
    app = application(stage)
    install(app, stage.secrets)
    return app


@pytest.fixture
async def client(app, source):
    # One connection, which every request has to share.
    connector = TCPConnector(limit=1)
    async with TestClient(TestServer(app), connector=connector) as client:
        yield client
    assert source.closed == 1


async def text(client, path):
    async with client.get(path) as response:
        return await response.text()


# promises 1 and 2
async def test_requests_of_one_connection_have_scopes_of_their_own(client, stage):
    first, second = await text(client, "/atwice"), await text(client, "/atwice")
    assert first.count("canary-0") == 3
    assert "canary-0" not in second
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


async def test_nothing_of_a_request_is_left_for_what_aiohttp_does_after_it(app, stage):
    seen = []

    async def note(request, response):
        seen.append(open_scope())

    app.on_response_prepare.append(
        note
    )  # aiohttp calls it after all middlewares, in their context
    async with TestClient(TestServer(app), connector=TCPConnector(limit=1)) as client:
        await text(client, "/atwice")
        await text(client, "/nothing")
    assert stage.all_closed()
    assert seen == [None, None]


# promise 1
@pytest.mark.parametrize("path", ["/stream", "/payload"])
async def test_a_streamed_body_is_in_the_scope_to_its_end(client, stage, path):
    assert set((await text(client, path)).split()) == {"canary-0"}
    assert "canary-0" not in await text(client, path)
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


# promise 1
async def test_a_websocket_is_one_scope_and_a_nested_one_sees_the_rotation(client, stage):
    async with client.ws_connect("/socket") as socket:
        heard = []
        for _ in range(2):
            await socket.send_str("")
            heard += [await socket.receive_str(), await socket.receive_str()]
            stage.rotate()
    assert heard[:3] == ["canary-0"] * 3
    assert heard[3] != "canary-0"


@pytest.mark.parametrize(("path", "status"), [("/afail", 500), ("/gone", 410), ("/nowhere", 404)])
async def test_a_handler_that_raises_closes_its_scope(client, stage, path, status):
    async with client.get(path) as response:
        assert response.status == status
    assert all(scope.closed for scope in stage.scopes)


async def test_a_request_without_a_usable_secret_is_answered_with_503(client, stage, caplog):
    stage.lose_key()
    async with client.get("/atwice") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        assert await response.json() == {"error": "temporarily unavailable"}
    assert "FRAMEWORK_KEY" in caplog.text


async def test_a_secret_that_is_lost_in_mid_stream_breaks_the_connection(client, stage):
    stage.lose_key()
    async with client.get("/late") as response:
        assert response.status == 200
        with pytest.raises(ClientPayloadError):  # and no second answer within the first
            await response.read()
    assert await asyncio.to_thread(stage.all_closed)


# promise 16
async def test_a_read_that_would_block_the_loop_names_the_await_form(client):
    assert "Write: await secrets.framework_key.async_()" in await text(client, "/blocking")


async def test_a_cancelled_request_closes_its_scope(app, stage):
    async with TestClient(TestServer(app, handler_cancellation=True)) as client:
        request = asyncio.ensure_future(client.get("/hold"))
        await asyncio.to_thread(stage.entered.wait, 30)
        assert not stage.scopes[0].closed
        ended = asyncio.Event()
        stage.scopes[0].on_close(ended.set)
        request.cancel()
        await ended.wait()


async def test_the_requests_of_a_subapplication_are_covered(stage):
    app = web.Application()
    app.add_subapp("/inner", application(stage))
    install(app, stage.secrets)
    async with TestClient(TestServer(app)) as client:
        assert (await text(client, "/inner/atwice")).count("canary-0") == 3
    assert stage.all_closed()


async def test_a_multipart_body_is_in_the_scope(stage):
    app = web.Application()
    install(app, stage.secrets)

    async def parts(request):
        writer = MultipartWriter()
        writer.append(line.encode() async for line in stage.alines())
        return web.Response(body=writer)

    app.router.add_get("/", parts)
    async with TestClient(TestServer(app)) as client:
        assert (await text(client, "/")).count("canary-0") == 4
    assert stage.all_closed()


# promise 11
async def test_a_start_that_fails_tells_every_fault_at_once(app, stage, source):
    stage.break_start()
    runner = web.AppRunner(app)
    with pytest.raises(StartupError) as failed:
        await runner.setup()
    assert all(fault in str(failed.value) for fault in stage.faults)
    await runner.cleanup()
    assert source.closed == 1


async def test_the_container_lives_longer_than_the_applications_own_contexts(stage):
    said = []
    app = application(stage)

    async def own(app):
        said.append(stage.secrets.fixed())
        yield
        said.append(stage.secrets.fixed())

    app.cleanup_ctx.append(own)
    install(app, stage.secrets)
    # A test's scope is not the application's: static secrets are loaded all the same.
    with request_scope(values={"FRAMEWORK_KEY": "given"}):
        async with TestClient(TestServer(app)):
            pass
    assert said == ["fixed-0", "fixed-0"]


async def test_what_is_wrong_with_an_installation_is_said(app, stage):
    with pytest.raises(DeclarationError, match="installed in this application already"):
        install(app, stage.secrets)
    with pytest.raises(DeclarationError, match="a dict in place of an aiohttp application"):
        install({}, stage.secrets)
    with pytest.raises(DeclarationError, match="the class Service was given"):
        install(web.Application(), type("Service", (), {}))
    app.freeze()
    with pytest.raises(DeclarationError, match="started already"):
        install(app, stage.secrets)
