"""What a service takes from its environment variables: where things are, and nothing secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, Self, cast

from pgp_config import DeclarationError
from pgp_services.clients import changenow, ethereum, nowpayments, telegram

#: The URL of the source of all secrets, such as `gsm://pgp-live`.
SOURCE_VARIABLE = "PGP_CONFIG_SOURCE"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of a service; what is not set has the default.

    Attributes:
        service_account: TASKS_SERVICE_ACCOUNT, the e-mail address of the service account whose
            identity the calls of Cloud Tasks carry.
        changenow_base_url: CHANGENOW_BASE_URL; ChangeNow's own by default.
        cloud_tasks_endpoint: CLOUD_TASKS_ENDPOINT, `127.0.0.1:PORT` of a local stand-in; Google's own
            by default.
        nowpayments_base_url: NOWPAYMENTS_BASE_URL; NOWPayments' own by default.
        telegram_base_url: TELEGRAM_BASE_URL; Telegram's own by default.
        ethereum_base_url: ETHEREUM_BASE_URL; the provider's main network by default.
        local_gateway: LOCAL_GATEWAY, `http://127.0.0.1:PORT` of what stands in for the other services of
            the fleet, by the Host header; None where they are reached by their own URLs.
        google_project: GOOGLE_CLOUD_PROJECT, for the services that have no secret for it.
        google_region: GOOGLE_CLOUD_REGION, likewise.
        telegram_updates: TELEGRAM_UPDATES, whether this process asks Telegram for updates: `poll` or
            `off`; None for what is usual for the service.
        ipn_url: NOWPAYMENTS_IPN_URL, where NOWPayments is to send what it tells of invoices: NP_IPN's URL; None
            for where the account's own settings say.
        alerts_source: ALERTS_SOURCE, the URL of the source of SLACK_WEBHOOK_URL; None for no Slack.
    """

    service_account: str | None = None
    changenow_base_url: str = changenow.API
    cloud_tasks_endpoint: str | None = None
    nowpayments_base_url: str = nowpayments.API
    telegram_base_url: str = telegram.API
    ethereum_base_url: str = ethereum.API
    local_gateway: str | None = None
    google_project: str | None = None
    google_region: str | None = None
    telegram_updates: Literal["poll", "off"] | None = None
    ipn_url: str | None = None
    alerts_source: str | None = None

    @classmethod
    def from_environ(cls) -> Self:
        """Read the variables.

        Raises:
            DeclarationError: If TELEGRAM_UPDATES is neither `poll` nor `off`.
        """
        return cls(
            service_account=_given("TASKS_SERVICE_ACCOUNT"),
            changenow_base_url=_given("CHANGENOW_BASE_URL") or changenow.API,
            cloud_tasks_endpoint=_given("CLOUD_TASKS_ENDPOINT"),
            nowpayments_base_url=_given("NOWPAYMENTS_BASE_URL") or nowpayments.API,
            telegram_base_url=_given("TELEGRAM_BASE_URL") or telegram.API,
            ethereum_base_url=_given("ETHEREUM_BASE_URL") or ethereum.API,
            local_gateway=_given("LOCAL_GATEWAY"),
            google_project=_given("GOOGLE_CLOUD_PROJECT"),
            google_region=_given("GOOGLE_CLOUD_REGION"),
            telegram_updates=_poll_or_off(_given("TELEGRAM_UPDATES")),
            ipn_url=_given("NOWPAYMENTS_IPN_URL"),
            alerts_source=_given("ALERTS_SOURCE"),
        )

    @property
    def tasks_service_account(self) -> str:
        """`service_account`, where the service cannot do without.

        Raises:
            DeclarationError: If it is not set.
        """
        return _required("TASKS_SERVICE_ACCOUNT", self.service_account)

    @property
    def tasks_project(self) -> str:
        """`google_project`, where the service cannot do without.

        Raises:
            DeclarationError: If it is not set.
        """
        return _required("GOOGLE_CLOUD_PROJECT", self.google_project)

    @property
    def tasks_region(self) -> str:
        """`google_region`, where the service cannot do without.

        Raises:
            DeclarationError: If it is not set.
        """
        return _required("GOOGLE_CLOUD_REGION", self.google_region)


def required(variable: str) -> str:
    """An environment variable that has no default.

    Raises:
        DeclarationError: If it is missing or empty.
    """
    return _required(variable, _given(variable))


def _given(variable: str) -> str | None:
    return os.environ.get(variable) or None


def _required(variable: str, value: str | None) -> str:
    if not value:
        raise DeclarationError(
            f"the environment variable {variable} is not set",
            remedy="services/README.md lists what a service takes.",
        )
    return value


def _poll_or_off(value: str | None) -> Literal["poll", "off"] | None:
    if value not in (None, "poll", "off"):
        raise DeclarationError(
            "the environment variable TELEGRAM_UPDATES is neither poll nor off",
            remedy="Set it to poll in one process of those that share a bot, and to off in the others.",
        )
    return cast('Literal["poll", "off"] | None', value)
