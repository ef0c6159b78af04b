"""A local stand-in for ChangeNow's v2 API: JSON numbers and a fixed rate, for the current key only."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pgp_services.lookalikes.http import Fault, Incoming, LocalServer, as_json

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/v2/exchange/estimated-amount"
NEW_PATH = "/v2/exchange"
STATUS_PATH = "/v2/exchange/by-id"

#: How an exchange goes on, if nothing goes wrong.
COURSE = ("waiting", "confirming", "exchanging", "sending", "finished")

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


_REQUIRED_OF_NEW = ("fromCurrency", "fromNetwork", "toCurrency", "toNetwork", "address", "flow")


class ChangeNowServer(LocalServer):
    """Serves estimates, makes exchanges and tells how they stand.

    Attributes:
        exchanges: The exchanges by their ids, as `by-id` tells them.
        moves_on: Whether an exchange is one status further each time that it was told.
    """

    def __init__(self, key: str, port: int = 0) -> None:
        super().__init__(key, port)
        self.exchanges: dict[str, dict[str, object]] = {}
        self.moves_on = False

    def move(self, exchange_id: str, status: str) -> None:
        """Let an exchange have a status, and the hashes and amounts that come with it."""
        with self._lock:
            self._move(self.exchanges[exchange_id], status)

    def open_exchange(self) -> str:
        """Make an exchange of ETH for USDT as if somebody had asked for it; its id."""
        asked = {
            "fromCurrency": "eth",
            "fromNetwork": "eth",
            "toCurrency": "usdt",
            "toNetwork": "eth",
            "fromAmount": 1,
            "address": "0x52908400098527886E0F7030069857D2E4169EE7",
            "flow": "standard",
        }
        with self._lock:
            return str(json.loads(self._new(asked).body)["id"])

    def parted(self, request: Incoming) -> tuple[str, str]:
        """The key is a header."""
        return request.headers.get("x-changenow-api-key", ""), request.path

    def judge(self, request: Incoming, path: str, *, accepted: bool) -> Fault:
        """What was asked for, or what is wrong."""
        routes = {
            ("GET", PATH): lambda: _estimate(request.query),
            ("POST", NEW_PATH): lambda: self._new(request.content()),
            ("GET", STATUS_PATH): lambda: self._told(request.query.get("id", "")),
        }
        answer = routes.get((request.method, path))
        if answer is None:
            return _error(404, "not_found")
        return answer() if accepted else _error(401, "unauthorized")

    def _new(self, content: object) -> Fault:
        asked = content if isinstance(content, dict) else {}
        amount = _number(asked.get("fromAmount"))
        if amount is None or not all(asked.get(name) for name in _REQUIRED_OF_NEW):
            return _error(400, "bad_request")
        number = hashlib.sha256(f"{len(self.exchanges)}".encode()).hexdigest()
        made = {
            "id": number[:14],
            "fromAmount": amount,
            "toAmount": round(amount * RATE, 12),
            "flow": asked["flow"],
            "payinAddress": f"0x{number[-40:]}",
            "payoutAddress": asked["address"],
            **{name: asked[name] for name in _REQUIRED_OF_NEW[:4]},
        }
        self.exchanges[number[:14]] = {
            **made,
            "status": "waiting",
            "expectedAmountFrom": amount,
            "expectedAmountTo": made["toAmount"],
            **dict.fromkeys(("amountFrom", "amountTo", "payinHash", "payoutHash")),
        }
        return as_json(200, made)

    def _told(self, exchange_id: str) -> Fault:
        exchange = self.exchanges.get(exchange_id)
        if exchange is None:
            return _error(404, "not_found")
        answer = as_json(200, exchange)
        if self.moves_on and exchange["status"] in COURSE[:-1]:
            self._move(exchange, COURSE[COURSE.index(f"{exchange['status']}") + 1])
        return answer

    def _move(self, exchange: dict[str, object], status: str) -> None:
        exchange["status"] = status
        if status in COURSE[1:]:
            exchange["payinHash"] = _hash_of("payin", exchange)
            exchange["amountFrom"] = exchange["expectedAmountFrom"]
        if status == COURSE[-1]:
            exchange["payoutHash"] = _hash_of("payout", exchange)
            exchange["amountTo"] = exchange["expectedAmountTo"]


def _hash_of(what: str, exchange: Mapping[str, object]) -> str:
    return "0x" + hashlib.sha256(f"{what} {exchange['id']}".encode()).hexdigest()


def _estimate(query: Mapping[str, str]) -> Fault:
    amount = _amount_in(query)
    if amount is None:
        return _error(400, "bad_request")
    return as_json(
        200,
        {
            **{name: query[name] for name in _REQUIRED[:4]},
            "fromAmount": amount,
            "toAmount": round(amount * RATE, 12),
            "depositFee": DEPOSIT_FEE,
            "withdrawalFee": WITHDRAWAL_FEE,
        },
    )


def _amount_in(query: Mapping[str, str]) -> float | None:
    """The amount of a query that has all that it needs."""
    return _number(query["fromAmount"]) if all(name in query for name in _REQUIRED) else None


def _number(text: object) -> float | None:
    try:
        return float(f"{text}")
    except ValueError:
        return None


def _error(status: int, error: str) -> Fault:
    return as_json(status, {"error": error, "message": error})
