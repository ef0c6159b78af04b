"""NOWPayments: invoices, and whether a notification (IPN) is theirs."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from decimal import Decimal  # noqa: TC003  pydantic evaluates it
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from pgp_config import Keys
from pgp_services.clients.base import Addressed, Ask, HttpClient, Party
from pgp_services.clients.connections import base_of
from pgp_services.clients.javascript import Json, in_order, parse, stringify
from pgp_services.clients.outcomes import bare
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import BadRequest, BadSignature, Refused, TooLarge, Unavailable

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pgp_config import Rotating
    from pgp_services.clients.outcomes import M

API = "https://api.nowpayments.io"

#: The header of an IPN's signature.
SIGNATURE = "x-nowpayments-sig"

#: A signature: HMAC-SHA512 in hexadecimal digits, as Node.js writes them.
_SIGNED = re.compile(r"[0-9a-f]{128}")

#: Bytes of an IPN, at most. NOWPayments' have some 1,000; who sends more makes us write it anew first.
MAX_IPN = 16 * 1024

#: Bounds of one call; a user waits for the invoice.
POLICY = RetryPolicy(budget=8.0, attempt=4.0)


class NowPaymentsRefused(Refused):
    """NOWPayments refuses the request or the key, or answers nonsense."""


class NowPaymentsUnavailable(Unavailable):
    """NOWPayments does not answer within the budget."""


def _exact(amount: object) -> object:
    if isinstance(amount, float):
        raise PydanticCustomError("exact", "Not an exact number")
    return amount


class NewInvoice(BaseModel):
    """An invoice to be made.

    Attributes:
        price_amount: What is to be paid; more than 0, and of 15 digits at most: NOWPayments reads it
            as a JavaScript number. No float.
        price_currency: In what currency it is stated.
        order_id: Our name for it; it comes back in each IPN.
        order_description: What the payer reads.
        ipn_callback_url: Where the IPNs go; None for where the account's own settings say.
        success_url: Where the payer goes who has paid.
        cancel_url: Where the payer goes who has not.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    price_amount: Annotated[
        Decimal,
        BeforeValidator(_exact),
        Field(gt=0, max_digits=15, allow_inf_nan=False),
    ]
    price_currency: str
    order_id: str
    order_description: str
    ipn_callback_url: str | None
    success_url: str
    cancel_url: str

    def body(self) -> bytes:
        """The request's body; the amount is a JSON number in it, with all its digits."""
        return stringify(cast("Json", self.model_dump(exclude_none=True)))


def _as_text(number: object) -> object:
    return str(number) if isinstance(number, int) and not isinstance(number, bool) else number


