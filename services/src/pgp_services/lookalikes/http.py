"""The base of the local HTTP servers: keys that rotate, faults on order, and a record of what came.

A server says where a request's key is (`parted`) and how a request is answered (`judge`). What was seen
is told by the keys' versions, never by the keys.
"""

from __future__ import annotations

import hmac
import json
import selectors
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Fault:
    """How one request is answered.

    Attributes:
        status: The HTTP status; 0 closes the connection without an answer.
        body: The answer's body.
        headers: The answer's headers besides its length.
        hangs: Whether no answer comes before the server stops or `release()` is called.
    """

    status: int = 503
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request before it is judged; it holds the key, and is shown to nobody.

    Attributes:
        method: GET or POST.
        path: Its path.
        query: Its query.
        headers: Its headers, their names in lower case.
        body: Its body.
        door: The door that it came through; empty for the main one.
    """

    method: str
    path: str = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    door: str = ""

    def content(self) -> object:
        """The body's JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came, without its key.

    Attributes:
        version: The version of the key that it carried, 1 or more; 0 for one that was never current,
            or none.
        status: How it was answered; 0 for not at all.
        query: Its query.
        at: When its key was judged, in monotonic seconds.
        method: GET or POST.
        path: Its path, without the key.
        body: Its body.
        door: The door that it came through; empty for the main one.
    """

    version: int
    status: int
    query: Mapping[str, str]
    at: float
    method: str = "GET"
    path: str = "/"
    body: bytes = b""
    door: str = ""


class LocalServer(ABC):
    """Serves on the loopback while its `with` block runs.

    Args:
        key: The key that is accepted first; its version is 1.
        port: The port; 0 for a free one.

    Attributes:
        seen: The requests so far, in the order of their answers.
    """

    def __init__(self, key: str, port: int = 0) -> None:
        self.seen: list[Seen] = []
        self._keys = [key.encode()]
        self._accepted = {1}
        self._faults: deque[Fault] = deque()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._http = _Server(("127.0.0.1", port), self)
        self._doors = {"": self._http}
        # A byte says that there is a new door, the end of the stream that the server stops.
        self._rung, self._bell = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @abstractmethod
    def parted(self, request: Incoming) -> tuple[str, str]:
        """The key of a request, empty if it has none, and its path without the key."""

    @abstractmethod
    def judge(self, request: Incoming, path: str, *, accepted: bool) -> Fault:
        """The answer to a request; one at a time.

        Args:
            request: The request.
            path: Its path without the key.
            accepted: Whether its key is accepted.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.url}, key version {len(self._keys)}>"

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def door(self, name: str) -> str:
        """Another base URL of the same server, for one of those who call it: `Seen.door` tells them apart.

        Args:
            name: Whose it is; the same URL for the same name.
        """
        with self._lock:
            if name not in self._doors:
                self._doors[name] = _Server(("127.0.0.1", 0), self, name)
                self._bell.send(b"+")
            return f"http://127.0.0.1:{self._doors[name].server_address[1]}"

    def rotate(
        self, key: str, meanwhile: Callable[[], object] = lambda: None, *, overlap: bool = False
    ) -> int:
        """Accept this key and, from the same moment on, no other.

        Args:
            key: The new key.
            meanwhile: Called in that moment: no request is judged before it has returned. It may
                store the key where its users look for it.
            overlap: Go on accepting the keys before it too.

        Returns:
            Its version: 2 for the second key, and so on.
        """
        with self._lock:
            meanwhile()
            self._keys.append(key.encode())
            self._accepted = {*(self._accepted if overlap else ()), len(self._keys)}
            return len(self._keys)

    def accepts(self, version: int) -> bool:
        """Whether the key of this version is accepted now."""
        with self._lock:
            return version in self._accepted

    def reinstate(self) -> None:
        """Accept every key so far again."""
        with self._lock:
            self._accepted = set(range(1, len(self._keys) + 1))

    def revoke(self) -> None:
        """Accept no key, until the next `rotate`."""
        with self._lock:
            self._accepted = set()

    def fail(self, *faults: Fault) -> None:
        """Answer the next requests so, one after the other, whatever key they carry."""
        with self._lock:
            self._faults.extend(faults)

    def release(self) -> None:
        """Let the requests that hang go on: they are closed without an answer."""
        self._released.set()

    def requests_by_version(self) -> dict[int, int]:
        """How many requests came with each version of the key."""
        with self._lock:
            versions = [seen.version for seen in self.seen]
        return {version: versions.count(version) for version in sorted(set(versions))}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._bell.close()
        self._thread.join()
        self._rung.close()
        for http in self._doors.values():
            http.server_close()

    def _serve(self) -> None:
        # `serve_forever()` would need a thread for each door, and wake up to look for its end.
        with selectors.DefaultSelector() as ready:
            ready.register(self._rung, selectors.EVENT_READ)
            self._listen_at_new_doors(ready)
            while True:
                for key, _ in ready.select():
                    if key.data is not None:
                        key.data.handle_request()
                    elif self._rung.recv(1):
                        self._listen_at_new_doors(ready)
                    else:
                        return

    def _listen_at_new_doors(self, ready: selectors.BaseSelector) -> None:
        with self._lock:
            doors = list(self._doors.values())
        for http in doors:
            if http.fileno() not in ready.get_map():
                ready.register(http, selectors.EVENT_READ, http)

    def answer_to(self, request: Incoming) -> Fault:
        """The answer to one request; called by the server's threads."""
        key, path = self.parted(request)
        with self._lock:
            at = time.monotonic()
            version = self._version_of(key)
            answer = self._next_answer(request, path, version)
        if answer.hangs:
            self._released.wait()
            answer = Fault(status=0)
        seen = Seen(
            version=version,
            status=answer.status,
            query=request.query,
            at=at,
            method=request.method,
            path=path,
            body=request.body,
            door=request.door,
        )
        with self._lock:
            self.seen.append(seen)
        return answer

    def _next_answer(self, request: Incoming, path: str, version: int) -> Fault:
        if self._faults:
            return self._faults.popleft()
        return self.judge(request, path, accepted=version in self._accepted)

    def _version_of(self, key: str) -> int:
        given = key.encode("latin-1", "replace")
        for version, known in reversed(list(enumerate(self._keys, 1))):
            if hmac.compare_digest(given, known):
                return version
        return 0


def as_json(status: int, content: object) -> Fault:
    """An answer in JSON."""
    return Fault(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Each request may be a connection of its own: the default of 5 refuses some under load.
    request_queue_size = 128
    #: Seconds to wait for a connection that is there, unless its caller has just gone again.
    timeout = 0.5

    def __init__(self, address: tuple[str, int], owner: LocalServer, door: str = "") -> None:
        self.owner = owner
        self.door = door
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: Nagle's algorithm would hold the second back for 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        answer = self.server.owner.answer_to(self._incoming())
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_POST = do_GET  # noqa: N815  http.server's name

    def _incoming(self) -> Incoming:
        parts = urlsplit(self.path)
        return Incoming(
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length", 0))),
            door=self.server.door,
        )

    def log_message(self, *_: object) -> None:
        """Nothing: what is seen is recorded, and a request line is nobody's business."""
