"""A container as a graph: its secrets, what is built from them, and what that is given to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dependency_injector import providers

from pgp_config.providers.declared import name_of, type_name_of
from pgp_config.providers.key_rings import KeyRing
from pgp_config.providers.per_version import PerVersion
from pgp_config.providers.secrets import SecretProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgp_config.providers.declared import Container

Kind = Literal["static", "dynamic", "key ring", "object", "client"]

#: What leads to what it holds, and is nothing of its own.
_TRANSPARENT = (
    providers.ProvidedInstance,
    providers.AttributeGetter,
    providers.ItemGetter,
    providers.MethodCaller,
    providers.Delegate,
    providers.List,
    providers.Dict,
    providers.Selector,
    providers.Aggregate,
    providers.Dependency,
    providers.DependenciesContainer,
    providers.Container,
)


@dataclass(frozen=True, slots=True)
class Node:
    """Something of a container.

    Attributes:
        kind: "static", "dynamic" and "key ring" are secrets; an "object" follows the versions of its secrets
            (`PerVersion`); a "client" is any other provider that a secret reaches.
        name: A secret's name in its source; of anything else its name in the container, or that of its class.
        detail: A secret's type; of anything else its class or function.
    """

    kind: Kind
    name: str
    detail: str

    @property
    def is_secret(self) -> bool:
        """Whether it is one of the three kinds of secrets."""
        return self.kind in ("static", "dynamic", "key ring")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A container's graph.

    Attributes:
        name: The container's.
        nodes: The secrets by name, then the others; each after those that it is built from.
        edges: Pairs of places in `nodes`: what is given, and what takes it.
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]


def drawn_of(container: Container) -> Drawn:
    """The graph of a container class or an instance: its secrets, and all that one of them reaches."""
    names = {id(provider): name for name, provider in container.providers.items()}
    found = [
        provider
        for provider in providers.traverse(*container.providers.values())
        if not isinstance(provider, _TRANSPARENT)
    ]
    takers = {id(provider): _Taker(provider, list(_given_to(provider))) for provider in found}
    ordered = _ordered(takers)
    places: dict[int, int] = {}
    nodes: list[Node] = []
    for key in ordered:
        node = _node(takers[key].provider, names)
        # A secret that two attributes declare is one.
        same = next((i for i, other in enumerate(nodes) if node.is_secret and other == node), None)
        if same is None:
            same = len(nodes)
            nodes.append(node)
        places[key] = same
    edges = {
        (places[id(given)], places[key])
        for key in ordered
        for given in takers[key].given
        if id(given) in places
    }
    return Drawn(name_of(container), tuple(nodes), tuple(sorted(edges)))


@dataclass(frozen=True, slots=True)
class _Taker:
    provider: providers.Provider[Any]
    given: list[providers.Provider[Any]]


def _given_to(provider: providers.Provider[Any]) -> Iterator[providers.Provider[Any]]:
    pending, seen = list(provider.related), {id(provider)}
    while pending:
        related = pending.pop()
        if id(related) in seen:
            continue
        seen.add(id(related))
        if isinstance(related, _TRANSPARENT):
            pending.extend(related.related)
        else:
            yield related


def _ordered(takers: dict[int, _Taker]) -> list[int]:
    """The secrets by name, then what they reach, each after what it is given."""
    secrets = [key for key, taker in takers.items() if isinstance(taker.provider, SecretProvider)]
    ordered = sorted(secrets, key=lambda key: _secret_of(takers[key]).name)
    reached = set(ordered)
    more = True
    while more:
        more = False
        for key, taker in takers.items():
            if key not in reached and any(id(given) in reached for given in taker.given):
                reached.add(key)
                more = True
    depths = dict.fromkeys(ordered, 0)
    others = [key for key in takers if key in reached and key not in depths]
    for _ in others:  # as many rounds as the longest chain can have; a circle ends with them
        for key in others:
            given = [depths.get(id(each), 0) for each in takers[key].given if id(each) in reached]
            depths[key] = min(1 + max(given), len(others))
    return ordered + sorted(others, key=lambda key: depths[key])


def _secret_of(taker: _Taker) -> SecretProvider[Any]:
    provider = taker.provider
    assert isinstance(provider, SecretProvider)  # noqa: S101  the caller has looked
    return provider


def _node(provider: providers.Provider[Any], names: dict[int, str]) -> Node:
    if isinstance(provider, SecretProvider):
        kind: Kind = provider.reload_class
        if isinstance(provider, KeyRing):
            kind = "key ring"
        return Node(kind, provider.name, type_name_of(provider))
    if isinstance(provider, PerVersion):
        name = names.get(id(provider), provider.name)
        return Node("object", name, provider.factory_name)
    made = getattr(provider, "provides", None)
    detail = getattr(made, "__name__", None) or type(made or provider).__name__
    return Node("client", names.get(id(provider), detail), detail)
