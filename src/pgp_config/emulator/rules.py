"""The rules of Secret Manager that need no state: names, sizes, filters, pages.

Bounds and texts follow the comments of google.cloud.secretmanager.v1 (resources.proto, service.proto).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import google_crc32c

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_PAYLOAD = 64 * 1024
MAX_ALIASES = 50
MAX_LABELS = 64
MAX_ANNOTATIONS = 16 * 1024
MAX_TOPICS = 10
MAX_PAGE = 25_000

_PARENT = re.compile(r"projects/[a-z0-9:.-]+(/locations/[a-z0-9-]+)?")
_SECRET = re.compile(r"(?P<parent>projects/[^/]+(/locations/[^/]+)?)/secrets/(?P<id>[^/]+)")
_VERSION = re.compile(r"(?P<secret>.+/secrets/[^/]+)/versions/(?P<version>[^/]+)")
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_ANNOTATION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


class StatusError(Exception):
    """An answer that is not OK, as gRPC and HTTP know it.

    Attributes:
        code: The name of a gRPC status code, such as "NOT_FOUND".
        message: Its text; never with a value.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def invalid(message: str) -> StatusError:
    """INVALID_ARGUMENT."""
    return StatusError("INVALID_ARGUMENT", message)


def failed(message: str) -> StatusError:
    """FAILED_PRECONDITION."""
    return StatusError("FAILED_PRECONDITION", message)


@dataclass(frozen=True, slots=True)
class VersionName:
    """A version's resource name, taken apart.

    Attributes:
        secret: The secret's resource name.
        version: A number, an alias, or "latest".
    """

    secret: str
    version: str


def check_parent(parent: str) -> None:
    """Refuse what is not a project, or a location of one."""
    if _PARENT.fullmatch(parent) is None:
        raise invalid(f"Resource name [{parent}] is not a project or a location of one.")


def secret_name(parent: str, secret_id: str) -> str:
    """The resource name of a new secret."""
    check_parent(parent)
    if _ID.fullmatch(secret_id) is None:
        raise invalid(
            f"The provided Secret ID [{secret_id}] does not match the expected format "
            "[[a-zA-Z_0-9]+], with hyphens, and at most 255 characters."
        )
    return f"{parent}/secrets/{secret_id}"


def check_secret_name(name: str) -> str:
    """The name, if it is a secret's."""
    match = _SECRET.fullmatch(name)
    if match is None or _ID.fullmatch(match["id"]) is None:
        raise invalid(f"Resource name [{name}] is not a secret's.")
    check_parent(match["parent"])
    return name


def check_project(name: str) -> None:
    """Refuse what is no project's resource name."""
    check_parent(name)
    if "/locations/" in name:
        raise invalid(f"Resource name [{name}] is not a project's.")


def version_name(name: str) -> VersionName:
    """A version's resource name, taken apart."""
    match = _VERSION.fullmatch(name)
    if match is None:
        raise invalid(f"Resource name [{name}] is not a secret version's.")
    version = match["version"]
    if not version.isdecimal() and _ALIAS.fullmatch(version) is None:
        raise invalid(f"Resource name [{name}] has neither a number nor an alias.")
    return VersionName(check_secret_name(match["secret"]), version)


def short(name: str) -> str:
    """The id of a secret, from the resource name of it or of a version."""
    match = re.search(r"/secrets/([^/]+)", name)
    return name if match is None else match[1]


def check_payload(payload: Any) -> None:  # noqa: ANN401  a protobuf message
    """Refuse a payload that is too large or arrived damaged."""
    if len(payload.data) > MAX_PAYLOAD:
        raise invalid("The payload is larger than the maximum of 65536 bytes.")
    if payload.HasField("data_crc32c") and payload.data_crc32c != google_crc32c.value(
        payload.data
    ):
        raise invalid("The data_crc32c of the payload does not match its data.")


def check_metadata(secret: Any) -> None:  # noqa: ANN401  a protobuf message
    """Refuse labels, annotations and topics that Secret Manager refuses."""
    if len(secret.labels) > MAX_LABELS:
        raise invalid(f"No more than {MAX_LABELS} labels can be assigned.")
    for key, value in secret.labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key):
            raise invalid(f"Label key [{key}] is not valid.")
        if not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise invalid(f"The value of label [{key}] is not valid.")
    for key in secret.annotations:
        if _ANNOTATION.fullmatch(key) is None:
            raise invalid(f"Annotation key [{key}] is not valid.")
    if (
        sum(len(k.encode()) + len(v.encode()) for k, v in secret.annotations.items())
        >= MAX_ANNOTATIONS
    ):
        raise invalid("The annotations are 16 KiB or more in all.")
    if len(secret.topics) > MAX_TOPICS:
        raise invalid(f"No more than {MAX_TOPICS} topics can be assigned.")
    if secret.HasField("rotation") and not secret.topics:
        raise invalid("A rotation needs at least one topic.")


def check_aliases(aliases: Any, versions: int) -> None:  # noqa: ANN401  a protobuf map
    """Refuse aliases that are no names, too many, or of versions that do not exist."""
    if len(aliases) > MAX_ALIASES:
        raise invalid(f"No more than {MAX_ALIASES} aliases can be assigned.")
    for alias, number in aliases.items():
        if _ALIAS.fullmatch(alias) is None or alias in ("latest", "NEW"):
            raise invalid(f"Alias [{alias}] is not valid.")
        if not 1 <= number <= versions:
            raise failed(f"Alias [{alias}] names version [{number}], which does not exist.")


def predicate(expression: str, fields: dict[str, Callable[[Any], str]]) -> Callable[[Any], bool]:
    """What a list request's filter asks for.

    Args:
        expression: Terms joined by AND: `name:part`, `state=ENABLED`, `labels.env=prod`, `labels.env:*`.
        fields: How the fields that the resource has are read, as text.
    """
    terms = [term for term in re.split(r"\s+AND\s+", expression.strip()) if term]
    tests = [_term(term, fields) for term in terms]
    return lambda resource: all(test(resource) for test in tests)


def _term(term: str, fields: dict[str, Callable[[Any], str]]) -> Callable[[Any], bool]:
    match = re.fullmatch(
        r"(?P<field>[\w.-]+?)\s*(?P<operator>[:=])\s*\"?(?P<wanted>[^\s\"]*)\"?", term
    )
    if match is None:
        raise invalid(f"The filter's term [{term}] is not understood.")
    field, operator, wanted = match["field"], match["operator"], match["wanted"]
    if field.startswith("labels.") and "labels" in fields:
        label = field.removeprefix("labels.")
        if (operator, wanted) == (":", "*"):
            return lambda resource: label in resource.labels
        return lambda resource: label in resource.labels and resource.labels[label] == wanted
    if field not in fields:
        raise invalid(f"The filter's field [{field}] is not supported.")
    read = fields[field]
    if operator == "=":
        return lambda resource: read(resource) == wanted
    return lambda resource: wanted.lower() in read(resource).lower()


def page(items: Sequence[Any], size: int, token: str) -> tuple[Sequence[Any], str]:
    """One page of a list, and the token of the next; an empty one at the end."""
    if size < 0:
        raise invalid("The page size is negative.")
    start = _offset(token)
    end = start + (min(size, MAX_PAGE) or MAX_PAGE)
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else ""
    return items[start:end], following


def _offset(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token))
    except ValueError:
        raise invalid("The page token is not one of this list.") from None
