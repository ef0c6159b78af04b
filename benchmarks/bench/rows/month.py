"""A month of traffic on the real engine: accesses, dollars at Google's price, share of the quota.

Method: 5 M requests, each of which reads three secrets in a scope of its own, come as a Poisson process with
the rate of the time of day (1.8 of the average at noon, 0.2 at midnight) to 1 to 200 processes, and all three
secrets are rotated each week. Every request is driven through a real container (`bench.simulation`): real
scopes, cache, waves and background refreshes, on a clock and a source that are simulated and deterministic.

The processes of a service know nothing of one another, so one is simulated as such, with its share of the
requests. What is left out is said in each figure's note: of many processes some are simulated and stand for
the others; of a month with more requests than fit, as many whole days. The one exception has no such
scaling: one process, `max_age=5`, all 5 M requests, in a full run.

Beside it, on the same arrivals: an access for each read; a cache for each request, as the old code had it;
and cachetools' TTLCache of 60 s, the best case of a library with a time to live (no reader comes while
another fetches). Dollars are those above the free 10,000 accesses.

The mark is taken by its letter: accesses for each secret, process and `max_age`. At a high rate no engine in
which nobody waits can reach it: a refresh must begin before `max_age` is over, so there is more than one. The
second mark is the one that follows from promise 6: one for each 80 % of `max_age`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bench.harness import Mark
from bench.results import Figure, Point, RowResult, Series
from bench.simulation import (
    DAY,
    MONTH,
    Clock,
    Process,
    arrivals,
    peak_per_minute,
)
from pgp_config import EVERY_REQUEST, Freshness
from pgp_config.cache import SOFT_AGE
from pgp_config.cost import ACCESS_PRICE, FREE_ACCESSES, QUOTA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.harness import Options

NAME = "month"
TITLE = "A month of traffic: 5 M requests, 3 secrets, simulated on the real engine"

REQUESTS, SECRETS, TTL = 5_000_000, 3, 60.0
PROCESSES, QUICK_PROCESSES = (1, 2, 5, 10, 20, 50, 100, 200), (20, 200)
#: Of these the accesses are shown as figures; of all others in the plot.
SHOWN = (1, 20, 200)
RATES, QUICK_RATES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0), (0.1, 10.0)

#: Processes of the plot that has the rate on its axis.
FEW = 4

#: Of many processes so many are simulated, at most.
SIMULATED = 4

ONE = Mark(at_most=1.0, text="≤ 1")

NOTES = (
    (
        "A refresh that nobody waits for begins before max_age is over: at 80 to 90 % of it (promise 6), with several"
        " secrets at the first of theirs. So a busy process makes up to 1.25 accesses for each max_age, and the mark of 1"
        " by its letter cannot be met together with promise 6. max_age=6.25 costs what the mark says for 5 s."
    ),
    "Each request reads each secret once. Where it reads one n times, an access for each read costs n times as much.",
    "Whatever the rate, there are no more than that: see the plot of accesses against the request rate.",
    "EVERY_REQUEST costs an access for each secret and request until requests overlap, then one a round trip.",
)


@dataclass(frozen=True)
class Outcome:
    """What a way costs in a month.

    Attributes:
        accesses: In a month, of all processes.
        peak: Accesses a minute in the busiest hour of the day, of all processes.
        requests: How many were simulated.
        note: What they stand for.
    """

    accesses: float
    peak: float
    requests: int
    note: str

    @property
    def dollars(self) -> float:
        """A month."""
        return max(0.0, self.accesses - FREE_ACCESSES) * ACCESS_PRICE


@dataclass(frozen=True)
class Share:
    """What is simulated of a month, and stands for the rest.

    Attributes:
        processes: So many of them.
        days: Whole ones.
    """

    processes: int
    days: int

    @classmethod
    def of(cls, processes: int, most: int) -> Share:
        """As much as fits into so many requests."""
        of_each = REQUESTS / processes
        if of_each <= most:
            return cls(max(1, min(processes, SIMULATED, int(most // of_each))), 30)
        return cls(1, max(1, int(30 * most / of_each)))


#: Takes the arrivals at one process; gives its requests, its accesses by hour, and those of its start.
Way: TypeAlias = "Callable[[Iterator[float], int], tuple[int, Counter[int], int]]"


def run(options: Options) -> RowResult:
    """Simulate the row."""
    most = options.choose(full=40_000, quick=4_000)
    processes = QUICK_PROCESSES if options.quick else PROCESSES
    ways = {
        "access for each read": _each_read,
        "cache per request (the old code)": _each_read,  # each secret is read once
        "TTLCache, 60 s": _ttl,
        "pgp_config, max_age=5": _ours(Freshness(5)),
        "pgp_config, max_age=60": _ours(Freshness(60)),
        "pgp_config, EVERY_REQUEST": _ours(EVERY_REQUEST),
    }
    found: dict[str, dict[int, Outcome]] = {}
    for name, way in ways.items():
        allowed = most // 5 if "EVERY" in name else most
        found[name] = {count: simulated(way, count, allowed) for count in processes}
    if not options.quick:
        found["pgp_config, max_age=5"][1] = simulated(ways["pgp_config, max_age=5"], 1, REQUESTS)
    return RowResult(
        name=NAME,
        title=TITLE,
        figures=tuple(_figures(found)),
        series=(*_against_processes(found), *_against_rate(ways, options, most)),
        notes=NOTES,
    )


def simulated(way: Way, processes: int, most: int) -> Outcome:
    """A month of a way."""
    share = Share.of(processes, most)
    scale = processes / share.processes * 30 / share.days
    accesses, requests, by_hour = 0.0, 0, Counter[int]()
    for number in range(share.processes):
        rate = REQUESTS / MONTH / processes
        coming = arrivals(rate, share.days * DAY, seed=number)
        served, hours, at_start = way(coming, number)
        requests += served
        by_hour += hours
        accesses += (hours.total() - at_start) * scale + at_start * processes / share.processes
    peak = peak_per_minute(by_hour) * processes / share.processes
    whole = share.processes == processes and share.days == 30  # noqa: PLR2004  a month
    note = (
        "" if whole else f"of {share.processes} of {processes} processes, {share.days} of 30 days"
    )
    return Outcome(accesses, peak, requests, note)


# -- ways ------------------------------------------------------------------------------------


def _each_read(coming: Iterator[float], _number: int) -> tuple[int, Counter[int], int]:
    by_hour: Counter[int] = Counter(int(moment // 3600) for moment in coming)
    requests = by_hour.total()
    return requests, Counter({hour: SECRETS * count for hour, count in by_hour.items()}), 0


def _ttl(coming: Iterator[float], _number: int) -> tuple[int, Counter[int], int]:
    from cachetools import TTLCache  # noqa: PLC0415  a peer; the rest of this module is tested without it

    clock, by_hour, requests = Clock(), Counter[int](), 0
    cache: TTLCache[str, str] = TTLCache(maxsize=SECRETS, ttl=TTL, timer=clock)
    for clock.now in coming:
        requests += 1
        for name in "abc":
            if name not in cache:
                cache[name] = "value"
                by_hour[int(clock.now // 3600)] += 1
    return requests, by_hour, 0


def _ours(freshness: Freshness) -> Way:
    def way(coming: Iterator[float], number: int) -> tuple[int, Counter[int], int]:
        process = Process(freshness, seed=number)
        try:
            at_start = process.source.accesses
            process.serve(coming)
            return process.requests, process.source.by_hour, at_start
        finally:
            process.close()

    return way


# -- what is shown ---------------------------------------------------------------------------


def _figures(found: dict[str, dict[int, Outcome]]) -> Iterator[Figure]:
    for name, max_age in (("pgp_config, max_age=5", 5.0), ("pgp_config, max_age=60", 60.0)):
        for count, outcome in found[name].items():
            of_each = outcome.accesses / (SECRETS * count * MONTH / max_age)
            yield _marked(f"{name}, {_processes(count)}: each secret, process, max_age", of_each)
        most = max(o.accesses / (SECRETS * n * MONTH / max_age) for n, o in found[name].items())
        case = f"{name}, the most: each secret, process, 80 % of max_age"
        yield _marked(case, most * SOFT_AGE)
    for name, outcomes in found.items():
        for count in (shown for shown in SHOWN if shown in outcomes):
            outcome = outcomes[count]
            yield Figure(
                case=f"{name}, {_processes(count)}",
                value=outcome.accesses / 1e6,
                unit="M accesses",
                note=_note(outcome),
            )


def _marked(case: str, of_each: float) -> Figure:
    return Figure(
        case=case, value=of_each, unit="accesses", mark=str(ONE), verdict=ONE.verdict(of_each)
    )


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _note(outcome: Outcome) -> str:
    text = f"${outcome.dollars:,.2f}; {outcome.peak / QUOTA:.2%} of the quota at the peak"
    return f"{text}; {outcome.note}" if outcome.note else text


def _against_processes(found: dict[str, dict[int, Outcome]]) -> Iterator[Series]:
    for name, outcomes in found.items():
        if "old code" in name:
            continue  # the same curve as an access for each read
        yield Series(
            plot="month-processes",
            name=name,
            x_label="processes",
            y_label="accesses a month, of 5 M requests",
            points=tuple(
                Point(x=count, y=outcome.accesses) for count, outcome in outcomes.items()
            ),
        )


def _against_rate(ways: dict[str, Way], options: Options, most: int) -> Iterator[Series]:
    for name, way in ways.items():
        if "old code" in name:
            continue
        points = []
        for rate in QUICK_RATES if options.quick else RATES:
            # Flat, for the rate is what is on the axis; a process is idle for a month, or busy for a while.
            seconds = min(MONTH, max(most / 4 * FEW / rate, 10 * TTL))
            if "EVERY" in name:
                seconds = min(seconds, most / 20 * FEW / rate)
            coming = arrivals(rate / FEW, seconds, seed=1, swing=0.0)
            _, hours, at_start = way(coming, 1)
            points.append(Point(x=rate, y=(hours.total() - at_start) * FEW * MONTH / seconds))
        yield Series(
            plot="month-rate",
            name=name,
            x_label="requests a second, of 4 processes",
            y_label="accesses a month",
            points=tuple(points),
        )
