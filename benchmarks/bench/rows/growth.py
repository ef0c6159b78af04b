"""Growth: whether a read stays as fast with many secrets, containers, scopes and threads; and memory.

Method: one axis at a time, all points of an axis measured in the same interleaved rounds.

- A *read* is that of a value which the scope has, the *first read* a scope opened, one read and closed.
- secrets: 1 to 1,000 in one container, all known; the read is of the last one declared.
- containers: 1 to 50 instances of a class with two secrets, all loaded; the reads are of the last.
- scopes: 1 to 10,000 that are open at once, each in a context of its own that has read both secrets, as
  concurrent requests do; the reads happen in one more.
- a refresh: the read that finds its secret due, and starts the fetches of all secrets in use, of which there
  are 1 to 1,000. It is the one read of a `max_age` that does more, so its time is shown, without a mark.
- threads: 1 to 64 that read at once; a sample is the time for one read of any of them, so that the
  interpreter's lock is in the floor too: the same for `ContextVar.get()["k"]` in a function.

Time is the processor's, for nothing here waits but for that lock; of a refresh it is what elapses.

The mark for a flat curve: the last point at most 1.3 times the first, of the medians of their ratios in one
round; for threads that of the ratio to the floor at as many threads.

Memory is what `tracemalloc` counts: of a secret, the difference between containers of 1,001 and of one, by
the thousand, when declared, bound and loaded (its value has 36 characters); of a scope, that of 10,000 open
ones with two values read, without and with the context that holds each.
"""

from __future__ import annotations

import contextvars
import gc
import time
import tracemalloc
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.harness import Mark, Statement, loop, measure, sampled
from bench.peers import floors, ours
from bench.results import Figure, Point, RowResult, Series
from pgp_config import DynamicSecret, Freshness, Memory, SecretContainer, request_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.harness import Body, Case, Measured, Options, Prepare

NAME = "growth"
TITLE = "Growth: reads with more secrets, containers, scopes and threads; memory"

SECRETS, CONTAINERS = (1, 10, 100, 1000), (1, 10, 50)
SCOPES, THREADS = (1, 100, 1000, 10_000), (1, 4, 16, 64)

FLAT = Mark(at_most=1.3)
READ, FIRST = "read", "scope with a first read"

NOTES = (
    "The mark for flat is 1.3 (chosen here): below it a ratio on a shared machine says nothing.",
    (
        "A read is one look into the scope's dictionary, whatever there is besides. A first read looks into the"
        " generation, a dictionary of all secrets, and into the cache's; neither is walked."
    ),
)


def run(options: Options) -> RowResult:
    """Measure the row."""
    figures: list[Figure] = []
    series: list[Series] = []
    for axis, sizes, opened in (
        ("secrets", SECRETS, _many_secrets),
        ("containers", CONTAINERS, _many_containers),
        ("open scopes", SCOPES, _many_scopes),
    ):
        for what, body in ((READ, _read_of), (FIRST, _first_of)):
            cases = {size: f"{what}, {size:,} {axis}" for size in sizes}
            measured = measure(
                [
                    loop(case, partial(_prepared, opened, size, body), clock=time.thread_time)
                    for size, case in cases.items()
                ],
                options,
            )
            figures += _flat(measured, list(cases.values()))
            series.append(_series(axis, what, cases, measured))
    figures += _refreshes(options, series)
    figures += _threads(options, series)
    figures += _memory(options)
    return RowResult(
        name=NAME, title=TITLE, figures=tuple(figures), series=tuple(series), notes=NOTES
    )


def _flat(measured: Measured, cases: Sequence[str]) -> Iterator[Figure]:
    first, *between, last = cases
    yield measured.figure(last, ratio_to=first, mark=FLAT)
    for case in (*between, first):
        yield measured.figure(case)


def _series(axis: str, what: str, cases: dict[int, str], measured: Measured) -> Series:
    points = [Point(x=size, y=measured.median(case)) for size, case in cases.items()]
    return Series(
        plot=f"growth-{axis.replace(' ', '-')}",
        name=what,
        x_label=axis,
        y_label="seconds",
        points=tuple(points),
    )


# -- reads -----------------------------------------------------------------------------------


@contextmanager
def _prepared(
    opened: Callable[[int], Any], size: int, body: Callable[[Any, ExitStack], Body]
) -> Iterator[Body]:
    with opened(size) as secret, ExitStack() as stack:
        yield body(secret, stack)


def _read_of(secret: Any, stack: ExitStack) -> Body:  # noqa: ANN401  a secret of a class made here
    stack.enter_context(request_scope())
    secret()
    return Statement("secret()", secret=secret)


def _first_of(secret: Any, _stack: ExitStack) -> Body:  # noqa: ANN401  as above
    return Statement("with scope():\n    secret()", scope=request_scope, secret=secret)


def container_of(size: int) -> Any:  # noqa: ANN401  a class made here
    """A container class with so many secrets, and its source."""
    names = [f"GROWTH_{number}" for number in range(size)]
    declared = {f"s{number}": DynamicSecret(name, str) for number, name in enumerate(names)}
    metaclass: Any = type(SecretContainer)
    made = metaclass("Grown", (SecretContainer,), declared)
    return made, Memory(dict.fromkeys(names, ours.VALUE))


@contextmanager
def _many_secrets(size: int) -> Iterator[Any]:
    made, source = container_of(size)
    secrets = made(source=source, observers=[])
    secrets.load()
    try:
        yield getattr(secrets, f"s{size - 1}")
    finally:
        secrets.close()


