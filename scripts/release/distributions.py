"""The distributions of this repository, found by their pyproject.toml, and what they must agree on."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).parents[2]

#: What all of them say in the same words.
SHARED = ("version", "license", "requires-python")


@dataclass(frozen=True)
class Distribution:
    """One folder with a pyproject.toml.

    Attributes:
        folder: Where it is.
        project: The table `[project]` of it.
        packages: The packages in it, as Python imports them; the first bears its name.
    """

    folder: Path
    project: dict[str, Any]
    packages: tuple[str, ...]

    @classmethod
    def at(cls, folder: Path) -> Distribution:
        """Read it from a folder."""
        pyproject = tomllib.loads(Path(folder, "pyproject.toml").read_text("utf-8"))
        packages = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        return cls(folder, pyproject["project"], tuple(Path(each).name for each in packages))

    @property
    def name(self) -> str:
        """As pip knows it."""
        return str(self.project["name"])

    @property
    def file_name(self) -> str:
        """As its files' names begin."""
        return self.name.replace("-", "_")

    @property
    def version(self) -> str:
        """The version that it declares."""
        return str(self.project["version"])

    @property
    def extras(self) -> list[str]:
        """The names of its extras."""
        return sorted(self.project.get("optional-dependencies", {}))

    @property
    def requirements(self) -> list[Requirement]:
        """What it requires, in all its extras too."""
        extras = self.project.get("optional-dependencies", {}).values()
        return [Requirement(text) for text in chain(self.project["dependencies"], *extras)]

    @property
    def is_library(self) -> bool:
        """Whether others build on it; the services are an application, deployed from its own lock."""
        return self.folder.name != "services"


def distributions(root: Path = ROOT) -> list[Distribution]:
    """All of them, the core first."""
    adapters = sorted(path.parent for path in root.glob("adapters/*/pyproject.toml"))
    return [Distribution.at(folder) for folder in (root, *adapters, root / "services")]


def runtime_requirements(found: Iterable[Distribution]) -> list[str]:
    """What they require of others, each once."""
    found = list(found)
    ours = {one.name for one in found}
    required = chain.from_iterable(one.requirements for one in found)
    return sorted({str(one) for one in required if one.name not in ours})


def disagreements(found: Sequence[Distribution], changelog: str) -> list[str]:
    """What keeps them from being released together; empty if nothing does."""
    core = found[0]
    ours = {one.name for one in found}
    faults = []
    for one in found:
        faults += [
            f"{one.name}: {key} is {one.project.get(key)!r}, not {core.project.get(key)!r}"
            for key in SHARED
            if one.project.get(key) != core.project.get(key)
        ]
        faults += [
            f"{one.name}: requires {required}, not {required.name}=={core.version}"
            for required in one.requirements
            if required.name in ours and not _is_pinned(required, one, core.version)
        ]
    if f"## {core.version} " not in changelog:
        faults.append(f'CHANGELOG.md has no heading "## {core.version} …"')
    return faults


def _is_pinned(required: Requirement, by: Distribution, version: str) -> bool:
    own_extra = required.name == by.name and not required.specifier
    return own_extra or str(required.specifier) == f"=={version}"
