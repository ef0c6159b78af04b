"""Licences of what is required, beside the list of those that are allowed: `licences.toml`."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from release.running import StepError, run, tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LIST = Path(__file__).with_name("licences.toml")
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Rules:
    """What may be required.

    Attributes:
        names: The SPDX name of each other spelling, lower case.
        allowed: SPDX names.
        exceptions: By package: the licence as it is declared, and the reason.
    """

    names: Mapping[str, str]
    allowed: frozenset[str]
    exceptions: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, kind: str, said: Mapping[str, Any]) -> Rules:
        """Those of `runtime` or `development`; the second may all that the first may."""
        kinds = ["runtime"] if kind == "runtime" else ["runtime", "development"]
        return cls(
            {spelt.lower(): name for name, each in said["names"].items() for spelt in each},
            frozenset(name for each in kinds for name in said[each]["allowed"]),
            {
                name: why
                for each in kinds
                for name, why in said[each].get("exceptions", {}).items()
            },
        )

    def is_allowed(self, licence: str) -> bool:
        """Whether an SPDX expression without nesting, or another spelling of one, is."""
        if self._one(licence):
            return True
        alternatives = re.sub(r"[()]", "", licence).split(" OR ")
        return any(
            all(self._one(part) for part in re.split(r" AND |; ", alternative))
            for alternative in alternatives
        )

    def _one(self, name: str) -> bool:
        name = name.strip()
        return self.names.get(name.lower(), name) in self.allowed


def declared(package: Mapping[str, str]) -> str:
    """The licence that a package declares: as an expression, else in its own words, else by classifiers."""
    words = package["License-Metadata"]
    candidates = [
        package["License-Expression"],
        words if "\n" not in words else UNKNOWN,  # the whole text
        package["License-Classifier"],
        words.partition("\n")[0],
    ]
    return next((each for each in candidates if each not in {UNKNOWN, ""}), UNKNOWN)


def refused(packages: Iterable[Mapping[str, str]], rules: Rules) -> list[str]:
    """Packages whose licence is not allowed, and exceptions that are none (any more)."""
    faults = []
    left = dict(rules.exceptions)
    for package in packages:
        name, licence = canonicalize_name(package["Name"]), declared(package)
        exception = left.pop(name, None)
        if exception is not None:
            if exception["licence"] != licence:
                faults.append(
                    f"{name}: the exception is for {exception['licence']!r}, not {licence!r}"
                )
        elif not rules.is_allowed(licence):
            faults.append(f"{name}: {licence}")
    return faults + [f"{name}: is excepted, and not required" for name in left]


def check(kind: str, python: Path, ours: Iterable[str]) -> None:
    """Judge what is installed beside an interpreter, and print how often each licence occurs.

    Raises:
        StepError: If one is not allowed.
    """
    rules = Rules.of(kind, tomllib.loads(LIST.read_text("utf-8")))
    command = [tool("pip-licenses"), "--python", str(python), "--from=all", "--format=json"]
    packages = [
        one
        for one in json.loads(run([*command, "--with-system"]))
        if canonicalize_name(one["Name"]) not in {*ours}
    ]
    counts: dict[str, int] = {}
    for licence in map(declared, packages):
        known = rules.names.get(licence.lower(), licence)
        counts[known] = counts.get(known, 0) + 1
    most_first = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    print(f"  {kind}: {len(packages)} packages: ", end="")
    print(", ".join(f"{count} {licence}" for licence, count in most_first))
    faults = refused(packages, rules)
    if faults:
        raise StepError(f"{kind}: not in {LIST.name}:\n" + "\n".join(faults))