@contextmanager
def _many_containers(size: int) -> Iterator[Any]:
    with ExitStack() as stack:
        loaded = [stack.enter_context(ours.loaded()) for _ in range(size)]
        yield loaded[-1].dynamic


@contextmanager
def _many_scopes(size: int) -> Iterator[Any]:
    with ours.loaded() as secrets:
        contexts = [contextvars.Context() for _ in range(size - 1)]
        held = [context.run(_entered, secrets) for context in contexts]
        try:
            yield secrets.dynamic
        finally:
            for context, scope in zip(contexts, held, strict=True):
                context.run(scope.__exit__, None, None, None)


def _entered(secrets: ours.Secrets) -> Any:  # noqa: ANN401  mypy takes the name for a function's
    """An open scope that has read both secrets."""
    scope = request_scope()
    scope.__enter__()
    secrets.dynamic()
    secrets.static()
    return scope


# -- refreshes -------------------------------------------------------------------------------


def _refreshes(options: Options, series: list[Series]) -> Iterator[Figure]:
    cases = {size: f"read that starts the refresh of {size:,} secrets" for size in SECRETS}
    measured = measure(
        [sampled(case, partial(_refresh, size)) for size, case in cases.items()],
        options,
        rounds=options.choose(full=21, quick=3),
    )
    first, *_, last = cases.values()
    yield measured.figure(last, ratio_to=first)
    for case in list(cases.values())[:-1]:
        yield measured.figure(case)
    series.append(_series("secrets", "read that starts a refresh of all", cases, measured))


@contextmanager
def _refresh(size: int) -> Iterator[Callable[[], float]]:
    made, source = container_of(size)
    ahead = 0.0
    secrets = made(
        source=source,
        freshness=Freshness(1000),
        observers=[],
        clock=lambda: time.monotonic() + ahead,
    )
    secrets.load()
    every = [getattr(secrets, f"s{number}") for number in range(size)]

    def sample() -> float:
        nonlocal ahead
        with request_scope():
            for secret in every:
                secret()
        ahead += 950  # 95 % of it: each jittered refresh is due
        with request_scope():
            began = time.perf_counter()
            every[0]()
            took = time.perf_counter() - began
        deadline = time.monotonic() + 30
        while any(row.age > 900 for row in secrets.status()) and time.monotonic() < deadline:  # noqa: PLR2004  not confirmed yet
            time.sleep(0.001)
        return took

    try:
        yield sample
    finally:
        secrets.close()


# -- threads ---------------------------------------------------------------------------------


def _threads(options: Options, series: list[Series]) -> Iterator[Figure]:
    """Reads by several threads at once, beside the floor at as many."""
    floor = {count: f"floor, {count} threads" for count in THREADS}
    read = {count: f"{READ}, {count} threads" for count in THREADS}
    measured = measure(
        [
            *(_at_once(case, _floor, count) for count, case in floor.items()),
            *(_at_once(case, _one_read, count) for count, case in read.items()),
        ],
        options,
    )
    first, last = THREADS[0], THREADS[-1]
    ratios = {count: measured.figure(read[count], ratio_to=floor[count]) for count in THREADS}
    grown = (ratios[last].ratio or 0.0) / (ratios[first].ratio or 1.0)
    yield Figure(
        case=f"{READ}, {last} threads, ratio to the floor beside that of {first}",
        value=grown,
        unit="",
        mark=str(FLAT),
        verdict=FLAT.verdict(grown),
    )
    yield from ratios.values()
    for name, cases in ((READ, read), ("floor", floor)):
        series.append(_series("threads", name, cases, measured))


def _at_once(name: str, prepare: Prepare, threads: int) -> Case:
    return loop(name, prepare, threads=threads, clock=time.process_time)


@contextmanager
def _floor() -> Iterator[Body]:
    floors.variable.set({"k": ours.VALUE})
    yield floors.read


@contextmanager
def _one_read() -> Iterator[Body]:
    with ours.loaded() as secrets, request_scope():
        secrets.dynamic()
        yield secrets.dynamic


# -- memory ----------------------------------------------------------------------------------


def _memory(options: Options) -> Iterator[Figure]:
    many = options.choose(full=1000, quick=100)
    one, more = (_traced(partial(_loaded, size)) for size in (1, 1 + many))
    yield Figure(case="memory of a secret", value=(more - one) / many, unit="bytes")
    many = options.choose(full=10_000, quick=1000)
    with ours.loaded() as secrets:
        _entered(secrets).__exit__(None, None, None)
        contexts = [contextvars.Context() for _ in range(many)]
        bare = _traced(lambda: [context.run(_entered, secrets) for context in contexts])
        whole = _traced(
            lambda: [(c := contextvars.Context(), c.run(_entered, secrets)) for _ in range(many)]
        )
    note = "with two values read"
    yield Figure(case="memory of an open scope", value=bare / many, unit="bytes", note=note)
    yield Figure(
        case="memory of an open scope and its context",
        value=whole / many,
        unit="bytes",
        note=note,
    )


def _loaded(size: int) -> Any:  # noqa: ANN401  whatever holds it
    made, source = container_of(size)
    secrets = made(source=source, observers=[])
    secrets.load()
    return secrets, source


def _traced(make: Callable[[], Any]) -> int:
    """Bytes that are held after something was made."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if isinstance(made, tuple):
        made[0].close()
    return held
