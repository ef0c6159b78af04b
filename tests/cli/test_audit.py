"""`pgp-config audit`, as a person and as a code host meet it."""

import gzip
import json

import pytest
from typer.testing import CliRunner

from pgp_config.audit import RULES
from pgp_config.cli import app

CANARY = "c4nary8f3kd9201lmz0q"
CONTAINER = """
from pydantic import SecretStr
from pgp_config import DynamicSecret, KeyRing, Memory, SecretContainer, StaticSecret
class Shop(SecretContainer):
    api_key = DynamicSecret("SHOP_API_KEY")
    ring = KeyRing("SHOP_RING")
    fee = DynamicSecret("SHOP_FEE", float)
    signing = StaticSecret("SHOP_SIGNING_KEY", SecretStr)
def uses(secrets):
    return secrets.api_key, secrets.ring, secrets.fee, secrets.signing
"""


@pytest.fixture
def run(folder):
    (folder / "shop.py").unlink()  # of the other commands' tests

    def call(*words, code=0, **options):
        shown = CliRunner().invoke(app, ["audit", *map(str, words)], **options)
        assert shown.exit_code == code, shown.output
        assert CANARY not in shown.output
        return shown

    return call


@pytest.fixture
def bad(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "container.py").write_text(CONTAINER)
    (folder / "a b.py").write_text(
        f"import os\nkey = os.getenv('SHOP_API_KEY')\nSHOP_API_KEY = '{CANARY}'\n"
        f"db_password = '{CANARY}'  # pgp-config: allow[hard-coded-secret] a dummy\n"
    )
    return folder


def access(secret, minute, second=0, who="shop@p.iam.gserviceaccount.com"):
    return {
        "logName": "l",
        "timestamp": f"2026-11-02T09:{minute:02}:{second:02}Z",
        "protoPayload": {
            "methodName": "google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion",
            "resourceName": f"projects/1/secrets/{secret}/versions/1",
            "authenticationInfo": {"principalEmail": who},
        },
    }


def lines(*entries):
    return "\n".join(json.dumps(each) for each in entries).encode()


def test_findings_have_a_place_a_rule_and_what_to_do(run, bad):
    told = run(code=1).stdout
    first, second, _, summary = told.splitlines()
    assert first == (
        "shop/a b.py:2: env-read: reads the dynamic secret SHOP_API_KEY from the environment: a rotation is not seen. "
        "Declare it in the container, and take it from there."
    )
    assert second.startswith(
        "shop/a b.py:3: hard-coded-value: a literal is given to SHOP_API_KEY. Store it as a secret"
    )
    assert summary == "2 findings in 2 files; 4 secrets known; 1 allowed by a comment."


def test_a_clean_program(run, tmp_path):
    (tmp_path / "container.py").write_text(CONTAINER)
    (tmp_path / "test_it.py").write_text("")
    told = run(".").stdout
    assert told == "No findings in 1 file; 4 secrets known; 1 file of tests left out (--tests).\n"


def test_a_program_that_declares_nothing_is_told_what_was_looked_for(run, tmp_path):
    (tmp_path / "a.py").write_text("import os\nos.getenv('STRIPE_API_KEY')\nos.getenv('PLAIN')\n")
    told = run("a.py", code=1).stdout
    assert "env-secret: reads STRIPE_API_KEY" in told
    assert "Note: No secret is declared here." in told
    told = run("a.py", "--secret", "PLAIN", "--secret", "STRIPE_API_KEY=static", code=1).stdout
    assert "reads the dynamic secret PLAIN" in told
    assert "reads the static secret STRIPE_API_KEY" in told


def test_a_container_that_is_elsewhere_is_imported(run, tmp_path):
    (tmp_path / "outside_7f3a.py").write_text(CONTAINER)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.py").write_text(
        f"import os\nos.getenv('SHOP_FEE')\nSHOP_RING = '{CANARY}'\nshop_fee = '3'\n"
    )
    told = run("in", "--container", "outside_7f3a:Shop", code=1).stdout
    assert [line.partition(". ")[0].split(": ")[1] for line in told.splitlines()[:2]] == [
        "env-read",
        "hard-coded-value",
    ]


def test_what_is_not_there_is_told_and_the_rest_is_judged(run, bad, tmp_path):
    (tmp_path / "empty").mkdir()
    shown = run("nowhere", "empty", "shop", code=2)
    assert "nowhere: there is no such file or folder." in shown.stderr
    assert "empty: there is no Python file to audit." in shown.stderr
    assert "2 findings in 2 files" in shown.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--secret", CANARY + "=x"), "NAME=dynamic or NAME=static"),
        (("--ignore", "no-such-rule"), "There is no rule no-such-rule"),
        (("--account", "x"), "Write ACCOUNT=SERVICE"),
        (("--container", CANARY), "no module:attribute"),
        (("--container", "no_such_module_7f3a:X"), "no_such_module_7f3a"),
        (("--processes", "0"), "--processes"),
        (("--json", "--format", "sarif"), "Give --json or --format sarif, not both"),
    ],
)
def test_a_wrong_use(run, words, told):
    shown = run(*words, code=2)
    assert told in " ".join(shown.stderr.replace("│", " ").split())


