"""Rotates secrets in a running fleet, and has the services work until each has shown the new version in what it does."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pgp_services.catalogue import CATALOGUE
from pgp_services.rotate_all.effects import effects_of
from pgp_services.rotate_all.evidence import failures, uses
from pgp_services.rotate_all.exercises import EXERCISES
from pgp_services.rotate_all.exercises.craft import perform

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pgp_services.names import Service
    from pgp_services.rotate_all.effects import Done, Effects
    from pgp_services.rotate_all.evidence import Use
    from pgp_services.rotate_all.exercises.craft import Exercise
    from pgp_services.stage.local_fleet import LocalFleet

T = TypeVar("T")

#: Seconds in which every service must have used a version.
PATIENCE = 30.0

#: Services that are at work at a time, and seconds between two turns of one.
AT_A_TIME, PAUSE = 4, 0.1


@dataclass(frozen=True, slots=True)
class FirstUse:
    """When a service used a new version of a secret for the first time.

    Attributes:
        secret: Its name.
        service: Which service.
        seconds: From the rotation to the use; None if there was none.
        before: Whether the version before it was seen in use.
    """

    secret: str
    service: Service
    seconds: float | None
    before: bool


class Rotations:
    """The rounds of a run.

    Args:
        fleet: The services, and what they call.
        exercises: What each service is asked.
        patience: Seconds until a service is given up, more than 0.
    """

    def __init__(
        self,
        fleet: LocalFleet,
        exercises: Mapping[Service, Sequence[Exercise]] = EXERCISES,
        patience: float = PATIENCE,
    ) -> None:
        self._fleet = fleet
        self._exercises = exercises
        self._patience = patience
        self._done: dict[Service, list[Done]] = defaultdict(list)

    def rotate(self, names: Collection[str]) -> list[FirstUse]:
        """Rotate secrets at once; when each service that reads them used the new versions.

        Args:
            names: Secrets whose effects do not hide one another.
        """
        olds = {name: (self._fleet.values.newest(name), 0.0) for name in names}
        before = self._first_uses(olds)
        news = {}
        for name in names:
            moment = time.monotonic()
            news[name] = (self._fleet.rotate(name), moment)
        after = self._first_uses(news)
        return [
            FirstUse(
                secret=name,
                service=service,
                seconds=None if use is None else use.at - news[name][1],
                before=before[name, service] is not None,
            )
            for (name, service), use in after.items()
        ]

    def effects(self, service: Service) -> Effects:
        """What a service did so far."""
        return effects_of(service, self._fleet, self._done[service])

    def requests(self, service: Service) -> tuple[int, int]:
        """How many requests a service was sent so far, and how many of them, and of its updates, it failed."""
        return len(self._done[service]), failures(self.effects(service))

    def work(self, service: Service) -> None:
        """Ask a service all that it is asked, once."""
        self._perform(service, self._exercises[service], renewed=False)

    def probe(self, service: Service) -> None:
        """Ask a service with static keys that it does not know, what it is asked with a static key."""
        signed = [exercise for exercise in self._exercises[service] if exercise.signed]
        self._perform(service, signed, renewed=True)

    def takes(self, service: Service, exercise: Exercise) -> bool:
        """Whether a service does what it is asked."""
        done = perform(exercise, service, self._fleet)
        return done is not None and done.status == HTTPStatus.OK

    def _perform(self, service: Service, exercises: Sequence[Exercise], *, renewed: bool) -> None:
        found = [perform(each, service, self._fleet, renewed=renewed) for each in exercises]
        self._done[service] += [done for done in found if done is not None]

    def each(self, act: Callable[[Service], T]) -> dict[Service, T]:
        """Have something done for each service, a few at a time."""
        services = list(self._fleet.services)
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return dict(zip(services, pool.map(act, services), strict=True))

    def _first_uses(
        self, wanted: Mapping[str, tuple[int, float]]
    ) -> dict[tuple[str, Service], Use | None]:
        """When each service first used a version of each secret that it reads; None for those that did not.

        Args:
            wanted: The version of each secret, and from which moment on a use of it counts.
        """
        found: dict[tuple[str, Service], Use | None] = {
            (name, service): None
            for name in wanted
            for service in self._fleet.services
            if service in CATALOGUE[name].readers
        }
        deadline = time.monotonic() + self._patience

        def turn(service: Service) -> None:
            missing = [n for n, s in found if s == service and found[n, s] is None]
            if missing:
                self.work(service)
                effects = self.effects(service)
                for name in missing:
                    found[name, service] = self._first(name, effects, *wanted[name])

        while None in found.values() and time.monotonic() < deadline:
            self.each(turn)
            # Nobody waits for what is to happen later: it is only who is called that matters.
            self._fleet.tasks.run_delayed_now()
            time.sleep(PAUSE)
        return found

    def _first(self, name: str, effects: Effects, version: int, since: float) -> Use | None:
        known = uses(name, effects, self._fleet.values)
        return next((u for u in known if u.version == version and u.at >= since), None)
