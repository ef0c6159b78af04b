"""What PGP_SERVER_v1 does with what NOWPayments, Cloudflare and the fleet tell it."""

from __future__ import annotations

import hmac
import logging
import time
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from pgp_services.bots import nothing_to_do
from pgp_services.clients.nowpayments import SIGNATURE, verify_ipn
from pgp_services.clients.telegram import ChatClosed
from pgp_services.failures import BadRequest, BadSignature
from pgp_services.orders import Ipn, order_of
from pgp_services.server.claims import PayoutNotice
from pgp_services.serving.answers import done, not_delivered
from pgp_services.serving.bodies import model_in, token_in, validated
from pgp_services.serving.routes import Route
from pgp_services.tokens import plain, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_config import Keys
    from pgp_services.clients.telegram import TelegramClient, Update
    from pgp_services.provided import Provided
    from pgp_services.server.bot import ServerBot
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

logger = logging.getLogger("pgp_services.server")

#: Where Cloudflare sends the secret itself
#: (developers.cloudflare.com/notifications/reference/webhook-payload-schema).
CLOUDFLARE_HEADER = "cf-webhook-auth"

#: What a payer is told, by NOWPayments' status. A finished payment is told of by NP_IPN.
TEXTS = {
    "partially_paid": "You have paid less than the price. Please pay the rest on the same page.",
    "failed": "Your payment has failed. Nothing has been booked.",
    "expired": "The time for your payment is over. Please order again if you like.",
    "refunded": "Your payment has been given back.",
}


class CloudflareNotice(BaseModel):
    """What Cloudflare tells of its alerts; what the fleet does not use is left out.

    Attributes:
        alert_type: Of what sort it is; Cloudflare leaves it out at times, and in its test.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    alert_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,100}$")] | None = None


class ServerHandler:
    """Handles `POST /webhooks/nowpayments`, `/webhooks/cloudflare` and `/webhooks/payout`; used from threads.

    Args:
        bot: Handles updates.
        signing_key: The secret TPS_HOSTPAY_SIGNING_KEY.
        ipn_keys: The secret NOWPAYMENTS_IPN_SECRET, its current and its previous version.
        cloudflare_secret: The secret CLOUDFLARE_WEBHOOK_SECRET.
        telegram: The bot's client.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        bot: ServerBot,
        signing_key: Provided[SecretStr],
        ipn_keys: Provided[Keys[SecretStr]],
        cloudflare_secret: Provided[SecretStr],
        telegram: TelegramClient,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bot = bot
        self._signing_key = signing_key
        self._ipn_keys = ipn_keys
        self._cloudflare_secret = cloudflare_secret
        self._telegram = telegram
        self._clock = clock

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route("/webhooks/nowpayments", self.nowpayments),
            Route("/webhooks/cloudflare", self.cloudflare),
            Route("/webhooks/payout", self.payout),
        ]

    def take(self, update: Update) -> Answer:
        """Handle an update of the loop.

        Raises:
            ServiceFailure: If it cannot be handled.
            PgpConfigError: If a secret has no usable value.
        """
        return self._bot.take(update)

    def nowpayments(self, call: Call) -> Answer:
        """Tell a payer what became of a payment that did not go well.

        Raises:
            ServiceFailure: If the IPN is not NOWPayments', or Telegram does not take the message.
            PgpConfigError: If a secret has no usable value.
        """
        content = verify_ipn(call.body, call.headers.get(SIGNATURE), self._ipn_keys())
        ipn = validated(Ipn, content)
        text, payer = TEXTS.get(ipn.payment_status), payer_of(ipn)
        if text is None or payer is None:
            return nothing_to_do()
        try:
            self._telegram.send_message(payer, text)
        except ChatClosed:
            return not_delivered()
        return done(f"Payer told: {ipn.payment_status}")

    def cloudflare(self, call: Call) -> Answer:
        """Put what Cloudflare tells of into the log.

        Raises:
            ServiceFailure: If it is not Cloudflare's, or of another form.
            PgpConfigError: If the secret has no usable value.
        """
        if not is_cloudflares(call, self._cloudflare_secret()):
            raise BadSignature("the notice does not have Cloudflare's secret")
        notice = model_in(CloudflareNotice, call.body)
        logger.warning("Cloudflare tells of an alert: %s", notice.alert_type or "of no type")
        return done("Noted")

    def payout(self, call: Call) -> Answer:
        """Tell a payer that something has been paid out.

        Raises:
            ServiceFailure: If the token is not good, or Telegram does not take the message.
            PgpConfigError: If a secret has no usable value.
        """
        notice = verify(PayoutNotice, token_in(call.body), self._signing_key(), self._clock())
        text = f"{plain(notice.amount)} {notice.currency.upper()} has been paid out."
        try:
            message_id = self._telegram.send_message(notice.user_id, text)
        except ChatClosed:
            return not_delivered()
        return done("Payer told", message_id=message_id)

    def close(self) -> None:
        """Close the connections of this process."""
        self._bot.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._bot.aclose()


def payer_of(ipn: Ipn) -> int | None:
    """Whose payment an IPN is of; None if it is of no order of ours."""
    try:
        return order_of(ipn.order_id).user_id
    except BadRequest:
        return None


def is_cloudflares(call: Call, secret: SecretStr) -> bool:
    """Whether a request has the secret; as slow whatever is wrong with it."""
    given = call.headers.get(CLOUDFLARE_HEADER, "").encode("utf-8", "replace")
    return hmac.compare_digest(given, secret.get_secret_value().encode())
