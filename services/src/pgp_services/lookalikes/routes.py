"""Where the hosts of the fleet are on this machine: one table for all that routes by host."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit


class Routes:
    """Hosts, each with a local port; it may change while it is used.

    Args:
        table: By host (`split1.example`, with a port if its URL has one), `http://127.0.0.1:PORT`.
    """

    def __init__(self, table: dict[str, str] | None = None) -> None:
        self._ports: dict[str, int] = {}
        self._lock = threading.Lock()
        for host, local in (table or {}).items():
            self.add(host, local)

    def __repr__(self) -> str:
        return f"<Routes {self._ports}>"

    def add(self, host: str, local: str) -> None:
        """Have a host answered by a local server.

        Args:
            host: As in the table; a URL's scheme and path are left out.
            local: `http://127.0.0.1:PORT`.
        """
        port = urlsplit(local).port
        if port is None:
            raise ValueError("A route ends at http://127.0.0.1:PORT.")
        with self._lock:
            self._ports[_host_of(host)] = port

    def remove(self, host: str) -> None:
        """Have a host answered by nobody."""
        with self._lock:
            self._ports.pop(_host_of(host), None)

    def port_of(self, host: str) -> int | None:
        """The port that answers for a host, if there is one."""
        with self._lock:
            return self._ports.get(_host_of(host))


def _host_of(text: str) -> str:
    return (urlsplit(text).netloc if "//" in text else text).lower()
