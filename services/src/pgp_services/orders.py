"""What is offered, what is ordered of it, and what NOWPayments says of an order.

SERVER makes an invoice for an order, whose facts travel as its `order_id`: NOWPayments hands that back in each IPN
that it signs, so that NP_IPN knows whose payment it is though neither has a database row at hand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from pgp_services.clients.outcomes import Number  # noqa: TC001  as above
from pgp_services.failures import BadRequest
from pgp_services.tokens import Amount, ChatId, Claims, Facts, Mode, Ticker, WalletAddress

if TYPE_CHECKING:
    from decimal import Decimal

#: A price: more than 0, of as many digits as NOWPayments' JavaScript numbers keep.
Price = Annotated[Amount, Field(gt=0, max_digits=15)]


class Offer(Claims):
    """A place in a channel, signed with TPS_HOSTPAY_SIGNING_KEY: who orders it cannot change what it says.

    Attributes:
        closed_channel_id: The channel's Telegram id; negative for channels.
        price_amount: What it costs; more than 0.
        price_currency: In what currency that is.
        payout_mode: At once, or when a threshold is reached.
        payout_currency: In what the channel's owner is paid.
        payout_network: On what network.
        wallet_address: Where.
    """

    kind: ClassVar[str] = "server.offer"

    closed_channel_id: ChatId
    price_amount: Price
    price_currency: Ticker
    payout_mode: Mode
    payout_currency: Ticker
    payout_network: Ticker
    wallet_address: WalletAddress


class Order(Facts):
    """Who ordered what of an offer.

    Attributes:
        number: What tells this order from others of the same payer; 0 or more.
        time: When it was ordered, in whole seconds of Unix time.
        user_id: The payer's Telegram id.
        closed_channel_id: As in `Offer`.
        price_amount: As in `Offer`.
        price_currency: As in `Offer`, in small letters.
        payout_mode: As in `Offer`.
        payout_currency: As in `Offer`.
        payout_network: As in `Offer`.
        wallet_address: As in `Offer`.
    """

    number: int
    time: int
    user_id: ChatId
    closed_channel_id: ChatId
    price_amount: Price
    price_currency: Ticker
    payout_mode: Mode
    payout_currency: Ticker
    payout_network: Ticker
    wallet_address: WalletAddress


#: The fields in their order; a wallet's address may hold a point, so it is the last. The price has an exponent
#: in place of its point: 9.99 is 999e-2. NOWPayments' documentation has no limit for the length of an `order_id`:
#: with a wallet's address of 106 characters, Monero's longest, it comes to about 210, and NowPaymentsClient
#: refuses an invoice whose `order_id` came back changed, before anybody pays it.
_REFERENCE = re.compile(
    r"pgp2\.(?P<number>[0-9]{1,18})\.(?P<time>[0-9]{1,18})\.(?P<user_id>[0-9]{1,18})"
    r"\.(?P<closed_channel_id>-?[0-9]{1,18})\.(?P<price_amount>[0-9]{1,15}e-?[0-9]{1,2})"
    r"\.(?P<price_currency>[^.]+)\.(?P<payout_mode>[a-z]+)\.(?P<payout_currency>[^.]+)\.(?P<payout_network>[^.]+)\.(?P<wallet_address>.+)",
    re.ASCII,
)


def ordered(offer: Offer, user_id: int, number: int, time: int) -> Order:
    """The order of an offer by a payer, at a Unix time."""
    facts = offer.model_dump(exclude={"timestamp"})
    facts["price_currency"] = offer.price_currency.lower()
    return Order(**facts, user_id=user_id, number=number, time=time)


def reference(order: Order) -> str:
    """An order as NOWPayments' `order_id`."""
    facts = {**order.model_dump(), "price_amount": _without_point(order.price_amount)}
    return ".".join(["pgp2", *(str(facts[name]) for name in _REFERENCE.groupindex)])


def _without_point(amount: Decimal) -> str:
    _, digits, exponent = amount.as_tuple()
    return f"{''.join(map(str, digits))}e{exponent}"


def order_of(order_id: str | None) -> Order:
    """The order that an `order_id` means.

    Raises:
        BadRequest: If it is none of ours.
    """
    match = _REFERENCE.fullmatch(order_id or "")
    try:
        found = None if match is None else Order.model_validate_strings(match.groupdict())
    except ValidationError:
        found = None
    if found is None:
        raise BadRequest("the order is none of ours", fields=["order_id"])
    return found


def _as_text(number: object) -> object:
    return str(number) if isinstance(number, int) and not isinstance(number, bool) else number


class Ipn(BaseModel):
    """What NOWPayments says of a payment; what the fleet does not use is left out.

    Attributes:
        payment_id: What NOWPayments calls the payment.
        payment_status: How far it is.
        order_id: Our name for what is paid.
        parent_payment_id: The payment to whose address this one was paid too, where that was paid before:
            a repeated deposit, for which no price was asked.
        price_amount: The price.
        price_currency: In what currency it is stated.
        pay_amount: The price in the currency that is paid in.
        actually_paid: What was paid of it.
        outcome_amount: What came in, NOWPayments' fee taken off; None before it has.
        outcome_currency: In what.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    payment_id: Annotated[
        str, BeforeValidator(_as_text), StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")
    ]
    payment_status: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
    order_id: str | None = None
    parent_payment_id: object = None
    price_amount: Number | None = None
    price_currency: str | None = None
    pay_amount: Number | None = None
    actually_paid: Number | None = None
    outcome_amount: Number | None = None
    outcome_currency: str | None = None
