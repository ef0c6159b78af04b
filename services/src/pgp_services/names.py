"""The seventeen services of the fleet, by name, and the one queue that no secret names."""

from __future__ import annotations

from enum import StrEnum


class Service(StrEnum):
    """A service, as Cloud Run and the fleet's lists name it."""

    SPLIT2 = "PGP_SPLIT2_v1"
    ORCHESTRATOR = "PGP_ORCHESTRATOR_v1"
    HOSTPAY1 = "PGP_HOSTPAY1_v1"
    HOSTPAY3 = "PGP_HOSTPAY3_v1"
    SERVER = "PGP_SERVER_v1"
    SPLIT1 = "PGP_SPLIT1_v1"
    HOSTPAY2 = "PGP_HOSTPAY2_v1"
    NOTIFICATIONS = "PGP_NOTIFICATIONS_v1"
    INVITE = "PGP_INVITE_v1"
    ACCUMULATOR = "PGP_ACCUMULATOR_v1"
    BATCHPROCESSOR = "PGP_BATCHPROCESSOR_v1"
    BROADCAST = "PGP_BROADCAST_v1"
    NP_IPN = "PGP_NP_IPN_v1"
    MICROBATCHPROCESSOR = "PGP_MICROBATCHPROCESSOR_v1"
    WEBAPI = "PGP_WEBAPI_v1"
    WEB = "PGP_WEB_v1"
    BOTCOMMAND = "PGP_BOTCOMMAND_v1"

    @property
    def short(self) -> str:
        """The name without the fleet's prefix and the version: `SPLIT2`."""
        return self.removeprefix("PGP_").removesuffix("_v1")


#: Services that the world calls: web pages, Telegram, NOWPayments. What they are sent is verified by them.
PUBLIC = frozenset({Service.SERVER, Service.NP_IPN, Service.WEBAPI, Service.WEB})

#: The queue in which HOSTPAY3 reserves each payment once. Its name is fixed: a queue knows the names of its own tasks
#: only, and so this one is never replaced, as those behind secrets are (`hostpay3.handler`).
LEDGER_QUEUE = "pgp-hostpay3-ledger"
