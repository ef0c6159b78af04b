"""The REST side: HTTP/1.1 and JSON on a port of the loopback."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from pgp_config.emulator import transcoding
from pgp_config.emulator.rules import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.emulator.service import Methods

#: Where the certificates are that verify the tokens of pushes, as on www.googleapis.com.
CERTS_PATH = "/oauth2/v1/certs"

#: Bytes of a body: well over the 64 KiB of a payload in base64 and 16 KiB of annotations.
MOST_BYTES = 1024 * 1024


class RestServer(ThreadingHTTPServer):
    """Listens from its making until `stop()`; each connection has a thread of its own.

    Args:
        host: An address of the loopback.
        port: 0 for a free one.
        methods: They answer.
        certificates: Gives the certificates of the token signer, by key id.

    Raises:
        OSError: If it cannot listen there.
    """

    request_queue_size = 128
    #: Seconds to wait for a connection that is there, unless its caller has just gone again.
    timeout = 0.5

    def __init__(
        self,
        host: str,
        port: int,
        methods: Methods,
        certificates: Callable[[], dict[str, str]],
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.methods = methods
        self.certificates = certificates
        self._open: set[socket.socket] = set()
        self._serving: list[threading.Thread] = []
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)
        self._ending, self._end = socket.socketpair()
        self._accepting = threading.Thread(
            target=self._accept, name="secret-manager-emulator-rest", daemon=True
        )
        self._accepting.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind; without looking up the host's name, as `HTTPServer` does, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def _accept(self) -> None:
        # `serve_forever()` would look for its end every so often, and a stop would wait for that.
        with selectors.DefaultSelector() as selector:
            for awaited in (self.socket, self._ending):
                selector.register(awaited, selectors.EVENT_READ)
            while self._ending not in [key.fileobj for key, _ in selector.select()]:
                self.handle_request()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as in the base class
        """Serve a connection in a thread; a daemon, so that a program ends which forgot to stop the server."""
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="secret-manager-emulator-rest-connection",
            daemon=True,
        )
        with self._lock:
            self._open.add(request)
        self._serving = [*filter(threading.Thread.is_alive, self._serving), thread]
        thread.start()

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  as in the base class
        """Close a connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as in the base class
        """Show a bug; a caller who went away is none."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def disconnect(self) -> None:
        """Stop listening and end the connections; the calls in flight find nobody to answer."""
        self._end.close()
        self._accepting.join()
        self._ending.close()
        self.server_close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        """Wait for the threads of the connections; `disconnect()` came before."""
        for thread in self._serving:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"
    # One write an answer, sent at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        try:
            answer = self._answer()
        except StatusError as error:
            code = transcoding.HTTP_CODES[error.code]
            self._send(code, transcoding.error_of(error, code))
        else:
            self._send(200, answer)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815  the base class calls them so

    def _answer(self) -> bytes:
        if (self.command, self.path) == ("GET", CERTS_PATH):
            return json.dumps(self.server.certificates()).encode()
        methods = self.server.methods
        method, request = transcoding.request_of(
            self.command, self.path, self._body(), methods.table
        )
        answer = methods.call(method, request, self.headers.get("User-Agent", ""))
        return transcoding.json_of(answer, self.path)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            raise StatusError("INVALID_ARGUMENT", "A body needs a Content-Length.")
        if int(length) > MOST_BYTES:
            self.close_connection = True
            raise StatusError("INVALID_ARGUMENT", f"The body is larger than {MOST_BYTES} bytes.")
        self.wfile.flush()  # a caller who expects a "100 Continue" sends nothing before
        return self.rfile.read(int(length))

    def _send(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,  # noqa: ARG002  as in the base class
    ) -> None:
        """Tell what the base class finds wrong with a request."""
        self.close_connection = True
        status = "UNIMPLEMENTED" if code == HTTPStatus.NOT_IMPLEMENTED else "INVALID_ARGUMENT"
        error = StatusError(status, message or HTTPStatus(code).phrase)
        self._send(code, transcoding.error_of(error, code))

    def log_message(self, *_: object) -> None:
        """Write nothing: the calls have a log of their own."""
