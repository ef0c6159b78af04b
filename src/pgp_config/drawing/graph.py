"""The graphs of several containers as one: each secret once, with all that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgp_config.providers.drawn import Drawn, Node


@dataclass(frozen=True, slots=True)
class Placed:
    """A container's graph under the name of its service.

    Attributes:
        service: What the service is called.
        drawn: Its graph.
    """

    service: str
    drawn: Drawn

    @property
    def title(self) -> str:
        """The service, and the container where that is called otherwise."""
        same = self.service == self.drawn.name
        return self.service if same else f"{self.service} ({self.drawn.name})"

    def key(self, place: int, number: int) -> str:
        """What a node is called in the whole graph: a secret by its name, anything else by its container.

        Args:
            place: In the nodes of this graph.
            number: Of this graph among the others.
        """
        node = self.drawn.nodes[place]
        return f"secret:{node.name}" if node.is_secret else f"{number}:{place}"


@dataclass(frozen=True, slots=True)
class Merged:
    """All graphs together.

    Attributes:
        secrets: Each once, by key.
        clients: By key; by the number of their container, from 0.
        edges: Pairs of keys.
        readers: The services that declare a secret, by key.
    """

    secrets: dict[str, Node]
    clients: dict[int, dict[str, Node]]
    edges: list[tuple[str, str]]
    readers: dict[str, list[str]]


def merged(graphs: Sequence[Placed]) -> Merged:
    """Several graphs as one."""
    whole = Merged({}, {}, [], {})
    for number, graph in enumerate(graphs):
        whole.clients[number] = {}
        for place, node in enumerate(graph.drawn.nodes):
            key = graph.key(place, number)
            if node.is_secret:
                whole.secrets.setdefault(key, node)
                readers = whole.readers.setdefault(key, [])
                if graph.service not in readers:
                    readers.append(graph.service)
            else:
                whole.clients[number][key] = node
        whole.edges.extend(_edges(graph, number))
    return whole


def _edges(graph: Placed, number: int) -> Iterator[tuple[str, str]]:
    for giver, taker in graph.drawn.edges:
        yield graph.key(giver, number), graph.key(taker, number)


def words_of(node: Node) -> str:
    """What a node is, in words: its second line."""
    if node.is_secret:
        return f"{node.kind} · {node.detail}"
    if node.kind == "object":
        return f"{node.detail}, one a version"
    return node.detail if node.detail != node.name else "client"
