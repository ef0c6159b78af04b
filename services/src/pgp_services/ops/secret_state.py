"""`verify secrets`, at Secret Manager: states, types, readers; a value is validated and never kept or shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgp_config import RejectedVersion
from pgp_config.audit import Finding
from pgp_config.payload import Payload
from pgp_services import catalogue
from pgp_services.ops import access, policies
from pgp_services.ops.access import READER

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgp_services.catalogue import Row
    from pgp_services.names import Service
    from pgp_services.ops.desk import Desk


def verify_secrets(
    desk: Desk, services: Collection[Service], *, impersonate: bool = False
) -> list[Finding]:
    """Look at every secret that the services may read.

    A dynamic one is read, by you and with `impersonate` by each account that may, and validated as its
    type. A static one is not read, so that whoever verifies need not be trusted with it: its pinned version
    has to be enabled.

    Raises:
        OpsError: If a look fails.
    """
    rows = [row for row in catalogue.CATALOGUE.values() if row.readers & set(services)]
    listed = {each["name"].rpartition("/")[2] for each in desk.look("secrets", "list")}
    missing = [row for row in rows if row.name not in listed] if not desk.offline else []
    present = [row for row in rows if row not in missing]
    versions = desk.look_all([("secrets", "versions", "list", row.name) for row in present])
    granted = desk.look_all([("secrets", "get-iam-policy", row.name) for row in present])
    findings = [
        Finding(
            row.name, "missing", "there is no such secret", "Run: pgp-services ops deploy base."
        )
        for row in missing
    ]
    for row, known, policy in zip(present, versions, granted, strict=True):
        found = _state(desk, row, known)
        if not found and row.reload_class == "dynamic":
            found = _read(desk, row, services, known, impersonate=impersonate)
        if not desk.offline:
            found += _readers(desk, row, services, policies.holders(policy, READER))
        findings += found
        if not found and not desk.offline:
            desk.journal.write("passed", f"{row.name} ({row.reload_class})")
    return findings


def _number(version: dict[str, Any]) -> int:
    return int(version["name"].rpartition("/")[2])


def _state(desk: Desk, row: Row[object], versions: Sequence[dict[str, Any]]) -> list[Finding]:
    """Whether the version that is read is enabled: the newest of a dynamic one, the pinned of a static one."""
    if desk.offline:
        return []
    states = {_number(version): version["state"].upper() for version in versions}
    newest = max(states, default=0)
    wanted = newest if row.reload_class == "dynamic" else desk.values.pinned[row.name]
    state = states.get(wanted, "MISSING")
    if row.reload_class == "static" and newest > wanted:
        desk.journal.write(
            "note", f"{row.name} is pinned to version {wanted}; {newest} waits for a deployment"
        )
    if state == "ENABLED":
        return []
    which = f"version {wanted}" if wanted else "every version"
    remedy = f"Enable it, or add one: gcloud secrets versions add {row.name} --data-file=-."
    return [Finding(row.name, "state", f"{which} is {state}", remedy)]


def _read(
    desk: Desk,
    row: Row[object],
    services: Collection[Service],
    versions: Sequence[dict[str, Any]],
    *,
    impersonate: bool,
) -> list[Finding]:
    number = max((_number(version) for version in versions), default=1)
    words = ("secrets", "versions", "access", str(number), f"--secret={row.name}")
    ran = desk.ask(*words, confidential=True)
    if ran.code != 0:
        found = [Finding(row.name, "unreadable", "you cannot read it", _GRANT)]
    elif desk.offline:
        found = []
    else:
        found = _validated(row, ran.out, number)
    for service in services if impersonate else ():
        if service in row.readers:
            account = access.account_of(service, desk.values.project)
            as_it = (f"--impersonate-service-account={account}", "--out-file=/dev/null")
            if desk.ask(*words, *as_it, confidential=True).code != 0:
                found.append(Finding(row.name, "unreadable", f"{service} cannot read it", _GRANT))
    return found


_GRANT = f"Grant {READER} on it: pgp-services ops deploy base does so for the services."


def _validated(row: Row[object], text: str, number: int) -> list[Finding]:
    payload = Payload(text.encode("utf-8", "surrogateescape"), number)
    # The two kinds of rows have it; nothing else is in the catalogue.
    declaration = row.secret()  # type: ignore[attr-defined]
    try:
        declaration.check(payload)
    except RejectedVersion as fault:
        return [
            Finding(row.name, "value", f"version {number}: {fault.happened}", "Add a good one.")
        ]
    return []


def _readers(
    desk: Desk, row: Row[object], services: Collection[Service], has: set[str]
) -> list[Finding]:
    project = desk.values.project
    allowed = {access.member(service, project): service for service in row.readers}
    unknown = {who for who in has - set(allowed) if not desk.values.may_read(who)}
    lacking = [who for who, service in allowed.items() if service in services and who not in has]
    end = "Run: pgp-services ops deploy base --prune."
    return [
        *(Finding(row.name, "binding", f"{who} has no binding on it", _GRANT) for who in lacking),
        *(Finding(row.name, "stranger", f"{who} may read it", end) for who in sorted(unknown)),
    ]
