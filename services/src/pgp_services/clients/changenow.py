"""ChangeNow v2: what an amount is worth, exchanges, and how they stand."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pgp_services.clients.base import Addressed, Ask, HttpClient, Party
from pgp_services.clients.connections import base_of
from pgp_services.clients.outcomes import Number  # noqa: TC001  pydantic evaluates it
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import BadRequest, Refused, Unavailable
from pgp_services.tokens import Id, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from pgp_config import Rotating
    from pgp_services.clients.outcomes import M

API = "https://api.changenow.io"

#: Bounds of one call. At the very worst a request takes 24 s of the 30 s that gunicorn gives it:
#: six reads of secrets and a refresh that all wait their full 2 s, this budget (in which the read of the
#: key is included), and the 4 s of the task.
POLICY = RetryPolicy(budget=8.0, attempt=3.0)


#: An exchange's id, and an address or a transaction's hash on any network: printable, without blanks.
_Address = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]

#: What may be asked of ChangeNow: a currency's or a network's name, and an address.
_TICKER = re.compile(r"[!-~]{1,32}")
_ADDRESS = re.compile(r"[!-~]{1,128}")

#: What an amount is less than, how many digits it has at most, and how many of them after the point.
_LARGEST, _DIGITS, _DECIMALS = Decimal("1e30"), 60, 30

#: How far, as a part of it, a rounded amount may be off.
_ROUNDING = Decimal("1e-6")


class ChangeNowRefused(Refused):
    """ChangeNow refuses the request or the key, or answers nonsense."""


class ChangeNowUnavailable(Unavailable):
    """ChangeNow does not answer within the budget."""


def _check(amount: object, names: Mapping[str, object], address: object = "-") -> None:
    """See that a request is one.

    Raises:
        BadRequest: If it is not; it names the fields.
    """
    wrong = [name for name, text in names.items() if not _is(_TICKER, text)]
    wrong += [] if _is_amount(amount) else ["amount"]
    wrong += [] if _is(_ADDRESS, address) else ["address"]
    if wrong:
        raise BadRequest(f"no request for ChangeNow: {', '.join(wrong)}", fields=wrong)


def _is(form: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and form.fullmatch(text) is not None


def _is_amount(amount: object) -> bool:
    if not (isinstance(amount, Decimal) and amount.is_finite() and 0 < amount < _LARGEST):
        return False
    _, digits, exponent = amount.as_tuple()
    return len(digits) <= _DIGITS and int(exponent) >= -_DECIMALS


def _is_about(told: Decimal, asked: Decimal) -> bool:
    """ChangeNow tells amounts as JavaScript numbers, which it may have rounded before."""
    return abs(told - asked) <= asked * _ROUNDING


def _agree(told: _Swap, asked: tuple[str, str, str, str]) -> bool:
    """Whether what an answer tells of currencies and networks, in that order, is what was asked for."""
    names = (told.from_currency, told.from_network, told.to_currency, told.to_network)
    pairs = zip(names, asked, strict=True)
    return all(name is None or name.lower() == wanted.lower() for name, wanted in pairs)


@dataclass(frozen=True, slots=True)
class Pair:
    """What is to be swapped for what.

    Attributes:
        from_currency: What is swapped, as ChangeNow names it, on the network `eth`.
        to_currency: What is paid out.
        to_network: On what network.
        amount: How much is swapped, in `from_currency`; more than 0, with 60 digits at most, 30 of them
            after the point.

    Raises:
        BadRequest: If one of them is none.
    """

    from_currency: str
    to_currency: str
    to_network: str
    amount: Decimal

    def __post_init__(self) -> None:
        names = ("from_currency", "to_currency", "to_network")
        _check(self.amount, {name: getattr(self, name) for name in names})

    def query(self) -> dict[str, str]:
        """The request's query, as ChangeNow's v2 API takes it."""
        return {
            "fromCurrency": self.from_currency.lower(),
            "toCurrency": self.to_currency.lower(),
            "fromNetwork": _NETWORK,
            "toNetwork": self.to_network.lower(),
            "fromAmount": plain(self.amount),
            "flow": "standard",
            "type": "direct",
        }

    def is_answered_by(self, estimate: Estimate) -> bool:
        """Whether an estimate is this one's: of our amount, and of these currencies where it tells them."""
        asked = (self.from_currency, _NETWORK, self.to_currency, self.to_network)
        return _agree(estimate, asked) and _is_about(estimate.from_amount, self.amount)


#: The network of what is swapped.
_NETWORK = "eth"


