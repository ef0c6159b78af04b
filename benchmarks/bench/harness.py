"""Cases, and how they are measured: in interleaved rounds, each beside the floor of its round.

A row makes cases with `loop`, `process` or `sampled`, measures them together with `measure`, and asks
what came of it for `figure`s. In each round every case gives one sample, in an order that turns from
round to round. A ratio is that of two samples of one round; what is shown is the median of the rounds
and the quartiles around it, so that a noisy neighbour on the machine hits both sides alike.

The garbage collector is on, as in a program: whoever makes cyclic garbage pays for it. What was
imported and prepared is frozen first, and each sample starts with an empty nursery: nobody pays for
another's.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import statistics
import subprocess
import sys
import threading
import time
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    contextmanager,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from bench.results import Figure, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

#: Rounds, and seconds that a sample of a loop takes: of a full run and of a quick one.
ROUNDS, QUICK_ROUNDS = 41, 9
SLICE, QUICK_SLICE = 0.010, 0.004

#: How often a statement stands in the body of its loop, so that the loop itself costs next to nothing.
UNROLLED = 10

#: Seconds from which a statement stands there once: the loop is then nothing anyway.
LONG = 20e-6


@dataclass(frozen=True)
class Options:
    """How much time to take.

    Attributes:
        quick: Few and short samples: to see that a row works; its figures are not kept.
    """

    quick: bool = False

    @property
    def rounds(self) -> int:
        """Rounds of `measure`, where a row says nothing else."""
        return QUICK_ROUNDS if self.quick else ROUNDS

    @property
    def slice(self) -> float:
        """Seconds that a sample of a loop takes, about."""
        return QUICK_SLICE if self.quick else SLICE

    def choose(self, full: int, quick: int) -> int:
        """One number for a full run and one for a quick one: rounds of a slow row, its sizes, …."""
        return quick if self.quick else full


class Statement:
    """What is timed, as source: nothing is called that is not part of it, as with `timeit`.

    Args:
        source: One statement or several lines; `await` is for cases whose `prepare` is asynchronous.
        names: What it may use.
    """

    def __init__(self, source: str, /, **names: object) -> None:
        self.source = source
        self.names: Mapping[str, object] = names


#: What a loop repeats. A callable is the statement that calls it: `f()`, or `await f()`.
Body: TypeAlias = "Statement | Callable[[], object]"

#: A context manager that makes everything ready and gives the body; its end clears up.
Prepare: TypeAlias = (
    "Callable[[], AbstractContextManager[Body] | AbstractAsyncContextManager[Body]]"
)

#: Seconds since some moment.
Clock: TypeAlias = "Callable[[], float]"


class Sampler(Protocol):
    """Gives one sample in so many seconds, about: seconds an operation, or whatever the unit is."""

    def __call__(self, seconds: float, /) -> float:
        """One sample."""
        ...


@dataclass(frozen=True)
class Case:
    """One way to do a thing; made by `loop`, `process` or `sampled`.

    Attributes:
        name: As the results page shows it.
        open: Gives its sampler, for as long as the case is measured.
        unit: Of its samples: "s" for seconds, "bytes", "calls", ….
    """

    name: str
    open: Callable[[], AbstractContextManager[Sampler]]
    unit: str = "s"


# -- kinds of cases --------------------------------------------------------------------------


def loop(
    name: str,
    prepare: Prepare,
    *,
    threads: int = 1,
    clock: Clock = time.perf_counter,
) -> Case:
    """A case that is fast: its body runs in a loop for a slice of time.

    It has a context (`contextvars`) of its own, in which `prepare` is entered and the body runs; an
    asynchronous one has an event loop of its own too.

    Args:
        name: As the results page shows it.
        prepare: Synchronous or asynchronous context manager that gives the body.
        threads: Of a synchronous case: in how many threads the body runs at once, each with a copy of
            that context. A sample is then the time for one operation of any of them.
        clock: `time.thread_time` for what never waits, and is so fast that a neighbour's turn on the
            processor would be most of a sample; with several threads `time.process_time`. The same for
            all cases that are compared.
    """

    @contextmanager
    def opened() -> Iterator[Sampler]:
        manager = prepare()
        if isinstance(manager, AbstractAsyncContextManager):
            with _opened_async(manager, clock) as sampler:
                yield sampler
            return
        context = contextvars.Context()
        body = context.run(manager.__enter__)
        try:
            lap = _lap_of(body, clock)
            if threads > 1:
                yield _calibrated(lambda plan: _in_threads(threads, context, lap, plan, clock))
            else:
                yield _calibrated(lambda plan: context.run(lap, plan))
        finally:
            context.run(manager.__exit__, None, None, None)

    return Case(name, opened)


def process(
    name: str, program: str, *, unit: str = "s", environment: Mapping[str, str] | None = None
) -> Case:
    """A case that needs a new interpreter for each sample: the time of an import, peak memory.

    Args:
        name: As the results page shows it.
        program: Python source that prints the sample, a number, as its last line.
        unit: Of that number.
        environment: The variables of the process in place of this one's.
    """

    @contextmanager
    def opened() -> Iterator[Sampler]:
        def sample(_seconds: float) -> float:
            done = subprocess.run(  # noqa: S603  our own program
                [sys.executable, "-c", program],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            return float(done.stdout.split()[-1])

        yield sample

    return Case(name, opened, unit)


def sampled(
    name: str, prepare: Callable[[], AbstractContextManager[Callable[[], float]]], unit: str = "s"
) -> Case:
    """A case that takes its samples itself: requests a second of a server, a percentile, a count.

    Args:
        name: As the results page shows it.
        prepare: Context manager that gives a function; each call of it is one sample.
        unit: Of the samples.
    """

    @contextmanager
    def opened() -> Iterator[Sampler]:
        with prepare() as sample:
            yield lambda _seconds: sample()

    return Case(name, opened, unit)


# -- loops -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """How often a body runs: `laps` times round a loop that has it once, or `UNROLLED` times."""

    laps: int
    unrolled: bool

    @property
    def times(self) -> int:
        return self.laps * (UNROLLED if self.unrolled else 1)


#: Runs a body by a plan and says how many seconds it took.
_Lap: TypeAlias = "Callable[[_Plan], float]"


def _timers(body: Body, *, awaited: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Functions that run a body once a lap, and `UNROLLED` times."""
    if not isinstance(body, Statement):
        body = Statement("await body()" if awaited else "body()", body=body)
    return tuple(_compiled(body, copies, awaited=awaited) for copies in (1, UNROLLED))  # type: ignore[return-value]  # two


