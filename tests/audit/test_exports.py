"""An export of Cloud Audit Logs: what is read of it, whatever it looks like, and what static secrets' reads come to."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from pgp_config.audit import Names, export_of, judge, read_export, static_reads

NINE = datetime(2026, 11, 2, 9, tzinfo=UTC)
SPLIT = "split2@pgp-live.iam.gserviceaccount.com"
NAMES = Names(frozenset({"API_KEY"}), frozenset({"SIGNING_KEY", "DB_PASSWORD"}))
CANARY = "canary-7f3a"


def at(seconds):
    return (NINE + timedelta(seconds=seconds)).isoformat()


def access(secret, seconds, who=SPLIT, **changes):
    return {
        "logName": "projects/pgp-live/logs/cloudaudit.googleapis.com%2Fdata_access",
        "timestamp": at(seconds),
        "protoPayload": {
            "methodName": "google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion",
            "resourceName": f"projects/4815/secrets/{secret}/versions/1",
            "authenticationInfo": {"principalEmail": who, **changes.pop("info", {})},
            **changes,
        },
    }


def start(seconds, service="split2"):
    return {
        "logName": "l",
        "timestamp": at(seconds),
        "textPayload": "Starting new instance. Reason: AUTOSCALING",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": service}},
    }


def started(seconds, who=SPLIT):
    return [access("SIGNING_KEY", seconds, who), access("DB_PASSWORD", seconds + 0.1, who)]


def rules(reading):
    return [(finding.secret, finding.rule) for finding in reading.findings]


# -- what is read ------------------------------------------------------------------------------

ENTRIES = [*started(0), access("API_KEY", 1), start(-1), {"logName": "x", "timestamp": at(0)}]
LINES = "\n".join(json.dumps(entry) for entry in ENTRIES).encode()


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        b"\n\n" + LINES.replace(b"\n", b"\r\n\r\n"),
        b"\xef\xbb\xbf" + LINES,
        json.dumps(ENTRIES).encode(),
        json.dumps(ENTRIES, indent=2).encode(),
        gzip.compress(LINES),
        gzip.compress(json.dumps(ENTRIES).encode()),
    ],
)
def test_whatever_form_it_has_the_same_is_read(content):
    export = read_export(io.BytesIO(content))
    assert export == export_of(ENTRIES)
    assert (len(export.accesses), len(export.starts), export.others) == (3, 1, 1)
    assert export.faults == []


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b""), b"[]"])
def test_an_empty_one_has_nothing(content):
    export = read_export(io.BytesIO(content))
    assert (export.accesses, export.starts, export.others, export.faults) == ([], [], 0, [])


BROKEN = [
    CANARY.encode(),
    b"[1]",
    b'{"entries": []}',
    b'{"some": "thing", "timestamp": "2026-11-02T09:00:00Z"}',
    b'{"logName": 1, "timestamp": "2026-11-02T09:00:00Z"}',
    b"[" * 100_000,
    b"{",
    b"\xff\xfe",
    json.dumps(access("API_KEY", 0, resourceName="projects/1")).encode(),
    json.dumps({**access("API_KEY", 0), "timestamp": "2026-11-02T09:00:00"}).encode(),
    json.dumps({**access("API_KEY", 0), "timestamp": CANARY}).encode(),
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_line_that_cannot_be_read_is_told_by_its_number_and_the_rest_is_judged(line):
    content = LINES + b"\n" + line
    if line.startswith(b"["):
        content = b"{}\n" + content
    export = read_export(io.BytesIO(content))
    assert len(export.accesses) == 3
    assert {fault.number for fault in export.faults} == ({1, 7} if line.startswith(b"[") else {6})
    reading = judge(export, NAMES)
    assert reading.findings[-1].rule == "unreadable"
    assert CANARY not in str((reading, export.faults))


def test_an_array_that_is_cut_off_is_one_fault():
    export = read_export(io.BytesIO(json.dumps(ENTRIES).encode()[:-1]))
    assert [(each.number, each.why) for each in export.faults] == [(1, "it is no JSON")]
    assert rules(judge(export, NAMES)) == [(None, "no-evidence"), (None, "unreadable")]


@pytest.mark.parametrize("damage", ["cut", "torn"])
def test_a_broken_gzip_gives_what_comes_before(damage):
    packed = gzip.compress(LINES * 1 + b"\n", mtime=0)
    packed = packed[:-6] if damage == "cut" else packed[:-8] + b"\0\0\0\0" + packed[-4:]
    export = read_export(io.BytesIO(packed))
    assert len(export.accesses) == 3
    assert "the file is broken here" in export.faults[0].why


def test_noise_that_begins_like_a_gzip_is_no_export():
    export = read_export(io.BytesIO(b"\x1f\x8b\x08\x00" + b"\x99" * 50))
    assert export.accesses == []
    assert len(export.faults) == 1


def test_nanoseconds_and_who_is_behind(tmp_path):
    info = {
        "principalEmail": "",
        "principalSubject": "user:eve@example.com",
        "serviceAccountDelegationInfo": [
            {"firstPartyPrincipal": {"principalEmail": "ops@example.com"}}
        ],
    }
    entry = {**access("API_KEY", 0, info=info), "timestamp": "2026-11-02T09:00:00.123456789Z"}
    (found,) = export_of([entry]).accesses
    assert (found.principal, found.behind) == ("eve@example.com", "ops@example.com")
    assert found.at.microsecond == 123456
    info["serviceAccountDelegationInfo"] = [{"principalSubject": "user:x"}]
    assert export_of([access("API_KEY", 0, info=info)]).accesses[0].behind == "x"
    info["serviceAccountDelegationInfo"] = [{}]
    assert export_of([access("API_KEY", 0, info=info)]).accesses[0].behind == "somebody"
    other = {**start(0), "resource": {"type": "gce_instance"}}
    assert export_of([other, {**start(0), "textPayload": "answered"}]).others == 2


# -- what it comes to --------------------------------------------------------------------------


def judged(*entries, **options):
    return judge(export_of(entries), NAMES, **options)


def test_starts_and_dynamic_reads_are_no_finding():
    reading = judged(*started(0), *started(600), access("API_KEY", 300), access("API_KEY", 301))
    assert (reading.findings, reading.notes, reading.starts) == ([], [], {SPLIT: 2})
    assert reading.accesses == 6


@pytest.mark.parametrize("seconds", [0.2, 300])
def test_a_static_secret_that_is_read_while_serving(seconds):
    reading = judged(*started(0), access("SIGNING_KEY", seconds), access("API_KEY", 200))
    assert rules(reading) == [("SIGNING_KEY", "static-read")]
    text = reading.findings[0].text
    assert f"{SPLIT} read this static secret once beyond a start" in text
    assert "2026-11-02T09:0" in text


def test_several_reads_are_counted():
    reading = judged(*started(0), access("SIGNING_KEY", 300), access("SIGNING_KEY", 301))
    assert "2 times beyond a start (0 of 2 reads belong to a start" in reading.findings[0].text


def test_with_the_lines_of_cloud_run_a_whole_set_without_a_start_is_found():
    entries = [*started(0), *started(600)]
    assert rules(judged(*entries, start(-1))) == [
        ("DB_PASSWORD", "static-read"),
        ("SIGNING_KEY", "static-read"),
    ]
    assert rules(judged(*entries, start(-1), start(590))) == []


def test_the_starts_of_another_service_count_unless_it_is_told_which_is_which():
    entries = [*started(0), start(-1, "other")]
    assert rules(judged(*entries)) == []
    assert len(rules(judged(*entries, services={SPLIT: "split2"}))) == 2
    assert rules(judged(*entries, services={SPLIT: "other"})) == []


def test_several_processes_of_a_container_load_each_for_itself():
    entries = [*started(0), *started(0.2), start(-1)]
    assert len(rules(judged(*entries))) == 2
    assert rules(judged(*entries, processes=2)) == []


def test_one_static_secret_alone_is_not_judged_without_starts():
    reading = judged(access("SIGNING_KEY", 0), access("SIGNING_KEY", 300))
    assert (reading.findings, len(reading.notes)) == ([], 1)
    assert "cannot be told from a start" in reading.notes[0]
    found = judged(access("SIGNING_KEY", 0), access("SIGNING_KEY", 300), start(-1))
    assert rules(found) == [("SIGNING_KEY", "static-read")]


def test_people_and_those_who_take_on_an_identity_are_not_judged():
    behind = {"serviceAccountDelegationInfo": [{"principalSubject": "user:ops@example.com"}]}
    reading = judged(
        *started(0),
        access("SIGNING_KEY", 300, "ops@example.com"),
        access("SIGNING_KEY", 400, info=behind),
    )
    assert (reading.findings, reading.notes) == (
        [],
        ["2 accesses by people, or by somebody who took on a service's identity, are not judged."],
    )


def test_a_service_that_is_denied_a_secret():
    denied = {"status": {"code": 7, "message": CANARY}}
    reading = judged(*started(0), access("API_KEY", 5, **denied), access("API_KEY", 6, **denied))
    assert rules(reading) == [("API_KEY", "denied")]
    assert "was denied it 2 times" in reading.findings[0].text
    assert CANARY not in str(reading)


def test_a_log_without_a_declared_secret_proves_nothing():
    assert rules(judged(access("OTHER", 0))) == [(None, "no-evidence")]


def test_no_read_at_all_is_no_start():
    assert static_reads([], ["SIGNING_KEY"], None) == (0, [])