class _Swap(BaseModel):
    """What ChangeNow tells of what is swapped for what, if it does."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    from_currency: Annotated[str | None, Field(alias="fromCurrency")] = None
    from_network: Annotated[str | None, Field(alias="fromNetwork")] = None
    to_currency: Annotated[str | None, Field(alias="toCurrency")] = None
    to_network: Annotated[str | None, Field(alias="toNetwork")] = None


class Estimate(_Swap):
    """What ChangeNow would pay out.

    Attributes:
        from_amount: What it would take; more than 0.
        to_amount: What it would pay out, fees taken off; more than 0.
        deposit_fee: Its fee on the way in.
        withdrawal_fee: Its fee on the way out.
        from_currency: What it would take, if it says so; likewise the three others.
    """

    from_amount: Annotated[Number, Field(alias="fromAmount", gt=0)]
    to_amount: Annotated[Number, Field(alias="toAmount", gt=0)]
    deposit_fee: Annotated[Number, Field(alias="depositFee")]
    withdrawal_fee: Annotated[Number, Field(alias="withdrawalFee")]


@dataclass(frozen=True, slots=True)
class NewExchange:
    """An exchange to be made.

    Attributes:
        from_currency: What will be paid in, as ChangeNow names it.
        from_network: On what network.
        to_currency: What is paid out.
        to_network: On what network.
        amount: How much will be paid in, in `from_currency`; more than 0, with 60 digits at most, 30 of
            them after the point.
        address: Where the payout goes, on `to_network`; 128 characters at most, without blanks.

    Raises:
        BadRequest: If one of them is none.
    """

    from_currency: str
    from_network: str
    to_currency: str
    to_network: str
    amount: Decimal
    address: str

    def __post_init__(self) -> None:
        names = ("from_currency", "from_network", "to_currency", "to_network")
        _check(self.amount, {name: getattr(self, name) for name in names}, self.address)

    def body(self) -> bytes:
        """The request's body, as ChangeNow's v2 API takes it; amounts are strings in it."""
        content = {
            "fromCurrency": self.from_currency.lower(),
            "fromNetwork": self.from_network.lower(),
            "toCurrency": self.to_currency.lower(),
            "toNetwork": self.to_network.lower(),
            "fromAmount": plain(self.amount),
            "address": self.address,
            "flow": "standard",
            "type": "direct",
        }
        return json.dumps(content).encode()

    def is_answered_by(self, exchange: Exchange) -> bool:
        """Whether an exchange is this one.

        Its payout goes to our address, it takes our amount, and the currencies are ours where it tells them.
        """
        asked = (self.from_currency, self.from_network, self.to_currency, self.to_network)
        return (
            _agree(exchange, asked)
            and _same_address(exchange.payout_address, self.address)
            and _is_about(exchange.from_amount, self.amount)
        )


def _same_address(one: str, other: str) -> bool:
    """Ethereum's addresses may differ in the case of their digits (EIP-55): it is their checksum."""
    if one[:2] == other[:2] == "0x":
        return one.lower() == other.lower()
    return one == other


class Exchange(_Swap):
    """An exchange that waits for its payin.

    Attributes:
        id: Its id at ChangeNow.
        payin_address: Where the payin goes.
        payout_address: Where the payout will go.
        from_amount: How much it takes, rounded: pay in what was asked for.
        to_amount: About how much it will pay out.
        payin_extra_id: What a payin must say besides (a memo, a tag), on networks that have such;
            without it the money is lost. Ethereum has none.
        from_currency: What it takes, if it says so; likewise the three others.
    """

    id: Id
    payin_address: Annotated[_Address, Field(alias="payinAddress")]
    payout_address: Annotated[_Address, Field(alias="payoutAddress")]
    from_amount: Annotated[Number, Field(alias="fromAmount", gt=0)]
    to_amount: Annotated[Number, Field(alias="toAmount", gt=0)]
    payin_extra_id: Annotated[str | None, Field(alias="payinExtraId")] = None


