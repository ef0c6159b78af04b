"""`pgp-services ops …` against a Google Cloud that is a dictionary: what is done, found done, refused, and shown."""

import importlib
import json
import shlex
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from pgp_services import catalogue
from pgp_services.cli import app
from pgp_services.names import LEDGER_QUEUE, Service
from pgp_services.ops import access, gcloud, pilot, waves
from pgp_services.ops.desk import Desk
from pgp_services.ops.failures import OpsError, RefusedError
from pgp_services.ops.gcloud import Command, Ran, run_gcloud
from pgp_services.ops.journal import Journal
from pgp_services.ops.manifests import revision_of
from pgp_services.ops.rollout import deploy_service, url_of
from pgp_services.ops.values import values_from

#: The package's attribute of that name is the command.
command = importlib.import_module("pgp_services.cli.ops")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "values.example.yaml"
VALUES = values_from(EXAMPLE)
PROJECT = "pgp-live"
NOW = "2026-11-02T10:00:00Z"
PILOTS_ACCOUNT = access.account_of(Service.SPLIT2, PROJECT)

#: A value that each kind of secret accepts; what is confidential has a canary.
GOOD = {
    "CHANGENOW_API_KEY": "ca" * 32,
    "NOWPAYMENTS_API_KEY": "canary-nowpayments",
    "ETHEREUM_RPC_URL_API": "canary" + "x" * 26,
    "TELEGRAM_BOT_API_TOKEN": "12345:canary",
    "TELEGRAM_BOT_USERNAME": "@pgp_bot",
    "NOWPAYMENTS_IPN_SECRET": "canary-ipn",
    "SUCCESS_URL_SIGNING_KEY_SECONDARY": "cb" * 32,
    "TPS_HOSTPAY_SIGNING_KEY_SECONDARY": "cc" * 32,
    "CLOUDFLARE_WEBHOOK_SECRET": "canary-cloudflare",
    "TP_FLAT_FEE": "3",
    "SERVICE_ENVIRONMENT": "prod",
    "ALERTING_ENABLED": "true",
    "LOG_LEVEL": "INFO",
}


