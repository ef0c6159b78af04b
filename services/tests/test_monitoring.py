"""Dashboard, alerts and log-based metrics name only what the library really emits, and Google's tools take them."""

import json
import logging
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum

from pgp_config import (
    LoggingObserver,
    Memory,
    SecretUnavailable,
    StaticSecretInScope,
    request_scope,
)
from pgp_config.observers.otel import OpenTelemetryObserver
from pgp_services.catalogue import CATALOGUE
from pgp_services.fleet import LOG_FORMAT
from pgp_services.names import Service
from pgp_services.ops import monitoring
from pgp_services.ops.monitoring import prometheus_label, prometheus_name
from pgp_services.split2.container import Split2

ROOT = Path(__file__).parents[2]

#: What the monitored resource of Managed Prometheus, or a histogram, brings.
GOOGLES_LABELS = {"job", "le"}

#: Metrics of Google's own, and of `log_metrics()`: by their labels.
OTHERS = {
    "logging_googleapis_com:user_pgp_static_secret_reads": {"service_name", "secret"},
    "logging_googleapis_com:user_pgp_static_secret_refused": {"service_name", "secret"},
    "run_googleapis_com:container_startup_latencies_count": {"service_name"},
    "run_googleapis_com:request_count": {"service_name", "response_code_class"},
}


class Faulty:
    """A source in memory that can be made to fail."""

    def __init__(self, values):
        self.memory = Memory(values)
        self.down = False

    def fetch(self, name, version="latest"):
        if self.down:
            raise SecretUnavailable("is down", remedy="Wait.")
        return self.memory.fetch(name, version)


@pytest.fixture
def emitted(values, clock):
    """What a container emits in a bad hour: its metrics by Prometheus's names, and the lines of its log."""
    reader, lines = InMemoryMetricReader(), []
    provider = MeterProvider([reader])
    handler = logging.Handler()
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    handler.emit = lambda record: lines.append(handler.format(record))
    logger = logging.getLogger("pgp_config")
    logger.addHandler(handler)
    observers = [LoggingObserver(), OpenTelemetryObserver(provider.get_meter("pgp_config"))]
    source = Faulty(values)
    secrets, unloaded = (Split2(source=source, clock=clock, observers=observers) for _ in range(2))
    try:
        with request_scope(), pytest.raises(StaticSecretInScope):
            unloaded.success_url_signing_key()
        secrets.load()
        for value in ("DEBUG", "nonsense"):  # a rotation, and a version that may not be served
            source.memory.add("LOG_LEVEL", value)
            clock.now += 10
            secrets.log_level()
        source.down = True
        clock.now += 10
        secrets.log_level()
        metrics = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    finally:
        logger.removeHandler(handler)
        secrets.close()
        unloaded.close()
        provider.shutdown()
    return dict(named(metric) for metric in metrics), lines


def named(metric):
    kind = {Histogram: "histogram", Sum: "counter"}.get(type(metric.data), "gauge")
    labels = {
        prometheus_label(key) for point in metric.data.data_points for key in point.attributes
    }
    return prometheus_name(metric.name, metric.unit, kind), labels


def dashboard_queries():
    for tile in monitoring.dashboard()["mosaicLayout"]["tiles"]:
        for data in tile["widget"]["xyChart"]["dataSets"]:
            yield data["timeSeriesQuery"]["prometheusQuery"]


def queries():
    yield from dashboard_queries()
    for policy in monitoring.policies().values():
        for condition in policy["conditions"]:
            yield condition["conditionPrometheusQueryLanguage"]["query"]
    for trigger in monitoring.rollback_triggers()["triggers"]:
        yield trigger["query"]


def names_in(query):
    return {
        re.sub(r"(?<=_seconds)_(bucket|count|sum)$", "", name)
        for name in re.findall(
            r"\b(?:pgp_config_(?:source|secret)_|\w+_googleapis_com:)\w+", query
        )
    }


def labels_in(query):
    grouped = re.findall(r"\b(?:by|on) \(([\w, ]+)\)", query)
    matched = re.findall(r"(\w+)=~?\"", query)
    return {label for group in grouped for label in group.split(", ")} | set(matched)


def test_the_committed_files_are_those_of_the_catalogue():
    folder = ROOT / monitoring.FOLDER
    found = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    assert found == monitoring.files()


