"""Who may do what, by the catalogue: accounts, readers, senders, callers; the least of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services import catalogue
from pgp_services.names import LEDGER_QUEUE, Service

if TYPE_CHECKING:
    from pgp_services.catalogue import Row

READER = "roles/secretmanager.secretAccessor"
ENQUEUER = "roles/cloudtasks.enqueuer"
ACTOR = "roles/iam.serviceAccountUser"
INVOKER = "roles/run.invoker"

#: What the collector beside a service writes with; the one role over the whole project.
METRIC_WRITER = "roles/monitoring.metricWriter"

#: URLs whose name says another word than the service's.
_CALLED_OTHERWISE = {"PGP_NOTIFICATION_URL": Service.NOTIFICATIONS}

#: URLs that are shown to people, and called by none of those who read them: WEBAPI says in its configuration where SERVER is.
_SHOWN_ONLY = frozenset({"PGP_SERVER_URL"})


def cloud_name(service: Service) -> str:
    """A service's name in Cloud Run, and its account's id: small letters, digits and hyphens."""
    return service.lower().replace("_", "-")


def account_of(service: Service, project: str) -> str:
    """The e-mail address of a service's account.

    Args:
        service: Whose.
        project: The project's id; one with a domain, `example.com:pgp`, is turned round as Google does it.
    """
    domain, _, name = project.rpartition(":")
    return f"{cloud_name(service)}@{name}{f'.{domain}' if domain else ''}.iam.gserviceaccount.com"


def member(service: Service, project: str) -> str:
    """A service's account as policies name it."""
    return f"serviceAccount:{account_of(service, project)}"


def called_by(url: Row[object]) -> Service | None:
    """The service whose base a secret holds; None for one outside of the fleet."""
    if url.category != "service url":
        return None
    short = url.name.removeprefix("PGP_").removesuffix("_URL")
    named = (service for service in Service if service.short == short)
    return _CALLED_OTHERWISE.get(url.name) or next(named, None)


def callers_of(service: Service) -> list[Service]:
    """The services that call a service's URL, for they have it; itself, where it sends itself tasks."""
    readers = {
        reader
        for row in catalogue.CATALOGUE.values()
        if called_by(row) == service and row.name not in _SHOWN_ONLY
        for reader in row.readers
    }
    return [each for each in Service if each in readers]


def queues_of(service: Service) -> list[str]:
    """The secrets that name the queues into which a service puts tasks."""
    return [row.name for row in catalogue.secrets_of(service) if row.kind == "queue id"]


def without_tasks_secrets(service: Service) -> bool:
    """Whether a service creates tasks, and has project and region from its settings."""
    names = {row.name for row in catalogue.secrets_of(service)}
    return bool(queues_of(service)) and "CLOUD_TASKS_PROJECT_ID" not in names


def bindings_of(service: Service) -> dict[str, list[str]]:
    """What a service's account may do, by names of the catalogue and of the fleet; for a file."""
    calls = [target for target in Service if service in callers_of(target)]
    return {
        READER: [row.name for row in catalogue.secrets_of(service)],
        ENQUEUER: [*queues_of(service), *([LEDGER_QUEUE] if service is Service.HOSTPAY3 else [])],
        INVOKER: [cloud_name(target) for target in calls],
        # Cloud Tasks signs with the account that the creator of a task names: each service its own.
        ACTOR: [cloud_name(service)] if queues_of(service) else [],
    }
