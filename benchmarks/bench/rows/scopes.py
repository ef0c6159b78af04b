"""Opening and closing a scope: what every request costs, read or not."""

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

NAME = "scopes"
TITLE = "Open and close a scope"

FLOOR = "floor: slotted context manager, ContextVar of a new dict"
BAREST = "slotted context manager that does nothing"
OURS = "request_scope()"
ASYNC_FLOOR, ASYNC_OURS = "floor, async", "request_scope(), async"
READ_FLOOR = "floor: the same, with one value taken over"
READ_OURS = "request_scope(), one dynamic secret"
READ_STATIC = "request_scope(), one static secret"

MARK = Mark(at_most=1.2)
#: A sample is the processor's time: nothing here waits.
_loop = partial(loop, clock=time.thread_time)
FASTER = Mark(at_most=1.0, text="faster than each")

NOTES = (
    (
        "The floor is a slotted class whose __enter__ sets a ContextVar to a new, empty dict and whose __exit__ resets it."
        " With a read, a function looks into that dict and takes the value over from a dict of the process."
    ),
    (
        "What ours does besides: it notes when the scope was opened, makes sure that each scope object is used once,"
        " forgets its values at the end, in whatever thread or task still holds it, and calls what waits for the end."
    ),
    "The first read of a scope pins the generation, looks whether the value is fresh enough, and fixes the version.",
)


def run(options: Options) -> RowResult:
    """Measure the row."""
    return RowResult(
        name=NAME,
        title=TITLE,
        figures=(*_open_close(options), *_open_read_close(options), *_async(options)),
        notes=NOTES,
    )


def own_cases() -> list[Case]:
    """Ours and the floor, without the peers: for the guard too."""
    return [
        _loop(FLOOR, partial(_scope_only, floors.Scope)),
        _loop(OURS, partial(_scope_only, request_scope)),
    ]


def own_reading_cases() -> list[Case]:
    """As `own_cases`, with one read."""
    return [
        _loop(READ_FLOOR, _floor_read),
        _loop(READ_OURS, _dynamic),
        _loop(READ_STATIC, _static),
    ]


def own_async_cases() -> list[Case]:
    """As `own_cases`, asynchronous."""
    return [
        _loop(ASYNC_FLOOR, partial(_async_scope_only, floors.Scope)),
        _loop(ASYNC_OURS, partial(_async_scope_only, request_scope)),
    ]


def _open_close(options: Options) -> Iterator[Figure]:
    from bench.peers import scoped  # noqa: PLC0415  the guard runs where no peer is installed

    ways = scoped.ways()
    measured = measure(
        [
            *own_cases(),
            _loop(BAREST, partial(_scope_only, floors.Nothing)),
            *(_loop(way.name, way.prepared(way.open_close)) for way in ways),
        ],
        options,
    )
    yield measured.figure(OURS, ratio_to=FLOOR, mark=MARK)
    yield measured.against_fastest(OURS, [way.name for way in ways], mark=FASTER)
    yield from measured.figures(floor=FLOOR, without=[OURS])


def _open_read_close(options: Options) -> Iterator[Figure]:
    from bench.peers import scoped  # noqa: PLC0415  as above

    ways = scoped.ways()
    names = [f"{way.name}, one read" for way in ways]
    measured = measure(
        [
            *own_reading_cases(),
            *(
                _loop(name, way.prepared(way.open_read_close))
                for name, way in zip(names, ways, strict=True)
            ),
        ],
        options,
    )
    yield measured.figure(READ_OURS, ratio_to=READ_FLOOR, mark=MARK)
    yield measured.figure(READ_STATIC, ratio_to=READ_FLOOR, mark=MARK)
    yield measured.against_fastest(READ_OURS, names, mark=FASTER)
    yield from measured.figures(floor=READ_FLOOR, without=[READ_OURS, READ_STATIC])


def _async(options: Options) -> Iterator[Figure]:
    from bench.peers import scoped  # noqa: PLC0415  as above

    ways = scoped.async_ways()
    names = [f"{way.name}, async" for way in ways]
    measured = measure(
        [
            *own_async_cases(),
            *(
                _loop(name, way.prepared(way.open_close))
                for name, way in zip(names, ways, strict=True)
            ),
        ],
        options,
    )
    yield measured.figure(ASYNC_OURS, ratio_to=ASYNC_FLOOR, mark=MARK)
    yield measured.against_fastest(ASYNC_OURS, names, mark=FASTER)
    yield from measured.figures(floor=ASYNC_FLOOR, without=[ASYNC_OURS])


@contextmanager
def _scope_only(scope: object) -> Iterator[Body]:
    yield Statement("with scope():\n    pass", scope=scope)


@asynccontextmanager
async def _async_scope_only(scope: object) -> AsyncIterator[Body]:
    yield Statement("async with scope():\n    pass", scope=scope)


@contextmanager
def _floor_read() -> Iterator[Body]:
    yield Statement("with scope():\n    read()", scope=floors.Scope, read=floors.read_first)


@contextmanager
def _dynamic() -> Iterator[Body]:
    with ours.loaded() as secrets:
        yield Statement("with scope():\n    read()", scope=request_scope, read=secrets.dynamic)


@contextmanager
def _static() -> Iterator[Body]:
    with ours.loaded() as secrets:
        yield Statement("with scope():\n    read()", scope=request_scope, read=secrets.static)