def test_one_json_document(run, bad):
    document = json.loads(run("--json", "--ignore", "env-read", code=1).stdout)
    (finding,) = document["findings"]
    assert finding == {
        "where": "shop/a b.py",
        "line": 3,
        "rule": "hard-coded-value",
        "text": "a literal is given to SHOP_API_KEY",
        "remedy": finding["remedy"],
        "secret": "SHOP_API_KEY",
    }
    assert (document["allowed"][0]["line"], document["allowed"][0]["reason"]) == (4, "a dummy")
    assert document["secrets"] == {
        "dynamic": ["SHOP_API_KEY", "SHOP_FEE", "SHOP_RING"],
        "static": ["SHOP_SIGNING_KEY"],
    }
    assert (document["exit_code"], document["audit_log"], document["errors"]) == (1, None, [])
    assert document["containers"] == ["Shop"]


def test_sarif_has_places_rules_and_what_is_allowed_and_no_line_of_the_source(run, bad, tmp_path):
    (tmp_path / "log.json").write_bytes(b"[]")
    shown = run("--format", "sarif", "--audit-log", "log.json", "nowhere", "shop", code=2)
    document = json.loads(shown.stdout)
    assert "nowhere" in shown.stderr
    (told,) = document["runs"]
    assert document["version"] == "2.1.0"
    rules = [rule["id"] for rule in told["tool"]["driver"]["rules"]]
    assert rules == list(RULES)
    for result in told["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"].endswith(".")
    read, value, log, allowed = told["results"]
    place = read["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "shop/a%20b.py"}, "region": {"startLine": 2}}
    assert value["ruleId"] == "hard-coded-value"
    assert log["locations"] == [{"logicalLocations": [{"fullyQualifiedName": "the audit log"}]}]
    assert allowed["suppressions"] == [{"kind": "inSource", "justification": "a dummy"}]
    assert "snippet" not in shown.stdout


# -- the audit log -----------------------------------------------------------------------------

SECRETS = ("--secret", "ONE=static", "--secret", "TWO=static", "--secret", "KEY")
START = (access("ONE", 0), access("TWO", 0), access("KEY", 1))


def test_a_log_alone(run, tmp_path):
    (tmp_path / "log.json").write_bytes(lines(*START))
    told = run(*SECRETS, "--audit-log", "log.json").stdout
    assert told == "No findings in 0 files; 3 secrets known; 3 accesses and 1 start in the log.\n"


def test_a_static_secret_that_is_read_while_serving(run, tmp_path):
    (tmp_path / "log.json.gz").write_bytes(gzip.compress(lines(*START, access("ONE", 20))))
    told = run(*SECRETS, "--audit-log", "log.json.gz", code=1).stdout
    assert told.startswith(
        "ONE: static-read: shop@p.iam.gserviceaccount.com read this static secret once beyond a start"
    )
    document = json.loads(run(*SECRETS, "--audit-log", "log.json.gz", "--json", code=1).stdout)
    assert document["findings"][0]["line"] is None
    assert document["audit_log"] == {
        "accesses": 4,
        "starts": {"shop@p.iam.gserviceaccount.com": 1},
        "notes": [],
    }


def test_a_log_through_a_pipe_and_what_cannot_be_judged(run):
    told = run(
        *SECRETS,
        "--audit-log",
        "-",
        input=lines(access("ONE", 0)) + b"\n" + CANARY.encode(),
        code=1,
    ).stdout
    assert (
        "the audit log: unreadable: 1 entry cannot be read, the first of them is number 2" in told
    )
    assert "Note: shop@p.iam.gserviceaccount.com reads one static secret only (ONE)" in told


def test_whose_starts_count(run, tmp_path):
    begun = {
        "logName": "l",
        "timestamp": "2026-11-02T08:59:59Z",
        "textPayload": "Starting new instance.",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "shop"}},
    }
    (tmp_path / "log.json").write_bytes(lines(*START, begun))
    words = (*SECRETS, "--audit-log", "log.json", "--account")
    run(*words, "shop@p.iam.gserviceaccount.com=shop")
    run(*words, "shop@p.iam.gserviceaccount.com=other", code=1)


def test_a_log_that_is_not_there_or_cannot_be_judged(run, tmp_path):
    shown = run(*SECRETS, "--audit-log", "nowhere.json", code=2)
    assert "nowhere.json: it cannot be read (FileNotFoundError)." in shown.stderr
    (tmp_path / "log.json").write_bytes(lines(*START))
    (tmp_path / "a.py").write_text("")
    shown = run("a.py", "--audit-log", "log.json", code=2)
    assert "no secret is known. Give --container or --secret." in shown.stderr


def test_a_name_of_a_file_gives_a_terminal_no_orders(run, tmp_path):
    (tmp_path / "a\x1b[2J.py").write_text("import os\nos.getenv('A_TOKEN')\n")
    assert "\x1b" not in run(code=1).stdout
