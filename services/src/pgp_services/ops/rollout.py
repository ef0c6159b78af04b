"""Deploys a service: a revision beside the one that serves, then its callers, then traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgp_services.names import PUBLIC
from pgp_services.ops import access, policies
from pgp_services.ops.access import INVOKER
from pgp_services.ops.failures import OpsError
from pgp_services.ops.manifests import TAG, as_yaml, candidate, revision_of

if TYPE_CHECKING:
    from pgp_services.names import Service
    from pgp_services.ops.desk import Desk


def deployed_services(desk: Desk) -> dict[str, dict[str, Any]]:
    """Cloud Run's services in the region, by name."""
    found = desk.look("run", "services", "list", f"--region={desk.values.region}")
    return {service["metadata"]["name"]: service for service in found}


def deploy_service(desk: Desk, service: Service, *, traffic: bool = True) -> None:
    """Deploy a service as the operator's file says.

    Args:
        desk: Where it is done.
        service: Which.
        traffic: Whether the new revision gets all traffic, once it is ready.

    Raises:
        OpsError: At the first failure; traffic stays where it was.
    """
    name, revision = access.cloud_name(service), revision_of(service, desk.values)
    found = deployed_services(desk).get(name)
    serving = serving_of(found)
    made = _is_made(desk, name, revision)
    if made:
        desk.journal.write("already", f"The revision {revision} is there, and ready")
    else:
        desk.change(
            f"Made the revision {revision}, without traffic"
            if serving
            else f"Made the first revision, {revision}",
            *("run", "services", "replace", "-", f"--region={desk.values.region}"),
            given=as_yaml(candidate(service, desk.values, serving)),
        )
        serving = serving or [(revision, 100)]
    _let_call(desk, service, found)
    if traffic:
        _move(desk, name, revision, serving)
    elif serving != [(revision, 100)]:
        if made:
            _tag(desk, name, revision, found)
        desk.journal.write("note", f"{revision} has no traffic; it is reachable by its tag, {TAG}")


def serving_of(service: dict[str, Any] | None) -> list[tuple[str, int]]:
    """The revisions that have traffic, with their percents."""
    status = (service or {}).get("status", {})
    return [
        (target["revisionName"], int(target["percent"]))
        for target in status.get("traffic", [])
        if target.get("percent")
    ]


def url_of(service: dict[str, Any] | None, tag: str | None = None) -> str | None:
    """Where a service, or its revision of a tag, is reached."""
    status = (service or {}).get("status", {})
    if tag is None:
        return str(status["url"]) if "url" in status else None
    tagged = (each for each in status.get("traffic", []) if each.get("tag") == tag)
    return next((str(each["url"]) for each in tagged if "url" in each), None)


def is_ready(resource: dict[str, Any]) -> bool:
    """Whether Cloud Run says that a service or a revision is ready."""
    conditions = resource.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def revisions_of(desk: Desk, name: str) -> dict[str, dict[str, Any]]:
    """A service's revisions, by name."""
    found = desk.look(
        *("run", "revisions", "list", f"--service={name}", f"--region={desk.values.region}")
    )
    return {revision["metadata"]["name"]: revision for revision in found}


def _is_made(desk: Desk, name: str, revision: str) -> bool:
    found = revisions_of(desk, name).get(revision)
    if found is None:
        return False
    if is_ready(found):
        return True
    where = f"--region={desk.values.region} --project={desk.values.project}"
    raise OpsError(
        f"the revision {revision} was made before and is not ready",
        remedy=f"Its log says why: gcloud run services logs read {name} {where}. Mend that, delete it (gcloud run "
        f"revisions delete {revision} {where}), and run again.",
    )


def _let_call(desk: Desk, service: Service, found: dict[str, Any] | None) -> None:
    """Those who have its URL to call it may do so, and who is named in the operator's file; nobody else."""
    name, where = access.cloud_name(service), f"--region={desk.values.region}"
    policy = desk.look("run", "services", "get-iam-policy", name, where) if found else ()
    has = policies.holders(policy, INVOKER)
    wanted = _callers(desk, service)
    for who in wanted:
        if who in has:
            desk.journal.write("already", f"{who} may call {name}")
            continue
        desk.change(
            f"{who} may call {name}",
            *("run", "services", "add-iam-policy-binding", name, where),
            *(f"--member={who}", f"--role={INVOKER}"),
        )
    for who in sorted(has - set(wanted)):
        desk.journal.write(
            "note", f"{who} may call {name}, and neither the catalogue nor the file says so"
        )


def _callers(desk: Desk, service: Service) -> list[str]:
    project = desk.values.project
    fleet = [access.member(caller, project) for caller in access.callers_of(service)]
    world = ["allUsers"] if service in PUBLIC else []
    return [*fleet, *desk.values.invokers.get(service, []), *world]


def _tag(desk: Desk, name: str, revision: str, found: dict[str, Any] | None) -> None:
    """The tag goes to a revision that was made before; other tags stay."""
    targets = (found or {}).get("status", {}).get("traffic", [])
    if any(each.get("tag") == TAG and each["revisionName"] == revision for each in targets):
        return
    desk.change(
        f"{revision} has the tag {TAG}",
        *("run", "services", "update-traffic", name, f"--region={desk.values.region}"),
        f"--update-tags={TAG}={revision}",
    )


def _move(desk: Desk, name: str, revision: str, serving: list[tuple[str, int]]) -> None:
    if serving == [(revision, 100)]:
        desk.journal.write("already", f"{revision} has all traffic of {name}")
        return
    desk.change(
        f"{revision} has all traffic of {name}",
        *("run", "services", "update-traffic", name, f"--region={desk.values.region}"),
        f"--to-revisions={revision}=100",
    )
