"""The rollout in waves: which services in which week, and what has to hold before a wave begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic import model_validator as validator

from pgp_services.catalogue import CRITICAL
from pgp_services.names import Service
from pgp_services.ops import access
from pgp_services.ops.failures import OpsError, RefusedError
from pgp_services.ops.rollout import deployed_services, is_ready, revisions_of, serving_of

if TYPE_CHECKING:
    from pathlib import Path

    from pgp_services.ops.desk import Desk

PILOT = Service.SPLIT2


class Wave(BaseModel):
    """Services that are deployed together.

    Attributes:
        week: Its number, from 1.
        why: What they have in common.
        services: Which, in the order in which they are deployed.
        soak_days: Days for which they serve before the next wave begins.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    week: Annotated[int, Field(ge=1)]
    why: str
    services: Annotated[list[Service], Field(min_length=1)]
    soak_days: Annotated[int, Field(ge=0)] = 5


class Plan(BaseModel):
    """All waves, in order.

    Attributes:
        waves: Each service in one of them: the pilot in the first, alone; the security-critical ones in
            a wave of their own, in the second half.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    waves: list[Wave]

    @validator(mode="after")
    def _sound(self) -> Self:
        faults = list(_faults_of(self.waves))
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def wave(self, number: int) -> Wave:
        """A wave by its number.

        Raises:
            OpsError: If there is none.
        """
        if not 1 <= number <= len(self.waves):
            raise OpsError(
                f"there is no wave {number}", remedy=f"There are waves 1 to {len(self.waves)}."
            )
        return self.waves[number - 1]


def _faults_of(waves: list[Wave]) -> list[str]:
    planned = [service for wave in waves for service in wave.services]
    missing = [each for each in Service if each not in planned]
    twice = sorted({each for each in planned if planned.count(each) > 1})
    faults = [f"{each} is in no wave" for each in missing]
    faults += [f"{each} is in several waves" for each in twice]
    if [wave.week for wave in waves] != list(range(1, len(waves) + 1)):
        faults.append("the weeks are not 1, 2, 3 and so on")
    if not waves or waves[0].services != [PILOT]:
        faults.append(f"the first wave is not {PILOT} alone")
    critical = [n for n, wave in enumerate(waves) if set(wave.services) & set(CRITICAL)]
    if len(critical) != 1 or set(waves[critical[0]].services) != set(CRITICAL):
        faults.append("the security-critical services have no wave of their own")
    elif critical[0] < len(waves) // 2:
        faults.append("the security-critical services are in the first half")
    return faults


#: Five weeks. Who is called is deployed before who calls, where a wave has both.
DEFAULT = Plan(
    waves=[
        Wave(
            week=1,
            why="The pilot alone: estimates, and no money moves.",
            services=[PILOT],
            soak_days=7,
        ),
        Wave(
            week=2,
            why="What tells people something: no money, no tasks.",
            services=[
                Service.WEB,
                Service.NOTIFICATIONS,
                Service.BROADCAST,
                Service.INVITE,
                Service.WEBAPI,
            ],
        ),
        Wave(
            week=3,
            why="What collects and estimates: a failure delays a payout, and Cloud Tasks repeats it.",
            services=[
                Service.SPLIT1,
                Service.ACCUMULATOR,
                Service.BATCHPROCESSOR,
                Service.MICROBATCHPROCESSOR,
                Service.HOSTPAY2,
            ],
        ),
        Wave(
            week=4,
            why="The security-critical four: each holds the key that it is critical for.",
            services=[
                Service.HOSTPAY3,
                Service.HOSTPAY1,
                Service.ORCHESTRATOR,
                Service.SERVER,
            ],
            soak_days=7,
        ),
        Wave(
            week=5,
            why="The doors that hand work to them.",
            services=[Service.BOTCOMMAND, Service.NP_IPN],
        ),
    ]
)


def plan_from(path: Path | None) -> Plan:
    """The waves of a file; the fleet's own without one.

    Raises:
        OpsError: If it cannot be read, or does not hold what a plan must.
    """
    if path is None:
        return DEFAULT
    try:
        return Plan.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        told = f"cannot be read ({type(fault).__name__})"
    except ValidationError as fault:
        told = "; ".join(error["msg"] for error in fault.errors(include_input=False))
    raise OpsError(f"the wave file {path} is no plan: {told}", remedy="deploy/waves.yaml is one.")


def gate(desk: Desk, wave: Wave, *, now: datetime | None = None, soak: bool = True) -> None:
    """See that a wave has served well: each service ready, one revision with all traffic, for its days.

    Args:
        desk: Where it is looked.
        wave: The wave before the one that is about to begin.
        now: The time; the clock's by default.
        soak: Whether its days must have passed.

    Raises:
        RefusedError: With everything that is amiss.
    """
    found = deployed_services(desk)
    if desk.offline:
        return
    now = now or datetime.now(UTC)
    days = wave.soak_days if soak else 0
    faults = [fault for each in wave.services for fault in _amiss(desk, each, found, now, days)]
    if faults:
        raise RefusedError(
            f"wave {wave.week} does not let the next one begin: {'; '.join(faults)}",
            remedy="Deploy what is missing, wait for its days, or say --no-soak and why in your log.",
        )
    desk.journal.write("passed", f"Wave {wave.week} serves: {', '.join(wave.services)}")


def _amiss(
    desk: Desk, service: Service, found: dict[str, dict[str, Any]], now: datetime, days: int
) -> list[str]:
    name = access.cloud_name(service)
    if name not in found:
        return [f"{name} is not deployed"]
    serving = serving_of(found[name])
    if not is_ready(found[name]) or len(serving) != 1:
        return [f"{name} is not ready, or several revisions share its traffic"]
    revision = revisions_of(desk, name).get(serving[0][0])
    if revision is None or not is_ready(revision):
        return [f"{serving[0][0]} is not ready"]
    left = (
        datetime.fromisoformat(revision["metadata"]["creationTimestamp"]) + timedelta(days) - now
    )
    if left > timedelta():
        return [f"{serving[0][0]} has {-(-left // timedelta(days=1))} of its {days} days to go"]
    return []
