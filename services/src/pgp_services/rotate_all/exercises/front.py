"""What the services are asked that face people: the bot, its pages, its webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.jwts import issue
from pgp_services.names import Service
from pgp_services.rotate_all.exercises.craft import LOGIN, Exercise, Request

if TYPE_CHECKING:
    from pgp_services.rotate_all.exercises.craft import Craft


def _configuration_page(_: Craft) -> Request:
    return Request("/config.json", method="GET")


def _configuration(craft: Craft) -> Request:
    return Request("/api/config", method="GET", headers=_login(craft))


def _login(craft: Craft) -> dict[str, str]:
    token = issue("owner@pgp.example", "access", craft.value, craft.now)
    return {"Authorization": f"Bearer {token}"}


FRONT: dict[Service, list[Exercise]] = {
    Service.WEBAPI: [Exercise("configuration", _configuration, signed=LOGIN)],
    Service.WEB: [Exercise("configuration", _configuration_page)],
}
