"""An object that is built from secrets, and follows them: a pool, an engine, a client."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar, cast, overload

from dependency_injector import providers

from pgp_config.errors import BlockingRead, DeclarationError
from pgp_config.forking import gate
from pgp_config.key_rings import Keys
from pgp_config.leases import Combination, Recipe, Registry
from pgp_config.providers.secrets import GivenValue, SecretProvider, Sight, Waiting
from pgp_config.scopes import Scope, current_scope, lone_scope, open_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from pgp_config.cache import Cache
    from pgp_config.leases import Instance

T = TypeVar("T")


class PerVersion(providers.Provider[T]):
    """An object built from secrets, once for each combination of their versions.

    The factory gets the *values* of the secrets, in place of the arguments that name them. When a
    version changes, the first scope that sees it has a new object built; the old one is closed when
    the last scope that uses it ends, or with the container. If the new one cannot be built, the old
    one stays in service, and it is tried again after 1 s, 2 s, 4 s … 60 s.

    Called, it gives the object for the versions that the scope sees. Within a scope that is one
    object, until a `refresh()` of one of its secrets. Readers wait at most 2 s for a new one, together
    for one build, and then go on with the old one.

    Outside of scopes nobody can know when the caller is done: an object that is read there is kept
    until the container is closed. Open a `request_scope()` around its use.

    A synchronous factory is called in a thread, and its object is one for the process. An `async def`
    factory is called in the event loop of the reader, one object for each loop, closed in that loop;
    it is read with `await secrets.name.async_()`. Both should bound their own time: a reader stops
    waiting, but nothing stops a thread. A child that was forked builds its own objects, and leaves
    alone what it inherited.

    Args:
        factory: Called with the values of the secrets. `async def` for what belongs to an event loop.
        *secrets: Static and dynamic secrets that it takes by position.
        close: Called with an object that nobody uses any more; None: there is nothing to close. By
            default the object's own `close` or `dispose`, whichever it has first; after an `async def`
            factory `aclose`, `close` or `dispose`. It may be asynchronous after an `async def` factory.
        probe: Called with a new object before it is used; raises or returns False if it may not be. As
            `close` as to asynchronous ones. An object that fails it is closed.
        **named: Secrets that it takes by keyword.

    Raises:
        DeclarationError: If there is no secret among the arguments, or something else than secrets.
    """

    # Slots: as in SecretProvider. The gate, which knows of forks, holds it weakly.
    __slots__ = ("__weakref__", "_key", "_name", "_recipe", "_registry", "_secrets")

    __IS_DELEGATED__ = True

    _secrets: tuple[SecretProvider[Any], ...]
    _registry: Registry[T] | None

    @overload
    def __init__(
        self,
        factory: Callable[..., Coroutine[Any, Any, T]],
        *secrets: SecretProvider[Any],
        close: Callable[[T], object] | Literal["auto"] | None = "auto",
        probe: Callable[[T], object] | None = None,
        **named: SecretProvider[Any],
    ) -> None: ...
    @overload
    def __init__(
        self,
        factory: Callable[..., T],
        *secrets: SecretProvider[Any],
        close: Callable[[T], object] | Literal["auto"] | None = "auto",
        probe: Callable[[T], object] | None = None,
        **named: SecretProvider[Any],
    ) -> None: ...
    def __init__(
        self,
        factory: Callable[..., Any],
        *secrets: SecretProvider[Any],
        close: Callable[[T], object] | Literal["auto"] | None = "auto",
        probe: Callable[[T], object] | None = None,
        **named: SecretProvider[Any],
    ) -> None:
        super().__init__()
        taken = (*secrets, *named.values())
        _refuse_non_secrets(taken)
        keywords = (*(None for _ in secrets), *named)
        recipe = Recipe(factory, keywords, close, probe, _is_async(factory))
        _refuse_async_helpers(recipe)
        self._set_up(recipe, taken, None, getattr(factory, "__name__", type(factory).__name__))

    def _set_up(
        self,
        recipe: Recipe[T],
        secrets: tuple[SecretProvider[Any], ...],
        registry: Registry[T] | None,
        name: str,
    ) -> None:
        self._recipe = recipe
        self._secrets = secrets
        self._registry = registry
        self._name = name
        self.disable_async_mode()
        self._choose_key()
        gate.register(self)

    @property
    def name(self) -> str:
        """Its name in its container, else its factory's."""
        return self._name

    @property
    def factory_name(self) -> str:
        """The name of what makes its objects."""
        return getattr(self._recipe.factory, "__name__", type(self._recipe.factory).__name__)

    def bind(self, cache: Cache, name: str | None) -> Registry[T]:
        """Build for one container from now on; called by the container that owns the provider.

        Args:
            cache: The container's cache.
            name: Its name in the container, if it has one.
        """
        self._name = name or self._name
        names = [secret.name for secret in self._secrets]
        self._registry = Registry(self._recipe, names, self._name, cache)
        self._choose_key()
        return self._registry

    # -- reading -----------------------------------------------------------------------------

    def __call__(self) -> T:  # type: ignore[override]  # it takes no arguments
        """The object for the versions that the current scope sees.

        Raises:
            BuildError: If it cannot be built and there is no older one.
            SecretUnavailable: If one of its secrets has no usable value.
            BlockingRead: If the read would block the event loop that runs in this thread, or the object
                belongs to an event loop.
            DeclarationError: If the provider belongs to no container instance.
        """
        try:
            return current_scope()[self._key]  # type: ignore[no-any-return]  # a cast costs 30 ns
        except LookupError:
            pass  # not read from here: what that raises would drag this along as its context
        return self._read()

    async def async_(self) -> T:
        """As calling it, from a coroutine: waits without blocking the event loop."""
        try:
            return current_scope()[self._place()]  # type: ignore[no-any-return]  # as above
        except LookupError:
            pass  # as above
        return await self._read_async()

    def _read(self) -> T:
        overriding = self.last_overriding  # a local reference, as in SecretProvider
        if overriding is not None:
            return cast("T", overriding())
        registry = self._bound()
        if self._recipe.is_async:
            self._refuse("it belongs to an event loop, and is read synchronously")
        scope = open_scope()
        sights = list(self._sights(lone_scope() if scope is None else scope))
        leased = registry.lease(self._combination(sights), self._refuse_to_block)
        return self._hold(scope, leased, sights)

    async def _read_async(self) -> T:
        overriding = self.last_overriding  # as above
        if isinstance(overriding, PerVersion):
            return cast("T", await overriding.async_())
        if overriding is not None:
            given = overriding()
            return cast("T", await given if inspect.iscoroutine(given) else given)
        registry, scope = self._bound(), open_scope()
        sights = await self._sights_async(lone_scope() if scope is None else scope)
        return self._hold(scope, await registry.lease_async(self._combination(sights)), sights)

    def _sights(self, scope: Scope) -> Iterator[Sight[Any]]:
        """Each secret as the scope sees it; one after the other, for one can move the next."""
        for secret in self._secrets:
            step = secret.look(scope)
            if isinstance(step, Waiting):
                self._refuse_to_block()
                known = step.cache.wait(step.secret.spec, step.flight)
                step = step.secret.looked(step, known)
            yield step

    async def _sights_async(self, scope: Scope) -> list[Sight[Any]]:
        sights = []
        for secret in self._secrets:
            step = secret.look(scope)
            if isinstance(step, Waiting):
                known = await step.cache.wait_async(step.secret.spec, step.flight)
                step = step.secret.looked(step, known)
            sights.append(step)
        return sights

    def _combination(self, sights: list[Sight[Any]]) -> Combination:
        versions = tuple(map(_version_of, self._secrets, sights))
        return Combination(
            versions,
            tuple(map(_rank_of, sights)),
            tuple(sight.value for sight in sights),
            any(sight.known is None for sight in sights),
            tuple(sight.known for sight in sights if sight.known is not None),
        )

    def _hold(self, scope: Scope | None, leased: Instance[T], sights: list[Sight[Any]]) -> T:
        """Give the object to the scope, until it is closed; without one it is kept for good."""
        if scope is None or scope.closed:
            return leased.made
        scope.on_close(partial(self._bound().give_back, leased))
        parts = {sight.spec: sight.known for sight in sights if sight.known is not None}
        return scope.derive(self._place(), parts, leased.made)

    def _place(self) -> object:
        """Where scopes keep the object: one that belongs to an event loop is of use in that only."""
        return (self._key, asyncio.get_running_loop()) if self._recipe.is_async else self._key

    def _bound(self) -> Registry[T]:
        if self._registry is None:
            raise DeclarationError(
                f"{self._name} is read, and belongs to no container instance",
                remedy="Declare it in a SecretContainer and read it from an instance: "
                "secrets = MyContainer(source=…).",
            )
        return self._registry

    def _refuse_to_block(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._refuse("a synchronous read has to wait, and would block the running event loop")

    def _refuse(self, happened: str) -> NoReturn:
        raise BlockingRead(
            happened,
            remedy=f"Write: await secrets.{self._name}.async_()",
            secret=", ".join(secret.name for secret in self._secrets),
        )

    # -- as a provider -----------------------------------------------------------------------

    @property
    def related(self) -> Iterator[providers.Provider[Any]]:
        """Its secrets, for `traverse()`."""
        yield from self._secrets
        yield from super().related

    def override(self, provider: object) -> providers.OverridingContext[Self]:  # type: ignore[override]  # the stub binds no type
        """Replace it process-wide, as dependency_injector does; usable with `with`.

        Args:
            provider: Another provider, or an object.
        """
        if not isinstance(provider, providers.Provider):
            provider = GivenValue(provider)
        context: providers.OverridingContext[Self] = super().override(provider)
        self._choose_key()
        return context

    def reset_last_overriding(self) -> None:
        """Undo the last override."""
        super().reset_last_overriding()
        self._choose_key()

    def reset_override(self) -> None:
        """Undo all overrides."""
        super().reset_override()
        self._choose_key()

    def _choose_key(self) -> None:
        """Under which scopes keep the object: a new one, which none of them has."""
        self._key: object = object()

    def renew_after_fork(self) -> None:
        """In a child: what an open scope holds is the parent's."""
        self._choose_key()

    def __deepcopy__(self, memo: dict[Any, Any] | None) -> Self:
        memo = {} if memo is None else memo
        copied = memo.get(id(self))
        if copied is not None:
            return cast("Self", copied)
        copy = type(self).__new__(type(self))
        providers.Provider.__init__(copy)
        memo[id(self)] = copy
        secrets = tuple(providers.deepcopy(secret, memo) for secret in self._secrets)
        copy._set_up(self._recipe, secrets, self._registry, self._name)  # noqa: SLF001  of the same class
        self._copy_overridings(copy, memo)
        return copy

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} is not pickled: what it gives is built from secret values.")

    def __repr__(self) -> str:
        names = ", ".join(secret.name for secret in self._secrets)
        return f"<{type(self).__name__} {self._name} of {names}>"

    __str__ = __repr__


