"""One run: the fleet is started, its secrets are rotated in rounds, and what was seen is gathered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgp_services.catalogue import CATALOGUE
from pgp_services.rotate_all import statics
from pgp_services.rotate_all.exercises import EXERCISES
from pgp_services.rotate_all.report import Facts
from pgp_services.rotate_all.rounds import Rotations
from pgp_services.stage.local_fleet import LocalFleet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pgp_services.names import Service
    from pgp_services.rotate_all.rounds import FirstUse
    from pgp_services.rotate_all.statics import Kept

#: Seconds after which a new version is seen at the latest, and for which an outage is bridged: the last round is
#: one, so that every service fails.
MAX_AGE, MAX_STALE = 1.0, 3.0

#: The common settings. The first is rotated alone: only with the lines that it brings does the second show. The
#: third shows in failures only.
LEVEL, LABEL, ALERTING = COMMON = ("LOG_LEVEL", "SERVICE_ENVIRONMENT", "ALERTING_ENABLED")


def run(
    services: Collection[Service], names: Collection[str], tell: Callable[[str], object]
) -> Facts:
    """Rotate secrets in a fleet.

    Args:
        services: Who runs.
        names: The secrets that are rotated; static ones among them.
        tell: Told of what is being done.

    Raises:
        StageFailed: If a service does not start.
    """
    began = time.monotonic()
    with LocalFleet(
        services,
        max_age=MAX_AGE,
        hosts="noted",
        first={} if LEVEL in names else {LEVEL: "INFO"},
        more={"PGP_CONFIG_MAX_STALE": str(MAX_STALE)},
    ) as fleet:
        tell(f"All are ready after {fleet.started_in:.1f} s")
        return Run(fleet, names, tell).facts(began)


class Run:
    """The rounds, and what was seen in them.

    Args:
        fleet: It runs.
        names: As for `run`.
        tell: As for `run`.
    """

    def __init__(
        self, fleet: LocalFleet, names: Collection[str], tell: Callable[[str], object]
    ) -> None:
        self._fleet = fleet
        self._tell = tell
        self._rotations = Rotations(fleet)
        readable = [n for n in names if CATALOGUE[n].readers & set(fleet.services)]
        self._static = [n for n in readable if CATALOGUE[n].reload_class == "static"]
        self._dynamic = [n for n in readable if n not in self._static]

    def facts(self, began: float) -> Facts:
        """Rotate everything.

        Args:
            began: When the whole began, in monotonic seconds.
        """
        processes = self._fleet.process_ids()
        self._fleet.manager.calls.reset()
        uses = [*self._round([LEVEL])]
        for name in self._static:
            self._fleet.rotate(name)
        if self._static:
            self._tell(f"{len(self._static)} static secrets are rotated in the source")
        uses += self._round([n for n in self._dynamic if n not in (LEVEL, ALERTING)])
        kept, overlaps = list(self._kept()), self._overlaps()
        requests = {service: self._rotations.requests(service) for service in processes}
        uses += self._outage() if ALERTING in self._dynamic else []
        return Facts(
            uses=uses,
            kept=kept,
            overlaps=overlaps,
            requests=requests,
            restarts=self._restarts(processes),
            static_fetches={service: self._static_fetches(service) for service in processes},
            started_in=self._fleet.started_in,
            seconds=time.monotonic() - began,
        )

    def _round(self, names: Collection[str]) -> list[FirstUse]:
        rotated = [name for name in names if name in self._dynamic]
        if not rotated:
            return []
        began = time.monotonic()
        what = rotated[0] if len(rotated) == 1 else f"{len(rotated)} dynamic secrets"
        self._tell(f"Rotating {what}")
        uses = self._rotations.rotate(rotated)
        self._tell(f"  … seen in use after {time.monotonic() - began:.1f} s")
        return uses

    def _outage(self) -> list[FirstUse]:
        """ALERTING_ENABLED, while the source refuses all that is no common setting."""
        self._tell(
            "Secret Manager refuses all but the common settings, so that every service fails"
        )
        for row in CATALOGUE.values():
            if row.reload_class == "dynamic" and row.name not in COMMON:
                self._fleet.manager.deny(row.name)
        return self._round([ALERTING])

    # -- static secrets ----------------------------------------------------------------------

    def _kept(self) -> Iterator[Kept]:
        """How the services work on after the rotation, and what they say to a new key."""
        since = time.monotonic()
        if self._static:
            self._rotations.each(self._rotations.work)
            self._rotations.each(self._rotations.probe)
        ready = self._rotations.each(self._fleet.versions)
        for name in self._static:
            for service in self._fleet.services:
                if service in CATALOGUE[name].readers:
                    yield statics.kept(
                        name,
                        service,
                        self._rotations.effects(service),
                        self._fleet.values,
                        since=since,
                        ready=ready[service].get(name, 0),
                    )

    def _overlaps(self) -> Mapping[tuple[str, Service], bool]:
        """Whether the version before the newest is taken too, where it is to be."""
        return {
            (exercise.proof, service): self._rotations.takes(service, exercise)
            for service in self._fleet.services
            for exercise in EXERCISES[service]
            if exercise.back and exercise.proof in self._dynamic
        }

    # -- what must not have happened ---------------------------------------------------------

    def _restarts(self, before: Mapping[Service, frozenset[int]]) -> dict[Service, int]:
        after = self._fleet.process_ids()
        return {service: len(known ^ after[service]) for service, known in before.items()}

    def _static_fetches(self, service: Service) -> int:
        asked = self._fleet.manager.calls.by_secret(caller=service)
        return sum(
            number
            for name, number in asked.items()
            if name in CATALOGUE and CATALOGUE[name].reload_class == "static"
        )
