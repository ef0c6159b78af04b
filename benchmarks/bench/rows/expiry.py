"""Readers at expiry: what 16 and 1,000 of them wait for at the moment at which a value is due.

Method: the value is warm, and so many readers read it at once, each once: that is the warm burst. Then the
value becomes due, and the same readers read again at once. A reader's time is taken from its own start to its
own end. A sample is the 99th percentile of the readers in the second burst above that in the first; the calls
to the source are counted until all have landed. Sources take 50 or 200 ms; no value is rotated.

Ours reads in a scope of its own each time: 16 threads, or 1,000 coroutines. The peers have no asynchronous
read: 16 or 1,000 threads. *Due* is for ours, in the bounded mode, 95 % of `max_age`, past where each refresh
begins; a value that nobody has read for longer than `max_age` has to be waited for, which is shown as well.
For the peers it is the end of their time to live. How each is brought there is in `peers/expiring.py`.

In the strict mode (`EVERY_REQUEST`) each reader reads several times in a row, in a scope each time, and each
call brings another version, so that a reader knows which call it got. Shown are calls for each round trip
(what the source sleeps), and for how many calls, one after another, the unluckiest reader waited. By the
clock it is more: 1,000 coroutines take their turns in one thread, and a source's thread wakes late beside
them. So the slowest read by the clock stands beside as many readers that just sleep for two round trips.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.harness import Mark, measure, quartiles, sampled
from bench.peers import expiring
from bench.readers import burst, burst_async, percentile, waited_for
from bench.results import Figure, RowResult
from pgp_config import EVERY_REQUEST, Freshness, request_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.harness import Case, Options
    from bench.peers.expiring import Expiring, Ours
    from bench.readers import Read

NAME = "expiry"
TITLE = "Readers at the moment at which a value expires"

READERS, LATENCIES = (16, 1000), (0.05, 0.2)

#: From so many readers on they are coroutines, where the library can.
MANY = 100

#: Where it is due, as a share of `max_age`: every jittered refresh begins before; and after an idle time.
DUE, IDLE = 0.95, 1.5

BOUNDED = Freshness(max_age=1000)

#: Reads in a row of each strict reader.
IN_A_ROW = 4

ADDED = Mark(at_most=0.001, text="< 1 ms")
ONE_CALL = Mark(at_most=1, text="one call")
A_TRIP = Mark(at_most=1.0, text="≤ 1 a round trip")
TWO_TRIPS = Mark(at_most=2, text="≤ 2")

NOTES = (
    "Where many threads read, their turns at the interpreter's lock are in the warm burst too, and are subtracted.",
    "After an idle time ours waits: a value that old may have been revoked. All readers share that one call.",
    (
        "gcp-secretmanager-cache refreshes in a thread of its own every 30 s at least, whether anybody reads or not, with a"
        " list request each time (a quota of 600 a minute); where the CPU is frozen between requests it does not run."
    ),
)


@dataclass
class Counted:
    """What was counted beside the samples of a case."""

    calls: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)


def run(options: Options) -> RowResult:
    """Measure the row."""
    figures: list[Figure] = []
    readers = options.choose(full=1000, quick=100)
    for count in (READERS[0], readers):
        for latency in LATENCIES:
            figures += _at_expiry(count, latency, options)
            figures += _strict(count, latency, options)
    return RowResult(name=NAME, title=TITLE, figures=tuple(figures), notes=NOTES)


# -- at expiry -------------------------------------------------------------------------------


def _at_expiry(count: int, latency: float, options: Options) -> Iterator[Figure]:
    what = f"{count} readers, {latency * 1000:g} ms"
    counted: dict[str, Counted] = {}
    cases: list[Case] = []

    def add(name: str, prepare: Callable[[Counted], Any]) -> str:
        case, counts = f"{name}: {what}", Counted()
        counted[case] = counts
        cases.append(sampled(case, lambda: prepare(counts)))
        return case

    bounded = add("bounded", lambda counts: _ours(count, latency, DUE, counts))
    idle = add("bounded, after an idle time", lambda counts: _ours(count, latency, IDLE, counts))
    others = [
        add(name, lambda counts, opened=opened: _peer(count, opened(latency), counts))  # type: ignore[misc]  # a default binds it
        for name, opened in expiring.peers().items()
    ]
    # No ratios: the peers, which wait for their shortest time to live, need not be in the same rounds.
    measured = measure(cases[:2], options, rounds=options.choose(full=11, quick=2))
    beside = measure(cases[2:], options, rounds=options.choose(full=3, quick=1))
    yield measured.figure(bounded, mark=ADDED, note="added p99")
    yield _calls(bounded, counted[bounded], ONE_CALL)
    for among, case in ((measured, idle), *((beside, case) for case in others)):
        calls = statistics.median(counted[case].calls)
        yield among.figure(case, note=f"added p99; calls: {calls:g}")


def _calls(case: str, counts: Counted, mark: Mark) -> Figure:
    most = max(counts.calls)
    return Figure(
        case=f"{case}, calls at most",
        value=most,
        unit="calls",
        mark=str(mark),
        verdict=mark.verdict(most),
    )


@contextmanager
def _ours(count: int, latency: float, share: float, counts: Counted) -> Iterator[Any]:
    with expiring.ours(expiring.Source(latency), BOUNDED) as peer, asyncio.Runner() as runner:
        read, read_async = _in_scope(peer)

        def readers() -> list[float]:
            if count < MANY:
                return burst(count, read)
            return runner.run(burst_async(count, read_async))

        def expire() -> None:
            peer.pass_share(share)

        yield lambda: _sample(readers, expire, peer.source, counts)


@contextmanager
def _peer(count: int, opened: Any, counts: Counted) -> Iterator[Any]:  # noqa: ANN401  a context manager
    with opened as peer:
        given: Expiring = peer

        def readers() -> list[float]:
            return burst(count, given.read)

        yield lambda: _sample(readers, given.expire, given.source, counts, renew=given.read)


def _sample(
    readers: Callable[[], list[float]],
    expire: Callable[[], None],
    source: expiring.Source,
    counts: Counted,
    *,
    renew: Callable[[], object] | None = None,
) -> float:
    if renew is not None:
        renew()  # what expires by a real clock may have done so since the last sample
    warm = percentile(readers())
    source.settle()
    expire()
    before = source.calls
    due = percentile(readers())
    source.settle()
    counts.calls.append(source.calls - before)
    return due - warm


def _in_scope(peer: Ours) -> tuple[Callable[[], object], Callable[[], Any]]:
    key = peer.secrets.key

    def read() -> object:
        with request_scope():
            return key()

    async def read_async() -> object:
        async with request_scope():
            return await key.async_()

    return read, read_async


# -- strict ----------------------------------------------------------------------------------


def _strict(count: int, latency: float, options: Options) -> Iterator[Figure]:
    what = f"{count} readers, {latency * 1000:g} ms"
    case, floor = f"strict, the slowest read: {what}", f"sleeps of two round trips: {what}"
    counts = Counted()
    measured = measure(
        [
            sampled(case, lambda: _strictly(count, latency, counts)),
            sampled(floor, lambda: _sleeping(count, latency)),
        ],
        options,
        rounds=options.choose(full=5, quick=2),
    )
    for name, unit, values, mark in (
        ("calls for each round trip", "calls", counts.calls, A_TRIP),
        ("round trips that a reader waits for", "calls", counts.slowest, TWO_TRIPS),
    ):
        worst = max(values)
        yield Figure(
            case=f"strict, {name}: {what}",
            value=worst,
            unit=unit,
            spread=quartiles(values),
            mark=str(mark),
            verdict=mark.verdict(worst),
        )
    yield measured.figure(case, ratio_to=floor, note="with the turns of all readers")
    yield measured.figure(floor, note="of as many readers, the slowest")


@contextmanager
def _strictly(count: int, latency: float, counts: Counted) -> Iterator[Any]:
    source = expiring.NumberedSource(latency)
    with expiring.ours(source, EVERY_REQUEST) as peer, asyncio.Runner() as runner:
        read, read_async = _in_scope(peer)

        def sample() -> float:
            reads: list[Read] = []
            before, began = source.calls, time.perf_counter()
            if count < MANY:
                _in_a_row(count, read, reads)
            else:
                runner.run(_in_a_row_async(count, read_async, reads))
            elapsed = time.perf_counter() - began
            counts.calls.append((source.calls - before) / (elapsed / latency))
            source.settle()
            counts.slowest.append(max(waited_for(source.ended, read) for read in reads))
            return max(end - start for _, start, end in reads)

        yield sample


@contextmanager
def _sleeping(count: int, latency: float) -> Iterator[Any]:
    with asyncio.Runner() as runner:

        def sample() -> float:
            reads: list[Read] = []
            if count < MANY:
                _in_a_row(count, lambda: time.sleep(2 * latency), reads)
            else:
                runner.run(_in_a_row_async(count, lambda: asyncio.sleep(2 * latency), reads))
            return max(end - start for _, start, end in reads)

        yield sample


def _in_a_row(count: int, read: Callable[[], object], reads: list[Read]) -> None:
    def several() -> None:
        for _ in range(IN_A_ROW):
            began = time.perf_counter()
            value = read()
            reads.append((value, began, time.perf_counter()))

    burst(count, several)


async def _in_a_row_async(count: int, read: Callable[[], Any], reads: list[Read]) -> None:
    async def several() -> None:
        for _ in range(IN_A_ROW):
            began = time.perf_counter()
            value = await read()
            reads.append((value, began, time.perf_counter()))

    await burst_async(count, several)
