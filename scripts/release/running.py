"""Programs that a step runs, and the environments that it makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class StepError(Exception):
    """A step found something; its text is what a person reads."""


class PythonMissingError(StepError):
    """There is no such interpreter here."""


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run a program and return what it prints.

    Raises:
        StepError: If it fails; with all that it said.
    """
    ended = subprocess.run(  # noqa: S603  programs that the steps name
        [str(part) for part in command],
        cwd=cwd,
        env=_clean_environ(environ or {}),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        words = " ".join(str(part) for part in command)
        raise StepError(f"{words}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def _clean_environ(more: Mapping[str, str]) -> dict[str, str]:
    """This process's, without what would make a program see the source tree."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    ours = str(Path(sys.executable).parent)
    kept["PATH"] = os.pathsep.join(
        part for part in kept.get("PATH", "").split(os.pathsep) if part != ours
    )
    return {**kept, **more}


def tool(name: str) -> str:
    """A program of the project's own environment."""
    return str(Path(sys.executable).with_name(name))


def find_python(version: str) -> Path:
    """The interpreter of a version such as `3.13`: on the PATH, of pyenv, or of uv.

    Raises:
        PythonMissingError: If there is none here.
    """
    for candidate in _candidates(version):
        said = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
        try:
            found, _, path = run([candidate, "-c", said]).strip().partition(" ")
        except (StepError, OSError):
            continue  # pyenv's shim of a version that is not chosen exists, and fails
        if found == version:
            return Path(path)
    raise PythonMissingError(f"no Python {version} here: on the PATH, of pyenv or of uv")


def _candidates(version: str) -> list[str]:
    candidates = [sys.executable, f"python{version}"]
    if shutil.which("pyenv"):
        candidates.append(_first_line(["pyenv", "prefix", version]) + "/bin/python")
    candidates.append(
        _first_line([tool("uv"), "python", "find", "--no-python-downloads", version])
    )
    return candidates


def _first_line(command: Sequence[str | Path]) -> str:
    try:
        return run(command).partition("\n")[0]
    except (StepError, OSError):  # the environment of the tests has no uv
        return ""


class Environment:
    """A virtual environment outside of the source tree."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        if not folder.exists():
            run([tool("uv"), "venv", "--quiet", "--seed", "--python", python, folder])

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self, *arguments: str | Path) -> None:
        """As `pip install`."""
        uv = [tool("uv"), "pip", "install", "--quiet", "--python", str(self.python)]
        run([*uv, "--no-config", *arguments], cwd=self.folder)

    def frozen(self) -> str:
        """As `pip freeze` prints it."""
        return run([tool("uv"), "pip", "freeze", "--no-config", "--python", self.python])

    def run(self, *arguments: str | Path, cwd: Path, **environ: str) -> str:
        """Run its interpreter, with its programs first on the PATH."""
        path = f"{self.python.parent}{os.pathsep}{_clean_environ({})['PATH']}"
        return run([self.python, *arguments], cwd=cwd, environ={"PATH": path, **environ})
