"""Results as a person reads them in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.results import Change, Figure, RowResult

#: From the largest down: what a value is divided by, and how that is called.
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))


def amount(value: float, unit: str) -> str:
    """A value with its unit, in three digits: `1.23 µs`."""
    scales = {"s": _SECONDS, "bytes": _BYTES}.get(unit)
    if scales is None:
        return f"{value:,.4g} {unit}"
    size, name = next((scale for scale in scales if abs(value) >= scale[0]), scales[-1])
    scaled = value / size
    digits = ".0f" if abs(scaled) >= 100 else ".3g"  # noqa: PLR2004  three digits
    return f"{scaled:,{digits}} {name}"


def spread(figure: Figure) -> str:
    """Half the distance of the quartiles as a share of the value: `±3 %`."""
    if figure.ratio_spread is not None and figure.ratio:
        (low, high), middle = figure.ratio_spread, figure.ratio
    elif figure.spread is not None and figure.value:
        (low, high), middle = figure.spread, figure.value
    else:
        return ""
    return f"±{(high - low) / 2 / middle:.0%}"


def show_row(row: RowResult) -> None:
    """Print a row's figures."""
    table = Table(title=f"{row.name}: {row.title}", title_justify="left")
    for heading in ("case", "median", "ratio", "±", "to", "mark", "", "note"):
        table.add_column(
            heading, justify="right" if heading in {"median", "ratio", "±"} else "left"
        )
    for figure in row.figures:
        table.add_row(
            figure.case,
            amount(figure.value, figure.unit),
            "" if figure.ratio is None else f"{figure.ratio:.3g}",
            spread(figure),
            figure.ratio_to or "",
            figure.mark or "",
            {"met": "[green]met", "missed": "[red]missed", "report only": ""}[figure.verdict],
            figure.note,
        )
    out = console()
    out.print(table)
    for note in row.notes:
        out.print(f"  {note}", highlight=False, markup=False)


def show_changes(found: Iterable[Change]) -> None:
    """Print which ratios differ from an earlier run's, the others only as a count."""
    out, same = console(), 0
    for change in found:
        if change.kind == "same":
            same += 1
            continue
        colour = "red" if change.kind == "worse" else "green"
        out.print(
            f"[{colour}]{change.kind}[/]: {change.row}: {change.case} / {change.ratio_to}: "
            f"{change.before:.3g} -> {change.now:.3g}",
            highlight=False,
        )
    out.print(f"{same} ratios as before.", highlight=False)


def console() -> Console:
    """Where it is printed."""
    # Into a file or a pipe: as wide as the table is.
    return Console() if sys.stdout.isatty() else Console(width=200)