def test_every_metric_and_label_of_a_query_is_really_emitted(emitted):
    metrics, _ = emitted
    assert set(metrics) >= {"pgp_config_secret_reloads_total", "pgp_config_secret_version"}
    for query in queries():
        names = names_in(query)
        assert names, query
        for name in names:
            known = metrics | OTHERS
            assert name in known, f"{name} is emitted by nobody: {query}"
        labels = set().union(*(known[name] for name in names)) | GOOGLES_LABELS
        assert labels_in(query) - {"monitored_resource"} <= labels, query


def test_every_metric_of_the_observer_is_of_use_or_documented(emitted):
    text = (ROOT / monitoring.FOLDER / "README.md").read_text()
    for name in emitted[0]:
        assert f"`{name}`" in text


def test_the_line_of_a_refused_read_is_what_its_metric_looks_for(emitted):
    _, lines = emitted
    wanted = monitoring.log_metrics()[monitoring.REFUSED_METRIC]
    (text,) = re.findall(r'^textPayload:"(.+)"$', wanted["filter"], re.MULTILINE)
    (line,) = [line for line in lines if text in line]
    assert extracted(wanted, "secret", line) == "SUCCESS_URL_SIGNING_KEY"


def extracted(metric, label, text):
    (pattern,) = re.findall(
        r'^REGEXP_EXTRACT\([\w.]+, "(.+)"\)$', metric["labelExtractors"][label]
    )
    return re.search(pattern, text)[1]


def audit_entry(secret, principal):
    """As Google documents them: an AuditLog of a data access."""
    return {
        "protoPayload.resourceName": f"projects/1234/secrets/{secret}/versions/7",
        "protoPayload.authenticationInfo.principalEmail": principal,
    }


def counts(metric, entry):
    conditions = re.findall(r'^([\w.]+)=~"(.+)"$', metric["filter"], re.MULTILINE)
    assert {field for field, _ in conditions} == set(entry)
    return all(re.search(pattern, entry[field]) for field, pattern in conditions)


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=lambda row: row.name)
def test_the_audit_metric_counts_static_secrets_only(row):
    metric = monitoring.log_metrics()[monitoring.READS_METRIC]
    entry = audit_entry(row.name, "pgp-split2-v1@pgp-live.iam.gserviceaccount.com")
    assert counts(metric, entry) == (row.reload_class == "static")


@pytest.mark.parametrize("service", Service)
def test_the_audit_metric_counts_every_account_of_the_fleet(service):
    metric = monitoring.log_metrics()[monitoring.READS_METRIC]
    account = f"{service.lower().replace('_', '-')}@pgp-live.iam.gserviceaccount.com"
    entry = audit_entry("HOST_WALLET_PRIVATE_KEY", account)
    assert counts(metric, entry)
    assert extracted(metric, "secret", entry["protoPayload.resourceName"]) == (
        "HOST_WALLET_PRIVATE_KEY"
    )
    assert f"{extracted(metric, 'service_name', account)}@" in account


def test_the_audit_metric_leaves_people_alone():
    metric = monitoring.log_metrics()[monitoring.READS_METRIC]
    assert not counts(metric, audit_entry("JWT_SECRET_KEY", "ops@example.com"))


def test_there_are_eleven_static_secrets():
    assert len(monitoring.static_names()) == 11


def test_the_four_panels_and_the_four_alerts():
    panels = monitoring.dashboard()["mosaicLayout"]["tiles"]
    titles = [panel["widget"]["title"] for panel in panels]
    assert [title.split()[0].strip(",") for title in titles] == [
        "Calls",
        "Failed",
        "Seconds",
        "Reloads",
    ]
    legends = [s["legendTemplate"] for s in panels[2]["widget"]["xyChart"]["dataSets"]]
    assert legends == ["p50", "p95", "p99"]
    policies = monitoring.policies()
    assert set(policies) == {"calls", "errors", "latency", "static-read"}
    limits = {"calls": "> 1000", "errors": "> 10", "latency": "> 0.2", "static-read": "> 0"}
    for name, limit in limits.items():
        query = policies[name]["conditions"][0]["conditionPrometheusQueryLanguage"]["query"]
        assert query.endswith(limit)
    critical = [name for name, policy in policies.items() if policy["severity"] == "CRITICAL"]
    assert critical == ["static-read"]


