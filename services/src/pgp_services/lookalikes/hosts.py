"""A local stand-in for any host of the fleet: it takes every call, and notes for which host it was."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgp_services.lookalikes.http import Fault, Incoming, LocalServer, as_json

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Visit:
    """A call that was taken.

    Attributes:
        host: For which host, with its port if the URL has one.
        path: Its path.
        headers: Its headers, their names in lower case.
        body: Its body.
        at: When, in monotonic seconds.
        door: The door that it came through; see `LocalServer.door`.
    """

    host: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float
    door: str


class HostsServer(LocalServer):
    """Answers 200 to whatever is asked of whatever host; routes lead to its `url`.

    Attributes:
        visits: The calls so far.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__("", port)
        self.visits: list[Visit] = []

    def parted(self, request: Incoming) -> tuple[str, str]:
        """There is no key."""
        return "", request.path

    def judge(self, request: Incoming, path: str, *, accepted: bool) -> Fault:  # noqa: ARG002  there is no key
        """Note it; all is well."""
        host = request.headers.get("host", "").lower()
        self.visits.append(
            Visit(host, path, request.headers, request.body, time.monotonic(), request.door)
        )
        return as_json(200, {"status": "success"})
