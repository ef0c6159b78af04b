"""The services' tokens: claims, signed with SUCCESS_URL_SIGNING_KEY or TPS_HOSTPAY_SIGNING_KEY.

A token is itsdangerous' URL-safe form: base64 of compact JSON (deflated where that is shorter), a
dot, and an HMAC-SHA256. The signing key proper is HMAC-SHA256(secret, salt): the secret is the text of
the key as it stands (not what its hexadecimal digits mean), the salt is `pgp.` and the
kind of token, so that a token of one kind is never taken for another. Amounts are decimal strings.

While a key is replaced, its successor or predecessor verifies besides it (`SUCCESS_URL_SIGNING_KEY_SECONDARY`,
`TPS_HOSTPAY_SIGNING_KEY_SECONDARY`): `verify` takes several keys, `sign` takes one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NoReturn,
    TypeAlias,
    TypeVar,
)

from itsdangerous import BadData, URLSafeSerializer
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from pgp_services.failures import BadToken

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds for which a token is valid, by its own timestamp: back and ahead (clocks differ).
MAX_TOKEN_AGE, MAX_TOKEN_LEAD = 24 * 3600, 5 * 60

#: Seconds after its first cause for which a payout may be begun. A repeat of a delivery creates its task under the
#: same name and is dropped, as long as Cloud Tasks remembers that name: "up to 24 hours" in its words, and
#: never less than about an hour in practice. What comes later is paid by nobody, and somebody is told.
PAY_WITHIN = 3600

#: Characters of a token, at most: several times what the claims can come to.
MAX_TOKEN_LENGTH = 8192


def plain(amount: Decimal) -> str:
    """An amount as digits and a point, never with an exponent."""
    return format(amount, "f")


def _decimal_text(amount: object) -> object:
    if isinstance(amount, Decimal) or (isinstance(amount, str) and amount.isascii()):
        return amount
    raise PydanticCustomError("decimal_string", "Not a decimal number as a string")


#: An amount of money: a `Decimal`, 0 or more and finite; in JSON a string of digits and a point.
Amount = Annotated[
    Decimal,
    BeforeValidator(_decimal_text),
    Field(ge=0, max_digits=60, decimal_places=30, allow_inf_nan=False, strict=False),
    PlainSerializer(plain, return_type=str, when_used="json"),
]

#: A currency or a network, as ChangeNow names them.
Ticker = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,20}$")]

#: A wallet's address on any network: printable, without blanks.
WalletAddress = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]


#: A chat's, a channel's or a person's Telegram id: it has "at most 52 significant bits"
#: (core.telegram.org/bots/api#chat). A larger one is nobody's, and other parties' JavaScript would round it.
ChatId = Annotated[int, Field(ge=-(2**52), le=2**52)]

#: What a service or another party calls a thing: letters, digits, hyphens, underscores.
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]

#: A SHA-256 in hexadecimal digits: what a payout is known by.
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

#: What the host wallet holds, and what payments are counted in; both on the network `eth`.
Currency = Literal["eth", "usdt"]

#: How a payment is paid out: at once, or when a threshold is reached.
Mode = Literal["instant", "threshold"]


class Facts(BaseModel):
    """Base of what services tell one another: nothing is converted, nothing is left out, nothing added."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


class Claims(Facts):
    """What every token says.

    Attributes:
        timestamp: When the token was made, in whole seconds of Unix time. In front of a payout, from the first
            token to the estimate's answer, it is when the first of them was: each hands on the time that it was
            given, and so no repeat, however late, makes a payment look new.
    """

    kind: ClassVar[str]

    timestamp: int


class Destination(Facts):
    """What is swapped, and where what it is swapped for goes.

    Attributes:
        wallet_address: Where the payout goes.
        payout_currency: In what it is paid.
        payout_network: On what network.
        swap_currency: What is swapped for it.
    """

    wallet_address: WalletAddress
    payout_currency: Ticker
    payout_network: Ticker
    swap_currency: Currency


class Identity(Destination):
    """Whose payment it is, and how it is paid out.

    Attributes:
        user_id: The payer's Telegram id.
        closed_channel_id: The channel's Telegram id; negative for channels.
        payout_mode: At once, or when a threshold is reached.
        actual_eth_amount: What came in, in ETH.
    """

    user_id: ChatId
    closed_channel_id: ChatId
    payout_mode: Mode
    actual_eth_amount: Amount


