"""A secret as a provider: called, it gives the value that the current scope sees."""

from __future__ import annotations

import asyncio
import inspect
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, Self, TypeVar, cast, overload

from dependency_injector import providers

from pgp_config.cache import Flight, Need, Spec, tick
from pgp_config.errors import (
    BlockingRead,
    DeclarationError,
    PgpConfigError,
    RejectedVersion,
    StaticSecretInScope,
)
from pgp_config.events import StaticReadRefused
from pgp_config.payload import Versioned
from pgp_config.policy import refuse_other_than_freshness
from pgp_config.providers import names
from pgp_config.redaction import redactor
from pgp_config.scopes import Scope, current_scope, declared_names, lone_scope, open_scope

if TYPE_CHECKING:
    from pydantic import SecretStr
    from typing_extensions import TypeForm

    from pgp_config.cache import Cache, Known
    from pgp_config.payload import Payload
    from pgp_config.policy import Freshness, ReloadClass
    from pgp_config.secret import Decoder
    from pgp_config.verdicts import Verdicts

T = TypeVar("T")


class Waiting(NamedTuple):
    """A read that needs a flight, and the scope that will keep what it brings."""

    secret: SecretProvider[Any]
    cache: Cache
    flight: Flight
    scope: Scope | None


@dataclass(frozen=True, slots=True, eq=False)
class Sight(Generic[T]):
    """What a scope sees of one secret, for an object that is built from it.

    Attributes:
        value: The value; never shown.
        spec: Whose value it is: that of the secret, or of one that overrides it.
        known: The version that it is of; None for a value that a test gave.
        token: What stands for a given value in place of a version.
    """

    value: T = field(repr=False)
    spec: Spec[Any]
    known: Known[T] | None
    token: object = None


class _Refresh(NamedTuple):
    """A refresh under way, the scope that moves on with it, and the version seen before."""

    cache: Cache
    outcome: Known[Any] | Flight
    scope: Scope | None
    seen: int | None


