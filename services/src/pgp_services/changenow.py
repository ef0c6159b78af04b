"""ChangeNow v2: what an amount is worth, asked with the key that is current at each attempt.

The key is read from its provider for every attempt and travels on that request only. A 401 or 403
makes the client look for a newer version once (`rotation_retry`); a key that did not change is not
tried again, unless the client is told to try the version before it or to wait. What HTTP says becomes a value (`_Outcome`) before anything is raised, so that no error carries a request,
a URL or an answer, nor a frame whose locals hold them.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from pgp_config import DeclarationError, rotation_retry_context
from pgp_services.connections import PerLoop, PerProcess, is_loopback
from pgp_services.failures import Refused, Unavailable
from pgp_services.retries import (
    SHORTEST_ATTEMPT,
    Course,
    RetryPolicy,
    retrying,
    retrying_async,
)
from pgp_services.tokens import plain

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pgp_config import Rotating

API = "https://api.changenow.io"

#: Bounds of one estimate. At the very worst a request takes 24 s of the 30 s that gunicorn gives it:
#: six reads of secrets and a refresh that all wait their full 2 s, this budget (in which the read of the
#: key is included), and the 4 s of the task.
POLICY = RetryPolicy(budget=8.0, attempt=3.0)

#: Bytes of an answer that are read; an estimate has under 1,000.
MAX_ANSWER = 65536


class ChangeNowRefused(Refused):
    """ChangeNow refuses the request or the key, or answers nonsense."""


class ChangeNowUnavailable(Unavailable):
    """ChangeNow does not answer within the budget."""


class _KeyRefused(ChangeNowRefused):
    """ChangeNow answered 401 or 403."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What is to be swapped for what.

    Attributes:
        from_currency: What is swapped, as ChangeNow names it, on the network `eth`.
        to_currency: What is paid out.
        to_network: On what network.
        amount: How much is swapped, in `from_currency`; more than 0.
    """

    from_currency: str
    to_currency: str
    to_network: str
    amount: Decimal

    def query(self) -> dict[str, str]:
        """The request's query, as ChangeNow's v2 API takes it."""
        return {
            "fromCurrency": self.from_currency.lower(),
            "toCurrency": self.to_currency.lower(),
            "fromNetwork": "eth",
            "toNetwork": self.to_network.lower(),
            "fromAmount": plain(self.amount),
            "flow": "standard",
            "type": "direct",
        }


def _number(amount: object) -> object:
    if isinstance(amount, bool):
        raise PydanticCustomError("number", "Not a number")
    return amount


_Number = Annotated[
    Decimal,
    BeforeValidator(_number),
    Field(ge=0, max_digits=60, decimal_places=30, allow_inf_nan=False),
]


class Estimate(BaseModel):
    """What ChangeNow would pay out.

    Attributes:
        from_amount: What it would take; more than 0.
        to_amount: What it would pay out, fees taken off; more than 0.
        deposit_fee: Its fee on the way in.
        withdrawal_fee: Its fee on the way out.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    from_amount: Annotated[_Number, Field(alias="fromAmount", gt=0)]
    to_amount: Annotated[_Number, Field(alias="toAmount", gt=0)]
    deposit_fee: Annotated[_Number, Field(alias="depositFee")]
    withdrawal_fee: Annotated[_Number, Field(alias="withdrawalFee")]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one attempt.

    Attributes:
        status: The HTTP status, or 0 if there was no answer.
        trouble: Why there is no estimate; fixed words and names only.
        estimate: The estimate, of a good answer.
        retry_after: Seconds after which ChangeNow wants to be asked again, if it said so.
        passing: Whether a request that got no answer may get one at the next attempt.
    """

    status: int
    trouble: str = ""
    estimate: Estimate | None = None
    retry_after: float | None = None
    passing: bool = True

    @property
    def refuses_key(self) -> bool:
        return self.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)

    @property
    def is_passing(self) -> bool:
        if not self.status:
            return self.passing
        return self.status == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(
            self.status
        )


class _Call(Course):
    """One estimate with all its attempts.

    Args:
        pair: What is asked.
        policy: The bounds of the call.
    """

    def __init__(self, pair: Pair, policy: RetryPolicy) -> None:
        super().__init__(policy)
        self.query = pair.query()
        self._key_was_refused = False
        self._looks_for_key = True

    def begin(self) -> None:
        """An attempt begins. If a key was refused in one before it, none is looked for again."""
        self._looks_for_key = not self._key_was_refused

    def refuses_key(self, error: Exception) -> bool:
        """Whether to look for another key."""
        if not isinstance(error, _KeyRefused):
            return False
        self._key_was_refused = True
        return self._looks_for_key

    def check_budget(self) -> None:
        """See that there is time for an attempt with another key.

        Raises:
            ChangeNowUnavailable: If there is none.
        """
        if self._key_was_refused and self.left() < SHORTEST_ATTEMPT:
            raise ChangeNowUnavailable("ChangeNow refuses a key that has been replaced")

    def conclude(self, outcome: _Outcome) -> Estimate:
        """The estimate, or the failure, of one attempt."""
        if outcome.estimate is not None:
            return outcome.estimate
        if outcome.refuses_key:
            raise _KeyRefused(outcome.trouble)
        if outcome.is_passing:
            raise ChangeNowUnavailable(outcome.trouble, retry_after=outcome.retry_after)
        raise ChangeNowRefused(outcome.trouble)


class ChangeNowClient:
    """Asks ChangeNow; usable from threads and from coroutines.

    Args:
        api_key: The secret, not its value.
        base_url: `https://` and a host; plain http for a local server on the loopback only.
        policy: The bounds of one estimate with all its attempts.
        previous_key: Whether a refused key makes it try the version before, where the store may be
            ahead of ChangeNow. The fleet's rule is a newer version only, once.
        key_patience: Seconds to wait for a key that is accepted, 0 or more, within the policy's
            budget. The fleet's rule is 0: Cloud Tasks calls again.

    Raises:
        DeclarationError: If the base URL is of another kind.
    """

    def __init__(
        self,
        api_key: Rotating[SecretStr],
        base_url: str = API,
        policy: RetryPolicy = POLICY,
        *,
        previous_key: bool = False,
        key_patience: float = 0.0,
    ) -> None:
        self._api_key = api_key
        self._policy = policy
        self._previous_key = previous_key
        self._key_patience = key_patience
        base = _checked(base_url)
        del base_url  # it may hold a password, and a traceback's locals are logged
        if base is None:
            raise DeclarationError(
                "ChangeNow's base URL is not https and a host",
                remedy=f"Leave it out ({API}), or give https://HOST, or http://127.0.0.1:PORT for a "
                "local stand-in. A key goes into the secret, never into the URL.",
            )
        self._url = base.join("/v2/exchange/estimated-amount")
        # A local server is not behind the proxy that the environment may name.
        self._trust_env = not is_loopback(base.host)
        self._clients = PerProcess(self._client, httpx.Client.close)
        self._async_clients = PerLoop(self._async_client, httpx.AsyncClient.aclose)

    def estimate(self, pair: Pair) -> Estimate:
        """What ChangeNow would pay out.

        Raises:
            ChangeNowRefused: If it refuses the request or the key, or answers nonsense.
            ChangeNowUnavailable: If it does not answer within the budget.
            PgpConfigError: If there is no key.
        """
        call = _Call(pair, self._policy)
        return retrying(call.pause_after, self._attempt, call)

    async def estimate_async(self, pair: Pair) -> Estimate:
        """As `estimate`, from a coroutine."""
        call = _Call(pair, self._policy)
        return await retrying_async(call.pause_after, self._attempt_async, call)

    def close(self) -> None:
        """Close the connections of this process; the next use opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next use opens new ones."""
        await self._async_clients.aclose()

    def _attempt(self, call: _Call) -> Estimate:
        for attempt in self._with_keys(call):
            with attempt as key:
                call.check_budget()
                estimate = call.conclude(self._ask(call, key))
        return estimate

    async def _attempt_async(self, call: _Call) -> Estimate:
        async for attempt in self._with_keys(call):
            with attempt as key:
                call.check_budget()
                estimate = call.conclude(await self._ask_async(call, key))
        return estimate

    def _with_keys(self, call: _Call) -> rotation_retry_context[SecretStr]:
        call.begin()
        return rotation_retry_context(
            self._api_key,
            on=call.refuses_key,
            budget=min(self._key_patience, call.left()),
            previous=self._previous_key,
        )

    def _ask(self, call: _Call, key: SecretStr) -> _Outcome:
        client = self._clients()
        answer = _Answer(call)
        try:
            request = self._request(client, call, key)
            with closing(client.send(request, stream=True)) as response:
                for chunk in response.iter_raw():
                    answer.take(chunk)
        except _NO_ANSWER as fault:
            return _without_answer(fault)
        return answer.outcome(response)

    async def _ask_async(self, call: _Call, key: SecretStr) -> _Outcome:
        client = await self._async_clients()
        answer = _Answer(call)
        try:
            request = self._request(client, call, key)
            async with (
                asyncio.timeout(call.attempt_limit()),
                aclosing(await client.send(request, stream=True)) as response,
            ):
                async for chunk in response.aiter_raw():
                    answer.take(chunk)
        except _NO_ANSWER as fault:
            return _without_answer(fault)
        return answer.outcome(response)

    def _request(
        self, client: httpx.Client | httpx.AsyncClient, call: _Call, key: SecretStr
    ) -> httpx.Request:
        return client.build_request(
            "GET",
            self._url,
            params=call.query,
            headers={"x-changenow-api-key": key.get_secret_value(), "accept-encoding": "identity"},
            timeout=_split(call.attempt_limit()),
        )

    def _client(self) -> httpx.Client:
        return httpx.Client(trust_env=self._trust_env)

    async def _async_client(self) -> httpx.AsyncClient:
        # Reading the certificate authorities takes a while: not in the loop's thread.
        context = await asyncio.to_thread(httpx.create_ssl_context, trust_env=self._trust_env)
        return httpx.AsyncClient(verify=context, trust_env=self._trust_env)


def _split(limit: float) -> httpx.Timeout:
    """An attempt's time over its steps: httpx bounds each of them, not their sum."""
    return httpx.Timeout(limit * 2 / 3, connect=limit / 3, pool=limit / 3)


