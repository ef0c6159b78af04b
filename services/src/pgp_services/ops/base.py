"""`deploy base`: what all services stand on; each step looks first, and adds what is missing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgp_services import catalogue
from pgp_services.names import LEDGER_QUEUE, Service
from pgp_services.ops import access, policies
from pgp_services.ops.access import ACTOR, ENQUEUER, METRIC_WRITER, READER
from pgp_services.ops.monitoring import COLLECTOR_SECRET, collector_yaml
from pgp_services.ops.values import queue_secrets

if TYPE_CHECKING:
    from collections.abc import Collection

    from pgp_services.catalogue import Row
    from pgp_services.ops.desk import Desk

#: The APIs that the fleet calls, or is deployed with.
APIS = (
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudtasks.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
)

#: What a network needs besides.
_NETWORK_API = "compute.googleapis.com"

#: How tasks are delivered. The retries of a service's own clients end within seconds; these last for the
#: 24 hours that a token is valid. gcloud's flags, and the fields that Cloud Tasks keeps them in.
_RETRIES = {
    "--max-attempts": ("retryConfig", "maxAttempts", "100"),
    "--max-retry-duration": ("retryConfig", "maxRetryDuration", "86400s"),
    "--min-backoff": ("retryConfig", "minBackoff", "5s"),
    "--max-backoff": ("retryConfig", "maxBackoff", "600s"),
}

#: What a nonce rests on: one payment after the other.
_ONE_AT_A_TIME = {"--max-concurrent-dispatches": ("rateLimits", "maxConcurrentDispatches", "1")}

#: The queue of the service that signs payments.
PAYING_QUEUE = "PGP_HOSTPAY3_QUEUE"


@dataclass(frozen=True, slots=True)
class _Queue:
    """A queue, and who puts tasks into it."""

    senders: frozenset[Service]
    one_at_a_time: bool


#: Roles over a whole project that no service needs: with them it reads, or lets itself read, every secret.
_TOO_MUCH = frozenset({READER, "roles/secretmanager.admin", "roles/owner", "roles/editor"})


def deploy_base(desk: Desk, services: Collection[Service], *, prune: bool = False) -> None:
    """Set up what services stand on.

    Args:
        desk: Where it is done.
        services: For which.
        prune: Whether who can read a secret without the catalogue's leave is removed, or only told of.

    Raises:
        OpsError: At the first failure.
    """
    _apis(desk)
    _repository(desk)
    accounts = _accounts(desk, services)
    _queues(desk, services)
    _secrets(desk, services, prune=prune)
    if desk.values.collector is not None:
        _collector(desk, services)
    _actors(desk, services, accounts)
    _project(desk, services)
    if desk.values.collector is not None:
        _metric_writers(desk, services)


def _apis(desk: Desk) -> None:
    found = desk.look("services", "list", "--enabled")
    enabled = {service.get("config", {}).get("name") for service in found}
    wanted = [*APIS, *([_NETWORK_API] if desk.values.network else [])]
    missing = [api for api in wanted if api not in enabled]
    if missing:
        desk.change(f"Enabled {len(missing)} APIs", "services", "enable", *missing)
    else:
        desk.journal.write("already", "The APIs are enabled")


def _repository(desk: Desk) -> None:
    name, where = desk.values.repository, f"--location={desk.values.region}"
    found = desk.look("artifacts", "repositories", "list", where)
    if name in {repository["name"].rpartition("/")[2] for repository in found}:
        desk.journal.write("already", f"The image repository {name} is there")
        return
    desk.change(
        f"Created the image repository {name}",
        *("artifacts", "repositories", "create", name, "--repository-format=docker", where),
    )


def _accounts(desk: Desk, services: Collection[Service]) -> set[str]:
    """The service accounts that were there before."""
    found = {each["email"] for each in desk.look("iam", "service-accounts", "list")}
    for service in services:
        account, name = access.account_of(service, desk.values.project), access.cloud_name(service)
        if account in found:
            desk.journal.write("already", f"The account {name} is there")
            continue
        desk.change(
            f"Created the account {name}",
            *("iam", "service-accounts", "create", name, f"--display-name={service}"),
        )
    return found


# -- queues ------------------------------------------------------------------------------------


def _queues(desk: Desk, services: Collection[Service]) -> None:
    where = f"--location={desk.values.region}"
    wanted = _wanted_queues(desk, services)
    listed = desk.look("tasks", "queues", "list", where)
    found = {queue["name"].rpartition("/")[2]: queue for queue in listed}
    present = [queue for queue in wanted if queue in found]
    looks = [("tasks", "queues", "get-iam-policy", queue, where) for queue in present]
    granted = dict(zip(present, desk.look_all(looks), strict=True))
    for queue, what in wanted.items():
        _queue(desk, queue, what, found.get(queue))
        for service in (each for each in services if each in what.senders):
            who = access.member(service, desk.values.project)
            if who in policies.holders(granted.get(queue), ENQUEUER):
                desk.journal.write("already", f"{service} may put tasks into {queue}")
                continue
            desk.change(
                f"{service} may put tasks into {queue}",
                *("tasks", "queues", "add-iam-policy-binding", queue, where),
                *(f"--member={who}", f"--role={ENQUEUER}"),
            )


def _wanted_queues(desk: Desk, services: Collection[Service]) -> dict[str, _Queue]:
    """Those behind the secrets, and the one that no secret names."""
    wanted = {
        queue: _Queue(catalogue.CATALOGUE[name].readers, name == PAYING_QUEUE)
        for name in queue_secrets()
        for queue in desk.values.queues[name]
    }
    wanted[LEDGER_QUEUE] = _Queue(frozenset({Service.HOSTPAY3}), one_at_a_time=True)
    return {queue: what for queue, what in wanted.items() if what.senders & set(services)}


def _queue(desk: Desk, queue: str, what: _Queue, found: dict[str, Any] | None) -> None:
    where = f"--location={desk.values.region}"
    settings = {**_RETRIES, **(_ONE_AT_A_TIME if what.one_at_a_time else {})}
    flags = {flag: f"{flag}={value}" for flag, (_, _, value) in settings.items()}
    if found is None:
        desk.change(
            f"Created the queue {queue}",
            *("tasks", "queues", "create", queue, where),
            *flags.values(),
        )
        return
    different = [
        flags[flag]
        for flag, (part, field, value) in settings.items()
        if str(found.get(part, {}).get(field)) != value
    ]
    if not different:
        desk.journal.write("already", f"The queue {queue} is as it is to be")
        return
    desk.change(
        f"Changed {len(different)} settings of the queue {queue}",
        *("tasks", "queues", "update", queue, where, *different),
    )


# -- secrets -----------------------------------------------------------------------------------


def _secrets(desk: Desk, services: Collection[Service], *, prune: bool) -> None:
    rows = [row for row in catalogue.CATALOGUE.values() if row.readers & set(services)]
    listed = desk.look("secrets", "list")
    there = {secret["name"].rpartition("/")[2] for secret in listed}
    present = [row.name for row in rows if row.name in there]
    granted = desk.look_all([("secrets", "get-iam-policy", name) for name in present])
    enabled = desk.look_all(
        [("secrets", "versions", "list", name, "--filter=state=ENABLED") for name in present]
    )
    policy_of = dict(zip(present, granted, strict=True))
    empty = {name for name, versions in zip(present, enabled, strict=True) if not versions}
    for row in rows:
        if row.name not in there:
            _create(desk, row)
        else:
            desk.journal.write("already", f"The secret {row.name} is there")
        if row.name not in there or row.name in empty:
            desk.journal.write("todo", _needs_a_version(row))
        _readers(
            desk, row, services, policies.holders(policy_of.get(row.name), READER), prune=prune
        )


def _create(desk: Desk, row: Row[object]) -> None:
    how = _replication(desk)
    labels = f"--labels=reload={row.reload_class},category={row.category.replace(' ', '-')}"
    desk.change(f"Created the secret {row.name}", "secrets", "create", row.name, *how, labels)


def _replication(desk: Desk) -> tuple[str, ...]:
    replicas = ",".join(desk.values.replicas)
    if replicas:
        return ("--replication-policy=user-managed", f"--locations={replicas}")
    return ("--replication-policy=automatic",)


def _needs_a_version(row: Row[object]) -> str:
    return (
        f"{row.name} ({row.reload_class}, {row.kind}) has no version: pgp-config rotate {row.name}, or gcloud secrets "
        f"versions add {row.name} --data-file=-"
    )


def _readers(
    desk: Desk, row: Row[object], services: Collection[Service], has: set[str], *, prune: bool
) -> None:
    project = desk.values.project
    for service in services:
        if service not in row.readers:
            continue
        who = access.member(service, project)
        if who in has:
            desk.journal.write("already", f"{service} may read {row.name}")
            continue
        desk.change(f"{service} may read {row.name}", *_binding("add", row.name, who))
    allowed = {access.member(service, project) for service in row.readers}
    for who in sorted(each for each in has - allowed if not desk.values.may_read(each)):
        if prune:
            desk.change(
                f"{who} may not read {row.name} any more", *_binding("remove", row.name, who)
            )
        else:
            desk.journal.write(
                "note", f"{who} may read {row.name} without the catalogue's leave: --prune ends it"
            )


def _binding(verb: str, secret: str, who: str) -> tuple[str, ...]:
    return (
        "secrets",
        f"{verb}-iam-policy-binding",
        secret,
        f"--member={who}",
        f"--role={READER}",
    )


# -- the collector -----------------------------------------------------------------------------


def _collector(desk: Desk, services: Collection[Service]) -> None:
    """Its configuration, as a secret because Cloud Run mounts no other files; who may read it."""
    there = {secret["name"].rpartition("/")[2] for secret in desk.look("secrets", "list")}
    present = COLLECTOR_SECRET in there
    _configuration(desk, present=present)
    policy = desk.look("secrets", "get-iam-policy", COLLECTOR_SECRET) if present else ()
    has = policies.holders(policy, READER)
    for service in services:
        who = access.member(service, desk.values.project)
        what = f"{service} may read {COLLECTOR_SECRET}"
        if who in has:
            desk.journal.write("already", what)
        else:
            desk.change(what, *_binding("add", COLLECTOR_SECRET, who))


def _configuration(desk: Desk, *, present: bool) -> None:
    wanted, given = collector_yaml(), "--data-file=-"
    if not present:
        words = ("secrets", "create", COLLECTOR_SECRET, *_replication(desk), given)
        desk.change(f"Created the secret {COLLECTOR_SECRET}", *words, given=wanted)
        return
    ran = desk.ask("secrets", "versions", "access", "latest", f"--secret={COLLECTOR_SECRET}")
    if ran.code == 0 and ran.out.strip() == wanted.strip():
        desk.journal.write("already", f"The secret {COLLECTOR_SECRET} is as it is to be")
        return
    desk.change(
        f"Added a version of {COLLECTOR_SECRET}: instances that start from now on have it",
        *("secrets", "versions", "add", COLLECTOR_SECRET, given),
        given=wanted,
    )


def _metric_writers(desk: Desk, services: Collection[Service]) -> None:
    """Each service's account, as which its collector runs, may write metrics."""
    project = desk.values.project
    # Looked at anew: its audit logs may have been switched on just now.
    has = policies.holders(desk.look("projects", "get-iam-policy", project), METRIC_WRITER)
    for service in services:
        who = access.member(service, project)
        if who in has:
            desk.journal.write("already", f"{service} may write metrics")
            continue
        desk.change(
            f"{service} may write metrics",
            *("projects", "add-iam-policy-binding", project),
            *(f"--member={who}", f"--role={METRIC_WRITER}", "--condition=None"),
        )