def _version_of(secret: SecretProvider[Any], sight: Sight[Any]) -> object:
    """The number, of a key ring also that of the key before it; or what stands for a given value."""
    if sight.known is None:
        return sight.token
    number: object = sight.known.version
    if isinstance(sight.value, Keys):
        number = number, sight.value.previous_version
    return number if sight.spec is secret.spec else (sight.spec, number)


def _rank_of(sight: Sight[Any]) -> tuple[int, int]:
    """What is newer has more: it was confirmed later, or pushed since."""
    return (0, 0) if sight.known is None else (sight.known.tick, sight.known.version)


def _is_async(factory: object) -> bool:
    call = getattr(factory, "__call__", None)  # noqa: B004  an object's own, for it may be a coroutine function
    return inspect.iscoroutinefunction(factory) or inspect.iscoroutinefunction(call)


def _refuse_non_secrets(taken: tuple[object, ...]) -> None:
    if not taken:
        raise DeclarationError(
            "a PerVersion takes no secret",
            remedy="Name those that its factory needs: PerVersion(make_engine, database). What needs "
            "none is a providers.Singleton.",
        )
    for argument in taken:
        if not isinstance(argument, SecretProvider):
            raise DeclarationError(
                f"a PerVersion takes a {type(argument).__name__}, which is no secret",
                remedy="Its arguments are static and dynamic secrets; give its factory other ones in a "
                "function of your own, or with functools.partial.",
            )


def _refuse_async_helpers(recipe: Recipe[Any]) -> None:
    for what, helper in (("close", recipe.close), ("probe", recipe.probe)):
        if not recipe.is_async and inspect.iscoroutinefunction(helper):
            raise DeclarationError(
                f"the {what} of a PerVersion is `async def`, and its factory is not",
                remedy="Write the factory as `async def`: its object then belongs to an event loop.",
            )
