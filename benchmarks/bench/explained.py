"""Why a mark is missed, and what was tried: `explanations.toml`, beside the figures it speaks of."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bench.machine import BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.results import Figure, Results, RowResult

EXPLANATIONS = BENCHMARKS / "explanations.toml"


class UnexplainedError(Exception):
    """Marks are missed, and nobody says why.

    Args:
        figures: Each with its row.
    """

    def __init__(self, figures: Sequence[tuple[str, Figure]]) -> None:
        self.figures = tuple(figures)
        told = "\n".join(
            f"  {row}: {figure.case}" + (f" / {figure.ratio_to}" if figure.ratio_to else "")
            for row, figure in figures
        )
        super().__init__(
            f"missed, and not explained:\n{told}\nSay in {EXPLANATIONS.name} why, and what was tried."
        )


@dataclass(frozen=True)
class Explanation:
    """What is said of some missed marks of a row.

    Attributes:
        row: The row's name.
        cases: Patterns (`fnmatch`) of the figures' cases.
        why: Why they are missed.
        tried: What was tried, and what came of it.
        to: Pattern of what they are compared with.
    """

    row: str
    cases: tuple[str, ...]
    why: str
    tried: str
    to: str = "*"

    def covers(self, row: RowResult, figure: Figure) -> bool:
        """Whether it speaks of this figure."""
        return (
            self.row == row.name
            and any(fnmatchcase(figure.case, pattern) for pattern in self.cases)
            and fnmatchcase(figure.ratio_to or "", self.to)
        )


def read(path: Path = EXPLANATIONS) -> list[Explanation]:
    """All that there are, in their order."""
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Explanation(row=row, cases=tuple(each.pop("cases")), **each)
        for row, several in found.items()
        for each in several
    ]


def of_row(
    row: RowResult, explanations: Sequence[Explanation]
) -> list[tuple[Explanation, list[Figure]]]:
    """The explanations of a row's missed marks, each with those that it speaks of.

    The first one that speaks of a figure is that figure's. What explains no missed mark is left out: it
    waits for a mark that is met by little.
    """
    spoken: list[tuple[Explanation, list[Figure]]] = [(each, []) for each in explanations]
    for figure in missed(row):
        for explanation, figures in spoken:
            if explanation.covers(row, figure):
                figures.append(figure)
                break
    return [(explanation, figures) for explanation, figures in spoken if figures]


def refuse_unexplained(results: Results, explanations: Sequence[Explanation]) -> None:
    """See to it that each missed mark is explained.

    Raises:
        UnexplainedError: If one is not; all are named.
    """
    left = [
        (row.name, figure)
        for row in results.rows
        for figure in missed(row)
        if not any(each.covers(row, figure) for each in explanations)
    ]
    if left:
        raise UnexplainedError(left)


def missed(row: RowResult) -> Iterator[Figure]:
    """The figures of a row whose marks are missed."""
    return (figure for figure in row.figures if figure.verdict == "missed")
