"""The files of `deploy/monitoring/`: dashboard, alert policies, log-based metrics, collector, rollback triggers.

Metrics come from pgp-config's `OpenTelemetryObserver` through a collector's `googlemanagedprometheus` exporter, so all
queries are PromQL, and names are Prometheus's (`prometheus_name`). `job` is a service's name in the fleet's lists.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from pgp_config.observers.logs import STATIC_REFUSED
from pgp_services.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where the files are, from the repository's root.
FOLDER = "deploy/monitoring"

#: Where the runbooks are, likewise; a policy's text names one.
RUNBOOKS = "docs/runbooks"

#: Calls that a service may make a minute, failures that it may have, and seconds for 95 calls of 100.
MAX_CALLS, MAX_FAILURES, MAX_SECONDS = 1000, 10, 0.2

#: The window that a rate is taken over: five of the SDK's exports.
WINDOW = "5m"

#: Minutes in which a read of a static secret has an instance's start to explain it: the audit log and the
#: metric of starts come with a delay.
START_WINDOW = "15m"

_CALLS = f"sum by (job) (60 * rate(pgp_config_source_call_duration_seconds_count[{WINDOW}]))"
_FAILURES = "sum by ({by}) (60 * rate(pgp_config_secret_fetch_failures_total[{window}]))"
_SECONDS = (
    "histogram_quantile({share}, sum by ({by}) "
    "(rate(pgp_config_source_call_duration_seconds_bucket[{window}])))"
)
_RELOADS = f"sum by (pgp_config_secret, job) (increase(pgp_config_secret_reloads_total[{WINDOW}]))"

#: Names of log-based metrics in Cloud Logging.
READS_METRIC, REFUSED_METRIC = "pgp-static-secret-reads", "pgp-static-secret-refused"


def prometheus_name(name: str, unit: str, kind: str) -> str:
    """What the collector's `googlemanagedprometheus` exporter makes of a metric's name.

    It follows OpenTelemetry's specification (Prometheus and OpenMetrics compatibility): what is no letter or
    digit becomes an underscore, then the unit, written out, and `_total` for a counter. Units in braces are no
    units. In Cloud Monitoring the type is `prometheus.googleapis.com/NAME/KIND`.

    Args:
        name: OpenTelemetry's, such as `pgp_config.source.call.duration`.
        unit: `s`, or words in braces.
        kind: `counter`, `gauge` or `histogram`.
    """
    parts = [re.sub(r"[^A-Za-z0-9_]", "_", name)]
    if unit == "s":
        parts.append("seconds")
    if kind == "counter":
        parts.append("total")
    return "_".join(parts)


def prometheus_label(attribute: str) -> str:
    """What it makes of an attribute's name: `error_type` of `error.type`."""
    return re.sub(r"[^A-Za-z0-9_]", "_", attribute)


def static_names() -> list[str]:
    """The static secrets, by name."""
    return sorted(row.name for row in CATALOGUE.values() if row.reload_class == "static")


# -- the dashboard -----------------------------------------------------------------------------


