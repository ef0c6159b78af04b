"""What it costs a read that somebody observes: nothing, for it is no event."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from bench.harness import Mark, Statement, loop, measure
from bench.peers import ours
from bench.results import RowResult
from pgp_config import LoggingObserver, Memory, request_scope
from pgp_config.observers.otel import OpenTelemetryObserver
from pgp_config.observers.otel_spans import OpenTelemetrySpans
from pgp_config.tallies import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness import Body, Options
    from pgp_config import Observer

NAME = "observers"
TITLE = "A read that is observed"

WARM, WARM_OBSERVED = "warm read, not observed", "warm read, observed"
FIRST, FIRST_OBSERVED = "scope with one read, not observed", "scope with one read, observed"
COUNTING = "counting one read"
COLLECTING = "one collection of all figures"

#: Differences under 15 % are ties here.
TIE = Mark(at_most=1.15)
#: A sample is the processor's time: nothing here waits.
_loop = partial(loop, clock=time.thread_time)

NOTES = (
    (
        "Observed: the standard log, OpenTelemetry's metrics with the SDK and a reader in memory, and spans of fetches."
        " A warm read, of what its scope has read before, is a look-up in a dictionary; the first of a scope raises one"
        " count, observed or not, which the SDK reads when it collects."
    ),
)


def run(options: Options) -> RowResult:
    """Measure the row."""
    measured = measure(
        [
            _loop(WARM, partial(_warm, observed=False)),
            _loop(WARM_OBSERVED, partial(_warm, observed=True)),
            _loop(FIRST, partial(_first, observed=False)),
            _loop(FIRST_OBSERVED, partial(_first, observed=True)),
            _loop(COUNTING, _counting),
            _loop(COLLECTING, _collecting),
        ],
        options,
    )
    figures = (
        measured.figure(WARM_OBSERVED, ratio_to=WARM, mark=TIE),
        measured.figure(FIRST_OBSERVED, ratio_to=FIRST, mark=TIE),
        measured.figure(COUNTING, ratio_to=FIRST),
        *(measured.figure(name) for name in (WARM, FIRST, COLLECTING)),
    )
    return RowResult(name=NAME, title=TITLE, figures=figures, notes=NOTES)


@contextmanager
def _secrets(*, observed: bool) -> Iterator[tuple[ours.Secrets, InMemoryMetricReader]]:
    reader = InMemoryMetricReader()
    meters, tracers = MeterProvider([reader]), TracerProvider()
    observers: list[Observer] = [
        LoggingObserver(),
        OpenTelemetryObserver(meters.get_meter("bench")),
        OpenTelemetrySpans(tracers.get_tracer("bench")),
    ]
    source = Memory({"DYNAMIC_VALUE": ours.VALUE, "STATIC_VALUE": ours.VALUE})
    # Its clock stands still: no read meets a refresh.
    secrets = ours.Secrets(source=source, observers=observers if observed else (), clock=float)
    secrets.load()
    try:
        yield secrets, reader
    finally:
        secrets.close()
        meters.shutdown()
        tracers.shutdown()


@contextmanager
def _warm(*, observed: bool) -> Iterator[Body]:
    with _secrets(observed=observed) as (secrets, _), request_scope():
        secrets.dynamic()
        yield secrets.dynamic


@contextmanager
def _first(*, observed: bool) -> Iterator[Body]:
    with _secrets(observed=observed) as (secrets, _):
        yield Statement("with scope():\n    read()", scope=request_scope, read=secrets.dynamic)


@contextmanager
def _counting() -> Iterator[Body]:
    tally = Tally()
    yield Statement("tally.add()", tally=tally)


@contextmanager
def _collecting() -> Iterator[Body]:
    with _secrets(observed=True) as (_, reader):
        yield reader.get_metrics_data