class FakeGoogle:
    """Takes commands, keeps what they make, and answers as gcloud's JSON does."""

    def __init__(self):
        self.apis, self.repositories, self.accounts = set(), set(), set()
        self.queues, self.secrets, self.services, self.revisions = {}, {}, {}, {}
        self.policies, self.project_policy, self.log = {}, {"etag": "abc"}, []
        self.commands, self.denied, self.failing = [], set(), None
        self.lock = threading.Lock()

    def __call__(self, given):
        with self.lock:
            return self.run(given)

    def run(self, given):
        words = [word for word in given.words if not word.startswith("--")]
        flags = dict(word[2:].partition("=")[::2] for word in given.words if word.startswith("--"))
        assert flags.pop("project") == PROJECT
        self.commands.append(given)
        if self.failing and " ".join(given.words).startswith(self.failing):
            return Ran(1, "canary-out", "ERROR: it is broken")
        name = "_".join(words[:3] if words[0] != "services" else words[:2]).replace("-", "_")
        if words[1] == "versions":
            name = "_".join(words[:3])
        elif words[0] in ("secrets", "projects", "logging", "auth", "services"):
            name = "_".join(words[:2]).replace("-", "_")
        found = getattr(self, name)(words, flags, given)
        return found if isinstance(found, Ran) else Ran(0, json.dumps(found), "")

    # APIs, repository, accounts
    def services_list(self, words, flags, given):
        return [{"config": {"name": api}} for api in sorted(self.apis)]

    def services_enable(self, words, flags, given):
        self.apis |= set(words[2:])

    def artifacts_repositories_list(self, words, flags, given):
        return [{"name": f"projects/p/locations/l/repositories/{n}"} for n in self.repositories]

    def artifacts_repositories_create(self, words, flags, given):
        self.repositories.add(words[3])

    def iam_service_accounts_list(self, words, flags, given):
        return [{"email": each} for each in sorted(self.accounts)]

    def iam_service_accounts_create(self, words, flags, given):
        self.accounts.add(f"{words[3]}@{PROJECT}.iam.gserviceaccount.com")

    # policies
    def policy(self, words, flags, given):
        return self.policies.get(words[-1] if words[0] != "projects" else "", {"etag": "x"})

    def bind(self, words, flags, given):
        bindings = self.policies.setdefault(words[-1], {"bindings": []})["bindings"]
        bindings.append({"role": flags["role"], "members": [flags["member"]]})

    def unbind(self, words, flags, given):
        policy = self.policies[words[-1]]
        for binding in policy["bindings"]:
            if binding["role"] == flags["role"] and flags["member"] in binding["members"]:
                binding["members"].remove(flags["member"])

    iam_service_accounts_get_iam_policy = tasks_queues_get_iam_policy = policy
    run_services_get_iam_policy = secrets_get_iam_policy = policy
    iam_service_accounts_add_iam_policy_binding = tasks_queues_add_iam_policy_binding = bind
    run_services_add_iam_policy_binding = secrets_add_iam_policy_binding = bind
    secrets_remove_iam_policy_binding = unbind

    def projects_get_iam_policy(self, words, flags, given):
        return self.project_policy

    def projects_add_iam_policy_binding(self, words, flags, given):
        assert flags["condition"] == "None"
        binding = {"role": flags["role"], "members": [flags["member"]]}
        self.project_policy.setdefault("bindings", []).append(binding)

    def projects_set_iam_policy(self, words, flags, given):
        assert words[3] == "/dev/stdin"
        self.project_policy = json.loads(given.given)

    # queues
    def tasks_queues_list(self, words, flags, given):
        return [
            {"name": f"projects/p/locations/l/queues/{n}", **q} for n, q in self.queues.items()
        ]

    def tasks_queues_create(self, words, flags, given):
        self.queues[words[3]] = {"rateLimits": {}, "retryConfig": {}}
        self.tasks_queues_update(words, flags, given)

    def tasks_queues_update(self, words, flags, given):
        queue = self.queues[words[3]]
        fields = {
            "max-attempts": ("retryConfig", "maxAttempts"),
            "max-retry-duration": ("retryConfig", "maxRetryDuration"),
            "min-backoff": ("retryConfig", "minBackoff"),
            "max-backoff": ("retryConfig", "maxBackoff"),
            "max-concurrent-dispatches": ("rateLimits", "maxConcurrentDispatches"),
        }
        for flag, (part, field) in fields.items():
            if flag in flags:
                text = flags[flag]
                queue[part][field] = int(text) if text.isdecimal() else text

    # secrets
    def secrets_list(self, words, flags, given):
        return [{"name": f"projects/1/secrets/{name}"} for name in self.secrets]

    def secrets_create(self, words, flags, given):
        self.secrets[words[2]] = [("ENABLED", given.given)] if "data-file" in flags else []

    def secrets_versions_list(self, words, flags, given):
        found = [
            {"name": f"projects/1/secrets/{words[3]}/versions/{number}", "state": state}
            for number, (state, _) in enumerate(self.secrets[words[3]], 1)
        ]
        wanted = flags.get("filter", "")
        return [each for each in found if wanted in ("", f"state={each['state']}")]

    def secrets_versions_access(self, words, flags, given):
        assert given.confidential or flags["secret"] == "otel-collector"
        name, who = flags["secret"], flags.get("impersonate-service-account", "me")
        if (name, who) in self.denied:
            return Ran(1, "", "ERROR: PERMISSION_DENIED")
        versions = self.secrets[name]
        number = len(versions) if words[3] == "latest" else int(words[3])
        return Ran(0, versions[number - 1][1], "")

    def secrets_versions_add(self, words, flags, given):
        assert given.confidential or words[3] == "otel-collector"
        self.secrets[words[3]].append(("ENABLED", given.given))
        return Ran(
            0, f"projects/1/secrets/{words[3]}/versions/{len(self.secrets[words[3]])}\n", ""
        )

    # Cloud Run
    def run_services_list(self, words, flags, given):
        return list(self.services.values())

    def run_services_replace(self, words, flags, given):
        made = yaml.safe_load(given.given)
        name, revision = made["metadata"]["name"], made["spec"]["template"]["metadata"]["name"]
        ready = [{"type": "Ready", "status": "True"}]
        targets = [
            {**t, **({"url": f"https://{t['tag']}---{name}.run.app"} if "tag" in t else {})}
            for t in made["spec"]["traffic"]
        ]
        url = f"https://{name}.run.app"
        status = {"url": url, "traffic": targets, "conditions": ready}
        self.services[name] = {"metadata": {"name": name}, "status": status}
        self.revisions.setdefault(name, {})[revision] = {
            "metadata": {"name": revision, "creationTimestamp": NOW},
            "status": {"conditions": ready},
        }

    def run_services_update_traffic(self, words, flags, given):
        if "update-tags" in flags:
            tag, _, revision = flags["update-tags"].partition("=")
            traffic = self.services[words[3]]["status"]["traffic"]
            kept = [{k: v for k, v in t.items() if (k, v) != ("tag", tag)} for t in traffic]
            self.services[words[3]]["status"]["traffic"] = [
                *(t for t in kept if "percent" in t or "tag" in t),
                {
                    "revisionName": revision,
                    "tag": tag,
                    "url": f"https://{tag}---{words[3]}.run.app",
                },
            ]
            return
        revision, _, percent = flags["to-revisions"].partition("=")
        assert (percent, revision in self.revisions[words[3]]) == ("100", True)
        traffic = self.services[words[3]]["status"]["traffic"]
        kept = [{k: v for k, v in t.items() if k != "percent"} for t in traffic if "tag" in t]
        self.services[words[3]]["status"]["traffic"] = [
            {"revisionName": revision, "percent": 100},
            *kept,
        ]

    def run_revisions_list(self, words, flags, given):
        return list(self.revisions.get(flags["service"], {}).values())

    # the rest
    def logging_read(self, words, flags, given):
        return self.log

    def auth_print_identity_token(self, words, flags, given):
        return Ran(0, "canary-token\n", "")

    def changes(self):
        kept = ("list", "get-iam-policy", "read", "access", "print-identity-token")
        return [each for each in self.commands if not set(each.words[:4]) & set(kept)]

    def fill(self):
        """A good version of each secret."""
        for row in catalogue.CATALOGUE.values():
            value = GOOD.get(row.name, "https://a.example" if "url" in row.kind else "a-queue")
            self.secrets[row.name] = [("ENABLED", value)]


@pytest.fixture
def google(monkeypatch):
    fake = FakeGoogle()
    monkeypatch.setattr(command, "run_gcloud", fake)
    return fake


@pytest.fixture
def ops(google):
    """Runs `pgp-services ops …`; what it wrote, once it ended with the code that was expected."""

    def run(*words, code=0, values=True):
        file = ("--values", str(EXAMPLE)) if values else ()
        ended = CliRunner().invoke(app, ["ops", *words, *file])
        assert ended.exit_code == code, ended.output
        assert "canary" not in ended.output
        assert "cacaca" not in ended.output
        return ended.output

    return run


@pytest.fixture
def desk(google):
    return Desk(VALUES, google, Journal())


# -- base --------------------------------------------------------------------------------------


def test_base_sets_up_everything_once(google, ops):
    told = ops("deploy", "base")
    assert len(google.secrets.keys() - {"otel-collector"}) == 55
    assert len(google.accounts) == 17
    assert len(google.queues) == 16
    assert "has no version: pgp-config rotate" in told
    assert google.project_policy["auditConfigs"] == [
        {
            "service": "secretmanager.googleapis.com",
            "auditLogConfigs": [{"logType": "DATA_READ"}],
        }
    ]
    # One payment after the other.
    assert google.queues["hostpay3"]["rateLimits"] == {"maxConcurrentDispatches": 1}
    assert google.queues[LEDGER_QUEUE]["rateLimits"] == {"maxConcurrentDispatches": 1}
    assert google.queues["hostpay2"]["rateLimits"] == {}
    readers = {
        binding["members"][0] for binding in google.policies["HOST_WALLET_PRIVATE_KEY"]["bindings"]
    }
    assert readers == {access.member(Service.HOSTPAY3, PROJECT)}
    # Nothing is left to do.
    google.fill()
    google.commands.clear()
    told = ops("deploy", "base")
    assert google.changes() == []
    assert "has no version" not in told
    assert "there already" in told


