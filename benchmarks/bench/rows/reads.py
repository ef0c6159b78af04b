"""Reading a value that a request has read before: what a service does most."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from bench.harness import Mark, Statement, loop, measure
from bench.peers import ours
from bench.results import RowResult
from pgp_config import request_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bench.harness import Body, Options

NAME = "reads"
TITLE = "Read of a value inside a scope"

FLOOR = 'floor: ContextVar.get()["k"] in a function'
BARE = 'ContextVar.get()["k"], not in a function'
ASYNC_FLOOR = "floor: the same in a coroutine"
DYNAMIC, STATIC, AWAITED = "dynamic secret", "static secret", "dynamic secret, .async_()"

TWICE = Mark(at_most=2.0)

_variable: ContextVar[dict[str, str]] = ContextVar("floor")


def run(options: Options) -> RowResult:
    """Measure the row."""
    sync = measure(
        [loop(FLOOR, _floor), loop(BARE, _bare), loop(DYNAMIC, _dynamic), loop(STATIC, _static)],
        options,
    )
    awaited = measure([loop(ASYNC_FLOOR, _async_floor), loop(AWAITED, _awaited)], options)
    return RowResult(
        name=NAME,
        title=TITLE,
        figures=(
            sync.figure(DYNAMIC, ratio_to=FLOOR, mark=TWICE),
            sync.figure(STATIC, ratio_to=FLOOR, mark=TWICE),
            sync.figure(FLOOR),
            sync.figure(BARE, ratio_to=FLOOR),
            awaited.figure(AWAITED, ratio_to=ASYNC_FLOOR, mark=TWICE),
            awaited.figure(ASYNC_FLOOR),
        ),
    )


@contextmanager
def _floor() -> Iterator[Body]:
    _variable.set({"k": ours.VALUE})
    get = _variable.get

    def read() -> str:
        return get()["k"]

    yield read


@contextmanager
def _bare() -> Iterator[Body]:
    _variable.set({"k": ours.VALUE})
    yield Statement('get()["k"]', get=_variable.get)


@asynccontextmanager
async def _async_floor() -> AsyncIterator[Body]:
    _variable.set({"k": ours.VALUE})
    get = _variable.get

    async def read() -> str:
        return get()["k"]

    yield read


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
