"""What a caller gets: a status and JSON or a page, of fixed words where something failed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from pgp_config import PgpConfigError
from pgp_services.failures import BadRequest, NotLoggedIn, ServiceFailure, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds after which a caller may come back, unless the other side asked for more; and the most that
#: is handed on.
RETRY_AFTER, LONGEST_RETRY_AFTER = 5, 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets.

    Attributes:
        status: The HTTP status.
        content: Sent as JSON; a text is sent as HTML.
        headers: Sent besides what the framework adds.
        alarm: Why somebody is to be told all the same, where the caller is not to call again; without a trace of a
            secret, and the same words each time, for alerts are told once a minute and text. Empty for nothing.
    """

    status: int
    content: Mapping[str, object] | str
    headers: Mapping[str, str] = field(default_factory=dict)
    alarm: str = ""

    @property
    def message(self) -> str:
        """What it says, for the log."""
        return (
            "done" if isinstance(self.content, str) else str(self.content.get("message", "done"))
        )


def done(
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    alarm: str = "",
    **content: object,
) -> Answer:
    """The answer to a request that was done.

    Args:
        message: What was done.
        headers: Sent besides what the framework adds.
        alarm: Why somebody is to be told all the same; empty for nothing.
        content: What the caller is told besides.
    """
    told = {"status": "success", "message": message, **content}
    return Answer(200, told, headers or {}, alarm)


def not_delivered() -> Answer:
    """The answer where somebody was to be written to who has blocked the bot: nothing to be repeated."""
    message = "Not delivered: the chat is closed to the bot"
    return Answer(200, {"status": "not delivered", "message": message})


def refused(failure: Exception) -> Answer:
    """The answer to a request that failed: fixed words, and the names of fields."""
    if isinstance(failure, PgpConfigError):
        failure = Unavailable("a secret")
    if not isinstance(failure, ServiceFailure):
        failure = ServiceFailure("unexpected")
    content: dict[str, object] = {"status": "error", "message": failure.message}
    if isinstance(failure, BadRequest) and failure.fields:
        content["fields"] = list(failure.fields)
    return Answer(failure.status, content, _headers(failure))


def _headers(failure: ServiceFailure) -> dict[str, str]:
    if isinstance(failure, NotLoggedIn):
        return {"WWW-Authenticate": "Bearer"}
    if not isinstance(failure, Unavailable):
        return {}
    wanted = math.ceil(failure.retry_after or 0)
    return {"Retry-After": str(min(max(wanted, RETRY_AFTER), LONGEST_RETRY_AFTER))}


def refused_by_framework(status: int, headers: Mapping[str, str]) -> Answer:
    """The answer to a request that never came to a handler: an unknown path, a wrong method."""
    return Answer(status, {"status": "error", "message": HTTPStatus(status).phrase}, headers)
