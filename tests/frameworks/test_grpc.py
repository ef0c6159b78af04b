"""gRPC servers, sync and asyncio, with unary and streaming methods, on a real channel."""

import asyncio
from concurrent import futures

import grpc
import pytest

from pgp_config.integrations.grpc import AsyncScopeInterceptor, ScopeInterceptor
from pgp_config.scopes import open_scope

SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def in_threads(stage):
    """A servicer's methods, by name, with their shapes."""

    def first(requests):
        return requests if isinstance(requests, bytes) else next(iter(requests))

    def unary(requests, context):
        first(requests)
        return say(stage.twice())

    def stream(requests, context):
        first(requests)
        for line in stage.lines():
            yield line.encode()

    def iterator(request, context):
        return (line.encode() for line in stage.lines())

    def fail(request, context):
        stage.fail()

    def abort(request, context):
        stage.read()
        context.abort(grpc.StatusCode.DATA_LOSS, "own words")

    def hold(request, context):
        yield stage.read().encode()
        stage.scopes[0].on_close(stage.released.set)
        stage.entered.set()
        while context.is_active():
            yield b"more"

    return {
        "/unary_unary": ("unary_unary", unary),
        "/stream_unary": ("stream_unary", unary),
        "/unary_stream": ("unary_stream", stream),
        "/stream_stream": ("stream_stream", stream),
        "/iterator": ("unary_stream", iterator),
        "/fail": ("unary_unary", fail),
        "/abort": ("unary_unary", abort),
        "/hold": ("unary_stream", hold),
    }


def in_loop(stage):  # noqa: C901  eight methods in a row
    async def first(requests):
        return requests if isinstance(requests, bytes) else await anext(aiter(requests))

    async def unary(requests, context):
        await first(requests)
        return say(await stage.atwice())

    async def stream(requests, context):
        await first(requests)
        async for line in stage.alines():
            yield line.encode()

    async def written(request, context):
        async for line in stage.alines():
            await context.write(line.encode())

    async def fail(request, context):
        await stage.afail()

    async def abort(request, context):
        await stage.aread()
        await context.abort(grpc.StatusCode.DATA_LOSS, "own words")

    async def hold(request, context):
        yield (await stage.aread()).encode()
        stage.scopes[0].on_close(stage.released.set)
        stage.entered.set()
        while True:
            yield b"more"

    async def blocking(request, context):
        return stage.blocking().encode()

    return {
        "/unary_unary": ("unary_unary", unary),
        "/stream_unary": ("stream_unary", unary),
        "/unary_stream": ("unary_stream", stream),
        "/stream_stream": ("stream_stream", stream),
        "/iterator": ("unary_stream", written),
        "/fail": ("unary_unary", fail),
        "/abort": ("unary_unary", abort),
        "/hold": ("unary_stream", hold),
        "/blocking": ("unary_unary", blocking),
    }


def say(values):
    return " ".join(values).encode()


class Methods(grpc.GenericRpcHandler):
    def __init__(self, methods):
        self._methods = methods

    def service(self, details):
        if details.method not in self._methods:
            return None
        shape, behaviour = self._methods[details.method]
        return getattr(grpc, f"{shape}_rpc_method_handler")(behaviour)


