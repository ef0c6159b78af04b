"""A process's metrics over OTLP/HTTP: the only file of the fleet that imports OpenTelemetry's SDK."""

from __future__ import annotations

import atexit
import os
import threading
import uuid
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from pgp_config.observers.otel import OpenTelemetryObserver

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from pgp_config.events import Event
    from pgp_config.observing import Measurable


class _OwnExporter(OTLPMetricExporter):
    """Silent in a child that a fork has made: the SDK's reader goes on there, with its parent's figures."""

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float | None = 10_000,
        **kwargs: Any,  # noqa: ANN401  the SDK's signature
    ) -> MetricExportResult:
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        return super().export(metrics_data, timeout_millis, **kwargs)


class ProcessMetrics:
    """An observer that sets the SDK up at a process's first event, again in each process that is forked.

    Where metrics go, and how often (60 s), is said by OpenTelemetry's own variables. They are sent a last
    time when the interpreter ends.

    Args:
        service: The resource's `service.name`; its `service.instance.id` is new in each process.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._secrets: weakref.WeakSet[Measurable] = weakref.WeakSet()
        self._forget()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.shutdown)

    def _forget(self) -> None:
        """In a child: neither a lock that another thread of the parent holds nor its figures come along."""
        self._lock = threading.Lock()
        self._provider: MeterProvider | None = None
        self._observer: OpenTelemetryObserver | None = None

    def __call__(self, event: Event) -> None:
        """Measure one event."""
        observer = self._observer or self._set_up()
        observer(event)

    def watch_figures(self, secrets: Measurable) -> None:
        """Measure a container too, in this process and in those that are forked."""
        with self._lock:
            self._secrets.add(secrets)
            if self._observer is not None:
                self._observer.watch_figures(secrets)

    def _set_up(self) -> OpenTelemetryObserver:
        with self._lock:
            if self._observer is None:
                self._provider = _provider(self._service)
                observer = OpenTelemetryObserver(self._provider.get_meter("pgp_config"))
                for secrets in list(self._secrets):
                    observer.watch_figures(secrets)
                self._observer = observer
            return self._observer

    def shutdown(self) -> None:
        """Send what is left, within seconds; idempotent."""
        with self._lock:
            provider, self._provider = self._provider, None
        if provider is not None:
            provider.shutdown()


def _provider(service: str) -> MeterProvider:
    resource = Resource.create({"service.name": service, "service.instance.id": str(uuid.uuid4())})
    reader = PeriodicExportingMetricReader(_OwnExporter())
    # Not its own exit handler: a child would run its parent's, and wait for a thread that it does not have.
    return MeterProvider([reader], resource, shutdown_on_exit=False)