# -- accounts and the project ------------------------------------------------------------------


def _actors(desk: Desk, services: Collection[Service], accounts: set[str]) -> None:
    """Each service that creates tasks may have Cloud Tasks sign as itself, and as nobody else."""
    project = desk.values.project
    senders = [service for service in services if access.queues_of(service)]
    present = [each for each in senders if access.account_of(each, project) in accounts]
    looks = [
        ("iam", "service-accounts", "get-iam-policy", access.account_of(each, project))
        for each in present
    ]
    granted = dict(zip(present, desk.look_all(looks), strict=True))
    for service in senders:
        who, account = access.member(service, project), access.account_of(service, project)
        if who in policies.holders(granted.get(service), ACTOR):
            desk.journal.write("already", f"{service} may have tasks signed as itself")
            continue
        desk.change(
            f"{service} may have tasks signed as itself",
            *("iam", "service-accounts", "add-iam-policy-binding", account),
            *(f"--member={who}", f"--role={ACTOR}"),
        )


def _project(desk: Desk, services: Collection[Service]) -> None:
    """Data Access audit logs of Secret Manager; a warning of accounts that may read every secret."""
    project = desk.values.project
    policy = desk.look("projects", "get-iam-policy", project)
    for service in services:
        for role in sorted(policies.roles_of(policy, access.member(service, project)) & _TOO_MUCH):
            desk.journal.write(
                "note",
                f"{service} has {role} over the whole project: remove it, each secret has its own",
            )
    changed = policies.with_audit_logs(policy, "secretmanager.googleapis.com", "DATA_READ")
    if changed is None:
        desk.journal.write("already", "Accesses of secrets are in the audit log")
        return
    desk.change(
        "Accesses of secrets are in the audit log from now on",
        *("projects", "set-iam-policy", project, "/dev/stdin"),
        given=json.dumps(changed, indent=2),
    )
