"""A steady load of queries and webhooks, and what became of each of them."""

from __future__ import annotations

import hashlib
import hmac
import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_services.demo.load import SteadyLoad
from pgp_services.demo_rotation.app import AT, PROCESS, SIGNATURE, USED

if TYPE_CHECKING:
    from collections.abc import Sequence

OK = 200

QUERY, WEBHOOK = "query", "webhook"

#: Seconds that one request may take: longer than a process is frozen.
PATIENCE = 40.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Attributes:
        kind: "query" or "webhook".
        status: The HTTP status; 0 if there was no answer.
        process: The process that answered; "" if none did.
        used: The database role, or the version of the key, that it used.
        at: When it used it, in monotonic seconds, by its own word.
    """

    kind: str
    status: int
    process: str = ""
    used: str = ""
    at: float = 0.0


class Traffic(SteadyLoad[Answer]):
    """Sends queries and webhooks, each over a connection of its own, so that every process gets some.

    Args:
        ports: Where the service listens on 127.0.0.1; requests go there in turn.
        key: What webhooks are signed with; replace it when the sender is told of a new one.
        rate: Requests a second.
        threads: How many send.

    Attributes:
        key: As above.
    """

    def __init__(self, ports: Sequence[int], key: str, rate: float, threads: int) -> None:
        super().__init__(ports, rate, threads, PATIENCE)
        self.key = key

    def processes(self) -> dict[str, set[str]]:
        """The processes that have answered well so far, by the kind of request."""
        return {
            kind: {a.process for a in list(self.outcomes) if a.kind == kind and a.status == OK}
            for kind in (QUERY, WEBHOOK)
        }

    def _send(self, connection: http.client.HTTPConnection, target: int, number: int) -> Answer:
        del target
        # By twos: the ports are taken in turn, and each is to get both.
        kind = (QUERY, WEBHOOK)[number // len(self._ports) % 2]
        try:
            return send(connection, kind, f"payment {number}", self.key)
        finally:
            connection.close()


def send(
    connection: http.client.HTTPConnection,
    kind: str,
    message: str = "",
    key: str = "",
    path: str = "/query",
) -> Answer:
    """Send one request; a failure is an answer too.

    Args:
        connection: It is left open.
        kind: "query" or "webhook".
        message: What a webhook says.
        key: What a webhook is signed with.
        path: Where a query goes.
    """
    try:
        if kind == QUERY:
            connection.request("GET", path)
        else:
            body = message.encode()
            signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
            connection.request("POST", "/webhook", body, {SIGNATURE: signature})
        return _answer(kind, connection.getresponse())
    except (OSError, http.client.HTTPException):
        return Answer(kind, 0)


def _answer(kind: str, response: http.client.HTTPResponse) -> Answer:
    response.read()
    found = response.headers
    return Answer(
        kind, response.status, found.get(PROCESS, ""), found.get(USED, ""), float(found.get(AT, 0))
    )
