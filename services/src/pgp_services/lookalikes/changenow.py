"""A local stand-in for ChangeNow's v2 API: JSON numbers and a fixed rate, for the current key only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.lookalikes.http import Fault, Incoming, LocalServer, as_json

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/v2/exchange/estimated-amount"

#: What is paid out for 1 that goes in, and the fixed fees.
RATE, DEPOSIT_FEE, WITHDRAWAL_FEE = 0.5, 0.001, 0.0025

_REQUIRED = (
    "fromCurrency",
    "toCurrency",
    "fromNetwork",
    "toNetwork",
    "fromAmount",
    "flow",
    "type",
)


class ChangeNowServer(LocalServer):
    """Serves estimates (`GET /v2/exchange/estimated-amount`)."""

    def parted(self, request: Incoming) -> tuple[str, str]:
        """The key is a header."""
        return request.headers.get("x-changenow-api-key", ""), request.path

    def judge(self, request: Incoming, path: str, *, accepted: bool) -> Fault:
        """The estimate, or what is wrong."""
        if path != PATH:
            return _error(404, "not_found")
        if not accepted:
            return _error(401, "unauthorized")
        return _estimate(request.query)


def _estimate(query: Mapping[str, str]) -> Fault:
    amount = _amount_in(query)
    if amount is None:
        return _error(400, "bad_request")
    return as_json(
        200,
        {
            "fromCurrency": query["fromCurrency"],
            "toCurrency": query["toCurrency"],
            "fromAmount": amount,
            "toAmount": round(amount * RATE, 12),
            "depositFee": DEPOSIT_FEE,
            "withdrawalFee": WITHDRAWAL_FEE,
        },
    )


def _amount_in(query: Mapping[str, str]) -> float | None:
    """The amount of a query that has all that it needs."""
    try:
        return float(query["fromAmount"]) if all(name in query for name in _REQUIRED) else None
    except ValueError:
        return None


def _error(status: int, error: str) -> Fault:
    return as_json(status, {"error": error, "message": error})
