"""What has to hold before a wave, and before the security-critical services, are deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.audit import FILTER, Finding, Names, audit_sources, export_of, read_export
from pgp_services.catalogue import CATALOGUE, CRITICAL
from pgp_services.names import Service
from pgp_services.ops import access, pilot, waves
from pgp_services.ops.accesses import judge
from pgp_services.ops.failures import OpsError, RefusedError
from pgp_services.ops.manifests import revision_of
from pgp_services.ops.rollout import deploy_service, deployed_services, serving_of
from pgp_services.ops.secret_state import verify_secrets

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from pgp_config.audit import Export
    from pgp_services.ops.accesses import Reading
    from pgp_services.ops.desk import Desk
    from pgp_services.ops.waves import Plan

#: Findings that a refusal names; the commands of their own show all.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gates go by.

    Attributes:
        sources: Folders whose Python has to pass the audit.
        record: The file with the pilot's verdict.
        audit_log: An export of the audit log; None for reading it with gcloud.
        freshness: How far back gcloud reads, such as `1d`.
        soak: Whether a wave's days must have passed.
    """

    sources: Sequence[Path]
    record: Path
    audit_log: Path | None = None
    freshness: str = "1d"
    soak: bool = True


def fleet_names(hosts: Sequence[str] = ("*.run.app",)) -> Names:
    """The catalogue's names, as an audit takes them."""
    rows = CATALOGUE.values()
    return Names(
        dynamic=frozenset(row.name for row in rows if row.reload_class == "dynamic"),
        static=frozenset(row.name for row in rows if row.reload_class == "static"),
        confidential=frozenset(row.name for row in rows if row.kind == "secret"),
        hosts=tuple(hosts),
        strict=True,
    )


#: The rule of a folder in which there is nothing to audit: that is no pass.
NOTHING = "nothing-audited"


def audited(paths: Sequence[Path], names: Names) -> list[Finding]:
    """What is amiss in the sources of services; also that there are none."""
    found = audit_sources(paths, names)
    empty = (
        Finding(path, NOTHING, "0 files audited", "Name folders with Python files.")
        for path in found.empty
    )
    return sorted([*empty, *found.findings], key=lambda each: (each.where, each.line, each.rule))


def export_for(desk: Desk, audit_log: Path | None, freshness: str) -> Export:
    """The audit log: of a file, or read with gcloud.

    Raises:
        OpsError: If it cannot be read.
    """
    if audit_log is None:
        words = ("logging", "read", FILTER, f"--freshness={freshness}", "--order=asc")
        return _faultless(export_of(desk.look(*words)))
    try:
        with audit_log.open("rb") as stream:
            return _faultless(read_export(stream))
    except OSError as fault:
        raise OpsError(
            f"{audit_log} cannot be read ({type(fault).__name__})", remedy="Name another file."
        ) from None


def _faultless(export: Export) -> Export:
    """The export, if all of it could be read: a gate is not opened by half a log."""
    for fault in export.faults:
        raise OpsError(
            f"the export of the audit log cannot be read: entry {fault.number}: {fault.why}",
            remedy="Make it with gcloud logging read … --format=json, or as JSON lines of a sink.",
        )
    return export


def judged(desk: Desk, export: Export, services: Collection[Service]) -> Reading:
    """What an export comes to, by the operator's file and by what is deployed.

    Raises:
        OpsError: If a look fails.
    """
    there = deployed_services(desk)
    deployed = [service for service in Service if access.cloud_name(service) in there]
    values = desk.values
    return judge(export, values.project, services, values.operator_addresses, deployed=deployed)


def refuse_findings(what: str, findings: Sequence[Finding]) -> None:
    """Close a gate where something was found.

    Raises:
        RefusedError: If there are findings; the first of them are named.
    """
    if findings:
        told = " ".join(f"[{number}] {each}" for number, each in enumerate(findings[:_SHOWN], 1))
        raise RefusedError(
            f"{what} has {len(findings)} findings", remedy=f"Mend them and run again: {told}"
        )


