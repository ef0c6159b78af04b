"""Step 3 of the flow: what one request sees.

A scope belongs to the context (`contextvars`): the tasks and threads that carry the context share it.
It pins the cache's generation at its first read. What was known and fresh at that moment is served
from there for as long as the scope is open, so that secrets which were rotated together are seen
together; what was not is fetched when it is read, once.
"""

from __future__ import annotations

import difflib
import logging
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from pgp_config.cache import Need, tick
from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from pgp_config.cache import Cache, Flight, Known, Spec

T = TypeVar("T")

_logger = logging.getLogger("pgp_config")

_NOTHING_GIVEN: Mapping[str, object] = MappingProxyType({})

#: Every name that a provider of this process declares; for the errors of `request_scope(values=…)`.
declared_names: set[str] = set()


class Pin:
    """What a scope holds of one cache: its generation, and the moment at which it was taken.

    Attributes:
        generation: The versions that were known at that moment.
        moment: Monotonic seconds.
        after: Logical time before which nothing may have been confirmed: set when somebody has met a
            rotation whose other half the generation may lack.
    """

    __slots__ = ("after", "generation", "moment")

    def __init__(self, cache: Cache) -> None:
        self.after = cache.after
        self.generation = cache.generation
        self.moment = cache.clock()


class Scope(dict[object, Any]):
    """The values of one request: what was read, by the key of its provider.

    It is the dictionary itself, not an object that has one: an attribute look-up less on each read.

    Attributes:
        seen: The version of each secret that was read.
        derived: What each object that is kept here was made from, by the object's key.
        tick: Logical time at which the scope was opened.
        given: Values that a test gave by name.
        closed: Whether the request is over; then nothing is read from here or kept here.
    """

    __slots__ = ("_callbacks", "closed", "derived", "given", "pins", "seen", "tick")

    def __init__(self, given: Mapping[str, object] = _NOTHING_GIVEN) -> None:
        self.seen: dict[Spec[Any], Known[Any]] = {}
        self.derived: dict[object, Mapping[Spec[Any], Known[Any]]] = {}
        self.pins: dict[Cache, Pin] = {}
        self._callbacks: list[Callable[[], object]] = []
        self.given = given
        self.tick = tick()
        self.closed = False

    def __repr__(self) -> str:
        return f"<Scope with {len(self)} secrets read{', closed' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A scope is not pickled or copied: it holds secret values.")

    def begin(self, cache: Cache, spec: Spec[T]) -> Known[T] | Flight:
        """The version that this scope is to see, or the flight that will bring it.

        Raises:
            PgpConfigError: If the source failed lately and there is no last good value.
        """
        pin = self._pin(cache)
        need = self._need(cache, spec, pin)
        known = pin.generation.get(spec)
        if known is None or not need.is_met_by(known):
            return cache.admit(spec, need)
        cache.touch(spec, known, pin.moment)
        return known

    def keep(self, key: object, spec: Spec[T], known: Known[T], cache: Cache) -> T:
        """Fix what this scope sees; of two threads that read at once, both get the first one's."""
        self._notice_rotation(cache, spec, known)
        value: T = self.setdefault(key, cache.shown(spec, self.seen.setdefault(spec, known)))
        self._forget_if_closed()
        return value

    def move(self, key: object, spec: Spec[T], known: Known[T], cache: Cache) -> None:
        """See another version from now on: `refresh()`."""
        self._notice_rotation(cache, spec, known)
        self.seen[spec] = known
        # Not `known`: of two refreshes at once, both are the last one's.
        self[key] = cache.shown(spec, self.seen[spec])
        for made, parts in list(self.derived.items()):
            if spec in parts:
                self._forget_if_outdated(made, parts)
        self._forget_if_closed()

    def derive(self, key: object, parts: Mapping[Spec[Any], Known[Any]], made: T) -> T:
        """Keep an object that was made from these versions, until the scope moves on from one.

        Of two threads that bring one at once, both get the first one's.
        """
        self.derived[key] = parts
        kept: T = self.setdefault(key, made)
        self._forget_if_outdated(key, parts)
        self._forget_if_closed()
        return kept

    def _forget_if_outdated(self, key: object, parts: Mapping[Spec[Any], Known[Any]]) -> None:
        # Not by number: after a refresh a better object of the same versions may be there.
        if any(self.seen.get(spec, part) is not part for spec, part in parts.items()):
            self.derived.pop(key, None)
            self.pop(key, None)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have this called once, when the scope is closed, or now if it is; the last one first.

        It runs in the thread that closes the scope, an event loop's perhaps: it must be quick. What it
        raises is logged by its type, and stops neither the other callbacks nor the request.
        """
        self._callbacks.append(callback)
        self._forget_if_closed()

    def close(self) -> None:
        """Forget everything; a task that outlives the scope finds nothing here."""
        self.closed = True
        self._forget_if_closed()

    def _forget_if_closed(self) -> None:
        if self.closed:
            self.clear()
            self.seen.clear()
            self.derived.clear()
            self.pins.clear()
            self.given = _NOTHING_GIVEN
            self._call_back()

    def _call_back(self) -> None:
        # Each is popped before it is called: of two threads that end here at once, one calls it.
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return  # the other thread was quicker
            try:
                callback()
            except Exception as fault:  # noqa: BLE001  one that fails stops none of the others
                _logger.error("A callback failed at the end of a scope: %s", type(fault).__name__)  # noqa: TRY400  its text and its frames may hold a value

    def _pin(self, cache: Cache) -> Pin:
        return self.pins.get(cache) or self.pins.setdefault(cache, Pin(cache))

    def _need(self, cache: Cache, spec: Spec[Any], pin: Pin) -> Need:
        max_age = cache.freshness(spec).age_limit
        if max_age == 0:
            return Need(after=max(self.tick, pin.after))
        return Need(since=pin.moment - max_age, after=pin.after)

    def _notice_rotation(self, cache: Cache, spec: Spec[T], known: Known[T]) -> None:
        pin = self._pin(cache)
        pinned = pin.generation.get(spec)
        if pinned is not None and pinned.version != known.version:
            pin.after = max(pin.after, known.tick - 1)
            cache.notice(spec, known)


_current: ContextVar[Scope] = ContextVar("pgp_config_scope")

#: The scope of this context, which may be closed; LookupError where there is none.
current_scope = _current.get


def open_scope() -> Scope | None:
    """The scope of this context, unless it is closed or there is none."""
    scope = _current.get(None)
    return None if scope is None or scope.closed else scope


class request_scope:  # noqa: N801  used as `with request_scope():`, like the context managers of contextlib
    """Open a scope: a request, a job, a bot update, a queue message.

    Within it each dynamic secret has one value and one version. Scopes nest and are independent of
    one another. Works with `with` and `async with`; use each object once.

    Args:
        values: Values by secret name that the reads in this scope get in place of the source's, for
            a test: private to this context and those that copy it, and inherited by scopes that are
            opened inside. Text is validated as the declared type; other objects must be of it.

    Raises:
        DeclarationError: If no container of this process declares one of the names.
    """

    __slots__ = ("_given", "_scope", "_token")

    _scope: Scope | None

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        self._scope = None
        self._given = dict(values) if values else None
        if self._given:
            _refuse_unknown(self._given)

    def __repr__(self) -> str:
        return "<request_scope>"

    def __enter__(self) -> Self:
        if self._scope is not None:
            raise DeclarationError(
                "one request_scope() object is entered a second time",
                remedy="Make a new one for each scope: with request_scope(): …",
            )
        outer = _current.get(None)
        given = _NOTHING_GIVEN if outer is None else outer.given
        if self._given is not None:
            given = {**given, **self._given}
        self._scope = Scope(given)
        self._token = _current.set(self._scope)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._scope is not None:
            self._scope.close()
            _reset(self._token)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


def _reset(token: Token[Scope]) -> None:
    try:
        _current.reset(token)
    except ValueError:
        # Closed in another context than it was opened in (an async generator that the loop
        # finalised): the scope is closed all the same, and nobody reads from a closed one.
        return


def _refuse_unknown(given: Mapping[str, object]) -> None:
    for name in given:
        if name not in declared_names:
            close = difflib.get_close_matches(name, sorted(declared_names), n=1)
            hint = f"Did you mean {close[0]}?" if close else "Use the name in the source."
            raise DeclarationError(
                "request_scope(values=…) names a secret that no container declares",
                remedy=hint,
                secret=name,
            )
