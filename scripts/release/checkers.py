"""What three type checkers make of the installed packages: `tests/typing`, as a user's code."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from release.distributions import ROOT
from release.running import Environment, find_python, run, tool

if TYPE_CHECKING:
    from pathlib import Path

    from release.building import Workplace

LOCK = ROOT / "requirements" / "dev.txt"


def types(place: Workplace) -> None:
    """mypy, basedpyright and pyrefly accept the examples, for each Python that is supported."""
    made = Environment(place.scratch / "types", find_python("3.11"))
    wheels = [place.wheel(one) for one in place.libraries]
    made.install("--constraint", LOCK, *wheels)
    code = shutil.copytree(ROOT / "tests" / "typing", place.scratch / "typed" / "code")
    for version in supported_pythons(place):
        _check(made, code, version)
        print(f"  Python {version}: mypy --strict, basedpyright (strict), pyrefly")


def supported_pythons(place: Workplace) -> list[str]:
    """As the core's classifiers say."""
    says = "Programming Language :: Python :: 3."
    classifiers = place.distributions[0].project["classifiers"]
    return [f"3.{each.removeprefix(says)}" for each in classifiers if each.startswith(says)]


def _check(made: Environment, code: Path, version: str) -> None:
    """Without this project's settings: a user has none of them."""
    cwd = code.parent
    settings = {
        "include": [code.name],
        "typeCheckingMode": "strict",
        "pythonVersion": version,
    }
    (cwd / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    (cwd / "pyrefly.toml").write_text(f'project-includes = ["{code.name}"]\n', "utf-8")
    mypy = ["--strict", "--config-file=", "--python-version", version]
    run([tool("mypy"), *mypy, "--python-executable", made.python, code.name], cwd=cwd)
    run([tool("basedpyright"), "--pythonpath", made.python], cwd=cwd)
    pyrefly = ["check", "--python-version", version, "--python-interpreter-path"]
    run([tool("pyrefly"), *pyrefly, made.python], cwd=cwd)
