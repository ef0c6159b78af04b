"""All distributions are released together: one version, required by one another."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CORE = """
[project]
name = "pgp-config"
version = "1.2.0"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = ["pydantic>=2.7"]

[project.optional-dependencies]
google = ["pgp-config[rest]", "grpcio>=1.66"]
rest = ["requests>=2.31"]

[tool.hatch.build.targets.wheel]
packages = ["src/pgp_config", "src/pgp_config_pytest"]
"""
ADAPTER = """
[project]
name = "pgp-config-flask"
version = "1.2.0"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = ["flask>=3", "pgp-config[rest]==1.2.0"]

[tool.hatch.build.targets.wheel]
packages = ["src/pgp_config_flask"]
"""
SERVICES = ADAPTER.replace("pgp-config-flask", "pgp-services").replace(
    "_config_flask", "_services"
)
CHANGELOG = "# Changes\n\n## 1.2.0 \N{EN DASH} unreleased\n"


@pytest.fixture
def write(tmp_path):
    def files(core=CORE, adapter=ADAPTER):
        from release.distributions import distributions

        for folder, text in {".": core, "adapters/flask": adapter, "services": SERVICES}.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "pyproject.toml").write_text(text)
        return distributions(tmp_path)

    return files


def test_those_of_this_repository_agree():
    from release.distributions import disagreements, distributions

    found = distributions()
    assert {"pgp-config", "pgp-config-flask", "pgp-config-fastapi", "pgp-services"} <= {
        one.name for one in found
    }
    assert disagreements(found, (ROOT / "CHANGELOG.md").read_text("utf-8")) == []


def test_those_that_agree_have_no_fault(write):
    from release.distributions import disagreements

    found = write()
    assert disagreements(found, CHANGELOG) == []
    assert found[0].packages == ("pgp_config", "pgp_config_pytest")
    assert [one.is_library for one in found] == [True, True, False]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('version = "1.2.0"', 'version = "1.1.0"', "version is '1.1.0', not '1.2.0'"),
        (
            "[rest]==1.2.0",
            "[rest]>=1.2.0",
            "requires pgp-config[rest]>=1.2.0, not pgp-config==1.2.0",
        ),
        ("[rest]==1.2.0", "==1.1.0", "requires pgp-config==1.1.0, not pgp-config==1.2.0"),
        ("[rest]==1.2.0", "", "requires pgp-config, not pgp-config==1.2.0"),
        (">=3.11", ">=3.12", "requires-python is '>=3.12', not '>=3.11'"),
        ("Apache-2.0", "MIT", "license is 'MIT', not 'Apache-2.0'"),
    ],
)
def test_what_does_not_agree_is_named(write, old, new, fault):
    from release.distributions import disagreements

    found = write(adapter=ADAPTER.replace(old, new))
    assert disagreements(found, CHANGELOG) == [f"pgp-config-flask: {fault}"]


def test_a_version_without_a_word_in_the_changelog_is_named(write):
    from release.distributions import disagreements

    (fault,) = disagreements(write(), CHANGELOG.replace("1.2.0", "1.2.0.post1"))
    assert "CHANGELOG.md has no heading" in fault


def test_what_they_require_of_others_is_listed_once(write):
    from release.distributions import runtime_requirements

    assert runtime_requirements(write()) == [
        "flask>=3", "grpcio>=1.66", "pydantic>=2.7", "requests>=2.31"
    ]  # fmt: skip


def test_another_version_is_written_wherever_one_is(write):
    from release.distributions import disagreements
    from release.versions import versioned

    names = [one.name for one in write()]
    found = write(core=versioned(CORE, "2.0.0", names), adapter=versioned(ADAPTER, "2.0.0", names))
    assert found[1].project["dependencies"] == ["flask>=3", "pgp-config[rest]==2.0.0"]
    assert disagreements(found[:2], CHANGELOG.replace("1.2.0", "2.0.0")) == []


@pytest.mark.parametrize("arguments", [[], ["one", "two"], ["later"]])
def test_what_is_no_version_is_refused(monkeypatch, capsys, arguments):
    from release import versions

    monkeypatch.setattr("sys.argv", ["set-version", *arguments])
    assert versions.main() == 2
    assert capsys.readouterr().err


def test_set_version_tells_what_it_changed_and_what_is_left(monkeypatch, capsys, write):
    from release import versions

    found = write()
    monkeypatch.setattr(versions, "distributions", lambda: found)
    monkeypatch.setattr("sys.argv", ["set-version", "2.0rc1"])
    assert versions.main() == 0
    printed = capsys.readouterr().out
    assert "pgp-config-flask 1.2.0 -> 2.0rc1" in printed
    assert "CHANGELOG.md" in printed
    assert {type(one).at(one.folder).version for one in found} == {"2.0rc1"}
