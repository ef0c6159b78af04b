"""What happened to a secret, as facts for observers; never a value."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, TypeVar

from pgp_config.facts import Fact, fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pgp_config.errors import PgpConfigError
    from pgp_config.observing import FetchTrace, Measurable
    from pgp_config.tallies import Reads

T = TypeVar("T")

_logger = logging.getLogger("pgp_config")


@fact
class Event(Fact):
    """One fact about one secret.

    Attributes:
        container: Name of the container class that declares the secret.
        secret: The secret's name in its source.
    """

    container: str
    secret: str


@fact
class Fetched(Event):
    """The source answered one fetch.

    Attributes:
        version: The version that the source named, 1 or more.
        seconds: How long the call took, by the monotonic clock.
    """

    version: int
    seconds: float


@fact
class CallFailed(Event):
    """The source did not answer one call with a version.

    The fetch that made it may bring one all the same, by other calls: where the newest is disabled, say.

    Attributes:
        failure: The name of what was raised; its text may hold anything.
        seconds: How long the call took, by the monotonic clock.
    """

    failure: str
    seconds: float


@fact
class FetchFailed(Event):
    """A fetch failed; the secret is not asked for again before the pause is over.

    Attributes:
        error: What the source reported.
        pause: Seconds until the source is asked again, 1 to 60.
    """

    error: PgpConfigError
    pause: float


@fact
class Loaded(Event):
    """The first good version of a secret in this process.

    Attributes:
        version: Its version number, 1 or more.
    """

    version: int


@fact
class Reloaded(Event):
    """A new version took the place of the last one, without a restart.

    Attributes:
        old_version: The version served until now.
        version: The version served from now on; lower than the old one after a rollback.
    """

    old_version: int
    version: int


@fact
class Confirmed(Event):
    """The source said again that the version served is the one to serve.

    Attributes:
        version: That version.
    """

    version: int


@fact
class TakenUp(Event):
    """What this process uses of a secret has changed, and the uptake store was told.

    Attributes:
        service: The name under which the process reports.
        instance: The process: its host or revision, its process id, and a random part.
        version: The version that new scopes get.
        in_use: All versions that it still holds, in order; one alone means that the others are unread.
    """

    service: str
    instance: str
    version: int | None
    in_use: tuple[int, ...]


@fact
class UptakeUnreported(Event):
    """The uptake store cannot be told; no read is disturbed. Told once, until it can be told again.

    Attributes:
        failure: The name of what was raised; its text may hold the store's password.
        pause: Seconds until it is tried again.
    """

    failure: str
    pause: float


@fact
class ServedStale(Event):
    """The source does not answer, and a scope was given the last good value.

    Attributes:
        version: The version served.
        age: Seconds since the source last confirmed it.
    """

    version: int
    age: float


@fact
class LatestDisabled(Event):
    """The newest version in the source is disabled or destroyed; an enabled one is served.

    Attributes:
        version: The newest enabled one, found by number; lower than the one served until now if that
            was disabled too.
    """

    version: int


@fact
class VersionRejected(Event):
    """A new version may not be served; the last good one stays.

    Attributes:
        version: The version that was refused; it is not looked at again, unless it was damaged on its way.
        error: Why.
    """

    version: int
    error: PgpConfigError


@fact
class VersionRefused(Event):
    """The other side refused a version; no request tries it again for a growing pause, unless it waits for nobody.

    Attributes:
        version: The version that was refused.
        pause: Seconds until one request that waits for others tries it again, 1 to 60.
        rests: Whether a call such as the refused one leaves it alone so long. One without a budget does not.
    """

    version: int
    pause: float
    rests: bool = True


@fact
class Built(Event):
    """The first object of a `PerVersion` in this process, or in this event loop.

    Attributes:
        secret: The names of the secrets that it was built from, separated by ", ".
        name: The provider's name in its container, else the factory's.
        versions: The version of each of them, by name.
    """

    name: str
    versions: Mapping[str, int]


@fact
class Rebuilt(Event):
    """An object of a `PerVersion` took the place of the last one, which is closed after its last use.

    Attributes:
        secret: As in `Built`.
        name: As in `Built`.
        old_versions: What the last one was built from.
        versions: What this one was built from.
    """

    name: str
    old_versions: Mapping[str, int]
    versions: Mapping[str, int]


@fact
class BuildFailed(Event):
    """An object could not be built; an older one stays in service, if there is one.

    Attributes:
        secret: As in `Built`.
        name: As in `Built`.
        versions: What it was to be built from.
        reason: The type of what the factory or the probe raised, "probe" for one that said no, or
            "overdue" for one that the readers no longer wait for. Never a text: it may hold a value.
        pause: Seconds until it is tried again, 1 to 60.
    """

    name: str
    versions: Mapping[str, int]
    reason: str
    pause: float


@fact
class PreviousVersionUsed(Event):
    """The other side refuses the newest version and accepts an older one, with which requests start.

    Attributes:
        version: The version that it accepts.
        newest: The newest version, which one request at a time tries again.
    """

    version: int
    newest: int


@fact
class Announced(Event):
    """A push told of a version; what comes of it, if anything, is told by other events.

    Attributes:
        version: The version's number, or None where all of them are meant.
        kind: The push's own word for it, such as "SECRET_VERSION_ADD".
    """

    version: int | None
    kind: str


@fact
class StaticAnnounced(Event):
    """A push told of a newer version of a static secret, which is read at the next start.

    It is told once a process and secret.

    Attributes:
        version: The version that was announced.
    """

    version: int


@fact
class StaticReadRefused(Event):
    """A static secret that was not loaded at start-up was asked for while a scope was open: not fetched."""


@fact
class CloseFailed(Event):
    """An object of a `PerVersion` that is no longer used could not be closed.

    Attributes:
        secret: As in `Built`.
        name: As in `Built`.
        versions: What it was built from.
        reason: The type of what its close raised, or what was in the way.
    """

    name: str
    versions: Mapping[str, int]
    reason: str


class Observer(Protocol):
    """Is told of every event, in the thread in which it happened.

    It must be quick and must not read a secret. What it raises is logged and goes no further.
    """

    def __call__(self, event: Event, /) -> None:
        """Take note of one event."""
        ...


@fact
class Figures(Fact):
    """What can be read of one secret at any time, at no cost to its readers; never a value.

    Attributes:
        secret: Its name in the source.
        version: The version that new scopes get, or None.
        age: Seconds since the source last confirmed it; None before, and for a static secret, which is
            confirmed but once.
        reads: How scopes came by its values; None for a static secret, whose reads are not counted.
    """

    secret: str
    version: int | None
    age: float | None
    reads: Reads | None


#: Observers of every container that is made without `observers=`.
default_observers: list[Observer] = []


def notify(observers: Iterable[Observer], event: Event) -> None:
    """Tell all observers; a faulty one disturbs neither the others nor the read."""
    for observer in observers:
        try:
            observer(event)
        except Exception:
            _logger.exception("An observer failed on %s", type(event).__name__)


def introduce(observer: Observer, secrets: Measurable) -> None:
    """Give an observer the container, if it is an `observing.FiguresObserver`."""
    watch: Callable[[Measurable], object] | None = getattr(observer, "watch_figures", None)
    if watch is not None:
        _shielded(observer, watch, secrets)


class Traces:
    """One fetch, as all who follow it do; a faulty one disturbs neither the others nor the fetch."""

    __slots__ = ("_traces",)

    def __init__(
        self, observers: Iterable[Observer], container: str, secret: str, *, awaited: bool
    ) -> None:
        self._traces: list[FetchTrace] = []
        for observer in observers:
            trace: Callable[..., FetchTrace] | None = getattr(observer, "trace_fetch", None)
            if trace is not None:
                _shielded(
                    observer,
                    lambda trace=trace: self._traces.append(
                        trace(container, secret, awaited=awaited)
                    ),
                )

    def join(self) -> None:
        """A reader waits for it that did not set it off."""
        for trace in self._traces:
            _shielded(trace, trace.join)

    def around(self, fetch: Callable[[], T], land: Callable[[T], object]) -> None:
        """Fetch, which brings a version or an error and does not raise; then tell everybody."""
        begun = [trace for trace in self._traces if _shielded(trace, trace.begin)]
        outcome = fetch()
        error = outcome if isinstance(outcome, Exception) else None
        for trace in reversed(begun):
            _shielded(trace, trace.end, getattr(outcome, "version", None), error)
        try:
            land(outcome)
        finally:
            for trace in reversed(begun):
                _shielded(trace, trace.leave)


def _shielded(who: object, call: Callable[..., object], *arguments: object) -> bool:
    try:
        call(*arguments)
    except Exception:
        _logger.exception("%s failed", type(who).__name__)
        return False
    return True
