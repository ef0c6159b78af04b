"""A local stand-in for NOWPayments: it makes invoices, and signs notifications (IPNs)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from pgp_services.clients.javascript import Json, stringify
from pgp_services.clients.nowpayments import SIGNATURE, signed_texts
from pgp_services.lookalikes.http import Fault, Incoming, LocalServer, as_json

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/v1/invoice"


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
            payment: What it says, as `javascript.parse` gives it.
            version: The version of the IPN secret that signs it; None for the newest.
        """
        content = cast("dict[str, Json]", dict(payment))
        key = self._ipn_keys[(version or len(self._ipn_keys)) - 1]
        signature = hmac.new(key, signed_texts(content)[0], hashlib.sha512).hexdigest()
        headers = {"Content-Type": "application/json", SIGNATURE: signature}
        return Ipn(stringify(content), headers)

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


def _is_complete(content: Mapping[str, object]) -> bool:
    amount = content.get("price_amount")
    return isinstance(amount, int | float) and amount > 0 and bool(content.get("price_currency"))


def _error(status: int, code: str) -> Fault:
    return as_json(status, {"status": False, "statusCode": status, "code": code, "message": code})