class SecretProvider(providers.Provider[T]):
    """What static and dynamic secrets have in common. Declare one of those.

    Given to another provider it arrives as itself, never as its value (`__IS_DELEGATED__`).
    """

    # Slots: in a subclass of an extension type an instance's dictionary costs 25 ns a look-up.
    __slots__ = ("_cache", "_key", "_spec", "was_read")

    __IS_DELEGATED__ = True

    _spec: Spec[T]
    _cache: Cache | None

    def __init__(
        self,
        name: str,
        declared: TypeForm[T] | None = None,
        freshness: Freshness | None = None,
        grace: float | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise DeclarationError(
                f"{type(self).__name__} has no name",
                remedy=f"Give the name in the source: {type(self).__name__}('CHANGENOW_API_KEY').",
            )
        super().__init__()
        try:
            refuse_other_than_freshness(freshness)
            decoder = _decoder_of(declared)
        except DeclarationError as fault:
            raise fault.located(secret=names.shown(name)) from fault.__cause__
        self._set_up(Spec(name, decoder, self.is_dynamic, freshness, grace), None)
        # A name that no source could hold is refused by its container, which knows its attribute.
        if names.fault_of(name) is None:
            declared_names.add(name)

    def _set_up(self, spec: Spec[T], cache: Cache | None) -> None:
        self._spec = spec
        self._cache = cache
        self.was_read = False
        self.disable_async_mode()
        self._choose_key()

    @property
    def is_dynamic(self) -> bool:
        """Whether the value may change while the process runs."""
        return isinstance(self, DynamicSecret)

    @property
    def reload_class(self) -> ReloadClass:
        """`static` or `dynamic`."""
        return "dynamic" if self.is_dynamic else "static"

    @property
    def has_overlap(self) -> bool:
        """Whether the version before is in use beside the current one: a key ring."""
        return self._spec.grace is not None

    @property
    def name(self) -> str:
        """The secret's name in its source."""
        return self._spec.name

    @property
    def is_binary(self) -> bool:
        """Whether its bytes are taken as they are, without a line break being stripped."""
        return self._spec.decoder.is_binary

    def check(self, payload: Payload) -> None:
        """Refuse what could not be served as this secret, before it is stored.

        Raises:
            RejectedVersion: With the reason; without a trace of the value.
        """
        self._spec.decoder.decode(payload, refuse_private_keys=self.is_dynamic)

    def version(self) -> int | None:
        """The version that the current scope sees; asks nobody.

        Outside of scopes, and before the scope's first read of it, the newest that this process knows;
        None where it knows none, and for a value that a test gave.
        """
        scope = open_scope()
        if self._is_replaced(scope):
            return None
        seen = None if scope is None else scope.seen(self._spec)
        if seen is None:
            seen = self._bound().current(self._spec)
        return None if seen is None else seen.version

    @property
    def cache(self) -> Cache | None:
        """That of the container instance that it belongs to, if it does."""
        return self._cache

    @property
    def container_name(self) -> str | None:
        """The class name of the container instance that it belongs to, if it does."""
        return None if self._cache is None else self._cache.container

    def bind(self, cache: Cache, default: Freshness, *, guarded: bool) -> None:
        """Read through this cache from now on; called by the container that owns the provider.

        Args:
            cache: The container's cache.
            default: The container's freshness, for secrets that declare none.
            guarded: Whether the container's policy protects its name.
        """
        # A copy of the spec: instances of one container class share nothing.
        self._set_up(replace(self._spec, guarded=guarded), cache)
        cache.add(self._spec, self._spec.freshness or default)

    # -- reading -----------------------------------------------------------------------------

    def __call__(self) -> T:  # type: ignore[override]  # a secret takes no arguments
        """The value that the current scope sees.

        Raises:
            SecretUnavailable: If there is no usable value; one of its subclasses says why.
            RejectedVersion: If the only version may not be served.
            StaticSecretInScope: If a static secret was not loaded before the scope was opened.
            BlockingRead: If the read would block the event loop that runs in this thread.
            DeclarationError: If the provider belongs to no container instance.
        """
        try:
            return current_scope()[self._key]  # type: ignore[no-any-return]  # a cast costs 30 ns
        except LookupError:
            pass  # not read from here: what that raises would drag this along as its context
        return self._read(open_scope())

    async def async_(self) -> T:
        """As calling it, from a coroutine: waits without blocking the event loop."""
        try:
            return current_scope()[self._key]  # type: ignore[no-any-return]  # as above
        except LookupError:
            pass  # as above
        return await self._read_async(open_scope())

    def _read(self, scope: Scope | None) -> T:
        step = self._begin(scope)
        if isinstance(step, Waiting):
            self._refuse_to_block(f"await {self._hint}.async_()")
            return self._finish(step, step.cache.wait(self._spec, step.flight))
        return step

    async def _read_async(self, scope: Scope | None) -> T:
        step = self._begin(scope)
        if isinstance(step, Waiting):
            return self._finish(step, await step.cache.wait_async(self._spec, step.flight))
        return await step if inspect.isawaitable(step) else step

    def _begin(self, scope: Scope | None) -> T | Waiting:
        """The value where it is at hand, or what to wait for."""
        self.was_read = True
        if scope is not None and scope.given and self.name in scope.given:
            value = self._taken(scope.given[self.name])
            return cast("T", scope.setdefault(self._key, value))
        # A local reference: another thread may reset the override while it is called.
        overriding = self.last_overriding
        if overriding is not None:
            return cast("T", overriding())
        return self._ask(self._cache or self._bound(), scope)

    def _taken(self, value: object) -> T:
        """A value that a test gave, as what a read gives.

        Raises:
            RejectedVersion: If it is not of the declared type; it names the secret.
        """
        try:
            return self._given(value)
        except RejectedVersion as fault:
            error = fault.located(secret=self.name, container=self.container_name)
        del value
        raise error  # here, where no exception is in flight whose frames hold the value

    def _given(self, value: object) -> T:
        return self._spec.decoder.given(value)

    def _is_replaced(self, scope: Scope | None) -> bool:
        """Whether a test gave a value in place of the source's."""
        return self.last_overriding is not None or (scope is not None and self.name in scope.given)

    # -- for an object that is built from it -------------------------------------------------

    @property
    def spec(self) -> Spec[T]:
        """What its container's cache knows it by."""
        return self._spec

    def look(self, scope: Scope) -> Sight[T] | Waiting:
        """The version that a scope sees, with its value; or what to wait for.

        Args:
            scope: The open one, or one that a read outside of scopes made for itself.
        """
        self.was_read = True
        if self.name in scope.given:
            value = self._taken(scope.given[self.name])
            token = scope.setdefault((self._spec, Sight), object())
            return Sight(cast("T", scope.setdefault(self._key, value)), self._spec, None, token)
        overriding = self.last_overriding  # a local reference, as in `_begin`
        if isinstance(overriding, SecretProvider):
            return overriding.look(scope)
        if overriding is not None:
            constant = isinstance(overriding, providers.Object)
            token = overriding if constant else scope.setdefault((self._spec, Sight), object())
            return Sight(cast("T", overriding()), self._spec, None, token)
        return self._look(self._bound(), scope)

    @abstractmethod
    def _look(self, cache: Cache, scope: Scope) -> Sight[T] | Waiting:
        """As the cache has it."""

    def looked(self, step: Waiting, known: Known[T]) -> Sight[T]:
        """What is seen after the wait."""
        if step.scope is not None:
            known = self._fix(step.scope, known, step.cache)
        return Sight(step.cache.shown(self._spec, known), self._spec, known)

    def _fix(self, scope: Scope, known: Known[T], cache: Cache) -> Known[T]:
        scope.keep(self._spec, self._spec, known, cache)
        # Not `known`: of two threads that read at once, both see the first one's.
        return scope.seen(self._spec) or known

    def _bound(self) -> Cache:
        if self._cache is None:
            raise DeclarationError(
                "is read, and belongs to no container instance",
                remedy="Declare it in a SecretContainer and read it from an instance: "
                "secrets = MyContainer(source=…).",
                secret=self.name,
            )
        return self._cache

    @abstractmethod
    def _ask(self, cache: Cache, scope: Scope | None) -> T | Waiting:
        """The value as the cache has it, or what to wait for."""

    def _finish(self, step: Waiting, known: Known[T]) -> T:
        if step.scope is None:
            return known.value
        return step.scope.keep(self._spec, self._spec, known, step.cache)

    def _refuse_to_block(self, instead: str) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise BlockingRead(
            "a synchronous read has to wait for the source, and would block the running event loop",
            remedy=f"Write: {instead}",
            secret=self.name,
            container=self.container_name,
        )

    @property
    def _hint(self) -> str:
        return f"secrets.{self.name.lower()}"

    # -- as a provider -----------------------------------------------------------------------

    def override(self, provider: object) -> providers.OverridingContext[Self]:  # type: ignore[override]  # the stub binds no type
        """Replace it process-wide, as dependency_injector does; usable with `with`.

        Args:
            provider: Another provider, or a value: text is validated as the declared type.

        Raises:
            RejectedVersion: If the value is not of the declared type.
            DeclarationError: If a dynamic secret would take the place of a static one.
        """
        if not isinstance(provider, providers.Provider):
            given = self._taken(provider)
            redactor.learn(self.name, self._spec.confidential(given))
            provider = GivenValue(given)
        self._refuse_override(provider)
        context: providers.OverridingContext[Self] = super().override(provider)
        self._choose_key()
        return context

    def _refuse_override(self, provider: providers.Provider[Any]) -> None:
        """Refuse nothing; a static secret refuses dynamic ones."""

    def reset_last_overriding(self) -> None:
        """Undo the last override."""
        super().reset_last_overriding()
        self._choose_key()

    def reset_override(self) -> None:
        """Undo all overrides."""
        super().reset_override()
        self._choose_key()

    def _choose_key(self) -> None:
        """Under which scopes keep the value: while it is overridden, a key that none of them has."""
        self._key: object = self._spec if self.last_overriding is None else object()

    def __deepcopy__(self, memo: dict[Any, Any] | None) -> Self:
        memo = {} if memo is None else memo
        copied = memo.get(id(self))
        if copied is not None:
            return cast("Self", copied)
        copy = type(self).__new__(type(self))
        providers.Provider.__init__(copy)
        memo[id(self)] = copy
        self._copy_overridings(copy, memo)
        copy._set_up(self._spec, self._cache)  # noqa: SLF001  of the same class
        return copy

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} is not pickled: it gives a secret value. Pass its name instead."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    __str__ = __repr__


