"""What a run brought, as it is written to JSON; and how it compares with another run."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  pydantic needs it
import math
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Verdict = Literal["met", "missed", "report only"]

#: Share by which a ratio must differ, its quartiles apart, to be called changed: less is a tie here.
NOTABLE = 0.15


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Model):
    """One line of a row: a case, and how it compares.

    Attributes:
        case: What was measured.
        value: The median of all rounds.
        unit: Of the value: "s" for seconds an operation, "bytes", "calls", ….
        spread: The first and third quartile of the value.
        ratio_to: The case of the same rounds that it is compared with.
        ratio: The median of the ratios of the rounds.
        ratio_spread: Their first and third quartile.
        mark: What was to be reached, as text.
        verdict: Whether it was.
        note: What a reader has to know to understand the figure.
    """

    case: str
    value: float
    unit: str = "s"
    spread: tuple[float, float] | None = None
    ratio_to: str | None = None
    ratio: float | None = None
    ratio_spread: tuple[float, float] | None = None
    mark: str | None = None
    verdict: Verdict = "report only"
    note: str = ""


class Point(_Model):
    """One point of a curve.

    Attributes:
        x: Such as a number of secrets.
        y: The median.
        spread: The first and third quartile of `y`.
    """

    x: float
    y: float
    spread: tuple[float, float] | None = None


class Series(_Model):
    """A curve, for a plot: how a thing grows.

    Attributes:
        plot: Series with the same plot are drawn into one picture.
        name: What the curve is of.
        x_label: With its unit.
        y_label: With its unit.
        points: From left to right.
    """

    plot: str
    name: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]


class RowResult(_Model):
    """What one row of the table brought.

    Attributes:
        name: The row's `NAME`.
        title: The row's `TITLE`.
        figures: In the order in which they are shown; several parts follow one another.
        series: For plots.
        notes: What a reader has to know of the whole row: what the floor does, why a mark is missed.
        measured_on: The day; set by the runner.
        took: Seconds that it took to measure; set by the runner.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    series: tuple[Series, ...] = ()
    notes: tuple[str, ...] = ()
    measured_on: dt.date | None = None
    took: float | None = None


class Machine(_Model):
    """What it was measured on; nothing that names the machine.

    Attributes:
        system: Operating system and its release.
        processor: Model.
        cores: That this process may use.
        memory: Bytes.
        python: Implementation and version.
        load: Average of runnable processes in the minute before, or None where that is not known.
    """

    system: str
    processor: str
    cores: int
    memory: int | None
    python: str
    load: float | None


class Results(_Model):
    """One run, or the last kept figures of each row.

    Attributes:
        measured_on: The day of the run.
        quick: Whether it was a quick one, whose figures only show that the rows work.
        commit: The commit of this project, with "+" where files were changed since.
        machine: What it ran on.
        versions: Of the packages that are compared, by their names.
        rows: By the order of their names.
        failed: Rows that ended with an error.
    """

    measured_on: dt.date
    quick: bool
    commit: str | None
    machine: Machine
    versions: dict[str, str]
    rows: tuple[RowResult, ...]
    failed: tuple[str, ...] = ()

    def row(self, name: str) -> RowResult | None:
        """A row by its name."""
        return next((row for row in self.rows if row.name == name), None)

    def over(self, last: Results | None) -> Results:
        """These rows, and those of an earlier run that this one did not measure."""
        kept = () if last is None else last.rows
        rows = {row.name: row for row in (*kept, *self.rows)}
        return self.model_copy(update={"rows": tuple(rows[name] for name in sorted(rows))})


def read(path: Path) -> Results:
    """Results from a file."""
    return Results.model_validate_json(path.read_bytes())


def write(results: Results, path: Path) -> None:
    """Write results to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        results.model_dump_json(indent=1, exclude_defaults=True) + "\n", encoding="utf-8"
    )


class Change(_Model):
    """A ratio now and in another run.

    Attributes:
        row: The row's name.
        case: The figure's case.
        ratio_to: What it is compared with.
        before: The ratio in the other run.
        now: The ratio in this one.
        kind: "worse" and "better" only where it differs notably and the quartiles lie apart.
    """

    row: str
    case: str
    ratio_to: str
    before: float
    now: float
    kind: Literal["worse", "better", "same"]


def changes(now: Results, before: Results) -> Iterator[Change]:
    """How the ratios of two runs differ; a figure that only one of them has is left out.

    Ratios only: seconds of two runs are not comparable. In a row that measures a rate, where more is
    better, "worse" means that the ratio fell; such figures have the unit "1/s".
    """
    for row in now.rows:
        last = before.row(row.name)
        known = {} if last is None else {(f.case, f.ratio_to): f for f in last.figures}
        for figure in row.figures:
            earlier = known.get((figure.case, figure.ratio_to))
            if figure.ratio is None or figure.ratio_to is None or earlier is None:
                continue
            if earlier.ratio is not None:
                yield Change(
                    row=row.name,
                    case=figure.case,
                    ratio_to=figure.ratio_to,
                    before=earlier.ratio,
                    now=figure.ratio,
                    kind=_kind(figure, earlier),
                )


def _kind(now: Figure, before: Figure) -> Literal["worse", "better", "same"]:
    low, high = now.ratio_spread or (now.ratio or math.nan,) * 2
    old_low, old_high = before.ratio_spread or (before.ratio or math.nan,) * 2
    share = (now.ratio or math.nan) / (before.ratio or math.nan)
    more_is_better = now.unit.endswith("/s")
    if share > 1 + NOTABLE and low > old_high:
        return "better" if more_is_better else "worse"
    if share < 1 / (1 + NOTABLE) and high < old_low:
        return "worse" if more_is_better else "better"
    return "same"