class Payment(Identity):
    """A payment that was received.

    Attributes:
        payment_id: What the payment provider calls it; no two payments have the same.
        amount: What is to be paid out, the fee still in it, in `swap_currency`; more than 0.
    """

    payment_id: Id
    amount: Annotated[Amount, Field(gt=0)]


class SuccessClaims(Payment, Claims):
    """A payer to ORCHESTRATOR, through BOTCOMMAND: this payment was received."""

    kind: ClassVar[str] = "success-url"


class InviteRequest(Claims):
    """ORCHESTRATOR to INVITE: let this payer into the channel.

    Attributes:
        payment_id: The payment's.
        user_id: The payer's Telegram id.
        closed_channel_id: The channel's Telegram id; negative for channels.
    """

    kind: ClassVar[str] = "orchestrator.invite.request"

    payment_id: Id
    user_id: ChatId
    closed_channel_id: ChatId


class SplitRequest(Payment, Claims):
    """ORCHESTRATOR to SPLIT1: pay this out at once."""

    kind: ClassVar[str] = "orchestrator.split1.payment"

    payout_mode: Literal["instant"]


class AccumulationRequest(Payment, Claims):
    """ORCHESTRATOR to ACCUMULATOR: count this towards a threshold."""

    kind: ClassVar[str] = "orchestrator.accumulator.payment"

    payout_mode: Literal["threshold"]


class EstimateRequest(Identity, Claims):
    """SPLIT1 to SPLIT2: what is this amount worth?

    Attributes:
        adjusted_amount: What is to be swapped, in `swap_currency`; more than 0.
    """

    kind: ClassVar[str] = "split1.split2.estimate-request"

    adjusted_amount: Annotated[Amount, Field(gt=0)]


class EstimateAnswer(Identity, Claims):
    """SPLIT2 to SPLIT1: what ChangeNow says it is worth.

    Attributes:
        from_amount: What would be swapped, in `swap_currency`; more than 0.
        to_amount_post_fee: What would be paid out, fees taken off, in `payout_currency`; more than 0.
        deposit_fee: ChangeNow's fee on the way in.
        withdrawal_fee: ChangeNow's fee on the way out.
    """

    kind: ClassVar[str] = "split2.split1.estimate-answer"

    from_amount: Annotated[Amount, Field(gt=0)]
    to_amount_post_fee: Annotated[Amount, Field(gt=0)]
    deposit_fee: Amount
    withdrawal_fee: Amount


class ClientSwap(Identity, Claims):
    """To SPLIT1: ask anew what this ETH is worth, and pay it out; its fee is taken off already.

    Attributes:
        swap_id: What the sender calls it; the same one is asked for once.
        eth_amount: How much is swapped, in ETH; more than 0.
    """

    kind: ClassVar[str] = "split1.client-swap"

    swap_currency: Literal["eth"]
    swap_id: Id
    eth_amount: Annotated[Amount, Field(gt=0)]


class Batch(Identity):
    """What has been accumulated and is to be paid out; its fee is taken off already.

    Attributes:
        batch_id: What the sender calls it; the same one is paid once.
        amount: How much, in `swap_currency`; more than 0.
    """

    batch_id: Id
    amount: Annotated[Amount, Field(gt=0)]


class BatchDue(Batch, Claims):
    """To BATCHPROCESSOR: this has reached its threshold."""

    kind: ClassVar[str] = "batchprocessor.due"


class BatchPayout(Batch, Claims):
    """BATCHPROCESSOR to SPLIT1, signed with TPS_HOSTPAY_SIGNING_KEY: pay this out."""

    kind: ClassVar[str] = "batchprocessor.split1.payout"


class Release(Batch, Claims):
    """To ACCUMULATOR: have this paid out without asking anew what it is worth."""

    kind: ClassVar[str] = "accumulator.release"


class SwapDue(Claims):
    """To MICROBATCHPROCESSOR: swap this ETH for USDT, which goes to the host wallet.

    Attributes:
        batch_id: What the sender calls it; the same one is swapped once.
        amount: How much, in ETH; more than 0.
        wallet_address: Where the USDT goes.
    """

    kind: ClassVar[str] = "microbatchprocessor.due"

    batch_id: Id
    amount: Annotated[Amount, Field(gt=0)]
    wallet_address: WalletAddress


class SwapExecuted(Claims):
    """To MICROBATCHPROCESSOR: look whether this exchange is done.

    Attributes:
        batch_id: As in `SwapDue`.
        exchange_id: What ChangeNow calls the exchange.
    """

    kind: ClassVar[str] = "microbatchprocessor.executed"

    batch_id: Id
    exchange_id: Id


