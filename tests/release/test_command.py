"""`scripts/release-check`, without what takes minutes."""

import subprocess
import sys

import pytest


@pytest.fixture
def release(monkeypatch):
    """The command with steps of the test's; a list of those that ran."""
    from release import __main__ as command
    from release.running import PythonMissingError, StepError

    ran = []

    def passes(place):
        assert place.scratch.is_dir()
        ran.append("passes")

    def fails(place):
        ran.append("fails")
        raise StepError("what was found")

    def on_python(place, version):
        if version == "3.11":
            ran.append(version)
        else:
            raise PythonMissingError(f"no Python {version} here")

    monkeypatch.setattr(command, "STEPS", {"build": passes, "fails": fails, "more": passes})
    monkeypatch.setattr(command, "QUICK", ("build",))
    monkeypatch.setattr(command.installed, "on_python", on_python)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["release-check", *arguments])
        return command.main()

    run.ran = ran
    return run


def test_it_is_quick_unless_more_is_asked_for(release):
    assert release() == 0
    assert release.ran == ["passes"]


def test_a_step_that_fails_does_not_keep_the_others_from_running(release, capsys):
    assert release("fails", "more") == 1
    assert release.ran == ["passes", "fails", "passes"]  # each needs what is built
    printed = capsys.readouterr()
    assert "what was found" in printed.out
    assert printed.err == "release-check: failed: fails\n"


def test_a_python_that_was_asked_for_has_to_be_there(release, capsys):
    assert release("--python", "3.11") == 0
    assert release.ran == ["passes", "3.11"]
    assert release("--python", "3.99") == 1
    assert "no Python 3.99 here" in capsys.readouterr().out


def test_all_says_which_python_is_not_here(release, capsys):
    assert release("--all") == 1  # for `fails`
    assert release.ran == ["passes", "fails", "passes", "3.11"]
    assert "not run: no Python 3.14 here" in capsys.readouterr().out


def test_a_step_that_there_is_not_is_wrong_use(release, capsys):
    with pytest.raises(SystemExit, match="2"):
        release("bild")
    assert "no such step: bild" in capsys.readouterr().err


def test_an_interpreter_is_found_by_its_version():
    from release.running import PythonMissingError, find_python

    version = "{}.{}".format(*sys.version_info)
    said = subprocess.run(
        [find_python(version), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == version
    with pytest.raises(PythonMissingError, match=r"no Python 3\.99 here"):
        find_python("3.99")


def test_a_program_that_fails_is_told_with_all_that_it_said(monkeypatch):
    from release.running import StepError, run

    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    program = "import os, sys; print('out', os.environ.get('PYTHONPATH')); sys.exit('err')"
    with pytest.raises(StepError, match=r"out None\nerr"):
        run([sys.executable, "-c", program])
    assert run([sys.executable, "-c", "print(input())"], stdin="in") == "in\n"


def test_the_bill_of_materials_does_not_say_where_our_wheels_were():
    from release.supply import _without_paths

    web = {"url": "https://a.example"}
    bom = {
        "components": [
            {"name": "a", "externalReferences": [web, {"url": "file:///home/a/a.whl"}]},
            {"name": "b", "externalReferences": [{"url": "file:///home/b/b.whl"}]},
            {"name": "c"},
        ]
    }
    assert _without_paths(bom)["components"] == [
        {"name": "a", "externalReferences": [web]},
        {"name": "b"},
        {"name": "c"},
    ]
