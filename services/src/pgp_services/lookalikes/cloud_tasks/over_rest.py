"""The REST side: HTTP and JSON as Google's messages, so that the real `gcloud tasks` can be used.

The bindings are those of google.cloud.tasks.v2 (cloudtasks.proto), the rules those of google.api.http
(https://google.aip.dev/127).
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from google.protobuf import json_format

from pgp_services.lookalikes.cloud_tasks.rules import Message, StatusError, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_services.lookalikes.cloud_tasks.methods import Method

#: HTTP's codes of gRPC's (google/rpc/code.proto); of all others 500.
HTTP_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

#: Bytes of a body, at most: a task of 100 KiB in base64, and some.
MOST_BYTES = 256 * 1024

_LOCATION, _QUEUE, _TASK = (
    "projects/[^/:]+(?::[^/:]+)?/locations/[^/:]+",
    "/queues/[^/:]+",
    "/tasks/[^/:]+",
)

#: The method, HTTP's, the path after /v2/, the field that it gives, and the field that the body is ("*": the
#: whole request).
_BINDINGS = tuple(
    (method, verb, re.compile(f"/v2/({resource}){rest}"), field, body)
    for method, verb, resource, rest, field, body in (
        ("ListQueues", "GET", _LOCATION, "/queues", "parent", ""),
        ("CreateQueue", "POST", _LOCATION, "/queues", "parent", "queue"),
        ("GetQueue", "GET", _LOCATION + _QUEUE, "", "name", ""),
        ("UpdateQueue", "PATCH", _LOCATION + _QUEUE, "", "queue.name", "queue"),
        ("DeleteQueue", "DELETE", _LOCATION + _QUEUE, "", "name", ""),
        ("PurgeQueue", "POST", _LOCATION + _QUEUE, ":purge", "name", "*"),
        ("PauseQueue", "POST", _LOCATION + _QUEUE, ":pause", "name", "*"),
        ("ResumeQueue", "POST", _LOCATION + _QUEUE, ":resume", "name", "*"),
        ("ListTasks", "GET", _LOCATION + _QUEUE, "/tasks", "parent", ""),
        ("CreateTask", "POST", _LOCATION + _QUEUE, "/tasks", "parent", "*"),
        ("GetTask", "GET", _LOCATION + _QUEUE + _TASK, "", "name", ""),
        ("DeleteTask", "DELETE", _LOCATION + _QUEUE + _TASK, "", "name", ""),
        ("RunTask", "POST", _LOCATION + _QUEUE + _TASK, ":run", "name", "*"),
    )
)

#: What a query may say of a request; the rest says how to answer, and JSON is all that there is.
_PARAMETERS = {
    "filter": "filter",
    "pageSize": "pageSize",
    "pageToken": "pageToken",
    "responseView": "responseView",
    "updateMask": "updateMask",
}


class RestServer(ThreadingHTTPServer):
    """Listens on the loopback; each connection has a thread of its own.

    Args:
        port: 0 for a free one.
        table: The methods by name.
        call: Answers a method's request.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, port: int, table: dict[str, Method], call: Callable[[str, Message], Message]
    ) -> None:
        self._table = table
        self._call = call
        super().__init__(("127.0.0.1", port), _Handler)

    def answer(self, verb: str, target: str, body: bytes) -> tuple[int, bytes]:
        """The HTTP status and the JSON of the answer to one request."""
        try:
            method, request = _request_of(verb, target, body, self._table)
            message = self._call(method, request)
        except StatusError as error:
            return _error(error)
        raw = type(message).pb(message) if hasattr(type(message), "pb") else message
        return 200, json_format.MessageToJson(raw).encode()


def _error(error: StatusError) -> tuple[int, bytes]:
    status = HTTP_CODES.get(error.code, 500)
    content = {"code": status, "message": error.message, "status": error.code}
    return status, json.dumps({"error": content}).encode()


def _request_of(
    verb: str, target: str, body: bytes, table: dict[str, Method]
) -> tuple[str, Message]:
    parts = urlsplit(target)
    for method, its_verb, path, field, takes in _BINDINGS:
        found = path.fullmatch(parts.path)
        if found is not None and verb == its_verb:
            content = _content(body)
            filled: dict[str, Any] = content if takes == "*" or not takes else {takes: content}
            filled.update(_parameters(parts.query))
            outer, _, inner = field.partition(".")
            name = unquote(found[1])
            filled[outer] = {**filled[outer], inner: name} if inner else name
            return method, _parsed(table[method].request, filled)
    return refuse(f"There is no method at {verb} {parts.path}", "NOT_FOUND")


def _content(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):  # not raised from here: its error holds the body
        content = None
    return content if isinstance(content, dict) else refuse("Invalid JSON payload received.")


def _parameters(query: str) -> dict[str, Any]:
    return {
        _PARAMETERS[name]: _camel(value) if name == "updateMask" else value
        for name, value in parse_qsl(query)
        if name in _PARAMETERS
    }


def _camel(mask: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), mask)


def _parsed(request: Message, content: dict[str, Any]) -> Message:
    message = request()
    try:
        json_format.ParseDict(content, request.pb(message))
    except (json_format.ParseError, OverflowError):  # its text can hold a value
        message = None
    return message if message is not None else refuse("Invalid JSON payload received.")


class _Handler(BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: Nagle's algorithm would hold the second back for 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            self._send(*_error(StatusError("INVALID_ARGUMENT", "The body is too large.")))
            return
        body = self.rfile.read(int(length))
        self._send(*self.server.answer(self.command, self.path, body))

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  the base class calls them so

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a request line is nobody's business."""
