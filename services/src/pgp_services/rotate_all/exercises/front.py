"""What the services are asked that face people: the bot, its pages, its webhooks."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from pgp_services.jwts import issue
from pgp_services.names import Service
from pgp_services.orders import Offer, Order, reference
from pgp_services.rotate_all.exercises.craft import (
    LOGIN,
    PAYOUT,
    SUCCESS,
    WALLET,
    Exercise,
    Request,
    Written,
)
from pgp_services.server.claims import BroadcastOrder, PayoutNotice, ScheduleOrder
from pgp_services.server.handler import CLOUDFLARE_HEADER
from pgp_services.tokens import InviteRequest, sign

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
    return _ipn_at("/", "finished", craft)


def _ipn_at(path: str, status: str, craft: Craft) -> Request:
    """NOWPayments tells of a payment for an order of ours."""
    order = Order(
        number=craft.number,
        time=craft.now,
        user_id=craft.number,
        closed_channel_id=-100_000_000_000 - craft.number,
        price_amount=Decimal(20),
        price_currency="usd",
        payout_mode="instant",
        payout_currency="xmr",
        payout_network="xmr",
        wallet_address=WALLET,
    )
    payment = {
        "payment_id": craft.number,
        "payment_status": status,
        "order_id": reference(order),
        "price_amount": 20,
        "price_currency": "usd",
        "pay_amount": 0.05,
        "actually_paid": 0.05,
        "outcome_amount": 0.05,
        "outcome_currency": "eth",
    }
    ipn = craft.fleet.nowpayments.ipn(payment, craft.version)
    return Request(path, ipn.body, headers=ipn.headers)


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
    """In the form of a token, and signed by nobody: ORCHESTRATOR is not there to see."""
    return _json("/update", _update(craft, f"/claim token-{craft.number}.{'x' * 43}"))


def _update(craft: Craft, text: str) -> dict[str, object]:
    number = craft.number
    return {"update_id": number, "chat_id": number, "user_id": number, "text": text}


def _json(path: str, content: object, headers: Mapping[str, str] | None = None) -> Request:
    return Request(path, json.dumps(content).encode(), headers=headers or {})


# -- SERVER --------------------------------------------------------------------------------------


def _pay(craft: Craft) -> Written:
    """To the bot by its name: another one's command is not answered."""
    offer = Offer(
        closed_channel_id=-100_000_000_000 - craft.number,
        price_amount=Decimal(20),
        price_currency="usd",
        payout_mode="instant",
        payout_currency="xmr",
        payout_network="xmr",
        wallet_address=WALLET,
        timestamp=craft.now,
    )
    name = craft.newest("TELEGRAM_BOT_USERNAME")
    return Written(f"/pay@{name} {sign(offer, craft.value)}")


def _broadcast_order(craft: Craft) -> Written:
    order = BroadcastOrder(chat_ids=[craft.number], text="Hello", timestamp=craft.now)
    return Written(f"/broadcast {sign(order, craft.value)}")


def _schedule_order(craft: Craft) -> Written:
    order = ScheduleOrder(
        chat_ids=[craft.number], text="Hello", at=craft.now + 3600, timestamp=craft.now
    )
    return Written(f"/schedule {sign(order, craft.value)}")


def _other_command(_: Craft) -> Written:
    return Written("/help")


def _payout_notice(craft: Craft) -> Request:
    notice = PayoutNotice(
        payout_id=f"p-{craft.number}",
        user_id=craft.number,
        amount=Decimal(1),
        currency="xmr",
        timestamp=craft.now,
    )
    return Request("/webhooks/payout", craft.token(notice))


def _cloudflare(craft: Craft) -> Request:
    headers = {CLOUDFLARE_HEADER: craft.value.get_secret_value()}
    return _json("/webhooks/cloudflare", {"alert_type": "http_alert_origin_error"}, headers)


def _ipn_of_failure(craft: Craft) -> Request:
    return _ipn_at("/webhooks/nowpayments", "failed", craft)


FRONT: dict[Service, list[Exercise]] = {
    Service.SERVER: [
        Exercise("invoice", _pay, signed=PAYOUT),
        Exercise("broadcast", _broadcast_order, signed=PAYOUT),
        Exercise("schedule", _schedule_order, signed=PAYOUT),
        Exercise("another command", _other_command),
        Exercise("payout notice", _payout_notice, signed=PAYOUT),
        Exercise("Cloudflare", _cloudflare, proof="CLOUDFLARE_WEBHOOK_SECRET"),
        Exercise("IPN", _ipn_of_failure, proof=_IPN),
        Exercise("IPN, previous key", _ipn_of_failure, proof=_IPN, back=1),
    ],
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
