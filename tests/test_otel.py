"""The gauges, read with OpenTelemetry's own SDK."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from pgp_config import DynamicSecret, SecretContainer
from pgp_config.events import FetchFailed, TakenUp
from pgp_config.observers.otel import OpenTelemetryObserver

CANARY = "canary-7f3a"


class Split2(SecretContainer):
    key = DynamicSecret("KEY")


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def observer(reader):
    provider = MeterProvider([reader])
    yield OpenTelemetryObserver(provider.get_meter("test"))
    provider.shutdown()


def gauges(reader):
    data = reader.get_metrics_data()
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return {m.name: {p.value: dict(p.attributes) for p in m.data.data_points} for m in metrics}


def test_the_version_served_is_a_gauge_that_follows_a_rotation(
    make, source, clock, observer, reader
):
    source.add("KEY", f"{CANARY}-1")
    secrets = make(Split2, observers=[observer])
    secrets.load()
    where = {"pgp_config.container": "Split2", "pgp_config.secret": "KEY"}
    assert gauges(reader) == {"pgp_config.secret.version": {1: where}}
    source.add("KEY", f"{CANARY}-2")
    clock.advance(10)
    secrets.key()
    shown = gauges(reader)
    assert shown == {"pgp_config.secret.version": {2: where}}
    clock.advance(10)
    secrets.key()
    assert gauges(reader) == shown  # confirmed: said again
    assert CANARY not in str(shown)


def test_the_oldest_version_in_use_is_one_too_with_who_uses_it(observer, reader):
    observer(TakenUp("Split2", "KEY", "split2", "host-1", 8, (7, 8)))
    observer(TakenUp("Split2", "OTHER", "split2", "host-1", None, ()))
    observer(FetchFailed("Split2", "KEY", None, 1.0))
    assert gauges(reader) == {
        "pgp_config.secret.oldest_version_in_use": {
            7: {
                "pgp_config.container": "Split2",
                "pgp_config.secret": "KEY",
                "pgp_config.service": "split2",
                "pgp_config.instance": "host-1",
            }
        }
    }


def test_without_a_meter_it_takes_the_global_one():
    OpenTelemetryObserver()(TakenUp("Split2", "KEY", "split2", "host-1", 8, (8,)))
