"""The floors: the least that Python code has to do for the same thing, without any promise."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Self

from bench.peers.ours import VALUE

if TYPE_CHECKING:
    from types import TracebackType

variable: ContextVar[dict[str, str]] = ContextVar("floor")
newest = {"k": VALUE}


def read() -> str:
    """A value that is there."""
    return variable.get()["k"]


async def read_async() -> str:
    """As `read`, awaited."""
    return variable.get()["k"]


def read_first() -> str:
    """A value that is taken over into the scope when it is first read."""
    values = variable.get()
    try:
        return values["k"]
    except KeyError:
        value = values["k"] = newest["k"]
        return value


class Scope:
    """A slotted context manager that sets a variable to a new dictionary, and resets it at the end."""

    __slots__ = ("_token",)

    _token: Token[dict[str, str]]

    def __enter__(self) -> Self:
        self._token = variable.set({})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        variable.reset(self._token)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


class Nothing:
    """The barest slotted context manager: no variable, no dictionary."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass
