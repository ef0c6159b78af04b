"""What is released, tried as it is installed; `docs/policies.md` says what each step proves."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from release import checkers, installed, supply
from release.building import Workplace, build
from release.distributions import ROOT, disagreements, runtime_requirements
from release.running import PythonMissingError, StepError

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[Workplace], None]


def agree(place: Workplace) -> None:
    """All distributions have one version, and require one another in it."""
    faults = disagreements(place.distributions, (ROOT / "CHANGELOG.md").read_text("utf-8"))
    if faults:
        raise StepError("\n".join(faults))
    for one in place.distributions:
        print(f"  {one.name} {one.version}")


def wheels(place: Workplace) -> None:
    """All that is required has wheels for each supported Python, also for one that is not here."""
    bounds = "\n".join(runtime_requirements(place.libraries))
    for version in checkers.supported_pythons(place):
        print(f"  Python {version}: {len(installed.lowest_of(bounds, version))} packages")


STEPS: dict[str, Step] = {
    "agree": agree,
    "build": build,
    "installed": installed.installed,
    "adopted": installed.adopted,
    "types": checkers.types,
    "licences": supply.licences,
    "sbom": supply.sbom,
    "wheels": wheels,
    "oldest": installed.oldest,
    "newest": installed.newest,
}
#: What CI runs.
QUICK = ("agree", "build", "installed", "licences", "sbom")


def main() -> int:
    """Run the steps that were asked for, each to its end; 1 if one failed."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="release-check-") as scratch:
        place = Workplace(Path(scratch))
        steps = _steps(asked, place)
        failed = [name for name, step in steps.items() if not _passes(name, step, place)]
    if failed:
        print(f"release-check: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/release-check", description=__doc__)
    parser.add_argument(
        "steps", nargs="*", help=f"of {', '.join(STEPS)}; {', '.join(QUICK)} by default"
    )
    parser.add_argument(
        "--all", action="store_true", help="all steps, and the tests on each Python that is here"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="3.13",
        help="the tests of the core and the adapters on that one",
    )
    asked = parser.parse_args()
    unknown = {*asked.steps} - {*STEPS}
    if unknown:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    return asked


def _steps(asked: argparse.Namespace, place: Workplace) -> dict[str, Step]:
    named = asked.steps or (() if asked.python else QUICK)
    names = [name for name in STEPS if asked.all or name in {*named, "build"}]
    pythons = checkers.supported_pythons(place) if asked.all else asked.python
    steps = {name: STEPS[name] for name in names}
    for version in pythons:
        optional = asked.all and version not in asked.python
        steps[f"Python {version}"] = partial(_on_python, version=version, optional=optional)
    return steps


def _on_python(place: Workplace, *, version: str, optional: bool) -> None:
    try:
        installed.on_python(place, version)
    except PythonMissingError as missing:
        if not optional:
            raise
        print(f"  not run: {missing}")


def _passes(name: str, step: Step, place: Workplace) -> bool:
    began = time.monotonic()
    print(f"{name}:", flush=True)
    try:
        step(place)
    except StepError as fault:
        print(f"{fault}\n  FAILED in {time.monotonic() - began:.0f} s", flush=True)
        return False
    print(f"  passed in {time.monotonic() - began:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