class Payout(Destination):
    """What HOSTPAY1 is to pay.

    Attributes:
        payout_id: What is paid at most once; the same for all repeats of its cause.
        amount: How much is swapped, in `swap_currency`; more than 0.
        pay_by: Unix time in seconds after which no payment may be begun for it (`PAY_WITHIN`).
    """

    payout_id: Digest
    amount: Annotated[Amount, Field(gt=0)]
    pay_by: int


class PayoutRequest(Payout, Claims):
    """SPLIT1 to HOSTPAY1, signed with TPS_HOSTPAY_SIGNING_KEY: swap this, and pay for it."""

    kind: ClassVar[str] = "split1.hostpay1.payout"


class ReleasedPayout(Payout, Claims):
    """ACCUMULATOR or MICROBATCHPROCESSOR to HOSTPAY1: swap this, and pay for it.

    Attributes:
        exchange_id: What ChangeNow calls the exchange, if there is one already; else None.
        payin_address: Where it waits for the payment; None with `exchange_id`.
    """

    kind: ClassVar[str] = "released.hostpay1.payout"

    exchange_id: Id | None
    payin_address: WalletAddress | None


class OpenExchange(Facts):
    """An exchange that waits to be paid for, and the payout that it is for.

    Attributes:
        payout_id: As in `Payout`.
        pay_by: As in `Payout`.
        exchange_id: What ChangeNow calls it.
        payin_address: Where it is to be paid.
        swap_currency: In what.
        amount: How much; more than 0.
    """

    payout_id: Digest
    pay_by: int
    exchange_id: Id
    payin_address: WalletAddress
    swap_currency: Currency
    amount: Annotated[Amount, Field(gt=0)]


class StatusRequest(OpenExchange, Claims):
    """HOSTPAY1 to HOSTPAY2: how does ChangeNow say that this exchange is?"""

    kind: ClassVar[str] = "hostpay1.hostpay2.status-request"


class StatusReport(OpenExchange, Claims):
    """HOSTPAY2 to HOSTPAY1: so it is.

    Attributes:
        status: ChangeNow's word.
    """

    kind: ClassVar[str] = "hostpay2.hostpay1.status-report"

    status: Id


class PaymentOrder(OpenExchange, Claims):
    """HOSTPAY1, or HOSTPAY3 itself, to HOSTPAY3: pay for this exchange.

    Attributes:
        round: How many nonces have been reserved for it and lost to other transactions, 0 or more.
    """

    kind: ClassVar[str] = "hostpay1.hostpay3.order"

    round: Annotated[int, Field(ge=0)]


class ReservedPayment(OpenExchange, Claims):
    """HOSTPAY3 to itself: pay with this very transaction.

    Attributes:
        round: As in `PaymentOrder`.
        queue: The queue of its further steps, whichever is HOSTPAY3's by then: their names are known there.
        look: How often it was looked after before, 0 or more; see `hostpay3.handler`.
        sender: The wallet's address.
        chain_id: The chain.
        nonce: The wallet's nonce that is reserved for it.
        gas: Units of gas, at most.
        max_fee_per_gas: What each costs at most, in wei, at the first look.
        max_priority_fee_per_gas: What of it goes to who includes it, in wei, at the first look.
    """

    kind: ClassVar[str] = "hostpay3.hostpay3.reserved"

    round: Annotated[int, Field(ge=0)]
    queue: Id
    look: Annotated[int, Field(ge=0)]
    sender: WalletAddress
    chain_id: int
    nonce: int
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int


class PaymentMined(Claims):
    """HOSTPAY3 to HOSTPAY1: the exchange was paid for.

    Attributes:
        payout_id: As in `Payout`.
        exchange_id: What ChangeNow calls it.
        tx_hash: The transaction that is in a block.
    """

    kind: ClassVar[str] = "hostpay3.hostpay1.mined"

    payout_id: Digest
    exchange_id: Id
    tx_hash: Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]


class ExchangeWatch(Claims):
    """HOSTPAY1, or MICROBATCHPROCESSOR, to HOSTPAY1: look again whether this exchange is done.

    Attributes:
        payout_id: As in `Payout`.
        exchange_id: What ChangeNow calls it.
        attempt: How often it was looked at before, 0 or more.
    """

    kind: ClassVar[str] = "hostpay1.hostpay1.watch"

    payout_id: Digest
    exchange_id: Id
    attempt: Annotated[int, Field(ge=0)]