def test_every_alert_and_every_trigger_names_a_runbook_that_exists():
    texts = [policy["documentation"]["content"] for policy in monitoring.policies().values()]
    named = [re.search(r"docs/runbooks/[\w-]+\.md", text)[0] for text in texts]
    named += [trigger["runbook"] for trigger in monitoring.rollback_triggers()["triggers"]]
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_five_triggers_each_with_what_to_do():
    triggers = monitoring.rollback_triggers()["triggers"]
    assert len(triggers) == 5
    fields = {"name", "query", "above", "for", "action", "runbook"}
    assert all(set(trigger) == fields for trigger in triggers)
    assert {trigger["action"].split()[0] for trigger in triggers} == {"gcloud", "pgp-config"}


def test_the_collector_is_wired_from_what_it_defines():
    config = yaml.safe_load(monitoring.files()[f"{monitoring.FOLDER}/collector.yaml"])
    for pipeline in config["service"]["pipelines"].values():
        for part, names in pipeline.items():
            assert set(names) <= set(config[part])
    assert set(config["service"]["extensions"]) <= set(config["extensions"])


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        (
            "pgp_config.source.call.duration",
            "s",
            "histogram",
            "pgp_config_source_call_duration_seconds",
        ),
        ("pgp_config.secret.reloads", "{reload}", "counter", "pgp_config_secret_reloads_total"),
        ("pgp_config.secret.version", "{version}", "gauge", "pgp_config_secret_version"),
    ],
)
def test_names_are_made_as_the_collector_makes_them(name, unit, kind, expected):
    assert prometheus_name(name, unit, kind) == expected


# -- Google's own tool -------------------------------------------------------------------------


class _Recorder(BaseHTTPRequestHandler):
    """Answers as Google does, with what it was given, and keeps it."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((self.path.partition("?")[0], json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def google():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
    server.told = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def gcloud(google, tmp_path):
    program = shutil.which("gcloud")
    if program is None and "CI" not in os.environ:
        pytest.skip("the Google Cloud CLI (gcloud) is not installed")
    assert program, "CI has to have the Google Cloud CLI: it knows Google's schema"
    url = f"http://127.0.0.1:{google.server_port}/"
    environ = {
        **os.environ,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING": url,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": url,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": "pgp-live",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "NO_PROXY": "127.0.0.1",
    }

    def run(*arguments):
        subprocess.run(
            [program, *arguments],
            env=environ,
            cwd=ROOT / monitoring.FOLDER,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    return run


def test_gcloud_takes_every_file_whole(gcloud, google):
    """It decodes a file into Google's messages: what it knows no field for would not arrive."""
    expected = [("/v1/projects/pgp-live/dashboards", monitoring.dashboard())]
    gcloud("monitoring", "dashboards", "create", "--config-from-file=dashboard.json")
    for name, policy in monitoring.policies().items():
        gcloud(
            "alpha", "monitoring", "policies", "create", f"--policy-from-file=policies/{name}.json"
        )
        expected.append(("/v3/projects/pgp-live/alertPolicies", policy))
    for name, metric in monitoring.log_metrics().items():
        gcloud("logging", "metrics", "create", name, f"--config-from-file=log-metrics/{name}.json")
        expected.append(("/v2/projects/pgp-live/metrics", metric))
    assert google.told == expected


# -- Prometheus's own judgement of the alerts --------------------------------------------------

JOB = {"job": "PGP_SPLIT2_v1"}
READ = {"service_name": "pgp-split2-v1", "secret": "JWT_SECRET_KEY"}
CALLS = 'pgp_config_source_call_duration_seconds_count{{job="PGP_SPLIT2_v1",instance="{}"}}'
BUCKET = 'pgp_config_source_call_duration_seconds_bucket{{job="PGP_SPLIT2_v1",le="{}"}}'
FAILURES = 'pgp_config_secret_fetch_failures_total{{job="PGP_SPLIT2_v1",error_type="{}"}}'
_OF = 'service_name="pgp-split2-v1",secret="JWT_SECRET_KEY"'
REFUSED = f'logging_googleapis_com:user_pgp_static_secret_refused{{monitored_resource="cloud_run_revision",{_OF}}}'
READS = f'logging_googleapis_com:user_pgp_static_secret_reads{{monitored_resource="audited_resource",{_OF}}}'
STARTS = (
    'run_googleapis_com:container_startup_latencies_count{{monitored_resource="cloud_run_revision",'
    'service_name="{}"}}'
)

