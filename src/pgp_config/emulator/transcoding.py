"""HTTP and JSON of Secret Manager's REST interface, as Google's messages; knows no socket.

The bindings are those of google.cloud.secretmanager.v1 (service.proto), the rules those of google.api.http
(https://google.aip.dev/127).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from google.protobuf import json_format

from pgp_config.emulator.rules import StatusError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgp_config.emulator.service import Answer, Method

#: HTTP's codes of gRPC's (google/rpc/code.proto).
HTTP_CODES = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}

#: Query parameters that say how to answer, not what; those that Google's servers know.
_SYSTEM = {
    *("$alt", "alt", "$prettyPrint", "prettyPrint", "$.xgafv", "$userProject", "userProject"),
    *("$key", "key", "access_token", "oauth_token", "quotaUser", "$quotaUser", "userIp"),
    *("callback", "$callback", "fields", "$fields", "uploadType", "upload_protocol"),
}

_PROJECT = "{resource=projects/*}"
_SECRET, _VERSION = "{name=*/secrets/*}", "{name=*/secrets/*/versions/*}"

#: The method, HTTP's, the path after /v1/, and the field that the body is ("*": the whole request). A `*` at
#: the start is a project or a location of one; those with a verb come before those without.
_BINDINGS = (
    ("AccessSecretVersion", "GET", f"{_VERSION}:access", ""),
    ("DisableSecretVersion", "POST", f"{_VERSION}:disable", "*"),
    ("EnableSecretVersion", "POST", f"{_VERSION}:enable", "*"),
    ("DestroySecretVersion", "POST", f"{_VERSION}:destroy", "*"),
    ("GetSecretVersion", "GET", _VERSION, ""),
    ("ListSecretVersions", "GET", "{parent=*/secrets/*}/versions", ""),
    ("AddSecretVersion", "POST", "{parent=*/secrets/*}:addVersion", "*"),
    ("SetIamPolicy", "POST", "{resource=*/secrets/*}:setIamPolicy", "*"),
    ("GetIamPolicy", "GET", "{resource=*/secrets/*}:getIamPolicy", ""),
    ("TestIamPermissions", "POST", "{resource=*/secrets/*}:testIamPermissions", "*"),
    ("ListSecrets", "GET", "{parent=*}/secrets", ""),
    ("CreateSecret", "POST", "{parent=*}/secrets", "secret"),
    ("GetSecret", "GET", _SECRET, ""),
    ("UpdateSecret", "PATCH", "{secret.name=*/secrets/*}", "secret"),
    ("DeleteSecret", "DELETE", _SECRET, ""),
)


@dataclass(frozen=True, slots=True)
class Route:
    """One way to call a method.

    Attributes:
        method: Google's, such as "AccessSecretVersion".
        verb: HTTP's method.
        template: The path, as in service.proto.
        body: The field that the body is; "*" for the whole request, "" for none.
        field: The field that the path gives.
        path: Matches it, with that field as its group.
    """

    method: str
    verb: str
    template: str
    body: str
    field: str
    path: re.Pattern[str]


def _route(method: str, verb: str, template: str, body: str) -> Route:
    before, field, resource, after = re.split(r"\{([\w.]+)=([^}]+)\}", template)[:4]
    # Only a project's id may have a colon: example.com:project.
    segments = resource.replace("*", "[^/:]+").replace("[^/:]+", "[^/]+", 1)
    path = re.compile(f"{before}({segments}){after}")
    return Route(method, verb, template, body, field, path)


ROUTES = tuple(
    _route(method, verb, "/v1/" + template.replace("=*", f"={parent}"), body)
    for method, verb, template, body in _BINDINGS
    for parent in ("projects/*", "projects/*/locations/*")
) + tuple(
    # Resource Manager's; its v1 names the project without "projects/" in the pattern, which is the same path.
    _route(f"Projects.{verb[0].upper()}{verb[1:]}", "POST", f"/{version}/{_PROJECT}:{verb}", "*")
    for version in ("v1", "v3")
    for verb in ("getIamPolicy", "setIamPolicy")
)


def request_of(
    verb: str, target: str, body: bytes, methods: Mapping[str, Method]
) -> tuple[str, Answer]:
    """The method that is called, and its request.

    Args:
        verb: HTTP's method.
        target: The path and the query, as they came.
        body: JSON, or nothing.
        methods: By their name.

    Raises:
        StatusError: NOT_FOUND if there is no such path, INVALID_ARGUMENT if the rest does not fit.
    """
    path, _, query = target.partition("?")
    route, resource = _found(verb, path)
    request: dict[str, Any] = {}
    content = _content(body)
    if route.body == "*":
        request = content
    elif route.body:
        request[route.body] = content
    message = methods[route.method].request()
    for name, values in _parameters(query).items():
        _put(request, name.split("."), values, message.DESCRIPTOR)
    _put(request, route.field.split("."), [resource], message.DESCRIPTOR)
    return route.method, _filled(message, request)


def json_of(answer: Answer, target: str) -> bytes:
    """An answer as the query of the target wants it: enums as names or numbers, indented or not."""
    options = dict(parse_qsl(target.partition("?")[2]))
    alt = options.get("$alt", options.get("alt", ""))
    content = json_format.MessageToDict(
        answer, use_integers_for_enums="enum-encoding=int" in alt.split(";")
    )
    return _dumped(content, options.get("$prettyPrint", options.get("prettyPrint", "")))


def error_of(error: StatusError, code: int) -> bytes:
    """The body of an answer that is not OK, under that code of HTTP's."""
    content = {"code": code, "message": error.message, "status": error.code}
    return _dumped({"error": content}, "")


