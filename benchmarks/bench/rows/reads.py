"""Reading a value that a request has read before: what a service does most."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench.harness import Mark, Statement, loop, measure
from bench.peers import floors, ours
from bench.results import RowResult
from pgp_config import request_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bench.harness import Body, Case, Options
    from bench.results import Figure

NAME = "reads"
TITLE = "Read of a value inside a scope"

FLOOR = 'floor: ContextVar.get()["k"] in a function'
BARE = 'ContextVar.get()["k"], not in a function'
ASYNC_FLOOR = "floor: the same in a coroutine"
DYNAMIC, STATIC, AWAITED = "dynamic secret", "static secret", "dynamic secret, .async_()"
CONTEXT_LOCAL = "dependency-injector ContextLocalSingleton"

TWICE = Mark(at_most=2.0)
#: A sample is the processor's time: nothing here waits.
_loop = partial(loop, clock=time.thread_time)
FASTER = Mark(at_most=1.0, text="faster than each")

NOTES = (
    'The floor is a function of one line, as one writes it: return variable.get()["k"]; the dict has that key only.',
    (
        "dishka, svcs, wireup, modern-di, diwire and rodi are read from the scope object in hand, as their documentation"
        " shows; handing it down to where it is needed is the user's, and not measured. The others, and ours, find the"
        " scope through the context."
    ),
    "ContextLocalSingleton and the caching clients have no request scope: one value for the context or the process.",
    "modern-di has no asynchronous read; that one is synchronous, in an asynchronous scope.",
)


def run(options: Options) -> RowResult:
    """Measure the row."""
    return RowResult(
        name=NAME, title=TITLE, figures=(*_sync(options), *_async(options)), notes=NOTES
    )


def own_cases() -> list[Case]:
    """Ours and the floor, without the peers: for the guard too."""
    return [_loop(FLOOR, _floor), _loop(DYNAMIC, _dynamic), _loop(STATIC, _static)]


def own_async_cases() -> list[Case]:
    """As `own_cases`, awaited."""
    return [_loop(ASYNC_FLOOR, _async_floor), _loop(AWAITED, _awaited)]


def _sync(options: Options) -> Iterator[Figure]:
    from bench.peers import clients, scoped  # noqa: PLC0415  the guard runs where no peer is installed

    ways = scoped.ways()
    measured = measure(
        [
            *own_cases(),
            _loop(BARE, _bare),
            *(_loop(way.name, way.reading()) for way in ways),
            _loop(CONTEXT_LOCAL, clients.context_local_singleton),
            *(_loop(name, prepare) for name, prepare in clients.warm_reads().items()),
        ],
        options,
    )
    yield measured.figure(DYNAMIC, ratio_to=FLOOR, mark=TWICE)
    yield measured.figure(STATIC, ratio_to=FLOOR, mark=TWICE)
    for case in (DYNAMIC, STATIC):
        yield measured.against_fastest(case, [way.name for way in ways], mark=FASTER)
    yield from measured.figures(floor=FLOOR, without=[DYNAMIC, STATIC])


def _async(options: Options) -> Iterator[Figure]:
    from bench.peers import scoped  # noqa: PLC0415  as above

    ways = scoped.async_ways()
    measured = measure(
        [
            *own_async_cases(),
            *(_loop(f"{way.name}, async", way.reading()) for way in ways),
        ],
        options,
    )
    yield measured.figure(AWAITED, ratio_to=ASYNC_FLOOR, mark=TWICE)
    yield measured.against_fastest(AWAITED, [f"{way.name}, async" for way in ways], mark=FASTER)
    yield from measured.figures(floor=ASYNC_FLOOR, without=[AWAITED])


@contextmanager
def _floor() -> Iterator[Body]:
    floors.variable.set({"k": ours.VALUE})
    yield floors.read


@contextmanager
def _bare() -> Iterator[Body]:
    floors.variable.set({"k": ours.VALUE})
    yield Statement('get()["k"]', get=floors.variable.get)


@asynccontextmanager
async def _async_floor() -> AsyncIterator[Body]:
    floors.variable.set({"k": ours.VALUE})
    yield floors.read_async


@contextmanager
def _dynamic() -> Iterator[Body]:
    with ours.loaded() as secrets, request_scope():
        secrets.dynamic()
        yield secrets.dynamic


@contextmanager
def _static() -> Iterator[Body]:
    with ours.loaded() as secrets, request_scope():
        secrets.static()
        yield secrets.static


@asynccontextmanager
async def _awaited() -> AsyncIterator[Body]:
    with ours.loaded() as secrets:
        async with request_scope():
            await secrets.dynamic.async_()
            yield secrets.dynamic.async_
