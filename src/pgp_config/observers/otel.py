"""Events as OpenTelemetry metrics: the only file that imports opentelemetry, and of that the API only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Meter, get_meter

from pgp_config.events import (
    CallFailed,
    Confirmed,
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

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds at which the histogram of calls is divided: Secret Manager answers in some 10 to 50 ms, an alert
#: asks for 200 ms, and a fetch has 2 s in all.
CALL_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1),
    *(0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0),
)


class OpenTelemetryObserver:
    """Counts and measures; which process it is, is said by the resource of your SDK (`service.instance.id`).

    All have `pgp_config.container` and `pgp_config.secret`, and what failed `error.type`, a class of errors:

    - `pgp_config.source.call.duration`, histogram in seconds: calls to the source; its count is their number.
    - `pgp_config.secret.fetch_failures`, counter: a secret could not be fetched, by whatever calls.
    - `pgp_config.secret.reloads`, counter: another version is served from now on.
    - `pgp_config.secret.stale_reads`, counter: reads in an outage, served the last good version.
    - `pgp_config.secret.rejected_versions`, counter: versions that may not be served.
    - `pgp_config.secret.refused_static_reads`, counter: reads of a static secret in a scope, before it was loaded.
    - `pgp_config.secret.version`, gauge: the version that new scopes get.
    - `pgp_config.secret.oldest_version_in_use`, gauge: lower than that as long as open scopes hold an older one;
      with `pgp_config.service` and `pgp_config.instance` besides, the names in the uptake store, where one is used.

    No version is an attribute: each would be a time series for ever. Warm reads are no events, and cost nothing.

    Args:
        meter: By default that of the global provider.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        meter = meter or get_meter("pgp_config")
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
        self._version = meter.create_gauge(
            "pgp_config.secret.version",
            unit="{version}",
            description="The version of a secret that new scopes get.",
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
            Confirmed: self._serve,
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
        self._serve(event)

    def _reloaded(self, event: Reloaded) -> None:
        self._reloads.add(1, _of(event))
        self._serve(event)

    def _serve(self, event: Loaded | Reloaded | Confirmed) -> None:
        self._version.set(event.version, _of(event))

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


def _of(event: Event) -> dict[str, str]:
    return {"pgp_config.container": event.container, "pgp_config.secret": event.secret}


def _failed(event: Event, failure: str) -> dict[str, str]:
    return {**_of(event), "error.type": failure}