class Invoice(BaseModel):
    """An invoice that waits for its payer.

    Attributes:
        id: Its id at NOWPayments.
        order_id: Our name for it.
        invoice_url: The page where it is paid.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: Annotated[str, BeforeValidator(_as_text), StringConstraints(pattern=r"^[!-~]{1,64}$")]
    order_id: Annotated[str, Field(repr=False)]
    invoice_url: Annotated[str, StringConstraints(pattern=r"^https://[!-~]{1,2000}$")]


class NowPaymentsClient(HttpClient["SecretStr"]):
    """Asks NOWPayments; usable from threads and from coroutines.

    Args:
        api_key: The secret, not its value.
        base_url: `https://` and a host; plain http for a local server on the loopback only.
        policy: The bounds of one call with all its attempts.

    Raises:
        DeclarationError: If the base URL is of another kind.
    """

    party = Party("NOWPayments", NowPaymentsRefused, NowPaymentsUnavailable)

    def __init__(
        self, api_key: Rotating[SecretStr], base_url: str = API, policy: RetryPolicy = POLICY
    ) -> None:
        base = base_of(base_url)
        del base_url  # it may hold a password, and a traceback's locals are logged
        super().__init__(api_key, base, policy)

    def addressed(self, ask: Ask[M], key: SecretStr) -> Addressed:
        """The key is a header of each request."""
        return Addressed(self.at(ask.path), {"x-api-key": key.get_secret_value()})

    def create_invoice(self, new: NewInvoice) -> Invoice:
        """Make an invoice.

        Not idempotent: it is asked again only where NOWPayments surely did not make one (no connection, 429, a
        refused key; once after a 503 with `Retry-After`). After a time-out, a lost connection, an answer of
        nonsense or another 5xx there may be one that nobody knows, and nobody will pay.

        Raises:
            NowPaymentsRefused: If NOWPayments refuses the request or the key, or answers nonsense.
            NowPaymentsUnavailable: If it does not answer within the budget; `passing` is false if there
                may be an invoice.
            PgpConfigError: If there is no key.
        """
        return self.call(_invoice(new))

    async def create_invoice_async(self, new: NewInvoice) -> Invoice:
        """As `create_invoice`, from a coroutine."""
        return await self.call_async(_invoice(new))


def _invoice(new: NewInvoice) -> Ask[Invoice]:
    return Ask(
        "new invoice",
        "POST",
        "/v1/invoice",
        Invoice,
        body=new.body(),
        once=True,
        # What was cut short would come back in an IPN, and mean another order or none.
        fits=lambda invoice: invoice.order_id == new.order_id,
    )


def verify_ipn(
    body: bytes, signature: str | None, keys: Keys[SecretStr] | tuple[SecretStr, ...]
) -> dict[str, object]:
    """What an IPN says, if it is NOWPayments'.

    What is signed is not the body but `JSON.stringify(sortObject(params))` of it: the JSON with the keys
    of all its objects sorted, as JavaScript writes it. It rests on the example for Node.js in
    NOWPayments' documentation of the IPN; its examples in Python and PHP give the same for whole
    numbers and plain text, and another text for 1e-7, 1.0 or "ü", so that they refuse genuine IPNs.
    That example also makes an object of an array, {"0": …}, and the two others do not: either is taken.
    Not taken is the older form of the documentation, `JSON.stringify(params,
    Object.keys(params).sort())`: it leaves out what is inside of nested objects, so that nobody would
    vouch for it.

    The numbers given are those that were signed, not the body's text. A repeat of a genuine IPN is
    genuine for as long as its key is: let its effect happen once, by `payment_id` and `payment_status`.

    Args:
        body: The body as it came in, of 16 KiB at most.
        signature: The header `x-nowpayments-sig`; None if there is none.
        keys: The current and the previous IPN secret. An empty one verifies nothing.

    Returns:
        The JSON object, with a `Decimal` for each number that is not whole.

    Raises:
        BadSignature: If there is no signature, or it is by none of the keys.
        BadRequest: If the body is not a JSON object; TooLarge, if it is longer than that.
        RuntimeError: If it cannot be checked; a fault of ours.
    """
    try:
        found: dict[str, Json] | BaseException = _checked(body, signature, keys)
    except Exception as fault:  # noqa: BLE001  its text or frames may hold a key, or the body
        found = RuntimeError(f"the IPN cannot be checked ({type(fault).__name__})")
    except BaseException as fault:  # noqa: BLE001  as above
        found = bare(fault)
    # The frame of what is raised holds none of them.
    del body, signature, keys
    if isinstance(found, BaseException):
        raise found
    return cast("dict[str, object]", found)


def _checked(
    body: bytes, signature: str | None, keys: Keys[SecretStr] | tuple[SecretStr, ...]
) -> dict[str, Json] | BadSignature | BadRequest:
    """What an IPN says, or what is to be raised; what anybody can send is read last."""
    given = (signature or "").strip()
    if _SIGNED.fullmatch(given) is None:
        return BadSignature("the IPN has no signature")
    if len(body) > MAX_IPN:
        return TooLarge("the IPN is longer than 16 KiB")
    ipn = _read(body)
    if ipn is None:
        return BadRequest("the body is not a JSON object")
    if not _is_signed(ipn, given.encode(), keys):
        return BadSignature("the IPN is not signed by NOWPayments")
    return ipn.content


@dataclass(frozen=True, slots=True)
class _Ipn:
    """An IPN that was read.

    Attributes:
        content: What it says.
        texts: What NOWPayments may have signed of it.
    """

    content: dict[str, Json]
    texts: tuple[bytes, ...]


def signed_texts(content: dict[str, Json]) -> tuple[bytes, bytes]:
    """What NOWPayments may have signed: with arrays as they are, and as its example for Node.js has them."""
    return stringify(content, in_order), stringify(_without_arrays(content), in_order)


def _read(body: bytes) -> _Ipn | None:
    try:
        content = parse(body.decode())
        # Writing it is inside: what is nested too deeply may be noticed here only.
        return _Ipn(content, signed_texts(content)) if isinstance(content, dict) else None
    except (ValueError, RecursionError):
        return None


def _is_signed(ipn: _Ipn, given: bytes, keys: Keys[SecretStr] | tuple[SecretStr, ...]) -> bool:
    """Whichever key it is, and none: as many comparisons."""
    verdicts = [
        hmac.compare_digest(hmac.new(key, text, hashlib.sha512).hexdigest().encode(), given)
        for text in ipn.texts
        for key in _plain(keys)
    ]
    return any(verdicts)


def _plain(keys: Keys[SecretStr] | tuple[SecretStr, ...]) -> list[bytes]:
    """What verifies: with an empty key anybody signs."""
    if isinstance(keys, Keys):
        found = keys.newest_first()
    else:
        found = [key.get_secret_value().encode("utf-8", "surrogatepass") for key in keys]
    return [key for key in found if key]


def _without_arrays(content: Json) -> Json:
    if isinstance(content, list):
        return {str(place): _without_arrays(item) for place, item in enumerate(content)}
    if isinstance(content, dict):
        return {key: _without_arrays(value) for key, value in content.items()}
    return content
