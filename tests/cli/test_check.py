"""`pgp-config check`, as whoever looks after the secrets meets it."""

import json
import sys

import pytest

from pgp_config.checks.catalogue import read_catalogue
from pgp_config.errors import DeclarationError

CANARY = "canary-9c41"
ACCESSOR = "roles/secretmanager.secretAccessor"
ADDER = "roles/secretmanager.secretVersionAdder"
MANAGER = "roles/secretmanager.secretVersionManager"
VIEWER = "roles/secretmanager.viewer"
ROBOT = "serviceAccount:shop@local.iam.gserviceaccount.com"


def codes(found):
    """Each finding as its severity, its code and its secret."""
    return {(one["severity"], one["code"], one["secret"]) for one in found["findings"]}


def checks(found):
    """Each check, and whether it was made."""
    return {one["check"]: one["made"] for one in found["checks"]}


@pytest.fixture
def identity(manager):
    """This identity may read, and no more."""
    for verb in ("update", "delete", "setIamPolicy"):
        manager.forbid(f"secretmanager.secrets.{verb}")
    for verb in ("add", "destroy", "disable", "enable"):
        manager.forbid(f"secretmanager.versions.{verb}")
    return manager


def test_a_good_service_has_no_findings(run, document, identity, url):
    found = document("check", "shop:Shop", "--source", url)
    assert found["findings"] == []
    assert checks(found) == {
        "state": True,
        "readable": True,
        "type": True,
        "iam": True,
        "iam-project": True,
        "catalogue": False,
        "quota": False,
    }
    assert (found["accesses"], found["error"]) == (4, None)
    ran = run("check", "shop:Shop", "--source", url)
    assert ran.exit_code == 0
    assert "4 secrets of 1 container: 0 errors, 0 warnings, 0 notes." in ran.stdout
    assert "NOT CHECKED: give the team's list of secrets: --catalogue FILE" in ran.stdout
    assert "validated in memory and dropped: 4 accesses" in ran.stdout


def test_everything_that_is_wrong_is_told_at_once_with_what_to_do(run, document, identity, url):
    identity.add("FEE", CANARY)
    identity.disable("API_KEY", 1)
    identity.store.delete_secret("projects/local/secrets/WEBHOOK_SECRET", "")
    identity.forbid("secretmanager.versions.access", "DATABASE_PASSWORD")
    found = document("check", "shop:Shop", "--source", url, code=1)
    assert codes(found) == {
        ("error", "type", "FEE"),
        ("note", "old-versions", "FEE"),
        ("error", "state", "API_KEY"),
        ("error", "missing", "WEBHOOK_SECRET"),
        ("error", "unreadable", "DATABASE_PASSWORD"),
    }
    assert all(one["what"] and one["remedy"] for one in found["findings"])
    assert found["accesses"] == 1, "what cannot be read is not read"
    ran = run("check", "shop:Shop", "--source", url)
    assert "✗ error state: API_KEY\n  the newest version, 1, is disabled" in ran.stdout
    assert "→ Grant roles/secretmanager.secretAccessor" in ran.stdout
    assert "version 2 is not a valid decimal (decimal_parsing)" in ran.stdout


def test_no_read_makes_no_access_and_says_so(document, run, identity, source):
    identity.add("FEE", CANARY)
    found = document("check", "shop:Shop", "--source", source, "--no-read")
    assert found["accesses"] == identity.calls.count("AccessSecretVersion") == 0
    assert not checks(found)["type"]
    assert "--no-read was given: no value is fetched" in (
        run("check", "shop:Shop", "--source", source, "--no-read").stdout
    )


def test_a_damaged_version_is_told_apart(document, identity, source):
    identity.corrupt("FEE")
    assert ("error", "damaged", "FEE") in codes(
        document("check", "shop:Shop", "--source", source, code=1)
    )


def test_a_secret_without_versions_is_told(document, identity, source):
    identity.create("UNUSED")
    assert ("error", "no-version", "UNUSED") in codes(
        document("check", "shop:Till", "--source", source, code=1)
    )