def test_what_services_measure_gets_out_of_the_project(google, ops):
    ops("deploy", "base")
    accounts = [access.member(service, PROJECT) for service in Service]
    writers = [(b["role"], b["members"]) for b in google.project_policy["bindings"]]
    assert writers == [("roles/monitoring.metricWriter", [who]) for who in accounts]
    readers = [(b["role"], b["members"]) for b in google.policies["otel-collector"]["bindings"]]
    assert readers == [(access.READER, [who]) for who in accounts]
    config = (ROOT / "deploy" / "monitoring" / "collector.yaml").read_text()
    assert google.secrets["otel-collector"] == [("ENABLED", config)]
    # An older configuration is replaced.
    google.secrets["otel-collector"] = [("ENABLED", "receivers: {}\n")]
    ops("deploy", "base")
    assert google.secrets["otel-collector"][-1] == ("ENABLED", config)


def test_without_a_collector_nobody_may_write_metrics(google, tmp_path):
    file = tmp_path / "values.yaml"
    text = EXAMPLE.read_text()
    file.write_text("".join(li for li in text.splitlines(True) if not li.startswith("collector:")))
    run = ["ops", "deploy", "base", "--values", str(file)]
    assert CliRunner().invoke(app, run).exit_code == 0
    assert "otel-collector" not in google.secrets
    assert "bindings" not in google.project_policy


def test_base_changes_only_what_differs(google, ops):
    ops("deploy", "base")
    google.queues["invite"]["retryConfig"]["maxAttempts"] = 3
    google.apis.remove("run.googleapis.com")
    google.secrets["LOG_LEVEL"] = [("DISABLED", "INFO")]
    google.commands.clear()
    told = ops("deploy", "base")
    assert [each.words[:4] for each in google.changes()] == [
        ("services", "enable", "run.googleapis.com", "--project=pgp-live"),
        ("tasks", "queues", "update", "invite"),
    ]
    assert "--max-attempts=100" in google.changes()[1].words
    assert "LOG_LEVEL (dynamic" in told


def test_base_for_one_service_only(google, ops):
    ops("deploy", "base", "--service", "web")
    wanted = {row.name for row in catalogue.secrets_of(Service.WEB)}
    assert set(google.secrets) == {*wanted, "otel-collector"}
    assert (len(google.accounts), google.queues) == (1, {})


def test_strangers_are_told_of_and_with_prune_removed(google, ops):
    ops("deploy", "base", "--service", "web")
    stranger = "user:canary-free@example.com".replace("canary-free", "old")
    for role in (access.READER, "roles/secretmanager.viewer"):
        google.policies["LOG_LEVEL"]["bindings"].append({"role": role, "members": [stranger]})
    told = ops("deploy", "base", "--service", "web")
    assert "user:old@example.com may read LOG_LEVEL without the catalogue's leave" in told
    ops("deploy", "base", "--service", "web", "--prune")
    told = ops("deploy", "base", "--service", "web")
    assert "without the catalogue" not in told


OPERATORS = [
    "user:Ann@Example.com",
    "serviceAccount:ops@a.iam.gserviceaccount.com",
    "group:sre@example.com",
]


def test_operators_are_no_strangers_to_bindings_and_to_the_audit_log(google, tmp_path):
    google.fill()
    file = tmp_path / "values.yaml"
    file.write_text(
        EXAMPLE.read_text().replace("operators: []", f"operators: {json.dumps(OPERATORS)}")
    )

    def run(*words):
        ended = CliRunner().invoke(app, ["ops", *words, "--service", "web", "--values", str(file)])
        return ended.exit_code, ended.output

    run("deploy", "base")
    members = [who.replace("Ann@E", "ann@e") for who in OPERATORS]
    google.policies["LOG_LEVEL"]["bindings"].append({"role": access.READER, "members": members})
    run("deploy", "base", "--prune")
    assert google.policies["LOG_LEVEL"]["bindings"][-1]["members"] == members
    google.log = [an_access("LOG_LEVEL", who.partition(":")[2]) for who in OPERATORS[:2]]
    assert run("verify", "secrets")[0] == 0
    # The log names members of groups: a group's own address in it is a stranger's.
    google.log = [an_access("LOG_LEVEL", "sre@example.com")]
    code, told = run("verify", "secrets")
    assert (code, "stranger: sre@example.com read it" in told) == (3, True)


