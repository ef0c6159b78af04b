"""What PGP_BOTCOMMAND_v1 does with what people write to the bot."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from pgp_services.botcommand.pace import Pace
from pgp_services.bots import NOT_GOOD, apologise, command_in, deep_link, message_in, nothing_to_do
from pgp_services.causes import digest
from pgp_services.clients.cloud_tasks import NewTask
from pgp_services.clients.telegram import Update
from pgp_services.serving.answers import done
from pgp_services.serving.bodies import model_in
from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler
from pgp_services.tokens import MAX_TOKEN_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_services.bots import Command, Message
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.clients.telegram import TelegramClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Where ORCHESTRATOR takes payments.
PROCESS_PATH = "/process-validated-payment"

#: What the bot says to `/start`, by what a deep link brings along.
GREETINGS = {
    "paid": "Thank you. You will hear of it when your payment has been confirmed.",
    "cancelled": "The payment was cancelled. Nothing has been taken from you.",
}

_HELP = """\
/start: begin
/pay OFFER: pay for a place in a channel
/claim TOKEN: say that you have paid, with the token of the page that thanked you
/help: this
{link}"""

#: What is said to somebody who claims again within seconds.
SLOWLY = "One claim at a time, please. Try again in a few seconds."

#: itsdangerous' form: a text (a point before it says that it is deflated), and the 43 characters of an HMAC-SHA256.
_TOKEN = re.compile(r"\.?[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", re.ASCII)


class BotCommandHandler(TaskHandler):
    """Handles `POST /update`, which SERVER forwards commands to, and the updates of a loop; used from threads.

    Args:
        bot_name: The secret TELEGRAM_BOT_USERNAME.
        telegram: The bot.
        tasks: Creates tasks.
        orchestrator: Where claimed payments go.
        monotonic: Monotonic seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        bot_name: Provided[str],
        telegram: TelegramClient,
        tasks: TasksClient,
        orchestrator: Target,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(tasks, telegram)
        self._bot_name = bot_name
        self._telegram = telegram
        self._orchestrator = orchestrator
        self._pace = Pace(monotonic)

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/update", self.update)]

    def update(self, call: Call) -> Answer:
        """Handle a forwarded update; whoever forwards it apologises for a failure.

        Raises:
            ServiceFailure: If it is none, or cannot be handled.
            PgpConfigError: If a secret has no usable value.
        """
        return self.handle(model_in(Update, call.body))

    def take(self, update: Update) -> Answer:
        """Handle an update of our own loop; who wrote is told of a failure.

        Raises:
            ServiceFailure: If it cannot be handled.
            PgpConfigError: If a secret has no usable value.
        """
        try:
            return self.handle(update)
        except Exception:
            apologise(self._telegram, update)
            raise

    def handle(self, update: Update) -> Answer:
        """Answer a command.

        Raises:
            ServiceFailure: If that cannot be done.
            PgpConfigError: If a secret has no usable value.
        """
        message, bot_name = message_in(update), self._bot_name()
        command = None if message is None else command_in(message.text, bot_name)
        if message is None or command is None:
            return nothing_to_do()
        text = (
            self._claim(message, command) if command.name == "claim" else reply(command, bot_name)
        )
        self._telegram.send_message(message.chat_id, text)
        return done("Command answered")

    def _claim(self, message: Message, command: Command) -> str:
        """Have a payment processed; ORCHESTRATOR has the keys, and sees whether the token is good.

        Anybody can write what looks like a token, so a user makes one task in `pace.INTERVAL` at most.
        """
        task = claim_task(command)
        if task is None:
            return NOT_GOOD
        if not self._pace.passes(message.user_id):
            return SLOWLY
        try:
            self._tasks.create(self._orchestrator, task)
        except Exception:
            self._pace.give_back(message.user_id)
            raise
        return "Thank you. If your payment is there, you will be let in."


def claim_task(command: Command) -> NewTask | None:
    """The call that has ORCHESTRATOR look at a payer's token; None if it cannot be one."""
    token = command.argument
    if len(token) > MAX_TOKEN_LENGTH or _TOKEN.fullmatch(token) is None:
        return None
    return NewTask(f"{digest('claim', token)}-claim", PROCESS_PATH, {"token": token})


def reply(command: Command, bot_name: str) -> str:
    """What is said to a command that does nothing but talk."""
    usage = _HELP.format(link=deep_link(bot_name))
    if command.name == "start":
        return GREETINGS.get(command.argument, f"Welcome.\n{usage}")
    return usage
