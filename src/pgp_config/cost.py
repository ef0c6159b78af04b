"""What a month of reading secrets costs: accesses, dollars and the share of the quota, by mode.

Those of pgp_config are upper bounds in the steady state, from the traffic alone; `tests/benchmarks` holds
them against the engine itself, driven through simulated requests. A library that does not share its fetches
makes more calls than are shown, one for each reader at each expiry. Where the figures come from:

- An access costs $0.03 / 10,000, and a version $0.06 a month and location while it is not destroyed; the
  first 10,000 accesses and 6 versions of a month are free, counted over all projects of a billing account
  (https://cloud.google.com/secret-manager/pricing, 2026-11).
- 90,000 accesses a minute and project (https://docs.cloud.google.com/secret-manager/quotas, 2026-11).
- A refresh begins no earlier than at 80 % of `max_age`: `pgp_config.cache.SOFT_AGE`.

The bounds of the bounded mode hold where the requests of a process read the same secrets. Where they read
different ones now and then, a secret that is due takes along those that were read since they were last
confirmed. A secret is then fetched more often, at most twice for each read of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.cache import SOFT_AGE
from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Google's prices in dollars: a version and month, whether enabled or disabled, and an access.
VERSION_PRICE, ACCESS_PRICE = 0.06, 0.03 / 10_000

#: What is free in each month, for all projects of a billing account together.
FREE_VERSIONS, FREE_ACCESSES = 6, 10_000

#: Accesses that a project may make in a minute.
QUOTA = 90_000

#: Seconds of a month, of 30 days.
MONTH = 30 * 24 * 3600.0

#: Seconds: the bounds that are shown unless others are asked for.
MAX_AGES = (5.0, 60.0, 600.0)

#: Seconds: how long a library that caches by time keeps a value, and `max_age` beside pushes.
LIBRARY_TTL, PUSHED_MAX_AGE = 60.0, 3600.0

#: Share of the quota above which a mode is not recommended: the project has other readers too.
COMFORTABLE = 0.5

#: Above these an input is a slip of the keyboard.
MOST_REQUESTS, MOST_PROCESSES, MOST_SECRETS, MOST_READS = 1e7, 1_000_000, 100_000, 10_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a service does.

    Attributes:
        requests_per_second: Of all its processes together; more than 0. Give the average for what a month
            costs, and the peak for the share of the quota.
        processes: How many there are, 1 or more; requests are spread evenly over them.
        secrets: Dynamic secrets that each request reads, 1 or more.
        reads: How often a request reads each of them, 1 or more.
        rotations: New versions of each secret in a month, 0 or more.
        round_trip: Seconds that an access takes, more than 0 and at most 60.

    Raises:
        DeclarationError: If one is out of its bounds.
    """

    requests_per_second: float
    processes: int
    secrets: int
    reads: int = 1
    rotations: int = 1
    round_trip: float = 0.03

    def __post_init__(self) -> None:
        _refuse_unless(
            0 < self.requests_per_second <= MOST_REQUESTS,
            f"requests per second: {self.requests_per_second}",
            f"Give a number above 0, {MOST_REQUESTS:,.0f} at most.",
        )
        for what, count, most in (
            ("processes", self.processes, MOST_PROCESSES),
            ("secrets", self.secrets, MOST_SECRETS),
            ("reads in a request", self.reads, MOST_READS),
        ):
            _refuse_unless(1 <= count <= most, f"{what}: {count}", f"Give 1 to {most:,}.")
        _refuse_unless(
            0 <= self.rotations <= MOST_READS,
            f"rotations a month: {self.rotations}",
            f"Give 0 to {MOST_READS:,}.",
        )
        _refuse_unless(
            0 < self.round_trip <= 60,  # noqa: PLR2004  a minute
            f"round trip: {self.round_trip} s",
            "Give seconds, above 0 and 60 at most.",
        )

    @property
    def each(self) -> int:
        """Pairs of a process and a secret: each has a value of its own."""
        return self.processes * self.secrets

    @property
    def rate_of_each(self) -> float:
        """Requests a second of one process."""
        return self.requests_per_second / self.processes


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one mode costs.

    Attributes:
        mode: "fetch per read", "cache per request", "library", "bounded", "every request" or "push".
        title: As people read it.
        max_age: Seconds that a value is old at most; 0 where each request or read asks.
        accesses: A month, at most; whole.
        dollars: A month for these accesses, after the free ones.
        quota: Share of the accesses that a project may make in a minute, at this rate.
    """

    mode: str
    title: str
    max_age: float
    accesses: int
    dollars: float
    quota: float


@dataclass(frozen=True, slots=True)
class Advice:
    """What to choose.

    Attributes:
        choice: The estimate of the mode.
        fits: Whether it is within the budget and leaves half of the quota.
        text: Why, and how to say so in code.
    """

    choice: Estimate
    fits: bool
    text: str


def estimates(traffic: Traffic, max_ages: Iterable[float] = MAX_AGES) -> list[Estimate]:
    """What each mode costs, from the one that asks for everything to the one that is told.

    Args:
        traffic: What the service does.
        max_ages: Bounds of the bounded mode in seconds, above 0 and at most a month.

    Raises:
        DeclarationError: If a bound is out of its bounds, or there is none.
    """
    bounds = sorted(set(max_ages))
    _refuse_unless(bool(bounds), "no max_age is given", "Give one, in seconds.")
    for bound in bounds:
        _refuse_unless(
            0 < bound <= MONTH,
            f"max_age: {bound} s",
            "Give seconds, above 0 and a month at most; EVERY_REQUEST is shown anyway.",
        )
    asked = traffic.requests_per_second * traffic.secrets
    library = traffic.each * accesses_per_second(traffic.rate_of_each, LIBRARY_TTL)
    per_trip = traffic.each / traffic.round_trip
    return [
        _estimate(traffic, "fetch per read", "fetch per read", 0, asked * traffic.reads),
        _estimate(traffic, "cache per request", "cache per request", 0, asked),
        _estimate(traffic, "every request", "EVERY_REQUEST", 0, min(asked, per_trip)),
        _estimate(traffic, "library", f"TTL library, {LIBRARY_TTL:g} s", LIBRARY_TTL, library),
        *(_bounded(traffic, "bounded", f"max_age={bound:g}", bound) for bound in bounds),
        _pushed(traffic),
    ]


def accesses_per_second(rate: float, pause: float) -> float:
    """How often a value is fetched that is kept for a while, at most.

    Args:
        rate: Requests a second that read it.
        pause: Seconds that lie between two fetches at least.
    """
    return min(rate, 1 / pause)


def accesses_at_most(seconds: float, requests: int, max_age: float) -> int:
    """How often a process fetches one secret in a time, at most; its first fetch included.

    Args:
        seconds: The time, 0 or more.
        requests: Those of the process in that time.
        max_age: Above 0, in seconds.
    """
    return 1 + min(requests, math.floor(seconds / (SOFT_AGE * max_age)))


def versions_cost(versions: int) -> float:
    """Dollars a month for versions that are not destroyed, such as one of each secret, after the free ones."""
    return max(0, versions - FREE_VERSIONS) * VERSION_PRICE


def accesses_cost(accesses: int) -> float:
    """Dollars for the accesses of a month, after the free ones."""
    return max(0, accesses - FREE_ACCESSES) * ACCESS_PRICE


def steady(traffic: Traffic, max_age: float) -> Estimate:
    """What the mode costs that a `Freshness` chooses.

    Args:
        traffic: What the service does.
        max_age: Seconds, 0 to a month; 0 is `EVERY_REQUEST`.
    """
    bounds = [max_age] if max_age else MAX_AGES
    mode = "bounded" if max_age else "every request"
    return next(one for one in estimates(traffic, bounds) if one.mode == mode)


def advice(found: Iterable[Estimate], budget: float) -> Advice:
    """The freshest of the modes in which nobody waits that is within a budget.

    Args:
        found: The estimates.
        budget: Dollars a month, 0 or more.

    Raises:
        DeclarationError: If the budget is out of its bounds.
    """
    _refuse_unless(0 <= budget < math.inf, f"budget: {budget}", "Give dollars, 0 or more.")
    modes = [one for one in found if one.mode in {"bounded", "push"}]
    for one in modes:
        if one.dollars <= budget and one.quota <= COMFORTABLE:
            return Advice(one, True, f"{_reason(budget)} {_code(one)}")
    cheapest = min(modes, key=lambda one: (one.dollars, one.quota))
    text = f"No mode is within ${budget:,.2f} a month and half of the quota; this one costs the least."
    return Advice(cheapest, False, f"{text} {_code(cheapest)}")


def _reason(budget: float) -> str:
    return (
        f"It is the freshest mode in which no request waits that is within ${budget:,.2f} a month "
        "and half of the quota."
    )


def _code(one: Estimate) -> str:
    if one.mode == "push":
        return f"Freshness(max_age={one.max_age:g}) and pushes: see docs/push.md."
    return f"Freshness(max_age={one.max_age:g}), or PGP_CONFIG_MAX_AGE={one.max_age:g}."


def _bounded(traffic: Traffic, mode: str, title: str, max_age: float) -> Estimate:
    rate = accesses_per_second(traffic.rate_of_each, SOFT_AGE * max_age)
    return _estimate(traffic, mode, title, max_age, traffic.each * rate, starts=True)


def _pushed(traffic: Traffic) -> Estimate:
    kept = _bounded(traffic, "push", f"push, max_age={PUSHED_MAX_AGE:g}", PUSHED_MAX_AGE)
    # Each push takes along the other secrets in use.
    pushed = traffic.rotations * traffic.secrets * traffic.each
    accesses = kept.accesses + pushed
    return Estimate(
        kept.mode, kept.title, kept.max_age, accesses, accesses_cost(accesses), kept.quota
    )


def _estimate(
    traffic: Traffic, mode: str, title: str, max_age: float, rate: float, *, starts: bool = False
) -> Estimate:
    accesses = math.ceil(rate * MONTH) + (traffic.each if starts else 0)
    return Estimate(mode, title, max_age, accesses, accesses_cost(accesses), rate * 60 / QUOTA)


def _refuse_unless(good: bool, what: str, remedy: str) -> None:
    if not good:
        raise DeclarationError(f"the estimate cannot be made for {what}", remedy=remedy)
