"""What a service did, seen from outside: the tasks it made, whom it called, what it answered and logged."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from pgp_services.stage.environ import account_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgp_services.lookalikes.cloud_tasks import RecordedTask
    from pgp_services.lookalikes.http import Seen
    from pgp_services.names import Service
    from pgp_services.stage.local_fleet import LocalFleet

#: Unix time at monotonic 0, for the times in log lines.
_EPOCH = time.time() - time.monotonic()

#: A line as `log_to_stderr` has it: time, level, logger, message.
_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) (\S+): (.*)")


@dataclass(frozen=True, slots=True)
class Done:
    """A request of ours that a service answered.

    Attributes:
        exercise: Which.
        proof: The secret whose version the request carries, by name; empty for none.
        version: That version, 1 or more.
        status: The HTTP status of the answer; 0 for none.
        body: The answer's body.
        began: When it was sent, in monotonic seconds.
        at: When the answer came, in monotonic seconds.
    """

    exercise: str
    proof: str
    version: int
    status: int
    body: bytes = field(repr=False)
    began: float
    at: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A call of the service's that came to a host.

    Attributes:
        origin: `https://host`, as the service called it.
        at: When, in monotonic seconds.
    """

    origin: str
    at: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a service's log.

    Attributes:
        level: Such as `INFO`.
        text: What it says.
        at: When it was written, in monotonic seconds, to the millisecond.
    """

    level: str
    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Alert:
    """What Slack was told.

    Attributes:
        text: The message.
        at: When, in monotonic seconds.
    """

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Effects:
    """What one service did so far.

    Attributes:
        done: Our requests.
        tasks: The tasks that it made.
        arrivals: Its calls to other services that came to a host.
        seen: Its calls to a stand-in, by the stand-in's name.
        lines: Its log.
        alerts: What it told Slack.
    """

    done: Sequence[Done] = ()
    tasks: Sequence[RecordedTask] = ()
    arrivals: Sequence[Arrival] = ()
    seen: Mapping[str, Sequence[Seen]] = field(default_factory=dict)
    lines: Sequence[Line] = ()
    alerts: Sequence[Alert] = ()


def effects_of(service: Service, fleet: LocalFleet, done: Sequence[Done]) -> Effects:
    """What a service did so far, by what the stand-ins have seen."""
    account = account_of(service)
    tasks = [task for task in fleet.tasks.tasks if task.service_account == account]
    seen = {
        name: [seen for seen in list(server.seen) if seen.door == service]
        for name, server in fleet.key_holders().items()
    }
    return Effects(
        done=done,
        tasks=tasks,
        arrivals=list(_arrivals(service, fleet, {task.name for task in tasks})),
        seen=seen,
        lines=list(lines_in(fleet.log_of(service))),
        alerts=[alert for alert in _alerts(fleet) if alert.text.startswith(f"{service} ")],
    )


def _arrivals(service: Service, fleet: LocalFleet, names: set[str]) -> Iterator[Arrival]:
    """Tasks that a host took, and calls that came through the service's own door."""
    for visit in list(fleet.noted.visits):
        if visit.door == service:
            yield Arrival(f"https://{visit.host}", visit.at)
    for delivery in fleet.tasks.deliveries:
        if delivery.task in names and delivery.is_done:
            yield Arrival(origin_of(delivery.url), delivery.ended)


def _alerts(fleet: LocalFleet) -> Iterator[Alert]:
    for seen in list(fleet.slack.seen):
        yield Alert(_text_in(seen), seen.at)


def _text_in(seen: Seen) -> str:
    found = re.search(rb'"text":\s*"([^"]*)"', seen.body)
    return found[1].decode() if found else ""


def origin_of(url: str) -> str:
    """The scheme and the host of a URL."""
    return "/".join(url.split("/")[:3])


def lines_in(log: str) -> Iterator[Line]:
    """The lines of a log that have a time and a level."""
    for found in _LINE.finditer(log):
        written = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007  local time, as logging writes it
        yield Line(level=found[2], text=found[4], at=written - _EPOCH)
