"""Folders with just some of the installed distributions: what a service finds that installs no more.

Importing dependency_injector imports FastAPI, Werkzeug and more wherever they are installed, and the
environment of the benchmarks has all of them. So the files of the wanted distributions, and of what they
require, are copied into a folder, compiled, and put on the path in the place of everything else.
"""

from __future__ import annotations

import compileall
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

import pgp_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def required(
    wanted: Iterable[str], requires: Callable[[str], list[str] | None] = metadata.requires
) -> set[str]:
    """The names of distributions, and of all that they require here; extras as `name[extra]`.

    Args:
        wanted: Requirements.
        requires: The requirements of a distribution that is installed.
    """
    done: set[tuple[str, str]] = set()
    found: set[str] = set()
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        found.add(requirement.name)
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) in done:
                continue
            done.add((requirement.name, extra))
            parts = [Requirement(text) for text in requires(requirement.name) or ()]
            waiting += [
                p for p in parts if p.marker is None or p.marker.evaluate({"extra": extra})
            ]
    return found


def populate(folder: Path, wanted: Iterable[str]) -> None:
    """Copy distributions with all that they require into a folder, and compile them."""
    for name in sorted(required(wanted)):
        for file in metadata.files(name) or ():
            if ".." not in file.parts and file.suffix not in {".pth", ".pyc"}:
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)
    put_ours(folder)


def put_ours(folder: Path) -> None:
    """Copy this project's package, which is installed by its path, and compile all that is there."""
    ours = Path(str(pgp_config.__file__)).parent
    shutil.copytree(
        ours, folder / ours.name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    compileall.compile_dir(folder, quiet=2)