class ExchangeStatus(BaseModel):
    """How an exchange stands.

    Attributes:
        id: Its id at ChangeNow.
        status: ChangeNow's word for it.
        payin_hash: The transaction of the payin, once it was seen.
        payout_hash: The transaction of the payout, once it was sent.
        amount_from: How much came in, once it did.
        amount_to: How much was paid out, once it was.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: Id
    # Those of ChangeNow. `hold` and `overdue` are Changelly's.
    status: Literal[
        "new",
        "waiting",
        "confirming",
        "exchanging",
        "sending",
        "verifying",
        "finished",
        "failed",
        "refunded",
        "expired",
    ]
    payin_hash: Annotated[_Address | None, Field(alias="payinHash")] = None
    payout_hash: Annotated[_Address | None, Field(alias="payoutHash")] = None
    amount_from: Annotated[Number | None, Field(alias="amountFrom")] = None
    amount_to: Annotated[Number | None, Field(alias="amountTo")] = None

    @property
    def is_finished(self) -> bool:
        """Whether it has paid out."""
        return self.status == "finished"

    @property
    def is_failed(self) -> bool:
        """Whether it has ended and will never pay out."""
        return self.status in {"failed", "refunded", "expired"}


class ChangeNowClient(HttpClient["SecretStr"]):
    """Asks ChangeNow; usable from threads and from coroutines.

    Args:
        api_key: The secret, not its value.
        base_url: `https://` and a host; plain http for a local server on the loopback only.
        policy: The bounds of one call with all its attempts.
        previous_key: As `HttpClient` says.
        key_patience: As `HttpClient` says.

    Raises:
        DeclarationError: If the base URL is of another kind.
    """

    party = Party("ChangeNow", ChangeNowRefused, ChangeNowUnavailable)

    def __init__(
        self,
        api_key: Rotating[SecretStr],
        base_url: str = API,
        policy: RetryPolicy = POLICY,
        *,
        previous_key: bool = False,
        key_patience: float = 0.0,
    ) -> None:
        base = base_of(base_url)
        del base_url  # it may hold a password, and a traceback's locals are logged
        super().__init__(
            api_key, base, policy, previous_key=previous_key, key_patience=key_patience
        )

    def addressed(self, ask: Ask[M], key: SecretStr) -> Addressed:
        """The key is a header of each request."""
        return Addressed(self.at(ask.path), {"x-changenow-api-key": key.get_secret_value()})

    def estimate(self, pair: Pair) -> Estimate:
        """What ChangeNow would pay out.

        Raises:
            ChangeNowRefused: If it refuses the request or the key, or answers nonsense, or what is not to
                what was asked: other currencies, another amount or address.
            ChangeNowUnavailable: If it does not answer within the budget.
            PgpConfigError: If there is no key.
        """
        return self.call(_estimate(pair))

    async def estimate_async(self, pair: Pair) -> Estimate:
        """As `estimate`, from a coroutine."""
        return await self.call_async(_estimate(pair))

    def create_exchange(self, new: NewExchange) -> Exchange:
        """Make an exchange, to be paid in to its `payin_address`.

        Not idempotent: it is asked again only where ChangeNow surely did not make one (no connection, 429, a
        refused key; once after a 503 with `Retry-After`). After a time-out, a lost connection, an answer of
        nonsense or another 5xx there may be one that nobody knows; it expires unless it is paid, so that another
        call is harmless.

        Raises:
            ChangeNowRefused: As `estimate`.
            ChangeNowUnavailable: As `estimate`; `passing` is false if there may be an exchange.
            PgpConfigError: If there is no key.
        """
        return self.call(_exchange(new))

    async def create_exchange_async(self, new: NewExchange) -> Exchange:
        """As `create_exchange`, from a coroutine."""
        return await self.call_async(_exchange(new))

    def status(self, exchange_id: str) -> ExchangeStatus:
        """How an exchange stands.

        Raises:
            ChangeNowRefused: As `estimate`; also if there is no such exchange.
            ChangeNowUnavailable: As `estimate`.
            PgpConfigError: If there is no key.
        """
        return self.call(_status(exchange_id))

    async def status_async(self, exchange_id: str) -> ExchangeStatus:
        """As `status`, from a coroutine."""
        return await self.call_async(_status(exchange_id))


def _estimate(pair: Pair) -> Ask[Estimate]:
    return Ask(
        "estimate",
        "GET",
        "/v2/exchange/estimated-amount",
        Estimate,
        query=pair.query(),
        fits=pair.is_answered_by,
    )


def _exchange(new: NewExchange) -> Ask[Exchange]:
    return Ask(
        "new exchange",
        "POST",
        "/v2/exchange",
        Exchange,
        body=new.body(),
        once=True,
        fits=new.is_answered_by,
    )


def _status(exchange_id: str) -> Ask[ExchangeStatus]:
    return Ask(
        "exchange status",
        "GET",
        "/v2/exchange/by-id",
        ExchangeStatus,
        query={"id": exchange_id},
        fits=lambda status: status.id == exchange_id,
    )
