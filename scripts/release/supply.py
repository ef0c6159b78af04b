"""What a user gets from others with the libraries: licences, and a bill of materials."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from release import licences as judged
from release.distributions import ROOT
from release.running import Environment, StepError, find_python, run, tool

if TYPE_CHECKING:
    from release.building import Workplace

LOCK = ROOT / "requirements" / "dev.txt"
BOM = ROOT / "dist" / "pgp-config.cdx.json"


def licences(place: Workplace) -> None:
    """Of all that the libraries bring with all extras, and of what this project is developed with."""
    ours = [one.name for one in place.distributions]
    judged.check("runtime", _with_all_extras(place).python, ours)
    judged.check("development", Path(sys.executable), ours)


def sbom(place: Workplace) -> None:
    """All that the libraries bring with all extras, in CycloneDX: `dist/pgp-config.cdx.json`."""
    made = _with_all_extras(place)
    options = ["--output-reproducible", "--mc-type", "library", "--output-file", str(BOM)]
    core = ["--pyproject", str(ROOT / "pyproject.toml")]
    run([tool("cyclonedx-py"), "environment", *options, *core, made.python])
    bom = _without_paths(json.loads(BOM.read_text("utf-8")))
    BOM.write_text(json.dumps(bom, indent=2) + "\n", "utf-8")
    listed = {canonicalize_name(each["name"]) for each in bom["components"]}
    there = json.loads(run([tool("uv"), "pip", "list", "--format=json", "--python", made.python]))
    missing = {each["name"] for each in there} - listed - {place.distributions[0].name}
    if missing:
        raise StepError(f"not in the bill of materials: {', '.join(sorted(missing))}")
    print(f"  {BOM.relative_to(ROOT)}: {len(listed)} components")


def _without_paths(bom: dict[str, Any]) -> dict[str, Any]:
    """Without where our wheels were on this machine."""
    for component in bom["components"]:
        references = component.pop("externalReferences", [])
        kept = [each for each in references if not each["url"].startswith("file:")]
        if kept:
            component["externalReferences"] = kept
    return bom


def _with_all_extras(place: Workplace) -> Environment:
    made = Environment(place.scratch / "runtime", find_python("3.11"))
    made.install("--constraint", LOCK, *(place.wheel(one) for one in place.libraries))
    return made
