"""The runner: `scripts/bench [name …] [--quick] [--keep] [--page]`; `benchmarks/README.md` has the rest."""

from __future__ import annotations

import argparse
import datetime as dt
import pkgutil
import subprocess
import sys
import tempfile
import time
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
    if asked.guard:
        return _guard()
    if asked.page and not asked.keep:
        return _make_page(results.read(asked.source))
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
    unmade = asked.page and _make_page(kept)
    return 1 if run.failed or unmade else 0


def _make_page(run: results.Results) -> int:
    from bench import explained, report  # noqa: PLC0415  matplotlib, which the guard runs without

    try:
        page = report.make(run)
    except explained.UnexplainedError as fault:
        print(f"No page: {fault}", file=sys.stderr)
        return 1
    print(f"Made {page}")
    return 0


def _guard() -> int:
    from bench import guard  # noqa: PLC0415  it needs less than the rows do, and more than the page

    return guard.main()


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
    parser.add_argument(
        "--page", action="store_true", help="make docs/benchmarks.md; of the kept, without --keep"
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        default=LATEST,
        metavar="FILE",
        help="the results that --page shows, in place of the kept ones",
    )
    parser.add_argument(
        "--guard", action="store_true", help="only check that the stable ratios are not worse"
    )
    parser.add_argument("--only", help=argparse.SUPPRESS)  # one row, in this process
    asked = parser.parse_args()
    unknown = {*asked.names} - {*row_names()}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if asked.keep and asked.quick:
        parser.error("the figures of a quick run are not kept")
    if asked.page and not asked.keep and (asked.names or asked.quick):
        parser.error("--page shows kept results: add --keep, or measure nothing")
    if asked.page and not asked.keep and not asked.source.exists():
        parser.error(f"{asked.source} does not exist: scripts/bench --keep --page makes it")
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
    began = time.monotonic()
    row: results.RowResult = module.run(options)
    took = round(time.monotonic() - began, 1)
    row = row.model_copy(update={"measured_on": _today(), "took": took})
    if path is None:
        shown.show_row(row)
    else:
        path.write_text(row.model_dump_json(), encoding="utf-8")


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).date()


if __name__ == "__main__":
    sys.exit(main())
