"""Events and figures as OpenTelemetry metrics, through its API only: which SDK exports them is the program's choice."""

from __future__ import annotations

import weakref
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Meter, Observation, get_meter

from pgp_config.events import (
    CallFailed,
    Event,
    Fetched,
    FetchFailed,
    Loaded,
    Reloaded,
    ServedStale,
    StaticReadRefused,
    TakenUp,
    VersionRejected,
)
from pgp_config.tallies import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import CallbackOptions

    from pgp_config.events import Figures
    from pgp_config.observing import Measurable
    from pgp_config.tallies import Reads

#: The instrumentation scope.
SCOPE = "pgp_config"

#: Seconds at which the histogram of calls is divided: Secret Manager answers in some 10 to 50 ms, an alert
#: asks for 200 ms, and a fetch has 2 s in all.
CALL_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1),
    *(0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0),
)


class OpenTelemetryObserver:
    """Counts and measures; which process it is, is said by the resource of your SDK (`service.instance.id`).

    All have `pgp_config.container` and `pgp_config.secret`, and what failed `error.type`, the class of the error:

    - `pgp_config.source.call.duration`, histogram in seconds: calls to the source; its count is their number.
    - `pgp_config.secret.reads`, counter: how scopes came by a dynamic secret, by `pgp_config.read.outcome`, one of
      `fresh`, `waited`, `stale` and `failed`: one for each secret that a scope reads, or is refused, at first, and for
      each `refresh()`. What it reads again is a look-up in a dictionary, which nothing counts.
    - `pgp_config.secret.coalesced_reads`, counter: reads that waited for a fetch that another one had set off.
    - `pgp_config.secret.fetch_failures`, counter: a secret could not be fetched, by whatever calls.
    - `pgp_config.secret.reloads`, counter: another version is served from now on.
    - `pgp_config.secret.stale_reads`, counter: reads in an outage, served the last good version.
    - `pgp_config.secret.rejected_versions`, counter: versions that may not be served.
    - `pgp_config.secret.refused_static_reads`, counter: reads of a static secret in a scope, before it was loaded.
    - `pgp_config.secret.version`, gauge: the version that new scopes get.
    - `pgp_config.secret.age`, gauge in seconds: since the source last confirmed a dynamic secret.
    - `pgp_config.secret.oldest_version_in_use`, gauge: lower than that as long as open scopes hold an older one;
      with `pgp_config.service` and `pgp_config.instance` besides, the names in the uptake store, where one is used.

    No version is an attribute: each would be a time series for ever. Reads, version and age are looked up when the
    SDK collects them, so that observing a read costs nothing.

    Args:
        meter: By default that of the global provider.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        meter = meter or get_meter(SCOPE, version("pgp-config"))
        # Lists that only grow need no lock, which a fork might find held.
        self._secrets: list[weakref.ref[Measurable]] = []
        # Of every container that there ever was: a counter does not go down with one that is closed.
        self._reads: dict[tuple[str, str], list[Reads]] = {}
        self._calls = meter.create_histogram(
            "pgp_config.source.call.duration",
            unit="s",
            description="Calls to the source of secrets.",
            explicit_bucket_boundaries_advisory=CALL_BUCKETS,
        )
        self._failures = meter.create_counter(
            "pgp_config.secret.fetch_failures",
            unit="{failure}",
            description="Fetches of a secret that brought nothing that can be served.",
        )
        self._reloads = meter.create_counter(
            "pgp_config.secret.reloads",
            unit="{reload}",
            description="Changes of the version that is served, without a restart.",
        )
        self._stale = meter.create_counter(
            "pgp_config.secret.stale_reads",
            unit="{read}",
            description="Reads that were served the last good version while the source failed.",
        )
        self._rejected = meter.create_counter(
            "pgp_config.secret.rejected_versions",
            unit="{version}",
            description="Versions that may not be served.",
        )
        self._refused = meter.create_counter(
            "pgp_config.secret.refused_static_reads",
            unit="{read}",
            description="Reads of a static secret, not loaded at start-up, while a scope was open.",
        )
        meter.create_observable_counter(
            "pgp_config.secret.reads",
            [self._observe_reads],
            unit="{read}",
            description="First reads of a dynamic secret in a scope, by outcome.",
        )
        meter.create_observable_counter(
            "pgp_config.secret.coalesced_reads",
            [self._observe_coalesced],
            unit="{read}",
            description="Reads that waited for a fetch which another read had set off.",
        )
        meter.create_observable_gauge(
            "pgp_config.secret.version",
            [self._observe_versions],
            unit="{version}",
            description="The version of a secret that new scopes get.",
        )
        meter.create_observable_gauge(
            "pgp_config.secret.age",
            [self._observe_ages],
            unit="s",
            description="Time since the source last confirmed a dynamic secret.",
        )
        self._oldest = meter.create_gauge(
            "pgp_config.secret.oldest_version_in_use",
            unit="{version}",
            description="The lowest version of a secret that this process still holds.",
        )
        self._measures: dict[type[Event], Callable[[Any], None]] = {
            Fetched: self._fetched,
            CallFailed: self._call_failed,
            FetchFailed: self._fetch_failed,
            Loaded: self._loaded,
            Reloaded: self._reloaded,
            ServedStale: self._served_stale,
            VersionRejected: self._version_rejected,
            StaticReadRefused: self._static_read_refused,
            TakenUp: self._taken_up,
        }

    def __call__(self, event: Event) -> None:
        """Measure one event."""
        measure = self._measures.get(type(event))
        if measure is not None:
            measure(event)

    def _fetched(self, event: Fetched) -> None:
        self._calls.record(event.seconds, _of(event))

    def _call_failed(self, event: CallFailed) -> None:
        self._calls.record(event.seconds, _failed(event, event.failure))

    def _fetch_failed(self, event: FetchFailed) -> None:
        self._failures.add(1, _failed(event, type(event.error).__name__))

    def _loaded(self, event: Loaded) -> None:
        # A series that begins with its first reload would hide that one from `increase()`.
        for counter in (self._reloads, self._stale, self._rejected):
            counter.add(0, _of(event))

    def _reloaded(self, event: Reloaded) -> None:
        self._reloads.add(1, _of(event))

    def _served_stale(self, event: ServedStale) -> None:
        self._stale.add(1, _of(event))

    def _version_rejected(self, event: VersionRejected) -> None:
        self._rejected.add(1, _of(event))

    def _static_read_refused(self, event: StaticReadRefused) -> None:
        self._refused.add(1, _of(event))

    def _taken_up(self, event: TakenUp) -> None:
        if event.in_use:
            who = {"pgp_config.service": event.service, "pgp_config.instance": event.instance}
            self._oldest.set(min(event.in_use), {**who, **_of(event)})

    # -- read when they are collected --------------------------------------------------------

    def watch_figures(self, secrets: Measurable) -> None:
        """Show the secrets of a container, for as long as it lives; called when it is made."""
        self._secrets.append(weakref.ref(secrets))
        for row in secrets.figures():
            if row.reads is not None:
                self._reads.setdefault((secrets.container, row.secret), []).append(row.reads)

    def _observe_reads(self, _options: CallbackOptions) -> Iterator[Observation]:
        for key, all_reads in list(self._reads.items()):
            for outcome in OUTCOMES:
                count = sum(reads.by_outcome()[outcome] for reads in all_reads)
                yield Observation(count, {**_where(*key), "pgp_config.read.outcome": outcome})

    def _observe_coalesced(self, _options: CallbackOptions) -> Iterator[Observation]:
        for key, all_reads in list(self._reads.items()):
            yield Observation(sum(int(reads.coalesced) for reads in all_reads), _where(*key))

    def _observe_versions(self, _options: CallbackOptions) -> Iterator[Observation]:
        return self._worst(lambda row: row.version, min)

    def _observe_ages(self, _options: CallbackOptions) -> Iterator[Observation]:
        return self._worst(lambda row: row.age, max)

    def _worst(
        self, figure: Callable[[Figures], float | None], worse: Callable[[float, float], float]
    ) -> Iterator[Observation]:
        """One observation for each secret: the worse one, where two containers of a class have it."""
        found: dict[tuple[str, str], float] = {}
        for secrets in filter(None, [watched() for watched in self._secrets]):
            for row in secrets.figures():
                now, key = figure(row), (secrets.container, row.secret)
                if now is not None:
                    found[key] = worse(found.get(key, now), now)
        for key, value in found.items():
            yield Observation(value, _where(*key))


def _of(event: Event) -> dict[str, str]:
    return _where(event.container, event.secret)


def _where(container: str, secret: str) -> dict[str, str]:
    return {"pgp_config.container": container, "pgp_config.secret": secret}


def _failed(event: Event, failure: str) -> dict[str, str]:
    return {**_of(event), "error.type": failure}