def test_what_happens_between_the_look_and_the_read_is_told(document, identity, source):
    identity.inject("PERMISSION_DENIED", method="AccessSecretVersion", secret="FEE")
    identity.inject("NOT_FOUND", method="AccessSecretVersion", secret="API_KEY")
    identity.inject("FAILED_PRECONDITION", method="AccessSecretVersion", secret="WEBHOOK_SECRET")
    found = document("check", "shop:Shop", "--source", source, code=1)
    assert codes(found) == {
        ("error", "unreadable", "FEE"),
        ("error", "missing", "API_KEY"),
        ("error", "state", "WEBHOOK_SECRET"),
    }


def test_a_failing_read_ends_the_reading(document, identity, source):
    identity.inject("INTERNAL", method="AccessSecretVersion")
    found = document("check", "shop:Shop", "--source", source, code=1)
    assert {code for _, code, _ in codes(found)} == {"unreachable"}
    assert {
        call.secret for call in identity.calls.log() if call.method == "AccessSecretVersion"
    } == {"API_KEY"}


@pytest.mark.usefixtures("impatient")
def test_a_source_that_does_not_answer_is_one_finding(document, run, manager, source):
    manager.inject("INTERNAL")
    found = document("check", "shop:Shop", "--source", source, code=1)
    assert codes(found) == {("error", "unreachable", None)}
    assert not any(checks(found).values())
    shown = run("check", "shop:Shop", "--source", source).stdout
    assert "1 error, 0 warnings, 0 notes. 7 of the checks were not made, see above." in shown


@pytest.mark.usefixtures("impatient")
def test_one_secret_that_is_not_answered_for_does_not_hide_the_others(document, identity, source):
    identity.inject("INTERNAL", method="ListSecretVersions", secret="FEE")
    identity.disable("WEBHOOK_SECRET", 1)
    found = document("check", "shop:Shop", "--source", source, code=1)
    assert codes(found) == {("error", "unreachable", "FEE"), ("error", "state", "WEBHOOK_SECRET")}
    assert checks(found)["iam"]


def test_without_credentials_nothing_is_asked(document, monkeypatch):
    from pgp_config import SecretForbidden
    from pgp_config.sources import GoogleSecretManager

    def refuse(_):
        raise SecretForbidden("no Google credentials were found", remedy="Sign in.")

    monkeypatch.setattr(GoogleSecretManager, "connect", refuse)
    found = document("check", "shop:Shop", "--source", "gsm://local", code=1)
    assert ("error", "unreachable", None) in codes(found)
    assert found["findings"][0]["remedy"] == "Sign in."


def test_metadata_that_may_not_be_read_is_a_check_that_was_not_made(document, identity, source):
    """A service's own identity may read values alone."""
    for permission in ("versions.list", "secrets.getIamPolicy"):
        identity.forbid(f"secretmanager.{permission}")
    identity.forbid("resourcemanager.projects.getIamPolicy")
    found = document("check", "shop:Shop", "--source", source)
    made = checks(found)
    assert (made["state"], made["iam"], made["iam-project"], made["type"]) == (
        False,
        False,
        False,
        True,
    )
    (state,) = (one["text"] for one in found["checks"] if one["check"] == "state")
    assert state.startswith("4 of 4 could not be asked about: ")