_JOB = '{job="PGP_SPLIT2_v1"}'
ANSWERS = (
    'run_googleapis_com:request_count{{monitored_resource="cloud_run_revision",'
    'service_name="pgp-split2-v1",response_code_class="{}"}}'
)
REJECTED = f'pgp_config_secret_rejected_versions_total{{pgp_config_secret="LOG_LEVEL",{_JOB[1:]}'
RELOADS = f'pgp_config_secret_reloads_total{{pgp_config_secret="LOG_LEVEL",{_JOB[1:]}'
REFUSED_READS = f"pgp_config_secret_refused_static_reads_total{_JOB}"
#: Calls that took from nothing to a second, evenly.
SECONDS = {BUCKET.format("1"): "0+100x30", BUCKET.format("+Inf"): "0+100x30"}

#: The series of 30 minutes, the alert and its condition, and the labels with which it fires after 20 minutes.
HOURS = {
    "999 calls a minute": ({CALLS.format("a"): "0+999x30"}, "calls-0", None),
    "1,200 calls of two processes": (
        {CALLS.format("a"): "0+600x30", CALLS.format("b"): "0+600x30"},
        "calls-0",
        JOB,
    ),
    "6 failures": ({FAILURES.format("SourceTimeout"): "0+6x30"}, "errors-0", None),
    "12 failures of two kinds": (
        {
            FAILURES.format("SourceTimeout"): "0+6x30",
            FAILURES.format("SecretForbidden"): "0+6x30",
        },
        "errors-0",
        JOB,
    ),
    "96 of 100 within 200 ms": (
        {BUCKET.format("0.2"): "0+96x30", BUCKET.format("+Inf"): "0+100x30"},
        "latency-0",
        None,
    ),
    "94 of 100 within 200 ms": (
        {
            BUCKET.format("0.2"): "0+94x30",
            BUCKET.format("0.3"): "0+100x30",
            BUCKET.format("+Inf"): "0+100x30",
        },
        "latency-0",
        JOB,
    ),
    "nothing refused": ({REFUSED: "0x30"}, "static-read-0", None),
    "one read refused": ({REFUSED: "0x18 1x12"}, "static-read-0", READ),
    "a read, and nothing started": ({READS: "0x18 1x12"}, "static-read-1", READ),
    "a read, and a start a minute before": (
        {READS: "0x18 1x12", STARTS.format("pgp-split2-v1"): "0x17 1x13"},
        "static-read-1",
        None,
    ),
    "a read, and another service's start": (
        {READS: "0x18 1x12", STARTS.format("pgp-split1-v1"): "0x17 1x13"},
        "static-read-1",
        READ,
    ),
    "a read long after the start": (
        {READS: "0x18 1x12", STARTS.format("pgp-split2-v1"): "0x1 1x29"},
        "static-read-1",
        READ,
    ),
    "a trigger: 6 failures": ({FAILURES.format("SourceTimeout"): "0+6x30"}, "trigger-0", None),
    "a trigger: 12 failures": ({FAILURES.format("SourceTimeout"): "0+12x30"}, "trigger-0", JOB),
    "a trigger: 12 failures for 3 minutes": (
        {FAILURES.format("SourceTimeout"): "0x17 12+12x12"},
        "trigger-0",
        None,
    ),
    "a trigger: 96 of 100 within 200 ms": (
        {BUCKET.format("0.2"): "0+96x30", BUCKET.format("+Inf"): "0+100x30"},
        "trigger-1",
        None,
    ),
    "a trigger: 94 of 100 within 200 ms": (
        {
            BUCKET.format("0.2"): "0+94x30",
            BUCKET.format("0.3"): "0+100x30",
            BUCKET.format("+Inf"): "0+100x30",
        },
        "trigger-1",
        JOB,
    ),
    "a trigger: every answer good": ({ANSWERS.format("2xx"): "0+100x30"}, "trigger-2", None),
    "a trigger: 1 of 200 answers bad": (
        {ANSWERS.format("2xx"): "0+199x30", ANSWERS.format("5xx"): "0+1x30"},
        "trigger-2",
        None,
    ),
    "a trigger: 2 of 100 answers bad": (
        {ANSWERS.format("2xx"): "0+98x30", ANSWERS.format("5xx"): "0+2x30"},
        "trigger-2",
        {"service_name": "pgp-split2-v1"},
    ),
    "a trigger: a version rejected an hour ago": ({REJECTED: "1x30"}, "trigger-3", None),
    "a trigger: a version rejected": (
        {REJECTED: "1x18 2x12"},
        "trigger-3",
        {"pgp_config_secret": "LOG_LEVEL"},
    ),
    "a trigger: no static read refused": ({REFUSED_READS: "0x30"}, "trigger-4", None),
    "a trigger: a static read refused, the first of its process": (
        {REFUSED_READS: "_x18 1x12"},
        "trigger-4",
        JOB,
    ),
}

