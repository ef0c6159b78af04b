"""The seam for changing secrets: what a rotation needs of a store beyond `fetch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config.payload import Payload
    from pgp_config.sources.base import Source

#: The states of a version.
ENABLED, DISABLED, DESTROYED = "enabled", "disabled", "destroyed"

#: What a role allows with secrets; "changes" is beside "reads" and not above it.
Width: TypeAlias = Literal["none", "lists", "reads", "changes", "manages", "unknown"]


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a store says of a version, without its value.

    Attributes:
        number: 1 or more.
        state: "enabled", "disabled" or "destroyed".
        etag: Changes with each change of the version.
        created: When it was added, in seconds of Unix time; None where the store does not tell.
    """

    number: int
    state: str
    etag: str
    created: float | None = None


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """What a store says of a secret.

    Attributes:
        annotations: Small texts by name that a store keeps with it.
        etag: Changes with each change of the secret itself.
    """

    annotations: Mapping[str, str]
    etag: str


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """Something that a store's policy allows to somebody.

    Attributes:
        role: As the store calls it.
        member: Who has it.
        width: "none", "lists" (sees which there are), "reads" (values), "changes" (adds versions or gives away, and
            reads no value), "manages" (reads, and changes or gives away), or "unknown".
        reach: "one" (a person, a service account, a group), "many" (a whole domain, or all who have another role), or
            "public".
        conditional: Whether it holds under a condition only.
        program: Whether the member is a program, and neither a person nor a group.
    """

    role: str
    member: str
    width: Width
    reach: Literal["one", "many", "public"] = "one"
    conditional: bool = False
    program: bool = False


@dataclass(frozen=True, slots=True)
class Rights:
    """What this identity may do with one secret.

    Attributes:
        reads: Whether it may fetch a value.
        wider: Permissions beyond reading values and metadata, as the store calls them.
    """

    reads: bool
    wider: tuple[str, ...] = ()


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


class Inspection(Protocol):
    """What an administration may offer besides, each on its own, to those who look after a store.

    Whoever asks looks for each method by its name: a store that cannot tell has none. They raise as those of
    `Administration` do.
    """

    def names(self) -> list[str]:
        """Every secret that the store holds, by name."""
        ...

    def grants(self, name: str) -> list[Grant]:
        """What the policy of one secret allows."""
        ...

    def grants_above(self) -> list[Grant]:
        """What the policy above all secrets allows: that of their project."""
        ...

    def rights(self, name: str) -> Rights:
        """What this identity may do with one secret."""
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
