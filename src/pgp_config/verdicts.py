"""What the other side said of each version of a secret, shared by all requests of a process.

Decisions of `rotation_retry`: plain synchronous functions under one lock that never wait. Terms:

- A version *stands refused* from a refusal until it is accepted. Until its pause is over nobody tries
  it; then one request at a time does, as a *probe*.
- The *favourite* is an older version that was accepted while the newest stood refused: for a while
  requests start with it.
- A *search* is one request that asks the source for another version; the others wait for its news.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future
from math import inf
from typing import TYPE_CHECKING

from pgp_config.events import PreviousVersionUsed, VersionRefused, notify
from pgp_config.forking import gate
from pgp_config.pauses import pause_after

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pgp_config.events import Event, Observer

#: Seconds between two looks at the source: from, up to; half of it by chance.
SHORTEST_LOOK, LONGEST_LOOK = 0.25, 8.0

#: Seconds for which requests start with an older version, from when it was last shown that they must.
FAVOURED = 120.0

#: Seconds after which a search or a probe whose request has hung is another's.
CLAIM = 30.0

#: Versions of which verdicts are kept.
REMEMBERED = 8


class _Said:
    """What was said of one version; moments in monotonic seconds."""

    __slots__ = ("accepted_at", "again_at", "refusals", "refused_at")

    def __init__(self) -> None:
        self.refused_at = self.accepted_at = self.again_at = -inf
        self.refusals = 0


class _Claim:
    """What one request at a time does."""

    __slots__ = ("owner", "until")

    def __init__(self) -> None:
        self.owner: object = None
        self.until = -inf

    def take(self, owner: object, now: float) -> bool:
        if self.owner not in (None, owner) and now < self.until:
            return False
        self.owner, self.until = owner, now + CLAIM
        return True

    def drop(self, owner: object) -> bool:
        if self.owner is not owner:
            return False
        self.owner = None
        return True


class Verdicts:
    """What the other side said of each version of one secret.

    Args:
        container: The container's name, for events.
        secret: The secret's name.
        observers: Told of every event.
        clock: Monotonic seconds; tests give their own.
        chance: A number from 0 to 1 for jitter; tests give their own.
    """

    def __init__(
        self,
        container: str = "",
        secret: str = "",
        *,
        observers: Collection[Observer] = (),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.container = container
        self.secret = secret
        self.clock = clock
        self._observers = observers  # the cache's own list: it may grow
        self._chance = chance
        self._said: dict[int, _Said] = {}
        self._favourite: int | None = None
        self._favoured_until = -inf
        self._looks = 0
        self._look_at = -inf
        self.renew_after_fork()
        gate.register(self)

    def __repr__(self) -> str:
        return f"<Verdicts on {len(self._said)} versions of {self.secret}>"

    def renew_after_fork(self) -> None:
        """In a child: verdicts stay; the parent's lock, search and probe do not come along."""
        self._lock = threading.RLock()
        self._search = _Claim()
        self._probe = _Claim()
        self._news = _unheard()

    def news(self) -> Future[None]:
        """Done as soon as anything is known that is not known now; take it before you decide."""
        return self._news

    def favourite(self) -> int | None:
        """The older version that requests start with for now, if there is one."""
        with self._lock:
            return self._favourite if self.clock() < self._favoured_until else None

    # -- what to try -------------------------------------------------------------------------

    def is_refused(self, number: int) -> bool:
        """Whether a version stands refused."""
        said = self._said.get(number)
        return said is not None and said.refusals > 0

    def choose(
        self, asker: object, newest: int, tried: Collection[int], *, favours: bool = True
    ) -> int | None:
        """The version that a request is to try now, as far as is known; None if there is none.

        Args:
            asker: The request.
            newest: The newest version that it sees.
            tried: Versions that it has tried.
            favours: Whether an older version will do.
        """
        with self._lock:
            now = self.clock()
            if newest not in tried and self._is_due(asker, newest, now):
                return newest
            favourite = self._favourite if favours and now < self._favoured_until else None
            return None if favourite in tried else favourite

    def _is_due(self, asker: object, number: int, now: float) -> bool:
        said = self._said.get(number)
        if said is None or said.refusals == 0:
            return True
        return now >= said.again_at and self._probe.take(asker, now)

    def due_in(self, number: int) -> float:
        """Seconds until the pause of a refused version is over; infinite where that is not waited for."""
        said = self._said.get(number)
        left = 0.0 if said is None or said.refusals == 0 else said.again_at - self.clock()
        return left if left > 0 else inf

    # -- who looks further -------------------------------------------------------------------

    def lead(self, asker: object, left: float) -> float | None:
        """Seconds until this request may look at the source; None if another one does, to be waited for.

        The search becomes its own, unless there is nothing that it could still do.

        Args:
            asker: The request.
            left: Seconds that it has left.
        """
        with self._lock:
            now = self.clock()
            if self._search.owner not in (None, asker) and now < self._search.until:
                return None
            pause = max(0.0, self._look_at - now)
            if pause < left:
                self._search.take(asker, now)
            return pause

    def note_look(self) -> None:
        """Somebody asks the source: the next look follows after a growing, jittered pause."""
        with self._lock:
            full = min(LONGEST_LOOK, SHORTEST_LOOK * 2.0**self._looks)
            self._looks = min(
                self._looks + 1, 16
            )  # 2**16 quarter seconds are more than the longest
            self._look_at = self.clock() + full * (0.5 + 0.5 * self._chance())

    def release(self, asker: object) -> None:
        """A request is over, however it ended: what it was about to find out is another's to do."""
        with self._lock:
            told = [self._probe.drop(asker), self._search.drop(asker)]
            news = self._spread() if any(told) else None
        if news is not None:
            news.set_result(None)

    # -- what was said -----------------------------------------------------------------------

    def refused(self, asker: object, number: int, began: float, *, rests: bool = True) -> None:
        """The other side refused a version.

        Args:
            asker: The request.
            number: The version.
            began: Monotonic seconds at which that attempt began. One that began before the last refusal,
                or before the version was accepted, says nothing new.
            rests: Whether calls such as this one leave it alone for a pause.
        """
        event = news = None
        with self._lock:
            if self._probe.drop(asker):
                news = self._spread()
            said = self._said_of(number)
            if began > said.refused_at and began >= said.accepted_at:
                pause = self._note_refusal(said, number)
                event = VersionRefused(self.container, self.secret, number, pause, rests)
        if news is not None:
            news.set_result(None)
        if event is not None:
            notify(self._observers, event)

    def _note_refusal(self, said: _Said, number: int) -> float:
        now = self.clock()
        pause = pause_after(said.refusals, self._chance())
        if said.refusals == 0 and number == max(self._said):
            self._looks, self._look_at = 0, -inf  # there may be a newer one at once
        said.refusals += 1
        said.refused_at, said.again_at = now, now + pause
        if self._favourite == number:
            self._favourite = None
        return pause

    def accepted(self, asker: object, number: int, began: float, refused: Collection[int]) -> None:
        """The other side accepted a version.

        Args:
            asker: The request, which is over with that.
            number: The version.
            began: Monotonic seconds at which that attempt began. One that began before the version was
                refused does not clear it.
            refused: Versions that this very request was refused before.
        """
        event = news = None
        with self._lock:
            said = self._said_of(number)
            changed = said.refusals > 0 and began >= said.refused_at
            if changed or said.refusals == 0:
                said.accepted_at, said.refusals, said.again_at = self.clock(), 0, -inf
            newest = max(refused, default=number)
            if self._favourite is not None and number > self._favourite:
                self._favourite, changed = None, True
            if newest > number:
                event, changed = self._favour(number, newest), True
            told = [self._probe.drop(asker), self._search.drop(asker), changed]
            news = self._spread() if any(told) else None
        if news is not None:
            news.set_result(None)
        if event is not None:
            notify(self._observers, event)

    def _favour(self, number: int, newest: int) -> Event:
        self._favourite, self._favoured_until = number, self.clock() + FAVOURED
        return PreviousVersionUsed(self.container, self.secret, number, newest)

    def _said_of(self, number: int) -> _Said:
        said = self._said.get(number)
        if said is None:
            said = self._said[number] = _Said()
            for forgotten in sorted(self._said)[:-REMEMBERED]:
                del self._said[forgotten]
        return said

    def _spread(self) -> Future[None]:
        """The news that are told now, outside of the lock: those who hear them run code of their own."""
        told, self._news = self._news, _unheard()
        return told


def _unheard() -> Future[None]:
    news: Future[None] = Future()
    # A running future cannot be cancelled: one waiter's cancellation leaves the others alone.
    news.set_running_or_notify_cancel()
    return news