def test_a_network_needs_its_api(google, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(EXAMPLE.read_text() + "network: default\nsubnet: default\n")
    run = ["ops", "deploy", "base", "--service", "web", "--values", str(file)]
    assert CliRunner().invoke(app, run).exit_code == 0
    assert "compute.googleapis.com" in google.apis


def test_a_role_over_the_whole_project_is_told_of(google, ops):
    who = access.member(Service.WEB, PROJECT)
    google.project_policy["bindings"] = [{"role": "roles/editor", "members": [who]}]
    google.project_policy["auditConfigs"] = [
        {"service": "allServices", "auditLogConfigs": [{"logType": "DATA_READ"}]}
    ]
    told = ops("deploy", "base", "--service", "web")
    assert "PGP_WEB_v1 has roles/editor over the whole project" in told
    assert "Accesses of secrets are in the audit log" in told
    assert not [each for each in google.changes() if "set-iam-policy" in each.words]


def test_exemptions_from_the_audit_log_end(google, ops):
    google.project_policy["auditConfigs"] = [
        {
            "service": "secretmanager.googleapis.com",
            "auditLogConfigs": [
                {"logType": "ADMIN_READ"},
                {"logType": "DATA_READ", "exemptedMembers": ["user:a@example.com"]},
            ],
        }
    ]
    ops("deploy", "base", "--service", "web")
    logs = google.project_policy["auditConfigs"][0]["auditLogConfigs"]
    assert logs == [{"logType": "ADMIN_READ"}, {"logType": "DATA_READ"}]


def test_secrets_in_regions_of_ones_own(google, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(EXAMPLE.read_text() + "replicas: [us-central1, us-east1]\n")
    told = (
        CliRunner()
        .invoke(app, ["ops", "deploy", "base", "--offline", "--values", str(file)])
        .output
    )
    assert "--replication-policy=user-managed --locations=us-central1,us-east1" in told


def test_it_stops_at_the_first_failure_and_says_how_to_go_on(google, ops):
    google.failing = "secrets create ALERTING_ENABLED"
    told = ops("deploy", "base", "--service", "web", code=1)
    assert "gcloud secrets create ALERTING_ENABLED" in told
    assert "ended with 1: ERROR: it is broken" in told
    assert "Run again: it goes on from here" in told
    assert "LOG_LEVEL" not in google.secrets
    google.failing = None
    ops("deploy", "base", "--service", "web")
    assert "LOG_LEVEL" in google.secrets


def test_an_interruption_is_told(google, ops, monkeypatch):
    def interrupted(given):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_gcloud", interrupted)
    assert "Interrupted" in ops("deploy", "base", code=130)


def test_nonsense_from_gcloud_is_an_error(google, ops, monkeypatch):
    monkeypatch.setattr(command, "run_gcloud", lambda given: Ran(0, "no JSON", ""))
    assert "wrote no JSON" in ops("deploy", "base", code=1)


@pytest.mark.parametrize(
    "words",
    [
        ("deploy", "base"),
        ("deploy", "pilot"),
        ("deploy", "pilot", "--no-traffic"),
        ("deploy", "security-critical", "--sources", str(ROOT / "services/src/pgp_services/web")),
        ("deploy", "wave", "1"),
        ("deploy", "wave", "--all", "--sources", str(ROOT / "services/src/pgp_services/web")),
        ("deploy", "all", "--sources", str(ROOT / "services/src/pgp_services/web")),
        ("test", "pilot"),
        ("verify", "secrets", "--impersonate"),
    ],
)
def test_a_dry_run_is_a_script_and_runs_nothing(google, ops, words):
    script = ops(*words, "--offline")
    assert google.commands == []
    statements = shlex.split(script, comments=True)
    assert "gcloud" in statements
    assert f"--project={PROJECT}" in statements
    verifies = words[0] in ("verify", "test")
    told = f"Dry run: nothing was {'verified' if verifies else 'done'}."
    assert script.splitlines()[-1].startswith(f"# {told}")
    document = json.loads(ops(*words, "--offline", "--json"))
    assert document["summary"].startswith(told)
    # Files are audited by a dry run too; nothing else is checked where nobody is asked.
    passed = {each["text"] for each in document["entries"] if each["kind"] == "passed"}
    assert passed <= {"The sources pass the audit"}
    assert document["dry_run"] is True
    assert document["exit_code"] == 0
    ops(*words, "--dry-run", code=google_is_bare(words))
    assert google.changes() == []


@pytest.mark.parametrize("how", ["--dry-run", "--offline"])
def test_a_dry_run_of_an_audit_names_files_and_rules_and_opens_none(google, ops, tmp_path, how):
    (tmp_path / "shop.py").write_text("import os\nos.getenv('CHANGENOW_API_KEY')\n")
    words = ("audit", "sources", str(tmp_path), how)
    script = ops(*words, values=False)
    assert shlex.split(script, comments=True) == []
    assert f"# Audit {tmp_path / 'shop.py'}" in script
    assert "# note: env-read: " in script
    assert "static-read" not in script
    assert script.splitlines()[-1] == "# Dry run: nothing was done. 1 to do."
    document = json.loads(ops(*words, "--json", values=False))
    assert (document["dry_run"], document["findings"]) == (True, [])
    assert google.commands == []


def test_a_dry_run_of_an_audit_of_nothing_is_a_wrong_use_too(ops, tmp_path):
    words = ("audit", "sources", str(tmp_path))
    assert "has no Python file" in ops(*words, "--dry-run", code=2, values=False)
    ops(*words, code=2, values=False)


@pytest.mark.parametrize("how", ["--dry-run", "--offline"])
def test_a_dry_run_of_generate_names_files_and_writes_none(google, ops, tmp_path, how):
    ops("generate", "--to", str(tmp_path))
    (tmp_path / "waves.yaml").unlink()
    (tmp_path / "iam" / "pgp-old-v1.yaml").write_text("")
    script = ops("generate", "--to", str(tmp_path), how)
    assert shlex.split(script, comments=True) == []
    assert f"# Write {tmp_path / 'waves.yaml'}" in script
    assert f"# Remove {tmp_path / 'iam' / 'pgp-old-v1.yaml'}" in script
    assert script.splitlines()[-1] == "# Dry run: nothing was done. 2 to do."
    assert not (tmp_path / "waves.yaml").exists()
    assert (tmp_path / "iam" / "pgp-old-v1.yaml").exists()
    assert google.commands == []


def every_operation(group, words=()):
    for each in group.registered_commands:
        yield (*words, each.name)
    for each in group.registered_groups:
        yield from every_operation(each.typer_instance, (*words, each.name))


@pytest.mark.parametrize("words", list(every_operation(command.ops)), ids=" ".join)
def test_each_operation_has_a_dry_run(words):
    """As services/README.md says."""
    told = CliRunner().invoke(app, ["ops", *words, "--help"], env={"COLUMNS": "200"}).output
    assert {"--dry-run", "--offline", "--json"} <= set(told.split())


def google_is_bare(words):
    """What a dry run that looks comes to where nothing is deployed."""
    if words[:2] == ("test", "pilot"):
        return 1
    return 3 if words[1] in ("security-critical", "secrets", "all") or "--all" in words else 0


# -- one service -------------------------------------------------------------------------------


def test_the_first_revision_has_the_traffic_and_the_next_one_waits(google, ops, tmp_path):
    told = ops("deploy", "pilot")
    first = revision_of(Service.SPLIT2, VALUES)
    assert f"Made the first revision, {first}" in told
    traffic = google.services["pgp-split2-v1"]["status"]["traffic"]
    assert [(t["revisionName"], t["percent"]) for t in traffic] == [(first, 100)]
    callers = {b["members"][0] for b in google.policies["pgp-split2-v1"]["bindings"]}
    assert callers == {
        access.member(each, PROJECT) for each in (Service.SPLIT1, Service.ACCUMULATOR)
    }

    google.commands.clear()
    assert "is there, and ready" in ops("deploy", "pilot")
    assert google.changes() == []

    moved = tmp_path / "values.yaml"
    moved.write_text(
        EXAMPLE.read_text().replace("SUCCESS_URL_SIGNING_KEY: 1", "SUCCESS_URL_SIGNING_KEY: 2")
    )
    runs = ["ops", "deploy", "pilot", "--values", str(moved)]
    told = CliRunner().invoke(app, [*runs, "--no-traffic"]).output
    assert "without traffic" in told
    assert "has no traffic; it is reachable by its tag, candidate" in told
    second = revision_of(Service.SPLIT2, values_from(moved))
    assert second != first
    service = google.services["pgp-split2-v1"]
    assert url_of(service, "candidate") == "https://candidate---pgp-split2-v1.run.app"
    CliRunner().invoke(app, runs)
    assert google.services["pgp-split2-v1"]["status"]["traffic"][0]["revisionName"] == second

    # Back again: the revision is there, so only traffic moves.
    google.commands.clear()
    ops("deploy", "pilot")
    assert [each.words[2] for each in google.changes()] == ["update-traffic"]


def test_a_revision_that_was_made_before_gets_the_tag_as_well(google, ops, tmp_path):
    ops("deploy", "pilot")
    newer = tmp_path / "values.yaml"
    newer.write_text(f"{EXAMPLE.read_text()}max_age: 2\n")
    CliRunner().invoke(app, ["ops", "deploy", "pilot", "--values", str(newer)])
    service = google.services["pgp-split2-v1"]
    service["status"]["traffic"].append({"revisionName": "other", "tag": "blue"})
    told = ops("deploy", "pilot", "--no-traffic")
    first = revision_of(Service.SPLIT2, VALUES)
    assert f"{first} has no traffic; it is reachable by its tag, candidate" in told
    tags = {t["tag"]: t["revisionName"] for t in service["status"]["traffic"] if "tag" in t}
    assert tags == {"candidate": first, "blue": "other"}
    serving = [t["revisionName"] for t in service["status"]["traffic"] if t.get("percent")]
    assert serving == [revision_of(Service.SPLIT2, values_from(newer))]
    google.commands.clear()
    ops("deploy", "pilot", "--no-traffic")
    assert google.changes() == []


def test_a_revision_that_never_became_ready_is_not_tried_again(google, ops):
    ops("deploy", "pilot")
    revision = google.revisions["pgp-split2-v1"][revision_of(Service.SPLIT2, VALUES)]
    revision["status"] = {}
    told = ops("deploy", "pilot", code=1)
    assert "was made before and is not ready" in told
    assert "gcloud run revisions delete" in told


def test_callers_that_nobody_named_are_told_of(google, desk):
    deploy_service(desk, Service.WEB)
    assert {"role": access.INVOKER, "members": ["allUsers"]} in google.policies["pgp-web-v1"][
        "bindings"
    ]
    google.policies["pgp-web-v1"]["bindings"].append(
        {"role": access.INVOKER, "members": ["user:a@example.com"]}
    )
    deploy_service(desk, Service.WEB)
    assert "user:a@example.com may call pgp-web-v1" in desk.journal.texts("note")[-1]


def test_a_scheduler_of_the_operators_file_may_call(google, desk):
    deploy_service(desk, Service.BATCHPROCESSOR)
    members = [b["members"][0] for b in google.policies["pgp-batchprocessor-v1"]["bindings"]]
    assert "serviceAccount:scheduler@pgp-live.iam.gserviceaccount.com" in members


# -- the pilot's test --------------------------------------------------------------------------


class FakePilot:
    """The pilot as its health pages and refusals show it, behind httpx."""

    def __init__(self, google):
        self.google = google
        self.kinds = {r.name: r.reload_class for r in catalogue.secrets_of(Service.SPLIT2)}
        self.log_level = len(google.secrets["LOG_LEVEL"])
        self.stale, self.missing = set(), set()
        self.health = httpx.Response(200, json={"status": "alive"})
        self.refusal, self.takes_up, self.seen = 401, True, []

    def __call__(self, request):
        self.seen.append(request.headers.get("Authorization"))
        if request.url.path == "/healthz":
            return self.health
        if request.url.path == "/readyz":
            return httpx.Response(503 if self.missing else 200, json={"secrets": self.rows()})
        if not json.loads(request.content):
            return httpx.Response(400, json={})
        if self.takes_up:
            self.log_level = len(self.google.secrets["LOG_LEVEL"])
        return httpx.Response(self.refusal, json={"status": "error"})

    def rows(self):
        return [
            {
                "name": name,
                "kind": kind,
                "state": "missing"
                if name in self.missing
                else "stale"
                if name in self.stale
                else "ok",
                "version": self.log_level if name == "LOG_LEVEL" else 1,
            }
            for name, kind in self.kinds.items()
        ]


@pytest.fixture
def deployed(google, ops, monkeypatch):
    google.fill()
    ops("deploy", "pilot")
    fake = FakePilot(google)
    real = pilot.Pilot
    monkeypatch.setattr(
        pilot, "Pilot", lambda url, token: real(url, token, httpx.MockTransport(fake))
    )
    return fake


def test_a_good_pilot_passes_and_its_verdict_is_kept(google, deployed, ops, tmp_path):
    record = tmp_path / "kept" / "pilot.json"
    told = ops("test", "pilot", "--record", str(record))
    assert "LOG_LEVEL went from version 1 to 2 without a restart" in told
    assert google.secrets["LOG_LEVEL"][0][1] == google.secrets["LOG_LEVEL"][1][1]
    assert set(deployed.seen) == {"Bearer canary-token"}
    verdict = json.loads(record.read_text())
    assert (verdict["passed"], verdict["rotated"]) == (True, True)
    assert verdict["revision"] == revision_of(Service.SPLIT2, VALUES)
    assert "canary" not in record.read_text()


def test_by_its_tag_as_an_account_and_without_a_rotation(google, deployed, ops, tmp_path):
    record = tmp_path / "pilot.json"
    ops(
        "test",
        "pilot",
        "--tag",
        "candidate",
        "--as",
        "sa@x",
        "--no-rotation",
        "--record",
        str(record),
    )
    asked = next(each for each in google.commands if "auth" in each.words)
    assert "--impersonate-service-account=sa@x" in asked.words
    assert json.loads(record.read_text())["revision"] == revision_of(Service.SPLIT2, VALUES)
    assert json.loads(record.read_text())["rotated"] is False


def test_a_local_one_without_a_token(google, deployed, ops, tmp_path):
    words = ("--url", "http://127.0.0.1:1", "--no-token", "--record", str(tmp_path / "p.json"))
    ops("test", "pilot", *words)
    assert set(deployed.seen) == {None}
    told = ops("test", "pilot", *words, "--dry-run")
    assert "# Expects 401: curl" in told
    assert "versions add LOG_LEVEL" in told
    assert "versions add" not in ops("test", "pilot", *words, "--dry-run", "--no-rotation")
    assert "--json '{}'" in told


def test_no_identity_token_is_an_error(google, deployed, ops):
    google.failing = "auth print-identity-token"
    assert "no identity token" in ops("test", "pilot", code=1)


def test_googles_own_404_of_healthz_is_no_fault(deployed, ops, tmp_path):
    deployed.health = httpx.Response(404, text="<html>Not Found</html>")
    told = ops("test", "pilot", "--record", str(tmp_path / "p.json"))
    assert "the liveness probe asks it within" in told


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda p: setattr(p, "health", httpx.Response(500)), "/healthz answered 500"),
        (lambda p: setattr(p, "health", httpx.Response(200, json=[])), "another's"),
        (lambda p: p.missing.add("LOG_LEVEL"), "/readyz answered 503; unusable: ['LOG_LEVEL']"),
        (lambda p: p.stale.add("PGP_SPLIT1_URL"), "not fresh: ['PGP_SPLIT1_URL']"),
        (lambda p: p.kinds.pop("PGP_SPLIT1_URL"), "it has other secrets"),
        (lambda p: setattr(p, "refusal", 200), "a bad token was answered with 200"),
    ],
)
def test_a_bad_pilot_does_not_pass(deployed, ops, tmp_path, spoil, told):
    spoil(deployed)
    said = ops("test", "pilot", "--record", str(tmp_path / "p.json"), code=3)
    assert told in said
    assert json.loads((tmp_path / "p.json").read_text())["passed"] is False


