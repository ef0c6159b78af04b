"""The metrics, read with OpenTelemetry's own SDK."""

import gc
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import REGISTRY, generate_latest

from pgp_config import (
    DynamicSecret,
    Freshness,
    SecretContainer,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    StaticSecret,
    StaticSecretInScope,
    request_scope,
)
from pgp_config.events import Announced, FetchFailed, TakenUp, VersionRejected
from pgp_config.observers.otel import CALL_BUCKETS, OpenTelemetryObserver

CANARY = "canary-7f3a"
WHERE = {"pgp_config.container": "Split2", "pgp_config.secret": "KEY"}
ERROR = SecretUnavailable(f"is down ({CANARY})", remedy="Wait.", secret="KEY", container="Split2")


class Split2(SecretContainer):
    key = DynamicSecret("KEY")


class Hostpay3(SecretContainer):
    wallet_private_key = StaticSecret("WALLET_PRIVATE_KEY")


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def observer(reader):
    provider = MeterProvider([reader])
    yield OpenTelemetryObserver(provider.get_meter("test"))
    provider.shutdown()


@pytest.fixture
def measured(reader):
    """What a metric says now: of each set of attributes its value, of a histogram its count."""

    def read(name, *, of=lambda point: getattr(point, "value", getattr(point, "count", None))):
        data = reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        assert CANARY not in str(metrics)
        points = [p for m in metrics if m.name == name for p in m.data.data_points]
        return [(dict(point.attributes), of(point)) for point in points]

    return read


@pytest.fixture
def secrets(make, source, observer):
    source.add("KEY", f"{CANARY}-1")
    secrets = make(Split2, observers=[observer])
    secrets.load()
    return secrets


def test_the_version_served_is_a_gauge_that_follows_a_rotation(secrets, source, clock, measured):
    assert measured("pgp_config.secret.version") == [(WHERE, 1)]
    source.add("KEY", f"{CANARY}-2")
    clock.advance(10)
    secrets.key()
    assert measured("pgp_config.secret.version") == [(WHERE, 2)]
    clock.advance(10)
    secrets.key()
    assert measured("pgp_config.secret.version") == [(WHERE, 2)]  # confirmed: said again


def test_calls_are_a_histogram_of_their_seconds(make, source, clock, observer, measured):
    source.add("KEY", f"{CANARY}-1")
    answer = source.fetch

    def slowly(name, version="latest"):
        clock.advance(0.17)
        return answer(name, version)

    source.fetch = slowly
    make(Split2, observers=[observer]).load()
    calls = measured(
        "pgp_config.source.call.duration",
        of=lambda point: (point.count, round(point.sum, 3), tuple(point.explicit_bounds)),
    )
    assert calls == [(WHERE, (1, 0.17, CALL_BUCKETS))]


def test_what_an_alert_asks_for_is_a_boundary_of_the_histogram():
    assert 0.2 in CALL_BUCKETS
    assert list(CALL_BUCKETS) == sorted(set(CALL_BUCKETS))


def test_a_call_that_fails_says_with_which_error(secrets, source, clock, measured):
    source.fail("KEY", SecretForbidden(f"may not be read ({CANARY})", remedy="Grant it."))
    clock.advance(10)
    secrets.key()
    failed = {**WHERE, "error.type": "SecretForbidden"}
    assert (failed, 1) in measured("pgp_config.source.call.duration")
    assert (WHERE, 1) in measured("pgp_config.source.call.duration")
    assert measured("pgp_config.secret.fetch_failures") == [(failed, 1)]
    assert measured("pgp_config.secret.stale_reads") == [(WHERE, 1)]


def test_a_foreign_error_of_a_source_gives_its_type_and_no_text(secrets, source, clock, measured):
    source.fail("KEY", KeyError(CANARY))
    clock.advance(10)
    secrets.key()
    calls = measured("pgp_config.source.call.duration")
    assert ({**WHERE, "error.type": "KeyError"}, 1) in calls
    failures = measured("pgp_config.secret.fetch_failures")
    assert failures == [({**WHERE, "error.type": "SecretUnavailable"}, 1)]


def test_reloads_are_counted_from_zero_and_without_a_version(secrets, source, clock, measured):
    assert measured("pgp_config.secret.reloads") == [(WHERE, 0)]
    for number in (2, 3):
        source.add("KEY", f"{CANARY}-{number}")
        clock.advance(10)
        secrets.key()
    assert measured("pgp_config.secret.reloads") == [(WHERE, 2)]


