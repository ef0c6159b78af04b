"""What PGP_SERVER_v1 does with what people write to the bot."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from pgp_services.bots import (
    NOT_GOOD,
    apologise,
    command_in,
    deep_link,
    message_in,
    nothing_to_do,
)
from pgp_services.causes import digest
from pgp_services.clients.cloud_tasks import NewTask
from pgp_services.clients.nowpayments import NewInvoice
from pgp_services.failures import BadToken
from pgp_services.orders import Offer, ordered, reference
from pgp_services.server.claims import BroadcastOrder, ScheduleOrder
from pgp_services.serving.answers import done
from pgp_services.task_handler import TaskHandler
from pgp_services.tokens import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.bots import Command, Message
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.clients.nowpayments import NowPaymentsClient
    from pgp_services.clients.services import ServiceClient
    from pgp_services.clients.telegram import TelegramClient, Update
    from pgp_services.orders import Order
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer

#: Where BOTCOMMAND takes updates, BROADCAST broadcasts, and the scheduler what it is to have broadcast.
UPDATE_PATH, BROADCAST_PATH, SCHEDULE_PATH = "/update", "/api/broadcast/execute", "/schedule"


class ServerBot(TaskHandler):
    """Handles updates: orders and broadcasts itself, other commands through BOTCOMMAND; used from one thread.

    `/pay`, `/broadcast` and `/schedule` take a signed token, so that nobody orders what nobody offered, and
    nobody broadcasts who may not.

    Args:
        signing_key: The secret TPS_HOSTPAY_SIGNING_KEY.
        bot_name: The secret TELEGRAM_BOT_USERNAME.
        telegram: The bot.
        nowpayments: Makes invoices.
        botcommand: Answers other commands.
        tasks: Creates tasks.
        broadcast: Where broadcasts go.
        scheduler: Where broadcasts go that are to be made later.
        ipn_url: Where NOWPayments is to send its IPNs; None for where its own settings say.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        bot_name: Provided[str],
        telegram: TelegramClient,
        nowpayments: NowPaymentsClient,
        botcommand: ServiceClient,
        tasks: TasksClient,
        broadcast: Target,
        scheduler: Target,
        ipn_url: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, telegram, nowpayments, botcommand, clock=clock)
        self._signing_key = signing_key
        self._bot_name = bot_name
        self._telegram = telegram
        self._nowpayments = nowpayments
        self._botcommand = botcommand
        self._broadcast = broadcast
        self._scheduler = scheduler
        self._ipn_url = ipn_url
        self._own = {
            "pay": self._pay,
            "broadcast": self._broadcast_now,
            "schedule": self._broadcast_later,
        }

    def take(self, update: Update) -> Answer:
        """Handle an update; who wrote is told if that fails.

        Raises:
            ServiceFailure: If it cannot be handled.
            PgpConfigError: If a secret has no usable value.
        """
        try:
            return self._handle(update)
        except BadToken:
            apologise(self._telegram, update, NOT_GOOD)
            raise
        except Exception:
            apologise(self._telegram, update)
            raise

    def _handle(self, update: Update) -> Answer:
        message = message_in(update)
        command = None if message is None else command_in(message.text, self._bot_name())
        if message is None or command is None:
            return nothing_to_do()
        return self._own.get(command.name, self._forward)(message, command)

    def _forward(self, message: Message, _: Command) -> Answer:
        self._botcommand.post(UPDATE_PATH, forwarded(message))
        return done("Forwarded to BOTCOMMAND")

    def _pay(self, message: Message, command: Command) -> Answer:
        """Make an invoice for an offer; one who asks twice has two, and pays the one they like."""
        offer = verify(Offer, command.argument, self._signing_key(), self._clock())
        order = ordered(offer, message.user_id, message.update_id, self.now())
        new = new_invoice(order, self._bot_name(), self._ipn_url)
        invoice = self._nowpayments.create_invoice(new)
        self._telegram.send_message(message.chat_id, f"Please pay here: {invoice.invoice_url}")
        return done("Invoice sent")

    def _broadcast_now(self, message: Message, command: Command) -> Answer:
        order = verify(BroadcastOrder, command.argument, self._signing_key(), self._clock())
        for task in tasks_of(order, "broadcast", BROADCAST_PATH):
            self._tasks.create(self._broadcast, task)
        self._telegram.send_message(message.chat_id, "Your broadcast is on its way.")
        return done("Broadcast ordered")

    def _broadcast_later(self, message: Message, command: Command) -> Answer:
        order = verify(ScheduleOrder, command.argument, self._signing_key(), self._clock())
        for task in tasks_of(order, "schedule", SCHEDULE_PATH):
            self._tasks.create(self._scheduler, task)
        self._telegram.send_message(message.chat_id, "Your broadcast has been scheduled.")
        return done("Broadcast scheduled")


def cause_of(order: BroadcastOrder | ScheduleOrder) -> str:
    """What an order's task is named after: the same token does it once."""
    return digest(order.kind, json.dumps(order.model_dump(mode="json"), sort_keys=True))


def tasks_of(order: BroadcastOrder | ScheduleOrder, what: str, path: str) -> list[NewTask]:
    """The calls by which an order is carried out: one a chat.

    BROADCAST may get through a part of many chats only, and a task is either repeated or not.
    """
    cause, body = cause_of(order), order.model_dump(exclude={"timestamp", "chat_ids"})
    return [
        NewTask(f"{digest(cause, str(chat_id))}-{what}", path, {"chat_ids": [chat_id], **body})
        for chat_id in dict.fromkeys(order.chat_ids)
    ]


def forwarded(message: Message) -> dict[str, object]:
    """An update as BOTCOMMAND takes it."""
    return {
        "update_id": message.update_id,
        "chat_id": message.chat_id,
        "user_id": message.user_id,
        "text": message.text,
    }


def new_invoice(order: Order, bot_name: str, ipn_url: str | None) -> NewInvoice:
    """What NOWPayments is asked for: the payer comes back to the bot, whatever they did."""
    return NewInvoice(
        price_amount=order.price_amount,
        price_currency=order.price_currency,
        order_id=reference(order),
        order_description="A place in a channel",
        ipn_callback_url=ipn_url,
        success_url=deep_link(bot_name, "paid"),
        cancel_url=deep_link(bot_name, "cancelled"),
    )
