"""What a person asks of a running process, as one document that JSON can hold; never a value."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pgp_config.errors import DeclarationError
from pgp_config.forking import gate
from pgp_config.health import condition_of
from pgp_config.processes import host_name, process_name
from pgp_config.redaction import redact
from pgp_config.status.journal import Journal, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config.cache import Overview, SecretStatus
    from pgp_config.events import Observer
    from pgp_config.status.journal import Change, Entry, Moment, Trouble


@runtime_checkable
class Watched(Protocol):
    """What `Status` needs of a container: an instance of a `SecretContainer` has it."""

    def overview(self) -> Overview:
        """The container and its secrets."""
        ...

    def observe(self, observer: Observer) -> None:
        """Have an observer told of every event."""
        ...


class Status:
    """Watches a container from now on, and says what a person asks of it; thread-safe and fork-safe.

    A question opens no scope, reads no secret and makes no call to the source.

    Args:
        container: An instance of a `SecretContainer`.
        push: The `PushEndpoint` or `PubSubListener` that tells the container of changes, if there is one.
        journal: What remembers the events; a test gives one with its own clocks.

    Attributes:
        instance: Names this process: its host or revision, its process id, and a random part. A forked
            child has one of its own.

    Raises:
        DeclarationError: If the container is none.
    """

    def __init__(
        self, container: object, *, push: object = None, journal: Journal | None = None
    ) -> None:
        if isinstance(container, type) or not isinstance(container, Watched):
            raise DeclarationError(
                f"a {type(container).__name__} was given in place of a container",
                remedy="Give an instance of a SecretContainer.",
            )
        self._container = container
        self._push = push
        # The container's list of observers holds this alone: no cycle keeps a container alive.
        self._journal = journal or Journal()
        self.renew_after_fork()
        gate.register(self)
        container.observe(self._journal)

    def __repr__(self) -> str:
        return f"<Status of {self.instance}>"

    def renew_after_fork(self) -> None:
        """In a child: a process of its own."""
        self._began = self._journal.now()
        self._host = host_name()
        self.instance = process_name()

    def snapshot(self, after: int = 0) -> dict[str, Any]:
        """All there is to say now, in the form that docs/status.md describes.

        Args:
            after: The number of the last event that the asker knows; only later ones are given.
        """
        overview, now = self._container.overview(), self._journal.now()
        entries, seq = self._journal.since(after)
        return {
            "at": _time_of(now),
            "process": self._process(now),
            "container": {
                "name": overview.container,
                "source": redact(overview.source),
                "max_age_seconds": overview.freshness.max_age,
                "max_stale_seconds": overview.freshness.max_stale,
                "push": _push_of(self._push),
            },
            "secrets": [
                secret_of(row, self._journal.record(row.name), now) for row in overview.secrets
            ],
            "events": [_event_of(entry, now) for entry in entries],
            "seq": seq,
        }

    def _process(self, now: Moment) -> dict[str, Any]:
        return {
            "instance": self.instance,
            "host": self._host,
            "pid": os.getpid(),
            "watched_since": _time_of(self._began),
            "watched_for_seconds": _ago(self._began, now),
        }


def secret_of(row: SecretStatus, record: Record, now: Moment) -> dict[str, Any]:
    """One secret of the document."""
    failing = record.failing_since
    return {
        "name": row.name,
        "kind": row.kind,
        "type": row.declared,
        "state": state_of(row),
        "version": row.version,
        "versions_in_use": list(row.in_use),
        "rejected_versions": list(row.rejected),
        "newer_version": _newer(row, record),
        "age_seconds": _rounded(row.age),
        "max_age_seconds": row.max_age,
        "max_stale_seconds": row.max_stale,
        "read_seconds_ago": _rounded(row.read_ago),
        "failing_for_seconds": None if failing is None else _ago(failing, now),
        "retry_in_seconds": _rounded(row.retry_in),
        "last_change": _change_of(record.change, now),
        "last_error": _trouble_of(record.trouble, now),
        "calls": {"made": record.fetched + record.failed, "failed": record.failed},
        "stale_reads": record.stale,
    }


def state_of(row: SecretStatus) -> str:
    """One word for a secret, the most urgent that is true.

    - "missing": there is no usable value; reads fail.
    - "stale": the source does not answer, and the last good value is served past `max_age`.
    - "failing": the source does not answer, and the value is still within `max_age`.
    - "rejected": a newer version may not be served; the last good one is.
    - "sealed": static, and loaded.
    - "unread": loaded, and no scope has read it yet.
    - "fresh": confirmed at most `max_age` ago, or asked for by each scope anew.
    - "idle": confirmed longer ago, because nothing reads it; the next read confirms it first.
    """
    condition = condition_of(row)
    if condition != "ok":
        return condition
    if row.kind == "static":
        return "sealed"
    if row.read_ago is None:
        return "unread"
    is_fresh = row.max_age == 0 or (row.age or 0.0) <= row.max_age
    return "fresh" if is_fresh else "idle"


def _newer(row: SecretStatus, record: Record) -> int | None:
    newer = record.newer
    return newer if newer is not None and newer > (row.version or 0) else None


def _change_of(change: Change | None, now: Moment) -> dict[str, Any] | None:
    if change is None:
        return None
    versions = {"old_version": change.old_version, "version": change.version}
    return versions | _when(change.moment, now)


def _trouble_of(trouble: Trouble | None, now: Moment) -> dict[str, Any] | None:
    if trouble is None:
        return None
    said = {"type": trouble.kind, "text": trouble.text, "explained_as": trouble.explained_as}
    return said | _when(trouble.moment, now)


def _event_of(entry: Entry, now: Moment) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        **_when(entry.moment, now),
        "kind": entry.kind,
        "level": entry.level,
        "secret": entry.secret,
        "text": entry.text,
    }


def _push_of(push: object) -> Mapping[str, Any] | None:
    if push is None:
        return None
    path = getattr(push, "path", None)
    if path is not None:
        return {"kind": "endpoint", "path": path}
    return {
        "kind": "listener",
        "subscription": getattr(push, "subscription", None),
        "listening": bool(getattr(push, "is_listening", False)),
    }


def _when(moment: Moment, now: Moment) -> dict[str, Any]:
    return {"at": _time_of(moment), "seconds_ago": _ago(moment, now)}


def _time_of(moment: Moment) -> str:
    """As RFC 3339 writes it, in UTC, to the millisecond."""
    told = datetime.fromtimestamp(moment.wall, UTC).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")


def _ago(moment: Moment, now: Moment) -> float:
    return round(max(0.0, now.monotonic - moment.monotonic), 3)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
