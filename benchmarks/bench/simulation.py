"""Traffic through the real engine, on a clock and a source of its own: deterministic, and quick.

A `Process` is one process of a service: a container with its cache, its scopes and its secrets, as they are.
Three things are put in place of the real ones: the clock; the source, which counts; and the threads in which
fetches run. In their place a fetch takes place on the simulated clock, `round_trip` after it was started: the
engine's background refreshes land between requests, and a read that has to wait moves the clock to the
landing. Requests of a process are served one after another, as a synchronous worker does.

Arrivals are a Poisson process whose rate follows the time of day. The same seed gives the same arrivals to
every way that is compared.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from pgp_config import DynamicSecret, SecretContainer, request_scope
from pgp_config.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgp_config import Freshness
    from pgp_config.cache import Flight, Spec

DAY = 24 * 3600.0
MONTH = 30 * DAY
WEEK = 7 * DAY

#: How far the rate of the busiest moment of a day is above the mean, and of the quietest below it.
SWING = 0.8

#: Seconds that an access takes.
ROUND_TRIP = 0.03


class Clock:
    """Seconds that pass when the simulation says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The moment."""
        return self.now


class Landings:
    """Takes the place of the cache's threads: what is submitted runs a round trip later."""

    def __init__(self, clock: Clock, round_trip: float) -> None:
        self._clock = clock
        self._round_trip = round_trip
        self._due: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []
        self._count = itertools.count()

    def submit(self, work: Callable[..., object], *arguments: object) -> None:
        """As an executor does, without a future: the cache asks for none."""
        due = self._clock.now + self._round_trip
        heapq.heappush(self._due, (due, next(self._count), work, arguments))

    def shutdown(self, **_how: object) -> None:
        """Forget what has not run."""
        self._due.clear()

    def run_until(self, moment: float) -> None:
        """Run what is due by then, each at its time."""
        while self._due and self._due[0][0] <= moment:
            self.run_next()

    def run_next(self) -> None:
        """Move on to the next landing."""
        due, _, work, arguments = heapq.heappop(self._due)
        self._clock.now = max(self._clock.now, due)
        work(*arguments)


class CountingSource:
    """Counts accesses; every secret gets a new version now and then, all of them together."""

    def __init__(self, clock: Clock, rotate_every: float = WEEK) -> None:
        self.by_name: Counter[str] = Counter()
        self.by_hour: Counter[int] = Counter()
        self._clock = clock
        self._rotate_every = rotate_every

    @property
    def accesses(self) -> int:
        """How many there were."""
        return self.by_name.total()

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """One access."""
        now = self._clock.now
        self.by_name[name] += 1
        self.by_hour[int(now // 3600)] += 1
        newest = 1 + int(now // self._rotate_every)
        number = newest if version == "latest" else int(version)
        return Payload(b"value", number)


class Three(SecretContainer):
    """What each request reads."""

    a = DynamicSecret("A", str)
    b = DynamicSecret("B", str)
    c = DynamicSecret("C", str)


class Process:
    """One process of a service, with its container.

    Args:
        freshness: Of all its secrets.
        seed: For the jitter of refreshes.
        round_trip: Seconds that an access takes.
        rotate_every: Seconds between two versions.
    """

    def __init__(
        self,
        freshness: Freshness,
        *,
        seed: int = 0,
        round_trip: float = ROUND_TRIP,
        rotate_every: float = WEEK,
    ) -> None:
        self.clock = Clock()
        self.source = CountingSource(self.clock, rotate_every)
        self.requests = 0
        self.waited = 0
        self._landings = Landings(self.clock, round_trip)
        self.secrets = Three(
            source=self.source,
            freshness=freshness,
            observers=[],
            clock=self.clock,
            chance=random.Random(seed).random,  # noqa: S311  a simulation
        )
        cache: Any = self.secrets._cache  # noqa: SLF001  the seam: its threads and its wait
        cache._executor = self._landings  # noqa: SLF001  as above
        self._wait = cache.wait
        cache.wait = self._wait_on_the_clock
        self.secrets.load()  # as a service does when it starts

    def _wait_on_the_clock(
        self, spec: Spec[Any], flight: Flight, patience: float | None = None
    ) -> object:
        self.waited += 1
        while not flight.outcome.done():
            self._landings.run_next()
        return self._wait(spec, flight, patience)

    def serve(self, arrivals: Iterator[float]) -> None:
        """Serve requests that come at these moments; each reads every secret in a scope of its own."""
        a, b, c = self.secrets.a, self.secrets.b, self.secrets.c
        clock, run_until = self.clock, self._landings.run_until
        requests = 0
        for moment in arrivals:
            run_until(moment)
            clock.now = max(clock.now, moment)
            with request_scope():
                a()
                b()
                c()
            requests += 1
        self.requests += requests

    def read_some(self, moment: float, names: str) -> None:
        """Serve one request that reads these only: letters of `abc`."""
        self._landings.run_until(moment)
        self.clock.now = max(self.clock.now, moment)
        with request_scope():
            for name in names:
                getattr(self.secrets, name)()
        self.requests += 1

    def close(self) -> None:
        """End it."""
        self.secrets.close()


def arrivals(rate: float, seconds: float, *, seed: int, swing: float = SWING) -> Iterator[float]:
    """Moments at which requests come: Poisson, with the rate of the time of day.

    Args:
        rate: Requests a second on average.
        seconds: For how long; whole days for that average.
        seed: Of the chance.
        swing: Share by which the rate of 12 o'clock is above the average, and that of midnight below it.
    """
    chance, cos, turn = random.Random(seed).expovariate, math.cos, 2 * math.pi / DAY  # noqa: S311  a simulation
    # Unit arrivals in the time that runs faster while more comes; turned back by Newton's method.
    busy, moment, depth = 0.0, 0.0, swing / turn
    while True:
        busy += chance(1.0) / rate
        moment += (busy - moment + depth * math.sin(turn * moment)) / (
            1 - swing * cos(turn * moment)
        )
        for _ in range(8):
            off = moment - depth * math.sin(turn * moment) - busy
            if abs(off) < 1e-6 * (1 + busy * 1e-6):
                break
            moment -= off / (1 - swing * cos(turn * moment))
        if moment >= seconds:
            return
        yield moment


def peak_per_minute(by_hour: Counter[int]) -> float:
    """Accesses a minute in the hour of the day that has the most, on the average of all days."""
    if not by_hour:
        return 0.0
    days = max(by_hour) // 24 + 1
    of_day: Counter[int] = Counter()
    for hour, count in by_hour.items():
        of_day[hour % 24] += count
    return max(of_day.values()) / days / 60