def test_a_source_without_metadata_is_checked_by_its_values(document, run, monkeypatch):
    for name in ("API_KEY", "WEBHOOK_SECRET", "DATABASE_PASSWORD"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("FEE", CANARY)
    found = document("check", "shop:Shop", "--source", "env:", code=1)
    assert codes(found) == {("error", "type", "FEE")}
    assert [name for name, made in checks(found).items() if made] == ["type"]
    monkeypatch.delenv("FEE")
    found = document("check", "shop:Shop", "--source", "env:", code=1)
    assert codes(found) == {("error", "missing", "FEE")}
    shown = run("check", "shop:Shop", "--source", "env:", "--no-read")
    assert "iam: NOT CHECKED: a source of the kind Environment has no IAM policies" in shown.stdout
    assert "state: NOT CHECKED: a source of the kind Environment tells no versions" in shown.stdout
    assert "of the kind Environment is in no project" in shown.stdout


def test_a_container_instance_is_checked_where_it_reads(document):
    load = ("--requests-per-second", "1", "--processes", "1")
    found = document("check", "shop:stored", *load)
    assert found["findings"] == []
    assert found["month"]["accesses"] == 648_001  # of the default freshness, 5 s


# -- who may read ------------------------------------------------------------------------------


def test_what_iam_allows_beyond_need_is_told(document, run, identity, url):
    one = ROBOT
    for grant in (
        (ACCESSOR, one, "API_KEY"),
        (ACCESSOR, "allAuthenticatedUsers", "FEE"),
        ("roles/secretmanager.admin", "user:ops@example.com", "API_KEY"),
        ("roles/secretmanager.admin", "user:ops@example.com", "FEE"),
        (ACCESSOR, "domain:example.com", "DATABASE_PASSWORD"),
        ("projects/local/roles/reader", one, "WEBHOOK_SECRET"),
        (ACCESSOR, one, None),
        (ACCESSOR, "allUsers", None),
        ("roles/owner", "user:boss@example.com", None),
        ("roles/owner", one, None),
        ("roles/run.admin", one, None),
        ("projects/local/roles/reader", one, None),
    ):
        identity.grant(*grant)
    found = document("check", "shop:Shop", "--source", url, code=1)
    assert codes(found) == {
        ("error", "public", "FEE"),
        ("error", "public", None),
        ("warning", "wide-role", "API_KEY"),
        ("warning", "wide-role", "FEE"),
        ("warning", "wide-member", "DATABASE_PASSWORD"),
        ("note", "custom-role", "WEBHOOK_SECRET"),
        ("warning", "project-wide", None),
        ("note", "project-owner", None),
    }
    assert len([one for one in found["findings"] if one["code"] == "project-wide"]) == 2
    shown = run("check", "shop:Shop", "--source", url).stdout
    assert "! warning wide-role: API_KEY, FEE\n  user:ops@example.com has" in shown


@pytest.mark.parametrize(
    ("role", "member", "severity", "code"),
    [
        (MANAGER, "allUsers", "error", "public"),
        (ADDER, "allAuthenticatedUsers", "error", "public"),
        (VIEWER, "allUsers", "warning", "public"),
        (ADDER, ROBOT, "warning", "wide-role"),
        (MANAGER, ROBOT, "warning", "wide-role"),
        ("roles/editor", ROBOT, "warning", "wide-role"),
        ("roles/secretmanager.editor", ROBOT, "warning", "wide-role"),
        ("roles/iam.securityAdmin", ROBOT, "warning", "wide-role"),
        (MANAGER, "projectEditor:local", "warning", "wide-member"),
        (VIEWER, ROBOT, "note", "lists"),
        ("roles/viewer", ROBOT, "note", "lists"),
    ],
)
def test_a_role_on_a_secret_that_changes_or_lists_is_told(
    document, identity, source, role, member, severity, code
):
    identity.grant(role, member, "FEE")
    found = document("check", "shop:Shop", "--source", source, code=int(severity != "note"))
    assert codes(found) == {(severity, code, "FEE")}
    (finding,) = found["findings"]
    assert finding["what"].startswith(f"{member} has {role}: ")
    assert (" read it" in finding["what"]) is False


@pytest.mark.parametrize(
    ("role", "member"),
    [
        (ADDER, "user:ops@example.com"),
        (MANAGER, "group:ops@example.com"),
        (VIEWER, "user:ops@example.com"),
        (VIEWER, "domain:example.com"),
        ("roles/run.admin", "allUsers"),
    ],
)
def test_operators_who_rotate_one_secret_or_look_at_it_are_none(
    document, identity, source, role, member
):
    identity.grant(role, member, "FEE")
    assert document("check", "shop:Shop", "--source", source)["findings"] == []


@pytest.mark.parametrize(
    ("role", "member", "severity", "code"),
    [
        ("roles/editor", ROBOT, "warning", "project-wide"),
        ("roles/resourcemanager.projectIamAdmin", ROBOT, "warning", "project-wide"),
        ("roles/iam.securityAdmin", ROBOT, "warning", "project-wide"),
        (ADDER, ROBOT, "warning", "project-wide"),
        (MANAGER, "group:ops@example.com", "warning", "project-wide"),
        ("roles/editor", "user:dev@example.com", "warning", "project-wide"),
        ("roles/editor", "allUsers", "error", "public"),
        (
            "roles/editor",
            "serviceAccount:7@cloudservices.gserviceaccount.com",
            "note",
            "google-agent",
        ),
        ("roles/viewer", "allUsers", "warning", "public"),
        (VIEWER, ROBOT, "note", "lists"),
        ("roles/viewer", ROBOT, "note", "lists"),
    ],
)
def test_a_role_on_the_project_that_changes_or_lists_is_told(
    document, identity, source, role, member, severity, code
):
    identity.grant(role, member)
    found = document("check", "shop:Shop", "--source", source, code=int(severity != "note"))
    assert codes(found) == {(severity, code, None)}


def test_people_who_may_look_at_the_whole_project_are_none(document, identity, source):
    identity.grant(VIEWER, "group:ops@example.com")
    identity.grant("roles/viewer", "user:dev@example.com")
    assert document("check", "shop:Shop", "--source", source)["findings"] == []


def test_a_condition_is_told(document, identity, source):
    policy = identity.store.get_policy("projects/local/secrets/FEE")
    policy.bindings.add(
        role="roles/owner", members=["user:a@example.com"], condition={"expression": "true"}
    )
    identity.store.set_policy("projects/local/secrets/FEE", policy)
    (finding,) = document("check", "shop:Shop", "--source", source, code=1)["findings"]
    assert finding["what"].startswith("user:a@example.com has roles/owner, under a condition,")


def test_what_this_identity_may_do_beyond_reading_is_a_note(document, manager, source):
    (finding,) = document("check", "shop:Shop", "--source", source)["findings"]
    assert (finding["severity"], finding["code"]) == ("note", "identity-wide")
    assert "may do more than read 4 secrets: secretmanager.secrets.delete" in finding["what"]
    (finding,) = document("check", "shop:Alone", "--source", source)["findings"]
    assert "more than read 1 secret:" in finding["what"]


# -- versions ----------------------------------------------------------------------------------


def test_old_versions_are_a_note_but_for_a_key_rings_previous(document, identity, source):
    for name in ("API_KEY", "WEBHOOK_SECRET"):
        identity.add(name, CANARY)
    found = document("check", "shop:Shop", "--source", source)
    assert codes(found) == {("note", "old-versions", "API_KEY")}
    (finding,) = found["findings"]
    assert "and all of them with --all-older" in finding["remedy"]


def test_pins_are_looked_at(document, identity, source):
    identity.add("DATABASE_PASSWORD", CANARY)
    found = document("check", "shop:pinned", "--source", source)
    assert codes(found) == {("note", "newer-version", "DATABASE_PASSWORD")}
    both = document("check", "shop:pinned", "shop:higher", "--source", source, code=1)
    assert codes(both) == {("warning", "two-pins", "DATABASE_PASSWORD")}
    identity.disable("DATABASE_PASSWORD", 1)
    found = document("check", "shop:pinned", "--source", source, code=1)
    assert "the pinned version, 1, is disabled" in found["findings"][0]["what"]
    identity.store.delete_secret("projects/local/secrets/DATABASE_PASSWORD", "")
    identity.add("DATABASE_PASSWORD", CANARY)
    found = document("check", "shop:higher", "--source", source, code=1)
    assert "pinned to version 2, which it does not have" in found["findings"][0]["what"]


def test_containers_that_differ_are_told(document, identity, source):
    found = document("check", "shop:Alone", "shop:Odd", "--source", source, code=1)
    assert codes(found) >= {
        ("warning", "two-classes", "API_KEY"),
        ("warning", "two-types", "API_KEY"),
        ("error", "type", "API_KEY"),
    }


# -- the catalogue -----------------------------------------------------------------------------

CSV = """\
Name, Class, Type, Services, Owner
API_KEY, static, SecretStr, Shop;Till, canary-9c41
FEE, dynamic, Literal, Shop,
WEBHOOK_SECRET, dynamic, , ,
GONE, static, , Till,
"""


def test_a_catalogue_is_compared_with_the_declarations_and_the_source(
    document, run, identity, source, folder
):
    identity.add("STRAY", CANARY)
    (folder / "c.csv").write_text(CSV)
    arguments = ("check", "shop:Shop", "kiosk=shop:Pinned", "--source", source)
    found = document(*arguments, "--catalogue", "c.csv", code=1)
    assert codes(found) == {
        ("error", "class-differs", "API_KEY"),
        ("error", "type-differs", "FEE"),
        ("error", "uncatalogued", "DATABASE_PASSWORD"),
        ("error", "missing", "GONE"),
        ("warning", "undeclared", "STRAY"),
    }
    assert checks(found)["catalogue"]


def test_services_are_compared_where_their_containers_were_given(
    document, identity, source, folder
):
    (folder / "c.json").write_text(
        json.dumps(
            [
                {"name": "API_KEY", "services": ["Shop", "Elsewhere", "Pinned"]},
                {"name": "FEE", "services": "Elsewhere"},
                {"name": "WEBHOOK_SECRET", "type": "pydantic:SecretStr"},
                {"name": "DATABASE_PASSWORD", "type": "builtins:int"},
                {"name": "OTHERS", "services": ["Pinned"]},
            ]
        )
    )
    identity.add("OTHERS", CANARY)
    arguments = ("check", "shop:Shop", "shop:Pinned", "--source", source)
    found = document(*arguments, "--catalogue", "c.json", code=1)
    assert codes(found) == {
        ("warning", "services-differ", "API_KEY"),
        ("error", "services-differ", "FEE"),
        ("error", "type-differs", "DATABASE_PASSWORD"),
        ("warning", "services-differ", "OTHERS"),
    }


def test_without_a_source_a_catalogue_is_compared_with_the_declarations(document, folder, run):
    (folder / "c.yaml").write_text("secrets:\n  API_KEY: {class: dynamic}\n  UNUSED: {}\n")
    found = document("check", "shop:Till", "--catalogue", "c.yaml")
    assert found["source"] is None
    assert not any(checks(found).values())
    assert "with the declarations alone" in (
        run("check", "shop:Till", "--catalogue", "c.yaml").stdout
    )


def test_a_list_that_may_not_be_read_is_told(document, identity, source, folder):
    (folder / "c.csv").write_text("name\nAPI_KEY\nUNUSED\n")
    identity.add("UNUSED", CANARY)
    identity.forbid("secretmanager.secrets.list")
    found = document("check", "shop:Till", "--source", source, "--catalogue", "c.csv")
    (text,) = (one["text"] for one in found["checks"] if one["check"] == "catalogue")
    assert text.startswith("with the declarations alone: this identity may not")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.txt", "x", "ends neither in .csv"),
        ("c.csv", b"\xff", "it is not UTF-8"),
        ("c.csv", f"API_KEY={CANARY}\n", "its first line has no column name"),
        ("c.csv", "", "its first line has no column name"),
        ("c.csv", f"name\n{CANARY} x\n", "line 2 has no name that a secret can have"),
        ("c.csv", f"name,class\nA,{CANARY}\n", "line 2 has a class that is neither"),
        ("c.csv", "name\nA\nB\nA\n", "line 4 repeats a name"),
        ("c.json", f'"{CANARY}', "it is neither a list nor an object"),
        ("c.json", f'{{"A": "{CANARY}"}}', "entry 1 is no object"),
        ("c.json", f'["{CANARY}"]', "entry 1 is no object"),
        (
            "c.json",
            f'[{{"name": "A", "type": ["{CANARY}"]}}]',
            "entry 1 has a type that is no text",
        ),
        ("c.json", f'[{{"name": "A", "services": {{"{CANARY}": 1}}}}]', "entry 1 has services"),
        ("c.json", '[{"name": "A", "services": [7]}]', "entry 1 has services"),
        ("c.json", f'[{{"name": "A", "class": "{CANARY}"}}]', "entry 1 has a class"),
        ("c.yml", f"a: [{CANARY}", "it is neither a list nor an object"),
    ],
)
def test_a_bad_catalogue_is_told_without_its_contents(run, folder, name, content, said):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    ran = run("check", "shop:Shop", "--catalogue", name)
    assert ran.exit_code == 1
    assert said in ran.stderr


