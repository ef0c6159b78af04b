"""Who read which secret when, by an export in the shape that Google documents."""

import copy
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pgp_config.audit import export_of
from pgp_services import catalogue
from pgp_services.names import Service
from pgp_services.ops.accesses import judge

SAMPLE = json.loads((Path(__file__).parent / "data" / "audit_log.json").read_text())
SPLIT2 = "pgp-split2-v1@pgp-live.iam.gserviceaccount.com"


@pytest.fixture
def entries():
    return copy.deepcopy(SAMPLE)


def accesses_in(entries):
    return [
        e for e in entries if "AccessSecret" in e.get("protoPayload", {}).get("methodName", "")
    ]


def another(entries, secret, seconds, **changes):
    """An access like those of the sample, so many seconds after nine."""
    entry = copy.deepcopy(accesses_in(entries)[-1])
    audit = entry["protoPayload"]
    audit["resourceName"] = f"projects/481516234200/secrets/{secret}/versions/1"
    audit["authenticationInfo"] |= changes.pop("who", {})
    audit |= changes
    at = datetime.fromisoformat("2026-11-02T09:00:00+00:00") + timedelta(seconds=seconds)
    entry["timestamp"] = at.isoformat()
    return entry


def without_starts(entries):
    return [entry for entry in entries if "textPayload" not in entry]


def judged(entries, services=(Service.SPLIT2,), operators=("ops@example.com",)):
    return judge(export_of(entries), "pgp-live", services, operators)


def rules(reading):
    return [(finding.where, finding.rule) for finding in reading.findings]


def test_the_sample_holds_three_starts_and_nothing_else(entries):
    export = export_of(entries)
    assert (len(export.accesses), len(export.starts), export.others) == (27, 3, 1)
    assert export.accesses[0].principal == SPLIT2
    reading = judged(entries)
    assert reading.findings == []
    assert reading.starts == {Service.SPLIT2: 3}


def test_starts_are_found_without_cloud_runs_lines_too(entries):
    reading = judged(without_starts(entries))
    assert (reading.findings, reading.starts) == ([], {Service.SPLIT2: 3})


@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize("seconds", [300, 3.15, 605])
def test_a_static_secret_read_by_a_request_is_an_incident(entries, lines, seconds):
    kept = entries if lines else without_starts(entries)
    reading = judged([*kept, another(entries, "SUCCESS_URL_SIGNING_KEY", seconds)])
    assert rules(reading) == [("SUCCESS_URL_SIGNING_KEY", "static-read")]
    assert "PGP_SPLIT2_v1 read this static secret once beyond a start" in reading.findings[0].text
    assert "runbooks" in reading.findings[0].remedy


def test_all_static_secrets_read_without_a_start_of_a_container(entries):
    static = [r.name for r in catalogue.secrets_of(Service.SPLIT2) if r.reload_class == "static"]
    loaded = [another(entries, name, 300) for name in static]
    assert rules(judged([*entries, *loaded])) == [(n, "static-read") for n in sorted(static)]
    # Without Cloud Run's lines that looks like a start, and is counted as one.
    assert judged([*without_starts(entries), *loaded]).starts == {Service.SPLIT2: 4}


def test_a_theft_from_a_service_that_did_not_start_while_others_did(entries):
    """Cloud Run's lines are in the export: that there is none of HOSTPAY3's says that it did not start."""
    who = {"principalEmail": "pgp-hostpay3-v1@pgp-live.iam.gserviceaccount.com"}
    static = [r.name for r in catalogue.secrets_of(Service.HOSTPAY3) if r.reload_class == "static"]
    stolen = [another(entries, name, 300, who=dict(who)) for name in static]
    reading = judged([*entries, *stolen], (Service.SPLIT2, Service.HOSTPAY3))
    assert rules(reading) == [(name, "static-read") for name in sorted(static)]
    assert reading.starts == {Service.SPLIT2: 3, Service.HOSTPAY3: 0}


def test_a_log_without_an_access_by_a_deployed_service_proves_nothing(entries):
    def found(entries, *deployed):
        reading = judge(
            export_of(entries),
            "pgp-live",
            [Service.SPLIT2],
            ["ops@example.com"],
            deployed=deployed,
        )
        return rules(reading)

    nothing = [("the audit log", "no-evidence")]
    assert found([], Service.SPLIT2) == nothing
    people = [e for e in entries if SPLIT2 not in json.dumps(e)]
    assert found(people, Service.SPLIT2, Service.WEB) == nothing
    assert found(entries, Service.WEB) == nothing
    assert found(entries, Service.SPLIT2, Service.WEB) == []
    assert found([]) == []


