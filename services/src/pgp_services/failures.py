"""How a service fails, by the answer that its caller gets.

ServiceFailure
├── BadRequest      400  the request is not what the service takes
│   └── TooLarge    413  its body is larger than the service reads
├── BadToken        401  the token is not ours, or its time is over
│   └── NotLoggedIn 401  the request does not show who makes it
├── BadSignature    401  the signature is not that of the one who is said to have sent it
├── Refused         502  another party said no, or answered nonsense
└── Unavailable     503  another party cannot answer now; try again later

Texts are built from fixed words, names and status codes: no secret, token, URL or answer is in them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ServiceFailure(Exception):  # noqa: N818  the names are what happened, not the word Error
    """Base of all failures that have an answer of their own.

    Args:
        reason: What happened, for the log; fixed words, names and status codes only.
    """

    #: The HTTP status of the answer.
    status = 500
    #: What the caller is told.
    message = "Internal error"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadRequest(ServiceFailure):
    """The request is not what the service takes.

    Args:
        reason: As in the base class.
        fields: The names of the fields that are wrong; told to the caller.
    """

    status = 400
    message = "Bad request"

    def __init__(self, reason: str, *, fields: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.fields = tuple(fields)


class TooLarge(BadRequest):
    """The request's body is larger than the service reads."""

    status = 413
    message = HTTPStatus(413).phrase  # as the frameworks say it, where they notice first


class BadToken(ServiceFailure):
    """The token is not signed by us, is not of this kind, or its time is over."""

    status = 401
    message = "Invalid or expired token"


class NotLoggedIn(BadToken):
    """The request does not show who makes it; its answer says how it could."""

    message = "Not logged in, or no longer"


class BadSignature(ServiceFailure):
    """The request is not signed, or not by the one who is said to have sent it."""

    status = 401
    message = "Invalid signature"


class Refused(ServiceFailure):
    """Another party refused, or answered nonsense; the same call would fail again.

    Args:
        reason: As in the base class.
        of_key: Whether it refused the key, and might take another.
    """

    status = 502
    message = "An upstream service refused the request"

    def __init__(self, reason: str, *, of_key: bool = False) -> None:
        super().__init__(reason)
        self.of_key = of_key


class Unavailable(ServiceFailure):
    """Another party cannot answer now.

    Args:
        reason: As in the base class.
        retry_after: Seconds after which that party wants to be asked again, if it said so.
        passing: Whether another attempt may succeed within seconds.
    """

    status = 503
    message = "Temporarily unavailable"

    def __init__(
        self, reason: str, *, retry_after: float | None = None, passing: bool = True
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.passing = passing
