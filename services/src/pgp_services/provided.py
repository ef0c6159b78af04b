"""What a client takes in place of a secret's value: the secret itself, to be called at each use.

`StaticSecret` and `DynamicSecret` of pgp_config are such; so is any small double in a test.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Provided(Protocol[T_co]):
    """Gives the value that the current request sees."""

    def __call__(self) -> T_co:
        """The value, in a thread that may wait."""
        ...

    async def async_(self) -> T_co:
        """The value, in a coroutine."""
        ...


class Rotating(Provided[T_co], Protocol[T_co]):
    """Gives a value that can be looked up anew within a request."""

    def refresh(self) -> bool:
        """Look now; whether there is another version than this request saw."""
        ...

    async def arefresh(self) -> bool:
        """As `refresh`, in a coroutine."""
        ...
