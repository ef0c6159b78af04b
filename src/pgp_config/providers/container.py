"""The container: secrets declared by name, one source, one cache, one life."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from dependency_injector import containers, providers

from pgp_config.cache import MAX_CALLS, Cache, Overview
from pgp_config.errors import (
    DeclarationError,
    PgpConfigError,
    StartupError,
    StaticSecretInScope,
    did_you_mean,
)
from pgp_config.events import StaticReadRefused, default_observers, introduce
from pgp_config.leases import Registry, aclose_all, close_all
from pgp_config.policy import (
    UPTAKE_VARIABLE,
    Freshness,
    ReloadPolicy,
    faults_of_pins,
    pins_from_environ,
    refuse_other_than_freshness,
)
from pgp_config.providers.graph import (
    Finding,
    faults_of,
    objects_of,
    secrets_of,
    unused,
    wired_names,
)
from pgp_config.scopes import open_scope
from pgp_config.sources.base import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import ModuleType

    from pgp_config.cache import Flight, Landing, SecretStatus, Spec
    from pgp_config.events import Observer
    from pgp_config.push.event import SecretEvent
    from pgp_config.uptake import Uptake
    from pgp_config.uptake.reporter import Reporter


#: What every container is made with.
_ARGUMENTS = ("source", "freshness", "observers", "uptake", "pinned", "clock", "chance")

if TYPE_CHECKING:
    # Its stubs do not name dependency_injector's own metaclass; as `Any` it would make every container one for pyright.
    class _Metaclass(type):
        providers: dict[str, providers.Provider[Any]]
        reload_policy: ReloadPolicy

else:
    _Metaclass = type(containers.DeclarativeContainer)


class _Declaration(_Metaclass):
    """Refuses a container class whose declaration has a fault."""

    def __new__(  # noqa: PYI034  a metaclass makes classes
        mcs, name: str, bases: tuple[type, ...], attributes: dict[str, Any]
    ) -> _Declaration:
        cls: _Declaration = super().__new__(mcs, name, bases, attributes)
        _refuse_faults(name, faults_of(cls.providers, cls.reload_policy))
        return cls

    def __setattr__(cls, name: str, value: object) -> None:  # noqa: N805  a metaclass
        if isinstance(value, providers.Provider):
            providers_then = {**cls.providers, name: value}
            _refuse_faults(cls.__name__, faults_of(providers_then, cls.reload_policy))
        super().__setattr__(name, value)


def _refuse_faults(container: str, faults: Sequence[DeclarationError]) -> None:
    if len(faults) == 1:
        raise faults[0].located(container=container)
    if faults:
        texts = "".join(f"\n  - {fault}" for fault in faults)
        raise DeclarationError(f"{len(faults)} faults:{texts}\n", container=container)


class _Operations:
    """What an instance can do; a base of the class as well, so that type checkers know it."""

    if TYPE_CHECKING:
        providers: dict[str, providers.Provider[Any]]
        parent_name: str | None
        declarative_parent: type[containers.DeclarativeContainer] | None
        wired_to_modules: list[ModuleType]
        wired_to_packages: list[ModuleType]

    _cache: Cache | None = None
    _freshness: Freshness = Freshness()
    _reporter: Reporter | None = None
    _registries: tuple[Registry[Any], ...] = ()

    def attach(
        self,
        cache: Cache,
        freshness: Freshness,
        policy: ReloadPolicy,
        reporter: Reporter | None = None,
    ) -> None:
        """Bind every secret and object of the instance, overriding ones included."""
        _refuse_faults(cache.container, faults_of(self.providers, policy))
        self._cache = cache
        self._freshness = freshness
        self._reporter = reporter
        for secret in secrets_of(self.providers.values()):
            secret.bind(cache, freshness, guarded=policy.protects(secret.name))
        names = {id(provider): name for name, provider in self.providers.items()}
        made = objects_of(self.providers.values())
        self._registries = tuple(each.bind(cache, names.get(id(each))) for each in made)

    def load(self) -> None:
        """Fetch every secret that is not known yet, in parallel, and seal the static ones.

        It blocks an event loop that runs in this thread, and is not refused there as a read is: uvicorn, say, imports an
        application in its running loop. In a coroutine write `await secrets.aload()`.

        Raises:
            StartupError: With every fault, by name. What could be loaded stays loaded.
            StaticSecretInScope: If static secrets are missing and a scope is open.
        """
        faults = []
        missing = self._missing()
        if missing:
            self._refuse_to_start(self._faults_of_connecting())
        cache, flights, patience = self._depart(missing)
        deadline = time.monotonic() + patience
        for spec, flight in flights.items():
            try:
                cache.wait(spec, flight, max(0.0, deadline - time.monotonic()))
            except PgpConfigError as fault:
                faults.append(fault)
        self._refuse_to_start(faults)

    async def aload(self) -> None:
        """As `load`, from a coroutine."""
        faults = []
        missing = self._missing()
        if missing:
            self._refuse_to_start(await asyncio.to_thread(self._faults_of_connecting))
        cache, flights, patience = self._depart(missing)
        deadline = time.monotonic() + patience
        for spec, flight in flights.items():
            try:
                await cache.wait_async(spec, flight, max(0.0, deadline - time.monotonic()))
            except PgpConfigError as fault:
                faults.append(fault)
        self._refuse_to_start(faults)

    def _faults_of_connecting(self) -> list[PgpConfigError]:
        try:
            self._required_cache().connect()
        except PgpConfigError as fault:
            return [fault]
        return []

    def _missing(self) -> list[Spec[Any]]:
        cache = self._required_cache()
        missing = [s for s in cache.specs() if cache.current(s) is None]
        static = [spec for spec in missing if not spec.dynamic]
        if static and open_scope() is not None:
            cache.tell(StaticReadRefused(cache.container, static[0].name))
            raise StaticSecretInScope(
                "is static and would be loaded while a scope is open",
                remedy="Call load() when the service starts, outside request_scope().",
                secret=static[0].name,
                container=cache.container,
            )
        return missing

    def _depart(self, missing: list[Spec[Any]]) -> tuple[Cache, dict[Spec[Any], Flight], float]:
        cache = self._required_cache()
        # One more than the calls in a row: the source's own error says more than a time-out here.
        rounds = 2 + len(missing) // MAX_CALLS
        return cache, cache.depart(missing), cache.budget * rounds

    def _refuse_to_start(self, faults: list[PgpConfigError]) -> None:
        if faults:
            secrets = len(self._required_cache().specs())
            raise StartupError(
                f"the service cannot start; faults among its {secrets} secrets: {len(faults)}",
                remedy="Mend each of these:",
                container=self.parent_name,
                faults=sorted(faults, key=str),
            )

    def announce(self, event: SecretEvent) -> Landing:
        """A push told of a change: fetch the version that it names, in the background.

        Events about secrets that this container does not declare, and other kinds than versions that
        come and go, do nothing. Static secrets are left alone.

        Returns:
            What it set off; `wait()` for it, or not.
        """
        return event.tell(self._required_cache())

    def close(self) -> None:
        """End the container: close its objects and its source, forget the values; idempotent.

        Objects of an `async def` factory are closed in their event loop: while that runs in this
        thread, use `aclose`, which waits for them.
        """
        with contextlib.ExitStack() as ends:
            if self._cache is not None:
                ends.callback(self._cache.close)
            if self._reporter is not None:
                ends.callback(self._reporter.close)
            close_all(self._registries)

    async def aclose(self) -> None:
        """As `close`, from a coroutine: blocks no event loop, and waits for all objects; idempotent."""
        try:
            await aclose_all(self._registries)
        finally:
            await asyncio.to_thread(self.close)

    def status(self) -> list[SecretStatus]:
        """The state of each secret, by name; without a trace of a value."""
        rows = self._required_cache().status()
        if self._reporter is not None:  # whoever probes an idle instance lets it say that it lives
            self._reporter.poke()
        return rows

    def overview(self) -> Overview:
        """The container for people; looks only, where `status` has failing secrets asked for."""
        cache = self._required_cache()
        rows = tuple(cache.rows())
        return Overview(cache.container, cache.source_name(), self._freshness, rows)

    def observe(self, observer: Observer) -> None:
        """Have an observer told of every event from now on."""
        self._required_cache().observe(observer)
        if self._reporter is not None:
            self._reporter.observe(observer)

    def check(self, modules: Iterable[ModuleType] = ()) -> list[Finding]:
        """Look for declared secrets that nothing uses, and wired names that are not declared.

        Args:
            modules: Modules to look for `Provide[...]` in, besides those that are wired.
        """
        wired = set(self._wired([*modules, *self._wired_modules()]))
        declared = {name for name in wired if isinstance(name, str)} & set(self.providers)
        missing = sorted(name for name in wired if isinstance(name, str) and not self._has(name))
        undeclared = [
            Finding("undeclared", name, "is wired, and the container does not declare it.")
            for name in missing
        ]
        return [*undeclared, *unused(self.providers, declared)]

    def _wired_modules(self) -> Iterable[ModuleType]:
        packages = [package.__name__ for package in self.wired_to_packages]
        inside = [
            module
            for name, module in list(sys.modules.items())
            if any(name == package or name.startswith(f"{package}.") for package in packages)
        ]
        return [*self.wired_to_modules, *inside]

    def _wired(self, modules: Iterable[ModuleType]) -> Iterable[object]:
        by_class = self.declarative_parent.providers if self.declarative_parent else {}
        names = {id(p): name for p_set in (by_class, self.providers) for name, p in p_set.items()}
        for asked in wired_names(modules):
            target = getattr(
                asked, "provides", asked
            )  # Provide[secret.provider] asks for a Delegate
            yield target if isinstance(target, str) else names.get(id(target))

    def _has(self, dotted: str) -> bool:
        part: Any = self
        for name in dotted.split("."):
            part = getattr(part, "providers", {}).get(name)
        return part is not None or dotted.startswith("<")

    def _required_cache(self) -> Cache:
        if self._cache is None:
            raise DeclarationError(
                "the container has no source", remedy="Make it so: MyContainer(source=…)."
            )
        return self._cache


class _Container(_Operations, containers.DynamicContainer):
    """An instance of a `SecretContainer`: what `MyContainer(source=…)` gives."""

    def __setattr__(self, name: str, value: object) -> None:
        # While it is made it has no providers yet.
        if name in getattr(self, "providers", ()) and not isinstance(value, providers.Provider):
            raise DeclarationError(
                f"its attribute {name!r} is set to a {type(value).__name__}, and would not be read any more",
                remedy=f"Give a value for a test so: with secrets.{name}.override(…): …",
                container=self.parent_name,
            )
        super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[Any, Any] | None) -> Self:
        copied: Self = super().__deepcopy__(memo)
        # The providers of a copy read through the same cache; whoever closes one closes both.
        copied._cache, copied._registries = self._cache, self._registries
        copied._freshness = self._freshness
        copied._reporter = self._reporter
        return copied

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} is not pickled: it holds secret values and a connection. Make a container in each "
            "process: at the top of the module that multiprocessing imports, or in the child's function."
        )

    def __repr__(self) -> str:
        names = ", ".join(secret.name for secret in secrets_of(self.providers.values()))
        return f"<{self.parent_name}: {names}>"


class SecretContainer(_Operations, containers.DeclarativeContainer, metaclass=_Declaration):
    """Declare a service's secrets as class attributes; the instance reads them from a source.

    The methods `load`, `aload`, `close`, `aclose`, `status`, `overview`, `observe`, `announce` and `check` are
    those of the instance.

    Args:
        source: Where secrets come from: an object with `fetch`, or `source_from_url(…)`.
        freshness: For its dynamic secrets that declare none of their own. By default
            `PGP_CONFIG_MAX_AGE` seconds from the environment, else 5 s, and in an outage
            `PGP_CONFIG_MAX_STALE`, else 1 h.
        observers: Told of every event; by default what `default_observers` holds.
        uptake: Where the process reports which versions it uses; by default what `PGP_CONFIG_UPTAKE`
            says, or nowhere.
        pinned: The version's number at which a static secret is loaded, by name, in place of the newest: a
            new version is then not taken up by a restart, but by a deployment. By default what
            `PGP_CONFIG_PINNED="NAME=7,OTHER=3"` says.
        clock: Monotonic seconds; a test gives a fake one.
        chance: Numbers from 0 to 1 for jitter; a test gives a constant.
        overriding_providers: As in dependency_injector: providers by attribute name.

    Raises:
        DeclarationError: If the declaration has faults, or what is pinned is no static secret of it; all
            of them are named.
    """

    #: Which names may not be dynamic; a subclass sets its own.
    reload_policy: ClassVar[ReloadPolicy] = ReloadPolicy()

    instance_type = _Container

    def __new__(
        cls,
        *,
        source: Source,
        freshness: Freshness | None = None,
        observers: Iterable[Observer] | None = None,
        uptake: Uptake | None = None,
        pinned: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        **overriding_providers: providers.Provider[Any] | object,
    ) -> Self:
        """Copy the declaration, and bind the copy to the source."""
        _refuse_non_source(source, cls.__name__)
        try:
            refuse_other_than_freshness(freshness)
            observers = _checked_observers(observers)
            _refuse_non_uptake(uptake)
            _refuse_non_functions(clock=clock, chance=chance)
            _refuse_unknown(overriding_providers, cls.providers)
        except DeclarationError as fault:
            raise fault.located(container=cls.__name__) from None
        # dependency_injector gives an instance of `instance_type`, with the same attributes.
        container: Self = super().__new__(cls, **overriding_providers)
        pins = pins_from_environ(os.environ) if pinned is None else pinned
        declared = secrets_of(container.providers.values())
        classes = {secret.name: secret.reload_class for secret in declared}
        _refuse_faults(cls.__name__, faults_of_pins(pins, classes))
        told = tuple(default_observers) if observers is None else observers
        uptake = uptake or _uptake_of_environ()
        reporter = None if uptake is None else uptake.reporter(cls.__name__, told, chance)
        cache = Cache(
            source,
            container=cls.__name__,
            observers=told if reporter is None else (*told, reporter),
            clock=clock,
            chance=chance,
            pinned=pins,
        )
        bounds = freshness or Freshness.from_environ(os.environ)
        container.attach(cache, bounds, cls.reload_policy, reporter)
        if reporter is not None:
            reporter.attach(cache)
        for observer in told:
            introduce(observer, cache)
        return container


def _uptake_of_environ() -> Uptake | None:
    if not os.environ.get(UPTAKE_VARIABLE):
        return None
    from pgp_config.uptake import Uptake  # noqa: PLC0415  few report, and it imports SQLite

    return Uptake.from_environ(os.environ)


def _refuse_non_source(source: object, container: str) -> None:
    if not isinstance(source, Source):
        raise DeclarationError(
            f"its source is a {type(source).__name__}, which has no fetch()",
            remedy="Give a source: GoogleSecretManager('my-project'), or source_from_url('env:').",
            container=container,
        )


def _checked_observers(observers: object) -> tuple[Observer, ...] | None:
    if observers is None:
        return None
    if not isinstance(observers, Iterable) or isinstance(observers, str | bytes):
        raise DeclarationError(
            f"observers= is given {_kind_of(observers)}",
            remedy="Give a list of observers, also of one: observers=[LoggingObserver()].",
        )
    found = tuple(observers)
    for each in found:
        if isinstance(each, type) or not callable(each):
            raise DeclarationError(
                f"observers= has {_kind_of(each)} in it, which cannot be told of an event",
                remedy="Give objects that are called with each event: observers=[LoggingObserver()].",
            )
    return found


def _refuse_non_uptake(uptake: object) -> None:
    if uptake is not None and not callable(getattr(uptake, "reporter", None)):
        raise DeclarationError(
            f"uptake= is given {_kind_of(uptake)}",
            remedy="Give an Uptake, such as Uptake.from_environ(os.environ), or set PGP_CONFIG_UPTAKE to a URL.",
        )


def _refuse_non_functions(**given: object) -> None:
    for name, function in given.items():
        if not callable(function):
            raise DeclarationError(
                f"{name}= is given {_kind_of(function)}",
                remedy=f"Give a function without arguments that returns a number, or leave {name}= out.",
            )


def _kind_of(given: object) -> str:
    # Not quoted: it may be a value given by mistake, or a URL with a password in it.
    return (
        f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
    )


def _refuse_unknown(overriding: Iterable[str], declared: Collection[str]) -> None:
    known = [f"{name}=" for name in (*_ARGUMENTS, *declared)]
    arguments = f"Its arguments are {', '.join(_ARGUMENTS)}; all others override what it declares."
    for name in overriding:
        if name not in declared:
            raise DeclarationError(
                f"it is made with {name}=, and declares nothing of that name",
                remedy=did_you_mean(f"{name}=", known, otherwise=arguments),
            )
