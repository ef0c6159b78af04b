"""What the services are asked that face people: the bot, its pages, its webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.jwts import issue
from pgp_services.names import Service
from pgp_services.orders import Order, reference
from pgp_services.rotate_all.exercises.craft import LOGIN, WALLET, Exercise, Request

if TYPE_CHECKING:
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


FRONT: dict[Service, list[Exercise]] = {
    Service.NP_IPN: [
        Exercise("IPN", _ipn, proof=_IPN),
        Exercise("IPN, previous key", _ipn, proof=_IPN, back=1),
    ],
    Service.WEBAPI: [Exercise("configuration", _configuration, signed=LOGIN)],
    Service.WEB: [Exercise("configuration", _configuration_page)],
}
