"""Slack: an alert by an incoming webhook, whose URL is itself the secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
from pydantic import BaseModel

from pgp_services.clients.base import Addressed, Ask, HttpClient, Party
from pgp_services.clients.connections import is_loopback, url_of
from pgp_services.clients.outcomes import Outcome, UnusableAddressError
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import Refused, Unavailable

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pgp_services.clients.base import Key
    from pgp_services.clients.outcomes import M, Reply

#: The hosts of Slack's incoming webhooks: for all, and for governments.
HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})

#: Characters of a message, at most: more than some thousand Slack cuts itself, or refuses.
LONGEST = 3000

#: Bounds of one alert: a request waits for it.
POLICY = RetryPolicy(budget=3.0, attempt=1.5, retries=1)


class SlackRefused(Refused):
    """Slack refuses the message or the webhook, or answers nonsense."""


class SlackUnavailable(Unavailable):
    """Slack does not answer within the budget."""


class _Taken(BaseModel):
    """Slack took the message; it says nothing more of it."""


class SlackAlerts(HttpClient["SecretStr"]):
    """Posts alerts; usable from threads and from coroutines.

    Args:
        webhook: The secret, not its value: `https://hooks.slack.com/services/…`, or http on the
            loopback for a local stand-in. Where it can be refreshed, a webhook that is gone (403, 404,
            410) is looked up anew once.
        policy: The bounds of one alert with all its attempts.
    """

    # Slack's words for a webhook that is no more are no_service, invalid_token, channel_not_found,
    # action_prohibited and channel_is_archived.
    party = Party("Slack", SlackRefused, SlackUnavailable, frozenset({403, 404, 410}))

    def __init__(self, webhook: Key[SecretStr], policy: RetryPolicy = POLICY) -> None:
        super().__init__(webhook, httpx.URL("https://hooks.slack.com"), policy)

    def addressed(self, ask: Ask[M], key: SecretStr) -> Addressed:  # noqa: ARG002  all of it is the URL
        """The key is the URL.

        Raises:
            UnusableAddressError: If it is not a webhook's.
        """
        url = url_of(key.get_secret_value())
        if url is None or not (url.host in HOSTS or is_loopback(url.host)):
            raise UnusableAddressError
        return Addressed(url)

    def judge(self, ask: Ask[M], reply: Reply) -> Outcome[M]:
        """Slack answers 200 and `ok`, or a status and a word."""
        if reply.status != httpx.codes.OK:
            return reply.failure()
        if reply.body.strip() != b"ok":
            return Outcome(reply.status, "Slack's answer is not ok")
        return Outcome(reply.status, value=ask.answer())

    def alert(self, text: str) -> None:
        """Post a message.

        Not idempotent: it is sent again, once, only where Slack surely did not take it: no connection, 429 or
        503 (after what `Retry-After` says, if there is time; a 503 that has none is final).

        Args:
            text: The message, of which 3,000 characters are sent. It mentions nobody and is shown as it is,
                without formatting and without a preview of what it names; Slack may still make a link of a URL.

        Raises:
            SlackRefused: If Slack refuses the message or the webhook, or answers nonsense; or if the
                secret is not the URL of a webhook.
            SlackUnavailable: If Slack does not answer within the budget.
            PgpConfigError: If there is no webhook.
        """
        self.call(_message(text))

    async def alert_async(self, text: str) -> None:
        """As `alert`, from a coroutine."""
        await self.call_async(_message(text))


def _message(text: str) -> Ask[_Taken]:
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    plain = short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    content = {"text": plain, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    return Ask("alert", "POST", "/", _Taken, body=json.dumps(content).encode(), once=True)
