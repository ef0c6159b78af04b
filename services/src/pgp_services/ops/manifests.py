"""A service as Cloud Run's manifest: whose account it runs as, what it is told, how it is probed, what is pinned."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from pgp_services import catalogue
from pgp_services.names import Service
from pgp_services.ops import access
from pgp_services.ops.monitoring import COLLECTOR_HEALTH, COLLECTOR_PORT, COLLECTOR_SECRET
from pgp_services.registry import REGISTRY, Entry
from pgp_services.telemetry import ENDPOINT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgp_services.ops.values import Values

PORT = 8080

#: The tag under which a revision is reachable before it has traffic.
TAG = "candidate"

#: The containers of a revision, and where the collector's configuration is mounted.
_APP, _COLLECTOR, _CONFIG_FOLDER = "app", "collector", "/etc/otelcol-google"

#: Seconds for a request of Flask's services: what the pilot's worst case, 24 s, fits into.
_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Shape:
    """How a service is run.

    Attributes:
        concurrency: Requests at a time that an instance is sent: its threads, where it has threads.
        smallest: Instances at least.
        largest: Instances at most.
        always_on: Whether it has the CPU between requests too.
        timeout: Seconds for a request.
    """

    concurrency: int = 8
    smallest: int = 0
    largest: int = 10
    always_on: bool = False
    timeout: int = _TIMEOUT


def _entry(service: Service) -> Entry:
    return REGISTRY.get(service, Entry(""))  # one whose application is still to come


def shape_of(service: Service, values: Values) -> Shape:
    """How a service is run: Telegram allows one poller a bot, and a payment needs no company."""
    if service == values.poller:
        return Shape(smallest=1, largest=1, always_on=True)
    if _entry(service).framework == "fastapi":
        return Shape(concurrency=80)
    if service in catalogue.CRITICAL:
        return Shape(smallest=1)
    return Shape()


def manifest(service: Service, values: Values) -> dict[str, Any]:
    """The manifest, for `gcloud run services replace`; the newest revision has all traffic."""
    shape = shape_of(service, values)
    name = access.cloud_name(service)
    made: dict[str, Any] = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "labels": {"cloud.googleapis.com/location": values.region, "fleet": "pgp"},
            # Tasks and schedulers come over the same door as the world; IAM tells them apart.
            "annotations": {"run.googleapis.com/ingress": "all"},
        },
        "spec": {
            "template": {
                "metadata": {
                    "labels": {"fleet": "pgp"},
                    "annotations": _annotations(shape, values),
                },
                "spec": {
                    "serviceAccountName": access.account_of(service, values.project),
                    "containerConcurrency": shape.concurrency,
                    "timeoutSeconds": shape.timeout,
                    "containers": [_container(service, shape, values)],
                },
            },
            "traffic": [{"latestRevision": True, "percent": 100}],
        },
    }
    if values.collector is not None:
        _add_collector(made["spec"]["template"], values.collector)
    return made


def _add_collector(template: dict[str, Any], image: str) -> None:
    """A second container, which starts first, and to which the service sends what it measures."""
    template["metadata"]["annotations"]["run.googleapis.com/container-dependencies"] = json.dumps(
        {_APP: [_COLLECTOR]}
    )
    spec = template["spec"]
    url = f"http://127.0.0.1:{COLLECTOR_PORT}"
    spec["containers"][0]["env"].append({"name": ENDPOINT_VARIABLE, "value": url})
    spec["containers"].append(
        {
            "name": _COLLECTOR,
            "image": image,
            "args": [f"--config={_CONFIG_FOLDER}/config.yaml"],
            "resources": {"limits": {"cpu": "0.5", "memory": "256Mi"}},
            "startupProbe": _probe("/", port=COLLECTOR_HEALTH, period=5, failures=12),
            "volumeMounts": [{"name": _COLLECTOR, "mountPath": _CONFIG_FOLDER}],
        }
    )
    # Cloud Run mounts files from Secret Manager; there is nothing secret in this one.
    items = [{"key": "latest", "path": "config.yaml"}]
    spec["volumes"] = [
        {"name": _COLLECTOR, "secret": {"secretName": COLLECTOR_SECRET, "items": items}}
    ]


def _annotations(shape: Shape, values: Values) -> dict[str, str]:
    annotations = {
        "autoscaling.knative.dev/minScale": str(shape.smallest),
        "autoscaling.knative.dev/maxScale": str(shape.largest),
        # "true": the CPU is there while a request is.
        "run.googleapis.com/cpu-throttling": str(not shape.always_on).lower(),
        "run.googleapis.com/startup-cpu-boost": "true",
    }
    if values.network is not None:
        # Direct VPC egress: private addresses through the network, the rest as before.
        interfaces = [{"network": values.network, "subnetwork": values.subnet}]
        annotations["run.googleapis.com/network-interfaces"] = json.dumps(interfaces)
        annotations["run.googleapis.com/vpc-access-egress"] = "private-ranges-only"
    return annotations


def _container(service: Service, shape: Shape, values: Values) -> dict[str, Any]:
    run = ["run", service]
    if _entry(service).framework == "flask":
        run += ["--workers=1", f"--threads={shape.concurrency}"]
    return {
        "name": _APP,
        "image": values.image,
        "command": ["pgp-services"],
        "args": run,
        "ports": [{"name": "http1", "containerPort": PORT}],
        "env": [
            {"name": name, "value": value} for name, value in settings_of(service, values).items()
        ],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
        # Ready means that every secret is loaded and usable: a revision that lacks one gets no traffic.
        "startupProbe": _probe("/readyz", period=5, failures=24),
        "livenessProbe": _probe("/healthz", period=30, failures=3),
    }


def _probe(path: str, *, period: int, failures: int, port: int = PORT) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "timeoutSeconds": 4,
        "periodSeconds": period,
        "failureThreshold": failures,
    }


def settings_of(service: Service, values: Values) -> dict[str, str]:
    """The environment variables of a service; none of them is secret."""
    rows = catalogue.secrets_of(service)
    pins = [
        f"{row.name}={values.pinned[row.name]}" for row in rows if row.reload_class == "static"
    ]
    sends = bool(access.queues_of(service))
    can_poll = _entry(service).updates is not None
    updates = "poll" if service == values.poller else "off"
    project, region = (
        (values.project, values.region) if access.without_tasks_secrets(service) else ("", "")
    )
    settings = {
        "PGP_CONFIG_SOURCE": f"gsm://{values.project}",
        "PGP_CONFIG_SERVICE": service,
        "PGP_CONFIG_PINNED": ",".join(pins),
        "PGP_CONFIG_MAX_AGE": "" if values.max_age is None else f"{values.max_age:g}",
        "PGP_CONFIG_UPTAKE": values.uptake or "",
        "TASKS_SERVICE_ACCOUNT": access.account_of(service, values.project) if sends else "",
        "GOOGLE_CLOUD_PROJECT": project,
        "GOOGLE_CLOUD_REGION": region,
        "TELEGRAM_UPDATES": updates if can_poll else "",
        "NOWPAYMENTS_IPN_URL": (values.ipn_url or "") if service == Service.SERVER else "",
        "ALERTS_SOURCE": values.alerts_source or "",
    }
    return {name: value for name, value in settings.items() if value}


def revision_of(service: Service, values: Values) -> str:
    """The name of the revision that a manifest makes: the same for the same manifest.

    So a repeated deployment finds what it would make, and a rollback finds what it made.
    """
    template = manifest(service, values)["spec"]["template"]
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()
    return f"{access.cloud_name(service)}-{digest[:10]}"


def candidate(
    service: Service, values: Values, serving: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """The manifest that makes the revision without moving traffic.

    Args:
        service: Which.
        values: The operator's file.
        serving: The revisions that have traffic now, with their percents; the first revision of a
            service has all of it, for somebody must.
    """
    made = manifest(service, values)
    revision = revision_of(service, values)
    made["spec"]["template"]["metadata"]["name"] = revision
    kept = [{"revisionName": name, "percent": percent} for name, percent in serving]
    new = {"revisionName": revision, "percent": 0 if serving else 100, "tag": TAG}
    made["spec"]["traffic"] = [*kept, new]
    return made


def as_yaml(document: object) -> str:
    """A document as YAML, in the order of its keys."""
    return yaml.dump(_plain(document), Dumper=_Dumper, sort_keys=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Repeats what occurs twice, and does not refer to it."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  yaml's signature
        return True


def _plain(document: object) -> object:
    """The document without subclasses of str, which YAML would tag."""
    return json.loads(json.dumps(document))
