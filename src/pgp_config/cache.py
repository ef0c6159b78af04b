"""Step 2 of the flow: the newest version known of each secret, and when the source confirmed it.

Decisions are plain synchronous functions under one lock and never wait; only the wait for a flight
differs between threads and coroutines. Terms:

- A *flight* is one fetch of one secret, shared by everyone whom its start satisfies. A secret has at
  most one in flight and one queued behind it, for those who need a later start.
- A *wave* is the flights that start together: a secret that is due takes along the others that are in
  use, so that secrets which were rotated together are confirmed, and seen, together.
- A wave has *settled* when each of its flights has landed, or was given up as overdue.
- A *generation* is what scopes pin: an immutable mapping. New versions enter it once their wave has
  settled; what a wave merely confirms, or brings for the first time, enters it at once.
- An *overlap* is the time in which a key ring's previous version is in use beside the current one.
- A *look* is a fetch of one version by its number, which never makes it the newest.
- An *announcement* is a push's word that a version exists. Its flight fetches that very number, which
  confirms nothing: a number says nothing of being the newest.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random
import threading
import time
import traceback
import warnings
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pgp_config.errors import (
    PgpConfigError,
    RejectedVersion,
    SecretDisabled,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)
from pgp_config.events import (
    Announced,
    CallFailed,
    Confirmed,
    Fetched,
    FetchFailed,
    Figures,
    LatestDisabled,
    Loaded,
    Reloaded,
    ServedStale,
    StaticAnnounced,
    Traces,
    VersionRejected,
    introduce,
    notify,
)
from pgp_config.facts import Fact, Record, fact
from pgp_config.forking import PATIENCE, gate, refuse_late_patch, threads_are_greenlets
from pgp_config.key_rings import Keys
from pgp_config.pauses import pause_after
from pgp_config.payload import DamagedVersion
from pgp_config.redaction import redactor
from pgp_config.tallies import Reads
from pgp_config.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pgp_config.events import Event, Observer
    from pgp_config.payload import Payload
    from pgp_config.policy import Freshness
    from pgp_config.secret import Decoder
    from pgp_config.sources.base import Source

T = TypeVar("T")

#: Seconds that a reader waits at most for a fetch.
READ_BUDGET = 2.0

#: Calls to a source that one container has in flight at most.
MAX_CALLS = 64

#: Share of `max_age` from which a read starts a refresh in the background, and the jitter on top.
SOFT_AGE, SOFT_JITTER = 0.8, 0.1

#: Share of its `max_age` from which a secret in use joins a wave of secrets with another `max_age`.
COMPANION_AGE = 0.5

#: How many numbers above and below the known version are tried where `latest` is disabled.
REACH = 5

#: Share of its budget after which a flight lands without the previous version of a key ring.
PREVIOUS_SHARE = 0.75

#: Versions fetched by number that are remembered of one secret.
REMEMBERED_LOOKS = 4

#: Budgets after which the failure of a fetch says nothing of now: the process was frozen meanwhile.
OUTDATED = 2

#: Seconds between two announcements of a version's end that are acted on, for one secret.
WITHDRAWAL_PAUSE = 1.0

gate.register(redactor)

_count = itertools.count(2)

#: The highest logical time that was taken, as its only item: a heap, because no other cell keeps the
#: higher of two numbers that two threads put in at once. A scope reads it, at a tenth of a tick's cost.
latest_tick = [1]


def tick() -> int:
    """Logical time: orders the start of fetches and scopes where the clock's resolution cannot.

    Nobody gets one twice, and whoever reads `latest_tick` after it was taken finds it there, or a higher one.
    """
    number = next(_count)
    heapq.heappushpop(latest_tick, number)
    return number


@dataclass(frozen=True, slots=True, eq=False)
class Spec(Generic[T]):
    """What a declaration says of a secret; one object for all copies of its provider.

    Attributes:
        name: The secret's name in the source.
        decoder: Its type.
        dynamic: Whether it may change while the process runs.
        freshness: Its own bounds, or None for those of its container.
        grace: Of a key ring, seconds for which the previous version is in use beside a new one;
            None for every other secret.
        guarded: Whether its name is protected, so that texts of its values are confidential whatever their type.
        sight: Under which key a scope keeps the version that it sees; its value is kept under the spec.
    """

    name: str
    decoder: Decoder[T]
    dynamic: bool
    freshness: Freshness | None = None
    grace: float | None = None
    guarded: bool = False
    sight: object = field(init=False, repr=False, default_factory=object)

    def confidential(self, value: T) -> tuple[str, ...]:
        """Every text in one of its values that no log line may show."""
        return tuple(self.decoder.texts_of(value, plain=self.guarded))


@fact
class Overlap(Record, Generic[T]):
    """The time in which a key ring's previous version is in use beside the current one.

    Attributes:
        ends: Monotonic seconds at which it ends, whatever the source says.
        previous: The version before by number, as last confirmed; None where there is none to use.
    """

    ends: float
    previous: Known[T] | None = None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Known(Generic[T]):
    """A good version of a secret.

    Whatever uses a version holds its `Known`: as long as one is alive, the version is in use.

    Attributes:
        value: Validated as the declared type; never shown.
        version: Its number in the source.
        asked_at: Monotonic seconds at which the fetch began that last confirmed it as the newest.
        tick: Logical time of that beginning.
        soft_at: Monotonic seconds from which a read refreshes it in the background.
        mark: Tells its bytes from those of another secret that was created under the same name; never
            shown.
        overlap: Of a key ring, the version before it; None for every other secret.
    """

    value: T = field(repr=False)
    version: int
    asked_at: float
    tick: int
    soft_at: float
    mark: int = field(default=0, repr=False)
    overlap: Overlap[T] | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What a fetch must satisfy to serve a reader.

    Attributes:
        since: Monotonic seconds: begun then or later.
        after: Logical time: begun later than that.
    """

    since: float = -inf
    after: int = 0

    def is_met_by(self, fetch: Known[Any] | Flight) -> bool:
        """Whether a fetch, landed or in flight, began late enough."""
        return fetch.tick > self.after and fetch.asked_at >= self.since


_UNTRACED = Traces((), "", "", awaited=False)


class Flight:
    """One fetch of one secret, and all who wait for it.

    Attributes:
        asked_at: Monotonic seconds at which it was started; the call begins no earlier. Minus
            infinity for one that confirms nothing, as while it is queued: so it meets no need.
        tick: Logical time of that start; 0 likewise.
        confirms: Whether it asks for `latest`; else for the number that was announced.
        number: What a flight that confirms nothing asks for, once it has started; else 0.
        wave: What it started in, until it has landed or was given up.
        outcome: A good version, or why there is none.
        traces: Who follows it.
    """

    __slots__ = ("_bells", "asked_at", "confirms", "number", "outcome", "tick", "traces", "wave")

    def __init__(self, traces: Traces = _UNTRACED, *, confirms: bool = True) -> None:
        self.traces = traces
        self.asked_at = -inf
        self.tick = 0
        self.confirms = confirms
        self.number = 0
        self.wave: _Wave | None = None
        self.outcome: Future[Known[Any] | PgpConfigError] = Future()
        # A running future cannot be cancelled: one waiter's cancellation leaves the others alone.
        self.outcome.set_running_or_notify_cancel()
        self._bells: dict[asyncio.AbstractEventLoop, _Bell] = {}

    def bell(self) -> _Bell:
        """What wakes the coroutines of the running loop when it lands; one for all of them."""
        loop = asyncio.get_running_loop()
        # Only this loop's own thread makes its bell.
        return self._bells.get(loop) or self._bells.setdefault(loop, _Bell(self.outcome, loop))


