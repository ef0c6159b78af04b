"""Start-up: `load()` of 1, 43 and 500 secrets from a source that takes 30 ms a call, and from a cold cache.

The source sleeps and answers; it counts the calls that are in flight at once. Each sample makes a new
container, whose declaration (pydantic's adapters among it) was made before, and loads it. The first load
of a process starts the threads that call the source, and so does every container here.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from contextlib import contextmanager
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from bench.harness import Mark, measure, sampled
from bench.peers.ours import VALUE
from bench.results import Figure, Point, RowResult, Series
from pgp_config import DynamicSecret, SecretContainer
from pgp_config.cache import MAX_CALLS
from pgp_config.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.harness import Options

NAME = "startup"
TITLE = "Start-up with a source of 30 ms"

#: Seconds that a call takes.
ROUND_TRIP = 0.030

SIZES = (1, 43, 500)

FLOOR = "one round trip"
IN_FLIGHT = "calls in flight at most, 500 secrets"

#: Seconds on top of two round trips.
LEEWAY = 0.020

FEW = Mark(at_most=2 * ROUND_TRIP + LEEWAY, text="≤ 2 round trips + 20 ms")
BOUNDED = Mark(at_most=MAX_CALLS)

NOTES = (
    f"A container has {MAX_CALLS} calls in flight at most: 500 secrets take {ceil(500 / MAX_CALLS)} round trips.",
    "The time with 500 has no mark; beside it stands what the round trips alone would take.",
)


class SlowSource:
    """Answers each call after a round trip.

    Attributes:
        most: Calls that were in flight at once, at most.
    """

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._calls = itertools.count()
        self._lock = threading.Lock()

    def fetch(self, name: str, version: int | str = "latest") -> Payload:  # noqa: ARG002  the protocol's
        """As every source."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(ROUND_TRIP)
        with self._lock:
            self._now -= 1
        # Values that differ, and from call to call: to the process each is new.
        return Payload(f"{VALUE} {name} {next(self._calls)}".encode(), 1)


def declaration(size: int) -> type[SecretContainer]:
    """A container class of so many secrets."""
    secrets = {f"secret_{n}": DynamicSecret(f"SECRET_{n}") for n in range(size)}
    made: Any = type(SecretContainer)
    cls: type[SecretContainer] = made(f"Of{size}", (SecretContainer,), secrets)
    return cls


def run(options: Options) -> RowResult:
    """Measure the row."""
    source = SlowSource()
    names = {size: f"load() of {size}" for size in SIZES}
    cases = [sampled(FLOOR, partial(_round_trip, source))]
    cases += [sampled(name, partial(_loading, size, source)) for size, name in names.items()]
    measured = measure(cases, options, rounds=options.choose(full=21, quick=3))
    return RowResult(
        name=NAME,
        title=TITLE,
        figures=(
            *(_timed(measured.figure(name, ratio_to=FLOOR), size) for size, name in names.items()),
            measured.figure(FLOOR),
            Figure(
                case=IN_FLIGHT,
                value=source.most,
                unit="calls",
                mark=str(BOUNDED),
                verdict=BOUNDED.verdict(source.most),
            ),
        ),
        series=(
            Series(
                plot="startup",
                name="load()",
                x_label="secrets",
                y_label="seconds",
                points=tuple(
                    Point(x=size, y=statistics.median(measured.samples[name]))
                    for size, name in names.items()
                ),
            ),
        ),
        notes=NOTES,
    )


def _timed(figure: Figure, size: int) -> Figure:
    """With the mark, which is for the time and not for the ratio beside it."""
    if size <= MAX_CALLS:
        return figure.model_copy(update={"mark": str(FEW), "verdict": FEW.verdict(figure.value)})
    least = ceil(size / MAX_CALLS) * ROUND_TRIP
    return figure.model_copy(update={"note": f"{least:.2f} s of it are round trips"})


@contextmanager
def _round_trip(source: SlowSource) -> Iterator[Callable[[], float]]:
    yield partial(_seconds_of, lambda: source.fetch("SECRET"))


@contextmanager
def _loading(size: int, source: SlowSource) -> Iterator[Callable[[], float]]:
    declared = declaration(size)

    def load() -> float:
        secrets = declared(source=source)
        try:
            return _seconds_of(secrets.load)
        finally:
            secrets.close()

    yield load


def _seconds_of(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
