"""The operator's file, the manifests, the rights, and what deploy/ keeps of them."""

import json
import re
from pathlib import Path

import pytest
import yaml

from pgp_config import Memory
from pgp_services import catalogue, registry
from pgp_services.names import Service
from pgp_services.ops import access
from pgp_services.ops.failures import OpsError
from pgp_services.ops.generated import differing, files_of
from pgp_services.ops.manifests import candidate, manifest, revision_of, settings_of, shape_of
from pgp_services.ops.values import values_from
from pgp_services.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLE = DEPLOY / "values.example.yaml"
VALUES = values_from(EXAMPLE)
DIGEST = f"@sha256:{64 * '0'}"


def test_deploy_is_as_the_catalogue_says():
    assert differing(DEPLOY, VALUES) == []


@pytest.mark.parametrize("service", Service)
def test_a_manifest_is_one_that_cloud_run_takes(service):
    made = manifest(service, VALUES)
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?", made["metadata"]["name"])
    account = made["spec"]["template"]["spec"]["serviceAccountName"].partition("@")[0]
    assert re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", account)
    assert len(revision_of(service, VALUES)) <= 63
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    probe = container["startupProbe"]
    assert probe["timeoutSeconds"] <= probe["periodSeconds"] <= 240
    assert probe["periodSeconds"] * probe["failureThreshold"] <= 240


@pytest.mark.parametrize("service", Service)
def test_its_variables_are_those_that_the_service_takes(service, monkeypatch):
    given = settings_of(service, VALUES)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environ()
    if access.queues_of(service):
        assert settings.tasks_service_account == access.account_of(service, "pgp-live")
    if access.without_tasks_secrets(service):
        assert (settings.tasks_project, settings.tasks_region) == ("pgp-live", "us-central1")
    # The pins are of static secrets that its container declares, all of them.
    secrets = registry.container_of(service)(source=Memory({}))
    static = {row.name for row in catalogue.secrets_of(service) if row.reload_class == "static"}
    pinned = given.get("PGP_CONFIG_PINNED", "")
    assert {pin.partition("=")[0] for pin in pinned.split(",") if pin} == static
    secrets.close()


def test_alerts_do_not_stumble_over_the_pins(monkeypatch):
    from pgp_services.alerting import alerts_from

    monkeypatch.setenv(
        "PGP_CONFIG_PINNED", settings_of(Service.SPLIT2, VALUES)["PGP_CONFIG_PINNED"]
    )
    alerts = alerts_from("memory:")
    assert alerts is not None
    alerts.close()


def test_who_polls_telegram_runs_once_and_always():
    assert shape_of(Service.SERVER, VALUES).largest == 1
    assert shape_of(Service.SERVER, VALUES).always_on
    assert settings_of(Service.SERVER, VALUES)["TELEGRAM_UPDATES"] == "poll"
    assert settings_of(Service.BOTCOMMAND, VALUES)["TELEGRAM_UPDATES"] == "off"
    assert "TELEGRAM_UPDATES" not in settings_of(Service.WEB, VALUES)
    assert shape_of(Service.WEBAPI, VALUES).concurrency > 8
    assert "--threads=8" not in str(manifest(Service.WEBAPI, VALUES))