def test_static_secrets_have_to_be_at_their_pinned_versions(google, deployed, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(
        EXAMPLE.read_text().replace("DATABASE_NAME_SECRET: 1", "DATABASE_NAME_SECRET: 2")
    )
    words = ["ops", "test", "pilot", "--values", str(file), "--record", str(tmp_path / "p.json")]
    ended = CliRunner().invoke(app, words)
    assert "not at the pinned versions: {'DATABASE_NAME_SECRET': 1}" in ended.output


def test_a_rotation_that_is_not_taken_up(google, deployed, desk):
    deployed.takes_up = False
    times = iter([0.0, 1.0, 61.0])
    slept = []
    found = pilot.try_pilot(
        desk,
        pilot.Pilot("https://pilot", None),
        revision="r",
        sleep=slept.append,
        clock=lambda: next(times),
    )
    assert found.checks["rotation"].startswith("LOG_LEVEL is at 1 after 60 s, not at 2")
    assert slept == [2.0]


def test_a_rotation_by_one_who_may_not_read(google, deployed, ops, tmp_path):
    google.denied.add(("LOG_LEVEL", "me"))
    told = ops("test", "pilot", "--record", str(tmp_path / "p.json"), code=3)
    assert "LOG_LEVEL cannot be read by you" in told


def test_an_unreachable_pilot_shows_nothing_of_the_request():
    def broken(request):
        raise httpx.ConnectError("canary", request=request)

    asked = pilot.Pilot("https://pilot", "canary", httpx.MockTransport(broken))
    with pytest.raises(OpsError) as raised:
        asked.get("/readyz")
    assert "canary" not in repr(raised.value)
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
    asked.close()


def test_a_pilot_that_is_not_deployed(google, ops):
    assert "not deployed" in ops("test", "pilot", code=1)
    ops("deploy", "pilot")
    assert "with the tag blue" in ops("test", "pilot", "--tag", "blue", code=1)


def an_access(name="CHANGENOW_API_KEY", who=PILOTS_ACCOUNT):
    """An entry of the audit log."""
    sample = json.loads((Path(__file__).parent / "data" / "audit_log.json").read_text())
    text = json.dumps(next(e for e in sample if "CHANGENOW" in str(e) and "ops@" not in str(e)))
    return json.loads(text.replace(PILOTS_ACCOUNT, who).replace("CHANGENOW_API_KEY", name))


# -- gates -------------------------------------------------------------------------------------


@pytest.fixture
def clean(tmp_path):
    (tmp_path / "clean.py").write_text("X = 1\n")
    return str(tmp_path / "clean.py")


def test_the_critical_ones_need_the_audit_and_the_pilots_verdict(
    google, deployed, ops, tmp_path, clean
):
    record = str(tmp_path / "pilot.json")
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nos.getenv('LOG_LEVEL')\n")
    words = ("deploy", "security-critical", "--record", record)
    assert "the audit of the sources has 1 findings" in ops(*words, "--sources", str(bad), code=3)
    assert "there is no verdict" in ops(*words, "--sources", clean, code=3)
    ops("test", "pilot", "--record", record)
    ops(*words, "--sources", clean)
    assert {"pgp-hostpay3-v1", "pgp-hostpay1-v1", "pgp-server-v1", "pgp-orchestrator-v1"} < set(
        google.services
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"project": "other"}, "another project"),
        ({"passed": False}, "has not passed its test"),
        ({"rotated": False}, "has not passed its test"),
        ({"revision": "pgp-split2-v1-old"}, "another revision serves"),
        ({"at": "2020-01-01T00:00:00+00:00"}, "more than 14 days old"),
        ({"extra": 1}, "there is no verdict"),
    ],
)
def test_what_a_verdict_has_to_say(google, deployed, ops, tmp_path, clean, change, told):
    record = tmp_path / "pilot.json"
    ops("test", "pilot", "--record", str(record))
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
    words = ("deploy", "security-critical", "--record", str(record), "--sources", clean)
    assert told in ops(*words, code=3)
    assert "pgp-hostpay3-v1" not in google.services