def _compiled(body: Statement, copies: int, *, awaited: bool) -> Callable[..., Any]:
    lines = body.source.strip("\n").splitlines() * copies
    indented = "\n        ".join(lines)
    # The names are locals, as in a function that has them at hand.
    source = (
        f"{'async ' if awaited else ''}def timed(_laps, _clock, {', '.join(body.names)}):\n"
        "    _begin = _clock()\n"
        "    for _ in _laps:\n"
        f"        {indented}\n"
        "    return _clock() - _begin\n"
    )
    space: dict[str, Any] = {}
    exec(source, space)  # noqa: S102  as timeit does: a call more would be a part of what is measured
    timed: Callable[..., Any] = space["timed"]
    return timed


def _lap_of(body: Body, clock: Clock) -> _Lap:
    names = body.names.values() if isinstance(body, Statement) else (body,)
    once, often = _timers(body, awaited=False)

    def lap(plan: _Plan) -> float:
        timed = often if plan.unrolled else once
        seconds: float = timed(itertools.repeat(None, plan.laps), clock, *names)
        return seconds

    return lap


@contextmanager
def _opened_async(manager: AbstractAsyncContextManager[Body], clock: Clock) -> Iterator[Sampler]:
    with asyncio.Runner() as runner:
        context = contextvars.Context()

        def run(step: Any) -> Any:  # noqa: ANN401  whatever it brings
            return runner.run(_awaiting(step), context=context)

        body = run(manager.__aenter__())
        try:
            names = body.names.values() if isinstance(body, Statement) else (body,)
            once, often = _timers(body, awaited=True)

            def lap(plan: _Plan) -> float:
                timed = often if plan.unrolled else once
                laps = itertools.repeat(None, plan.laps)
                seconds: float = run(timed(laps, clock, *names))
                return seconds

            yield _calibrated(lap)
        finally:
            run(manager.__aexit__(None, None, None))


async def _awaiting(step: Any) -> Any:  # noqa: ANN401  any awaitable, which a Runner does not take
    return await step