class _Wave:
    """Flights that started together and are published together.

    Attributes:
        asked_at: Monotonic seconds at which it started; none of its calls begins earlier.
        tick: Logical time of that start.
        pending: Flights that have not landed.
        landed: The new versions that they brought, by secret.
    """

    __slots__ = ("asked_at", "landed", "pending", "tick")

    def __init__(self, now: float) -> None:
        self.asked_at = now
        self.tick = tick()
        self.pending = 0
        self.landed: dict[_Entry, Known[Any]] = {}


@dataclass(slots=True, eq=False, repr=False)
class _Entry:
    """What the cache holds of one secret; guarded by the cache's lock.

    Attributes:
        announced: The highest number that a push named and nobody has looked at since, or 0.
        missing: The number that was announced last and does not exist: nor does any above it.
        doubted_until: Monotonic seconds until which that is taken for granted.
        doubts: How many such numbers were announced in a row.
        withdrawn_until: Monotonic seconds before which the end of a version is not acted on again.
        shown: Logical time of the start of the wave that brought what the generation has of it.
        max_age: That of its freshness, at hand for the first read of each scope.
    """

    spec: Spec[Any]
    freshness: Freshness
    known: Known[Any] | None = None
    flight: Flight | None = None
    queued: Flight | None = None
    used: bool = False
    failures: int = 0
    retry_at: float = -inf
    error: PgpConfigError | None = None
    quarantined: dict[int, int] = field(default_factory=dict)
    begun: dict[int, float] = field(default_factory=dict)
    looks: dict[int, Flight] = field(default_factory=dict)
    verdicts: Verdicts | None = None
    announced: int = 0
    missing: int = 0
    doubted_until: float = -inf
    doubts: int = 0
    withdrawn_until: float = -inf
    shown: int = 0
    read_at: float = -inf
    alive: dict[int, tuple[weakref.ref[Known[Any]], int]] = field(default_factory=dict)
    released: Callable[[object], None] | None = None
    max_age: float = field(init=False)
    reads: Reads = field(default_factory=Reads)
    count_fresh: Callable[[], object] = field(init=False)

    def __post_init__(self) -> None:
        self.max_age = self.freshness.age_limit
        self.count_reads()

    def count_reads(self) -> None:
        """Count from zero."""
        self.reads.reset()
        # At hand, where each scope counts: two look-ups less.
        self.count_fresh = self.reads.fresh.add

    def pending_looks(self) -> list[Flight]:
        return [look for look in self.looks.values() if not look.outcome.done()]


@fact
class SecretUse(Fact):
    """Which versions of one secret this process uses; without a trace of a value.

    Attributes:
        name: Its name in the source.
        kind: "static" or "dynamic".
        version: The version that is served to new scopes, or None.
        in_use: The versions that the process holds, in order: the one served, those that open
            scopes, or objects built from them, still have, and an older one that the other side wants.
        refused: The versions that failed their type here, in order.
        read_ago: Seconds since a scope last read it; None where it was not read, and for static ones:
            their reads are not counted.
        confirmed_ago: Seconds since the source last confirmed it, or None.
        failing: Whether the source's last answer was a failure.
        max_stale: Seconds for which it is served in an outage.
    """

    name: str
    kind: str
    version: int | None
    in_use: tuple[int, ...]
    refused: tuple[int, ...]
    read_ago: float | None
    confirmed_ago: float | None
    failing: bool
    max_stale: float

    def joined(self, other: SecretUse) -> SecretUse:
        """This and another declaration of the same secret, as one: what is worse of both."""
        versions = [row.version for row in (self, other) if row.version is not None]
        return replace(
            self,
            kind="static" if "static" in (self.kind, other.kind) else "dynamic",
            version=min(versions, default=None),
            in_use=tuple(sorted({*self.in_use, *other.in_use})),
            refused=tuple(sorted({*self.refused, *other.refused})),
            read_ago=_least(self.read_ago, other.read_ago),
            confirmed_ago=_least(self.confirmed_ago, other.confirmed_ago),
            failing=self.failing or other.failing,
            max_stale=max(self.max_stale, other.max_stale),
        )


@fact
class SecretStatus(Fact):
    """The state of one secret, for people; without a trace of its value.

    Attributes:
        name: Its name in the source.
        kind: "static" or "dynamic".
        state: "ok", "stale" (the source does not answer, the last good value is served) or
            "missing" (there is no usable value).
        version: The version that is served, or None.
        age: Seconds since the source last confirmed it, or None.
        error: What the last fetch failed with, or None.
        declared: The name of its type.
        max_age: Seconds for which it is fresh after a confirmation.
        max_stale: Seconds for which it is served in an outage.
        retry_in: Seconds for which the source is not asked again; None where it may be.
        rejected: The versions that may not be served, in order.
        in_use: The versions that the process holds, in order.
        read_ago: Seconds since a scope last read it; None where it was not read, and for static ones:
            their reads are not counted.
    """

    name: str
    kind: str
    state: str
    version: int | None
    age: float | None
    error: str | None
    declared: str
    max_age: float
    max_stale: float
    retry_in: float | None
    rejected: tuple[int, ...]
    in_use: tuple[int, ...]
    read_ago: float | None


@fact
class Overview(Fact):
    """A container and its secrets, for people.

    Attributes:
        container: The name of its class.
        source: What its source is.
        freshness: The bounds of its dynamic secrets that declare none of their own.
        secrets: Each of them, by name.
    """

    container: str
    source: str
    freshness: Freshness
    secrets: tuple[SecretStatus, ...]


class Landing:
    """What an announcement set off, to be waited for; nothing, in most cases.

    Args:
        flights: One for each secret concerned.
        budget: Seconds to wait at most, unless the waiter says otherwise.
    """

    def __init__(self, flights: Iterable[Flight], budget: float) -> None:
        self._outcomes = [flight.outcome for flight in flights]
        self._budget = budget

    def __repr__(self) -> str:
        return f"<Landing of {len(self._outcomes)} fetches>"

    def __bool__(self) -> bool:
        return bool(self._outcomes)

    def wait(self, patience: float | None = None) -> bool:
        """Wait until it has landed, well or not.

        Args:
            patience: Seconds to wait at most; the budget of a read by default.

        Returns:
            Whether it has.
        """
        done = wait_for_all(self._outcomes, self._budget if patience is None else patience)
        return not done.not_done

    async def wait_async(self, patience: float | None = None) -> bool:
        """As `wait`, for a coroutine."""
        if not self._outcomes:
            return True
        landings = [asyncio.wrap_future(outcome) for outcome in self._outcomes]
        timeout = self._budget if patience is None else patience
        _, overdue = await asyncio.wait(landings, timeout=timeout)
        return not overdue