class _TooLongError(Exception):
    """The answer is longer than an estimate can be."""


#: What ends an attempt without an answer; UnicodeError for a key that no header can carry.
_NO_ANSWER = (httpx.HTTPError, UnicodeError, TimeoutError, _TooLongError)

#: Of these, what the next attempt would meet again.
_LASTING = (httpx.LocalProtocolError, httpx.UnsupportedProtocol, UnicodeError, _TooLongError)


def _without_answer(fault: Exception) -> _Outcome:
    trouble = f"no answer from ChangeNow ({type(fault).__name__})"
    return _Outcome(0, trouble, passing=not isinstance(fault, _LASTING))


class _Answer:
    """The body of an answer as it comes in, within the attempt's time and a size.

    httpx bounds each read, not their sum: an answer that trickles in would outlive the budget.

    Args:
        call: The call that it answers.
    """

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._body = bytearray()

    def take(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > MAX_ANSWER:
            raise _TooLongError
        if self._call.left() <= 0:
            raise TimeoutError

    def outcome(self, response: httpx.Response) -> _Outcome:
        status = response.status_code
        if status != httpx.codes.OK:
            retry_after = _seconds(response.headers.get("retry-after"))
            return _Outcome(status, f"ChangeNow answered {status}", retry_after=retry_after)
        return _read_estimate(bytes(self._body))


def _read_estimate(body: bytes) -> _Outcome:
    try:
        content = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
        return _Outcome(httpx.codes.OK, estimate=Estimate.model_validate(content))
    except ValidationError as fault:
        trouble = f"ChangeNow's estimate is unusable: {_faults_of(fault)}"
    except (ValueError, RecursionError, ArithmeticError):
        trouble = "ChangeNow's answer is not JSON"
    return _Outcome(httpx.codes.OK, trouble)


def _faults_of(fault: ValidationError) -> str:
    """Fields and codes; the messages and inputs hold parts of the answer."""
    found = fault.errors(include_input=False, include_url=False, include_context=False)
    return ", ".join(f"{'.'.join(map(str, error['loc']))} {error['type']}" for error in found)


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no amounts.")


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header, seconds or a date (RFC 9110, 10.2.3), as seconds of 0 or more."""
    if retry_after is None:
        return None
    if retry_after.isdecimal() and retry_after.isascii():
        return float(retry_after[:9])
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _checked(base_url: str) -> httpx.URL | None:
    """The base URL, unless it would send the key in the clear or carries one itself."""
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        return None
    local = url.scheme == "http" and is_loopback(url.host)
    bare = url.host and not url.userinfo and url.raw_path == b"/"
    return url if bare and (url.scheme == "https" or local) else None