@pytest.mark.parametrize("name", [f"{CANARY}.csv", "."])
def test_a_catalogue_that_is_not_there_is_a_wrong_use(run, name):
    ran = run("check", "shop:Shop", "--catalogue", name, "--json")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "--catalogue" in ran.stderr
    assert "There is no such file" in ran.stderr


def test_a_catalogue_that_cannot_be_read_is_told(folder):
    with pytest.raises(DeclarationError, match=r"cannot be read \(No such file or directory\)"):
        read_catalogue(folder / "missing.csv")


def test_without_pyyaml_the_extra_is_named(folder, monkeypatch):
    (folder / "c.yaml").write_text("[]")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(DeclarationError, match=r"pip install 'pgp-config\[yaml\]'"):
        read_catalogue(folder / "c.yaml")


def test_a_type_that_cannot_be_imported_is_told(run, folder, source):
    (folder / "c.csv").write_text("name,type\nAPI_KEY,nowhere:Type\nUNUSED,\n")
    ran = run("check", "shop:Till", "--source", source, "--catalogue", "c.csv")
    assert ran.exit_code == 1
    assert "nowhere:Type cannot be imported" in ran.stderr


# -- cost --------------------------------------------------------------------------------------


def test_cost_and_quota_are_told(run, document, identity, source):
    load = ("--requests-per-second", "20", "--processes", "8")
    found = document("check", "shop:Shop", "--source", source, *load, PGP_CONFIG_MAX_AGE="60")
    month = found["month"]
    assert month["versions"] == 4
    assert month["accesses"] == 3 * 432_008
    assert 0 < month["quota"] < 0.5
    shown = run("check", "shop:Shop", "--source", source, *load, PGP_CONFIG_MAX_AGE="60").stdout
    assert "$ Up to 1,296,024 accesses a month, $3.86; 0.03% of the quota." in shown
    assert "$ 4 versions that are not destroyed, $0.00 a month." in shown


