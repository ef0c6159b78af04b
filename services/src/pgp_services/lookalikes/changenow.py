"""A local stand-in for ChangeNow's estimates: accepts the current key only, and can be made to fail.

It answers as ChangeNow's v2 API does (`GET /v2/exchange/estimated-amount`), with JSON numbers and a fixed
rate. What it saw is told by the keys' versions, never by the keys.
"""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATH = "/v2/exchange/estimated-amount"

#: What is paid out for 1 that goes in, and the fixed fees.
RATE, DEPOSIT_FEE, WITHDRAWAL_FEE = 0.5, 0.001, 0.0025

_REQUIRED = (
    "fromCurrency",
    "toCurrency",
    "fromNetwork",
    "toNetwork",
    "fromAmount",
    "flow",
    "type",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """How one request is answered in place of an estimate.

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
class Seen:
    """A request as it came.

    Attributes:
        version: The version of the key that it carried, 1 or more; 0 for one that was never current,
            or none.
        status: How it was answered; 0 for not at all.
        query: Its query.
        at: When its key was judged, in monotonic seconds.
    """

    version: int
    status: int
    query: Mapping[str, str]
    at: float


class ChangeNowServer:
    """Serves estimates on the loopback while its `with` block runs.

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
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __repr__(self) -> str:
        return f"<ChangeNowServer at {self.url}, key version {len(self._keys)}>"

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

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
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer_to(self, target: str, key: str) -> Fault:
        """The answer to one request; called by the server's threads."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        with self._lock:
            at = time.monotonic()
            version = self._version_of(key)
            answer = (
                self._faults.popleft() if self._faults else self._judge(parts.path, version, query)
            )
        if answer.hangs:
            self._released.wait()
            answer = Fault(status=0)
        with self._lock:
            self.seen.append(Seen(version, answer.status, query, at))
        return answer

    def _version_of(self, key: str) -> int:
        given = key.encode("latin-1", "replace")
        for version, known in reversed(list(enumerate(self._keys, 1))):
            if hmac.compare_digest(given, known):
                return version
        return 0

    def _judge(self, path: str, version: int, query: Mapping[str, str]) -> Fault:
        if path != PATH:
            return _error(404, "not_found")
        if version not in self._accepted:
            return _error(401, "unauthorized")
        amount = _amount_in(query)
        if amount is None:
            return _error(400, "bad_request")
        return _json(
            200,
            {
                "fromCurrency": query["fromCurrency"],
                "toCurrency": query["toCurrency"],
                "fromAmount": amount,
                "toAmount": round(amount * RATE, 12),
                "depositFee": DEPOSIT_FEE,
                "withdrawalFee": WITHDRAWAL_FEE,
            },
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Each request may be a connection of its own: the default of 5 refuses some under load.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: ChangeNowServer) -> None:
        self.owner = owner
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: Nagle's algorithm would hold the second back for 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        answer = self.server.owner.answer_to(
            self.path, self.headers.get("x-changenow-api-key", "")
        )
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Nothing: what is seen is recorded, and a request line is nobody's business."""


def _amount_in(query: Mapping[str, str]) -> float | None:
    """The amount of a query that has all that it needs."""
    try:
        return float(query["fromAmount"]) if all(name in query for name in _REQUIRED) else None
    except ValueError:
        return None


def _error(status: int, error: str) -> Fault:
    return _json(status, {"error": error, "message": error})


def _json(status: int, content: Mapping[str, object]) -> Fault:
    return Fault(status, json.dumps(content).encode(), {"Content-Type": "application/json"})
