"""What the policies say of this repository is so."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POLICIES = (ROOT / "docs" / "policies.md").read_text("utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text("utf-8")


@pytest.fixture
def found():
    from release.distributions import distributions

    return distributions()


def test_the_policies_name_every_distribution_and_its_front_door(found):
    for one in found:
        assert f"`{one.name}`" in POLICIES
        assert f"`{one.packages[0]}`" in POLICIES


def test_the_policies_name_every_module_of_the_reference():
    said = r"^\.\. auto\w+:: (pgp_config[\w.]*)\.\w+$"
    pages = (ROOT / "docs" / "api").glob("*.md")
    modules = {
        each for page in pages for each in re.findall(said, page.read_text("utf-8"), re.MULTILINE)
    }
    row = next(line for line in POLICIES.splitlines() if line.startswith("| Python | the names"))
    named = {*re.findall(r"`(pgp_config[\w.*]*)`", row)}
    assert {"pgp_config", "pgp_config_vault", "pgp_config.integrations.celery"} <= modules
    assert {
        each for each in modules - named if f"{each.rpartition('.')[0]}.*" not in named
    } == set()


def test_the_policies_name_the_supported_pythons(found):
    classifiers = "\n".join(found[0].project["classifiers"])
    supported = re.findall(
        r"^Programming Language :: Python :: (3\.\d+)$", classifiers, re.MULTILINE
    )
    assert re.findall(r"^\| (3\.\d+) \|", POLICIES, re.MULTILINE) == supported


def test_the_policies_name_every_step():
    from release.__main__ import STEPS

    table = POLICIES.partition("## What is checked")[2].partition("## A release")[0]
    assert {*re.findall(r"`([a-z]+)`", table)} >= {*STEPS}


def test_ci_runs_the_quick_steps_that_the_policies_name():
    from release.__main__ import QUICK

    said = re.search(r"without arguments it is what CI runs of it \(([^)]+)\)", POLICIES)[1]
    assert re.findall(r"`(\w+)`", said) == [*QUICK]


def test_what_is_newer_than_the_lock_is_told():
    from release.installed import newer_than

    lock = "Flask==3.1.2 \\\n    --hash=sha256:00\ndjango==5.2 ; python_version < '3.12'\ndjango==6.1\nmoto[server]==5.1\n"
    frozen = "django==5.2\nflask==3.2.0\nmoto==5.2\nnot-locked==1\n-e /somewhere\n"
    assert newer_than(lock, frozen) == ["flask 3.1.2 -> 3.2.0", "moto 5.1 -> 5.2"]


def test_the_version_that_is_released_gets_security_fixes(found):
    minor = ".".join(found[0].version.split(".")[:2])
    assert f"| {minor} | yes |" in SECURITY


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/policies.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    for link in re.findall(r"\]\((?!https:)([^)#]+)[^)]*\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link
