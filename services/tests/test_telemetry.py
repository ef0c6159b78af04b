"""A service's metrics on their way: to a collector, from each process, with nothing of a secret."""

import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    Memory,
    SecretContainer,
    default_observers,
)
from pgp_config.events import Reloaded
from pgp_services import registry, telemetry
from pgp_services.names import Service

CANARY = "canary-2b9d"
RELOADS = "pgp_config.secret.reloads"


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent: of each process, the resource's attributes and its metrics."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.bodies = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def processes(self):
        found = {}
        for body in self.bodies:
            for part in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                who = {a.key: a.value.string_value for a in part.resource.attributes}
                metrics = {m.name: m for scope in part.scope_metrics for m in scope.metrics}
                found[who["service.instance.id"]] = (who, metrics)
        return list(found.values())


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportMetricsServiceResponse().SerializeToString())

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def metrics(monkeypatch, collector):
    monkeypatch.setenv(telemetry.ENDPOINT_VARIABLE, collector.url)
    (made,) = telemetry.observers("PGP_SPLIT2_v1")
    yield made
    made.shutdown()


def reloads_of(metrics):
    return [(p.as_int) for p in metrics[RELOADS].sum.data_points]


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_nothing_is_imported(value):
    environ = {k: v for k, v in os.environ.items() if k != telemetry.ENDPOINT_VARIABLE}
    environ |= {} if value is None else {telemetry.ENDPOINT_VARIABLE: value}
    environ |= {"PGP_CONFIG_SOURCE": "env:"}
    program = """
        import sys
        from pgp_services.split2.container import Split2
        Split2.deployed().close()
        ours = ("opentelemetry.sdk", "opentelemetry.exporter", "pgp_config.observers.otel")
        print([name for name in sys.modules if name.startswith(ours)])
    """
    done = run(program, environ)
    assert done.stdout == "[]\n", done.stderr


def run(program, environ):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_without_the_packages_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setenv(telemetry.ENDPOINT_VARIABLE, "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "pgp_services.otlp", None)
    with pytest.raises(DeclarationError, match=r"pip install 'pgp-services\[metrics\]'"):
        telemetry.observers("PGP_SPLIT2_v1")


def test_the_container_of_a_deployed_service_is_measured_and_logged(monkeypatch, collector):
    monkeypatch.setenv(telemetry.ENDPOINT_VARIABLE, collector.url)
    monkeypatch.setenv("PGP_CONFIG_SOURCE", "env:")
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    secrets = registry.deployed(Service.SPLIT2)
    *logging, metrics = secrets.log_level._cache._observers
    assert logging == default_observers
    secrets.log_level()
    secrets.close()
    metrics.shutdown()
    ((who, measured),) = collector.processes
    assert who["service.name"] == "PGP_SPLIT2_v1"
    (calls,) = measured["pgp_config.source.call.duration"].histogram.data_points
    assert calls.count == 1


def test_what_is_left_is_sent_when_it_is_shut_down(metrics, collector):
    metrics(Reloaded("Split2", "KEY", 7, 8))
    metrics(Reloaded("Split2", "KEY", 8, 9))
    metrics.shutdown()
    metrics.shutdown()
    ((_, measured),) = collector.processes
    assert reloads_of(measured) == [2]


def test_containers_are_measured_whenever_they_are_made(metrics, collector):
    made = [Container(source=Memory({"KEY": CANARY}), observers=[metrics]) for _ in range(2)]
    made[0].key()
    made.append(Container(source=Memory({"KEY": CANARY}), observers=[metrics]))
    for secrets in made:
        secrets.key()
    metrics.shutdown()
    for secrets in made:
        secrets.close()
    ((_, measured),) = collector.processes
    points = measured["pgp_config.secret.reads"].sum.data_points
    counts = {point.attributes[2].value.string_value: point.as_int for point in points}
    assert counts == {"fresh": 1, "waited": 3, "stale": 0, "failed": 0}


class Container(SecretContainer):
    key = DynamicSecret("KEY")


def test_the_sdk_is_set_up_once(metrics):
    assert metrics._set_up() is metrics._set_up()


def test_an_exporter_is_silent_in_a_forked_child(metrics, monkeypatch, collector):
    metrics(Reloaded("Split2", "KEY", 7, 8))
    parent = os.getpid()
    monkeypatch.setattr("os.getpid", lambda: parent + 1)
    metrics.shutdown()
    assert collector.bodies == []


def test_a_process_with_a_child_gives_each_its_own_figures(collector):
    environ = {
        **os.environ,
        telemetry.ENDPOINT_VARIABLE: collector.url,
        "PGP_CONFIG_SOURCE": "env:",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=split2-00042",
        "CANARY": CANARY,
    }
    program = """
        import os, sys
        from pgp_config.events import Reloaded
        from pgp_services import telemetry
        (metrics,) = telemetry.observers("PGP_SPLIT2_v1")
        metrics(Reloaded("Split2", "KEY", 7, 8))
        child = os.fork()
        metrics(Reloaded("Split2", "KEY", 8, 9))
        if child:
            metrics(Reloaded("Split2", "KEY", 9, 10))
            os.waitpid(child, 0)
        sys.exit(0)
    """
    run(program, environ)
    processes = collector.processes
    assert sorted(reloads_of(measured) for _, measured in processes) == [[1], [3]]
    assert {who["service.name"] for who, _ in processes} == {"PGP_SPLIT2_v1"}
    assert {who["service.version"] for who, _ in processes} == {"split2-00042"}
    assert CANARY.encode() not in b"".join(collector.bodies)


def test_a_collector_that_does_not_answer_disturbs_nobody(monkeypatch, caplog):
    monkeypatch.setenv(telemetry.ENDPOINT_VARIABLE, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    (metrics,) = telemetry.observers("PGP_SPLIT2_v1")
    metrics(Reloaded("Split2", "KEY", 7, 8))
    metrics.shutdown()
    assert "Reloaded" not in caplog.text
