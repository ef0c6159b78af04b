"""The guard in CI: fails when a ratio that is stable has become clearly worse; `scripts/bench --guard`.

It measures our own cases beside their floors, without any peer, so that it runs in the environment of the
tests. What it looks at is the processor's time, which a busy machine changes little, and what is counted.
A limit is half as much again as the figure, or more: it finds a hot path that was spoilt, not one that became
a tenth slower. What is above its limit is measured again: a neighbour's turn is over by then, and only what
is above it each time fails.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.harness import Mark, Options, measure
from bench.shown import amount, console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.harness import Case
    from bench.results import Figure

#: How often what fails is measured in all.
TRIES = 3

OPTIONS = Options(quick=True)


@dataclass(frozen=True)
class Limit:
    """What a case may not exceed.

    Attributes:
        case: Its name.
        mark: For the ratio to the floor or, without one, for the value.
        to: The floor's name.
    """

    case: str
    mark: Mark
    to: str | None = None


@dataclass(frozen=True)
class Watch:
    """Cases that are measured together, and their limits.

    Attributes:
        name: Of the row that they are from.
        figures: Measures, and gives a figure for each limit, in their order.
        limits: What may not be exceeded.
    """

    name: str
    figures: Callable[[], Sequence[Figure]]
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Finding:
    """What came of one limit.

    Attributes:
        row: The row's name.
        limit: The limit.
        seen: What was measured, each time.
        unit: Of a value; None for a ratio.
    """

    row: str
    limit: Limit
    seen: tuple[float, ...]
    unit: str | None

    @property
    def failed(self) -> bool:
        """Whether it was exceeded as often as it was measured."""
        return all(self.limit.mark.verdict(value) == "missed" for value in self.seen)


def judge(watch: Watch, tries: int = TRIES) -> list[Finding]:
    """Measure a group, and again while something exceeds its limit."""
    seen: dict[Limit, list[float]] = {limit: [] for limit in watch.limits}
    units: dict[Limit, str | None] = {}
    for _ in range(tries):
        for limit, figure in zip(watch.limits, watch.figures(), strict=True):
            value = figure.value if figure.ratio is None else figure.ratio
            seen[limit].append(value)
            units[limit] = figure.unit if figure.ratio is None else None
        findings = [
            Finding(watch.name, limit, tuple(values), units[limit])
            for limit, values in seen.items()
        ]
        if not any(finding.failed for finding in findings):
            break
    return findings


def main() -> int:
    """Measure all groups; 1 if a limit was exceeded each time."""
    began, failed = time.monotonic(), 0
    for watch in watches():
        for finding in judge(watch):
            failed += finding.failed
            console().print(told(finding), highlight=False, markup=False)
    took = time.monotonic() - began
    console().print(f"{failed or 'none'} exceeded; {took:.0f} s", highlight=False)
    return 1 if failed else 0


def told(finding: Finding) -> str:
    """One line for a person."""
    limit = finding.limit
    values = ", ".join(
        f"{value:.3g}" if finding.unit is None else amount(value, finding.unit)
        for value in finding.seen
    )
    word = "WORSE" if finding.failed else "ok"
    beside = f" / {limit.to}" if limit.to else ""
    return f"{word:5} {finding.row}: {limit.case}{beside}: {values} (limit {limit.mark})"


def watches() -> Iterable[Watch]:
    """All groups. The rows are imported here: each brings what it measures."""
    from bench.rows import reads, requests, scopes  # noqa: PLC0415  their rows are not needed to judge

    yield _ratios(
        "reads",
        reads.own_cases,
        Limit(reads.DYNAMIC, Mark(at_most=3.0), reads.FLOOR),
        Limit(reads.STATIC, Mark(at_most=3.0), reads.FLOOR),
    )
    yield _ratios(
        "reads",
        reads.own_async_cases,
        Limit(reads.AWAITED, Mark(at_most=1.8), reads.ASYNC_FLOOR),
    )
    yield _ratios("scopes", scopes.own_cases, Limit(scopes.OURS, Mark(at_most=1.8), scopes.FLOOR))
    yield _ratios(
        "scopes",
        scopes.own_reading_cases,
        Limit(scopes.READ_OURS, Mark(at_most=5.5), scopes.READ_FLOOR),
        Limit(scopes.READ_STATIC, Mark(at_most=3.3), scopes.READ_FLOOR),
    )
    yield _ratios(
        "scopes",
        scopes.own_async_cases,
        Limit(scopes.ASYNC_OURS, Mark(at_most=1.8), scopes.ASYNC_FLOOR),
    )
    yield _ratios(
        "requests",
        requests.own_flask_cases,
        Limit(requests.OURS.format("Flask"), Mark(at_most=2.2), requests.BARE.format("Flask")),
    )
    yield _ratios(
        "requests",
        requests.own_fastapi_cases,
        Limit(requests.OURS.format("FastAPI"), Mark(at_most=2.2), requests.BARE.format("FastAPI")),
    )
    yield Watch(
        "requests",
        partial(_listed, requests.growth),
        tuple(
            Limit(requests.MEMORY.format(framework), Mark(at_most=4.0))
            for framework in ("Flask", "FastAPI")
        ),
    )
    yield from _with_processes()


def _with_processes() -> Iterable[Watch]:
    """What needs other processes: the local Secret Manager, and new interpreters."""
    from bench.rows import fetch, imports  # noqa: PLC0415  as above

    yield Watch(
        "fetch",
        partial(fetch.own_figures, OPTIONS),
        (Limit(fetch.OURS, Mark(at_most=1.5), fetch.RAW),),
    )
    yield Watch(
        "imports",
        partial(imports.own_figures, OPTIONS),
        (
            Limit(imports.PLAIN, Mark(at_most=1.5), imports.FLOOR),
            Limit("heavy modules", imports.NONE),
        ),
    )


def _ratios(row: str, cases: Callable[[], list[Case]], *limits: Limit) -> Watch:
    def figures() -> list[Figure]:
        measured = measure(cases(), OPTIONS)
        return [measured.figure(limit.case, ratio_to=limit.to) for limit in limits]

    return Watch(row, figures, limits)


def _listed(figures: Callable[[Options], Iterable[Figure]]) -> list[Figure]:
    return [*figures(OPTIONS)]
