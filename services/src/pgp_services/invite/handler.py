"""What PGP_INVITE_v1 does with a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgp_services.serving.answers import done
from pgp_services.serving.bodies import token_in
from pgp_services.serving.routes import Route
from pgp_services.tokens import InviteRequest, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.telegram import TelegramClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Seconds for which a link lets one person in.
LINK_AGE = 24 * 3600


class InviteHandler:
    """Handles `POST /`; used from threads.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        telegram: The bot.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        telegram: TelegramClient,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signing_key = signing_key
        self._telegram = telegram
        self._clock = clock

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/", self.invite)]

    def invite(self, call: Call) -> Answer:
        """Make a link for one person, and send it to the payer; a repeat of the request makes another.

        Raises:
            ServiceFailure: If the token is not good, or Telegram does not do it.
            PgpConfigError: If a secret has no usable value.
        """
        key = self._signing_key()
        request = verify(InviteRequest, token_in(call.body), key, self._clock())
        link = self._telegram.create_invite_link(
            request.closed_channel_id, member_limit=1, expires_in=LINK_AGE
        )
        text = f"Your payment was received. Join the channel, within a day: {link}"
        return done("Invited", message_id=self._telegram.send_message(request.user_id, text))

    def close(self) -> None:
        """Close the connections of this process."""
        self._telegram.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._telegram.aclose()
