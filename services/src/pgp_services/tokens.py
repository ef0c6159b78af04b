"""The services' tokens: claims, signed with SUCCESS_URL_SIGNING_KEY.

A token is itsdangerous' URL-safe form: base64 of compact JSON (deflated where that is shorter), a
dot, and an HMAC-SHA256. The signing key proper is HMAC-SHA256(secret, salt): the secret is the text of
SUCCESS_URL_SIGNING_KEY as it stands (not what its hexadecimal digits mean), the salt is `pgp.` and the
kind of token, so that a token of one kind is never taken for another. Amounts are decimal strings.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn, TypeVar

from itsdangerous import BadData, URLSafeSerializer
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from pgp_services.failures import BadToken

if TYPE_CHECKING:
    from pydantic import SecretStr

#: Seconds for which a token is valid, by its own timestamp: back and ahead (clocks differ).
MAX_TOKEN_AGE, MAX_TOKEN_LEAD = 24 * 3600, 5 * 60

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


class Claims(BaseModel):
    """What every token between SPLIT1 and SPLIT2 says.

    Attributes:
        user_id: The payer's Telegram id.
        closed_channel_id: The channel's Telegram id; negative for channels.
        wallet_address: Where the payout goes.
        payout_currency: In what it is paid.
        payout_network: On what network.
        swap_currency: What is swapped for it.
        payout_mode: At once, or when a threshold is reached.
        actual_eth_amount: What came in, in ETH.
        timestamp: When the token was made, in whole seconds of Unix time.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    kind: ClassVar[str]

    user_id: int
    closed_channel_id: int
    wallet_address: WalletAddress
    payout_currency: Ticker
    payout_network: Ticker
    swap_currency: Literal["eth", "usdt"]
    payout_mode: Literal["instant", "threshold"]
    actual_eth_amount: Amount
    timestamp: int


class EstimateRequest(Claims):
    """SPLIT1 to SPLIT2: what is this amount worth?

    Attributes:
        adjusted_amount: What is to be swapped, in `swap_currency`; more than 0.
    """

    kind: ClassVar[str] = "split1.split2.estimate-request"

    adjusted_amount: Annotated[Amount, Field(gt=0)]


class EstimateAnswer(Claims):
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


C = TypeVar("C", bound=Claims)


def sign(claims: Claims, key: SecretStr) -> str:
    """Make a token.

    Args:
        claims: What it says.
        key: The value of SUCCESS_URL_SIGNING_KEY.
    """
    token = _serializer(claims.kind, key).dumps(claims.model_dump(mode="json"))
    return token if isinstance(token, str) else token.decode()


def verify(kind: type[C], token: str, key: SecretStr, now: float) -> C:
    """The claims of a token.

    Args:
        kind: What kind of token it must be.
        token: The token.
        key: The value of SUCCESS_URL_SIGNING_KEY.
        now: Unix time in seconds.

    Raises:
        BadToken: If it is not signed by us, not of this kind, malformed, or not valid at this time.
            No cause, and no frame whose locals hold the token or the key.
    """
    claims = _opened(kind, token, key)
    del token, key
    if isinstance(claims, str):
        raise BadToken(claims)
    if now - claims.timestamp > MAX_TOKEN_AGE:
        raise BadToken("the token is expired")
    if claims.timestamp - now > MAX_TOKEN_LEAD:
        raise BadToken("the token is from the future")
    return claims


def _opened(kind: type[C], token: str, key: SecretStr) -> C | str:
    """The claims, or why there are none. Nothing raises while a local holds the token."""
    if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
        return "the token is malformed"
    try:
        content = _serializer(kind.kind, key).loads(token)
    except BadData:
        return "the token is not signed by us, or for another purpose"
    try:
        return kind.model_validate(content)
    except ValidationError as fault:
        codes = sorted({error["type"] for error in fault.errors(include_input=False)})
        return f"the token's claims are malformed ({', '.join(codes)})"


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
