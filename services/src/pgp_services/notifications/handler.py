"""What PGP_NOTIFICATIONS_v1 does with a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.clients.telegram import ChatClosed
from pgp_services.messages import Notification
from pgp_services.serving.answers import done, not_delivered
from pgp_services.serving.bodies import model_in
from pgp_services.serving.routes import Route

if TYPE_CHECKING:
    from pgp_services.clients.telegram import TelegramClient
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call


class NotificationsHandler:
    """Handles `POST /send-notification`; used from threads.

    Args:
        telegram: The bot.
    """

    def __init__(self, *, telegram: TelegramClient) -> None:
        self._telegram = telegram

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/send-notification", self.send)]

    def send(self, call: Call) -> Answer:
        """Write to somebody; a repeat of the request writes again.

        A chat that has blocked the bot stays so: that is noted, and done with.

        Raises:
            ServiceFailure: If the request is not of that form, or Telegram does not take the message.
            PgpConfigError: If the token has no usable value.
        """
        asked = model_in(Notification, call.body)
        try:
            message_id = self._telegram.send_message(asked.chat_id, asked.text)
        except ChatClosed:
            return not_delivered()
        return done("Notification sent", message_id=message_id)

    def close(self) -> None:
        """Close the connections of this process."""
        self._telegram.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._telegram.aclose()
