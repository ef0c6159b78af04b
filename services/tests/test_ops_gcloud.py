"""Google's own gcloud under `pgp-services ops`: every flag is parsed by it, and its requests change stand-ins.

Secrets are at the local Secret Manager, queues at the stand-in for Cloud Tasks; a small server keeps what goes to the other
APIs (Cloud Run, IAM, Artifact Registry, Service Usage, Resource Manager, Logging). gcloud is told of it as a proxy, because
it puts the region in front of Cloud Run's host.
"""

import http.client
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner
from werkzeug.serving import make_server

from pgp_config import GoogleSecretManager
from pgp_config.emulator import SecretManagerEmulator
from pgp_services import catalogue
from pgp_services.cli import app
from pgp_services.lookalikes import CloudTasksServer
from pgp_services.names import LEDGER_QUEUE, Service
from pgp_services.ops import access, pilot
from pgp_services.ops.gcloud import Command, Ran, run_gcloud
from pgp_services.ops.manifests import revision_of, settings_of
from pgp_services.ops.monitoring import COLLECTOR_SECRET
from pgp_services.ops.values import values_from
from pgp_services.split2.container import Split2
from pgp_services.split2.flask_app import create_app

command = importlib.import_module("pgp_services.cli.ops")
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "values.example.yaml"
VALUES = values_from(EXAMPLE)
HOST = Path(__file__).parent / "programs" / "gcloud_host.py"
APIS = ("run", "iam", "artifactregistry", "cloudresourcemanager", "serviceusage", "logging")