def test_waves_go_as_far_as_the_gates_let_pass(
    google, deployed, ops, tmp_path, clean, monkeypatch
):
    record = str(tmp_path / "pilot.json")
    ops("deploy", "base")
    google.fill()
    ops("test", "pilot", "--record", record)
    words = ("deploy", "wave", "--all", "--record", record, "--sources", clean)
    log = tmp_path / "log.json"
    google.log = [an_access()]
    log.write_text(json.dumps(google.log))

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromisoformat(NOW) + timedelta(days=2)

    monkeypatch.setattr(waves, "datetime", Later)
    told = ops(*words, code=3)
    assert "has 5 of its 7 days to go" in told
    assert "pgp-web-v1" not in google.services
    ops(*words, "--no-soak", "--audit-log", str(log))
    assert len(google.services) == 17
    google.commands.clear()
    ops(*words, "--no-soak")
    assert google.changes() == []
    # Gates stay closed over what is amiss.
    google.secrets["TP_FLAT_FEE"] = [("ENABLED", "canary")]
    told = ops("deploy", "wave", "4", "--no-soak", "--record", record, "--sources", clean, code=3)
    assert "TP_FLAT_FEE: value" in told


def test_all_anew_once_the_rollout_is_over(google, deployed, desk, ops, tmp_path, clean):
    record = str(tmp_path / "pilot.json")
    words = ("deploy", "all", "--record", record, "--sources", clean)
    ops("test", "pilot", "--record", record)
    assert "PGP_WEB_v1" in ops(*words, code=3)
    for service in Service:
        deploy_service(desk, service)
    file = tmp_path / "values.yaml"
    file.write_text(EXAMPLE.read_text().replace("services@sha256:0", "services@sha256:1"))
    run = ["ops", *words, "--values", str(file)]
    refused = CliRunner().invoke(app, run)
    assert refused.exit_code == 3
    assert "the pilot does not serve with this file" in refused.output
    for first in (["deploy", "pilot"], ["test", "pilot", "--record", record]):
        assert CliRunner().invoke(app, ["ops", *first, "--values", str(file)]).exit_code == 0
    assert CliRunner().invoke(app, run).exit_code == 0
    moved = values_from(file)
    for service in Service:
        traffic = google.services[access.cloud_name(service)]["status"]["traffic"]
        assert (revision_of(service, moved), 100) in [
            (each["revisionName"], each.get("percent")) for each in traffic
        ]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda s, r: s.pop("pgp-split2-v1"), "pgp-split2-v1 is not deployed"),
        (lambda s, r: s["pgp-split2-v1"]["status"].pop("conditions"), "is not ready, or several"),
        (lambda s, r: r["pgp-split2-v1"].clear(), "is not ready"),
    ],
)
def test_a_wave_that_does_not_serve_well(google, desk, spoil, told):
    deploy_service(desk, Service.SPLIT2)
    spoil(google.services, google.revisions)
    with pytest.raises(RefusedError, match=told):
        waves.gate(desk, waves.DEFAULT.wave(1), now=datetime.now(UTC), soak=False)


