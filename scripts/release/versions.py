"""`scripts/set-version 0.2.0`: one version in all distributions."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from release.distributions import distributions

if TYPE_CHECKING:
    from collections.abc import Iterable


def main() -> int:
    """Write it into every pyproject.toml; 2 if it is no version."""
    match sys.argv[1:]:
        case [text]:
            pass
        case _:
            print("usage: scripts/set-version VERSION", file=sys.stderr)
            return 2
    try:
        version = str(Version(text))
    except InvalidVersion as fault:
        print(fault, file=sys.stderr)
        return 2
    found = distributions()
    for one in found:
        path = one.folder / "pyproject.toml"
        said = path.read_text("utf-8")
        path.write_text(versioned(said, version, [each.name for each in found]), "utf-8")
        print(f"{one.name} {one.version} -> {version}")
    print(f'Now CHANGELOG.md: its first heading is "## {version}", and the date.')
    return 0


def versioned(pyproject: str, version: str, ours: Iterable[str]) -> str:
    """The text of a pyproject.toml with another version, and the others required in it."""
    changed = re.sub(r'^version = ".*"$', f'version = "{version}"', pyproject, flags=re.MULTILINE)
    names = "|".join(re.escape(name) for name in ours)
    return re.sub(rf'("(?:{names})(?:\[[^\]]*\])?==)[^";]+', rf"\g<1>{version}", changed)


if __name__ == "__main__":
    sys.exit(main())
