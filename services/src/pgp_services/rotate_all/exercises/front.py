"""What the services are asked that face people: the bot, its pages, its webhooks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pgp_services.jwts import issue
from pgp_services.names import Service
from pgp_services.orders import Order, reference
from pgp_services.rotate_all.exercises.craft import LOGIN, SUCCESS, WALLET, Exercise, Request
from pgp_services.tokens import InviteRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_services.rotate_all.exercises.craft import Craft


_IPN = "NOWPAYMENTS_IPN_SECRET"


def _configuration_page(_: Craft) -> Request:
    return Request("/config.json", method="GET")


def _configuration(craft: Craft) -> Request:
    return Request("/api/config", method="GET", headers=_login(craft))


def _login(craft: Craft) -> dict[str, str]:
    token = issue("owner@pgp.example", "access", craft.value, craft.now)
    return {"Authorization": f"Bearer {token}"}


def _ipn(craft: Craft) -> Request:
    """A finished payment for an order of ours."""
    order = Order(
        number=craft.number,
        user_id=craft.number,
        closed_channel_id=-100_000_000_000 - craft.number,
        payout_mode="instant",
        payout_currency="xmr",
        payout_network="xmr",
        wallet_address=WALLET,
    )
    payment = {
        "payment_id": craft.number,
        "payment_status": "finished",
        "order_id": reference(order),
        "outcome_amount": 0.05,
        "outcome_currency": "eth",
    }
    ipn = craft.fleet.nowpayments.ipn(payment, craft.version)
    return Request("/", ipn.body, headers=ipn.headers)


def _notification(craft: Craft) -> Request:
    return _json("/send-notification", {"chat_id": craft.number, "text": "Hello"})


def _invite(craft: Craft) -> Request:
    claims = InviteRequest(
        payment_id=f"p-{craft.number}",
        user_id=craft.number,
        closed_channel_id=-100_000_000_000 - craft.number,
        timestamp=craft.now,
    )
    return Request("/", craft.token(claims))


def _broadcast(craft: Craft) -> Request:
    content = {"chat_ids": [craft.number], "text": "Hello"}
    return _json("/api/broadcast/trigger", content, _login(craft))


def _help(craft: Craft) -> Request:
    """To the bot by its name: another one's command is not answered."""
    return _json("/update", _update(craft, f"/help@{craft.value.get_secret_value()}"))


def _claim(craft: Craft) -> Request:
    return _json("/update", _update(craft, f"/claim token-{craft.number}"))


def _update(craft: Craft, text: str) -> dict[str, object]:
    number = craft.number
    return {"update_id": number, "chat_id": number, "user_id": number, "text": text}


def _json(path: str, content: object, headers: Mapping[str, str] | None = None) -> Request:
    return Request(path, json.dumps(content).encode(), headers=headers or {})


FRONT: dict[Service, list[Exercise]] = {
    Service.NP_IPN: [
        Exercise("IPN", _ipn, proof=_IPN),
        Exercise("IPN, previous key", _ipn, proof=_IPN, back=1),
    ],
    Service.NOTIFICATIONS: [Exercise("notification", _notification)],
    Service.INVITE: [Exercise("invitation", _invite, signed=SUCCESS)],
    Service.BROADCAST: [Exercise("broadcast", _broadcast, signed=LOGIN)],
    Service.BOTCOMMAND: [
        Exercise("help", _help, proof="TELEGRAM_BOT_USERNAME"),
        Exercise("claim", _claim),
    ],
    Service.WEBAPI: [Exercise("configuration", _configuration, signed=LOGIN)],
    Service.WEB: [Exercise("configuration", _configuration_page)],
}
