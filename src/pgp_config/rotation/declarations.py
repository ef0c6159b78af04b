"""What containers and catalogues say of a secret, by the names of their modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pgp_config.errors import DeclarationError
from pgp_config.importing import imported
from pgp_config.providers import SecretContainer, SecretProvider
from pgp_config.providers.graph import secrets_of
from pgp_config.rotation.values import Undeclared

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgp_config.rotation.values import Declaration


def declarations_of(
    name: str, containers: Sequence[str], declared: str | None
) -> list[Declaration]:
    """Everything that is known of a secret's type.

    Args:
        name: The secret's name.
        containers: `module:attribute` of container classes or instances, or of catalogues: mappings by name of
            objects with `secret()`. A service's name and `=` may stand before it.
        declared: `module:attribute` of a type, where no container declares it.

    Raises:
        DeclarationError: If one cannot be imported, is nothing of the sort, or none declares the secret.
    """
    if declared is not None:
        kind = imported(declared)
        return [Undeclared(name, kind)]  # type: ignore[arg-type]  # pydantic says whether it is a type
    if not containers:
        return [Undeclared(name)]
    found: list[Declaration] = [
        secret
        for path in containers
        for secret in _secrets_in(path, imported(path.rpartition("=")[2]))
        if secret.name == name
    ]
    if not found:
        raise DeclarationError(
            f"is declared by none of {', '.join(containers)}",
            remedy="Correct the name, or give the container that declares it.",
            secret=name,
        )
    return found


def _secrets_in(path: str, found: object) -> Iterable[SecretProvider[object]]:
    if isinstance(found, Mapping):
        rows = [getattr(row, "secret", lambda: None)() for row in found.values()]
        return [row for row in rows if isinstance(row, SecretProvider)]
    if isinstance(found, type) and issubclass(found, SecretContainer):
        return secrets_of(found.providers.values())
    if hasattr(found, "parent_name") and hasattr(found, "providers"):
        return secrets_of(found.providers.values())
    raise DeclarationError(
        f"{path} is a {type(found).__name__}, and declares no secrets",
        remedy="Name a SecretContainer, or a mapping of catalogue rows: my_service.secrets:Split2.",
    )