class Cache:
    """The newest version known of each secret of one container.

    Args:
        source: Where secrets come from.
        container: The container's name, for events and errors.
        observers: Told of every event.
        clock: Monotonic seconds; tests give their own.
        chance: A number from 0 to 1 for jitter; tests give their own.
        budget: Seconds that a reader waits at most.
        pinned: The version's number at which a static secret is loaded, by name; `latest` for the others.

    Attributes:
        generation: What scopes pin.
        after: Logical time before which nothing may have been confirmed for a scope that is pinned
            now: somebody was given a new version of a wave that has not settled. Read it before
            the generation.
    """

    def __init__(
        self,
        source: Source,
        *,
        container: str,
        observers: Iterable[Observer] = (),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        budget: float = READ_BUDGET,
        pinned: Mapping[str, int] | None = None,
    ) -> None:
        self.container = container
        self.generation: Mapping[Spec[Any], Known[Any]] = {}
        self.after = 0
        self.clock = clock
        self.budget = budget
        self.closed = False
        self._source = source
        self._observers = list(observers)
        self._chance = chance
        self._pinned = dict(pinned or {})
        self._entries: dict[Spec[Any], _Entry] = {}
        self._ahead: set[int] = set()
        self._released: Callable[[object], None] | None = None
        # Re-entrant: a signal handler or a finaliser may read, or close, in a thread that holds it.
        self._lock = threading.RLock()
        self._executor: ThreadPoolExecutor | None = None
        gate.register(self)

    def __repr__(self) -> str:
        return f"<Cache of {len(self._entries)} secrets of {self.container}>"

    def __del__(self) -> None:
        if self.holds_threads:
            warnings.warn(
                f"{self.container} was not closed: call close() when its service ends.",
                ResourceWarning,
                source=self,
                stacklevel=1,
            )

    @property
    def holds_threads(self) -> bool:
        """Whether it has fetched and was not closed since."""
        return self._executor is not None and not self.closed

    def add(self, spec: Spec[Any], freshness: Freshness) -> None:
        """Make a secret known by name; nothing is fetched yet."""
        self._entries.setdefault(spec, _Entry(spec, freshness, released=self._released))

    @property
    def source(self) -> Source:
        """Where the secrets come from."""
        return self._source

    @property
    def pinned(self) -> dict[str, int]:
        """The version's number at which a static secret is loaded, by name."""
        return dict(self._pinned)

    def specs(self) -> list[Spec[Any]]:
        """Every secret of the container."""
        return list(self._entries)

    def freshness(self, spec: Spec[Any]) -> Freshness:
        """The bounds that hold for a secret."""
        return self._entries[spec].freshness

    def max_age(self, spec: Spec[Any]) -> float:
        """Seconds for which a version of a secret is fresh after its confirmation."""
        return self._entries[spec].max_age

    # -- decisions ---------------------------------------------------------------------------

    def current(self, spec: Spec[T]) -> Known[T] | None:
        """The newest good version, whatever its age."""
        return self._entries[spec].known

    def shown(self, spec: Spec[Any], known: Known[Any]) -> Any:  # noqa: ANN401  the declared type, or Keys of it
        """What a scope is given of a version: its value, or the keys of a ring as they are now."""
        if spec.grace is None:
            return known.value
        overlap, now = known.overlap, self.clock()
        previous = None if overlap is None or now >= overlap.ends else overlap.previous
        if previous is None or now - previous.asked_at > self.freshness(spec).stale_limit:
            return Keys(known.value, known.version)
        return Keys(known.value, known.version, previous.value, previous.version)

    def verdicts(self, spec: Spec[Any]) -> Verdicts:
        """What the other side said of a secret's versions; one object for all copies of its provider."""
        entry = self._entries[spec]
        with self._lock:
            if entry.verdicts is None:
                entry.verdicts = Verdicts(
                    self.container,
                    spec.name,
                    observers=self._observers,
                    clock=self.clock,
                    chance=self._chance,
                )
            return entry.verdicts

    def touch(self, spec: Spec[Any], known: Known[Any], moment: float) -> None:
        """A scope took a version from its generation: refresh it in the background when it is due.

        Raises:
            SecretUnavailable: If the container was closed.
        """
        entry = self._entries[spec]
        if self.closed:
            raise self._closed_error(entry)
        entry.used = True
        entry.read_at = moment
        entry.count_fresh()
        if moment >= known.soft_at:
            with self._lock:
                self._refresh_if_due(entry, known, moment)

    def admit(self, spec: Spec[T], need: Need) -> Known[T] | Flight:
        """The version or the flight that satisfies a reader; starts a flight where none does.

        Raises:
            PgpConfigError: If the source failed lately and there is no last good value.
        """
        with self._lock:
            entry = self._entries[spec]
            under_way = (entry.flight, entry.queued)
            outcome = self._decide(entry, need)
            entry.used = True
            entry.read_at = self.clock()
        if outcome is None:
            return self._last_good(entry)
        if isinstance(outcome, Known):
            entry.count_fresh()
        elif outcome in under_way:
            entry.reads.coalesced.add()
            outcome.traces.join()
        return outcome

    def _decide(self, entry: _Entry, need: Need) -> Known[Any] | Flight | None:
        """A version, a flight, or None: do not wait, take the last good one or fail."""
        known, flight = entry.known, entry.flight
        if self.closed:
            raise self._closed_error(entry)
        if known is not None and need.is_met_by(known):
            self._refresh_if_due(entry, known, self.clock())
            return known
        if self._is_paused(entry) and (flight is None or flight.wave is None):
            return None
        waits = not self._goes_on_without(entry)
        if flight is None:
            flight = self._take_off(entry, self._flight(entry, awaited=waits))
        elif waits and not need.is_met_by(flight):
            flight = entry.queued = entry.queued or self._flight(entry, awaited=True)
            flight.confirms = True
        return flight if waits else None

    def _refresh_if_due(self, entry: _Entry, known: Known[Any], moment: float) -> None:
        if moment < known.soft_at or entry.known is not known:
            return
        if not self._is_paused(entry):
            self._take_off(entry)

    def _goes_on_without(self, entry: _Entry) -> bool:
        """Nobody waits for a source that fails, unless there is nothing else or each scope asks.

        A failure that nobody has looked into for a while says nothing of now: the process may have
        been frozen since.
        """
        max_age = entry.freshness.age_limit
        if entry.failures == 0 or entry.known is None or max_age == 0:
            return False
        now = self.clock()
        if now > entry.retry_at + max(max_age, self.budget):
            return False
        return now - entry.known.asked_at <= entry.freshness.stale_limit

    def wait(self, spec: Spec[T], flight: Flight, patience: float | None = None) -> Known[T]:
        """What a flight brings, or the last good version in its place.

        Args:
            spec: The secret.
            flight: Its flight.
            patience: Seconds to wait at most; the cache's budget by default.

        Raises:
            PgpConfigError: If there is neither.
        """
        outcome: Known[T] | PgpConfigError
        patience = self.budget if patience is None else patience
        try:
            outcome = flight.outcome.result(patience)
        except TimeoutError:
            outcome = self._give_up(spec, flight, patience)
        return self._settled(spec, outcome)

    async def wait_async(
        self, spec: Spec[T], flight: Flight, patience: float | None = None
    ) -> Known[T]:
        """As `wait`, for a coroutine."""
        patience = self.budget if patience is None else patience
        outcome: Known[T] | PgpConfigError | None = await _landed(flight, patience)
        if outcome is None:
            outcome = self._give_up(spec, flight, patience)
        return self._settled(spec, outcome)

    def _give_up(self, spec: Spec[Any], flight: Flight, patience: float) -> PgpConfigError:
        """Count a flight that is overdue as a failure: neither the next readers nor its wave wait for it."""
        error, events, entry = self._overdue(patience), [], self._entries[spec]
        with self._lock:
            # Who was kept waiting in the queue was kept by the flight ahead.
            ahead = entry.flight if flight in (entry.flight, entry.queued) else None
            if ahead is not None and ahead.wave is not None:
                events.append(self._refuse(entry, error))
                self._leave_wave(entry, ahead, error)
        for event in events:
            self.tell(event)
        return error

    def _settled(self, spec: Spec[T], outcome: Known[T] | PgpConfigError) -> Known[T]:
        entry = self._entries[spec]
        if isinstance(outcome, Known):
            entry.reads.waited.add()
            return outcome
        return self._last_good(entry, outcome)

    def _overdue(self, patience: float | None = None) -> SourceTimeout:
        seconds = self.budget if patience is None else patience
        return SourceTimeout(
            f"the source did not answer within {seconds:g} s",
            remedy="Look at the source's state and at the network on the way to it.",
        )

    def _last_good(self, entry: _Entry, error: PgpConfigError | None = None) -> Known[Any]:
        known = entry.known
        error = error or entry.error or self._overdue()
        if self.closed:
            raise self._closed_error(entry)
        if known is None:
            entry.reads.failed.add()
            raise error.located(secret=entry.spec.name, container=self.container)
        age = self.clock() - known.asked_at
        limit = entry.freshness.stale_limit
        if age > limit:
            entry.reads.failed.add()
            raise SecretUnavailable(
                f"the last good value was confirmed {age:.0f} s ago, past max_stale "
                f"({limit:g} s); the source says: {error.happened}",
                remedy=error.remedy,
                secret=entry.spec.name,
                container=self.container,
            ) from error.__cause__
        entry.reads.stale.add()
        self.tell(ServedStale(self.container, entry.spec.name, known.version, age))
        return known

    def _is_paused(self, entry: _Entry) -> bool:
        return self.clock() < entry.retry_at

    def notice(self, spec: Spec[Any], known: Known[Any]) -> None:
        """A reader was given a new version: no scope that begins later falls behind it."""
        with self._lock:
            shown = self.generation.get(spec)
            if shown is None or shown.version == known.version:
                return
            if shown.tick < known.tick:
                self._ahead.add(known.tick - 1)
                self.after = max(self._ahead)

    # -- announcements -----------------------------------------------------------------------

    def announce(self, name: str, version: int, kind: str = "SECRET_VERSION_ADD") -> Landing:
        """A push says that this version exists: fetch that very number in the background.

        If it is good and higher than the known one, it is served from then on, as after any fetch; how
        long the known one counts as confirmed does not change. Known, lower, rejected and doubtful
        numbers cost nothing, and while the source fails the number waits for the next fetch.

        Args:
            name: The secret's name in the source; names of other secrets do nothing.
            version: The version's number, 1 or more.
            kind: What the push called it, for observers.
        """
        events: list[Event] = []
        flights = []
        with self._lock:
            for entry in self._named(name):
                if entry.spec.dynamic:
                    events.append(Announced(self.container, name, version, kind))
                    flights.append(self._hear(entry, version))
                elif self._is_news(entry, version):
                    events.append(StaticAnnounced(self.container, name, version))
        return self._landing(flights, events)

    def withdraw(
        self, name: str, version: int | None, kind: str = "SECRET_VERSION_DISABLE"
    ) -> Landing:
        """A push says that this version may not be served any more: ask now, if it is.

        Args:
            name: As for `announce`.
            version: The version's number, or None for all of them.
            kind: As for `announce`.
        """
        events: list[Event] = []
        flights = []
        with self._lock:
            for entry in self._named(name):
                if entry.spec.dynamic:
                    events.append(Announced(self.container, name, version, kind))
                    flights.append(self._part(entry, version))
        return self._landing(flights, events)

    def owns(self, project: str, location: str | None) -> bool:
        """Whether the source may have secrets in a project and location; one that does not say may."""
        owns: Callable[[str, str | None], bool] | None = getattr(self._source, "owns", None)
        return owns is None or owns(project, location)

    def nothing(self) -> Landing:
        """What an announcement sets off that concerns no secret."""
        return Landing([], self.budget)

    def _named(self, name: str) -> list[_Entry]:
        entries = [] if self.closed else self._entries.values()
        return [entry for entry in entries if entry.spec.name == name]

    def _landing(self, flights: Iterable[Flight | None], events: Iterable[Event]) -> Landing:
        for event in events:
            self.tell(event)
        return Landing([flight for flight in flights if flight is not None], self.budget)

    def _is_news(self, entry: _Entry, version: int) -> bool:
        """Whether a static secret has a version that only a restart will show; told once a process."""
        if entry.known is None or entry.announced or version <= entry.known.version:
            return False
        entry.announced = version
        return True

    def _hear(self, entry: _Entry, version: int) -> Flight | None:
        """The flight that brings an announced version; None where there is nothing to bring now."""
        flight = entry.flight
        if flight is not None and version <= flight.number:
            return flight
        if not self._believes(entry, version):
            return None
        entry.announced = max(entry.announced, version)
        if self._is_paused(entry):
            return None
        if flight is not None:
            # What is in flight may have been asked before the version was there.
            entry.queued = entry.queued or self._flight(entry, confirms=False)
            return entry.queued
        if entry.known is None:  # the first read brings it
            return None
        return self._take_off(entry, self._flight(entry, confirms=False))

    def _believes(self, entry: _Entry, version: int) -> bool:
        """Whether a number is worth a call.

        After one that did not exist, only those just above the known version are, for a growing pause:
        whatever a forger announces costs a secret some calls a minute.
        """
        known = 0 if entry.known is None else entry.known.version
        if version <= known or version in entry.quarantined:
            return False
        if self.clock() >= entry.doubted_until:
            return True
        return version < entry.missing and version <= known + REACH

    def _part(self, entry: _Entry, version: int | None) -> Flight | None:
        """The flight that asks what takes the place of a version that is served, or is about to be."""
        known, flight = entry.known, entry.flight
        if known is None or self._is_paused(entry) or entry.freshness.age_limit == 0:
            return None  # where each scope asks by itself, or the next fetch is to come
        previous = None if known.overlap is None else known.overlap.previous
        # Of a key ring the previous version verifies: a leaked one is to be out of use at once.
        served = (None, known.version, None if previous is None else previous.version)
        is_served = version in served
        if not is_served and (flight is None or (version or 0) < known.version):
            return None
        now = self.clock()
        if now < entry.withdrawn_until:
            return None
        entry.withdrawn_until = now + WITHDRAWAL_PAUSE
        if flight is None:
            return self._take_off(entry)
        entry.queued = entry.queued or self._flight(entry)
        entry.queued.confirms = True
        return entry.queued

    # -- flights -----------------------------------------------------------------------------

    def connect(self) -> None:
        """Let a source that can do so connect, outside of any fetch's budget.

        Raises:
            PgpConfigError: What the source reports.
        """
        refuse_late_patch()
        connect = getattr(self._source, "connect", None)
        if connect is not None:
            with gate.call():
                connect()

    def depart(self, specs: Iterable[Spec[Any]]) -> dict[Spec[Any], Flight]:
        """Start, or join, one wave that fetches all these secrets; for start-up."""
        wave = _Wave(self.clock())
        with self._lock:
            if self.closed:
                raise self._closed_error()
            flights = {}
            for spec in specs:
                entry = self._entries[spec]
                flights[spec] = entry.flight or self._start(
                    entry, self._flight(entry, awaited=True), wave
                )
            return flights

    def _flight(self, entry: _Entry, *, awaited: bool = False, confirms: bool = True) -> Flight:
        """A new one, in the context of whoever sets it off; it waits for it, or goes on without."""
        name = entry.spec.name
        traces = Traces(self._observers, self.container, name, awaited=awaited)
        return Flight(traces, confirms=confirms)

    def _take_off(self, entry: _Entry, flight: Flight | None = None) -> Flight:
        """Start a wave: this secret, and those in use that are as long-lived, or half-way due."""
        if entry.flight is not None:
            return entry.flight
        now = self.clock()
        wave = _Wave(now)
        flight = self._start(entry, flight or self._flight(entry), wave)
        for other in self._entries.values():
            if self._is_companion(other, entry, now):
                self._start(other, self._flight(other), wave)
        return flight

    def _is_companion(self, other: _Entry, entry: _Entry, now: float) -> bool:
        """Whether another secret joins a wave: it was read since it was last confirmed."""
        if other.flight is not None or other.known is None or not other.spec.dynamic:
            return False
        if not other.used or self._is_paused(other):
            return False
        max_age = other.freshness.age_limit
        half_way = other.known.asked_at + COMPANION_AGE * max_age
        return max_age == entry.freshness.age_limit or now >= half_way

    def _start(self, entry: _Entry, flight: Flight, wave: _Wave) -> Flight:
        executor = self._threads()
        flight.wave = wave
        if flight.confirms:
            flight.tick, flight.asked_at = wave.tick, wave.asked_at
        else:
            flight.number, entry.announced = entry.announced, 0
        wave.pending += 1
        try:
            entry.flight = flight
            # It lands under the lock that is held here: not before this is done.
            executor.submit(self._fly, entry, flight)
        except BaseException as fault:
            # Also where a signal interrupts it: a flight that nobody flies would stay for ever.
            was_closed, entry.flight = entry.flight is None, None
            wave.pending -= 1
            if not isinstance(fault, RuntimeError):
                raise
            if not was_closed:  # else its waiters were told then
                flight.outcome.set_result(_stranded())
            return flight
        entry.used = entry.used and not flight.confirms
        return flight

    def _threads(self) -> ThreadPoolExecutor:
        # A local reference: a signal handler may close the container between two of these lines.
        executor = self._executor
        if executor is None:
            refuse_late_patch()
            executor = self._executor = ThreadPoolExecutor(
                MAX_CALLS, f"pgp-config-{self.container}"
            )
        return executor

    def _fly(self, entry: _Entry, flight: Flight) -> None:
        """Fetch, validate and land; runs in the executor."""
        flight.traces.around(
            lambda: _outcome_of(lambda: self._bring(entry, flight)),
            lambda outcome: self._land(entry, flight, outcome),
        )

    def _bring(self, entry: _Entry, flight: Flight) -> Known[Any]:
        """The newest version that can be served; of a key ring, with the one before it."""
        known = self._newest(entry, flight)
        return known if entry.spec.grace is None else self._with_previous(entry, known, flight)

    def _newest(self, entry: _Entry, flight: Flight) -> Known[Any]:
        """What `latest` answers, or what is found by number."""
        known = entry.known
        if known is not None and not flight.confirms:
            return self._bring_announced(entry, known, flight)
        try:
            payload = self._call(entry.spec, self._pinned.get(entry.spec.name, "latest"))
        except SecretDisabled:
            found = (
                None
                if known is None
                else self._first_good(entry, known, flight, self._around(entry, known.version))
            )
            if found is None:
                raise
            self.tell(LatestDisabled(self.container, entry.spec.name, found.version))
            return found
        if known is None:
            return self._first(entry, payload, flight)
        if _is_same(payload, known) or entry.quarantined.get(payload.version) == payload.mark:
            return self._confirmed(entry, known, flight)
        candidates = self._candidates(entry, known.version, payload)
        found = self._first_good(entry, known, flight, candidates)
        return found or self._confirmed(entry, known, flight)

    def _bring_announced(self, entry: _Entry, known: Known[Any], flight: Flight) -> Known[Any]:
        """The version that was announced, or else a good one below it; confirmed as the known one is."""
        number = flight.number
        announced: list[Payload] = []
        try:
            announced.append(self._call(entry.spec, number))
        except SecretNotFound:
            self._doubt(entry, number)
            return known
        except SecretDisabled:
            pass  # meanwhile; there may be good ones that were missed, as where it is rejected
        below = self._by_number(entry, range(number - 1, known.version, -1)[:REACH])
        found = self._first_good(entry, known, flight, itertools.chain(announced, below))
        entry.doubts = 0
        if found is None:
            return known
        return replace(found, asked_at=known.asked_at, tick=known.tick, soft_at=known.soft_at)

    def _doubt(self, entry: _Entry, number: int) -> None:
        with self._lock:
            entry.missing, entry.doubts = number, entry.doubts + 1
            entry.doubted_until = self.clock() + self.pause(entry.doubts - 1)

    def _first(self, entry: _Entry, payload: Payload, flight: Flight) -> Known[Any]:
        try:
            return self._promoted(entry, payload, flight)
        except RejectedVersion as error:
            self._reject(entry, payload, error)
            raise

    def _candidates(self, entry: _Entry, known: int, payload: Payload) -> Iterator[Payload]:
        """What may take the place of the known version when `latest` answers with another one."""
        if payload.version == known:
            yield payload  # the secret was deleted, and created again
        elif payload.version > known:
            yield payload
            # It was rejected: there may be good ones that were missed.
            yield from self._by_number(entry, range(payload.version - 1, known, -1)[:REACH])
        else:
            # `latest` may lag behind what access by number has shown (Secret Manager's documentation:
            # eventually consistent). After a rollback the higher version is disabled or destroyed.
            yield from self._around(entry, known, payload.version)
            yield payload

    def _around(self, entry: _Entry, known: int, floor: int = 0) -> Iterator[Payload]:
        """What can be accessed by number near the known version and above a floor, the newest first.

        No list request is made: their quota is 600 a minute and project.
        """
        above = range(known + 1, known + 1 + REACH)
        yield from reversed(list(self._by_number(entry, above, upwards=True)))
        yield from self._by_number(entry, range(known, floor, -1)[: REACH + 1])

    def _by_number(
        self, entry: _Entry, numbers: Iterable[int], *, upwards: bool = False
    ) -> Iterator[Payload]:
        """Those that are enabled. Numbers have no gaps: upwards, a missing one is the last."""
        for number in numbers:
            if number in entry.quarantined:
                continue
            try:
                yield self._call(entry.spec, number)
            except SecretDisabled:
                continue
            except SecretNotFound:
                if upwards:
                    return

    def _first_good(
        self, entry: _Entry, known: Known[Any], flight: Flight, candidates: Iterable[Payload]
    ) -> Known[Any] | None:
        """The first candidate that can be served; the others are rejected."""
        rejected = []
        for payload in candidates:
            if _is_same(payload, known):
                found = self._confirmed(entry, known, flight)
                break
            try:
                found = self._promoted(entry, payload, flight)
                break
            except RejectedVersion as error:
                # Without its traceback: that leads back to this frame, in a cycle that keeps the known version in use.
                rejected.append((payload, error.with_traceback(None)))
        else:
            found = None
        # Last: where the search failed, it is repeated as a whole.
        for payload, fault in rejected:
            self._reject(entry, payload, fault)
        return found

    def _call(self, spec: Spec[Any], version: int | str) -> Payload:
        began = self.clock()
        try:
            with gate.call():
                began = self.clock()
                payload = self._source.fetch(spec.name, version)
        except BaseException as fault:
            failure, elapsed = type(fault).__name__, self.clock() - began
            self.tell(CallFailed(self.container, spec.name, failure, elapsed))
            raise
        elapsed = self.clock() - began
        self.tell(Fetched(self.container, spec.name, payload.version, elapsed))
        return payload

    def _promoted(self, entry: _Entry, payload: Payload, flight: Flight) -> Known[Any]:
        spec = entry.spec
        value = spec.decoder.decode(payload, refuse_private_keys=spec.dynamic)
        redactor.learn(spec.name, spec.confidential(value))
        promoted = Known(value, payload.version, 0, 0, 0, mark=payload.mark)
        return self._confirmed(entry, promoted, flight)

    def _confirmed(self, entry: _Entry, known: Known[Any], flight: Flight) -> Known[Any]:
        max_age = entry.freshness.age_limit
        # What each scope asks for anew is never refreshed in the background: no scope would take it.
        share = SOFT_AGE + SOFT_JITTER * self._chance()
        soft_at = flight.asked_at + share * max_age if max_age > 0 else inf
        return replace(known, asked_at=flight.asked_at, tick=flight.tick, soft_at=soft_at)

    def _reject(self, entry: _Entry, payload: Payload, error: RejectedVersion) -> None:
        """Never look at this version again, unless it was damaged on its way."""
        version, mark = payload.version, payload.mark
        if entry.quarantined.get(version) == mark:
            return
        if not isinstance(error, DamagedVersion):
            entry.quarantined[version] = mark
        told = error.located(secret=entry.spec.name, container=self.container)
        self.tell(VersionRejected(self.container, entry.spec.name, version, told))

    # -- versions by number ------------------------------------------------------------------

    def fetch_version(self, spec: Spec[T], number: int) -> Known[T] | PgpConfigError:
        """One version by its number, whatever the newest is; it never becomes that.

        Those who ask at once share a fetch, and one that began within `max_age` serves again. It is
        validated as every version is; one that was rejected is not asked for again.

        Returns:
            The version, or why there is none; `SourceTimeout` past the cache's budget.
        """
        return self._seen(self._look(self._entries[spec], number), self.budget)

    async def fetch_version_async(self, spec: Spec[T], number: int) -> Known[T] | PgpConfigError:
        """As `fetch_version`, for a coroutine."""
        look = self._look(self._entries[spec], number)
        outcome: Known[T] | PgpConfigError | None = await _landed(look, self.budget)
        return self._overdue() if outcome is None else outcome

    def _seen(self, look: Flight, patience: float) -> Known[Any] | PgpConfigError:
        try:
            return look.outcome.result(patience)
        except TimeoutError:
            return self._overdue()

    def _look(self, entry: _Entry, number: int, since: float | None = None) -> Flight:
        """The look at a version that began late enough, or is under way; a new one if there is none."""
        oldest = self.clock() - entry.freshness.age_limit if since is None else since
        with self._lock:
            look = entry.looks.get(number)
            if look is not None and (not look.outcome.done() or look.asked_at >= oldest):
                return look
            look = self._flight(entry, awaited=True)
            look.asked_at, look.tick = self.clock(), tick()
            refusal = self._refusal_to_look(entry, number) or self._send(entry, number, look)
        if refusal is not None:
            look.outcome.set_result(refusal)
        return look

    def _send(self, entry: _Entry, number: int, look: Flight) -> PgpConfigError | None:
        _forget_oldest(entry.looks)
        try:
            entry.looks[number] = look
            self._threads().submit(self._fly_to, entry, number, look)
        except BaseException as fault:
            # As in `_start`: a look that nobody flies would be joined for ever.
            was_closed = entry.looks.pop(number, None) is None
            if not isinstance(fault, RuntimeError):
                raise
            return None if was_closed else _stranded()  # closed: it was told then
        return None

    def _refusal_to_look(self, entry: _Entry, number: int) -> PgpConfigError | None:
        if self.closed:
            return self._closed_error(entry)
        if number < 1:
            return SecretNotFound("has no version before the first", remedy="Add one.")
        if number in entry.quarantined:
            return RejectedVersion(
                f"version {number} was rejected before", remedy="Add a good version."
            )
        return None

    def _fly_to(self, entry: _Entry, number: int, look: Flight) -> None:
        """Fetch and validate one version by its number; runs in the executor."""
        look.traces.around(
            lambda: _outcome_of(lambda: self._bring_number(entry, number, look)),
            lambda outcome: self._land_look(entry, number, look, outcome),
        )

    def _land_look(
        self, entry: _Entry, number: int, look: Flight, outcome: Known[Any] | PgpConfigError
    ) -> None:
        with self._lock:
            if entry.looks.get(number) is not look:
                return  # closed meanwhile: its waiters were told then
            if self.closed:
                outcome = self._closed_error(entry)
            if not isinstance(outcome, Known):
                del entry.looks[number]  # the next one who asks may find it
        look.outcome.set_result(outcome)

    def _bring_number(self, entry: _Entry, number: int, look: Flight) -> Known[Any]:
        payload = self._call(entry.spec, number)
        try:
            return self._promoted(entry, payload, look)
        except RejectedVersion as error:
            self._reject(entry, payload, error)
            raise

    # -- key rings ---------------------------------------------------------------------------

    def _with_previous(self, entry: _Entry, known: Known[Any], flight: Flight) -> Known[Any]:
        """A version with the one before it by number, confirmed as well, while their overlap lasts."""
        ends = self._end_of_overlap(entry, known)
        number = known.version - 1
        if number < 1 or self.clock() >= ends:
            return replace(known, overlap=Overlap(ends))
        began = flight.asked_at if flight.confirms else self.clock()
        look = self._look(entry, number, began)
        # Whoever waits for the flight has the cache's budget: landing late would be failing.
        left = PREVIOUS_SHARE * self.budget - (self.clock() - began)
        found = self._seen(look, max(0.0, left))
        if isinstance(found, Known):
            return replace(known, overlap=Overlap(ends, found))
        held = None if _is_lasting(found) else _held(entry.known, number)
        return replace(known, overlap=Overlap(ends, held))

    def _end_of_overlap(self, entry: _Entry, known: Known[Any]) -> float:
        """When the version before is not used any more.

        It counts from when this process first saw the version follow a lower one. A rollback begins
        no new overlap: it goes on with that of the version that it returns to, which is as old as this
        process if it has not seen that one before.
        """
        before, begun = entry.known, entry.begun
        follows_a_lower_one = before is not None and known.version > before.version
        if follows_a_lower_one or known.version > max(begun, default=0):
            begun[known.version] = self.clock()
        elif known.version not in begun:
            begun[known.version] = min(begun.values())
        return begun[known.version] + (entry.spec.grace or 0.0)

    def _land(self, entry: _Entry, flight: Flight, outcome: Known[Any] | PgpConfigError) -> None:
        events: list[Event] = []
        with self._lock:
            if entry.flight is not flight:
                return  # closed meanwhile: its waiters were told then
            if self.closed:  # by a signal handler that interrupted its start
                outcome = self._closed_error(entry)
            ended: list[tuple[Flight, Known[Any] | PgpConfigError]] = [(flight, outcome)]
            goes_on = isinstance(outcome, Known) or self._is_outdated(flight)
            if isinstance(outcome, Known):
                events.extend(self._accept(entry, outcome))
            else:
                entry.announced = max(entry.announced, flight.number)  # for the next one
                if (
                    flight.wave is not None and not goes_on
                ):  # else it was counted when it was given up
                    events.append(self._refuse(entry, outcome))
            self._leave_wave(entry, flight, outcome)
            entry.flight, queued, entry.queued = None, entry.queued, None
            if goes_on:
                ended.extend(self._go_on(entry, outcome, queued))
            elif queued is not None:  # a source that fails is not asked again at once
                ended.append((queued, outcome))
        try:
            for event in events:
                self.tell(event)
        finally:
            for landed, brought in ended:
                landed.outcome.set_result(brought)

    def _is_outdated(self, flight: Flight) -> bool:
        """Whether a flight began so long ago that its failure says nothing of now.

        A source ends a fetch in about a budget; where it took far longer, the process was frozen.
        """
        return flight.confirms and self.clock() - flight.asked_at > OUTDATED * self.budget

    def _go_on(
        self, entry: _Entry, outcome: Known[Any] | PgpConfigError, queued: Flight | None
    ) -> Iterable[tuple[Flight, Known[Any] | PgpConfigError]]:
        """Start what waited for a landing, and tell those whom it served already."""
        if queued is not None and queued.confirms:
            self._start(entry, queued, _Wave(self.clock()))
        elif self._believes(entry, entry.announced):
            self._take_off(entry, queued or self._flight(entry, confirms=False))
        elif queued is not None:
            yield queued, outcome

    def _accept(self, entry: _Entry, known: Known[Any]) -> Iterable[Event]:
        before, entry.known = entry.known, known
        _watch(entry, known)
        entry.failures, entry.retry_at, entry.error = 0, -inf, None
        if before is None:
            yield Loaded(self.container, entry.spec.name, known.version)
        elif (before.version, before.mark) != (known.version, known.mark):
            # What is below the served version is not looked at again.
            entry.quarantined = {n: m for n, m in entry.quarantined.items() if n > known.version}
            yield Reloaded(self.container, entry.spec.name, before.version, known.version)
        else:
            yield Confirmed(self.container, entry.spec.name, known.version)

    def _refuse(self, entry: _Entry, error: PgpConfigError) -> Event:
        pause = self._pause_after(entry, error)
        entry.failures += 1
        entry.error = error
        entry.retry_at = self.clock() + pause
        located = error.located(secret=entry.spec.name, container=self.container)
        return FetchFailed(self.container, entry.spec.name, located, pause)

    def _pause_after(self, entry: _Entry, error: PgpConfigError) -> float:
        # A source that answers with a bad version may have a good one in a moment.
        return self.pause(0 if isinstance(error, RejectedVersion) else entry.failures)

    def pause(self, failures: int) -> float:
        """Seconds for which nothing is tried again after one failure more than so many in a row."""
        return pause_after(failures, self._chance())

    def _leave_wave(
        self, entry: _Entry, flight: Flight, outcome: Known[Any] | PgpConfigError
    ) -> None:
        wave, flight.wave = flight.wave, None
        if isinstance(outcome, Known):
            if wave is None:  # it was given up, and its wave went on
                self._publish({entry: outcome}, tick())
            elif self._replaces_shown(entry, outcome):
                wave.landed[entry] = outcome
            else:
                # Now: a scope that finds it in its pin does not look further, where there may be a newer one
                # than that of what it has read already.
                self._publish({entry: outcome}, wave.tick)
        if wave is None:
            return
        wave.pending -= 1
        if wave.pending == 0:
            self._publish(wave.landed, wave.tick)
            self._ahead.discard(wave.tick - 1)
            self.after = max(self._ahead, default=0)

    def _replaces_shown(self, entry: _Entry, known: Known[Any]) -> bool:
        """Whether it takes the place of another version that scopes are shown."""
        shown = self.generation.get(entry.spec)
        return shown is not None and (shown.version, shown.mark) != (known.version, known.mark)

    def _publish(self, brought: Mapping[_Entry, Known[Any]], since: int) -> None:
        # What this wave brought, not what is known now: a wave that overtook it publishes its own, as a
        # whole, and what it has published already stays.
        news = {}
        for entry, known in brought.items():
            if entry.shown <= since:
                entry.shown, news[entry.spec] = since, known
        if news:
            self.generation = {**self.generation, **news}

    # -- the process -------------------------------------------------------------------------

    def status(self) -> list[SecretStatus]:
        """The state of every secret, by name.

        A failing dynamic secret whose pause is over is asked for in the background: an instance that is not
        ready gets no requests, and nothing else would ever read it again.
        """
        with self._lock:
            for entry in self._entries.values():
                self._retry_if_due(entry)
            return self.rows()

    def rows(self) -> list[SecretStatus]:
        """The state of every secret, by name; only looked at."""
        now = self.clock()
        with self._lock:
            rows = [self._status_of(entry, now) for entry in self._entries.values()]
        return sorted(rows, key=lambda row: row.name)

    def source_name(self) -> str:
        """What the source is, for people: the `repr` of one of ours; of another, which may hold a password, its type."""
        kind = type(self._source)
        return repr(self._source) if kind.__module__.startswith("pgp_config") else kind.__name__

    def _retry_if_due(self, entry: _Entry) -> None:
        if entry.failures == 0 or entry.flight is not None or not entry.spec.dynamic:
            return
        if not self.closed and not self._is_paused(entry):
            self._take_off(entry)

    def _status_of(self, entry: _Entry, now: float) -> SecretStatus:
        error, use = entry.error, _use_of(entry, now)
        age, pause = use.confirmed_ago, entry.retry_at - now
        return SecretStatus(
            name=entry.spec.name,
            kind=use.kind,
            state=self._state_of(entry, age),
            version=use.version,
            age=age,
            error=None if error is None else error.happened,
            declared=_type_name(entry.spec),
            max_age=entry.freshness.age_limit,
            max_stale=use.max_stale,
            retry_in=pause if pause > 0 else None,
            rejected=use.refused,
            in_use=use.in_use,
            read_ago=use.read_ago,
        )

    def figures(self) -> list[Figures]:
        """What an observer reads when it is asked, by name; see `observing.Measurable`."""
        now = self.clock()
        with self._lock:
            rows = [_figures_of(entry, now) for entry in self._entries.values()]
        return sorted(rows, key=lambda row: row.secret)

    def uses(self) -> list[SecretUse]:
        """Which versions of every secret this process uses, by name."""
        now = self.clock()
        with self._lock:
            rows = [_use_of(entry, now) for entry in self._entries.values()]
        found: dict[str, SecretUse] = {}
        for row in rows:
            found[row.name] = row.joined(found.get(row.name, row))
        return sorted(found.values(), key=lambda row: row.name)

    def on_release(self, told: Callable[[object], None]) -> None:
        """Have this called whenever a version that a fetch brought, or confirmed, was let go.

        Args:
            told: It is called by whoever drops the last reference, at any line and with any lock held. Give a
                function of C that is re-entrant, such as the `put` of a `queue.SimpleQueue`: in one of Python an
                interrupt would be lost.
        """
        self._released = told
        for entry in self._entries.values():
            entry.released = told
            for known in filter(None, [watched() for watched, _ in entry.alive.values()]):
                _watch(entry, known)

    def _state_of(self, entry: _Entry, age: float | None) -> str:
        if age is None:
            return "missing"
        if not entry.spec.dynamic or entry.failures == 0:
            return "ok"
        return "stale" if age <= entry.freshness.stale_limit else "missing"

    def close(self) -> None:
        """Forget all values, end the threads and close the source; idempotent."""
        with self._lock:
            was_closed, self.closed = self.closed, True
            stranded = [self._strand(entry) for entry in self._entries.values()]
            self.generation = {}
            # There may be one a second time: a signal handler can close what is about to fetch.
            executor, self._executor = self._executor, None
        for flight, error in itertools.chain.from_iterable(stranded):
            flight.outcome.set_result(error)
        try:
            if executor is not None:
                executor.shutdown(wait=True, cancel_futures=True)
        finally:
            close_source = getattr(self._source, "close", None)
            if close_source is not None and not was_closed:
                close_source()

    def _strand(self, entry: _Entry) -> list[tuple[Flight, PgpConfigError]]:
        flights = [flight for flight in (entry.flight, entry.queued) if flight is not None]
        flights += entry.pending_looks()
        entry.known = entry.flight = entry.queued = None
        entry.looks.clear()
        return [(flight, self._closed_error(entry)) for flight in flights]

    def _closed_error(self, entry: _Entry | None = None) -> SecretUnavailable:
        return SecretUnavailable(
            "the container was closed",
            remedy="Read secrets before close(), or make a new container.",
            secret=None if entry is None else entry.spec.name,
            container=self.container,
        )

    def prepare_fork(self) -> None:
        """Under gevent end the executor's threads, which are greenlets: a child would have them too.

        It strikes them off Python's list of threads, and each would end with a traceback. Those that
        wait for the fork to be over cannot be ended.
        """
        if not threads_are_greenlets():
            return
        with self._lock:
            executor, self._executor = self._executor, None
            is_busy = any(
                entry.flight or entry.pending_looks() for entry in self._entries.values()
            )
        if executor is None:
            return
        executor.shutdown(wait=False)
        if not is_busy:
            _join_others(executor)

    def renew_after_fork(self) -> None:
        """In a child: what is known stays; the parent's lock, threads and flights do not come along."""
        self._lock = threading.RLock()
        self._executor = None
        self._ahead.clear()  # those waves stayed behind
        for entry in self._entries.values():
            entry.flight = entry.queued = None
            entry.count_reads()  # the parent counts its own
            entry.looks = {n: look for n, look in entry.looks.items() if look.outcome.done()}

    def observe(self, observer: Observer) -> None:
        """Have an observer told of every event from now on."""
        self._observers.append(observer)
        introduce(observer, self)

    def tell(self, event: Event) -> None:
        """Tell the container's observers."""
        notify(self._observers, event)


