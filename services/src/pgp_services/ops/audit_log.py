"""Entries of Cloud Logging, as `gcloud logging read --format=json` gives them: who read which secret when.

Fields by Google's documentation of AuditLog (cloud.google.com/logging/docs/audit/understanding-audit-logs)
and of Secret Manager's audit log (cloud.google.com/secret-manager/docs/audit-logging).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgp_services.ops.failures import OpsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgp_services.ops.gcloud import Json

#: The method of every access; the beta API and regional secrets have the same name at the end.
METHOD = "SecretManagerService.AccessSecretVersion"

_RESOURCE = re.compile(
    r"projects/[^/]+/(?:locations/[^/]+/)?secrets/(?P<secret>[^/]+)(?:/versions/(?P<version>[^/]+))?"
)

#: How Cloud Run tells that it starts a container, in its log `varlog/system`.
_START = "Starting new instance."

#: What has to be in an export, for `gcloud logging read`.
FILTER = (
    '(protoPayload.serviceName="secretmanager.googleapis.com" AND protoPayload.methodName:"AccessSecretVersion")'
    ' OR (resource.type="cloud_run_revision" AND textPayload:"Starting new instance.")'
)


@dataclass(frozen=True, slots=True)
class Access:
    """A version of a secret was asked for.

    Attributes:
        at: When.
        principal: Whose identity; empty where the log does not say.
        secret: Which.
        allowed: Whether it was handed out.
        behind: Who took on that identity, if somebody did.
    """

    at: datetime
    principal: str
    secret: str
    allowed: bool
    behind: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A container of a Cloud Run service was started."""

    at: datetime
    service: str


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds, in the order of time.

    Attributes:
        accesses: Of secrets.
        starts: Of containers.
        others: How many entries are about something else.
    """

    accesses: list[Access]
    starts: list[Start]
    others: int


def export_from(text: str) -> Export:
    """Read an export: a JSON array, or one JSON object a line.

    Raises:
        OpsError: If it is neither.
    """
    return export_of(_entries(text))


def export_of(entries: Sequence[Json]) -> Export:
    """What entries say, as JSON has them.

    Raises:
        OpsError: If one of them is not as Google documents it.
    """
    accesses: list[Access] = []
    starts: list[Start] = []
    for entry in entries:
        try:
            _require_log_entry(entry)
            found = _access(entry) or _start(entry)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _malformed("an entry is no LogEntry as Google documents it") from None
        if isinstance(found, Access):
            accesses.append(found)
        elif found is not None:
            starts.append(found)
    others = len(entries) - len(accesses) - len(starts)
    return Export(
        sorted(accesses, key=lambda each: each.at),
        sorted(starts, key=lambda each: each.at),
        others,
    )


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        if text.lstrip().startswith("["):
            found = json.loads(text)
        else:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        raise _malformed("it is no JSON") from None
    return found  # type: ignore[no-any-return]  # each is seen to


def _require_log_entry(entry: Json) -> None:
    """Else any JSON at all would pass for a log in which nothing happened."""
    if not all(isinstance(entry[field], str) for field in ("logName", "timestamp")):
        raise TypeError("no LogEntry")


def _malformed(what: str) -> OpsError:
    return OpsError(
        f"the export of the audit log cannot be read: {what}",
        remedy="Make it with gcloud logging read … --format=json, or as JSON lines of a sink.",
    )


def _access(entry: dict[str, Any]) -> Access | None:
    audit = entry.get("protoPayload") or {}
    if not str(audit.get("methodName", "")).endswith(METHOD):
        return None
    named = _RESOURCE.search(audit["resourceName"])
    if named is None:
        raise ValueError("no secret's name")
    who = audit.get("authenticationInfo", {})
    return Access(
        at=_time(entry),
        principal=who.get("principalEmail") or _subject(who),
        secret=named["secret"],
        # google.rpc.Status: no code, or 0, is success.
        allowed=not audit.get("status", {}).get("code", 0),
        behind=_behind(who.get("serviceAccountDelegationInfo", [])),
    )


def _subject(who: dict[str, Any]) -> str:
    """`principalSubject` without its kind: what a log has where it leaves the address out."""
    return str(who.get("principalSubject", "")).partition(":")[2]


def _behind(delegations: Iterable[dict[str, Any]]) -> str | None:
    """Who impersonated a service account: the first of the chain."""
    for each in delegations:
        first: dict[str, Any] = each.get("firstPartyPrincipal", {})
        return first.get("principalEmail") or _subject(each) or "somebody"
    return None


def _start(entry: dict[str, Any]) -> Start | None:
    resource = entry.get("resource") or {}
    if resource.get("type") != "cloud_run_revision":
        return None
    if not str(entry.get("textPayload", "")).startswith(_START):
        return None
    return Start(_time(entry), resource["labels"]["service_name"])


def _time(entry: dict[str, Any]) -> datetime:
    at = datetime.fromisoformat(_to_microseconds(entry["timestamp"]))
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at


def _to_microseconds(text: str) -> str:
    """Google gives nanoseconds; Python 3.11 and later read past six digits, and cut them off."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)