class DynamicSecret(SecretProvider[T]):
    """A secret that may change while the service runs; one value and version for a whole scope.

    Args:
        name: Its name in the source.
        declared: Its type; `SecretStr` by default. See `Decoder` for what may be declared.
        freshness: Its own bounds, in place of its container's.

    Raises:
        DeclarationError: If the name is empty or pydantic does not know the type.
    """

    @overload
    def __init__(
        self: DynamicSecret[SecretStr], name: str, *, freshness: Freshness | None = None
    ) -> None: ...
    @overload
    def __init__(
        self, name: str, declared: TypeForm[T], *, freshness: Freshness | None = None
    ) -> None: ...
    def __init__(
        self,
        name: str,
        declared: TypeForm[Any] | None = None,
        *,
        freshness: Freshness | None = None,
    ) -> None:
        super().__init__(name, declared, freshness)

    __slots__ = ()

    def _ask(self, cache: Cache, scope: Scope | None) -> T | Waiting:
        # Outside a scope a read works as if it opened one for itself.
        scope = lone_scope() if scope is None else scope
        outcome = scope.begin(cache, self._spec)
        if isinstance(outcome, Flight):
            return Waiting(self, cache, outcome, scope)
        return scope.keep(self._spec, self._spec, outcome, cache)

    def _look(self, cache: Cache, scope: Scope) -> Sight[T] | Waiting:
        seen = scope.seen(self._spec)
        if seen is not None:
            return Sight(cache.shown(self._spec, seen), self._spec, seen)
        outcome = scope.begin(cache, self._spec)
        if isinstance(outcome, Flight):
            return Waiting(self, cache, outcome, scope)
        known = self._fix(scope, outcome, cache)
        return Sight(cache.shown(self._spec, known), self._spec, known)

    def refresh(self) -> bool:
        """Ask the source now, and see its answer in this scope from now on; after a 401, say.

        Many refreshes at once share their fetches. While the source fails, it is not asked.

        Returns:
            Whether the version differs from the one that this scope (outside of scopes: this
            process) saw before. False for a value that a test gave.

        Raises:
            SecretUnavailable: If the source fails and there is no last good value.
            BlockingRead: If it would block the event loop that runs in this thread.
        """
        step = self._begin_refresh(open_scope())
        if step is None:
            return False
        known = step.outcome
        if isinstance(known, Flight):
            self._refuse_to_block(f"await {self._hint}.arefresh()")
            known = step.cache.wait(self._spec, known)
        return self._move(step, known)

    async def arefresh(self) -> bool:
        """As `refresh`, from a coroutine."""
        step = self._begin_refresh(open_scope())
        if step is None:
            return False
        known = step.outcome
        if isinstance(known, Flight):
            known = await step.cache.wait_async(self._spec, known)
        return self._move(step, known)

    def _begin_refresh(self, scope: Scope | None) -> _Refresh | None:
        if self._is_replaced(scope):
            return None
        cache = self._bound()
        seen = self.version()
        return _Refresh(cache, cache.admit(self._spec, Need(after=tick())), scope, seen)

    def _move(self, step: _Refresh, known: Known[T]) -> bool:
        if step.scope is None:
            step.cache.notice(self._spec, known)
        else:
            step.scope.move(self._spec, self._spec, known, step.cache)
        return known.version != step.seen

    # -- versions, for `rotation_retry` ------------------------------------------------------

    def versioned(self) -> Versioned[T]:
        """The value that the current scope sees with the number of its version, read as one.

        Raises:
            PgpConfigError: As calling it does.
        """
        scope = _scope_of_read()
        return self._versioned(scope, self._read(scope))

    async def versioned_async(self) -> Versioned[T]:
        """As `versioned`, from a coroutine."""
        scope = _scope_of_read()
        return self._versioned(scope, await self._read_async(scope))

    def _versioned(self, scope: Scope, value: T) -> Versioned[T]:
        seen = scope.seen(self._spec)
        if seen is None or self._is_replaced(scope):
            return Versioned(value, None)
        # Not `value`: another thread of the scope may have moved it on since.
        return Versioned(self._bound().shown(self._spec, seen), seen.version)

    def at_version(self, number: int) -> Versioned[T]:
        """One version by its number, whatever is the newest; no scope is changed by it.

        Raises:
            SecretUnavailable: If it is not to be had; one of its subclasses says why.
            RejectedVersion: If it may not be served.
            BlockingRead: In a thread in which an event loop runs.
        """
        self._refuse_to_block(f"await {self._hint}.at_version_async({number})")
        cache = self._bound()
        return self._numbered(cache, cache.fetch_version(self._spec, number))

    async def at_version_async(self, number: int) -> Versioned[T]:
        """As `at_version`, from a coroutine."""
        cache = self._bound()
        return self._numbered(cache, await cache.fetch_version_async(self._spec, number))

    def _numbered(self, cache: Cache, found: Known[T] | PgpConfigError) -> Versioned[T]:
        if isinstance(found, PgpConfigError):
            raise found.located(secret=self.name, container=cache.container)
        return Versioned(cache.shown(self._spec, found), found.version)

    def catch_up(self) -> bool:
        """See from now on, in this scope, the newest version that this process knows; asks nobody.

        Returns:
            Whether this scope saw another version before.
        """
        scope = open_scope()
        if scope is None or self._is_replaced(scope):
            return False
        cache = self._bound()
        known, seen = cache.current(self._spec), scope.seen(self._spec)
        if known is None or (seen is not None and seen.version == known.version):
            return False
        scope.move(self._spec, self._spec, known, cache)
        return seen is not None

    @property
    def verdicts(self) -> Verdicts:
        """What the other side said of its versions; shared by all requests of the process."""
        return self._bound().verdicts(self._spec)


