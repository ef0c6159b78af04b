"""What PGP_INVITE_v1 does with a request."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from pgp_config import PgpConfigError
from pgp_services.clients.telegram import ChatClosed
from pgp_services.failures import ServiceFailure
from pgp_services.serving.answers import done, not_delivered
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

#: Payments whose payers were let in that a process remembers, at most.
MAX_REMEMBERED = 10_000

#: Characters of a link's name, at most (core.telegram.org/bots/api#createchatinvitelink).
_MAX_NAME = 32


class InviteHandler:
    """Handles `POST /`; used from threads.

    Cloud Tasks delivers at least once, and INVITE has neither a queue nor a row to tell by what it has done. A process
    remembers whom it let in, and answers a repeat so. What remains: a repeat that comes to another process, or
    while the first is at hand, makes a second link, for one person like the first. Links have the payment's
    name, so that the channel's administrators see such a pair.

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
        self._lock = threading.Lock()
        self._invited: dict[str, None] = {}

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/", self.invite)]

    def invite(self, call: Call) -> Answer:
        """Make a link for one person, and send it to the payer.

        Where it is not sent, or may not have been, the link is revoked, and a repeat makes another: deliveries that
        fail leave no good link behind, and after the last of them the payer has none, which the alert tells. One
        who has blocked the bot gets none: that is final.

        Raises:
            ServiceFailure: If the token is not good, or Telegram does not do it.
            PgpConfigError: If a secret has no usable value.
        """
        key = self._signing_key()
        request = verify(InviteRequest, token_in(call.body), key, self._clock())
        if request.payment_id in self._invited:
            return done("Invited already")
        link = self._telegram.create_invite_link(
            request.closed_channel_id,
            member_limit=1,
            expires_in=LINK_AGE,
            name=f"Payment {request.payment_id}"[:_MAX_NAME],
        )
        try:
            message_id = self._send(request, link)
        except ChatClosed:
            return not_delivered()
        self._remember(request.payment_id)
        return done("Invited", message_id=message_id)

    def _send(self, request: InviteRequest, link: str) -> int:
        text = f"Your payment was received. Join the channel, within a day: {link}"
        try:
            return self._telegram.send_message(request.user_id, text)
        except Exception:
            # If that fails too, a link is left that is good for a day and known to nobody, or to the payer.
            with contextlib.suppress(ServiceFailure, PgpConfigError):
                self._telegram.revoke_invite_link(request.closed_channel_id, link)
            raise

    def _remember(self, payment_id: str) -> None:
        with self._lock:
            self._invited[payment_id] = None
            if len(self._invited) > MAX_REMEMBERED:
                del self._invited[next(iter(self._invited))]

    def close(self) -> None:
        """Close the connections of this process."""
        self._telegram.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._telegram.aclose()
