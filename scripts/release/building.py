"""Building all distributions twice, from different folders: the files must be the same to the byte."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from release import contents
from release.distributions import ROOT, Distribution, distributions
from release.running import StepError, run, tool

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Workplace:
    """What the steps hand on to one another.

    Attributes:
        scratch: A folder outside of the source tree, gone at the end.
        wheels: Of each distribution, once it is built.
    """

    scratch: Path
    distributions: list[Distribution] = field(default_factory=distributions)
    wheels: dict[str, Path] = field(default_factory=dict)

    @property
    def libraries(self) -> list[Distribution]:
        """What others build on."""
        return [one for one in self.distributions if one.is_library]

    def wheel(self, one: Distribution, *, extras: bool = True) -> str:
        """A requirement of its wheel, with all its extras."""
        with_extras = f"[{','.join(one.extras)}]" if extras and one.extras else ""
        return f"{one.name}{with_extras} @ {self.wheels[one.name].as_uri()}"


def tracked(folder: Path = ROOT) -> list[str]:
    """The files that git tracks, as they are now, from a folder on."""
    listed = run(["git", "ls-files", "-z", "--cached", "."], cwd=folder).split("\0")
    return [path for path in listed if path and (folder / path).exists()]


def export(target: Path) -> Path:
    """Copy the tracked files: what a fresh clone would have."""
    for path in tracked():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target / path)
    return target


def build(place: Workplace) -> None:
    """Build, compare, look into each file, and leave them all in `dist/`.

    The wheel of the first build is made from the source distribution, that of the second from a copy of the tracked
    files. So their being the same proves three things: a rebuild gives the same file, the source distribution is
    complete, and nothing that is not tracked is shipped.
    """
    clone = export(place.scratch / "clone")
    os.environ["SOURCE_DATE_EPOCH"] = run(["git", "log", "-1", "--format=%ct"], cwd=ROOT).strip()
    faults = []
    kept = ROOT / "dist"
    shutil.rmtree(kept, ignore_errors=True)
    for one in place.distributions:
        first = place.scratch / "built" / one.name
        second = place.scratch / "rebuilt" / one.name
        _build(one.folder, first)
        _build(clone / one.folder.relative_to(ROOT), second, "--sdist", "--wheel")
        faults += [f"{one.name}: {fault}" for fault in _faults(one, first, second)]
        shutil.copytree(first, kept, dirs_exist_ok=True)
        place.wheels[one.name] = next(first.glob("*.whl"))
    for path in sorted(kept.iterdir()):
        print(f"  {path.relative_to(ROOT)}  {path.stat().st_size / 1024:,.0f} KiB")
    if faults:
        raise StepError("\n".join(faults))


def _build(folder: Path, target: Path, *what: str) -> None:
    run([tool("python"), "-m", "build", "--no-isolation", "--outdir", target, *what, folder])


def _faults(one: Distribution, first: Path, second: Path) -> list[str]:
    source = one.folder / "src"
    sources = tracked(source)
    faults = []
    for path in sorted(first.iterdir()):
        is_wheel = path.suffix == ".whl"
        check = contents.faults_of_wheel if is_wheel else contents.faults_of_sdist
        found = contents.files_of(path)
        faults += [f"{path.name}: {fault}" for fault in check(one, sources, found)]
        if path.read_bytes() != (second / path.name).read_bytes():
            others = contents.files_of(second / path.name)
            unlike = [name for name in found | others if found.get(name) != others.get(name)]
            faults.append(f"{path.name}: another build differs: {unlike or 'in the archive only'}")
    return faults