def dashboard() -> dict[str, Any]:
    """The four panels; for `gcloud monitoring dashboards create --config-from-file`."""
    quantiles = {
        f"p{round(share * 100)}": _SECONDS.format(share=share, by="le", window=WINDOW)
        for share in (0.5, 0.95, 0.99)
    }
    panels = [
        _panel("Calls to Secret Manager a minute, by service", {"": _CALLS}, threshold=MAX_CALLS),
        _panel(
            "Failed fetches a minute, by service and error",
            {"": _FAILURES.format(by="job, error_type", window=WINDOW)},
            threshold=MAX_FAILURES,
        ),
        _panel("Seconds of a call: p50, p95, p99", quantiles, threshold=MAX_SECONDS),
        _panel("Reloads, by secret and service", {"": _RELOADS}, plot="STACKED_BAR"),
    ]
    tiles = [
        {"xPos": 24 * (n % 2), "yPos": 16 * (n // 2), "width": 24, "height": 16, "widget": panel}
        for n, panel in enumerate(panels)
    ]
    return {
        "displayName": "PGP secrets",
        "mosaicLayout": {"columns": 48, "tiles": tiles},
    }


def _panel(
    title: str,
    queries: Mapping[str, str],
    *,
    plot: str = "LINE",
    threshold: float | None = None,
) -> dict[str, Any]:
    sets = [
        {
            "plotType": plot,
            "targetAxis": "Y1",
            "timeSeriesQuery": {"prometheusQuery": query},
            **({"legendTemplate": legend} if legend else {}),
        }
        for legend, query in queries.items()
    ]
    chart: dict[str, Any] = {"dataSets": sets, "yAxis": {"scale": "LINEAR"}}
    if threshold is not None:
        chart["thresholds"] = [{"value": threshold, "label": "alert", "targetAxis": "Y1"}]
    return {"title": title, "xyChart": chart}


# -- alert policies ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """One condition of a policy: it holds where the query gives anything, for so many seconds."""

    title: str
    query: str
    seconds: int = 0


def policies() -> dict[str, dict[str, Any]]:
    """The four alert policies, by the name of their file; for `gcloud alpha monitoring policies create`."""
    return {
        "calls": _policy(
            f"Secrets: more than {MAX_CALLS} calls a minute",
            [_Rule("Calls a minute, by service", f"{_CALLS} > {MAX_CALLS}", 120)],
            severity="WARNING",
            runbook="rollback",
            text=(
                "A service asks Secret Manager more often than its secrets and processes explain: "
                "Google's quota is 90,000 calls a minute for the whole project."
            ),
        ),
        "errors": _policy(
            f"Secrets: more than {MAX_FAILURES} failed fetches a minute",
            [
                _Rule(
                    "Failed fetches a minute, by service",
                    f"{_FAILURES.format(by='job', window=WINDOW)} > {MAX_FAILURES}",
                    60,
                )
            ],
            severity="ERROR",
            runbook="outage-of-secret-manager",
            text=(
                "Secrets cannot be fetched. The last good versions are served for up to an hour; "
                "after that requests are answered with 503."
            ),
        ),
        "latency": _policy(
            f"Secrets: p95 of calls above {MAX_SECONDS * 1000:.0f} ms",
            [
                _Rule(
                    "p95 of calls, by service",
                    f"{_SECONDS.format(share=0.95, by='job, le', window=WINDOW)} > {MAX_SECONDS}",
                    300,
                )
            ],
            severity="WARNING",
            runbook="outage-of-secret-manager",
            text="Secret Manager answers slowly. Requests do not wait for it, unless it goes on for long.",
        ),
        "static-read": _policy(
            "Secrets: a static secret was read during a request",
            [
                _Rule("Refused by pgp-config, by service", _refused()),
                _Rule("Read while no instance started, by service", _unexplained()),
            ],
            severity="CRITICAL",
            runbook="static-secret-read",
            text=(
                "Private keys, signing keys and database passwords are read when an instance starts, "
                "and never again. Somebody, or some code, has read one at another time."
            ),
        ),
    }


def _refused() -> str:
    metric = "logging_googleapis_com:user_" + REFUSED_METRIC.replace("-", "_")
    by = "service_name, secret"
    return f'sum by ({by}) (increase({metric}{{monitored_resource="cloud_run_revision"}}[5m])) > 0'


def _unexplained() -> str:
    """Reads in the audit log by a service's account, without a start of an instance of that service.

    An audit entry does not say why a secret was read. A read while instances start is not told
    from theirs: `pgp-services ops verify secrets` counts those.
    """
    metric = "logging_googleapis_com:user_" + READS_METRIC.replace("-", "_")
    reads = f'increase({metric}{{monitored_resource="audited_resource"}}[5m])'
    starts = (
        "increase(run_googleapis_com:container_startup_latencies_count"
        f'{{monitored_resource="cloud_run_revision"}}[{START_WINDOW}])'
    )
    return (
        f"sum by (service_name, secret) ({reads}) > 0 "
        f"unless on (service_name) (sum by (service_name) ({starts}) > 0)"
    )


def _policy(
    title: str, rules: list[_Rule], *, severity: str, runbook: str, text: str
) -> dict[str, Any]:
    return {
        "displayName": title,
        "severity": severity,
        "combiner": "OR",
        "enabled": True,
        "userLabels": {"fleet": "pgp", "runbook": runbook},
        "documentation": {
            "mimeType": "text/markdown",
            "subject": title,
            "content": f"{text}\n\nRunbook: `{RUNBOOKS}/{runbook}.md`",
        },
        "conditions": [_condition(rule) for rule in rules],
        "alertStrategy": {"autoClose": "1800s"},
    }


def _condition(rule: _Rule) -> dict[str, Any]:
    return {
        "displayName": rule.title,
        "conditionPrometheusQueryLanguage": {
            "query": rule.query,
            "duration": f"{rule.seconds}s",
            "evaluationInterval": "60s",
            # Else a policy is refused until its metric has been seen once.
            "disableMetricValidation": True,
        },
    }


# -- log-based metrics -------------------------------------------------------------------------


def log_metrics() -> dict[str, dict[str, Any]]:
    """The log-based metrics, by name; for `gcloud logging metrics create --config-from-file`."""
    return {
        READS_METRIC: _log_metric(
            READS_METRIC,
            "Reads of a static secret by an account of the fleet, from the Data Access audit log.",
            [
                'log_id("cloudaudit.googleapis.com/data_access")',
                'resource.type="audited_resource"',
                'protoPayload.serviceName="secretmanager.googleapis.com"',
                # Of the beta API, and of regional secrets, the methods end so too.
                'protoPayload.methodName:"SecretManagerService.AccessSecretVersion"',
                f'protoPayload.resourceName=~"/secrets/({"|".join(static_names())})/versions/"',
                r'protoPayload.authenticationInfo.principalEmail=~"^pgp-[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$"',
            ],
            {
                "secret": _extract("protoPayload.resourceName", "/secrets/([A-Z0-9_]+)/versions/"),
                "service_name": _extract(
                    "protoPayload.authenticationInfo.principalEmail", "^(pgp-[a-z0-9-]+)@"
                ),
            },
        ),
        REFUSED_METRIC: _log_metric(
            REFUSED_METRIC,
            "Reads of a static secret during a request that pgp-config refused, from its log.",
            [
                'resource.type="cloud_run_revision"',
                f'textPayload:"ERROR pgp_config: {STATIC_REFUSED}"',
            ],
            {"secret": _extract("textPayload", f"{STATIC_REFUSED} ([A-Z0-9_]+)")},
        ),
    }


def _extract(field: str, pattern: str) -> str:
    return f'REGEXP_EXTRACT({field}, "{pattern}")'


def _log_metric(
    name: str, description: str, lines: list[str], labels: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "filter": "\n".join(lines),
        "labelExtractors": dict(labels),
        "metricDescriptor": {
            "metricKind": "DELTA",
            "valueType": "INT64",
            "unit": "1",
            "labels": [{"key": label, "valueType": "STRING"} for label in labels],
        },
    }


# -- the collector -----------------------------------------------------------------------------

#: The secret whose latest version is the collector's configuration.
COLLECTOR_SECRET = "otel-collector"  # noqa: S105  a name

#: The ports on which the collector takes OTLP over HTTP, and says that it is there.
COLLECTOR_PORT, COLLECTOR_HEALTH = 4318, 13133


def collector() -> dict[str, Any]:
    """The Google-built OpenTelemetry collector beside each service: OTLP in, Managed Prometheus out."""
    return {
        "receivers": {
            "otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{COLLECTOR_PORT}"}}}
        },
        "processors": {
            "memory_limiter": {
                "check_interval": "1s",
                "limit_percentage": 65,
                "spike_limit_percentage": 20,
            },
            # Project, region and revision, of which the monitored resource is made.
            "resourcedetection": {"detectors": ["env", "gcp"], "timeout": "10s"},
            "batch": {"send_batch_max_size": 200, "send_batch_size": 200, "timeout": "5s"},
        },
        "exporters": {"googlemanagedprometheus": {}},
        "extensions": {"health_check": {"endpoint": f"0.0.0.0:{COLLECTOR_HEALTH}"}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {
                "metrics": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter", "resourcedetection", "batch"],
                    "exporters": ["googlemanagedprometheus"],
                }
            },
        },
    }


