"""The results page: `docs/benchmarks.md`, with its pictures, from the results of a run.

Each row of the table stands there with its figures beside their marks; for each mark that is missed the
page says why and what was tried (`bench.explained`), and is not made where it could not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import explained
from bench.machine import BENCHMARKS
from bench.shown import amount, spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.explained import Explanation
    from bench.plots import Picture
    from bench.results import Figure, Results, RowResult

DOCS = BENCHMARKS.parent / "docs"

#: As they stand in the table of what is to be reached; rows that are not listed follow.
ORDER = (
    "reads",
    "scopes",
    "requests",
    "servers",
    "expiry",
    "fetch",
    "startup",
    "imports",
    "uptake",
    "growth",
    "month",
)

_VERDICTS = {"met": "met", "missed": "**missed**", "report only": "report only"}

_HEAD = """\
# Benchmarks

What pgp_config costs, beside the floor and beside what one would use in its place. This page is made by `scripts/bench --page` from
[the results](../benchmarks/results/latest.json); [how it works](design.md#speed) says what was done for speed and what was rejected.

**Only ratios are meant to hold elsewhere.** Seconds are those of one machine on one day, and promise nothing.
"""

_READING = """\
## How to read it

- *Floor*: the least that Python code has to do for the same thing, without any promise; each row says what it is.
- A ratio is that of two samples of one round, all cases of a table being measured in turn; shown is the median of all rounds. *±* is half the distance of the quartiles.
- *Verdict*: whether the mark was reached; where a figure is beside its mark by less than its spread, another run may say otherwise. What has no mark is *report only*.
- A ratio of requests a second is better the larger it is; every other ratio, the smaller.
"""

_REPEATING = """\
## How to repeat it

```console
$ scripts/bench --keep --page    # all of it{took}; writes benchmarks/results/ and this page
$ scripts/bench reads scopes     # some rows, beside the kept results
$ scripts/bench --quick          # only to see that it works
$ scripts/bench --guard          # what CI checks, in less than a minute
```

It needs Python 3.11 or newer, and `wrk` for the row *servers* (Debian: `apt-get install wrk`); the packages are installed from
[requirements.txt](../benchmarks/requirements.txt), with hashes. Let the machine be idle. [Its README](../benchmarks/README.md) says how a row is written.
"""


def make(
    results: Results, docs: Path = DOCS, explanations: Sequence[Explanation] | None = None
) -> Path:
    """Write the page and its pictures.

    Args:
        results: The run.
        docs: The folder: `benchmarks.md` and `benchmarks/` are made there.
        explanations: In place of those that are kept.

    Returns:
        The page.

    Raises:
        UnexplainedError: If a mark is missed and nothing says why; then nothing is written.
    """
    from bench import plots  # noqa: PLC0415  matplotlib, which the tests of the page do without

    known = explained.read() if explanations is None else explanations
    explained.refuse_unexplained(results, known)
    pictures = plots.draw(results, docs / "benchmarks")
    page = docs / "benchmarks.md"
    page.write_text(text_of(results, known, pictures), encoding="utf-8")
    return page


def text_of(
    results: Results,
    explanations: Sequence[Explanation],
    pictures: Mapping[str, Sequence[Picture]],
) -> str:
    """The page itself; pictures by the name of their row."""
    return "\n".join(_page(results, explanations, pictures))


def in_order(rows: Iterable[RowResult]) -> list[RowResult]:
    """Rows as the table has them."""
    places = {name: place for place, name in enumerate(ORDER)}
    return sorted(rows, key=lambda row: (places.get(row.name, len(ORDER)), row.name))


def _page(
    results: Results,
    explanations: Sequence[Explanation],
    pictures: Mapping[str, Sequence[Picture]],
) -> Iterator[str]:
    rows = in_order(results.rows)
    yield _HEAD
    if results.quick:
        yield "**From a quick run: its figures only show that the rows work.**\n"
    if results.failed:
        yield f"**Not measured, because they failed: {', '.join(results.failed)}.**\n"
    yield from _circumstances(results)
    yield from _summary(rows)
    yield _READING
    took = [row.took for row in rows if row.took is not None]
    whole = f", {sum(took) / 60:.0f} minutes" if len(took) == len(rows) else ""
    yield _REPEATING.format(took=whole)
    for row in rows:
        yield from _section(row, results, explanations, pictures.get(row.name, []))
    yield from _versions(results)


def _circumstances(results: Results) -> Iterator[str]:
    machine = results.machine
    memory = "" if machine.memory is None else f", {amount(machine.memory, 'bytes')}"
    load = "" if machine.load is None else f"; load {machine.load:g} before the run"
    yield f"Measured on {results.measured_on:%d %B %Y}, at commit `{results.commit or 'unknown'}`:"
    yield f"{machine.processor}, {machine.cores} cores{memory}, {machine.system}, {machine.python}{load}.\n"


def _summary(rows: Sequence[RowResult]) -> Iterator[str]:
    yield "| row | first of its figures | | mark | verdict | marks met |"
    yield "|---|---|--:|---|---|--:|"
    for row in rows:
        marked = [figure for figure in row.figures if figure.mark]
        met = sum(figure.verdict == "met" for figure in marked)
        link = f"[{row.name}](#{_anchor(row)})"
        if not marked:
            yield f"| {link} | {_cell(row.title)} | | | not measured | |"
            continue
        first = marked[0]
        yield (
            f"| {link} | {_cell(first.case)} | {_measure_of(first)} | {_cell(first.mark or '')} |"
            f" {_VERDICTS[first.verdict]} | {met} of {len(marked)} |"
        )
    yield ""


def _measure_of(figure: Figure) -> str:
    """What the mark is for: the ratio where there is one, else the value."""
    if figure.ratio is None:
        return amount(figure.value, figure.unit)
    return f"{figure.ratio:.3g} times"


def _heading(row: RowResult) -> str:
    if row.title.lower().startswith(row.name):
        return row.title
    return f"{row.name}: {row.title[0].lower()}{row.title[1:]}"


def _anchor(row: RowResult) -> str:
    """As GitHub and MyST make it of a heading."""
    kept = (c for c in _heading(row).lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def _section(
    row: RowResult,
    results: Results,
    explanations: Sequence[Explanation],
    pictures: Sequence[Picture],
) -> Iterator[str]:
    yield f"## {_heading(row)}\n"
    if row.measured_on not in {None, results.measured_on}:
        yield f"Measured on {row.measured_on:%d %B %Y}, in another run than the rest.\n"
    marked = [figure for figure in row.figures if figure.mark]
    others = [figure for figure in row.figures if not figure.mark]
    if marked:
        yield from _table(marked, with_marks=True)
    for explanation, figures in explained.of_row(row, explanations):
        yield f"**Missed: {_listed(figures)}.** {explanation.why.strip()}\n"
        yield f"*Tried:* {explanation.tried.strip()}\n"
    for picture in pictures:
        path = f"benchmarks/{picture.stem}"
        yield f"[![{_cell(picture.alt)}]({path}.svg)]({path}.png)\n"
    if others:
        yield "Report only:\n"
        yield from _table(others, with_marks=False)
    yield from (f"- {_cell(note)}" for note in row.notes)
    yield ""


def _listed(figures: Sequence[Figure]) -> str:
    told = (
        f"{figure.case}{f' beside {figure.ratio_to}' if figure.ratio_to and figure.ratio else ''}"
        for figure in figures
    )
    return _cell("; ".join(dict.fromkeys(told)))


def _table(figures: Sequence[Figure], *, with_marks: bool) -> Iterator[str]:
    noted = any(figure.note for figure in figures)
    headings = ["what", "median", "ratio", "±", "to"]
    aligned = ["---", "--:", "--:", "--:", "---"]
    if with_marks:
        headings += ["mark", "verdict"]
        aligned += ["---", "---"]
    if noted:
        headings.append("note")
        aligned.append("---")
    yield f"| {' | '.join(headings)} |"
    yield f"|{'|'.join(aligned)}|"
    for figure in figures:
        cells = [
            figure.case,
            amount(figure.value, figure.unit),
            "" if figure.ratio is None else f"{figure.ratio:.3g}",
            spread(figure),
            figure.ratio_to or "",
        ]
        if with_marks:
            cells += [figure.mark or "", _VERDICTS[figure.verdict]]
        if noted:
            cells.append(figure.note)
        yield f"| {' | '.join(_cell(cell) for cell in cells)} |"
    yield ""


def _cell(text: str) -> str:
    """Text that is no markup: names hold brackets and underscores."""
    for special in "\\|[]_<>$":
        text = text.replace(special, f"\\{special}")
    return text.replace("\n", " ")


def _versions(results: Results) -> Iterator[str]:
    yield "## Versions\n"
    yield ", ".join(f"{name} {version}" for name, version in results.versions.items()) + "."
    yield ""