def _in_threads(
    count: int, context: contextvars.Context, lap: _Lap, plan: _Plan, clock: Clock
) -> float:
    """Seconds from the first thread's start to the last one's end, for one thread's share."""
    barrier = threading.Barrier(count)
    spans: list[tuple[float, float]] = []
    faults: list[BaseException] = []

    def work() -> None:
        barrier.wait()
        begin = clock()
        try:
            lap(plan)
        except BaseException as fault:  # noqa: BLE001  whatever it is, it ends the measurement
            faults.append(fault)
        spans.append((begin, clock()))

    workers = [
        threading.Thread(target=context.copy().run, args=(work,), daemon=True)
        for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if faults:
        raise faults[0]
    elapsed = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return elapsed / count


def _calibrated(lap: _Lap) -> Sampler:
    """A sampler that finds out at its first sample how often the body fits into a slice."""
    plan: _Plan | None = None

    def sample(seconds: float) -> float:
        nonlocal plan
        if plan is None:
            plan = plan_for(lap, seconds)
        return lap(plan) / plan.times

    return sample


def plan_for(lap: _Lap, seconds: float) -> _Plan:
    """How often a body is to run so that it takes about so many seconds."""
    for _ in range(3):  # what is made at the first call is not a part of it
        lap(_Plan(1, unrolled=False))
    laps = 1
    while (taken := lap(_Plan(laps, unrolled=False))) < seconds / 4:
        laps *= 2
    single = taken / laps
    unrolled = single < LONG
    return _Plan(max(1, round(seconds / single / (UNROLLED if unrolled else 1))), unrolled)


# -- rounds ----------------------------------------------------------------------------------


def order_of(count: int, number: int) -> list[int]:
    """The order of cases in a round: forwards and backwards in turn, each time from another one on."""
    forwards = [(number // 2 + place) % count for place in range(count)]
    return forwards if number % 2 == 0 else forwards[::-1]


def measure(cases: Sequence[Case], options: Options, *, rounds: int | None = None) -> Measured:
    """Measure cases together, in interleaved rounds.

    Args:
        cases: With different names; those that are compared belong into one call.
        options: How much time to take.
        rounds: In place of those of the options, for cases whose samples take long.
    """
    if len({case.name for case in cases}) < len(cases):
        raise ValueError("two cases have one name")
    taken: dict[str, list[float]] = {case.name: [] for case in cases}
    with ExitStack() as stack:
        samplers = [stack.enter_context(case.open()) for case in cases]
        for sampler in samplers:  # the first sample is for warming up and calibration
            sampler(options.slice)
        stack.callback(gc.unfreeze)
        gc.collect()
        gc.freeze()
        for number in range(rounds or options.rounds):
            for place in order_of(len(cases), number):
                gc.collect()
                taken[cases[place].name].append(samplers[place](options.slice))
    return Measured(taken, {case.name: case.unit for case in cases})


@dataclass(frozen=True)
class Mark:
    """What is to be reached; either bound may be absent.

    Attributes:
        at_most: The ratio may not be above; of a figure without a ratio, the value.
        at_least: It may not be below.
        text: How the results page shows it, in place of the bounds.
    """

    at_most: float | None = None
    at_least: float | None = None
    text: str | None = None

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in (("≤", self.at_most), ("≥", self.at_least))
            if bound is not None
        ]
        return ", ".join(bounds)

    def verdict(self, measured: float) -> Verdict:
        """Whether it was reached."""
        low = -float("inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return "met" if low <= measured <= high else "missed"


@dataclass(frozen=True)
class Measured:
    """The samples of all rounds.

    Attributes:
        samples: By the case's name, one a round.
        units: By the case's name.
    """

    samples: Mapping[str, Sequence[float]]
    units: Mapping[str, str]

    def ratios(self, case: str, to: str) -> list[float]:
        """The ratio of two cases in each round."""
        return [a / b for a, b in zip(self.samples[case], self.samples[to], strict=True)]

    def median(self, case: str) -> float:
        """The case's median."""
        return statistics.median(self.samples[case])

    def figure(
        self,
        case: str,
        *,
        ratio_to: str | None = None,
        mark: Mark | None = None,
        note: str = "",
    ) -> Figure:
        """What is said of one case.

        Args:
            case: Its name.
            ratio_to: The case beside it: the floor, or a peer.
            mark: What is to be reached by the ratio or, without one, by the value; None: report only.
            note: What a reader has to know to understand the figure.
        """
        ratios = None if ratio_to is None else self.ratios(case, ratio_to)
        ratio = None if ratios is None else statistics.median(ratios)
        value = self.median(case)
        return Figure(
            case=case,
            value=value,
            unit=self.units[case],
            spread=quartiles(self.samples[case]),
            ratio_to=ratio_to,
            ratio=ratio,
            ratio_spread=None if ratios is None else quartiles(ratios),
            mark=None if mark is None else str(mark),
            verdict="report only"
            if mark is None
            else mark.verdict(value if ratio is None else ratio),
            note=note,
        )

    def figures(self, *, floor: str, without: Sequence[str] = (), note: str = "") -> list[Figure]:
        """All cases beside the floor, report only: the floor itself first, then from fast to slow."""
        names = sorted(
            (name for name in self.samples if name != floor and name not in without),
            key=self.median,
        )
        return [self.figure(floor, note=note), *(self.figure(n, ratio_to=floor) for n in names)]

    def against_fastest(self, case: str, others: Sequence[str], *, mark: Mark | None) -> Figure:
        """One case beside the fastest of others, to be shown as faster than each of them."""
        fastest = min(others, key=self.median)
        return self.figure(
            case,
            ratio_to=fastest,
            mark=mark,
            note=f"{fastest} is the fastest of {len(others)} others",
        )


def quartiles(samples: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile: half of all samples lie between them."""
    if len(samples) == 1:
        return samples[0], samples[0]
    first, _, third = statistics.quantiles(samples, n=4, method="inclusive")
    return first, third