def test_a_read_long_after_the_start_of_its_container(entries):
    late = [
        entry for entry in entries if not entry.get("timestamp", "").startswith("2026-11-02T09:1")
    ]
    static = [r.name for r in catalogue.secrets_of(Service.SPLIT2) if r.reload_class == "static"]
    assert judged([*late, *(another(entries, n, 119) for n in static)]).findings == []
    assert judged([*late, *(another(entries, n, 130) for n in static)]).findings != []


@pytest.mark.parametrize(
    ("secret", "changes", "rule"),
    [
        ("CHANGENOW_API_KEY", {"who": {"principalEmail": "eve@example.com"}}, "stranger"),
        ("CHANGENOW_API_KEY", {"authenticationInfo": {}}, "stranger"),
        (
            "CHANGENOW_API_KEY",
            {"authenticationInfo": {"principalSubject": "user:eve@example.com"}},
            "stranger",
        ),
        (
            "SUCCESS_URL_SIGNING_KEY",
            {"who": {"principalEmail": "pgp-hostpay2-v1@pgp-live.iam.gserviceaccount.com"}},
            None,
        ),
        ("CHANGENOW_API_KEY", {"status": {"code": 7, "message": "denied"}}, "denied"),
        (
            "CHANGENOW_API_KEY",
            {"who": {"principalEmail": "eve@example.com"}, "status": {"code": 7}},
            "stranger",
        ),
        (
            "SUCCESS_URL_SIGNING_KEY",
            {
                "who": {
                    "serviceAccountDelegationInfo": [
                        {"firstPartyPrincipal": {"principalEmail": "ops@example.com"}}
                    ]
                }
            },
            "impersonated",
        ),
        (
            "CHANGENOW_API_KEY",
            {
                "who": {
                    "serviceAccountDelegationInfo": [{"principalSubject": "user:eve@example.com"}]
                }
            },
            "impersonated",
        ),
        (
            "CHANGENOW_API_KEY",
            {
                "who": {
                    "serviceAccountDelegationInfo": [
                        {"firstPartyPrincipal": {"principalEmail": "ops@example.com"}}
                    ]
                }
            },
            None,
        ),
        (
            "CHANGENOW_API_KEY",
            {
                "who": {
                    "serviceAccountDelegationInfo": [{"principalSubject": "user:Ops@example.com"}]
                }
            },
            None,
        ),
        ("SLACK_WEBHOOK_URL", {"who": {"principalEmail": "eve@example.com"}}, None),
    ],
)
def test_by_whom_a_secret_may_be_read(entries, secret, changes, rule):
    found = rules(judged([*entries, another(entries, secret, 300, **copy.deepcopy(changes))]))
    assert found == ([] if rule is None else [(secret, rule)])


def test_a_service_that_the_catalogue_does_not_let_read_a_secret(entries):
    who = {"principalEmail": "pgp-web-v1@pgp-live.iam.gserviceaccount.com"}
    entry = another(entries, "CHANGENOW_API_KEY", 300, who=who)
    both = (Service.SPLIT2, Service.WEB)
    assert rules(judged([*entries, entry], both)) == [("CHANGENOW_API_KEY", "not-allowed")]


def test_an_operators_address_has_no_case(entries):
    capital = json.loads(json.dumps(entries).replace("ops@example.com", "Ops@Example.com"))
    assert judged(capital).findings == []


def test_a_log_without_operators_tells_of_them(entries):
    assert rules(judged(entries, operators=())) == [("CHANGENOW_API_KEY", "stranger")]


def test_every_service_with_static_secrets_has_two_at_least():
    """The rule rests on it: a single one could not be told from a start."""
    for service in Service:
        static = [r for r in catalogue.secrets_of(service) if r.reload_class == "static"]
        assert len(static) != 1


def test_other_lines_of_cloud_run_are_no_starts(entries):
    line = next(entry for entry in entries if "textPayload" in entry)
    others = [
        {**line, "textPayload": "answered 401"},
        {**line, "resource": {"type": "gce_instance"}},
    ]
    assert len(export_of(others).starts) == 0


def test_nobody_behind_an_impersonation_is_named_somebody(entries):
    who = {"serviceAccountDelegationInfo": [{}]}
    found = judged([*entries, another(entries, "CHANGENOW_API_KEY", 300, who=who)])
    assert "somebody, as PGP_SPLIT2_v1, read it" in found.findings[0].text
