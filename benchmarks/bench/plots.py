"""Pictures of a run, as PNG and SVG: bars of ratios, and curves.

The same results give the same files, byte for byte, with the same matplotlib: no date, no random names.
"""
# matplotlib's own types are not complete: Any at this seam.

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.results import Figure, Results, RowResult, Series

#: Ours, all others, the mark and the floor: told apart without colour too, by their brightness.
OURS, OTHERS, MARK, FLOOR = "#0b5fa5", "#b4bcc4", "#c2410c", "#333333"

#: Curves, in their order: Okabe and Ito's, which colour-blind people can tell apart; each with a marker.
LINES = (
    ("#0072b2", "o"),
    ("#d55e00", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "D"),
    ("#e69f00", "v"),
    ("#000000", "x"),
)

#: From this quotient of the largest and the smallest on, an axis is logarithmic.
WIDE = 20.0

#: Fewer bars are read faster in the table.
FEWEST_BARS = 3

#: How cases of ours begin, where they have no mark.
OWN = ("pgp_config", "GoogleSecretManager")

_STYLE = {
    "svg.hashsalt": "pgp_config",  # the names of clip paths: else random
    "svg.fonttype": "none",  # text stays text: small, and legible to a screen reader
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Picture:
    """One picture, in two files.

    Attributes:
        stem: The files' name, without the ending.
        title: Stands in the picture.
        alt: What it shows, for who does not see it.
    """

    stem: str
    title: str
    alt: str


@dataclass(frozen=True)
class Bars:
    """Cases beside the same floor.

    Attributes:
        floor: Its case.
        figures: One a case, from small to large.
        ours: The cases that are ours: those that have a mark, or begin with our name.
        bound: The mark for the ratio, where it is one number.
    """

    floor: str
    figures: tuple[Figure, ...]
    ours: frozenset[str]
    bound: float | None


def draw(results: Results, folder: Path) -> dict[str, list[Picture]]:
    """Draw all pictures of a run; by the name of the row. Pictures of earlier runs are deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.png"), *folder.glob("*.svg")):
        old.unlink()
    with mpl.rc_context(_STYLE):
        return {row.name: [*_pictures(row, folder)] for row in results.rows}


def _pictures(row: RowResult, folder: Path) -> Iterator[Picture]:
    # Rows with curves say in them what they compare.
    for number, bars in enumerate(() if row.series else bars_of(row), start=1):
        yield _draw_bars(row, bars, f"{row.name}-{number}", folder)
    for plot, curves in curves_of(row):
        yield _draw_curves(
            row, curves, f"{row.name}-{slug(plot.removeprefix(row.name))}".strip("-"), folder
        )


def slug(text: str) -> str:
    """A name for a file."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


# -- bars ------------------------------------------------------------------------------------


def bars_of(row: RowResult) -> Iterator[Bars]:
    """The groups of a row's figures that are compared with the same case, where they are enough."""
    marked = frozenset(figure.case for figure in row.figures if figure.mark)
    floors = dict.fromkeys(f.ratio_to for f in row.figures if f.ratio_to and f.ratio is not None)
    for floor in floors:
        beside = [f for f in row.figures if f.ratio_to == floor and f.ratio is not None]
        single = {figure.case: figure for figure in beside}
        if len(single) < FEWEST_BARS:
            continue
        bounds = {bound_in(figure.mark) for figure in beside if figure.mark}
        yield Bars(
            floor=str(floor),
            figures=tuple(sorted(single.values(), key=lambda figure: figure.ratio or 0.0)),
            ours=frozenset(case for case in single if case in marked or case.startswith(OWN)),
            bound=bounds.pop() if len(bounds) == 1 else None,
        )


def bound_in(mark: str | None) -> float | None:
    """The number of a mark like `≤ 2` or `≥ 0.95`."""
    found = re.fullmatch(r"[≤≥] ([\d.]+)", mark or "")
    return float(found[1]) if found else None


def _draw_bars(row: RowResult, bars: Bars, stem: str, folder: Path) -> Picture:
    figures = bars.figures
    ratios = [figure.ratio or 0.0 for figure in figures]
    canvas = Canvas(figsize=(8, 1.5 + 0.32 * len(figures)), layout="constrained")
    axes: Any = canvas.subplots()
    axes.barh(
        range(len(figures)),
        ratios,
        color=[OURS if figure.case in bars.ours else OTHERS for figure in figures],
        xerr=_errors(figures),
        error_kw={"ecolor": FLOOR, "elinewidth": 1, "capsize": 2},
    )
    axes.set_yticks(range(len(figures)), [figure.case for figure in figures])
    axes.invert_yaxis()
    axes.axvline(1.0, color=FLOOR, linewidth=1)
    if bars.bound is not None:
        axes.axvline(bars.bound, color=MARK, linewidth=1.5, linestyle="--")
    _scale(axes.set_xscale, [*ratios, 1.0])
    if axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter("{x:g}")
    right = max(*ratios, 1.0, bars.bound or 0.0)
    axes.set_xlim(right=right * (1.6 if axes.get_xscale() == "log" else 1.12))
    for place, (figure, ratio) in enumerate(zip(figures, ratios, strict=True)):
        end = (figure.ratio_spread or (ratio, ratio))[1]
        axes.annotate(
            f"{ratio:.3g}",
            (max(end, ratio), place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    rate = figures[0].unit.endswith("/s")
    kind = "requests a second" if rate else "time"
    better = "right" if rate else "left"
    mark = "" if bars.bound is None else f"; dashed: the mark, {bars.bound:g}"
    axes.set_xlabel(f"{kind}, as a multiple of: {bars.floor}\n(better to the {better}{mark})")
    title = f"{row.title}: {'bare' if rate else 'floor'} = 1"
    axes.set_title(title, loc="left", fontweight="bold")
    _save(canvas, folder, stem)
    told = ", ".join(f"{f.case} {r:.3g}" for f, r in zip(figures, ratios, strict=True))
    return Picture(stem, title, f"Bars of {kind} as a multiple of {bars.floor}: {told}.")


def _errors(figures: Sequence[Figure]) -> list[list[float]]:
    """How far the quartiles are from the median, to both sides."""
    spans = [(f.ratio or 0.0, *(f.ratio_spread or (f.ratio or 0.0,) * 2)) for f in figures]
    return [
        [max(0.0, middle - low) for middle, low, _ in spans],
        [max(0.0, high - middle) for middle, _, high in spans],
    ]


# -- curves ----------------------------------------------------------------------------------


def curves_of(row: RowResult) -> Iterator[tuple[str, list[Series]]]:
    """The curves of a row, by their plot."""
    for plot, curves in groupby(
        sorted(row.series, key=lambda series: series.plot), key=lambda series: series.plot
    ):
        yield plot, [*curves]


def _draw_curves(row: RowResult, curves: Sequence[Series], stem: str, folder: Path) -> Picture:
    canvas = Canvas(figsize=(8, 4.2), layout="constrained")
    axes: Any = canvas.subplots()
    for number, series in enumerate(curves):
        colour, marker = LINES[number % len(LINES)]
        x, y = [p.x for p in series.points], [p.y for p in series.points]
        axes.plot(x, y, color=colour, marker=marker, label=series.name)
        spread = [point.spread for point in series.points if point.spread is not None]
        if len(spread) == len(x):
            axes.fill_between(x, *zip(*spread, strict=True), color=colour, alpha=0.2, linewidth=0)
    first = curves[0]
    points = [point for series in curves for point in series.points]
    _scale(axes.set_xscale, [point.x for point in points])
    ticks = sorted({point.x for point in points})
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks], minor=False)
    axes.minorticks_off()
    _scale(axes.set_yscale, [point.y for point in points])
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    if first.y_label == "seconds":
        axes.yaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.set_xlabel(first.x_label)
    axes.set_ylabel(first.y_label)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    title = f"{row.title.partition(':')[0]}: {first.y_label} by {first.x_label}"
    axes.set_title(title, loc="left", fontweight="bold")
    canvas.legend(loc="outside lower center", ncols=2, frameon=False)
    _save(canvas, folder, stem)
    told = "; ".join(
        f"{s.name}: {s.points[0].y:.3g} at {s.points[0].x:,g}, {s.points[-1].y:.3g} at {s.points[-1].x:,g}"
        for s in curves
    )
    return Picture(stem, title, f"Curves of {first.y_label} by {first.x_label}. {told}.")


# -- both ------------------------------------------------------------------------------------


def _scale(set_scale: Any, values: Sequence[float]) -> None:  # noqa: ANN401  matplotlib's
    least = min(values)
    if least > 0 and max(values) / least > WIDE:
        set_scale("log")


def _save(canvas: Canvas, folder: Path, stem: str) -> None:
    canvas.savefig(folder / f"{stem}.svg", metadata={"Date": None, "Creator": None})
    canvas.savefig(folder / f"{stem}.png", dpi=110, metadata={"Software": None})
