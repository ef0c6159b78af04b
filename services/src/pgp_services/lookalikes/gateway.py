"""What stands in for the fleet's hosts on this machine: hands each request to the port of its Host.

A service that calls another one directly does so through it (the setting LOCAL_GATEWAY).
"""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pgp_services.lookalikes.routes import Routes

#: Headers of one connection, which are not handed on.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that was handed on.

    Attributes:
        host: Its Host.
        method: HTTP's method.
        path: Its path, without the query.
        status: How it was answered: 503 if nobody answers for the host, 502 if somebody broke off.
    """

    host: str
    method: str
    path: str
    status: int


class Gateway:
    """Hands requests on while its `with` block runs.

    Args:
        routes: Where the hosts are.
        port: The port; 0 for a free one.
        limit: Seconds that an answer may take.

    Attributes:
        passed: The requests so far, in the order of their answers.
    """

    def __init__(self, routes: Routes, port: int = 0, *, limit: float = 30.0) -> None:
        self.passed: list[Passed] = []
        self._routes = routes
        self._limit = limit
        self._http = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __repr__(self) -> str:
        return f"<Gateway at {self.url}>"

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def hand_on(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """The answer to one request, whose headers' names are in lower case; for the server's threads."""
        host = headers.get("host", "")
        answer = self._asked(method, target, headers, body)
        self.passed.append(Passed(host, method, target.partition("?")[0], answer[0]))
        return answer

    def _asked(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        port = self._routes.port_of(headers.get("host", ""))
        if port is None:
            return 503, {}, b""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=self._limit)
        try:
            connection.request(method, target, body, {**headers, "connection": "close"})
            answer = connection.getresponse()
            return answer.status, _kept(dict(answer.headers)), answer.read()
        except ConnectionRefusedError:
            return 503, {}, b""
        except (OSError, http.client.HTTPException):
            return 502, {}, b""
        finally:
            connection.close()


def _kept(headers: dict[str, str]) -> dict[str, str]:
    left_out = {*_HOP_BY_HOP, "content-length"}
    return {name: value for name, value in headers.items() if name.lower() not in left_out}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: Gateway) -> None:
        self.owner = owner
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: Nagle's algorithm would hold the second back for 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, content = self.server.owner.hand_on(
            self.command, self.path, {n.lower(): v for n, v in self.headers.items()}, body
        )
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  the base class calls them so

    def log_message(self, *_: object) -> None:
        """Nothing: a request line is nobody's business."""