def test_versions_that_may_not_be_served_are_counted(secrets, source, clock, measured):
    assert measured("pgp_config.secret.rejected_versions") == [(WHERE, 0)]
    source.add("KEY", b"\xff\xfe")
    clock.advance(10)
    secrets.key()
    assert measured("pgp_config.secret.rejected_versions") == [(WHERE, 1)]


@pytest.mark.parametrize("read", ["call", "load"])
def test_a_static_secret_read_in_a_scope_is_counted(make, source, observer, measured, read):
    source.add("WALLET_PRIVATE_KEY", CANARY)
    secrets = make(Hostpay3, observers=[observer])
    read = secrets.wallet_private_key if read == "call" else secrets.load
    with request_scope(), pytest.raises(StaticSecretInScope):
        read()
    where = {"pgp_config.container": "Hostpay3", "pgp_config.secret": "WALLET_PRIVATE_KEY"}
    assert measured("pgp_config.secret.refused_static_reads") == [(where, 1)]
    assert source.calls == []


def outcomes(points):
    return {where["pgp_config.read.outcome"]: count for where, count in points}


READS, COALESCED = "pgp_config.secret.reads", "pgp_config.secret.coalesced_reads"


def test_warm_reads_are_no_events_and_are_not_counted(make, source, events, observer, measured):
    source.add("KEY", f"{CANARY}-1")
    secrets = make(Split2, observers=[events, observer])
    secrets.load()
    events.clear()
    for _ in range(10):
        with request_scope():
            assert secrets.key() is secrets.key() is secrets.key()
    assert events == []
    assert outcomes(measured(READS)) == {"fresh": 10, "waited": 1, "stale": 0, "failed": 0}
    assert {"pgp_config.read.outcome", *WHERE} == set(measured(READS)[0][0])


def test_each_read_has_one_outcome(make, source, clock, observer, measured):
    source.add("KEY", f"{CANARY}-1")
    secrets = make(Split2, observers=[observer], freshness=Freshness(max_age=5, max_stale=60))
    secrets.key()  # waited
    secrets.key()  # fresh: outside of scopes each is a first read
    with request_scope():
        secrets.key()  # fresh
        secrets.key.refresh()  # waited
    source.fail("KEY", SecretUnavailable("is down", remedy="Wait."))
    clock.advance(10)
    secrets.key()  # stale, after a fetch that failed
    secrets.key()  # stale, at once
    clock.advance(60)
    for _ in range(2):
        with pytest.raises(SecretUnavailable):
            secrets.key()  # failed
    assert outcomes(measured(READS)) == {"fresh": 2, "waited": 2, "stale": 2, "failed": 2}
    assert measured("pgp_config.secret.stale_reads") == [(WHERE, 2)]
    assert measured(COALESCED) == [(WHERE, 0)]


def test_a_secret_that_never_was_there_fails_each_read(make, observer, measured):
    secrets = make(Split2, observers=[observer])
    for _ in range(2):
        with pytest.raises(SecretNotFound):
            secrets.key()
    assert outcomes(measured(READS))["failed"] == 2


def test_reads_that_wait_for_the_fetch_of_another_are_coalesced(make, source, observer, measured):
    source.add("KEY", f"{CANARY}-1")
    secrets = make(Split2, observers=[observer])
    hold = source.hold("KEY")
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(secrets.key)
        hold.entered.wait(30)
        others = [pool.submit(secrets.key) for _ in range(2)]
        while int(observer._reads["Split2", "KEY"][0].coalesced) < 2:
            pass
        hold.release()
    assert first.result() is others[0].result() is others[1].result()
    assert measured(COALESCED) == [(WHERE, 2)]
    assert outcomes(measured(READS))["waited"] == 3


def test_the_age_is_that_of_the_moment_of_collection(secrets, clock, measured):
    assert measured("pgp_config.secret.age") == [(WHERE, 0)]
    clock.advance(3)
    assert measured("pgp_config.secret.age") == [(WHERE, 3)]
    clock.advance(3)
    secrets.key()
    assert measured("pgp_config.secret.age") == [(WHERE, 0)]


def test_static_secrets_have_a_version_and_neither_an_age_nor_reads(
    make, source, observer, measured
):
    source.add("WALLET_PRIVATE_KEY", CANARY)
    make(Hostpay3, observers=[observer]).load()
    ((_, version),) = measured("pgp_config.secret.version")
    assert version == 1
    assert measured("pgp_config.secret.age") == measured(READS) == []


