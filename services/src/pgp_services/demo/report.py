"""What the demo found: the closing table, and whether every promise was kept."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from pgp_services.demo.load import Outcome

#: Dynamic secrets that one request of the pilot reads at least: the common three, the key, queue and URL.
READS_A_REQUEST = 6

OK = 200


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured.

    Attributes:
        outcomes: The requests to the live pilot.
        seconds: How long it was under load.
        warm_live: Seconds of the requests to the live pilot while nothing happened.
        warm_constant: The same, in turn with those, of the pilot with constant values.
        key_requests: Requests to ChangeNow by version of the key.
        old_key_accepted: Requests that it accepted with the old key after the rotation.
        old_key_last_use: Seconds after the rotation at which the old key was last used.
        old_key_refused: Whether the old key is refused now, at ChangeNow and at Secret Manager.
        tasks: Tasks by queue and URL.
        calls: Calls to Secret Manager under load, by secret.
        static_calls: Those of them for static secrets.
        max_age: Seconds after which no request may begin with the old key.
    """

    outcomes: Sequence[Outcome]
    seconds: float
    warm_live: Sequence[float]
    warm_constant: Sequence[float]
    key_requests: Mapping[int, int]
    old_key_accepted: int
    old_key_last_use: float
    old_key_refused: bool
    tasks: Mapping[tuple[str, str], int]
    calls: Mapping[str, int]
    static_calls: int
    max_age: float

    @property
    def failures(self) -> int:
        """Requests that were not answered with 200."""
        return sum(outcome.status != OK for outcome in self.outcomes)

    def broken_promises(self) -> list[str]:
        """What was not as promised; empty if all is well."""
        rotated = set(self.key_requests) == {1, 2}
        urls, queues = ({url for _, url in self.tasks}, {queue for queue, _ in self.tasks})
        checks = {
            "requests were answered": bool(self.outcomes),
            "no request failed": self.failures == 0,
            "both versions of the key were used": rotated,
            "ChangeNow accepted no old key after the rotation": self.old_key_accepted == 0,
            "the old key fell out of use within max_age": self.old_key_last_use <= self.max_age,
            "the old key is refused now": self.old_key_refused,
            "tasks went to both URLs and both queues": len(urls) == len(queues) == 2,  # noqa: PLR2004  before and after
            "no static secret was fetched during requests": self.static_calls == 0,
        }
        return [promise for promise, kept in checks.items() if not kept]


def show(facts: Facts, console: Console) -> None:
    """Print the closing table."""
    table = Table(title="What happened", show_header=False, title_justify="left")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for label, text in _rows(facts):
        table.add_row(label, text)
    console.print(table)


def _rows(facts: Facts) -> Iterable[tuple[str, str]]:
    total = len(facts.outcomes)
    yield "requests", f"{total:,} in {facts.seconds:.0f} s ({total / facts.seconds:.0f} a second)"
    yield "failures", f"{facts.failures:,}{_statuses(facts.outcomes)}"
    for version, count in sorted(facts.key_requests.items()):
        yield f"requests with key version {version}", f"{count:,} to ChangeNow"
    yield "old key last used", f"{facts.old_key_last_use:.2f} s after it was revoked"
    yield "old key now", "refused" if facts.old_key_refused else "ACCEPTED"
    for (queue, url), count in sorted(facts.tasks.items()):
        yield f"tasks in {queue}", f"{count:,} to {url}"
    for secret, count in sorted(facts.calls.items()):
        yield f"source calls for {secret}", f"{count:,}"
    made = sum(facts.calls.values())
    reads = total * READS_A_REQUEST
    yield "source calls in all", f"{made:,} (a fetch for each read: {reads:,})"
    yield "static fetches during requests", f"{facts.static_calls:,}"
    yield "latency of a request, live", _latency(facts.warm_live)
    yield "the same with constant values", _latency(facts.warm_constant)
    yield "added latency", _added(facts.warm_live, facts.warm_constant)


def _statuses(outcomes: Sequence[Outcome]) -> str:
    failed = sorted({outcome.status for outcome in outcomes} - {OK})
    return f" (status {', '.join(map(str, failed))}; 0 is no answer)" if failed else ""


def _latency(seconds: Sequence[float]) -> str:
    return f"p50 {median(seconds) * 1000:.2f} ms, p99 {_p99(seconds) * 1000:.2f} ms"


def _added(live: Sequence[float], constant: Sequence[float]) -> str:
    p50, p99 = median(live) - median(constant), _p99(live) - _p99(constant)
    return f"p50 {p50 * 1000:+.2f} ms, p99 {p99 * 1000:+.2f} ms"


def _p99(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=100)[-1]
