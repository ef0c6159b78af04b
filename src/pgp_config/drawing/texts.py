"""The graph as text: Mermaid, DOT and JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pgp_config.drawing.graph import merged, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgp_config.drawing.graph import Placed
    from pgp_config.providers.drawn import Node

#: How a label is framed: a secret's shape tells its class without a colour.
_FRAMES = {
    "static": ('[["', '"]]'),
    "dynamic": ('(["', '"])'),
    "key ring": ('{{"', '"}}'),
    "object": ('[("', '")]'),
    "client": ('["', '"]'),
}

_SHAPES = {
    "static": "box, peripheries=2",
    "dynamic": 'box, style="rounded"',
    "key ring": "hexagon",
    "object": "cylinder",
    "client": "box",
}


def mermaid(graphs: Sequence[Placed]) -> str:
    """A Mermaid flowchart: what GitHub, GitLab and many editors show of a ```mermaid block."""
    return "\n".join(_mermaid(graphs)) + "\n"


def _mermaid(graphs: Sequence[Placed]) -> Iterator[str]:
    whole = merged(graphs)
    ids: dict[str, str] = {}
    yield "flowchart LR"
    yield f"  accTitle: {_plain(title_of(graphs))}"
    for key, node in whole.secrets.items():
        ids[key] = f"s{len(ids)}"
        yield f"  {ids[key]}{_mermaid_label(node)}"
    for number, graph in enumerate(graphs):
        yield f'  subgraph c{number}["{_mermaid_text(graph.title)}"]'
        for key, node in whole.clients[number].items():
            ids[key] = f"n{len(ids)}"
            yield f"    {ids[key]}{_mermaid_label(node)}"
        yield "  end"
    for giver, taker in whole.edges:
        yield f"  {ids[giver]} --> {ids[taker]}"
    yield from _unused_in_mermaid(graphs, ids)


def _unused_in_mermaid(graphs: Sequence[Placed], ids: dict[str, str]) -> Iterator[str]:
    """A secret that nothing in its container takes points at the container: it is read from outside."""
    for number, graph in enumerate(graphs):
        for place in unused(graph):
            yield f"  {ids[graph.key(place, number)]} -.-> c{number}"


def unused(graph: Placed) -> list[int]:
    """The places of the secrets that no client of the container takes."""
    taken = {giver for giver, _ in graph.drawn.edges}
    nodes = enumerate(graph.drawn.nodes)
    return [place for place, node in nodes if node.is_secret and place not in taken]


def _mermaid_label(node: Node) -> str:
    begin, end = _FRAMES[node.kind]
    return f"{begin}{_mermaid_text(node.name)}<br/>{_mermaid_text(words_of(node))}{end}"


def _mermaid_text(text: str) -> str:
    """A label in which nothing is syntax: what is neither a letter nor harmless is a character code."""
    return re.sub(r"[^\w .,:·()/-]", lambda found: f"#{ord(found[0])};", _plain(text))


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def title_of(graphs: Sequence[Placed]) -> str:
    """What is shown."""
    names = [graph.title for graph in graphs]
    shown = ", ".join(names) if len(names) <= 3 else f"{len(names)} containers"  # noqa: PLR2004  a line
    return f"Secrets and clients of {shown}"


# -- DOT ---------------------------------------------------------------------------------------


def dot(graphs: Sequence[Placed]) -> str:
    """A graph for Graphviz."""
    return "\n".join(_dot(graphs)) + "\n"


def _dot(graphs: Sequence[Placed]) -> Iterator[str]:
    whole = merged(graphs)
    yield "digraph secrets {"
    yield f"  graph [rankdir=LR, label={_quoted(title_of(graphs))}];"
    for key, node in whole.secrets.items():
        yield f"  {_quoted(key)} {_dot_label(node)};"
    for number, graph in enumerate(graphs):
        yield f"  subgraph cluster_{number} {{"
        yield f"    label={_quoted(graph.title)};"
        for key, node in whole.clients[number].items():
            yield f"    {_quoted(key)} {_dot_label(node)};"
        yield "  }"
    for giver, taker in whole.edges:
        yield f"  {_quoted(giver)} -> {_quoted(taker)};"
    yield "}"


def _dot_label(node: Node) -> str:
    label = f"{node.name}\n{words_of(node)}"
    return f"[shape={_SHAPES[node.kind]}, label={_quoted(label)}]"


def _quoted(text: str) -> str:
    lines = (_plain(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'


# -- JSON --------------------------------------------------------------------------------------


def document(graphs: Sequence[Placed]) -> dict[str, Any]:
    """The graph as facts."""
    whole = merged(graphs)
    return {
        "containers": [
            {"service": graph.service, "container": graph.drawn.name} for graph in graphs
        ],
        "secrets": [
            {
                "id": key,
                "name": node.name,
                "kind": node.kind,
                "class": "static" if node.kind == "static" else "dynamic",
                "type": node.detail,
                "services": whole.readers[key],
            }
            for key, node in whole.secrets.items()
        ],
        "clients": [
            {
                "id": key,
                "service": graphs[number].service,
                "name": node.name,
                "kind": node.kind,
                "made_by": node.detail,
            }
            for number, nodes in whole.clients.items()
            for key, node in nodes.items()
        ],
        "edges": [{"from": giver, "to": taker} for giver, taker in whole.edges],
    }
