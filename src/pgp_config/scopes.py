"""Step 3 of the flow: what one request sees.

A scope belongs to the context (`contextvars`): the tasks and threads that carry the context share it.
It pins the cache's generation at its first read. What was known and fresh at that moment is served
from there for as long as the scope is open, so that secrets which were rotated together are seen
together; what was not is fetched when it is read, once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar, Token
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

from pgp_config.cache import Need, Spec, latest_tick
from pgp_config.errors import DeclarationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, ValuesView
    from types import TracebackType

    from pgp_config.cache import Cache, Flight, Known

T = TypeVar("T")

_logger = logging.getLogger("pgp_config")

_NOTHING_GIVEN: Mapping[str, object] = MappingProxyType({})
_NOTHING_DERIVED: Mapping[object, Mapping[Spec[Any], Known[Any]]] = MappingProxyType({})

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
    What else a scope keeps is in the same dictionary: the version of each secret that was read by its
    `sight`, the pin of each cache by the cache, and what few requests need by `DERIVED`, `CALLBACKS`
    and `GIVEN`. So a scope that reads nothing makes nothing, of two threads that make a thing at once
    both get the first one's, and closing forgets all of it in one step.

    Made by `request_scope` and `lone_scope` only.

    Attributes:
        tick: Logical time at which the scope was opened: what is fetched later has a later one. 0 before
            it is opened, and `CLOSED` once the request is over: then nothing is read from here or kept here.
    """

    #: What each object that is kept here was made from, by the object's key.
    DERIVED: Final = object()

    #: To be called at the end, the last one first.
    CALLBACKS: Final = object()

    #: Values that a test gave by name.
    GIVEN: Final = object()

    CLOSED: Final = -1

    __slots__ = ("_token", "tick")

    if not TYPE_CHECKING:  # pragma: no branch
        # That of C, which does nothing: one in Python costs a tenth of opening and closing a scope, and
        # `request_scope` and `lone_scope` set the tick.
        __init__ = object.__init__

        def items(self) -> ItemsView[object, object]:
            """Nothing: Sentry's SDK so sends what is in the mappings that are locals of a frame."""
            return _NOTHING_GIVEN.items()

        def values(self) -> ValuesView[object]:
            """As `items`."""
            return _NOTHING_GIVEN.values()

    tick: int
    _token: Token[Scope]

    def __repr__(self) -> str:
        count = sum(isinstance(key, Spec) for key in list(self))
        return f"<Scope with {count} secrets read{', closed' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A scope is not pickled or copied: it holds secret values.")

    @property
    def closed(self) -> bool:
        """Whether the request is over."""
        return self.tick == self.CLOSED

    @property
    def given(self) -> Mapping[str, object]:
        """Values that a test gave by name."""
        return self.get(self.GIVEN, _NOTHING_GIVEN) if _giving else _NOTHING_GIVEN

    def seen(self, spec: Spec[T]) -> Known[T] | None:
        """The version that was read of a secret, if it was."""
        return self.get(spec.sight)

    def begin(self, cache: Cache, spec: Spec[T]) -> Known[T] | Flight:
        """The version that this scope is to see, or the flight that will bring it.

        Raises:
            PgpConfigError: If the source failed lately and there is no last good value.
        """
        pin = self.get(cache) or self._pin(cache)
        max_age = cache.max_age(spec)
        if max_age == 0:
            since, after = -inf, max(self.tick, pin.after)
        else:
            since, after = pin.moment - max_age, pin.after
        known = pin.generation.get(spec)
        # As `Need.is_met_by`: most scopes find what they need, and make none.
        if known is None or known.tick <= after or known.asked_at < since:
            return cache.admit(spec, Need(since, after))
        cache.touch(spec, known, pin.moment)
        return known

    def keep(self, key: object, spec: Spec[T], known: Known[T], cache: Cache) -> T:
        """Fix what this scope sees; of two threads that read at once, both get the first one's."""
        pin = self.get(cache) or self._pin(cache)
        if pin.generation.get(spec) is not known:
            self._notice_rotation(pin, cache, spec, known)
        value: T = self.setdefault(key, cache.shown(spec, self.setdefault(spec.sight, known)))
        if self.tick < 0:
            self._forget()
        return value

    def move(self, key: object, spec: Spec[T], known: Known[T], cache: Cache) -> None:
        """See another version from now on: `refresh()`."""
        self._notice_rotation(self.get(cache) or self._pin(cache), cache, spec, known)
        self[spec.sight] = known
        # Not `known`: of two refreshes at once, both are the last one's.
        self[key] = cache.shown(spec, self.seen(spec) or known)
        for made, parts in list(self.get(self.DERIVED, _NOTHING_DERIVED).items()):
            if spec in parts:
                self._forget_if_outdated(made, parts)
        if self.tick < 0:
            self._forget()

    def derive(self, key: object, parts: Mapping[Spec[Any], Known[Any]], made: T) -> T:
        """Keep an object that was made from these versions, until the scope moves on from one.

        Of two threads that bring one at once, both get the first one's.
        """
        self.setdefault(self.DERIVED, {})[key] = parts
        kept: T = self.setdefault(key, made)
        self._forget_if_outdated(key, parts)
        if self.tick < 0:
            self._forget()
        return kept

    def _forget_if_outdated(self, key: object, parts: Mapping[Spec[Any], Known[Any]]) -> None:
        # Not by number: after a refresh a better object of the same versions may be there.
        # A static secret has no sight: it has no other version.
        if any(self.get(spec.sight, known) is not known for spec, known in parts.items()):
            self.get(self.DERIVED, {}).pop(key, None)
            self.pop(key, None)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have this called once, when the scope is closed, or now if it is; the last one first.

        It runs in the thread that closes the scope, an event loop's perhaps: it must be quick. What it
        raises is logged by its type, and stops neither the other callbacks nor the request.
        """
        callbacks: list[Callable[[], object]] = self.setdefault(self.CALLBACKS, [])
        callbacks.append(callback)
        if self.tick < 0:
            self._forget()
            _call_back(callbacks)  # whoever closed the scope may have been through with these

    def close(self) -> None:
        """Forget everything; a task that outlives the scope finds nothing here."""
        self.tick = self.CLOSED
        # A thread that keeps something now looks at the tick afterwards, and then forgets it itself.
        if self:
            self._forget()

    def _forget(self) -> None:
        callbacks = self.get(self.CALLBACKS)
        self.clear()
        if callbacks is not None:
            _call_back(callbacks)

    def _pin(self, cache: Cache) -> Pin:
        pin: Pin = self.setdefault(cache, Pin(cache))
        if self.tick < 0:  # closed while a thread was on its way here, which may bring nothing
            self._forget()
        return pin

    def _notice_rotation(self, pin: Pin, cache: Cache, spec: Spec[T], known: Known[T]) -> None:
        pinned = pin.generation.get(spec)
        if pinned is not None and pinned.version != known.version:
            pin.after = max(pin.after, known.tick - 1)
            cache.notice(spec, known)

    def __enter__(self) -> Self:
        if self.tick:
            raise DeclarationError(
                "one request_scope() object is entered a second time",
                remedy="Make a new one for each scope: with request_scope(): …",
            )
        if _giving:
            self._inherit()
        self.tick = latest_tick[0]
        self._token = _set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.tick = -1  # from here on as `close`, without the calls
        if self:
            self._forget()
        try:
            _reset(self._token)
        except (ValueError, AttributeError):
            # Closed in another context than it was opened in (an async generator that the loop
            # finalised), or never opened: it is closed all the same, and nobody reads from a closed one.
            return

    def settle(self) -> None:
        """Enter it in a context that ends with it: `close()` is all that is left to do.

        As with `with` the scope would hold its token, that its context, and that the scope: what a
        request has read would wait for the garbage collector.
        """
        self.__enter__()
        del self._token

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _inherit(self) -> None:
        outer = _current.get(None)
        if outer is not None and outer.given:
            self[self.GIVEN] = {**outer.given, **self.given}


def _call_back(callbacks: list[Callable[[], object]]) -> None:
    # Each is popped before it is called: of two threads that end here at once, one calls it.
    while callbacks:
        try:
            callback = callbacks.pop()
        except IndexError:
            return  # the other thread was quicker
        try:
            callback()
        except Exception as fault:  # noqa: BLE001  one that fails stops none of the others
            _logger.error("A callback failed at the end of a scope: %s", type(fault).__name__)  # noqa: TRY400  its text and its frames may hold a value


_current: ContextVar[Scope] = ContextVar("pgp_config_scope")

#: The scope of this context, which may be closed; LookupError where there is none.
current_scope = _current.get

# Looked up once: it is a twentieth of opening and closing a scope.
_set, _reset = _current.set, _current.reset


def open_scope() -> Scope | None:
    """The scope of this context, unless it is closed or there is none."""
    scope = _current.get(None)
    return None if scope is None or scope.tick < 0 else scope


#: Whether a test of this process ever gave values: else no scope has to look whether it inherits some.
_giving = False


def lone_scope() -> Scope:
    """A scope that is open and belongs to no context: a read outside of scopes makes one for itself."""
    scope = Scope()
    scope.tick = latest_tick[0]
    return scope


def request_scope(values: Mapping[str, object] | None = None) -> Scope:
    """Open a scope: a request, a job, a bot update, a queue message.

    Within it each dynamic secret has one value and one version. Scopes nest and are independent of
    one another. Works with `with` and `async with`; use each object once.

    Args:
        values: Values by secret name that the reads in this scope get in place of the source's, for
            a test: private to this context and those that copy it, and inherited by scopes that are
            opened inside. Text is validated as the declared type; other objects must be of it.

    Raises:
        DeclarationError: If no container of this process declares one of the names, or they are none.
    """
    scope = Scope()
    scope.tick = 0
    if values is not None:
        _give(scope, values)
    return scope


def _give(scope: Scope, values: Mapping[str, object]) -> None:
    global _giving  # noqa: PLW0603  once for the process: what no service does costs none anything
    _refuse_unknown(values)
    _giving = True
    scope[scope.GIVEN] = dict(values)


def _refuse_unknown(given: Mapping[str, object]) -> None:
    if not isinstance(given, Mapping):
        raise DeclarationError(
            f"request_scope(values=…) is given a {type(given).__name__}",
            remedy="Give values by name: {'CHANGENOW_API_KEY': …}.",
        )
    for name in given:
        if not isinstance(name, str):
            raise DeclarationError(
                f"request_scope(values=…) names a secret by a {type(name).__name__}",
                remedy="Use the name in the source: {'CHANGENOW_API_KEY': …}.",
            )
        if name not in declared_names:
            raise DeclarationError(
                "request_scope(values=…) names a secret that no container declares",
                remedy=did_you_mean(name, declared_names),
                secret=name,
            )
