"""The seam for changing secrets: what a rotation needs of a store beyond `fetch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config.payload import Payload
    from pgp_config.sources.base import Source

#: The states of a version.
ENABLED, DISABLED, DESTROYED = "enabled", "disabled", "destroyed"


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a store says of a version, without its value.

    Attributes:
        number: 1 or more.
        state: "enabled", "disabled" or "destroyed".
        etag: Changes with each change of the version.
    """

    number: int
    state: str
    etag: str


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """What a store says of a secret.

    Attributes:
        annotations: Small texts by name that a store keeps with it.
        etag: Changes with each change of the secret itself.
    """

    annotations: Mapping[str, str]
    etag: str


@runtime_checkable
class Administration(Protocol):
    """Changes the secrets of one source.

    Each call bounds its own time; reads are repeated where that may help, a change is made once. All raise `SecretNotFound`, `SecretForbidden`, `SourceTimeout` (a change may have been made) and
    `SecretUnavailable`.
    """

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `Source.fetch`."""
        ...

    def describe(self, name: str) -> SecretFacts:
        """The secret itself."""
        ...

    def versions(self, name: str) -> list[VersionFacts]:
        """Its versions, the newest first: all, or the newest hundred."""
        ...

    def add(self, name: str, data: bytes) -> int:
        """Add a version, with its checksum.

        Returns:
            Its number.
        """
        ...

    def enable(self, name: str, version: VersionFacts) -> None:
        """Make a disabled version readable, if it is still as it was described.

        Raises:
            ChangedMeanwhile: If it is not.
        """
        ...

    def disable(self, name: str, version: VersionFacts) -> None:
        """Make a version unreadable, if it is still as it was described.

        Raises:
            ChangedMeanwhile: If it is not.
        """
        ...

    def annotate(self, name: str, secret: SecretFacts, annotations: Mapping[str, str]) -> None:
        """Replace the secret's annotations, if it is still as it was described.

        Raises:
            ChangedMeanwhile: If it is not.
        """
        ...

    def lacking(self, name: str) -> list[str]:
        """Which permissions this identity lacks for all of this, by name; empty where that cannot be asked."""
        ...


def administration_of(source: Source) -> Administration:
    """What changes the secrets of a source.

    Raises:
        DeclarationError: If the source can only be read.
    """
    make = getattr(source, "administration", None)
    if make is None:
        raise DeclarationError(
            f"a {type(source).__name__} can be read, and not be changed",
            remedy="Give the source that stores the secrets: --source gsm://PROJECT.",
        )
    made: Administration = make()
    return made
