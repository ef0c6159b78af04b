"""What a caller gets: a status and JSON, of fixed words where something failed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from pgp_config import PgpConfigError
from pgp_services.failures import BadRequest, ServiceFailure, Unavailable

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
        content: Sent as JSON.
        headers: Sent besides what the framework adds.
    """

    status: int
    content: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)


def done(message: str, **content: object) -> Answer:
    """The answer to a request that was done.

    Args:
        message: What was done.
        content: What the caller is told besides.
    """
    return Answer(200, {"status": "success", "message": message, **content})


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
    if not isinstance(failure, Unavailable):
        return {}
    wanted = math.ceil(failure.retry_after or 0)
    return {"Retry-After": str(min(max(wanted, RETRY_AFTER), LONGEST_RETRY_AFTER))}


def refused_by_framework(status: int, headers: Mapping[str, str]) -> Answer:
    """The answer to a request that never came to a handler: an unknown path, a wrong method."""
    return Answer(status, {"status": "error", "message": HTTPStatus(status).phrase}, headers)