@pytest.mark.parametrize(
    ("rate", "processes", "severity"), [("900", "900", "warning"), ("90000", "90000", "error")]
)
def test_too_much_of_the_quota_is_told(document, identity, source, rate, processes, severity):
    found = document(
        *("check", "shop:Always", "--source", source),
        *("--requests-per-second", rate, "--processes", processes),
        code=1,
    )
    assert codes(found) == {(severity, "quota", None)}


def test_more_than_the_budget_is_told(document, identity, source):
    load = ("--requests-per-second", "20", "--processes", "8", "--budget", "0.5")
    found = document("check", "shop:Shop", "--source", source, *load, code=1)
    assert codes(found) == {("warning", "budget", None)}
    document("check", "shop:Nothing", "--source", source, *load)


@pytest.mark.parametrize(
    "arguments",
    [
        ["shop:Shop"],
        ["shop:Shop", "--source", "env:", "--processes", "4"],
        ["shop:Shop", "--source", "env:", "--requests-per-second", "4"],
        ["shop:Shop", "--source", "env:", "--budget", "4"],
        ["shop:Shop", "--source", "env:", "--processes", CANARY],
        ["shop:Shop", "--source", "env:", "--sauce", CANARY],
        [CANARY, "--source", "env:"],
        [f"shop:Shop={CANARY}", "--source", "env:"],
        [],
    ],
)
def test_a_wrong_use_is_told_apart(run, arguments):
    ran = run("check", *arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""


def test_a_number_out_of_its_bounds_is_told(run, identity, source):
    load = ("--requests-per-second", "0", "--processes", "8")
    ran = run("check", "shop:Shop", "--source", source, *load)
    assert ran.exit_code == 2
    assert "requests per second: 0.0" in ran.stderr


def test_many_secrets_of_one_finding_are_one_line(run, identity, source, folder):
    names = "".join(f"    s{i} = DynamicSecret('S{i}')\n" for i in range(8))
    (folder / "many.py").write_text(
        f"from pgp_config import DynamicSecret, SecretContainer\n"
        f"class Many(SecretContainer):\n{names}"
    )
    ran = run("check", "many:Many", "--source", source, COLUMNS="80")
    assert "✗ error missing: S0, S1, S2, S3, S4, S5 and 2 more (8)\n" in ran.stdout
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