def test_botcommand_polls_in_servers_place_where_the_operators_file_says_so(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(EXAMPLE.read_text() + "poller: PGP_BOTCOMMAND_v1\n")
    values = values_from(file)
    assert settings_of(Service.BOTCOMMAND, values)["TELEGRAM_UPDATES"] == "poll"
    assert settings_of(Service.SERVER, values)["TELEGRAM_UPDATES"] == "off"
    only_one = shape_of(Service.BOTCOMMAND, values)
    assert (only_one.smallest, only_one.largest, only_one.always_on) == (1, 1, True)
    assert shape_of(Service.SERVER, values).largest > 1
    made = manifest(Service.BOTCOMMAND, values)["spec"]["template"]
    assert made["metadata"]["annotations"]["autoscaling.knative.dev/maxScale"] == "1"


def test_optional_settings_are_handed_on(tmp_path):
    file = tmp_path / "values.yaml"
    more = "max_age: 2.5\nnetwork: net\nsubnet: sub\nuptake: redis://r\nalerts_source: gsm://a\nipn_url: https://ipn.example\n"
    file.write_text(EXAMPLE.read_text() + more)
    given = settings_of(Service.SERVER, values_from(file))
    assert given["PGP_CONFIG_MAX_AGE"] == "2.5"
    assert given["PGP_CONFIG_UPTAKE"] == "redis://r"
    assert given["ALERTS_SOURCE"] == "gsm://a"
    assert given["NOWPAYMENTS_IPN_URL"] == "https://ipn.example"
    assert "NOWPAYMENTS_IPN_URL" not in settings_of(Service.WEB, values_from(file))
    # Redis is at a private address, and Cloud Run reaches none without.
    annotations = manifest(Service.WEB, values_from(file))["spec"]["template"]["metadata"][
        "annotations"
    ]
    interfaces = json.loads(annotations["run.googleapis.com/network-interfaces"])
    assert interfaces == [{"network": "net", "subnetwork": "sub"}]
    assert annotations["run.googleapis.com/vpc-access-egress"] == "private-ranges-only"
    assert "network" not in str(manifest(Service.WEB, VALUES))


def test_a_pin_makes_another_revision_and_traffic_waits():
    moved = VALUES.model_copy(update={"pinned": {**VALUES.pinned, "JWT_SECRET_KEY": 2}})
    assert revision_of(Service.WEBAPI, moved) != revision_of(Service.WEBAPI, VALUES)
    assert revision_of(Service.WEB, moved) == revision_of(Service.WEB, VALUES)
    made = candidate(Service.WEBAPI, moved, [("old", 90), ("older", 10)])
    assert made["spec"]["template"]["metadata"]["name"] == revision_of(Service.WEBAPI, moved)
    assert [(t["revisionName"], t["percent"]) for t in made["spec"]["traffic"]] == [
        ("old", 90),
        ("older", 10),
        (revision_of(Service.WEBAPI, moved), 0),
    ]


@pytest.mark.parametrize("service", Service)
def test_a_collector_is_beside_each_service_that_sends_it_what_it_measures(service):
    made = manifest(service, VALUES)["spec"]["template"]
    app, collector = made["spec"]["containers"]
    env = {each["name"]: each["value"] for each in app["env"]}
    config = yaml.safe_load((DEPLOY / "monitoring" / "collector.yaml").read_text())
    listens = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://{listens}"
    assert collector["image"] == VALUES.collector
    assert "ports" not in collector
    port = collector["startupProbe"]["httpGet"]["port"]
    assert config["extensions"]["health_check"]["endpoint"].endswith(f":{port}")
    (mount,), (volume,) = collector["volumeMounts"], made["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["secret"]["secretName"] == "otel-collector"
    path = f"{mount['mountPath']}/{volume['secret']['items'][0]['path']}"
    assert collector["args"] == [f"--config={path}"]
    order = made["metadata"]["annotations"]["run.googleapis.com/container-dependencies"]
    assert json.loads(order) == {app["name"]: [collector["name"]]}
    rights = yaml.safe_load((DEPLOY / "iam" / f"{access.cloud_name(service)}.yaml").read_text())
    assert rights["overProject"] == ["roles/monitoring.metricWriter"]
    assert "otel-collector" in rights["roles"][access.READER]


def test_without_a_collector_a_service_stands_alone():
    alone = manifest(Service.WEB, VALUES.model_copy(update={"collector": None}))
    spec = alone["spec"]["template"]["spec"]
    assert len(spec["containers"]) == 1
    assert "volumes" not in spec
    assert "OTEL" not in str(alone)
    rights = files_of(VALUES.model_copy(update={"collector": None}))["iam/pgp-web-v1.yaml"]
    assert yaml.safe_load(rights)["overProject"] == []
    assert "otel-collector" not in rights


def test_no_manifest_holds_a_secrets_name_but_in_its_pins():
    for service in Service:
        container = manifest(service, VALUES)["spec"]["template"]["spec"]["containers"][0]
        names = {each["name"] for each in container["env"]}
        assert not names & set(catalogue.CATALOGUE)


def test_rights_are_the_least():
    rights = access.bindings_of(Service.WEB)
    assert rights[access.READER] == [row.name for row in catalogue.secrets_of(Service.WEB)]
    assert rights[access.ENQUEUER] == rights[access.INVOKER] == rights[access.ACTOR] == []
    readers = [
        s for s in Service if "HOST_WALLET_PRIVATE_KEY" in access.bindings_of(s)[access.READER]
    ]
    assert readers == [Service.HOSTPAY3]


def test_who_only_shows_a_url_may_not_call_it():
    assert "PGP_SERVER_URL" in access.bindings_of(Service.WEBAPI)[access.READER]
    assert access.bindings_of(Service.WEBAPI)[access.INVOKER] == []
    assert access.callers_of(Service.SERVER) == []
    # Every other URL of a service is called by all who read it.
    for row in catalogue.CATALOGUE.values():
        called = access.called_by(row)
        if called is not None and row.name != "PGP_SERVER_URL":
            assert row.readers <= set(access.callers_of(called))


def test_which_service_a_url_leads_to():
    led = {
        r.name: access.called_by(r) for r in catalogue.CATALOGUE.values() if r.kind == "https url"
    }
    assert led["PGP_NOTIFICATION_URL"] == Service.NOTIFICATIONS
    assert led["PGP_SCHEDULER_URL"] is None
    assert led["PGP_SUCCESS_URL"] is None
    assert led["PGP_HOSTPAY1_URL"] == Service.HOSTPAY1
    assert access.callers_of(Service.HOSTPAY3) == [Service.HOSTPAY1, Service.HOSTPAY3]


def test_a_project_with_a_domain():
    assert access.account_of(Service.WEB, "example.com:pgp") == (
        "pgp-web-v1@pgp.example.com.iam.gserviceaccount.com"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("  SIGNUP_SECRET_KEY: 1\n", ""), "pinned lacks SIGNUP_SECRET_KEY"),
        (("SIGNUP_SECRET_KEY", "SIGNUP"), "has SIGNUP, which the catalogue has not"),
        (("[invite]", "[]"), "queues.PGP_INVITE_QUEUE"),
        (("[invite]", "[in_vite]"), "queues.PGP_INVITE_QUEUE.0"),
        (("SIGNUP_SECRET_KEY: 1", "SIGNUP_SECRET_KEY: 0"), "pinned.SIGNUP_SECRET_KEY"),
        (("operators: []", "operator: []"), "operator: Extra inputs"),
        (("project: pgp-live", "project: 'a b'"), "project"),
        (("SIGNUP_SECRET_KEY: 1", "SIGNUP_SECRET_KEY: true"), "pinned.SIGNUP_SECRET_KEY"),
        (("SIGNUP_SECRET_KEY: 1", "SIGNUP_SECRET_KEY: '1'"), "pinned.SIGNUP_SECRET_KEY"),
        (("[hostpay2]", "[hostpay2, hostpay3]"), "queues has hostpay3 under several secrets"),
        (("[invite]", "[pgp-hostpay3-ledger]"), "queues has pgp-hostpay3-ledger under several"),
        ((f"pgp-services{DIGEST}", "pgp-services:0.1.0"), "image: write HOST/PATH@sha256:DIGEST"),
        (
            (f"otelcol-google{DIGEST}", "otelcol-google:1"),
            "collector: write HOST/PATH@sha256:DIGEST",
        ),
        (("operators: []", "operators: [a@example.com]"), "operators.0: write user:ADDRESS"),
        (
            ("operators: []", "operators: ['domain:example.com']"),
            "operators.0: write user:ADDRESS",
        ),
        (("operators: []", "network: net"), "network and subnet go together"),
        (("operators: []", "uptake: redis://r"), "uptake needs network and subnet"),
        (("operators: []", "uptake: redis://:p@r"), "uptake: write redis://HOST"),
        (("operators: []", "ipn_url: http://a.example"), "ipn_url: write https://HOST"),
        (("operators: []", "alerts_source: pgp-alerts"), "alerts_source: write gsm://PROJECT"),
        (("operators: []", "poller: PGP_WEB_v1"), "poller: Input should be"),
    ],
)
def test_an_incomplete_file_is_refused_with_every_fault(tmp_path, change, told):
    file = tmp_path / "values.yaml"
    text = EXAMPLE.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change))
    with pytest.raises(OpsError, match="is not complete") as raised:
        values_from(file)
    assert told in str(raised.value)


