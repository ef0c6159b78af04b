"""Tells the uptake store which versions this process uses, from a thread of its own."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
import weakref
from math import inf
from typing import TYPE_CHECKING

from pgp_config.errors import DeclarationError
from pgp_config.events import (
    Confirmed,
    FetchFailed,
    Loaded,
    PreviousVersionUsed,
    Reloaded,
    TakenUp,
    UptakeUnreported,
    VersionRejected,
    notify,
)
from pgp_config.forking import gate
from pgp_config.pauses import pause_after
from pgp_config.policy import DEFAULT_MAX_STALE, UPTAKE_VARIABLE, seconds
from pgp_config.processes import reporting_name
from pgp_config.uptake.base import UptakeStore
from pgp_config.uptake.entries import Entry
from pgp_config.uptake.urls import store_from_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from pgp_config.cache import Cache, SecretUse
    from pgp_config.events import Event, Observer

#: Environment variable with the name of the service.
SERVICE_VARIABLE = "PGP_CONFIG_SERVICE"

#: Seconds for which an entry holds: as long as a last good value is served, so that a process whose entry has
#: expired serves nothing that the source has not confirmed again.
DEFAULT_TTL = DEFAULT_MAX_STALE

#: Seconds that are added: for so long a confirmation may go unreported, while nothing is new or the store fails.
LEEWAY = 90.0

#: Seconds for which the entry of a static secret holds at least: nothing ever confirms it again.
STATIC_TTL = 7 * 24 * 3600.0

#: Seconds in which a process that has nothing new to say says so once at most.
UNCHANGED_PAUSE = 10.0

#: Seconds that `close()` waits for a report under way: more than a store may take.
CLOSING_PATIENCE = 3.0

_NEWS = (Confirmed, Loaded, Reloaded, FetchFailed, PreviousVersionUsed, VersionRejected)

_logger = logging.getLogger("pgp_config")


class Uptake:
    """Where and under which name processes report the versions that they use.

    Args:
        store: An `UptakeStore`, or its URL: see `store_from_url`.
        service: The service's name; by default `PGP_CONFIG_SERVICE`, `K_SERVICE` (Cloud Run sets it), or the
            name of the container class.
        ttl: Seconds (or timedelta) for which an entry holds, 0 or more. Raised to a secret's `max_stale` where that
            is longer, and by 90 s.

    Raises:
        DeclarationError: If the store or the ttl is none.
    """

    def __init__(
        self,
        store: UptakeStore | str,
        *,
        service: str | None = None,
        ttl: float | timedelta = DEFAULT_TTL,
    ) -> None:
        self.store = store_from_url(store) if isinstance(store, str) else store
        if not isinstance(self.store, UptakeStore):
            raise DeclarationError(
                f"the uptake store is a {type(store).__name__}",
                remedy="Give a URL such as 'redis://127.0.0.1:6379/0' or 'sqlite:'.",
            )
        self.service = service
        self.ttl = seconds(ttl, what="the ttl of the uptake")

    def __repr__(self) -> str:
        return f"<Uptake of {self.service or 'this process'}>"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Uptake | None:
        """What `PGP_CONFIG_UPTAKE` says; None where it is not set.

        Raises:
            DeclarationError: If it is the URL of no store.
        """
        url = environ.get(UPTAKE_VARIABLE)
        return cls(url) if url else None

    def reporter(
        self, container: str, observers: Sequence[Observer], chance: Callable[[], float]
    ) -> Reporter:
        """A reporter for one container instance."""
        named = self.service or os.environ.get(SERVICE_VARIABLE) or os.environ.get("K_SERVICE")
        return Reporter(
            self.store,
            container,
            service=named or container,
            ttl=self.ttl,
            observers=observers,
            chance=chance,
        )


class Reporter:
    """Watches one container, and tells the store what has changed, and now and then that nothing has.

    It is an observer of the container: a landed fetch makes it look. So is a version that was let go. It does not
    run by itself: Cloud Run freezes what does.

    Args:
        store: Where to.
        container: The container's name, for events.
        service: The service's name.
        ttl: Seconds for which an entry holds.
        observers: Told when the uptake has changed, or cannot be reported.
        chance: Numbers from 0 to 1 for jitter.
        clock: Monotonic seconds; a test gives its own.

    Attributes:
        instance: Who reports: the process as its status page has it; a forked child is somebody else.
    """

    def __init__(
        self,
        store: UptakeStore,
        container: str,
        *,
        service: str,
        ttl: float,
        observers: Sequence[Observer] = (),
        chance: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._container = container
        self._service = service
        self._ttl = ttl
        self._observers = list(observers)
        self._chance = chance
        self._clock = clock
        # Weakly: what its owner forgot to close must be found by the garbage collector.
        self._cache: Callable[[], Cache | None] = _none
        self._closed = False
        self._begin()
        gate.register(self)
        self._at_exit = _closing(weakref.ref(self))
        atexit.register(self._at_exit)

    def _begin(self) -> None:
        self.instance = reporting_name()
        # Re-entrant: a version may be let go at any line, also inside of this queue. False ends the thread.
        self._wakes: queue.SimpleQueue[object] = queue.SimpleQueue()
        weakref.finalize(self, self._wakes.put, False)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._told: dict[str, tuple[object, ...]] = {}
        self._told_at = -inf
        self._failures = 0
        self._retry_at = -inf

    def attach(self, cache: Cache) -> None:
        """Watch this cache."""
        self._cache = weakref.ref(cache)
        cache.on_release(self._wakes.put)

    def observe(self, observer: Observer) -> None:
        """Have an observer told as well, from now on."""
        self._observers.append(observer)

    def __call__(self, event: Event) -> None:
        """Look at what has changed, soon, in the background."""
        if isinstance(event, _NEWS):
            self.poke()

    def poke(self) -> None:
        """Have a report made soon, unless one was made lately and nothing has changed."""
        if self._closed:
            return
        self._wakes.put(True)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._closed:
                return
            name = f"pgp-config-uptake-{self._container}"
            arguments = (weakref.ref(self), self._wakes)
            thread = threading.Thread(target=_serve, args=arguments, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter shuts down, or there are too many threads
                return
            self._thread = thread

    # -- one report --------------------------------------------------------------------------

    def attempt(self) -> float | None:
        """Tell the store, if there is something to tell.

        Returns:
            Seconds after which to try again because the store failed; None where nothing is left to tell.
        """
        now = self._clock()
        if self._failures and now < self._retry_at:
            return self._retry_at - now
        entries = self._entries()
        changed = [each for each in entries if self._told.get(each.secret) != each.facts()]
        if not entries or not (changed or now >= self._told_at + UNCHANGED_PAUSE):
            return None
        try:
            with gate.call():
                self._store.report(entries)
        except Exception as fault:  # noqa: BLE001  a store may raise anything; no read is hurt
            return self._fail(now, fault)
        self._succeed(now, entries)
        for each in changed:
            self._tell(TakenUp, each)
        return None

    def _entries(self) -> list[Entry]:
        cache = self._cache()
        uses = [] if cache is None or cache.closed else cache.uses()
        return [self._entry(use) for use in uses if use.version is not None or use.failing]

    def _entry(self, use: SecretUse) -> Entry:
        ttl = max(self._ttl, use.max_stale, STATIC_TTL if use.kind == "static" else 0.0) + LEEWAY
        return Entry(
            service=self._service,
            instance=self.instance,
            secret=use.name,
            kind=use.kind,
            version=use.version,
            in_use=use.in_use,
            refused=use.refused,
            read_ago=use.read_ago,
            confirmed_ago=use.confirmed_ago,
            failing=use.failing,
            ttl=ttl,
        )

    def _tell(self, kind: type[TakenUp], entry: Entry) -> None:
        notify(
            self._observers,
            kind(
                self._container,
                entry.secret,
                service=entry.service,
                instance=entry.instance,
                version=entry.version,
                in_use=entry.in_use,
            ),
        )

    def _succeed(self, now: float, entries: Sequence[Entry]) -> None:
        self._failures, self._told_at = 0, now
        self._told = {each.secret: each.facts() for each in entries}

    def _fail(self, now: float, fault: Exception) -> float:
        pause = pause_after(self._failures, self._chance())
        self._failures += 1
        self._retry_at = now + pause
        if self._failures == 1:
            told = UptakeUnreported(self._container, "*", type(fault).__name__, pause)
            notify(self._observers, told)
        return pause

    # -- the process -------------------------------------------------------------------------

    def close(self) -> None:
        """Say that this process ends, and end the thread; idempotent."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        self._wakes.put(False)
        with self._starting:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSING_PATIENCE)
        self._leave()

    def _leave(self) -> None:
        try:
            if self._told:
                self._store.leave(self.instance, list(self._told))
            self._store.close()
        except Exception as fault:  # noqa: BLE001  as in `attempt`: the entry will expire
            _logger.warning("The uptake store was not told of the end (%s).", type(fault).__name__)

    def renew_after_fork(self) -> None:
        """In a child: a process of its own, which has said nothing yet."""
        self._begin()
        cache = self._cache()
        if cache is not None:
            cache.on_release(self._wakes.put)


def _none() -> None:
    return None


def _serve(reporter: weakref.ref[Reporter], wakes: queue.SimpleQueue[object]) -> None:
    """Report whenever woken; the thread's work."""
    pause = None
    while _is_woken(wakes, pause):
        found = reporter()
        pause = None if found is None else found.attempt()
        del found


def _is_woken(wakes: queue.SimpleQueue[object], pause: float | None) -> bool:
    """Wait to be woken, for a retry or for the end; what has piled up is one report."""
    goes_on = True
    try:
        goes_on = wakes.get(timeout=pause) is not False
        while goes_on:
            goes_on = wakes.get_nowait() is not False
    except queue.Empty:
        pass
    return goes_on


def _closing(reporter: weakref.ref[Reporter]) -> Callable[[], None]:
    def close() -> None:
        found = reporter()
        if found is not None:
            found.close()

    return close