C = TypeVar("C", bound=Claims)
C_co = TypeVar("C_co", bound=Claims, covariant=True)

#: A key, or the several that verify while one of them is replaced.
Keys: TypeAlias = "SecretStr | Sequence[SecretStr]"


def sign(claims: Claims, key: SecretStr) -> str:
    """Make a token.

    Args:
        claims: What it says.
        key: The key that signs this kind of token; never a secondary one.
    """
    token = _serializer(claims.kind, key).dumps(claims.model_dump(mode="json"))
    return token if isinstance(token, str) else token.decode()


def verify(kind: type[C], token: str, keys: Keys, now: float) -> C:
    """The claims of a token.

    Args:
        kind: What kind of token it must be.
        token: The token.
        keys: The keys that verify this kind of token: one, or the current one and a secondary. All of them
            are tried, whichever fits.
        now: Unix time in seconds.

    Raises:
        BadToken: If it is not signed by us, not of this kind, malformed, or not valid at this time.
            No cause, and no frame whose locals hold the token or a key.
    """
    read = _read([Accepted(kind, keys)], token, now)
    del token, keys
    return _unless_refused(read)


@dataclass(frozen=True, slots=True)
class Accepted(Generic[C_co]):
    """A kind of token that is accepted.

    Attributes:
        kind: The kind.
        keys: The keys that verify it.
    """

    kind: type[C_co]
    keys: Keys


def verify_one_of(accepted: Sequence[Accepted[C]], token: str, now: float) -> C:
    """As `verify`, where a token may be of several kinds, each with keys of its own.

    Args:
        accepted: The kinds; all of them are tried, whichever fits.
        token: The token.
        now: Unix time in seconds.

    Raises:
        BadToken: As `verify` does.
    """
    read = _read(accepted, token, now)
    del token, accepted
    return _unless_refused(read)


_NOT_OURS = "the token is not signed by us, or for another purpose"


def _unless_refused(read: C | str) -> C:
    if isinstance(read, str):
        raise BadToken(read)
    return read


def _read(accepted: Sequence[Accepted[C]], token: str, now: float) -> C | str:
    """The claims, or why they are refused. Nothing raises while a local holds the token."""
    opened = [_opened(each.kind, token, each.keys) for each in accepted]
    # A kind whose signature fits knows more than one whose does not.
    claims = next((each for each in opened if each != _NOT_OURS), _NOT_OURS)
    if isinstance(claims, str):
        return claims
    if now - claims.timestamp > MAX_TOKEN_AGE:
        return "the token is expired"
    if claims.timestamp - now > MAX_TOKEN_LEAD:
        return "the token is from the future"
    return claims


def _opened(kind: type[C], token: str, keys: Keys) -> C | str:
    """The claims, or why there are none, whatever their time."""
    if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
        return "the token is malformed"
    serializers = [_serializer(kind.kind, key) for key in _each(keys)]
    # A list, not a generator: the work is the same whichever key fits.
    if not any([_fits(serializer, token) for serializer in serializers]):  # noqa: C419  as above
        return _NOT_OURS
    try:
        content = serializers[0].load_payload(token.rpartition(".")[0].encode())
    except BadData:
        return _NOT_OURS
    try:
        return kind.model_validate(content)
    except ValidationError as fault:
        codes = sorted({error["type"] for error in fault.errors(include_input=False)})
        return f"the token's claims are malformed ({', '.join(codes)})"


def _each(keys: Keys) -> Sequence[SecretStr]:
    return [keys] if isinstance(keys, SecretStr) else keys


def _fits(serializer: URLSafeSerializer, token: str) -> bool:
    return bool(serializer.make_signer(serializer.salt).validate(token))


def _serializer(kind: str, key: SecretStr) -> URLSafeSerializer:
    return URLSafeSerializer(
        key.get_secret_value(),
        salt=f"pgp.{kind}",
        serializer=_StrictJson,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


class _StrictJson:
    """JSON without floats, for itsdangerous."""

    @staticmethod
    def loads(text: str | bytes) -> Any:  # noqa: ANN401  whatever JSON holds
        return json.loads(text, parse_float=_no_float, parse_constant=_no_float)

    @staticmethod
    def dumps(content: object) -> str:
        return json.dumps(content, separators=(",", ":"), sort_keys=True)


def _no_float(_: str) -> NoReturn:
    raise ValueError("A token holds no floats.")
