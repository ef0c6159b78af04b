"""Runs the rotations: `python -m pgp_services.rotate_all`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console

from pgp_services.catalogue import CATALOGUE
from pgp_services.cli.naming import service_named
from pgp_services.names import Service
from pgp_services.rotate_all.report import show
from pgp_services.rotate_all.run import MAX_AGE, run
from pgp_services.rotate_all.statics import ROTATED
from pgp_services.stage.processes import StageFailed

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Rotate; 0 if every service used every new version that it reads, and none was restarted."""
    parser = argparse.ArgumentParser(prog="scripts/rotate-all", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=_rotatable(), help="only these secrets"
    )
    parser.add_argument(
        "--service", nargs="+", metavar="NAME", type=_service, help="only these services"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was seen there too")
    options = parser.parse_args(arguments)
    console = Console()
    began = time.monotonic()

    def tell(text: str) -> None:
        console.print(
            f"[dim]{time.monotonic() - began:5.1f} s[/]  {text}", highlight=False, soft_wrap=True
        )

    services = options.service or list(Service)
    names = options.only or _rotatable()
    if not any(CATALOGUE[name].readers & set(services) for name in names):
        parser.error("none of these services reads any of these secrets")
    # What is started is ended, whoever ends this program.
    signal.signal(signal.SIGTERM, _leave)
    tell(f"{len(services)} services start, each in a process of its own; max_age {MAX_AGE:g} s")
    try:
        facts = run(services, names, tell)
    except StageFailed as failure:
        console.print(str(failure), style="red", markup=False)
        return 1
    show(facts, console)
    if options.json:
        options.json.write_text(json.dumps(facts.as_json(), indent=2) + "\n")
    broken = facts.broken_promises()
    for promise in broken:
        console.print(f"NOT SEEN: {promise}", style="bold red", markup=False, soft_wrap=True)
    console.print(facts.verdict(), style="bold red" if broken else "bold green", highlight=False)
    return 1 if broken else 0


def _service(text: str) -> Service:
    try:
        return service_named(text)
    except typer.BadParameter as unknown:
        raise argparse.ArgumentTypeError(str(unknown)) from None


def _rotatable() -> list[str]:
    dynamic = [row.name for row in CATALOGUE.values() if row.reload_class == "dynamic"]
    return [*dynamic, *ROTATED]


def _leave(*_: object) -> NoReturn:
    raise SystemExit(1)


if __name__ == "__main__":  # pragma: no cover  # the tests call main()
    sys.exit(main())
