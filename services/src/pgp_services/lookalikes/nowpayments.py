"""A local stand-in for NOWPayments: it makes invoices, and signs notifications (IPNs)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from pgp_services.lookalikes.http import Fault, Incoming, LocalServer, as_json

PATH = "/v1/invoice"

#: The header of a signature.
SIGNATURE = "x-nowpayments-sig"


@dataclass(frozen=True, slots=True)
class Ipn:
    """A notification, to be posted.

    Attributes:
        body: Its body, as JavaScript writes it.
        headers: Its headers, with the signature.
    """

    body: bytes
    headers: Mapping[str, str] = field(repr=False)


class NowPaymentsServer(LocalServer):
    """Makes invoices.

    Args:
        key: The API key that is accepted first; its version is 1.
        ipn_key: The IPN secret; its version is 1.
        port: The port; 0 for a free one.

    Attributes:
        invoices: What was asked for, by the invoices' ids.
    """

    def __init__(self, key: str, ipn_key: str, port: int = 0) -> None:
        super().__init__(key, port)
        self.invoices: dict[str, Mapping[str, object]] = {}
        self._ipn_keys = [ipn_key.encode()]

    def rotate_ipn_key(self, key: str) -> int:
        """Sign with this key from now on.

        Returns:
            Its version: 2 for the second one, and so on.
        """
        self._ipn_keys.append(key.encode())
        return len(self._ipn_keys)

    def ipn(self, payment: Mapping[str, object], version: int | None = None) -> Ipn:
        """A notification of a payment.

        Args:
            payment: What it says: JSON, with a `Decimal` for a number that is not whole. Its keys begin with
                letters.
            version: The version of the IPN secret that signs it; None for the newest.
        """
        key = self._ipn_keys[(version or len(self._ipn_keys)) - 1]
        signed = _written(payment, in_order=True).encode()
        signature = hmac.new(key, signed, hashlib.sha512).hexdigest()
        headers = {"Content-Type": "application/json", SIGNATURE: signature}
        return Ipn(_written(payment).encode(), headers)

    def parted(self, request: Incoming) -> tuple[str, str]:
        """The key is a header."""
        return request.headers.get("x-api-key", ""), request.path

    def judge(self, request: Incoming, path: str, *, accepted: bool) -> Fault:
        """The invoice, or what is wrong."""
        if (request.method, path) != ("POST", PATH):
            return _error(404, "NOT_FOUND")
        if not accepted:
            return _error(403, "INVALID_API_KEY")
        content = request.content()
        if not isinstance(content, dict) or not _is_complete(content):
            return _error(400, "INVALID_REQUEST_PARAMS")
        return self._invoice(content)

    def _invoice(self, content: Mapping[str, object]) -> Fault:
        number = f"{4522625843 + len(self.invoices)}"
        self.invoices[number] = content
        made = {
            **content,
            "id": number,
            "token_id": number,
            "price_amount": f"{content['price_amount']}",  # told as text, NOWPayments' way
            "invoice_url": f"https://nowpayments.io/payment/?iid={number}",
        }
        return as_json(201, made)


def _written(content: object, *, in_order: bool = False) -> str:
    """JSON as JavaScript writes it: on purpose not by what checks it."""
    if isinstance(content, Mapping):
        entries = sorted(content.items()) if in_order else content.items()
        inside = (
            f"{json.dumps(key)}:{_written(item, in_order=in_order)}" for key, item in entries
        )
        return "{" + ",".join(inside) + "}"
    if isinstance(content, list):
        return "[" + ",".join(_written(item, in_order=in_order) for item in content) + "]"
    if isinstance(content, Decimal):
        return _number(float(content))
    return json.dumps(content, ensure_ascii=False)


#: From and up to what JavaScript writes a number without an exponent.
_WITH_POINT, _WITH_EXPONENT = 1e-6, 1e21


def _number(number: float) -> str:
    """Python has the same digits, and other bounds for the exponent, which it fills up with a zero."""
    if number == 0:
        return "0"
    if _WITH_POINT <= abs(number) < _WITH_EXPONENT:
        return format(Decimal(repr(number)), "f").removesuffix(".0")
    return re.sub(r"e([+-])0", r"e\1", repr(number).replace(".0e", "e"))


def _is_complete(content: Mapping[str, object]) -> bool:
    amount = content.get("price_amount")
    return isinstance(amount, int | float) and amount > 0 and bool(content.get("price_currency"))


def _error(status: int, code: str) -> Fault:
    return as_json(status, {"status": False, "statusCode": status, "code": code, "message": code})
