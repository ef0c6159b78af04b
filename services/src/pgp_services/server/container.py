"""What PGP_SERVER_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.clients.cloud_tasks import Target
from pgp_services.clients.nowpayments import NowPaymentsClient
from pgp_services.clients.services import ServiceClient
from pgp_services.clients.updates import UpdateLoop
from pgp_services.fleet import Fleet, WithDatabase, WithTasksOfSettings, WithTelegram
from pgp_services.names import Service
from pgp_services.server.bot import ServerBot
from pgp_services.server.handler import ServerHandler


class Server(WithDatabase, WithTelegram, WithTasksOfSettings):
    """The secrets of PGP_SERVER_v1, each by the name that the catalogue gives it, and its parts.

    `updates` makes the loop over Telegram's updates, from what handles one and the event `stop`.
    """

    reload_policy = catalogue.policy_of(Service.SERVER)

    tps_hostpay_signing_key = catalogue.TPS_HOSTPAY_SIGNING_KEY.secret()

    telegram_bot_username = catalogue.TELEGRAM_BOT_USERNAME.secret()
    nowpayments_api_key = catalogue.NOWPAYMENTS_API_KEY.secret()
    nowpayments_ipn_secret = catalogue.NOWPAYMENTS_IPN_SECRET.key_ring()
    cloudflare_webhook_secret = catalogue.CLOUDFLARE_WEBHOOK_SECRET.secret()
    pgp_scheduler_url = catalogue.PGP_SCHEDULER_URL.secret()
    pgp_scheduler_queue = catalogue.PGP_SCHEDULER_QUEUE.secret()
    pgp_broadcast_url = catalogue.PGP_BROADCAST_URL.secret()
    pgp_broadcast_queue = catalogue.PGP_BROADCAST_QUEUE.secret()
    pgp_botcommand_url = catalogue.PGP_BOTCOMMAND_URL.secret()

    scheduler = providers.Singleton(Target, pgp_scheduler_queue, pgp_scheduler_url)
    broadcast = providers.Singleton(Target, pgp_broadcast_queue, pgp_broadcast_url)
    nowpayments = providers.Singleton(
        NowPaymentsClient,
        api_key=nowpayments_api_key,
        base_url=Fleet.settings.provided.nowpayments_base_url,
    )
    botcommand = providers.Singleton(
        ServiceClient, pgp_botcommand_url, Fleet.settings.provided.local_gateway
    )
    updates = providers.Factory(UpdateLoop, WithTelegram.telegram)
    bot = providers.Singleton(
        ServerBot,
        signing_key=tps_hostpay_signing_key,
        bot_name=telegram_bot_username,
        telegram=WithTelegram.telegram,
        nowpayments=nowpayments,
        botcommand=botcommand,
        tasks=WithTasksOfSettings.tasks,
        broadcast=broadcast,
        scheduler=scheduler,
        ipn_url=Fleet.settings.provided.ipn_url,
    )
    handler = providers.Singleton(
        ServerHandler,
        bot=bot,
        signing_key=tps_hostpay_signing_key,
        ipn_keys=nowpayments_ipn_secret,
        cloudflare_secret=cloudflare_webhook_secret,
        telegram=WithTelegram.telegram,
    )
