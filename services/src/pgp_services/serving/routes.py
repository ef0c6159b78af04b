"""What a service answers to: paths, and what is called for them, whatever the framework."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pgp_services.fleet import Operations
    from pgp_services.serving.answers import Answer


@dataclass(frozen=True, slots=True)
class Call:
    """A request, as a handler sees it.

    Attributes:
        body: The body; `MAX_BODY` bytes and one more at most need be read.
        headers: The headers, by names in lower case.
        query: The query, the last value of each name.
    """

    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """A path and its handler.

    Attributes:
        path: Begins with a slash.
        handle: Answers, in a thread that may wait; raises a `ServiceFailure` for any other answer.
        handle_async: The same from a coroutine; needed where the application is a FastAPI one.
        method: The HTTP method.
    """

    path: str
    handle: Callable[[Call], Answer] | None = None
    handle_async: Callable[[Call], Awaitable[Answer]] | None = None
    method: Literal["GET", "POST"] = "POST"


class Handler(Protocol):
    """A service's handler: what its container gives as `handler`."""

    def routes(self) -> Sequence[Route]:
        """What it answers to."""
        ...

    def close(self) -> None:
        """Close the connections of this process."""
        ...

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        ...


class ServiceContainer(Protocol):
    """What is asked of a service's container by an application, besides its secrets."""

    def handler(self) -> Handler:
        """The service's handler."""
        ...

    def operations(self) -> Operations:
        """The common settings."""
        ...