class StaticSecret(SecretProvider[T]):
    """A secret that is loaded once, at start-up, and never changes for the life of the process.

    Args:
        name: Its name in the source.
        declared: Its type; `SecretStr` by default. See `Decoder` for what may be declared.

    Raises:
        DeclarationError: If the name is empty or pydantic does not know the type.
    """

    @overload
    def __init__(self: StaticSecret[SecretStr], name: str) -> None: ...
    @overload
    def __init__(self, name: str, declared: TypeForm[T]) -> None: ...
    def __init__(self, name: str, declared: TypeForm[Any] | None = None) -> None:
        super().__init__(name, declared)

    __slots__ = ()

    def _ask(self, cache: Cache, scope: Scope | None) -> T | Waiting:
        known = cache.current(self._spec)
        if known is None:
            return self._load(cache, scope)
        if scope is None:
            return known.value
        value = cast("T", scope.setdefault(self._spec, known.value))
        if scope.tick < 0:  # closed while a thread was on its way here
            scope.close()
        return value

    def _look(self, cache: Cache, scope: Scope) -> Sight[T] | Waiting:  # noqa: ARG002  a dynamic one needs it
        known = cache.current(self._spec)
        if known is None:
            # A scope that a read made for itself is none in which a static secret is not fetched.
            return self._load(cache, open_scope())
        return Sight(known.value, self._spec, known)

    def _load(self, cache: Cache, scope: Scope | None) -> Waiting:
        if scope is not None and not cache.closed:
            cache.tell(StaticReadRefused(cache.container, self.name))
            raise StaticSecretInScope(
                "is static, was not loaded at start-up, and is not fetched while a scope is open",
                remedy="Call load() or aload() on the container when the service starts.",
                secret=self.name,
                container=self.container_name,
            )
        return Waiting(self, cache, cache.depart([self._spec])[self._spec], None)

    def _refuse_override(self, provider: providers.Provider[Any]) -> None:
        for part in (provider, *provider.traverse()):
            if isinstance(part, DynamicSecret):
                raise DeclarationError(
                    f"is static, and {part!r} would override it",
                    remedy="Override it with a StaticSecret or, in a test, with a value.",
                    secret=self.name,
                    container=self.container_name,
                )


def _decoder_of(declared: Any) -> Decoder[Any]:  # noqa: ANN401  any type
    from pydantic import SecretStr  # noqa: PLC0415  slow to import, and needed by declarations only

    from pgp_config.secret import Decoder  # noqa: PLC0415  as above

    return Decoder(SecretStr if declared is None else declared)


def _scope_of_read() -> Scope:
    """The open scope; outside of scopes a read works as if it opened one for itself."""
    scope = open_scope()
    return lone_scope() if scope is None else scope


class GivenValue(providers.Object[T]):
    """A value that overrides a secret; unlike `providers.Object` it does not show it."""

    def __repr__(self) -> str:
        return "<a value given in place of a secret>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("A value given in place of a secret is not pickled.")
