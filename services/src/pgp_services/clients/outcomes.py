"""What became of one HTTP attempt, as a value.

Nothing is raised while a local holds a request, a URL or an answer: what HTTP says becomes an `Outcome`
of fixed words, names and status codes first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Generic, NoReturn, TypeVar

import httpx
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_services.failures import Refused

M = TypeVar("M", bound=BaseModel)

#: The statuses of an answer that is read.
GOOD = (httpx.codes.OK, httpx.codes.CREATED)

#: What ends an attempt without an answer, and may not end the next one.
_PASSING = (httpx.TransportError, TimeoutError)

#: Of these, what the next attempt would meet again; nothing was sent.
_LASTING = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)

#: Of these, what comes before anything is sent.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[M]):
    """What became of one attempt.

    Attributes:
        status: The HTTP status, or 0 if there was no answer.
        trouble: Why there is no value; fixed words and names only.
        value: What a good answer says.
        retry_after: Seconds after which the other party wants to be asked again, if it said so.
        passing: Whether the next attempt may go better.
        without_effect: Whether the request surely had no effect.
        refused: The failure, where it is another than the client's usual one.
    """

    status: int
    trouble: str = ""
    value: M | None = field(default=None, repr=False)
    retry_after: float | None = None
    passing: bool = False
    without_effect: bool = False
    refused: type[Refused] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that came in, whatever its status.

    Attributes:
        party: Who answered, for texts.
        status: The HTTP status.
        headers: The answer's headers.
        body: Its body.
    """

    party: str
    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)

    def read(self, model: type[M]) -> Outcome[M]:
        """A good answer as a model; any other by its status.

        Args:
            model: What a good answer says. It forbids no unknown field and has no mapping: the names of
                what is wrong are told, and must be the model's own.
        """
        if self.status not in GOOD:
            return self.failure()
        try:
            return Outcome(self.status, value=model.model_validate(self.content()))
        except ValidationError as fault:
            trouble = f"{self.party}'s answer is unusable: {_faults_of(fault)}"
        except (ValueError, RecursionError, ArithmeticError):
            trouble = f"{self.party}'s answer is not JSON"
        return Outcome(self.status, trouble)

    def content(self) -> object:
        """The body's JSON, with a `Decimal` for each number that is no integer.

        Raises:
            ValueError, RecursionError, ArithmeticError: If it is none.
        """
        return json.loads(self.body, parse_float=Decimal, parse_constant=_no_constant)

    def failure(self) -> Outcome[M]:
        """What an answer means that is not good, by its status and Retry-After.

        A proxy answers 503 too, when it has lost a request that it had passed on: it says no `Retry-After`.
        """
        pause = seconds(self.headers.get("retry-after"))
        unavailable = self.status == httpx.codes.SERVICE_UNAVAILABLE
        done = httpx.codes.is_success(self.status) or httpx.codes.is_server_error(self.status)
        return Outcome(
            self.status,
            f"{self.party} answered {self.status}",
            retry_after=pause,
            passing=self.status == httpx.codes.TOO_MANY_REQUESTS
            or httpx.codes.is_server_error(self.status),
            without_effect=not done or (unavailable and pause is not None),
        )


class Body:
    """The body of an answer as it comes in, within a time and a size.

    httpx bounds each read, not their sum: an answer that trickles in would outlive the attempt.

    Args:
        longest: Bytes, at most.
        limit: Seconds from now.
        clock: Monotonic seconds.
    """

    def __init__(self, longest: int, limit: float, clock: Callable[[], float]) -> None:
        self._longest = longest
        self._clock = clock
        self._end = clock() + limit
        self._bytes = bytearray()

    def take(self, chunk: bytes) -> None:
        """Add what has come.

        Raises:
            TooLongError: If it is too much.
            TimeoutError: If it is too late.
        """
        self._bytes += chunk
        if len(self._bytes) > self._longest:
            raise TooLongError
        if self._clock() >= self._end:
            raise TimeoutError

    def reply(self, party: str, response: httpx.Response) -> Reply:
        """The answer, once all of it has come."""
        return Reply(party, response.status_code, response.headers, bytes(self._bytes))


class TooLongError(Exception):
    """The answer is longer than it can be."""


class UnusableAddressError(Exception):
    """A secret that is to be a URL, or a part of one, cannot be."""


def without_answer(party: str, fault: Exception, *, sending: bool) -> Outcome[M]:
    """What an exception in place of an answer means: only its type is told.

    Args:
        party: Who did not answer.
        fault: The exception.
        sending: Whether it came when something may have been sent.
    """
    return Outcome(
        0,
        f"no answer from {party} ({type(fault).__name__})",
        passing=isinstance(fault, _PASSING) and not isinstance(fault, _LASTING),
        without_effect=not sending or isinstance(fault, (*_UNSENT, *_LASTING)),
    )


def bare(fault: BaseException) -> BaseException:
    """What ends the whole call (a cancellation, an interrupt) without the frames and causes behind it."""
    fault.__cause__ = fault.__context__ = None
    return fault.with_traceback(None)


def _number(amount: object) -> object:
    if isinstance(amount, bool):
        raise PydanticCustomError("number", "Not a number")
    return amount


#: An amount in an answer: finite, 0 or more, a JSON number or a string of one.
Number = Annotated[
    Decimal,
    BeforeValidator(_number),
    Field(ge=0, max_digits=60, decimal_places=30, allow_inf_nan=False),
]


def _faults_of(fault: ValidationError) -> str:
    """Fields and codes; the messages and inputs hold parts of the answer."""
    found = fault.errors(include_input=False, include_url=False, include_context=False)
    return ", ".join(f"{'.'.join(map(str, error['loc']))} {error['type']}" for error in found)


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON.")


def seconds(retry_after: str | None) -> float | None:
    """A Retry-After header, seconds or a date (RFC 9110, 10.2.3), as seconds of 0 or more."""
    if retry_after is None:
        return None
    if retry_after.isdecimal() and retry_after.isascii():
        return float(retry_after[:9])
    try:
        date = parsedate_to_datetime(retry_after)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