def test_a_wave_or_all_of_them(google, ops):
    assert "give a wave's number, or --all" in ops("deploy", "wave", code=2).replace("\n", " ")
    ops("deploy", "wave", "1", "--all", code=2)
    assert "There are waves 1 to 5" in ops("deploy", "wave", "6", code=1)


def test_a_wave_file_of_ones_own(google, ops, tmp_path):
    ops("deploy", "wave", "1", "--waves", str(ROOT / "deploy" / "waves.yaml"))
    bad = tmp_path / "waves.yaml"
    assert "cannot be read" in ops("deploy", "wave", "1", "--waves", str(bad), code=1)
    bad.write_text("waves: []")
    told = ops("deploy", "wave", "1", "--waves", str(bad), code=1)
    assert "PGP_WEB_v1 is in no wave" in told
    assert "the first wave is not PGP_SPLIT2_v1 alone" in told


def _exchange(planned):
    planned[1]["services"], planned[3]["services"] = planned[3]["services"], planned[1]["services"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda w: w.insert(0, w.pop()), "the weeks are not 1, 2, 3"),
        (lambda w: w[1]["services"].append("PGP_SPLIT1_v1"), "PGP_SPLIT1_v1 is in several waves"),
        (lambda w: w[4]["services"].append(w[3]["services"].pop()), "no wave of their own"),
        (_exchange, "in the first half"),
    ],
)
def test_what_a_plan_has_to_hold(tmp_path, spoil, told):
    document = waves.DEFAULT.model_dump(mode="json")
    spoil(document["waves"])
    file = tmp_path / "waves.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(OpsError, match=told):
        waves.plan_from(file)


# -- secrets -----------------------------------------------------------------------------------


def test_good_secrets_verify_and_static_ones_are_not_read(google, ops):
    ops("deploy", "base")
    google.fill()
    ops("verify", "secrets", "--impersonate")
    read = {
        next(word for word in each.words if word.startswith("--secret=")).removeprefix("--secret=")
        for each in google.commands
        if "access" in each.words
    }
    dynamic = {r.name for r in catalogue.CATALOGUE.values() if r.reload_class == "dynamic"}
    assert read == dynamic


