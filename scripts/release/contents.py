"""What a wheel or a source distribution has to hold, and may not."""

from __future__ import annotations

import re
import tarfile
import zipfile
from email.parser import BytesParser
from typing import TYPE_CHECKING

from packaging.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from release.distributions import Distribution

#: At the root of a source distribution beside the package.
SDIST_NEEDS = {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml"}
SDIST_MAY = {"CHANGELOG.md", "SECURITY.md", ".gitignore"}  # hatchling adds the last

#: What no file may contain: keys, tokens, and the paths of the machine that built it.
NOT_FOR_OTHERS = {
    "a private key": rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}",
    "a Google API key": rb"\bAIza[0-9A-Za-z_-]{35}\b",
    "an AWS access key": rb"\bAKIA[0-9A-Z]{16}\b",
    "a GitHub token": rb"\bgh[pousr]_[0-9A-Za-z]{36}\b",
    "a Slack token": rb"\bxox[abposr]-[0-9A-Za-z-]{10,}",
    "a path of the machine": rb"(?<![\w.])/(?:home|Users|root|work)/\w+/",
}


def files_of(archive: Path) -> dict[str, bytes]:
    """Path and content of each file; without the first folder of a source distribution."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    found = {}
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            content = opened.extractfile(member)
            if content is not None:
                found[member.name.partition("/")[2]] = content.read()
    return found


def faults_of_wheel(
    one: Distribution, sources: Iterable[str], found: Mapping[str, bytes]
) -> list[str]:
    """What is wrong with a wheel; empty if nothing is.

    Args:
        one: The distribution.
        sources: The tracked files of its packages, from `src/` on.
        found: What `files_of` gives of the wheel.
    """
    info = f"{one.file_name}-{one.version}.dist-info"
    needed = {
        *sources,
        *(f"{package}/py.typed" for package in one.packages),
        *(f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")),
    }
    if "scripts" in one.project or "entry-points" in one.project:
        needed.add(f"{info}/entry_points.txt")
    return [
        *_differences(found, needed, set()),
        *faults_of_metadata(one, found.get(f"{info}/METADATA", b"")),
        *not_for_others(found),
    ]


def faults_of_sdist(
    one: Distribution, sources: Iterable[str], found: Mapping[str, bytes]
) -> list[str]:
    """As `faults_of_wheel`, of a source distribution."""
    needed = {*SDIST_NEEDS, *(f"src/{path}" for path in sources)}
    return [
        *_differences(found, needed, SDIST_MAY),
        *faults_of_metadata(one, found.get("PKG-INFO", b"")),
        *not_for_others(found),
    ]


def _differences(found: Iterable[str], needed: set[str], may: set[str]) -> list[str]:
    found = set(found)
    missing = [f"{path} is missing" for path in sorted(needed - found)]
    return missing + [f"{path} should not be there" for path in sorted(found - needed - may)]


def faults_of_metadata(one: Distribution, text: bytes) -> list[str]:
    """What an index would refuse, or a person would miss."""
    try:
        said = Metadata.from_email(text, validate=True)
    except ExceptionGroup as group:  # packaging has its own below Python 3.11 only
        return [f"metadata: {fault}" for fault in group.exceptions]
    faults = []
    if (said.name, str(said.version)) != (one.name, one.version):
        faults.append(f"metadata: is {said.name} {said.version}, not {one.name} {one.version}")
    if said.description_content_type != "text/markdown" or not said.description:
        faults.append("metadata: has no README in Markdown")
    headers = BytesParser().parsebytes(text)
    needed = ("Summary", "License-Expression", "Requires-Python")
    return faults + [f"metadata: {each} is missing" for each in needed if not headers.get(each)]


def not_for_others(found: Mapping[str, bytes]) -> list[str]:
    """Which files hold what only this machine or nobody should have; the content is not shown."""
    return [
        f"{path} contains {what}"
        for path, content in found.items()
        for what, pattern in NOT_FOR_OTHERS.items()
        if re.search(pattern, content)
    ]
