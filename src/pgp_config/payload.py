"""What a source answers, and what it became; pydantic, which `secret` decodes with, is not needed here."""

from __future__ import annotations

from dataclasses import field
from typing import Generic, NoReturn, TypeVar

from pgp_config.errors import RejectedVersion
from pgp_config.facts import Fact, fact

T_co = TypeVar("T_co", covariant=True)


@fact
class Payload(Fact):
    """What a source answers: the bytes of one version.

    Attributes:
        data: The bytes as stored; never shown.
        version: The version's number, 1 or more; a source without numbers counts what it sees.
        crc32c: The Castagnoli checksum that the source sent with the bytes, if it sends one.
    """

    data: bytes = field(repr=False)
    version: int
    crc32c: int | None = None

    @property
    def mark(self) -> int:
        """The checksum of the bytes as they came."""
        import google_crc32c  # noqa: PLC0415  an import of `pgp_config` needs none

        mark: int = google_crc32c.value(self.data)
        return mark

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret's payload is not pickled or copied.")


@fact
class Versioned(Fact, Generic[T_co]):
    """A value with the number of its version, read as one.

    Attributes:
        value: As the declared type; never shown.
        number: Its version number, 1 or more; None for a value that a test gave.
    """

    value: T_co = field(repr=False)
    number: int | None

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret value is not pickled or copied.")


class DamagedVersion(RejectedVersion):
    """A version whose bytes do not match their checksum: a fault of the way, not of the version."""