def start_in_threads(methods):
    pool = futures.ThreadPoolExecutor(1)  # one thread, which every call has to share
    server = grpc.server(pool, [Methods(methods)], interceptors=[ScopeInterceptor()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def stop():
        server.stop(None).wait(30)
        pool.shutdown()

    return port, stop


class Loop:
    """An event loop in a thread of its own, with an asyncio server in it."""

    def __init__(self, methods):
        self._pool = futures.ThreadPoolExecutor(1)
        self._runner = asyncio.Runner()
        self._loop = self._pool.submit(self._runner.get_loop).result()
        self._ended = None
        self._methods = methods
        started = futures.Future()
        self._running = self._pool.submit(self._runner.run, self._serve(started))
        self.port = started.result(30)

    async def _serve(self, started):
        self._ended = asyncio.Event()
        server = grpc.aio.server(
            futures.ThreadPoolExecutor(1),
            [Methods(self._methods)],
            interceptors=[AsyncScopeInterceptor()],
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        started.set_result(port)
        await self._ended.wait()
        await server.stop(None)

    def stop(self):
        self._loop.call_soon_threadsafe(self._ended.set)
        self._running.result(30)
        self._pool.submit(self._runner.close).result(30)
        self._pool.shutdown()


def start_in_loop(methods):
    loop = Loop(methods)
    return loop.port, loop.stop


@pytest.fixture(params=["threads", "loop", "threads of a loop"])
def call(request, stage):
    """Call a method of a server with one response, or several."""
    stage.secrets.load()
    start = start_in_threads if request.param == "threads" else start_in_loop
    methods = in_loop(stage) if request.param == "loop" else in_threads(stage)
    port, stop = start(methods)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:

        def call(method, shape="unary_unary"):
            sent = b"" if shape.startswith("unary") else iter([b""])
            return getattr(channel, shape)(method)(sent, timeout=60)

        yield call
    stop()


def heard(response):
    parts = [response] if isinstance(response, bytes) else list(response)
    return b" ".join(parts).decode().split()


# promise 1
@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_sees_one_value_and_the_next_one_the_newest(call, stage, shape):
    first, second = heard(call(f"/{shape}", shape)), heard(call(f"/{shape}", shape))
    assert (len(first) > 1, set(first)) == (True, {"canary-0"})
    assert (len(second) > 1, len(set(second))) == (True, 1)
    assert second != first
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


# promise 1
def test_responses_of_another_making_are_in_the_scope_to_their_end(call, stage):
    assert set(heard(call("/iterator", "unary_stream"))) == {"canary-0"}
    assert "canary-0" not in heard(call("/iterator", "unary_stream"))
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


@pytest.mark.parametrize(
    ("method", "code"),
    [("/fail", "UNKNOWN"), ("/abort", "DATA_LOSS"), ("/nowhere", "UNIMPLEMENTED")],
)
def test_a_call_that_fails_closes_its_scope(call, stage, method, code):
    with pytest.raises(grpc.RpcError) as failed:
        call(method)
    assert failed.value.code().name == code
    assert stage.all_closed() or method == "/nowhere"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_without_a_usable_secret_is_unavailable(call, stage, shape, caplog):
    stage.lose_key()
    with pytest.raises(grpc.RpcError) as failed:
        heard(call(f"/{shape}", shape))
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
    assert failed.value.details() == "temporarily unavailable"
    assert "Ended a call with UNAVAILABLE: FRAMEWORK_KEY" in caplog.text
    assert "(pgp-config explain SecretUnavailable)" in caplog.text


# A plain generator in an asyncio server is never ended by gRPC, whose thread waits for ever.
@pytest.mark.parametrize("call", ["threads", "loop"], indirect=True)
def test_a_cancelled_stream_closes_its_scope(call, stage):
    responses = call("/hold", "unary_stream")
    assert next(responses) == b"canary-0"
    next(responses)
    assert stage.entered.wait(30)
    responses.cancel()
    assert stage.released.wait(30)


@pytest.mark.parametrize("call", ["loop"], indirect=True)
def test_a_read_that_would_block_the_loop_names_the_await_form(call):
    assert "Write: await secrets.framework_key.async_()" in call("/blocking").decode()


# promise 2
def test_nothing_of_a_call_is_left_in_the_servers_thread(stage):
    stage.secrets.load()
    seen = []

    class Outer(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            handler = continuation(details)

            def behaviour(request, context):
                answer = handler.unary_unary(request, context)
                seen.append(open_scope())
                return answer

            return grpc.unary_unary_rpc_method_handler(behaviour)

    server = grpc.server(
        futures.ThreadPoolExecutor(1),
        [Methods(in_threads(stage))],
        interceptors=[Outer(), ScopeInterceptor()],
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.unary_unary("/unary_unary")(b"", timeout=60)
    server.stop(None).wait(30)
    assert (seen, stage.all_closed()) == ([None], True)