def _dumped(content: Any, pretty: str) -> bytes:  # noqa: ANN401  JSON
    return json.dumps(content, indent=None if pretty in ("false", "0") else 2).encode() + b"\n"


def _found(verb: str, path: str) -> tuple[Route, str]:
    for route in ROUTES:
        match = route.path.fullmatch(path)
        if match is not None and route.verb == verb:
            return route, unquote(match[1])
    raise StatusError("NOT_FOUND", f"There is no method at {verb} {path}")


def _content(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):  # not raised from here: its error holds the body
        content = None
    if isinstance(content, dict):
        return content
    raise invalid("Invalid JSON payload received: it is no JSON object.")


def _parameters(query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _SYSTEM:
            found.setdefault(name, []).append(value)
    return found


def _put(content: dict[str, Any], path: list[str], values: list[str], kind: Any) -> None:  # noqa: ANN401  a descriptor
    """Set a field of a request, which may be one of a message in it."""
    field = _field(kind, path[0])
    if len(path) > 1:
        inner = content.setdefault(field.json_name, {})
        if field.message_type is None or not isinstance(inner, dict):
            raise _unbound(".".join(path))
        _put(inner, path[1:], values, field.message_type)
        return
    for spelling in (field.name, field.json_name):
        content.pop(spelling, None)
    content[field.json_name] = _value(field, values)


def _value(field: Any, values: list[str]) -> Any:  # noqa: ANN401  a descriptor, and JSON
    if len(values) > 1:
        raise invalid(f"The query has {field.name} more than once.")
    if field.message_type is not None and field.message_type.name == "FieldMask":
        return _in_camel_case(values[0])
    return values[0]


def _field(kind: Any, name: str) -> Any:  # noqa: ANN401  descriptors
    fields: Iterable[Any] = kind.fields
    for field in fields:
        if name in (field.name, field.json_name):
            return field
    raise _unbound(name)


def _unbound(name: str) -> StatusError:
    return invalid(f"Invalid query: unknown name {name!r}: it cannot be bound to a field.")


def _in_camel_case(mask: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), mask)


#: Base64 in the standard or the URL-safe alphabet; protobuf's parser skips whatever else there is.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


def _refuse_what_is_no_base64(content: dict[str, Any]) -> None:
    payload = content.get("payload")
    data = payload.get("data") if isinstance(payload, dict) else None
    if isinstance(data, str) and _BASE64.fullmatch(data) is None:
        raise invalid("Invalid JSON payload received: the payload's data is no base64.")


def _filled(message: Answer, content: dict[str, Any]) -> Answer:
    _refuse_what_is_no_base64(content)
    try:
        return json_format.ParseDict(content, message)
    except (json_format.ParseError, OverflowError) as error:  # the latter for 1e400 as an enum
        text = str(error)
    # The parser's texts can show a value, and it takes a text's letters for names.
    unknown = [name for name in _names(content) if f'has no field named "{name}"' in text]
    told = f"unknown name {unknown[0]!r}" if unknown else "a value does not fit its field"
    raise invalid(f"Invalid JSON payload received: {told}.")


def _names(content: Any) -> Iterable[str]:  # noqa: ANN401  JSON
    pending = [content]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            yield from part
            pending.extend(part.values())