def test_what_is_no_file_of_values_is_refused(tmp_path):
    file = tmp_path / "values.yaml"
    with pytest.raises(OpsError, match="FileNotFoundError"):
        values_from(file)
    file.write_text("[1")
    with pytest.raises(OpsError, match="cannot be read"):
        values_from(file)
    file.write_text("- 1")
    with pytest.raises(OpsError, match="it is no mapping"):
        values_from(file)
    file.write_text("")
    with pytest.raises(OpsError, match="project: Field required"):
        values_from(file)


def test_options_take_the_place_of_the_file():
    assert values_from(EXAMPLE, project="other", region=None).project == "other"
    assert VALUES.region == "us-central1"


def test_the_wave_file_is_the_fleets_own():
    from pgp_services.ops.waves import DEFAULT, plan_from

    assert plan_from(DEPLOY / "waves.yaml") == plan_from(None) == DEFAULT


def test_the_dockerfile_builds_what_the_manifests_run():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    steps = [line.partition(" ") for line in lines if re.match("[A-Z]+ ", line)]
    verbs = [verb for verb, _, _ in steps]
    assert verbs[0] == "FROM"
    assert set(verbs) <= {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT"}
    user = next(rest for verb, _, rest in steps if verb == "USER")
    assert user not in ("root", "0")
    copied = [rest.split() for verb, _, rest in steps if verb == "COPY" and "--from" not in rest]
    for *files, _ in copied:
        for file in files:
            assert (DEPLOY.parent / file).exists()
    text = "\n".join(lines)
    assert "--require-hashes" in text
    assert "://" not in text
    made = yaml.safe_load((DEPLOY / "cloudrun" / "pgp-web-v1.yaml").read_text())
    command = made["spec"]["template"]["spec"]["containers"][0]["command"]
    assert f'ENTRYPOINT ["{command[0]}"]' in text


def test_the_image_installs_every_dependency_at_the_version_that_is_tested():
    import tomllib

    def pinned(name):
        text = (DEPLOY.parent / "requirements" / name).read_text()
        return set(re.findall(r"^([a-z0-9.-]+==[^ ]+)", text, re.MULTILINE))

    installed = pinned("services.txt")
    assert installed <= pinned("dev.txt")
    names = {each.partition("==")[0] for each in installed}
    root = DEPLOY.parent
    for folder in (root, root / "adapters/flask", root / "adapters/fastapi", root / "services"):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        # With a collector in the operator's file, a service cannot do without the metrics' packages.
        measures = project.get("optional-dependencies", {}).get("metrics", [])
        for dependency in [*project["dependencies"], *measures]:
            name = re.match(r"[a-z0-9-]+", dependency)[0]
            assert name in names or name.startswith("pgp-config")
