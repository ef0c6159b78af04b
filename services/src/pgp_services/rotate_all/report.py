"""What the rotations showed: the table of secrets and services, and whether every promise was kept."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pgp_services.catalogue import CATALOGUE
from pgp_services.names import Service
from pgp_services.rotate_all.statics import ROTATED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from pgp_services.rotate_all.rounds import FirstUse
    from pgp_services.rotate_all.statics import Kept

#: The pilot's fifth dynamic secret, which the fleet's count of 43 leaves out.
UNCOUNTED = "PGP_BATCHPROCESSOR_URL"

#: Characters of a line, where no terminal says how many it has: the whole table's.
WIDTH = 150

_CAPTION = (
    "= static: rotated in the source, unchanged in the process, by what it signs, takes, refuses or pays; "
    "(=) by the version that it tells. Blank: not read by that service."
)

#: Long names of services, on two lines of a column.
_HEADINGS = {
    Service.ORCHESTRATOR: "ORCHES\nTRATOR",
    Service.HOSTPAY1: "HOST\nPAY1",
    Service.HOSTPAY2: "HOST\nPAY2",
    Service.HOSTPAY3: "HOST\nPAY3",
    Service.NOTIFICATIONS: "NOTIFI\nCATION",
    Service.ACCUMULATOR: "ACCUMU\nLATOR",
    Service.BATCHPROCESSOR: "BATCH\nPROC.",
    Service.MICROBATCHPROCESSOR: "MICRO\nBATCH",
    Service.BROADCAST: "BROAD\nCAST",
    Service.BOTCOMMAND: "BOTCOM\nMAND",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen.

    Attributes:
        uses: The first uses of new versions.
        kept: The static secrets that were rotated, by service.
        overlaps: Keys of which the version before the newest is to be taken too: by secret and service,
            whether it was.
        requests: How many requests each service was sent before the outage, and how many of them it failed.
        restarts: Processes that ended or began during the rotations, by service.
        static_fetches: Static secrets that were asked for during the rotations, by service.
        started_in: Seconds that the services took to start.
        seconds: Seconds of the whole.
    """

    uses: Sequence[FirstUse]
    kept: Sequence[Kept]
    overlaps: Mapping[tuple[str, Service], bool] = field(default_factory=dict)
    requests: Mapping[Service, tuple[int, int]] = field(default_factory=dict)
    restarts: Mapping[Service, int] = field(default_factory=dict)
    static_fetches: Mapping[Service, int] = field(default_factory=dict)
    started_in: float = 0.0
    seconds: float = 0.0

    def rotated(self) -> list[str]:
        """The dynamic secrets that were rotated, in the catalogue's order."""
        names = {use.secret for use in self.uses}
        return [name for name in CATALOGUE if name in names]

    def used(self) -> list[str]:
        """Those of them that every service used which reads them."""
        unused = {use.secret for use in self.uses if use.seconds is None}
        return [name for name in self.rotated() if name not in unused]

    def services(self) -> list[Service]:
        """The services that took part, in the fleet's order."""
        seen = {use.service for use in self.uses} | {kept.service for kept in self.kept}
        return [service for service in Service if service in seen]

    def broken_promises(self) -> list[str]:
        """What was not as promised; empty if all is well."""
        return [*self._unused(), *self._changed(), *self._disturbed()]

    def _unused(self) -> Iterator[str]:
        for use in self.uses:
            if use.seconds is None:
                yield f"{use.service.short} did not use the new version of {use.secret}"
            if not use.before:
                yield f"{use.service.short} was not seen to use the old version of {use.secret}"
        for (name, service), taken in self.overlaps.items():
            if not taken:
                yield f"{service.short} does not take the version before the newest of {name}"

    def _changed(self) -> Iterator[str]:
        for kept in self.kept:
            for what, is_old in kept.shown.items():
                if not is_old:
                    yield f"{kept.service.short} did not keep {kept.secret}, by: {what}"

    def _disturbed(self) -> Iterator[str]:
        for service, (_, failed) in self.requests.items():
            if failed:
                yield f"{service.short} failed {failed} requests"
        for service, number in self.restarts.items():
            if number:
                yield f"{service.short} was restarted: {number} processes ended or began"
        for service, number in self.static_fetches.items():
            if number:
                yield f"{service.short} asked for static secrets {number} times while it served"

    def verdict(self) -> str:
        """The closing line."""
        counted = [name for name in self.rotated() if name != UNCOUNTED]
        used = [name for name in self.used() if name != UNCOUNTED]
        held = {kept.secret for kept in self.kept} - {k.secret for k in self.kept if not k.is_kept}
        static = {kept.secret for kept in self.kept}
        return (
            f"{len(used)} of {len(counted)} used, {sum(self.restarts.values())} restarts, "
            f"{len(held)} of {len(static)} static unchanged"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for programs: names, seconds and verdicts."""
        seconds: dict[str, dict[str, float | None]] = defaultdict(dict)
        for use in self.uses:
            seconds[use.secret][use.service] = use.seconds and round(use.seconds, 3)
        static: dict[str, dict[str, dict[str, bool]]] = defaultdict(dict)
        for kept in self.kept:
            static[kept.secret][kept.service] = kept.shown
        return {
            "verdict": self.verdict(),
            "broken": self.broken_promises(),
            "seconds_to_first_use": seconds,
            "static_unchanged": static,
            "requests_failed": sum(failed for _, failed in self.requests.values()),
            "restarts": sum(self.restarts.values()),
            "static_fetches": sum(self.static_fetches.values()),
            "started_in": round(self.started_in, 1),
            "seconds": round(self.seconds, 1),
        }


def show(facts: Facts, console: Console) -> None:
    """Print the table."""
    if not console.is_terminal:
        console.width = WIDTH
    services = facts.services()
    table = Table(
        title="Seconds from the rotation to the first use, by secret and service",
        caption=_CAPTION,
        title_justify="left",
        caption_justify="left",
        padding=(0, 0),
    )
    table.add_column("secret", no_wrap=True)
    for service in services:
        table.add_column(_heading(service), justify="right", no_wrap=True)
    for name, cells in _rows(facts):
        table.add_row(name, *(cells.get(service, Text()) for service in services))
    console.print(table)
    for line in _remarks(facts):
        console.print(line, highlight=False, soft_wrap=True)


def _remarks(facts: Facts) -> Iterator[str]:
    by_secret: dict[str, list[str]] = defaultdict(list)
    for (name, service), taken in facts.overlaps.items():
        by_secret[name] += [service.short] if taken else []
    for name, services in by_secret.items():
        yield f"{name}: the version before the newest is taken too, by {', '.join(services) or 'nobody'}"
    sent, failed = (sum(numbers) for numbers in zip((0, 0), *facts.requests.values(), strict=True))
    yield f"{sent:,} requests before the outage, of which {failed} failed"
    yield (
        f"Static secrets asked for while they serve: {sum(facts.static_fetches.values())} times. "
        f"Ready in {facts.started_in:.0f} s, done in {facts.seconds:.0f} s"
    )


def _heading(service: Service) -> str:
    """A short name, on two lines where it is long."""
    return _HEADINGS.get(service, service.short)


def _rows(facts: Facts) -> Iterator[tuple[str, dict[Service, Text]]]:
    cells: dict[str, dict[Service, Text]] = defaultdict(dict)
    for use in facts.uses:
        missing = use.seconds is None
        told = Text("never", "bold red") if missing else Text(f"{use.seconds:.2f}", "green")
        cells[use.secret][use.service] = told
    for kept in facts.kept:
        told = Text("=" if kept.is_seen else "(=)")
        cells[kept.secret][kept.service] = told if kept.is_kept else Text("NEW", "bold red")
    for name in [*facts.rotated(), *(name for name in ROTATED if name in cells)]:
        yield name, cells[name]
