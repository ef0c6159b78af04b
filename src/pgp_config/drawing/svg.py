"""The graph as one SVG file: no program, no font and no asset from elsewhere; read by people and by screen readers.

A container is a frame: its secrets at the left, then what is built from them. A secret that several containers read
is drawn in each: lines across frames could not be followed. What differs in class differs in shape and in words, not
by its colour alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from pgp_config.drawing.graph import words_of
from pgp_config.drawing.texts import title_of, unused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgp_config.drawing.graph import Placed
    from pgp_config.providers.drawn import Drawn, Node

#: Pixels. A letter of the typeface is this wide at most, at the size of names.
LETTER, PADDING, HEIGHT, GAP, COLUMN_GAP, MARGIN, HEAD, LANE = 7.3, 14, 44, 14, 90, 24, 36, 4

#: Rounds of ordering: each moves a box towards those that it is joined to.
_ROUNDS = 6

#: Characters that XML 1.0 cannot have, and those by which text could be shown in another order.
_FORBIDDEN = re.compile(
    "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]"
)

_STYLE = """\
svg { color-scheme: light dark; background: #fff; }
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1b1f24; }
.title { font-size: 16px; font-weight: 700; }
.head { font-size: 13px; font-weight: 700; }
.word { font-size: 11px; fill: #4b5563; }
.frame { fill: #f6f7f9; stroke: #b6bcc6; }
.box { fill: #fff; stroke: #57606a; stroke-width: 1.2; }
.static .box { fill: #fdf0d9; stroke: #8a5a00; stroke-width: 2.4; }
.dynamic .box { fill: #dff3e4; stroke: #1a7f37; }
.ring .box { fill: #dff3e4; stroke: #1a7f37; }
.object .box { fill: #e6f0fd; stroke: #0a5bb5; }
.edge { fill: none; stroke: #57606a; stroke-width: 1.1; opacity: .55; }
.tip { fill: #57606a; opacity: .8; }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; }
  text { fill: #e6edf3; }
  .word { fill: #9da7b3; }
  .frame { fill: #161b22; stroke: #444c56; }
  .box { fill: #0d1117; stroke: #8b949e; }
  .static .box { fill: #3a2a08; stroke: #e3a008; }
  .dynamic .box, .ring .box { fill: #0f2f1a; stroke: #3fb950; }
  .object .box { fill: #0c2540; stroke: #58a6ff; }
  .edge { stroke: #9da7b3; }
  .tip { fill: #9da7b3; }
}"""


@dataclass(slots=True)
class _Box:
    node: Node
    words: str
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = HEIGHT

    @property
    def middle(self) -> float:
        """Where lines begin and end."""
        return self.y + self.height / 2

    @property
    def needed(self) -> float:
        """Pixels that its texts take; a lane has none."""
        if self.height == LANE:
            return 0.0
        return max(len(self.node.name), len(self.words) * 0.93) * LETTER + 2 * PADDING


def svg(graphs: Sequence[Placed]) -> str:
    """The picture, a frame for each container."""
    frames = [_frame(graph, graphs) for graph in graphs]
    legend = _legend()
    top = MARGIN + 28 + HEIGHT + GAP
    width = max([*(frame.width for frame in frames), legend.width, _wide(title_of(graphs))])
    parts, y = [], float(top)
    for frame in frames:
        parts.append(f'<g transform="translate({MARGIN} {_n(y)})">{frame.drawn}</g>')
        y += frame.height + GAP
    whole = width + 2 * MARGIN
    size = f'width="{_n(whole)}" height="{_n(y + MARGIN)}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}',
            f'  viewBox="0 0 {_n(whole)} {_n(y + MARGIN)}" role="img" aria-labelledby="pgp-title pgp-desc">',
            f'<title id="pgp-title">{_text(title_of(graphs))}</title>',
            f'<desc id="pgp-desc">{_text(description(graphs))}</desc>',
            f"<style>\n{_STYLE}\n</style>",
            f'<text class="title" x="{MARGIN}" y="{MARGIN + 8}">{_text(title_of(graphs))}</text>',
            f'<g transform="translate({MARGIN} {MARGIN + 24})">{legend.drawn}</g>',
            *parts,
            "</svg>\n",
        ]
    )


def description(graphs: Sequence[Placed]) -> str:
    """The graph in sentences, for who does not see it."""
    return " ".join(_sentences_of(graph) for graph in graphs)


def _sentences_of(graph: Placed) -> str:
    nodes = graph.drawn.nodes
    secrets = [node for node in nodes if node.is_secret]
    static = sum(node.kind == "static" for node in secrets)
    dynamic = len(secrets) - static
    told = [f"{graph.title}: {static} static and {dynamic} dynamic secrets."]
    for place, node in enumerate(nodes):
        takers = [nodes[taker].name for giver, taker in graph.drawn.edges if giver == place]
        if node.is_secret:
            to = f"given to {', '.join(takers)}" if takers else "given to nothing in the container"
            told.append(f"{node.name} ({node.kind}) is {to}.")
        elif takers:
            told.append(f"{node.name} is given to {', '.join(takers)}.")
    return " ".join(told)


# -- a frame -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frame:
    drawn: str
    width: float
    height: float


def _frame(graph: Placed, graphs: Sequence[Placed]) -> _Frame:
    boxes = [_Box(node, _words(node, graph, graphs)) for node in graph.drawn.nodes]
    columns = _columns(graph.drawn)
    chains = _chains(columns, graph.drawn, boxes)
    _order(columns, chains)
    height = _place(columns, boxes)
    shown = boxes[: len(graph.drawn.nodes)]
    width = max([box.x + box.width for box in shown], default=0.0) + PADDING
    width = max(width, _wide(graph.title) + 2 * PADDING)
    drawn = "".join(
        [
            f'<rect class="frame" width="{_n(width)}" height="{_n(height)}" rx="8"/>',
            f'<text class="head" x="{PADDING}" y="23">{_text(graph.title)}</text>',
            *(_edge([boxes[place] for place in chain]) for chain in chains),
            *(_shape(box) for box in shown),
        ]
    )
    return _Frame(drawn, width, height)


def _words(node: Node, graph: Placed, graphs: Sequence[Placed]) -> str:
    others = sum(
        other is not graph
        and any(each.is_secret and each.name == node.name for each in other.drawn.nodes)
        for other in graphs
    )
    shared = f" · in {others + 1} containers" if node.is_secret and others else ""
    place = graph.drawn.nodes.index(node)
    alone = " · read by name" if node.is_secret and place in unused(graph) else ""
    return words_of(node) + shared + alone


def _columns(drawn: Drawn) -> list[list[int]]:
    """The places of the nodes, column by column: each right of all that it is given."""
    depths = [0] * len(drawn.nodes)
    for place, node in enumerate(drawn.nodes):  # they come after what they are given
        if not node.is_secret:
            given = [depths[giver] for giver, taker in drawn.edges if taker == place]
            depths[place] = 1 + max(given, default=0)
    columns: list[list[int]] = [[] for _ in range(max(depths, default=0) + 1)]
    for place, depth in enumerate(depths):
        columns[depth].append(place)
    return columns


def _chains(columns: Sequence[list[int]], drawn: Drawn, boxes: list[_Box]) -> list[list[int]]:
    """Each edge as the places that it passes: a lane is added to each column that it would cross."""
    column_of = {place: number for number, column in enumerate(columns) for place in column}
    chains = []
    for giver, taker in drawn.edges:
        chain = [giver]
        for number in range(column_of[giver] + 1, column_of[taker]):
            chain.append(len(boxes))
            columns[number].append(len(boxes))
            boxes.append(_Box(drawn.nodes[giver], "", height=LANE))
        chains.append([*chain, taker])
    return chains


def _order(columns: Sequence[list[int]], chains: Sequence[Sequence[int]]) -> None:
    """Put each place near the middle of those that it is joined to, so that few lines cross."""
    joined: dict[int, list[int]] = {place: [] for column in columns for place in column}
    for chain in chains:
        for giver, taker in pairwise(chain):
            joined[giver].append(taker)
            joined[taker].append(giver)
    rows = {place: row for column in columns for place, row in _rows(column)}
    for turn in range(_ROUNDS):
        for column in columns if turn % 2 else reversed(columns):
            column.sort(key=lambda place: _middle(joined[place], rows))
            rows.update(_rows(column))


def _rows(column: Sequence[int]) -> list[tuple[int, float]]:
    """Where each place of a column is, from 0 to 1."""
    return [(place, (row + 0.5) / len(column)) for row, place in enumerate(column)]


def _middle(places: Sequence[int], rows: dict[int, float]) -> float:
    return sum(rows[place] for place in places) / len(places) if places else 1.0


def _place(columns: Sequence[Sequence[int]], boxes: Sequence[_Box]) -> float:
    """Give each box its place; the frame's height."""
    heights = [_height(column, boxes) for column in columns]
    inner, x = max(heights), float(PADDING)
    for column, height in zip(columns, heights, strict=True):
        width = max((boxes[place].needed for place in column), default=0.0)
        spare = (inner - height) / (len(column) + 1)
        y = HEAD + spare
        for place in column:
            boxes[place].x, boxes[place].y, boxes[place].width = x, y, width
            y += boxes[place].height + GAP + spare
        x += width + COLUMN_GAP
    return HEAD + inner + PADDING


def _height(column: Sequence[int], boxes: Sequence[_Box]) -> float:
    return sum(boxes[place].height + GAP for place in column) - GAP if column else 0.0


# -- shapes ------------------------------------------------------------------------------------

_CLASSES = {"key ring": "ring"}
_ROUND = {"static": 0, "dynamic": HEIGHT // 2, "object": 10, "client": 4}


def _shape(box: _Box) -> str:
    kind = _CLASSES.get(box.node.kind, box.node.kind)
    label = f"{box.node.name}: {box.words}"
    name = f'<text x="{_n(box.x + box.width / 2)}" y="{_n(box.y + 19)}" text-anchor="middle">'
    words = (
        f'<text class="word" x="{_n(box.x + box.width / 2)}" y="{_n(box.y + 34)}" '
        'text-anchor="middle">'
    )
    return (
        f"<g class={quoteattr(kind)}><title>{_text(label)}</title>{_outline(box)}"
        f"{name}{_text(box.node.name)}</text>{words}{_text(box.words)}</text></g>"
    )


def _outline(box: _Box) -> str:
    if box.node.kind == "key ring":  # the outline of a hexagon
        x, y, right, cut = box.x, box.y, box.x + box.width, 12
        middle, bottom = y + HEIGHT / 2, y + HEIGHT
        corners = [
            (x + cut, y),
            (right - cut, y),
            (right, middle),
            (right - cut, bottom),
            (x + cut, bottom),
            (x, middle),
        ]
        points = " ".join(f"{_n(a)},{_n(b)}" for a, b in corners)
        return f'<polygon class="box" points="{points}"/>'
    return (
        f'<rect class="box" x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" '
        f'height="{HEIGHT}" rx="{_ROUND[box.node.kind]}"/>'
    )


def _edge(passed: Sequence[_Box]) -> str:
    line = f"M{_n(passed[0].x + passed[0].width)} {_n(passed[0].middle)}"
    for giver, taker in pairwise(passed):
        x1, x2 = giver.x + giver.width, taker.x
        bend = (x2 - x1) / 2
        line += (
            f"C{_n(x1 + bend)} {_n(giver.middle)} {_n(x2 - bend)} {_n(taker.middle)} "
            f"{_n(x2)} {_n(taker.middle)}"
        )
        if taker is not passed[-1]:
            line += f"H{_n(taker.x + taker.width)}"
    end = passed[-1]
    tip = f"M{_n(end.x - 7)} {_n(end.middle - 4)}l7 4l-7 4z"
    return f'<path class="edge" d="{line}"/><path class="tip" d="{tip}"/>'


def _legend() -> _Frame:
    from pgp_config.providers.drawn import Node  # noqa: PLC0415  it imports dependency_injector

    meanings = (
        ("static", "static", "needs a restart"),
        ("dynamic", "dynamic", "reloaded while it runs"),
        ("key ring", "key ring", "two versions at once"),
        ("object", "object", "one a version"),
        ("client", "client", "is given secrets"),
    )
    x, shapes = 0.0, []
    for kind, name, words in meanings:
        box = _Box(Node(kind, name, ""), words, x)  # type: ignore[arg-type]  # each is a Kind
        box.width = box.needed
        shapes.append(_shape(box))
        x += box.width + GAP
    return _Frame("".join(shapes), x - GAP, HEIGHT)


def _wide(text: str) -> float:
    return len(text) * LETTER * 1.35


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
