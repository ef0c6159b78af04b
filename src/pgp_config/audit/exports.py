"""Entries of Cloud Logging, as `gcloud logging read --format=json` gives them: who read which secret when.

Fields by Google's documentation of AuditLog (cloud.google.com/logging/docs/audit/understanding-audit-logs)
and of Secret Manager's audit log (cloud.google.com/secret-manager/docs/audit-logging).
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: The method of every access; the beta API and regional secrets have the same name at the end.
METHOD = "SecretManagerService.AccessSecretVersion"

_RESOURCE = re.compile(
    r"projects/[^/]+/(?:locations/[^/]+/)?secrets/(?P<secret>[^/]+)(?:/versions/(?P<version>[^/]+))?"
)

#: How Cloud Run tells that it starts a container, in its log `varlog/system`.
_START = "Starting new instance."

#: How a gzipped file begins, and what may stand before JSON: blanks and a byte order mark.
_GZIP, _BLANKS = b"\x1f\x8b", b" \t\r\n\xef\xbb\xbf"

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
class Fault:
    """An entry that cannot be read.

    Attributes:
        number: Its place among the entries, from 1: the line, where each line is one.
        why: Why; nothing of what is in it.
    """

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds, in the order of time.

    Attributes:
        accesses: Of secrets.
        starts: Of containers.
        others: How many entries are about something else.
        faults: What cannot be read.
    """

    accesses: list[Access]
    starts: list[Start]
    others: int
    faults: list[Fault] = field(default_factory=list)


def read_export(stream: BinaryIO) -> Export:
    """Read an export, gzipped or not: a JSON array, or one JSON object a line, of which only one is in memory at a time.

    What cannot be read is counted, and the rest is read.
    """
    head = stream.read(2)
    whole: BinaryIO = io.BufferedReader(_Rejoined(head, stream))
    if head == _GZIP:
        whole = cast("BinaryIO", gzip.GzipFile(fileobj=whole))
    return export_of(_entries(whole))


def export_of(entries: Iterable[object]) -> Export:
    """What entries say, as JSON has them; one that is not as Google documents it is a fault."""
    accesses: list[Access] = []
    starts: list[Start] = []
    faults: list[Fault] = []
    others = 0
    for number, entry in enumerate(entries, 1):
        found = _judged(entry)
        if isinstance(found, Access):
            accesses.append(found)
        elif isinstance(found, Start):
            starts.append(found)
        elif isinstance(found, str):
            faults.append(Fault(number, found))
        else:
            others += 1
    return Export(
        sorted(accesses, key=lambda each: each.at),
        sorted(starts, key=lambda each: each.at),
        others,
        faults,
    )


class _Broken:
    """In place of an entry that is no JSON."""

    def __init__(self, why: str) -> None:
        self.why = why


def _judged(entry: object) -> Access | Start | str | None:
    if isinstance(entry, _Broken):
        return entry.why
    try:
        fields = cast("dict[str, Any]", entry)
        _require_log_entry(fields)
        return _access(fields) or _start(fields)
    except (KeyError, TypeError, ValueError, AttributeError):
        return "it is no LogEntry as Google documents it"


class _Rejoined(io.RawIOBase):
    """A stream from its beginning, of which two bytes were read: a pipe cannot be sought."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  as io has it
        found, self._head = self._head or self._rest.read(len(buffer)), b""
        buffer[: len(found)] = found
        return len(found)


def _entries(stream: BinaryIO) -> Iterator[object]:
    """Each entry, or why it cannot be read."""
    try:
        first = next((line for line in stream if line.strip()), b"").lstrip(_BLANKS)
        if first.startswith(b"["):
            yield from _array(first + stream.read())
        elif first:
            yield _object(first)
            yield from (_object(line) for line in stream if line.strip())
    except (OSError, EOFError, zlib.error) as fault:
        yield _Broken(f"the file is broken here ({type(fault).__name__})")


def _array(text: bytes) -> Iterable[object]:
    found = _object(text)
    return found if isinstance(found, list) else [found]


def _object(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _Broken("it is no JSON")


def _require_log_entry(entry: Mapping[str, Any]) -> None:
    """Else any JSON at all would pass for a log in which nothing happened."""
    if not all(isinstance(entry[field], str) for field in ("logName", "timestamp")):
        raise TypeError("no LogEntry")


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