def require_secure(desk: Desk, evidence: Evidence) -> None:
    """See that the sources pass the audit, and that the pilot has passed its test.

    Raises:
        RefusedError: If not.
    """
    refuse_findings("the audit of the sources", audited(evidence.sources, fleet_names()))
    desk.journal.write("passed", "The sources pass the audit")
    pilot.require_passed(desk, evidence.record)


def require_verified(desk: Desk, evidence: Evidence, services: Collection[Service]) -> None:
    """See that services' secrets, and the accesses of them, are as they have to be.

    Raises:
        RefusedError: If not.
    """
    refuse_findings("the verification of the secrets", verify_secrets(desk, services))
    export = export_for(desk, evidence.audit_log, evidence.freshness)
    reading = judged(desk, export, services)
    refuse_findings("the audit log", reading.findings)


def deploy_critical(desk: Desk, plan: Plan, evidence: Evidence, *, traffic: bool = True) -> None:
    """Deploy the security-critical services, in the order of the plan.

    Raises:
        RefusedError: If the audit or the pilot's test has not passed.
        OpsError: At the first failure.
    """
    require_secure(desk, evidence)
    for service in (each for wave in plan.waves for each in wave.services):
        if service in CRITICAL:
            deploy_service(desk, service, traffic=traffic)


def deploy_wave(desk: Desk, plan: Plan, number: int, evidence: Evidence) -> None:
    """Deploy a wave, if the one before it serves well.

    Raises:
        RefusedError: If a gate is closed.
        OpsError: At the first failure.
    """
    wave = plan.wave(number)
    if number > 1:
        before = plan.wave(number - 1)
        waves.gate(desk, before, soak=evidence.soak)
        require_verified(desk, evidence, before.services)
        pilot.require_passed(desk, evidence.record)
    if set(wave.services) & set(CRITICAL):
        require_secure(desk, evidence)
    desk.journal.write("note", f"Wave {number}: {wave.why}")
    for service in wave.services:
        deploy_service(desk, service)


def deploy_all(desk: Desk, plan: Plan, evidence: Evidence) -> None:
    """Deploy wave after wave, as far as the gates let pass; what is deployed already stays.

    Raises:
        RefusedError: At the first gate that is closed; run again when it opens.
        OpsError: At the first failure.
    """
    for number in range(1, len(plan.waves) + 1):
        deploy_wave(desk, plan, number, evidence)


def redeploy(desk: Desk, plan: Plan, evidence: Evidence) -> None:
    """Deploy every service anew, in the order of the waves, once the rollout is over: no wave soaks.

    What goes everywhere at once has been tested: the pilot serves with this very file, and has passed.

    Raises:
        RefusedError: If a service was never deployed, or the audit or the pilot's test has not passed.
        OpsError: At the first failure.
    """
    require_secure(desk, evidence)
    _require_rolled_out(desk, plan)
    for service in (each for wave in plan.waves for each in wave.services):
        deploy_service(desk, service)


def _require_rolled_out(desk: Desk, plan: Plan) -> None:
    found = deployed_services(desk)
    if desk.offline:
        return
    planned = [each for wave in plan.waves for each in wave.services]
    missing = [each for each in planned if access.cloud_name(each) not in found]
    if missing:
        raise RefusedError(
            f"the rollout is not over: {', '.join(missing)} were never deployed",
            remedy="Go on with it: pgp-services ops deploy wave --all.",
        )
    wanted = revision_of(waves.PILOT, desk.values)
    if serving_of(found[access.cloud_name(waves.PILOT)]) != [(wanted, 100)]:
        raise RefusedError(
            "the pilot does not serve with this file",
            remedy="Run first: pgp-services ops deploy pilot, and pgp-services ops test pilot.",
        )
