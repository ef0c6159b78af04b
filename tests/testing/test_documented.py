"""docs/testing.md: each block that begins with a file's name is that file, and all blocks are run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"

BLOCKS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)

FILES = {block[2 : block.index("\n")]: block for block in BLOCKS if block.startswith("# ")}

INI = re.search(r"^```ini\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def folder(pytester):
    for name, text in FILES.items():
        pytester.path.joinpath(name).write_text(text)
    return pytester.path


def test_every_example_passes_with_the_detector_on(folder):
    folder.joinpath("pytest.ini").write_text(INI)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert re.search(r"\d+ passed, \d+ skipped", ran.stdout), ran.stdout
    assert ran.returncode == 0, ran.stdout
    assert len(FILES) == 9


def test_the_case_passes_under_unittest(folder):
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "unittest", "test_case"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.stderr.rstrip().endswith("OK"), ran.stderr


def test_what_is_no_file_runs_as_it_is(capsys):
    (block,) = [block for block in BLOCKS if block not in FILES.values()]
    exec(compile(block, str(DOCUMENT), "exec"), {"__name__": "documented"})  # noqa: S102  the example
    assert "canary" not in capsys.readouterr().out
