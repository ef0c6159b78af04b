"""`pgp-config init`: what it makes passes its own tests, and what it refuses leaves nothing behind."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pgp_config.cli import app

CANARY = "canary-7f3a"


@pytest.fixture
def run(folder):
    (folder / "shop.py").unlink()  # of the other commands' tests

    def call(*words, code=0):
        shown = CliRunner().invoke(app, ["init", *words])
        assert shown.exit_code == code, shown.output
        assert CANARY not in shown.output
        return shown

    return call


def told(shown):
    return " ".join(shown.stderr.replace("│", " ").split())


def tool(folder, *words):
    """Run a tool as the new service's developer would, without this repository's settings."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PGP_CONFIG", "PYTEST", "COVERAGE"))
    }
    ran = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("framework", ["flask", "fastapi"])
def test_a_new_service_passes_its_own_tests_at_once(run, tmp_path, framework):
    run("my-service", "--framework", framework, "--source", "gsm://my-project?transport=rest")
    folder = tmp_path / "my-service"
    assert "4 passed" in tool(folder, "pytest", "-q", "-p", "no:cacheprovider")
    tool(folder, "ruff", "check", "--no-cache")
    tool(folder, "ruff", "format", "--check", "--no-cache")
    assert "Success" in tool(folder, "mypy", "--strict")
    audit = CliRunner().invoke(app, ["audit", str(folder)])
    assert audit.exit_code == 0, audit.output
    container = (folder / "src/my_service/container.py").read_text()
    assert 'DEFAULT_SOURCE = "gsm://my-project?transport=rest"' in container
    for file in folder.rglob("*"):
        if file.is_file() and "cache" not in str(file):
            assert "__NAME__" not in file.read_text()
            assert "__PACKAGE__" not in str(file)


@pytest.mark.parametrize(
    ("installed", "bound"), [("0.3.1", "~=0.3.1"), ("1.2.3", "~=1.2"), ("2.0", "~=2.0")]
)
def test_our_own_versions_are_bound_as_the_policies_say(
    run, tmp_path, monkeypatch, installed, bound
):
    module = importlib.import_module(
        "pgp_config.cli.init"
    )  # the package has the command of that name
    monkeypatch.setattr(module, "version", {"pgp-config": installed}.__getitem__)
    run("shop", "--framework", "fastapi")
    project = tomllib.loads((tmp_path / "shop" / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {each for each in needs if each.startswith("pgp-config")} == {
        f"pgp-config[google]{bound}",
        f"pgp-config-fastapi{bound}",
        f"pgp-config[cli]{bound}",
    }
    # What the newest Starlette's test client does not warn of.
    assert [each for each in needs if each.startswith("httpx")] == ["httpx2>=2.0"]


def test_what_was_made_and_how_to_go_on(run, tmp_path):
    shown = run("shop", "--framework", "flask")
    assert shown.stdout.startswith("shop is a Flask service of 12 files. Go on:\n  cd shop\n")
    assert {path.name for path in (tmp_path / "shop").iterdir()} == {
        ".dockerignore",
        ".gitignore",
        "Dockerfile",
        "README.md",
        "pyproject.toml",
        "src",
        "tests",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    (tmp_path / "deep/er").mkdir(parents=True)
    document = json.loads(
        run("shop", "--framework", "fastapi", "--in", "deep/er", "--json").stdout
    )
    assert document["folder"] == "deep/er/shop"
    assert "src/shop/asgi.py" in document["files"]
    assert (tmp_path / "deep/er/shop/src/shop/asgi.py").exists()


def test_the_folder_that_it_is_made_in_must_be_there(run, tmp_path):
    shown = run("shop", "--framework", "flask", "--in", "canary", code=2)
    assert "--in: There is no such folder. Make it" in shown.output
    assert "canary" not in shown.output
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_used_and_one_with_something_in_it_is_left_alone(run, tmp_path):
    (tmp_path / "empty").mkdir()
    run("empty", "--framework", "flask")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    assert "full cannot be made: it is there already, and not empty." in told(
        run("full", "--framework", "flask", code=1)
    )
    (tmp_path / "file").write_text("mine")
    document = json.loads(run("file", "--framework", "flask", "--json", code=1).stdout)
    assert (document["error"]["type"], document["exit_code"]) == ("FileExistsError", 1)
    assert (tmp_path / "full" / "mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]


def test_nothing_is_half_written(run, tmp_path, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, CANARY)

    monkeypatch.setattr(Path, "rename", full)
    assert "shop cannot be made: OSError." in told(run("shop", "--framework", "flask", code=1))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_filled_meanwhile_is_left_alone(run, tmp_path, monkeypatch):
    make = tempfile.mkdtemp

    def meanwhile(**options):
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "mine").write_text("mine")
        return make(**options)

    monkeypatch.setattr(tempfile, "mkdtemp", meanwhile)
    run("shop", "--framework", "flask", code=1)
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("My-Service", "is no name of a service"),
        ("my_service", "is no name of a service"),
        ("1st", "is no name of a service"),
        ("a--b", "is no name of a service"),
        ("../up", "is no name of a service"),
        ("a/b", "is no name of a service"),
        ("a\x1bb", "is no name of a service"),
        ("a" * 50, "49 at most"),
        ("class", "is a word of Python's own"),
        ("match", "is a word of Python's own"),
        ("json", "standard library"),
        ("secrets", "standard library"),
        ("flask", "is what the service imports"),
        ("pgp-config", "is what the service imports"),
        ("tests", "is what the service imports"),
    ],
)
def test_names_that_would_not_work(run, tmp_path, name, why):
    assert why in told(run(name, "--framework", "flask", code=2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        f"gsm://{CANARY}'; import os",
        "no-scheme",
        f"vault://user:{CANARY}@host",
        f"nothing://{CANARY}",
        "gsm:",
    ],
)
def test_sources_that_are_none_or_hold_a_password(run, tmp_path, source):
    run("shop", "--framework", "flask", "--source", source, code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_framework_has_to_be_chosen(run):
    assert "--framework" in told(run("shop", code=2))
    run("shop", "--framework", "django", code=2)
