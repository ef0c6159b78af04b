"""The versions in use as OpenTelemetry gauges: the only file that imports opentelemetry, and of that the API only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.metrics import Meter, get_meter

from pgp_config.events import Confirmed, Event, Loaded, Reloaded, TakenUp

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

_SERVED = (Confirmed, Loaded, Reloaded)


class OpenTelemetryObserver:
    """Sets gauges; which process it is, is said by the resource of your SDK (`service.instance.id`).

    - `pgp_config.secret.version`: the version that new scopes get, by `pgp_config.container` and `pgp_config.secret`.
    - `pgp_config.secret.oldest_version_in_use`: lower than that as long as open scopes hold an older one; with
      `pgp_config.service` and `pgp_config.instance` besides, the names in the uptake store, where one is used.

    Args:
        meter: By default that of the global provider.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        meter = meter or get_meter("pgp_config")
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

    def __call__(self, event: Event) -> None:
        """Set the gauges of one event."""
        if isinstance(event, _SERVED):
            self._version.set(event.version, _attributes(event))
        elif isinstance(event, TakenUp) and event.in_use:
            who = {"pgp_config.service": event.service, "pgp_config.instance": event.instance}
            self._oldest.set(min(event.in_use), {**who, **(_attributes(event) or {})})


def _attributes(event: Event) -> Attributes:
    return {"pgp_config.container": event.container, "pgp_config.secret": event.secret}