def test_every_fault_of_the_secrets_is_found(google, ops):
    ops("deploy", "base")
    google.fill()
    who = access.account_of(Service.SPLIT2, PROJECT)
    google.secrets.pop("PGP_INVITE_URL")
    google.secrets["TP_FLAT_FEE"] = [("ENABLED", "canary")]
    google.secrets["LOG_LEVEL"].append(("DISABLED", "DEBUG"))
    google.secrets["PGP_SERVER_URL"] = []
    google.secrets["JWT_SECRET_KEY"] = [("DESTROYED", ""), ("ENABLED", "canary")]
    google.secrets["SIGNUP_SECRET_KEY"].append(("ENABLED", "canary"))
    google.denied |= {("CHANGENOW_API_KEY", who), ("PGP_WEB", "me"), ("ALERTING_ENABLED", "me")}
    google.policies["PGP_SUCCESS_URL"]["bindings"] = [
        {"role": access.READER, "members": ["user:old@example.com"]}
    ]
    google.policies["PGP_FAILURE_URL"] = "none"
    document = json.loads(
        ops("verify", "secrets", "--impersonate", "--no-audit-log", "--json", code=3)
    )
    found = {(each["where"], each["rule"]): each["text"] for each in document["findings"]}
    assert set(found) == {
        ("PGP_INVITE_URL", "missing"),
        ("TP_FLAT_FEE", "value"),
        ("LOG_LEVEL", "state"),
        ("PGP_SERVER_URL", "state"),
        ("JWT_SECRET_KEY", "state"),
        ("CHANGENOW_API_KEY", "unreadable"),
        ("ALERTING_ENABLED", "unreadable"),
        ("PGP_SUCCESS_URL", "binding"),
        ("PGP_SUCCESS_URL", "stranger"),
        ("PGP_FAILURE_URL", "binding"),
    }
    assert found["LOG_LEVEL", "state"] == "version 2 is DISABLED"
    assert found["PGP_SERVER_URL", "state"] == "every version is MISSING"
    notes = [each["text"] for each in document["entries"] if each["kind"] == "note"]
    assert "SIGNUP_SECRET_KEY is pinned to version 1; 2 waits for a deployment" in notes


def test_the_log_is_of_a_file_or_of_gcloud(google, ops, tmp_path):
    ops("deploy", "base", "--service", "web")
    google.fill()
    told = ops("verify", "secrets", "--service", "web")
    assert "0 accesses, and among them the starts: none" in told
    # Once something is deployed, an empty log is no proof.
    ops("deploy", "pilot")
    empty = tmp_path / "log.json"
    empty.write_text("")
    for source in ((), ("--audit-log", str(empty))):
        told = ops("verify", "secrets", "--service", "web", *source, code=3)
        assert "the audit log: no-evidence" in told
    google.log = [an_access()]
    ops("verify", "secrets", "--service", "web")
    empty.write_text('{"entries": []}')
    told = ops("verify", "secrets", "--service", "web", "--audit-log", str(empty), code=1)
    assert "entry 1: it is no LogEntry" in told
    missing = str(tmp_path / "none.json")
    told = ops("verify", "secrets", "--service", "web", "--audit-log", missing, code=1)
    assert "cannot be read (FileNotFoundError)" in told


# -- the rest ----------------------------------------------------------------------------------


def test_the_audit_as_a_command(ops, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("PGP_X_URL = 'https://split1.pgp.example'\n")
    assert "No findings." in ops("audit", "sources", str(bad), values=False)
    told = ops("audit", "sources", str(bad), "--host", "*.pgp.example", code=3, values=False)
    assert "hard-coded-url" in told
    (tmp_path / "empty").mkdir()
    told = ops("audit", "sources", str(tmp_path / "empty"), code=2, values=False)
    assert "0 files audited" in told
    document = json.loads(
        ops(
            "audit", "sources", str(bad), "--host", "*.pgp.example", "--json", code=3, values=False
        )
    )
    assert document["findings"][0]["rule"] == "hard-coded-url"


def test_generating_and_comparing(ops, tmp_path):
    folder = tmp_path / "deploy"
    words = ("generate", "--to", str(folder))
    assert "cloudrun/pgp-web-v1.yaml" in ops(*words, "--check", code=3)
    ops(*words)
    ops(*words, "--check")
    (folder / "iam" / "pgp-gone-v1.yaml").write_text("")
    assert "iam/pgp-gone-v1.yaml differ" in ops(*words, "--check", code=3)
    ops(*words)
    assert not (folder / "iam" / "pgp-gone-v1.yaml").exists()


def test_a_failure_of_a_confidential_command_shows_none_of_its_output(google, desk):
    google.failing = "secrets versions add"
    with pytest.raises(OpsError) as raised:
        desk.change("x", "secrets", "versions", "add", "N", given="canary", confidential=True)
    assert "canary" not in str(raised.value)
    assert "broken" not in str(raised.value)


def test_what_a_command_reads_is_shown_unless_it_is_a_value():
    assert Command(("a b",)).shown() == "gcloud 'a b'"
    assert Command(("x",), "given\n").shown() == "gcloud x <<'END_OF_INPUT'\ngiven\nEND_OF_INPUT"
    assert Command(("x",), "canary", confidential=True).shown() == 'gcloud x <<< "$VALUE"'
    assert "canary" not in repr(Command(("x",), "canary"))
    assert "canary" not in repr(Ran(0, "canary", "canary"))


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A gcloud that is a shell script."""

    def make(script):
        file = tmp_path / "gcloud"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_gcloud_is_run_as_it_is(program):
    program('echo "$@"; cat; echo oops >&2; exit 3')
    ran = run_gcloud(Command(("a", "b c"), "in\r\n\udcff"))
    assert (ran.code, ran.out, ran.err) == (3, "a b c --quiet\nin\r\n\udcff", "oops\n")


def test_a_missing_or_endless_gcloud_is_told(program, monkeypatch, tmp_path):
    program("exec sleep 60")
    monkeypatch.setattr(gcloud, "TIMEOUT", 0.05)
    with pytest.raises(OpsError, match="did not end within"):
        run_gcloud(Command(("secrets", "list")))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(OpsError, match="not on the PATH"):
        run_gcloud(Command(("secrets", "list")))
