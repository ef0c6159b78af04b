"""A container with a test's values: loaded, rotated with one call, closed at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Generic,
    Protocol,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from pgp_config.errors import DeclarationError, did_you_mean
from pgp_config.events import default_observers
from pgp_config.policy import Freshness
from pgp_config.providers import SecretContainer
from pgp_config.providers.graph import secrets_of
from pgp_config.push.event import SecretEvent
from pgp_config.testing.clock import FakeClock
from pgp_config.testing.source import FakeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pgp_config.cache import Landing
    from pgp_config.emulator import SecretManagerEmulator
    from pgp_config.events import Event, Observer
    from pgp_config.sources.base import Source
    from pgp_config.uptake import Uptake

    #: Text or bytes by a secret's name, as a source stores them.
    Values: TypeAlias = Mapping[str, str | bytes]

E = TypeVar("E")


class Store(Protocol):
    """Where a test puts versions."""

    def add(self, name: str, value: str | bytes) -> int:
        """Add a version, and the secret if it is new; its number."""
        ...


C = TypeVar("C", bound=SecretContainer)
S = TypeVar("S", bound=Store)


class Events(list["Event"]):
    """An observer that keeps what it is told."""

    def __call__(self, event: Event) -> None:
        """Keep it."""
        self.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Those of one class of `pgp_config.events`, in order."""
        return [event for event in self if isinstance(event, kind)]


@dataclass(frozen=True, slots=True, repr=False)
class Prepared(Generic[C, S]):
    """A container, and what a test does to it; `with` and `async with` close it.

    Attributes:
        secrets: The container.
        store: Where its secrets are: a `FakeSource`, or the local Secret Manager.
        clock: What it goes by.
        events: What happened to it.
    """

    secrets: C
    store: S
    clock: FakeClock
    events: Events

    def __repr__(self) -> str:
        return f"<Prepared {self.secrets!r}>"

    def rotate(self, name: str, value: str | bytes) -> int:
        """Add a version, and have it taken up as from a push: the next scope sees it.

        Static secrets and open scopes keep what they have. To have a version found by itself, when the old one is too
        old, use `store.add` and a clock.

        Args:
            name: The secret's name in the source.
            value: The new version, as the source stores it.

        Returns:
            The version's number.

        Raises:
            DeclarationError: If the container does not declare that name.
        """
        __tracebackhide__ = True  # a report with locals would show the value
        number, landing = self._add(name, value)
        landing.wait()
        return number

    async def arotate(self, name: str, value: str | bytes) -> int:
        """As `rotate`, from a coroutine; blocks no event loop."""
        __tracebackhide__ = True  # as above
        number, landing = self._add(name, value)
        await landing.wait_async()
        return number

    def _add(self, name: str, value: str | bytes) -> tuple[int, Landing]:
        __tracebackhide__ = True  # as above
        self._refuse_unknown(name)
        number = self.store.add(name, value)
        return number, self.secrets.announce(SecretEvent("SECRET_VERSION_ADD", name, number))

    def _refuse_unknown(self, name: str) -> None:
        names = [row.name for row in self.secrets.status()]
        if name not in names:
            raise _undeclared(name, "is to be rotated", names, self.secrets.parent_name)

    def close(self) -> None:
        """Close the container; idempotent."""
        self.secrets.close()

    async def aclose(self) -> None:
        """As `close`, from a coroutine."""
        await self.secrets.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Options(TypedDict, total=False):
    """What a container is made with, besides its source; as `SecretContainer` has it.

    Attributes:
        load: Whether to load it, as a service does at its start; by default it is.
        freshness: `Freshness()` by default.
        observers: `default_observers` by default; `Prepared.events` is told in any case.
        uptake: Nowhere by default.
        pinned: Nothing by default.
        clock: A `FakeClock` by default.
        chance: No jitter by default.
    """

    load: bool
    freshness: Freshness
    observers: Iterable[Observer]
    uptake: Uptake
    pinned: Mapping[str, int]
    clock: FakeClock
    chance: Callable[[], float]


@overload
def prepare(
    container: type[C],
    values: Values | None = None,
    *,
    manager: None = None,
    **options: Unpack[Options],
) -> Prepared[C, FakeSource]: ...


@overload
def prepare(
    container: type[C],
    values: Values | None = None,
    *,
    manager: SecretManagerEmulator,
    **options: Unpack[Options],
) -> Prepared[C, SecretManagerEmulator]: ...


