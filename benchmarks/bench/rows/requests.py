"""A request through the adapter with five reads, in this process and without a client.

The application is called as a server calls it, with one environment (Flask) or scope (FastAPI) for each
request; a test client would take longer than the request. What is compared is requests a second. A bare
application reads five constants; a peer's page is given five objects that live as long as the request.

Growth: after a warm-up, what Python's allocator holds (`tracemalloc`) is taken before and after many
requests, with the garbage collected.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
import tracemalloc
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.harness import Mark, Measured, loop, measure
from bench.peers import applications
from bench.results import Figure, RowResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from fastapi import FastAPI
    from flask import Flask

    from bench.harness import Body, Case, Options

NAME = "requests"
TITLE = "Request with five reads, in process"

BARE, OURS, PLAIN = "bare {}", "pgp_config, {}", "pgp_config, {}, reads without await"
#: A sample is the processor's time: nothing here waits.
_loop = partial(loop, clock=time.thread_time)
MEMORY = f"{OURS}, memory"
SLOWDOWN = Mark(at_least=0.95)
FASTER = Mark(at_least=1.0, text="faster than each")

#: Bytes a request that are called none: less than one object in a thousand requests.
NO_GROWTH = Mark(at_most=0.05, text="0 growth")

#: Requests before and between the two looks at the memory.
WARM_UP = 2_000

NOTES = (
    "Our adapters are installed with their defaults: load at start-up, and the pages /healthz and /readyz.",
    "that-depends has no adapter for Flask, and modern-di's is not measured.",
)

_ANSWER = {"read": 5}


def run(options: Options) -> RowResult:
    """Measure the row."""
    return RowResult(
        name=NAME,
        title=TITLE,
        figures=(*_flask(options), *_fastapi(options), *growth(options)),
        notes=NOTES,
    )


def own_flask_cases() -> list[Case]:
    """Ours and the bare framework, without the peers: for the guard too."""
    return [
        _loop(BARE.format("Flask"), partial(_wsgi, applications.flask_bare)),
        _loop(OURS.format("Flask"), partial(_wsgi, applications.flask_ours)),
    ]


def own_fastapi_cases() -> list[Case]:
    """As `own_flask_cases`."""
    return [
        _loop(BARE.format("FastAPI"), partial(_asgi, applications.fastapi_bare)),
        _loop(OURS.format("FastAPI"), partial(_asgi, applications.fastapi_ours)),
        _loop(PLAIN.format("FastAPI"), partial(_asgi, applications.fastapi_ours_plain)),
    ]


def _flask(options: Options) -> Iterator[Figure]:
    from bench.peers import adapters  # noqa: PLC0415  the guard runs where no peer is installed

    peers = adapters.flask_adapters().items()
    cases = [
        *own_flask_cases(),
        *(_loop(f"{name}, Flask", partial(_wsgi, make)) for name, make in peers),
    ]
    yield from _figures(rates(measure(cases, options)), "Flask")


def _fastapi(options: Options) -> Iterator[Figure]:
    from bench.peers import adapters  # noqa: PLC0415  as above

    peers = adapters.fastapi_adapters().items()
    cases = [
        *own_fastapi_cases(),
        *(_loop(f"{name}, FastAPI", partial(_asgi, make)) for name, make in peers),
    ]
    yield from _figures(rates(measure(cases, options)), "FastAPI")


def rates(measured: Measured) -> Measured:
    """Operations a second in the place of seconds an operation."""
    samples = {name: [1 / each for each in taken] for name, taken in measured.samples.items()}
    return Measured(samples, dict.fromkeys(samples, "1/s"))


def _figures(measured: Measured, framework: str) -> Iterator[Figure]:
    bare, ours = BARE.format(framework), OURS.format(framework)
    own = {bare, ours, PLAIN.format(framework)}
    peers = sorted({*measured.samples} - own, key=measured.median, reverse=True)
    yield measured.figure(ours, ratio_to=bare, mark=SLOWDOWN)
    yield measured.figure(ours, ratio_to=peers[0], mark=FASTER, note=f"of {len(peers)} others")
    yield measured.figure(bare)
    for name in [*sorted(own & {*measured.samples} - {bare, ours}), *peers]:
        yield measured.figure(name, ratio_to=bare)


# -- without a server ------------------------------------------------------------------------


@contextmanager
def _wsgi(make: Callable[[], Flask]) -> Iterator[Body]:
    call = _wsgi_call(make())
    _check(call())
    yield call


def _wsgi_call(app: Flask) -> Callable[[], bytes]:
    environment = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": applications.PATH,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": sys.stdin.buffer,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }

    def start_response(*_: object) -> Callable[[bytes], object]:
        return len

    def call() -> bytes:
        body: Any = app.wsgi_app({**environment}, start_response)
        try:
            return b"".join(body)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()

    return call


@asynccontextmanager
async def _asgi(make: Callable[[], FastAPI]) -> AsyncIterator[Body]:
    app = make()
    async with _living(app) as state:
        call = _asgi_call(app, state)
        _check(await call())
        yield call


@asynccontextmanager
async def _living(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
    """The lifespan of an application, as a server runs it; gives its state."""
    state: dict[str, Any] = {}
    started, ending = asyncio.Event(), asyncio.Event()
    incoming = iter(("lifespan.startup", "lifespan.shutdown"))

    async def receive() -> dict[str, Any]:
        kind = next(incoming)
        if kind == "lifespan.shutdown":
            await ending.wait()
        return {"type": kind}

    async def send(message: Any) -> None:  # noqa: ANN401  Starlette's kind of mapping
        if message["type"] == "lifespan.startup.complete":
            started.set()

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    life = asyncio.ensure_future(app(scope, receive, send))
    waiting = asyncio.ensure_future(started.wait())
    await asyncio.wait({life, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not started.is_set():
        await life
    try:
        yield state
    finally:
        ending.set()
        await life


def _asgi_call(app: FastAPI, state: Mapping[str, Any]) -> Callable[[], Awaitable[bytes]]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": applications.PATH,
        "raw_path": applications.PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def call() -> bytes:
        body = b""

        async def send(message: Any) -> None:  # noqa: ANN401  as above
            nonlocal body
            body += message.get("body", b"")

        await app({**scope, "state": {**state}}, receive, send)
        return body

    return call


def _check(body: bytes) -> None:
    if json.loads(body) != _ANSWER:
        raise RuntimeError(f"the page answered {body!r}")


# -- growth ----------------------------------------------------------------------------------


def growth(options: Options) -> Iterator[Figure]:
    """What is held after many requests: for the guard too."""
    count = options.choose(full=100_000, quick=2_000)
    for framework, grown in (
        ("Flask", _growth_of_flask(count)),
        ("FastAPI", asyncio.run(_growth_of_fastapi(count))),
    ):
        each = grown.bytes / count
        yield Figure(
            case=MEMORY.format(framework),
            value=each,
            unit="bytes a request",
            mark=str(NO_GROWTH),
            verdict=NO_GROWTH.verdict(each),
            note=f"{grown.bytes:+,} bytes after {count:,} requests; {grown.peak:+,} resident at most",
        )


class _Growth:
    """Looks at the memory, and again.

    Attributes:
        bytes: By which what Python holds has grown.
        peak: By which the most that was resident has grown.
    """

    bytes = 0
    peak = 0

    def begin(self) -> None:
        tracemalloc.start()
        self._held, self._peak = self._look()

    def end(self) -> None:
        held, peak = self._look()
        tracemalloc.stop()
        self.bytes, self.peak = held - self._held, peak - self._peak

    @staticmethod
    def _look() -> tuple[int, int]:
        gc.collect()
        unit = 1 if sys.platform == "darwin" else 1024
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return tracemalloc.get_traced_memory()[0], resident


def _growth_of_flask(count: int) -> _Growth:
    call, growth = _wsgi_call(applications.flask_ours()), _Growth()
    for number in range(2 * WARM_UP + count):
        if number == WARM_UP:
            tracemalloc.start()  # what it notes of itself is part of the warm-up
        if number == 2 * WARM_UP:
            growth.begin()
        call()
    growth.end()
    return growth


async def _growth_of_fastapi(count: int) -> _Growth:
    app, growth = applications.fastapi_ours(), _Growth()
    async with _living(app) as state:
        call = _asgi_call(app, state)
        for number in range(2 * WARM_UP + count):
            if number == WARM_UP:
                tracemalloc.start()
            if number == 2 * WARM_UP:
                growth.begin()
            await call()
        growth.end()
    return growth
