"""What PGP_BROADCAST_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.broadcast.handler import BroadcastHandler
from pgp_services.fleet import WithDatabase, WithTelegram
from pgp_services.names import Service


class Broadcast(WithDatabase, WithTelegram):
    """The secrets of PGP_BROADCAST_v1, each by the name that the catalogue gives it, and its parts."""

    reload_policy = catalogue.policy_of(Service.BROADCAST)

    jwt_secret_key = catalogue.JWT_SECRET_KEY.secret()

    telegram_bot_username = catalogue.TELEGRAM_BOT_USERNAME.secret()

    handler = providers.Singleton(
        BroadcastHandler,
        jwt_key=jwt_secret_key,
        bot_name=telegram_bot_username,
        telegram=WithTelegram.telegram,
    )