def prepare(
    container: type[C],
    values: Values | None = None,
    *,
    manager: SecretManagerEmulator | None = None,
    **options: Unpack[Options],
) -> Prepared[C, FakeSource] | Prepared[C, SecretManagerEmulator]:
    """Make a container with values for a test.

    Its freshness, its pins and its clock do not come from the environment; see `Options`.

    Args:
        container: A subclass of `SecretContainer`.
        values: The first version of each secret, by its name in the source; only of what it declares.
        manager: A started local Secret Manager, which is then the source; else a `FakeSource` is.
        options: As those of the container, and `load`.

    Raises:
        DeclarationError: If the container's declaration or a value has faults, or there is no such option.
        StartupError: If it cannot be loaded: a secret has no value, or one that fails its type.
    """
    __tracebackhide__ = True  # a report with locals would show the values
    _refuse_non_class(container)
    _refuse_unknown_options(options)
    _refuse_unknown_names(container, values or ())
    if manager is None:
        memory = FakeSource(values)
        return _prepared(container, memory, memory, options)
    for name, value in (values or {}).items():
        manager.add(name, value)
    from pgp_config.sources.google import GoogleSecretManager  # noqa: PLC0415  few tests use one

    source = GoogleSecretManager(manager.project, endpoint=manager.endpoint)
    return _prepared(container, manager, source, options)


def _refuse_non_class(container: object) -> None:
    if not (isinstance(container, type) and issubclass(container, SecretContainer)):
        shown = container if isinstance(container, type) else type(container)
        raise DeclarationError(
            f"a container is to be made of {shown.__name__}, which is no container class",
            remedy="Give the class: make_secrets(MyContainer, {…}).",
        )


def _refuse_unknown_options(options: Iterable[str]) -> None:
    for name in options:
        if name not in Options.__optional_keys__:
            known = sorted(Options.__optional_keys__)
            raise DeclarationError(
                f"a container is to be made with {name}=, which there is not",
                remedy=did_you_mean(name, known, otherwise=f"There are {', '.join(known)}."),
            )


def declared_by(container: type[SecretContainer]) -> set[str]:
    """The names of the secrets that a container class declares."""
    return {secret.name for secret in secrets_of(container.providers.values())}


def _refuse_unknown_names(container: type[SecretContainer], values: Iterable[str]) -> None:
    declared = declared_by(container)
    for name in values:
        if isinstance(name, str) and name not in declared:  # what is no text, the source refuses
            raise _undeclared(name, "is given a value", declared, container.__name__)


def _undeclared(
    name: str, what: str, declared: Iterable[str], container: str | None
) -> DeclarationError:
    return DeclarationError(
        f"{what}, and the container does not declare it",
        remedy=did_you_mean(name, declared),
        secret=name,
        container=container,
    )


def _prepared(container: type[C], store: S, source: Source, options: Options) -> Prepared[C, S]:
    events = Events()
    clock = options.get("clock") or FakeClock()
    secrets = container(
        source=source,
        clock=clock,
        observers=(*options.get("observers", default_observers), events),
        freshness=options.get("freshness", Freshness()),
        uptake=options.get("uptake"),
        pinned=options.get("pinned", {}),
        chance=options.get("chance", lambda: 0.0),
    )
    prepared = Prepared(secrets, store, clock, events)
    if options.get("load", True):
        try:
            secrets.load()
        except BaseException:
            prepared.close()
            raise
    return prepared


class Maker:
    """Prepares containers, and has them closed at the end.

    Args:
        at_end: Takes what is to be called then.
        values: First versions for every container that declares them, which those given to a call replace.
        clock: For every container, unless a call gives another.
    """

    def __init__(
        self,
        at_end: Callable[[Callable[[], None]], object],
        values: Values | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self._at_end = at_end
        self._values = dict(values or {})
        self._clock = clock or FakeClock()

    @overload
    def __call__(
        self,
        container: type[C],
        values: Values | None = None,
        *,
        manager: None = None,
        **options: Unpack[Options],
    ) -> Prepared[C, FakeSource]: ...

    @overload
    def __call__(
        self,
        container: type[C],
        values: Values | None = None,
        *,
        manager: SecretManagerEmulator,
        **options: Unpack[Options],
    ) -> Prepared[C, SecretManagerEmulator]: ...

    def __call__(
        self,
        container: type[C],
        values: Values | None = None,
        *,
        manager: SecretManagerEmulator | None = None,
        **options: Unpack[Options],
    ) -> Prepared[C, FakeSource] | Prepared[C, SecretManagerEmulator]:
        """As `prepare`; the clock is the test's, unless another is given."""
        __tracebackhide__ = True  # as there
        options.setdefault("clock", self._clock)
        _refuse_non_class(container)
        # Those for every container may be of another one.
        every = {n: v for n, v in self._values.items() if n in declared_by(container)}
        every |= values or {}
        prepared = prepare(container, every, manager=manager, **options)
        self._at_end(prepared.close)
        return prepared
