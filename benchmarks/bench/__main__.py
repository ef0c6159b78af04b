"""The runner: `scripts/bench [name …] [--quick] [--json FILE] [--against FILE] [--keep]`."""

from __future__ import annotations

import argparse
import datetime as dt
import pkgutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench import machine, results, rows, shown
from bench.harness import Options

KEPT = machine.BENCHMARKS / "results"
LATEST = KEPT / "latest.json"


def main() -> int:
    """Run the rows that were named, or all of them; 1 if one of them failed."""
    asked = _arguments()
    if asked.only is not None:
        _run_here(asked.only, Options(quick=asked.quick), asked.json)
        return 0
    run = _run_all(asked.names or row_names(), quick=asked.quick)
    if asked.json is not None:
        results.write(run, asked.json)
    against = asked.against or (LATEST if LATEST.exists() else None)
    if against is not None:
        shown.show_changes(results.changes(run, results.read(against)))
    if asked.keep:
        kept = run.over(results.read(LATEST) if LATEST.exists() else None)
        results.write(kept, LATEST)
        results.write(run, KEPT / f"{run.measured_on}.json")
    for name in run.failed:
        print(f"{name} failed", file=sys.stderr)
    return 1 if run.failed else 0


def row_names() -> list[str]:
    """The rows that there are: every module of `bench.rows`."""
    return sorted(module.name for module in pkgutil.iter_modules(rows.__path__))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(row_names())}; all by default")
    parser.add_argument("--quick", action="store_true", help="only to see that the rows work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="compare with these; by default the kept ones"
    )
    parser.add_argument("--keep", action="store_true", help=f"keep them in {KEPT.name}/")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # one row, in this process
    asked = parser.parse_args()
    unknown = {*asked.names} - {*row_names()}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if asked.keep and asked.quick:
        parser.error("the figures of a quick run are not kept")
    return asked


def _run_all(names: list[str], *, quick: bool) -> results.Results:
    """Each row in a process of its own: what one imports or patches is not the others' burden."""
    began_on = machine.this_machine()
    done, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder, f"{name}.json")
            command = [sys.executable, "-m", "bench", "--only", name, "--json", str(path)]
            ended = subprocess.run([*command, *(["--quick"] * quick)], check=False)  # noqa: S603  ourselves
            if ended.returncode != 0:
                failed.append(name)
                continue
            row = results.RowResult.model_validate_json(path.read_bytes())
            shown.show_row(row)
            done.append(row)
    return results.Results(
        measured_on=_today(),
        quick=quick,
        commit=machine.commit(),
        machine=began_on,
        versions=machine.versions(),
        rows=tuple(done),
        failed=tuple(failed),
    )


def _run_here(name: str, options: Options, path: Path | None) -> None:
    module = import_module(f"bench.rows.{name}")
    row: results.RowResult = module.run(options)
    row = row.model_copy(update={"measured_on": _today()})
    if path is None:
        shown.show_row(row)
    else:
        path.write_text(row.model_dump_json(), encoding="utf-8")


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).date()


if __name__ == "__main__":
    sys.exit(main())
