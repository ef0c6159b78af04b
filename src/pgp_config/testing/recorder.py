"""Notes the reads of a process for `history`, without a trace in the code that makes them.

It patches the engine while it is open, and is for tests and soaks: never in a service.
"""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from pgp_config import scopes
from pgp_config.events import ServedStale
from pgp_config.providers import DynamicSecret
from pgp_config.testing.history import Read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pgp_config.events import Event
    from pgp_config.scopes import Scope

#: The secrets that the read under way in this context was served stale.
_stale: ContextVar[set[str]] = ContextVar("pgp_config_recorded_stale")

#: How many open scopes a recorder remembers the beginning of.
SCOPES = 10_000

Secret = DynamicSecret[Any]


class Opening(NamedTuple):
    """When a scope was opened.

    Attributes:
        number: Of the scope, in this process.
        at: By the recorder's clock; negative where that is not known.
    """

    number: int
    at: float


class ReadRecorder:
    """Notes every read and refresh of a dynamic secret in this process, while its `with` block runs.

    It is an observer as well: give it to the containers, `observers=[recorder, …]`, so that it knows
    which reads were served stale. A read outside of scopes is noted as a scope of its own.

    Only one can be open at a time.

    Args:
        add: Takes each read, in the thread that made it: `history.add`, or what writes it to a file.
        clock: Seconds; the same clock as that of the changes noted in the history.
        process: A number for this process.
    """

    def __init__(
        self,
        add: Callable[[Read], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        process: int = 0,
    ) -> None:
        self._add = add
        self._clock = clock
        self._process = process
        self._opened: dict[int, Opening] = {}
        self._count = itertools.count(1)
        self._patches = ExitStack()

    def __call__(self, event: Event) -> None:
        """Take note of what was served stale."""
        if isinstance(event, ServedStale):
            _stale.get(set()).add(event.secret)

    def __enter__(self) -> Self:
        opening = scopes.Scope.__enter__
        self._patch(scopes.Scope, "__enter__", self._noting_the_moment(opening))
        for name in ("__call__", "versioned", "refresh"):
            original = getattr(DynamicSecret, name)
            self._patch(DynamicSecret, name, self._noting(original, moved=name == "refresh"))
        for name in ("async_", "versioned_async", "arefresh"):
            original = getattr(DynamicSecret, name)
            self._patch(
                DynamicSecret, name, self._noting_async(original, moved=name == "arefresh")
            )
        self._patch(DynamicSecret, "catch_up", self._noting_catch_up(DynamicSecret.catch_up))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def _patch(self, owner: object, name: str, new: object) -> None:
        own = vars(owner).get(name)
        setattr(owner, name, new)
        if own is None:
            self._patches.callback(delattr, owner, name)
        else:
            self._patches.callback(setattr, owner, name, own)

    def _noting_the_moment(self, original: Callable[[Scope], Scope]) -> Callable[[Scope], Scope]:
        @wraps(original)
        def noted(scope: Scope) -> Scope:
            self._opened.pop(id(scope), None)  # of one that ended: the new one goes to the end
            self._opened[id(scope)] = Opening(next(self._count), self._clock())
            for forgotten in list(
                itertools.islice(self._opened, max(0, len(self._opened) - SCOPES))
            ):
                self._opened.pop(forgotten, None)
            return original(scope)

        return noted

    def _noting(
        self, original: Callable[[Secret], Any], *, moved: bool
    ) -> Callable[[Secret], Any]:
        @wraps(original)
        def noted(secret: Secret) -> Any:  # noqa: ANN401  of any type
            if scopes.open_scope() is None:
                with scopes.request_scope():
                    return noted(secret)
            note = self._begin(secret, moved=moved)
            result = original(secret)
            note()
            return result

        return noted

    def _noting_async(
        self, original: Callable[[Secret], Awaitable[Any]], *, moved: bool
    ) -> Callable[[Secret], Awaitable[Any]]:
        @wraps(original)
        async def noted(secret: Secret) -> Any:  # noqa: ANN401  as above
            if scopes.open_scope() is None:
                with scopes.request_scope():
                    return await noted(secret)
            note = self._begin(secret, moved=moved)
            result = await original(secret)
            note()
            return result

        return noted

    def _noting_catch_up(self, original: Callable[[Secret], bool]) -> Callable[[Secret], bool]:
        """It moves the scope on to what is known, and asks nobody: what it sees is no fresher than that."""

        @wraps(original)
        def noted(secret: Secret) -> bool:
            if scopes.open_scope() is None:
                return original(secret)
            note = self._begin(secret, moved=True, stale={secret.name})
            has_moved = original(secret)
            if has_moved:
                note()
            return has_moved

        return noted

    def _begin(
        self, secret: Secret, *, moved: bool, stale: set[str] | None = None
    ) -> Callable[[], None]:
        """A read begins; what is returned is to be called when it has its value."""
        scope = cast("scopes.Scope", scopes.open_scope())
        stale = set() if stale is None else stale
        _stale.set(stale)
        started = self._clock()
        # One that is not there was opened before the recorder was.
        opening = self._opened.setdefault(id(scope), Opening(next(self._count), -1.0))

        def note() -> None:
            version = secret.version()
            # None: a value that a test gave, or an override.
            if version is not None and not scope.closed:
                self._add(
                    Read(
                        scope=opening.number,
                        secret=secret.name,
                        version=version,
                        opened=started if opening.at < 0 else opening.at,
                        started=started,
                        ended=self._clock(),
                        stale=secret.name in stale,
                        moved=moved,
                        process=self._process,
                    )
                )

        return note