class Google:
    """What gcloud's requests change, as JSON; policies by resource."""

    def __init__(self, secret_manager, tasks):
        self.upstream = {"secretmanager.test": secret_manager, "cloudtasks.test": tasks}
        self.apis, self.repositories, self.accounts = [], [], []
        self.services, self.revisions, self.policies, self.log = {}, {}, {}, []
        self.seen = []

    def answer(self, method, url, body):
        parts = urlsplit(url)
        self.seen.append(f"{method} {parts.netloc}{parts.path}")
        policy = re.fullmatch(r"/v\d[^/]*/(?P<what>.+):(?P<verb>[gs])etIamPolicy", parts.path)
        # The stand-in for Cloud Tasks has no policies; the local Secret Manager has.
        if policy and parts.netloc != "secretmanager.test":
            return self.policy(policy["what"].replace("projects/-/", "projects/pgp-live/"), body)
        if parts.netloc in self.upstream:
            return self.forwarded(self.upstream[parts.netloc], method, parts, body)
        name = parts.netloc.partition(".")[0].rpartition("-")[2]
        content = json.loads(body) if body else {}
        return 200, json.dumps(getattr(self, name)(method, parts.path, content)).encode()

    def policy(self, what, body):
        content = json.loads(body) if body else {}
        if "policy" in content:
            self.policies[what] = {**content["policy"], "etag": "BwY="}
        return 200, json.dumps(self.policies.get(what, {"etag": "BwY="})).encode()

    def forwarded(self, endpoint, method, parts, body):
        connection = http.client.HTTPConnection(endpoint, timeout=30)
        headers = {"Content-Type": "application/json"}
        connection.request(method, f"{parts.path}?{parts.query}", body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def serviceusage(self, method, path, content):
        if path.endswith(":batchEnable"):
            self.apis += content["serviceIds"]
            return {"name": "operations/acf.1", "done": True, "response": {}}
        if path.endswith(":enable"):
            self.apis.append(path.rpartition("/")[2].partition(":")[0])
        if method == "POST" or "operations" in path:
            return {"name": "operations/acf.1", "done": True, "response": {}}
        return {"services": [{"config": {"name": api}, "state": "ENABLED"} for api in self.apis]}

    def artifactregistry(self, method, path, content):
        place = "projects/pgp-live/locations/us-central1"
        if method == "POST":
            self.repositories.append({"name": content["name"], "format": content["format"]})
            return {
                "name": f"{place}/operations/1",
                "done": True,
                "response": self.repositories[-1],
            }
        if "operations" in path:
            return {"name": f"{place}/operations/1", "done": True, "response": {}}
        return {"repositories": self.repositories}

    def iam(self, method, path, content):
        if method == "POST":
            email = f"{content['accountId']}@pgp-live.iam.gserviceaccount.com"
            self.accounts.append({"email": email, **content["serviceAccount"]})
            return self.accounts[-1]
        return {"accounts": self.accounts}

    def logging(self, method, path, content):
        return {"entries": self.log}

    def run(self, method, path, content):
        name = path.rpartition("/")[2]
        if "/configurations/" in path:
            return self.services[name]
        if path.endswith("/revisions"):
            return {"metadata": {}, "items": list(self.revisions.values())}
        if "/revisions/" in path:
            return self.revisions[name]
        if method in ("POST", "PUT"):
            self.deployed(content)
            return self.services[content["metadata"]["name"]]
        if path.endswith("/services"):
            return {"metadata": {}, "items": list(self.services.values())}
        return self.services.get(name) or self.missing(name)

    def missing(self, name):
        raise LookupError(name)

    def deployed(self, service):
        name = service["metadata"]["name"]
        ready = [
            {"type": kind, "status": "True"}
            for kind in ("Ready", "ConfigurationsReady", "RoutesReady")
        ]
        template = service["spec"]["template"]["metadata"]
        generation = service["metadata"].get("generation", 0) + 1
        template.setdefault("name", f"{name}-{generation:05}")
        service["metadata"] |= {"generation": generation, "resourceVersion": str(generation)}
        service["status"] = {
            "observedGeneration": generation,
            "url": f"https://{name}.run.app",
            "address": {"url": f"https://{name}.run.app"},
            "latestCreatedRevisionName": template["name"],
            "latestReadyRevisionName": template["name"],
            "traffic": service["spec"]["traffic"],
            "conditions": ready,
        }
        self.services[name] = service
        self.revisions.setdefault(
            template["name"],
            {
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Revision",
                "metadata": {
                    "name": template["name"],
                    "creationTimestamp": f"2026-11-02T10:00:{len(self.revisions):02}Z",
                    "labels": {"serving.knative.dev/service": name},
                },
                "spec": service["spec"]["template"]["spec"],
                "status": {"conditions": ready[:1]},
            },
        )


class Proxy(BaseHTTPRequestHandler):
    """Takes gcloud's requests, whole URLs in their first lines."""

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            with self.server.lock:
                status, content = self.server.google.answer(self.command, self.path, body)
        except LookupError as missing:
            error = {"code": 404, "message": f"{missing} not found", "status": "NOT_FOUND"}
            status, content = 404, json.dumps({"error": error}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815  http.server's names

    def log_message(self, *_):
        pass


class WarmGcloud:
    """A runner of commands: the real gcloud in `programs/gcloud_host.py`."""

    def __init__(self, root, environ, folder):
        python = root / "platform" / "bundledpythonunix" / "bin" / "python3"
        self.folder = folder
        self.lock = threading.Lock()
        self.count = 0
        self.process = subprocess.Popen(
            [python if python.exists() else shutil.which("python3"), "-S", HOST, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        assert self.process.stdout.readline() == "ready\n"

    def __call__(self, given, *, parse=False):
        with self.lock:
            self.count += 1
            files = {name: self.folder / f"{name}" for name in ("stdin", "stdout", "stderr")}
            files["stdin"].write_bytes((given.given or "").encode())
            for name in ("stdout", "stderr"):
                files[name].write_bytes(b"")
            order = {"words": [*given.words, "--quiet"], "parse": parse}
            order |= {name: str(file) for name, file in files.items()}
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            code = int(self.process.stdout.readline())
            return Ran(code, files["stdout"].read_text(), files["stderr"].read_text())

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def proxy():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.lock, server.google = threading.Lock(), None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture(scope="module")
def environ(proxy, tmp_path_factory):
    given = {
        **os.environ,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(tmp_path_factory.mktemp("gcloud")),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
        "CLOUDSDK_PROXY_PORT": str(proxy.server_address[1]),
    }
    for api in (*APIS, "secretmanager", "cloudtasks"):
        given[f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}"] = f"http://{api}.test/"
    return given


@pytest.fixture(scope="module")
def warm(environ, tmp_path_factory):
    program = shutil.which("gcloud")
    if program is None and "CI" not in os.environ:
        pytest.skip("the Google Cloud CLI (gcloud) is not installed")
    assert program, "CI has to have the Google Cloud CLI"
    runner = WarmGcloud(Path(program).resolve().parents[1], environ, tmp_path_factory.mktemp("io"))
    yield runner
    runner.close()


@pytest.fixture
def google(proxy):
    with SecretManagerEmulator("pgp-live") as secret_manager, CloudTasksServer() as tasks:
        there = urlsplit(tasks.rest_url).netloc
        proxy.google = Google(secret_manager.rest_endpoint, there)
        proxy.google.secret_manager = secret_manager
        yield proxy.google


@pytest.fixture
def ops(google, warm, monkeypatch):
    """Runs `pgp-services ops …` with the real gcloud; its output."""
    monkeypatch.setattr(command, "run_gcloud", warm)

    def run(*words, code=0, values=EXAMPLE):
        ended = CliRunner().invoke(app, ["ops", *words, "--values", str(values)])
        assert ended.exit_code == code, ended.output
        assert "canary" not in ended.output
        return ended.output

    return run


def test_base_for_two_services_and_again(google, ops):
    only = ("--service", "hostpay2", "--service", "web")
    told = ops("deploy", "base", *only)
    assert "Created the queue hostpay1-response" in told
    assert [each["email"].partition("@")[0] for each in google.accounts] == [
        "pgp-hostpay2-v1",
        "pgp-web-v1",
    ]
    assert "run.googleapis.com" in google.apis
    assert google.repositories[0]["format"] == "DOCKER"
    who = access.member(Service.HOSTPAY2, "pgp-live")
    queue = "projects/pgp-live/locations/us-central1/queues/hostpay1-response"
    assert google.policies[queue]["bindings"] == [{"members": [who], "role": access.ENQUEUER}]
    account = f"projects/pgp-live/serviceAccounts/{who.removeprefix('serviceAccount:')}"
    assert google.policies[account]["bindings"] == [{"members": [who], "role": access.ACTOR}]
    assert google.policies["projects/pgp-live"]["auditConfigs"] == [
        {"auditLogConfigs": [{"logType": "DATA_READ"}], "service": "secretmanager.googleapis.com"}
    ]
    for row in catalogue.CATALOGUE.values():
        if row.readers & {Service.HOSTPAY2, Service.WEB}:
            google.secret_manager.add(row.name, "canary")
    google.seen.clear()
    told = ops("deploy", "base", *only)
    assert not [each for each in google.seen if each.startswith(("PUT", "PATCH", "DELETE"))]
    posts = [each for each in google.seen if each.startswith("POST")]
    assert [each for each in posts if not each.endswith(":getIamPolicy")] == []
    assert "has no version" not in told


def serving(google):
    traffic = google.services["pgp-split2-v1"]["spec"]["traffic"]
    return [target["revisionName"] for target in traffic if target.get("percent")]


def test_a_service_is_deployed_redeployed_and_rolled_back(google, ops, tmp_path):
    ops("deploy", "pilot")
    first = revision_of(Service.SPLIT2, VALUES)
    service = google.services["pgp-split2-v1"]
    container = service["spec"]["template"]["spec"]["containers"][0]
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert service["spec"]["traffic"] == [
        {"percent": 100, "revisionName": first, "tag": "candidate"}
    ]
    calls = google.policies["projects/pgp-live/locations/us-central1/services/pgp-split2-v1"]
    assert calls["bindings"][0]["role"] == access.INVOKER
    assert "is there, and ready" in ops("deploy", "pilot")
    file = tmp_path / "values.yaml"
    file.write_text(EXAMPLE.read_text().replace("services@sha256:0", "services@sha256:1"))
    ops("deploy", "pilot", values=file)
    second = revision_of(Service.SPLIT2, values_from(file))
    assert serving(google) == [second]
    ops("deploy", "pilot")
    assert serving(google) == [first]
    told = ops("deploy", "pilot", "--no-traffic", values=file)
    assert f"{second} has no traffic; it is reachable by its tag" in told
    tags = {
        t["revisionName"]: t.get("tag")
        for t in google.services["pgp-split2-v1"]["spec"]["traffic"]
    }
    assert tags[second] == "candidate"
    assert serving(google) == [first]


def steps_of(runbook, heading):
    """The blocks below a heading of a runbook."""
    text = (ROOT / "docs" / "runbooks" / runbook).read_text()
    part = text.partition(f"### {heading}")[2].partition("\n##")[0]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL))


@pytest.fixture
def by_hand(google, warm, environ):
    """Runs a runbook's step with the real gcloud, on the pilot."""

    def run(script, code=0):
        names = {"SERVICE": "pgp-split2-v1", "REGION": "us-central1", "PROJECT": "pgp-live"}
        ended = subprocess.run(
            [shutil.which("bash"), "-e", "-c", script],
            env={**environ, **names},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == code, ended.stderr
        return ended.stderr

    return run


@pytest.fixture
def three(google, ops, tmp_path):
    """Revisions of the pilot, the oldest first; the first was deployed again and serves, the third is not ready."""
    files = []
    for max_age in (1, 2, 3):
        files.append(tmp_path / f"{max_age}.yaml")
        files[-1].write_text(f"{EXAMPLE.read_text()}max_age: {max_age}\n")
        ops("deploy", "pilot", values=files[-1])
    names = [revision_of(Service.SPLIT2, values_from(file)) for file in files]
    google.revisions[names[2]]["status"]["conditions"] = [
        {"type": "Ready", "status": "False"},
        {"type": "ContainerReady", "status": "True"},
    ]
    ops("deploy", "pilot", values=files[0])
    return names


@pytest.mark.parametrize(
    ("runbook", "heading"),
    [
        ("rollback.md", "1. A deployment"),
        ("static-secret-read.md", "3. Back to the revision before"),
    ],
)
def test_a_rollback_is_to_a_ready_revision_that_does_not_serve(
    google, three, by_hand, runbook, heading
):
    script = steps_of(runbook, heading)
    assert serving(google) == [three[0]]
    by_hand(script)
    assert serving(google) == [three[1]]
    google.revisions[three[0]]["status"]["conditions"][0]["status"] = "False"
    assert "no ready revision to go back to" in by_hand(script, code=1)
    assert serving(google) == [three[1]]


def test_asking_less_often_has_an_effect(google, ops, by_hand):
    ops("deploy", "pilot")
    by_hand(steps_of("rollback.md", "3. Too many calls"))
    (now,) = serving(google)
    env = google.revisions[now]["spec"]["containers"][0]["env"]
    assert {"name": "PGP_CONFIG_MAX_AGE", "value": "60"} in env


def test_secrets_are_verified_and_rotated_by_gcloud(google, ops):
    rows = catalogue.secrets_of(Service.WEB)
    ops("deploy", "base", "--service", "web")
    good = {"SERVICE_ENVIRONMENT": "prod", "ALERTING_ENABLED": "true", "LOG_LEVEL": "INFO"}
    for row in rows:
        google.secret_manager.add(row.name, good.get(row.name, "https://a.example"))
    ops("verify", "secrets", "--service", "web")
    google.secret_manager.add("LOG_LEVEL", "canary-loud")
    told = ops("verify", "secrets", "--service", "web", code=3)
    assert "LOG_LEVEL: value: version 2" in told
    google.secret_manager.disable("LOG_LEVEL", 2)
    told = ops("verify", "secrets", "--service", "web", code=3)
    assert "version 2 is DISABLED" in told


STRANGER = {"role": access.READER, "members": ["user:stranger@example.com"]}
PILOTS = revision_of(Service.SPLIT2, VALUES)

#: A project in which everything is there, and otherwise than it is to be: what its looks answer, by their first words.
GROWN = {
    "tasks queues list": [
        {"name": f"projects/p/locations/l/queues/{queue}"}
        for queues in (*VALUES.queues.values(), [LEDGER_QUEUE])
        for queue in queues
    ],
    "secrets list": [
        {"name": f"projects/1/secrets/{name}"} for name in (*catalogue.CATALOGUE, COLLECTOR_SECRET)
    ],
    "secrets get-iam-policy": {"bindings": [STRANGER]},
    "secrets versions access": {"receivers": {}},
    "iam service-accounts list": [
        {"email": access.account_of(service, "pgp-live")} for service in Service
    ],
    "run services list": [
        {
            "metadata": {"name": "pgp-split2-v1"},
            "status": {"traffic": [{"revisionName": "older", "percent": 100}]},
        }
    ],
    "run revisions list": [
        {
            "metadata": {"name": PILOTS},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
    ],
}


def grown(given):
    words = " ".join(given.words)
    found = (answer for start, answer in GROWN.items() if words.startswith(start))
    return Ran(0, json.dumps(next(found, [])), "")


#: What is composed only where something is there, or the operator's file says so: what each line has to have.
RARE = [
    "tasks queues update orchestrator --max-attempts= --max-retry-duration= --min-backoff= --max-backoff=",
    "tasks queues update hostpay3 --max-concurrent-dispatches=",
    "secrets remove-iam-policy-binding --member= --role=",
    "secrets create --replication-policy=user-managed --locations=us-central1,us-east1",
    "secrets versions add otel-collector --data-file=-",
    "run services update-traffic --to-revisions=",
    "run services update-traffic --update-tags=candidate=",
]


def has(line, parts):
    return all(any(word.startswith(part) for word in line) for part in parts)


@pytest.fixture
def dry_runs(monkeypatch, tmp_path):
    """The entries of every dry run: of an empty project, of a grown one, and of one with regions of its own."""
    monkeypatch.setattr(command, "run_gcloud", grown)
    clean, regions = tmp_path / "clean.py", tmp_path / "values.yaml"
    clean.write_text("")
    regions.write_text(EXAMPLE.read_text() + "replicas: [us-central1, us-east1]\n")
    offline, plain = ("--offline", "--values", str(EXAMPLE)), ("--values", str(EXAMPLE))
    return [
        entry
        for words in [
            ("deploy", "base", *offline),
            ("deploy", "wave", "--all", "--sources", str(clean), *offline),
            ("test", "pilot", "--as", "sa@pgp-live.iam.gserviceaccount.com", *offline),
            ("verify", "secrets", "--impersonate", *offline),
            ("deploy", "base", "--prune", "--dry-run", *plain),
            ("deploy", "base", "--offline", "--values", str(regions)),
            ("deploy", "pilot", "--dry-run", *plain),
            ("deploy", "pilot", "--no-traffic", "--dry-run", *plain),
        ]
        for entry in json.loads(CliRunner().invoke(app, ["ops", *words, "--json"]).output)[
            "entries"
        ]
    ]


def test_every_command_of_every_dry_run_is_one_that_gcloud_knows(google, warm, dry_runs):
    shapes, every = {}, []
    for entry in dry_runs:
        if entry["command"]:
            first, _, given = entry["command"].partition(" <<'END_OF_INPUT'\n")
            line = shlex.split(first.partition(" <<<")[0])[1:]
            every.append(line)
            # One of each shape: the same flags of the same command.
            shape = tuple(
                re.sub("=.*", "=", word) if word.startswith("-") else "" for word in line
            )
            shapes.setdefault((*line[:3], *shape), (line, given.removesuffix("END_OF_INPUT")))
    lines = list(shapes.values())
    assert len(lines) > 30
    for rare in RARE:
        assert any(has(line, rare.split()) for line in every), rare
    for line, given in lines:
        ran = warm(Command(tuple(line), given), parse=True)
        assert ran.code == 0, (line, ran.err)
    assert warm(Command((*lines[0][0], "--nonsense")), parse=True).code == 2


def test_the_program_itself_is_run(google, warm, environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    google.secret_manager.add("LOG_LEVEL", "INFO")
    words = ("secrets", "versions", "access", "latest", "--secret=LOG_LEVEL", "--project=pgp-live")
    ran = run_gcloud(Command(words))
    assert (ran.code, ran.out) == (0, "INFO"), ran.err


@pytest.fixture
def served_pilot(google, values, monkeypatch):
    """The pilot itself, on the local Secret Manager, as a manifest would have it."""
    for name, value in {
        **settings_of(Service.SPLIT2, VALUES),
        "PGP_CONFIG_MAX_AGE": "0.1",
    }.items():
        monkeypatch.setenv(name, value)
    for name, value in values.items():
        google.secret_manager.add(name, value)
    source = GoogleSecretManager("pgp-live", endpoint=google.secret_manager.endpoint)
    secrets = Split2(source=source)
    server = make_server("127.0.0.1", 0, create_app(secrets), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()
    secrets.handler().close()
    secrets.close()


def test_the_pilot_itself_passes_its_test(served_pilot, google, ops, tmp_path, monkeypatch):
    monkeypatch.setattr(pilot, "PAUSE", 0.05)
    record = tmp_path / "pilot.json"
    google.secret_manager.add("SUCCESS_URL_SIGNING_KEY", "canary")  # it is pinned to the first
    told = ops("test", "pilot", "--url", served_pilot, "--no-token", "--record", str(record))
    assert "15 secrets, 7 of them static and at their pinned versions" in told
    assert "LOG_LEVEL went from version 1 to 2 without a restart" in told
    assert json.loads(record.read_text())["passed"] is True
