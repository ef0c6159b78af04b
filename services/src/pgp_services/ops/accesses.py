"""Whether a log of accesses holds what it may hold: readers of the catalogue, static secrets at start-up only.

`pgp_config.audit` tells a start from a request. What that rests on here: a service has at least two static secrets (checked),
and one process a container loads them: each worker of `pgp-services run` loads for itself, and the manifests give a service
one. With more of them the sets beyond the containers' starts are findings. So is the set of a worker that takes the place
of one that died, if the log tells of starts; the runbook of the incident tells it from a read during a request.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.audit import Finding, shown_time, static_reads
from pgp_services import catalogue
from pgp_services.names import Service
from pgp_services.ops import access

if TYPE_CHECKING:
    from collections.abc import Collection

    from pgp_config.audit import Access, Excess, Export, Start

_INCIDENT = "docs/runbooks/: static secret read during a request"


@dataclass(frozen=True, slots=True)
class Reading:
    """What an export comes to.

    Attributes:
        findings: What may not be.
        starts: Starts that were found, by service.
    """

    findings: list[Finding]
    starts: dict[Service, int]


def judge(
    export: Export,
    project: str,
    services: Collection[Service],
    operators: Collection[str] = (),
    *,
    deployed: Collection[Service] = (),
) -> Reading:
    """Judge the accesses of the services' secrets.

    Args:
        export: The log.
        project: The project's id, for the accounts' addresses.
        services: Which services are looked at; accesses by strangers are findings for all secrets of theirs.
        operators: Addresses, in small letters, of people and accounts that may read secrets too; none of them a static one by taking on
            a service's identity.
        deployed: Services that run: a log without any access by one of them proves nothing, and is a finding.
    """
    accounts = {access.account_of(service, project): service for service in Service}
    watched = {row.name for service in services for row in catalogue.secrets_of(service)}
    findings = _without_evidence(export, {access.account_of(each, project) for each in deployed})
    static: dict[Service, list[Access]] = defaultdict(list)
    for each in export.accesses:
        service = accounts.get(each.principal)
        if each.secret not in watched or (service is not None and service not in services):
            continue
        found = _stranger(each, service, operators)
        if found is not None:
            findings.append(found)
        elif service is not None and _is_static(each.secret) and each.behind is None:
            static[service].append(each)
    starts: dict[Service, int] = {}
    for service in services:
        known = [start for start in export.starts if start.service == access.cloud_name(service)]
        # By the export and not by the service: a quiet service has no start in it, and no read either.
        started = known if export.starts else None
        starts[service], beyond = _of_requests(service, static[service], started)
        findings += beyond
    return Reading(sorted(findings), starts)


def _without_evidence(export: Export, accounts: set[str]) -> list[Finding]:
    """A finding where services are deployed and the log has no access by any of them."""
    if not accounts or any(each.principal in accounts for each in export.accesses):
        return []
    text = "it has no access by any deployed service, so nothing can be told from it"
    remedy = "Is DATA_READ on (pgp-services ops deploy base)? Take a longer --freshness, or another export."
    return [Finding("the audit log", "no-evidence", text, remedy)]


def _is_static(secret: str) -> bool:
    return catalogue.CATALOGUE[secret].reload_class == "static"


def _stranger(each: Access, service: Service | None, operators: Collection[str]) -> Finding | None:
    """Whether an access was by somebody who has no business with the secret."""
    who = each.principal or "an unknown principal"
    remedy = "Find out who it was; pgp-services ops deploy base --prune ends their access."
    if service is None:
        if each.principal.lower() in operators:
            return None
        return _finding(each, "stranger", f"{who} {_verb(each)}", remedy)
    if service not in catalogue.CATALOGUE[each.secret].readers:
        return _finding(each, "not-allowed", f"{service} {_verb(each)}", remedy)
    if each.behind is not None and (
        _is_static(each.secret) or each.behind.lower() not in operators
    ):
        return _finding(
            each, "impersonated", f"{each.behind}, as {service}, {_verb(each)}", remedy
        )
    if not each.allowed:
        return _finding(
            each, "denied", f"{service} was denied it", "Run: pgp-services ops deploy base."
        )
    return None


def _verb(each: Access) -> str:
    return "read it" if each.allowed else "was denied it"


def _finding(each: Access, rule: str, text: str, remedy: str) -> Finding:
    return Finding(each.secret, rule, f"{text} at {shown_time(each.at)}", remedy)


# -- static secrets ----------------------------------------------------------------------------


def _of_requests(
    service: Service, accesses: list[Access], starts: list[Start] | None
) -> tuple[int, list[Finding]]:
    """How often a service started, and the accesses that belong to no start.

    Args:
        service: Whose accesses they are.
        accesses: Of static secrets, in the order of time.
        starts: Of its containers; None for an export without Cloud Run's lines.
    """
    rows = catalogue.secrets_of(service)
    names = [row.name for row in rows if row.reload_class == "static"]
    sets, beyond = static_reads(accesses, names, starts)
    return sets, [_beyond(service, each) for each in beyond]


def _beyond(service: Service, excess: Excess) -> Finding:
    """A secret that was read more often than containers started."""
    text = f"{service} read this static secret {excess.told}"
    return _finding(excess.last, "static-read", text, f"An incident: {_INCIDENT}.")
