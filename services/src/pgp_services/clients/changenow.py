"""ChangeNow v2: what an amount is worth, exchanges, and how they stand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pgp_services.clients.base import Addressed, Ask, HttpClient, Party
from pgp_services.clients.connections import base_of
from pgp_services.clients.outcomes import Number  # noqa: TC001  pydantic evaluates it
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import Refused, Unavailable
from pgp_services.tokens import plain

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pgp_config import Rotating
    from pgp_services.clients.outcomes import M

API = "https://api.changenow.io"

#: Bounds of one call. At the very worst a request takes 24 s of the 30 s that gunicorn gives it:
#: six reads of secrets and a refresh that all wait their full 2 s, this budget (in which the read of the
#: key is included), and the 4 s of the task.
POLICY = RetryPolicy(budget=8.0, attempt=3.0)


#: An exchange's id, and an address on any network: printable, without blanks.
_Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")]
_Address = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]


class ChangeNowRefused(Refused):
    """ChangeNow refuses the request or the key, or answers nonsense."""


class ChangeNowUnavailable(Unavailable):
    """ChangeNow does not answer within the budget."""


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


class Estimate(BaseModel):
    """What ChangeNow would pay out.

    Attributes:
        from_amount: What it would take; more than 0.
        to_amount: What it would pay out, fees taken off; more than 0.
        deposit_fee: Its fee on the way in.
        withdrawal_fee: Its fee on the way out.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

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
        amount: How much will be paid in, in `from_currency`; more than 0.
        address: Where the payout goes, on `to_network`.
    """

    from_currency: str
    from_network: str
    to_currency: str
    to_network: str
    amount: Decimal
    address: str

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
        """Whether an exchange is this one: its payout goes to our address, and it takes our amount.

        ChangeNow tells amounts as JavaScript numbers, which it may have rounded before.
        """
        off = abs(exchange.from_amount - self.amount)
        return (
            _same_address(exchange.payout_address, self.address) and off <= self.amount * _ROUNDING
        )


#: How far, as a part of it, a rounded amount may be off.
_ROUNDING = Decimal("1e-6")


def _same_address(one: str, other: str) -> bool:
    """Ethereum's addresses may differ in the case of their digits (EIP-55): it is their checksum."""
    if one[:2] == other[:2] == "0x":
        return one.lower() == other.lower()
    return one == other


class Exchange(BaseModel):
    """An exchange that waits for its payin.

    Attributes:
        id: Its id at ChangeNow.
        payin_address: Where the payin goes.
        payout_address: Where the payout will go.
        from_amount: How much it takes, rounded: pay in what was asked for.
        to_amount: About how much it will pay out.
        payin_extra_id: What a payin must say besides (a memo, a tag), on networks that have such;
            without it the money is lost. Ethereum has none.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: _Id
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

    id: _Id
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
    payin_hash: Annotated[str | None, Field(alias="payinHash")] = None
    payout_hash: Annotated[str | None, Field(alias="payoutHash")] = None
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
            ChangeNowRefused: If it refuses the request or the key, or answers nonsense.
            ChangeNowUnavailable: If it does not answer within the budget.
            PgpConfigError: If there is no key.
        """
        return self.call(_estimate(pair))

    async def estimate_async(self, pair: Pair) -> Estimate:
        """As `estimate`, from a coroutine."""
        return await self.call_async(_estimate(pair))

    def create_exchange(self, new: NewExchange) -> Exchange:
        """Make an exchange, to be paid in to its `payin_address`.

        Not idempotent: it is asked again only where ChangeNow surely did not make one (no connection,
        429, 503, a refused key). After a time-out, a lost connection or another 5xx there may be one
        that nobody knows; it expires unless it is paid, so that another call is harmless.

        Raises:
            ChangeNowRefused: As `estimate`; also if the exchange would pay to another address, or
                takes another amount.
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
    return Ask("estimate", "GET", "/v2/exchange/estimated-amount", Estimate, query=pair.query())


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