def collector_yaml() -> str:
    """The configuration as a file has it, and the secret."""
    return _yaml(collector())


# -- rollback triggers -------------------------------------------------------------------------

#: Back to the revision before; names are shell variables, as in the runbooks.
_BACK = 'gcloud run services update-traffic "$SERVICE" --region="$REGION" --to-revisions="$PREVIOUS=100"'


def rollback_triggers() -> dict[str, Any]:
    """When a change is taken back, and by which command; after a deployment or a rotation."""
    return {
        "variables": {
            "PREVIOUS": (
                "the newest revision that is ready and neither serves nor waits under the tag candidate, "
                f"as step 1 of {RUNBOOKS}/rollback.md finds it; not the second newest"
            )
        },
        "triggers": [
            {
                "name": "failed fetches",
                "query": _FAILURES.format(by="job", window=WINDOW),
                "above": MAX_FAILURES,
                "for": "5m",
                "action": _BACK,
                "runbook": f"{RUNBOOKS}/rollback.md",
            },
            {
                "name": "slow calls",
                "query": _SECONDS.format(share=0.95, by="job, le", window=WINDOW),
                "above": MAX_SECONDS,
                "for": "10m",
                "action": _BACK,
                "runbook": f"{RUNBOOKS}/rollback.md",
            },
            {
                "name": "answers of 500 to 599, share of all",
                "query": _failed_answers(),
                "above": 0.01,
                "for": "5m",
                "action": _BACK,
                "runbook": f"{RUNBOOKS}/rollback.md",
            },
            {
                "name": "a rotated version is rejected",
                "query": (
                    "sum by (pgp_config_secret) "
                    f"(increase(pgp_config_secret_rejected_versions_total[{WINDOW}]))"
                ),
                "above": 0,
                "for": "0m",
                "action": 'pgp-config rotate "$SECRET" --rollback',
                "runbook": f"{RUNBOOKS}/rollback.md",
            },
            {
                "name": "a static secret read during a request",
                "query": "sum by (job) (pgp_config_secret_refused_static_reads_total)",
                "above": 0,
                "for": "0m",
                "action": _BACK,
                "runbook": f"{RUNBOOKS}/static-secret-read.md",
            },
        ],
    }


def _failed_answers() -> str:
    count = "run_googleapis_com:request_count"
    where = 'monitored_resource="cloud_run_revision"'
    failed = (
        f'sum by (service_name) (rate({count}{{{where},response_code_class="5xx"}}[{WINDOW}]))'
    )
    return f"{failed} / sum by (service_name) (rate({count}{{{where}}}[{WINDOW}]))"


# -- files -------------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """Every generated file, by its path from the repository's root."""
    documents: dict[str, str] = {"dashboard.json": _json(dashboard())}
    documents |= {f"policies/{name}.json": _json(policy) for name, policy in policies().items()}
    documents |= {f"log-metrics/{name}.json": _json(each) for name, each in log_metrics().items()}
    documents["collector.yaml"] = collector_yaml()
    documents["rollback-triggers.yaml"] = _yaml(rollback_triggers())
    return {f"{FOLDER}/{name}": text for name, text in documents.items()}


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=200)