def test_two_containers_of_a_class_are_shown_as_one_at_its_worst(
    make, source, clock, observer, measured
):
    source.add("KEY", f"{CANARY}-1")
    first, second = (make(Split2, observers=[observer]) for _ in range(2))
    first.key()
    clock.advance(3)
    source.add("KEY", f"{CANARY}-2")
    second.key()
    assert measured("pgp_config.secret.version") == [(WHERE, 1)]
    assert measured("pgp_config.secret.age") == [(WHERE, 3)]
    assert outcomes(measured(READS))["waited"] == 2
    first.close()
    del first
    assert measured("pgp_config.secret.version") == [(WHERE, 2)]
    assert outcomes(measured(READS))["waited"] == 2  # a counter does not go down


def test_what_nobody_holds_any_more_is_not_shown(source, observer, measured):
    source.add("KEY", f"{CANARY}-1")
    secrets = Split2(source=source, observers=[observer])
    secrets.load()
    secrets.close()
    del secrets
    gc.collect()
    assert measured("pgp_config.secret.version") == []
    assert outcomes(measured(READS))["waited"] == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_counts_its_own_reads(make, source, events):
    source.add("KEY", f"{CANARY}-1")
    secrets = make(Split2, observers=[events])
    secrets.load()
    cache = secrets.key._cache
    child = os.fork()
    if child == 0:
        (row,) = cache.figures()
        os._exit(sum(row.reads.by_outcome().values()))
    assert os.waitpid(child, 0)[1] == 0
    (row,) = cache.figures()
    assert (repr(row.reads.waited), row.version) == ("<Tally 1>", 1)


def test_the_oldest_version_in_use_is_a_gauge_with_who_uses_it(observer, measured):
    observer(TakenUp("Split2", "KEY", "split2", "host-1", 8, (7, 8)))
    observer(TakenUp("Split2", "OTHER", "split2", "host-1", None, ()))
    who = {"pgp_config.service": "split2", "pgp_config.instance": "host-1"}
    assert measured("pgp_config.secret.oldest_version_in_use") == [({**WHERE, **who}, 7)]


def test_events_of_other_kinds_are_not_measured(observer, reader):
    observer(Announced("Split2", "KEY", 8, "SECRET_VERSION_ADD"))
    assert reader.get_metrics_data() is None


def test_names_and_units_follow_the_semantic_conventions(secrets, source, clock, reader):
    source.fail("KEY", SecretUnavailable("is down", remedy="Wait."))
    clock.advance(10)
    secrets.key()
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    for metric in scope.metrics:
        assert re.fullmatch(r"pgp_config(\.[a-z]+(_[a-z]+)*)+", metric.name)
        assert not metric.name.endswith(("_total", "_count", "_seconds"))
        assert re.fullmatch(r"s|\{[a-z]+\}", metric.unit)
        assert metric.description.endswith(".")


def test_prometheus_scrapes_the_names_that_dashboards_use(make, source):
    registered = PrometheusMetricReader()
    provider = MeterProvider([registered])
    source.add("KEY", f"{CANARY}-1")
    secrets = make(Split2, observers=[OpenTelemetryObserver(provider.get_meter("pgp_config"))])
    secrets.key()
    scraped = generate_latest(REGISTRY).decode()
    provider.shutdown()
    where = 'otel_scope_name="pgp_config",otel_scope_schema_url="",otel_scope_version=""'
    assert CANARY not in scraped
    for line in (
        'pgp_config_secret_reads_total{..,pgp_config_read_outcome="waited",pgp_config_secret="KEY"} 1.0',
        'pgp_config_secret_coalesced_reads_total{..,pgp_config_secret="KEY"} 0.0',
        'pgp_config_secret_version{..,pgp_config_secret="KEY"} 1.0',
        'pgp_config_secret_age_seconds{..,pgp_config_secret="KEY"} 0.0',
        'pgp_config_source_call_duration_seconds_count{..,pgp_config_secret="KEY"} 1.0',
    ):
        whole = line.replace("..", f'{where},pgp_config_container="Split2"')
        assert whole in scraped.splitlines()


def test_an_observer_that_cannot_take_a_container_disturbs_nobody(make, source, caplog):
    class Broken:
        def __call__(self, event):
            pass

        def watch_figures(self, secrets):
            raise RuntimeError

    source.add("KEY", f"{CANARY}-1")
    make(Split2, observers=[Broken()]).load()
    assert "Broken failed" in caplog.text


def test_without_a_meter_it_takes_the_global_one():
    observer = OpenTelemetryObserver()
    observer(FetchFailed("Split2", "KEY", ERROR, 1.0))
    observer(VersionRejected("Split2", "KEY", 8, ERROR))