#: The dashboard's queries after 20 such minutes, in the order of the panels, each with its one sample.
PANELS = [
    ({CALLS.format("a"): "0+600x30", CALLS.format("b"): "0+300x30"}, _JOB, 900),
    (
        {FAILURES.format("SourceTimeout"): "0+6x30"},
        '{error_type="SourceTimeout", job="PGP_SPLIT2_v1"}',
        6,
    ),
    (SECONDS, "{}", 0.5),
    (SECONDS, "{}", 0.95),
    (SECONDS, "{}", 0.99),
    (
        {RELOADS: "1x18 2x12"},
        '{job="PGP_SPLIT2_v1", pgp_config_secret="LOG_LEVEL"}',
        1,
    ),
]


def rules():
    """The alerts' conditions, and the triggers as one would have Prometheus look at them."""
    for name, policy in monitoring.policies().items():
        for number, condition in enumerate(policy["conditions"]):
            rule = condition["conditionPrometheusQueryLanguage"]
            yield {"alert": f"{name}-{number}", "expr": rule["query"], "for": rule["duration"]}
    for number, trigger in enumerate(monitoring.rollback_triggers()["triggers"]):
        above = f"({trigger['query']}) > {trigger['above']}"
        yield {"alert": f"trigger-{number}", "expr": above, "for": trigger["for"]}


def minutes(series):
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": given}


def expectation(series, alert, labels):
    return {
        **minutes(series),
        "alert_rule_test": [
            {
                "eval_time": "20m",
                "alertname": alert,
                "exp_alerts": [] if labels is None else [{"exp_labels": labels}],
            }
        ],
    }


def drawn(query, series, labels, value):
    # Rounded, for a quantile is a fraction of seconds.
    sample = {"labels": labels, "value": value}
    asked = {"expr": f"round({query}, 0.001)", "eval_time": "20m", "exp_samples": [sample]}
    return {**minutes(series), "promql_expr_test": [asked]}


@pytest.fixture
def promtool(tmp_path):
    """Runs unit tests of the rules; what is wrong with them, nothing if they pass."""
    program = shutil.which("promtool")
    if program is None and "CI" not in os.environ:
        pytest.skip("promtool is not on this machine: scripts/packages installs it")
    assert program, "CI has to have promtool: scripts/packages installs it"
    groups = {"groups": [{"name": "pgp", "interval": "1m", "rules": list(rules())}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))

    def run(tests):
        given = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
        (tmp_path / "tests.yaml").write_text(yaml.safe_dump(given))
        ran = subprocess.run(
            [program, "test", "rules", "tests.yaml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return "" if ran.returncode == 0 else ran.stdout + ran.stderr

    return run


def test_prometheus_fires_where_it_should(promtool):
    assert {alert for _, alert, _ in HOURS.values()} == {rule["alert"] for rule in rules()}
    assert promtool([expectation(*hour) for hour in HOURS.values()]) == ""


def test_prometheus_draws_every_panel(promtool):
    shown = list(dashboard_queries())
    assert (
        promtool([drawn(query, *panel) for query, panel in zip(shown, PANELS, strict=True)]) == ""
    )


def test_what_prometheus_does_not_take_is_told(promtool):
    assert "trigger-0" in promtool([expectation({}, "trigger-0", JOB)])
