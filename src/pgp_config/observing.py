"""What an observer may do besides being told of events; for type checkers, and to be read.

Nothing imports it when it runs: an observer has these methods, or has not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgp_config.events import Observer

if TYPE_CHECKING:
    from pgp_config.errors import PgpConfigError
    from pgp_config.events import Figures


class Measurable(Protocol):
    """The secrets of one container, for an observer that reads what it shows when it is asked.

    Attributes:
        container: Name of the container class.
    """

    container: str

    def figures(self) -> list[Figures]:
        """Those of each declared secret, now; nothing is fetched."""
        ...


class FiguresObserver(Observer, Protocol):
    """An observer that wants more than events: it is given each container that it observes.

    It should hold it weakly: a container that nobody closed must be found by the garbage collector.
    """

    def watch_figures(self, secrets: Measurable, /) -> None:
        """Take note of a container, once it is made."""
        ...


class FetchTrace(Protocol):
    """One fetch, as a `FetchObserver` follows it; each method is called at most once, but for `join`."""

    def join(self) -> None:
        """A reader waits for it that did not set it off; called in the reader's context."""
        ...

    def begin(self) -> None:
        """It begins, in the thread in which the source is called."""
        ...

    def end(self, version: int | None, error: PgpConfigError | None) -> None:
        """It has ended, in the same thread, with a version or an error; nobody was told yet."""
        ...

    def leave(self) -> None:
        """Everybody was told, in the same thread."""
        ...


class FetchObserver(Observer, Protocol):
    """An observer that follows each fetch from its start to its end."""

    def trace_fetch(self, container: str, secret: str, *, awaited: bool) -> FetchTrace:
        """A fetch is set off, in this context; it may begin in another thread at once, later, or never.

        A lock is held: take note of the context, and do nothing else.

        Args:
            container: Name of the container class.
            secret: The secret's name in its source.
            awaited: Whether who set it off waits for it; else it goes on with what it has.
        """
        ...
