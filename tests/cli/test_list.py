"""`pgp-config list`, as whoever looks after the secrets meets it."""

import re

import pytest


def table(ran):
    """The rows of the table as lists of cells."""
    lines = ran.stdout.split("\n\n")[0].splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def test_every_secret_is_listed_with_what_its_source_tells(run, manager, url):
    manager.add("FEE", "4.5")
    manager.disable("FEE", 2)
    ran = run("list", "shop:Shop", "till=shop:Till", "--source", url)
    assert ran.exit_code == 0
    rows = {name: rest for name, *rest in table(ran)}
    assert rows["SECRET"] == ["CLASS", "VERSION", "AGE", "STATE", "SERVICES"]
    assert rows["API_KEY"][:2] == ["dynamic", "1"]
    assert re.fullmatch(r"\d+ s", rows["API_KEY"][2])
    assert rows["API_KEY"][3:] == ["enabled", "all 2"]
    assert rows["DATABASE_PASSWORD"][0] == "static"
    assert rows["FEE"][1::2] == ["2", "disabled"]
    assert rows["UNUSED"] == ["dynamic", "-", "-", "missing", "till"]
    assert (
        "5 secrets of 2 services: 1 static, 4 dynamic; GoogleSecretManager of project local."
        in (ran.stdout)
    )
    assert manager.calls.count("AccessSecretVersion") == 0


def test_without_a_source_the_declarations_are_listed_and_that_is_said(run, document):
    ran = run("list", "shop:Shop")
    assert ran.exit_code == 0
    assert ["FEE", "dynamic", "-", "-", "-", "Shop"] in table(ran)
    assert "no source was asked. Give one: --source gsm://PROJECT, or PGP_CONFIG_SOURCE." in (
        ran.stdout
    )
    found = document("list", "shop:Shop")
    assert (found["asked"], found["source"]) == (False, None)


@pytest.mark.usefixtures("impatient")
def test_a_source_that_cannot_be_asked_is_told_with_the_declarations(run, document, manager):
    source = f"gsm://local?endpoint={manager.rest_endpoint}&transport=rest"
    manager.inject("INTERNAL")
    ran = run("list", "shop:Shop", "--source", source)
    assert ran.exit_code == 1
    assert ["FEE", "dynamic", "-", "-", "unknown", "Shop"] in table(ran)
    assert "Versions and states are not known: Secret Manager could not answer" in ran.stdout
    asked = {call.secret for call in manager.calls.log()}
    assert asked == {"API_KEY"}, "the others are not waited for"
    found = document("list", "shop:Shop", "--source", source, code=1)
    assert (found["asked"], len(found["secrets"])) == (False, 4)


def test_what_may_not_be_looked_at_is_told(run, manager, source):
    manager.forbid("secretmanager.versions.list", "FEE")
    ran = run("list", "shop:Shop", "--source", source)
    assert ran.exit_code == 1
    assert ["FEE", "dynamic", "-", "-", "forbidden", "Shop"] in table(ran)
    assert [row[4] for row in table(ran) if row[0] == "API_KEY"] == ["enabled"]


@pytest.mark.parametrize("url", ["vault9://canary-9c41", "canary-9c41", ""])
@pytest.mark.parametrize("command", ["list", "check"])
def test_a_url_that_names_no_source_is_a_wrong_use(run, command, url):
    ran = run(command, "shop:stored", "--source", url, "--json")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "--source" in ran.stderr


def test_a_url_that_names_no_source_is_all_that_is_told(run):
    ran = run("list", "shop:Shop", "--source", "foo://x")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "there is no source for the scheme 'foo'" in ran.stderr


def test_a_source_without_metadata_is_told_as_such(run):
    ran = run("list", "shop:Shop", "--source", "env:")
    assert ran.exit_code == 0
    assert "a source of the kind Environment tells none." in ran.stdout


def test_an_instance_is_asked_where_it_reads(document):
    (secret,) = document("list", "shop:stored")["secrets"]
    assert (secret["version"], secret["state"]) == (1, "enabled")
    assert 0 <= secret["age_s"] < 3600


def test_instances_of_different_sources_are_not_mixed(run):
    ran = run("list", "shop:stored", "shop:other")
    assert ran.exit_code == 1
    assert "read from 2 different sources" in ran.stderr


def test_a_pinned_version_is_the_one_that_is_listed(document, run, manager, source):
    manager.add("DATABASE_PASSWORD", "canary-9c41-2")
    (secret,) = document("list", "shop:pinned", "--source", source)["secrets"]
    assert (secret["version"], secret["state"], secret["pinned"]) == (1, "enabled", [1])
    assert "enabled, pinned" in run("list", "shop:pinned", "--source", source).stdout
    manager.store.delete_secret("projects/local/secrets/DATABASE_PASSWORD", "")
    manager.create("DATABASE_PASSWORD")
    (secret,) = document("list", "shop:pinned", "--source", source)["secrets"]
    assert secret["state"] == "no version"
    manager.add("DATABASE_PASSWORD", "canary-9c41")
    (secret,) = document("list", "shop:higher", "--source", source)["secrets"]
    assert (secret["version"], secret["state"]) == (2, "missing version")


def test_the_document_has_what_the_table_has(document, source):
    found = document("list", "till=shop:Till", "shop:Odd", "--source", source)
    assert found["containers"] == [
        {"path": "shop:Till", "service": "till", "container": "Till"},
        {"path": "shop:Odd", "service": "Odd", "container": "Odd"},
    ]
    assert (found["asked"], found["why_not"], found["error"]) == (True, None, None)
    key, unused = found["secrets"]
    age, created = key.pop("age_s"), key.pop("created")
    assert age >= 0
    assert created > 1_700_000_000
    assert key == {
        "name": "API_KEY",
        "class": "dynamic and static",
        "types": ["SecretStr", "int"],
        "services": ["Odd", "till"],
        "pinned": [],
        "version": 1,
        "state": "enabled",
    }
    assert (unused["state"], unused["version"], unused["age_s"]) == ("missing", None, None)


@pytest.mark.parametrize(
    ("columns", "services"), [("80", "2 of 3"), ("200", "Shop, Till"), (None, "Shop, Till")]
)
def test_a_narrow_table_counts_services_and_breaks_no_name(run, columns, services, monkeypatch):
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    ran = run("list", "shop:Shop", "shop:Till", "shop:Nothing")
    assert table(ran)[1] == ["API_KEY", "dynamic", "-", "-", "-", services]
    assert "DATABASE_PASSWORD" in ran.stdout
    assert " \n" not in ran.stdout
    assert all(len(line) <= int(columns or 200) for line in ran.stdout.splitlines())


def test_a_container_without_secrets_is_an_empty_list(run, document, source):
    assert document("list", "shop:Nothing", "--source", source)["secrets"] == []
    assert "0 secrets of 1 service" in run("list", "shop:Nothing").stdout


def test_containers_may_come_from_the_environment(run):
    ran = run("list", PGP_CONFIG_CONTAINER="shop:Shop till=shop:Till")
    assert "5 secrets of 2 services" in ran.stdout


def test_names_give_a_terminal_no_orders(run, folder):
    (folder / "odd_names.py").write_text(
        "from pgp_config import DynamicSecret, SecretContainer\n"
        "class C(SecretContainer):\n    a = DynamicSecret('A\\x1b[31m')\n"
    )
    ran = run("list", "odd_names:C")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "the name of 'a' has a blank, a line break or a control character" in ran.stderr
    assert not {"\x1b", "[31m"} & set(ran.stderr)
