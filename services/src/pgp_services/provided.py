"""What a client takes in place of a secret's value: the secret itself, to be called at each use.

`StaticSecret` and `DynamicSecret` of pgp_config are such; so is any small double in a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Provided(Protocol[T_co]):
    """Gives the value that the current request sees."""

    def __call__(self) -> T_co:
        """The value, in a thread that may wait."""
        ...

    async def async_(self) -> T_co:
        """The value, in a coroutine."""
        ...


@dataclass(frozen=True, slots=True)
class Constant(Generic[T]):
    """What a client takes where the value is no secret.

    Attributes:
        value: What it gives.
    """

    value: T

    def __call__(self) -> T:
        """The value."""
        return self.value

    async def async_(self) -> T:
        """The value."""
        return self.value
