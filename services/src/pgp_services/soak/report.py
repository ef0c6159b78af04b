"""What the soak found: a row for each fault, the totals, and whether every promise was kept."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

from pgp_config.testing.history import Bounds, History, Read
from pgp_services.soak.ledger import DYNAMIC
from pgp_services.soak.watch import trends

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from pgp_config.testing.history import Change, Violation
    from pgp_services.demo.load import Outcome
    from pgp_services.soak.watch import Sample

OK = 200

#: Seconds of history that are checked at once, and how much of it again with the next: what a long soak
#: read does not fit into memory twice.
WINDOW, OVERLAP = 60.0, 15.0

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Span:
    """One row of the matrix while it lasted.

    Attributes:
        name: The row's.
        began: Monotonic seconds.
        ended: Monotonic seconds.
    """

    name: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Records:
    """What the workers of one pilot wrote down.

    Attributes:
        reads: Of dynamic secrets.
        fetches: How many answers of the source there were.
    """

    reads: Sequence[Read]
    fetches: int


def records_of(folder: Path, pilot: str) -> Records:
    """Gather what the workers of a pilot wrote down."""
    reads, fetches = [], 0
    for file in folder.glob(f"{pilot}-*.jsonl"):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if isinstance(record, list):
                reads.append(Read(*record))
            else:
                fetches += 1
    return Records(reads, fetches)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured.

    Attributes:
        spans: The rows of the matrix, in their order.
        outcomes: The requests; their target is the place of the pilot among the records.
        records: What each pilot's workers wrote down, by the pilot's name.
        violations: Broken promises.
        samples: Of the workers' memory and threads.
        restarts: How many workers ended before the end, and were replaced.
        source_calls: Calls that came to Secret Manager while requests were served, retries included.
        static_calls: Those of them for static secrets.
    """

    spans: Sequence[Span]
    outcomes: Sequence[Outcome]
    records: Mapping[str, Records]
    violations: Sequence[Violation]
    samples: Sequence[Sample]
    restarts: int
    source_calls: int
    static_calls: int

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return sum(outcome.status != OK for outcome in self.outcomes)

    @property
    def reads(self) -> list[Read]:
        """Of all pilots."""
        return [read for records in self.records.values() for read in records.reads]

    @property
    def past_bound(self) -> int:
        """Reads that saw what the source had not confirmed for too long (promises 4 and 9)."""
        return sum(violation.promise == 4 for violation in self.violations)  # noqa: PLR2004  its number

    def broken_promises(self) -> list[str]:
        """What was not as promised; empty if all is well."""
        checks = {
            "requests were answered, and reads recorded": bool(self.outcomes and self.reads),
            "no request failed": self.failed == 0,
            "no read was stale past its bound": self.past_bound == 0,
            "no read broke another promise": len(self.violations) == self.past_bound,
            "every worker lived to the end": self.restarts == 0,
            "memory and threads stayed flat": all(trend.is_flat for trend in trends(self.samples)),
            "fewer calls than reads": self.source_calls < len(self.reads),
            "no static secret was fetched during requests": self.static_calls == 0,
        }
        return [promise for promise, kept in checks.items() if not kept]


def violations(
    reads: Iterable[Read], changes: Sequence[Change], max_age: float
) -> list[Violation]:
    """Check reads in windows of their scopes' beginnings; each broken promise is told once."""
    windows: dict[int, list[Read]] = defaultdict(list)
    for read in reads:
        number = int(read.opened // WINDOW)
        windows[number].append(read)
        if (number + 1) * WINDOW - read.opened <= OVERLAP:
            windows[number + 1].append(read)
    bounds = dict.fromkeys(DYNAMIC, Bounds(max_age))
    found: dict[str, Violation] = {}
    for window in windows.values():
        history = History()
        for change in changes:
            history.add(change)
        for read in window:
            history.add(read)
        found.update({str(violation): violation for violation in history.violations(bounds)})
    return list(found.values())


def show(facts: Facts, console: Console) -> None:
    """Print a line a row of the matrix, and the totals."""
    console.print(_matrix(facts))
    totals = Table(title="In all", show_header=False, title_justify="left")
    totals.add_column(no_wrap=True)
    totals.add_column(overflow="fold")
    for label, text in _totals(facts):
        totals.add_row(label, text)
    console.print(totals)
    for violation in facts.violations[:20]:
        console.print(str(violation), style="red", markup=False)


def _matrix(facts: Facts) -> Table:
    table = Table(title="The fault matrix", title_justify="left")
    table.add_column("what was wrong", no_wrap=True)
    slowest = [f"slowest,\n{pilot}" for pilot in facts.records]
    for heading in ("seconds", "requests", "failed", *slowest, "reads", "stale", "violations"):
        table.add_column(heading, justify="right")
    for name, line in _lines(facts).items():
        table.add_row(
            name,
            *(f"{line.seconds:.0f}", f"{line.requests:,}", f"{line.failed:,}"),
            *(f"{line.slowest[target]:.2f} s" for target in range(len(slowest))),
            *(f"{line.reads:,}", f"{line.stale:,}", f"{line.violations:,}"),
            style="red" if line.failed or line.violations else None,
        )
    return table


@dataclass(slots=True)
class _Line:
    """What came of all spans of one row; requests and reads count where they began."""

    seconds: float = 0.0
    requests: int = 0
    failed: int = 0
    slowest: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    reads: int = 0
    stale: int = 0
    violations: int = 0


def _lines(facts: Facts) -> dict[str, _Line]:
    lines = {span.name: _Line() for span in facts.spans}
    beginnings = [span.began for span in facts.spans]

    def line_at(moment: float) -> _Line:
        return lines[facts.spans[max(0, bisect_right(beginnings, moment) - 1)].name]

    for span in facts.spans:
        lines[span.name].seconds += span.ended - span.began
    for outcome in facts.outcomes:
        line = line_at(outcome.began)
        line.requests += 1
        line.failed += outcome.status != OK
        line.slowest[outcome.target] = max(line.slowest[outcome.target], outcome.seconds)
    for read in facts.reads:
        line = line_at(read.started)
        line.reads += 1
        line.stale += read.stale
    for violation in facts.violations:
        line_at(violation.read.started).violations += 1
    return lines


def _statuses(facts: Facts) -> str:
    failed = sorted({outcome.status for outcome in facts.outcomes} - {OK})
    return f" (status {', '.join(map(str, failed))}; 0 is no answer)" if failed else ""


def _totals(facts: Facts) -> Iterable[tuple[str, str]]:
    yield (
        "requests",
        f"{len(facts.outcomes):,}, of which {facts.failed:,} failed{_statuses(facts)}",
    )
    yield "reads stale past their bound", f"{facts.past_bound:,}"
    yield "other history violations", f"{len(facts.violations) - facts.past_bound:,}"
    for pilot, records in facts.records.items():
        reads = len(records.reads)
        yield f"fetches, {pilot}", f"{records.fetches:,} (a fetch for each read: {reads:,})"
    yield "calls to the source, retries included", f"{facts.source_calls:,}"
    yield "of these for static secrets", f"{facts.static_calls:,}"
    yield "workers that ended", f"{facts.restarts:,}"
    for trend in trends(facts.samples):
        memory = " -> ".join(f"{size / MEBIBYTE:.1f} MiB" for size in trend.memory)
        threads = " -> ".join(f"{count:.0f}" for count in trend.threads)
        yield f"worker {trend.process}", f"memory {memory}, threads {threads}"