async def _landed(flight: Flight, patience: float) -> Known[Any] | PgpConfigError | None:
    """What a flight brings within so many seconds, for a coroutine; else None."""
    outcome = flight.outcome
    if not outcome.done():
        await flight.bell().wait(patience)
    return outcome.result() if outcome.done() else None


class _Bell:
    """Wakes the coroutines of one event loop that wait for a flight: one call into the loop for all.

    Its methods run in the loop's thread; only the flight's landing comes from another.
    """

    __slots__ = ("_loop", "_waiters")

    def __init__(self, outcome: Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: set[asyncio.Future[None]] = set()
        outcome.add_done_callback(self._land)

    def _land(self, _outcome: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits there
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        for waiter in self._waiters:
            _wake(waiter)

    async def wait(self, patience: float) -> None:
        """Wait for the landing, so many seconds at most; whoever is cancelled leaves the others alone."""
        # Before anything else can run in this loop: a landing from here on finds the waiter.
        waiter = self._loop.create_future()
        self._waiters.add(waiter)
        overdue = self._loop.call_later(patience, _wake, waiter)
        try:
            await waiter
        finally:
            overdue.cancel()
            self._waiters.discard(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _is_same(payload: Payload, known: Known[Any]) -> bool:
    """Whether a payload is the version that is known, and not one of a secret that was created anew."""
    return payload.version == known.version and payload.mark == known.mark


def _outcome_of(bring: Callable[[], Known[Any]]) -> Known[Any] | PgpConfigError:
    """What a fetch brings, or why it brings nothing."""
    try:
        return bring()
    except PgpConfigError as error:
        _let_go(error)
        return error
    except BaseException as fault:  # noqa: BLE001  whatever a source raises, its waiters must be told
        _let_go(fault)
        return _foreign(fault)


def _join_others(executor: ThreadPoolExecutor) -> None:
    """Wait for its threads, with a bound: two observers may fork at once, each in one of these threads."""
    others = set(executor._threads) - {threading.current_thread()}  # noqa: SLF001  its own wait has no bound
    for thread in others:
        thread.join(PATIENCE)


def _let_go(fault: BaseException) -> None:
    """Drop what the frames of an error hold: it is kept for a while, and would keep an old version in use."""
    traceback.clear_frames(fault.__traceback__)


def _is_lasting(error: PgpConfigError) -> bool:
    """Whether a version is out of use, and not merely out of reach for now."""
    if isinstance(error, DamagedVersion):
        return False
    return isinstance(error, SecretDisabled | SecretNotFound | RejectedVersion)


def _held(known: Known[T] | None, number: int) -> Known[T] | None:
    """A version that this process holds already, as the current one or as the one before it."""
    previous = None if known is None or known.overlap is None else known.overlap.previous
    for held in (known, previous):
        if held is not None and held.version == number:
            return replace(held, overlap=None)  # else a chain of all versions would stay
    return None


def _forget_oldest(looks: dict[int, Flight]) -> None:
    landed = [number for number, look in looks.items() if look.outcome.done()]
    for number in landed[: 1 - REMEMBERED_LOOKS]:
        del looks[number]


def _watch(entry: _Entry, known: Known[Any]) -> None:
    """Know for how long a version is in use, at no cost to a read."""
    for key, (watched, _) in list(entry.alive.items()):
        if watched() is None:
            entry.alive.pop(key, None)
    reference = weakref.ref(known, entry.released)
    entry.alive[id(reference)] = (reference, known.version)


def _least(*ages: float | None) -> float | None:
    return min((age for age in ages if age is not None), default=None)


def _use_of(entry: _Entry, now: float) -> SecretUse:
    known = entry.known
    in_use = {number for watched, number in list(entry.alive.values()) if watched() is not None}
    favourite = None if entry.verdicts is None else entry.verdicts.favourite()
    in_use |= set() if favourite is None else {favourite}
    return SecretUse(
        name=entry.spec.name,
        kind="dynamic" if entry.spec.dynamic else "static",
        version=None if known is None else known.version,
        in_use=tuple(sorted(in_use)),
        refused=tuple(sorted(entry.quarantined)),
        read_ago=now - entry.read_at if entry.spec.dynamic and entry.read_at > -inf else None,
        confirmed_ago=None if known is None else now - known.asked_at,
        failing=entry.failures > 0,
        max_stale=entry.freshness.stale_limit,
    )


def _type_name(spec: Spec[Any]) -> str:
    return spec.decoder.type_name if spec.grace is None else f"KeyRing of {spec.decoder.type_name}"


def _figures_of(entry: _Entry, now: float) -> Figures:
    known, is_dynamic = entry.known, entry.spec.dynamic
    return Figures(
        secret=entry.spec.name,
        version=None if known is None else known.version,
        age=now - known.asked_at if known is not None and is_dynamic else None,
        reads=entry.reads if is_dynamic else None,
    )


def _stranded() -> SecretUnavailable:
    return SecretUnavailable(
        "cannot be fetched: no thread can be started",
        remedy="Read it before the interpreter shuts down, not in an exit handler; else raise the "
        "limit of threads.",
    )


def _foreign(fault: BaseException) -> SecretUnavailable:
    """An error of ours for whatever else a source raised; its text and its frames may hold a value."""
    return SecretUnavailable(
        f"the source failed with {type(fault).__name__}",
        remedy="A source should raise the errors of pgp_config.errors; see its own log.",
    )
