"""What a container says of itself: its secrets, where they come from, and which versions are pinned."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dependency_injector import containers

from pgp_config.policy import Freshness, pins_from_environ
from pgp_config.providers.graph import secrets_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config.providers.secrets import SecretProvider
    from pgp_config.sources.base import Source

#: A container class, or an instance of one.
Container = Any


@dataclass(frozen=True, slots=True)
class Declared:
    """A container as it is declared.

    Attributes:
        name: Its class's name.
        secrets: By name; a secret that several attributes declare is there for each of them.
        source: Where an instance reads from; None for a class.
        pinned: The version at which a static secret is loaded, by name: of an instance its own, of a class what the
            environment says.
    """

    name: str
    secrets: tuple[SecretProvider[Any], ...]
    source: Source | None
    pinned: Mapping[str, int]


def is_container(found: object) -> bool:
    """Whether it is a container class or an instance of one."""
    if isinstance(found, type):
        return issubclass(found, containers.DeclarativeContainer)
    return isinstance(found, containers.DynamicContainer)


def declared_by(container: Container) -> Declared:
    """What a container class, or an instance, declares."""
    secrets = tuple(secrets_of(container.providers.values()))
    caches = [secret.cache for secret in secrets if secret.cache is not None]
    if isinstance(container, type) or not caches:
        return Declared(name_of(container), secrets, None, pins_from_environ(os.environ))
    return Declared(name_of(container), secrets, caches[0].source, caches[0].pinned)


def name_of(container: Container) -> str:
    """The name of its class."""
    if isinstance(container, type):
        return container.__name__
    return container.parent_name or type(container).__name__


def freshness_of(secret: SecretProvider[Any]) -> Freshness:
    """The bounds that hold for a secret, of a class those of this environment."""
    if secret.cache is not None:
        return secret.cache.freshness(secret.spec)
    return secret.spec.freshness or Freshness.from_environ(os.environ)


def type_name_of(secret: SecretProvider[Any]) -> str:
    """A secret's declared type as people write it, such as `SecretStr`."""
    from pgp_config.secret import type_name  # noqa: PLC0415  it imports pydantic

    return type_name(secret.spec.decoder.declared)
