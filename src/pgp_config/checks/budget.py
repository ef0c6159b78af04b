"""What the declared secrets cost a month, and the share of the quota that reading them takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.checks.findings import Finding
from pgp_config.cost import (
    COMFORTABLE,
    MONTH,
    QUOTA,
    Traffic,
    accesses_cost,
    steady,
    versions_cost,
)
from pgp_config.providers.declared import freshness_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgp_config.checks.inventory import Look, Subject


@dataclass(frozen=True, slots=True)
class Load:
    """How each of the services is used.

    Attributes:
        requests_per_second: Of all processes of a service together; above 0.
        processes: Of each service, 1 or more.
        budget: Dollars a month that it may cost; None for any.
    """

    requests_per_second: float
    processes: int
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """A month, at most; what starts of processes read comes on top.

    Attributes:
        accesses: How many; None where the load is not known.
        accesses_usd: Their dollars, after the free ones.
        quota: Share of the accesses that the project may make in a minute.
        versions: That are not destroyed; None where the source does not tell.
        versions_usd: Their dollars, after the free ones.
    """

    accesses: int | None
    accesses_usd: float | None
    quota: float | None
    versions: int | None
    versions_usd: float | None


def bill_of(subjects: Sequence[Subject], looks: Iterable[Look], load: Load | None) -> Bill:
    """What the secrets of some services cost.

    Every request is taken to read each dynamic secret of its service: that is the most.

    Raises:
        DeclarationError: If a number of the load is out of its bounds.
    """
    versions = [version for look in looks for version in look.versions]
    kept = sum(version.state != "destroyed" for version in versions) if versions else None
    dollars = None if kept is None else versions_cost(kept)
    if load is None:
        return Bill(None, None, None, kept, dollars)
    traffic = Traffic(load.requests_per_second, load.processes, 1)
    each = [steady(traffic, max_age) for max_age in _ages(subjects)]
    accesses = sum(one.accesses for one in each)
    quota = sum(one.quota for one in each)
    return Bill(accesses, accesses_cost(accesses), quota, kept, dollars)


def _ages(subjects: Sequence[Subject]) -> Iterator[float]:
    """Of each dynamic secret of each service, how old it may be."""
    for subject in subjects:
        dynamic = {each.name: each for each in subject.declared.secrets if each.is_dynamic}
        for secret in dynamic.values():
            yield min(float(freshness_of(secret).max_age), MONTH)  # type: ignore[arg-type]  # it keeps seconds


def of_bill(bill: Bill, load: Load | None) -> Iterator[Finding]:
    """What is too much."""
    if bill.quota is not None and bill.quota > COMFORTABLE:
        severe = bill.quota > 1
        yield Finding(
            "quota",
            "error" if severe else "warning",
            None,
            f"reading takes up to {bill.quota:.0%} of the {QUOTA:,} accesses that the project may make in a minute",
            "Raise max_age where an older value does no harm (Freshness or PGP_CONFIG_MAX_AGE), or use pushes: "
            "docs/push.md; pgp-config cost compares them.",
        )
    dollars = (bill.accesses_usd or 0.0) + (bill.versions_usd or 0.0)
    if load is not None and load.budget is not None and dollars > load.budget:
        yield Finding(
            "budget",
            "warning",
            None,
            f"a month costs up to ${dollars:,.2f}, which is more than ${load.budget:,.2f}",
            "As for the quota; and destroy old versions: each costs until then.",
        )
