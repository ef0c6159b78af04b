"""What PGP_BOTCOMMAND_v1 reads, and what it is made of."""

from __future__ import annotations

from dependency_injector import providers

from pgp_services import catalogue
from pgp_services.botcommand.handler import BotCommandHandler
from pgp_services.clients.cloud_tasks import Target
from pgp_services.clients.updates import UpdateLoop
from pgp_services.fleet import WithTasksOfSettings, WithTelegram
from pgp_services.names import Service


class BotCommand(WithTelegram, WithTasksOfSettings):
    """The secrets of PGP_BOTCOMMAND_v1, each by the name that the catalogue gives it, and its parts.

    `updates` makes the loop over Telegram's updates, from what handles one and the event `stop`.
    """

    reload_policy = catalogue.policy_of(Service.BOTCOMMAND)

    telegram_bot_username = catalogue.TELEGRAM_BOT_USERNAME.secret()
    pgp_orchestrator_url = catalogue.PGP_ORCHESTRATOR_URL.secret()
    pgp_orchestrator_queue = catalogue.PGP_ORCHESTRATOR_QUEUE.secret()

    orchestrator = providers.Singleton(Target, pgp_orchestrator_queue, pgp_orchestrator_url)
    updates = providers.Factory(UpdateLoop, WithTelegram.telegram)
    handler = providers.Singleton(
        BotCommandHandler,
        bot_name=telegram_bot_username,
        telegram=WithTelegram.telegram,
        tasks=WithTasksOfSettings.tasks,
        orchestrator=orchestrator,
    )
