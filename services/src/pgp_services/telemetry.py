"""Whether a service measures itself: where OpenTelemetry's own variable names a collector, else nothing is imported."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from pgp_config import DeclarationError

if TYPE_CHECKING:
    from pgp_config import Observer

#: OpenTelemetry's own: the URL of a collector, such as `http://127.0.0.1:4318`.
ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"


def observers(service: str) -> tuple[Observer, ...]:
    """What measures a service's secrets, besides what logs; nothing, where the variable is not set.

    Args:
        service: Its name, which its metrics bear as `service.name`.

    Raises:
        DeclarationError: If the variable is set, and the packages are not installed.
    """
    if not os.environ.get(ENDPOINT_VARIABLE):
        return ()
    try:
        otlp = import_module("pgp_services.otlp")
    except ImportError:
        raise DeclarationError(
            f"the environment variable {ENDPOINT_VARIABLE} is set, and OpenTelemetry is not installed",
            remedy="pip install 'pgp-services[metrics]', or unset the variable.",
        ) from None
    return (otlp.ProcessMetrics(service),)
