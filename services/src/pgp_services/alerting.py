"""Alerts in Slack, for a deployment that has a webhook: told at most once a minute and reason.

The webhook is no secret of the catalogue, so no service's container may declare it: it comes from a source of its
own, by a container of its own. A request that fails waits for its alert: 2 s at most, and another 2 s where
the webhook is not known yet and its source does not answer.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from dependency_injector import providers
from pydantic import SecretStr

from pgp_config import (
    DynamicSecret,
    PgpConfigError,
    ReloadPolicy,
    SecretContainer,
    source_from_url,
)
from pgp_services.clients.connections import PerProcess
from pgp_services.clients.retries import RetryPolicy
from pgp_services.clients.slack import SlackAlerts

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("pgp_services.alerting")

#: Bounds of one alert with its one repeat: a request waits for it.
POLICY = RetryPolicy(budget=2.0, attempt=1.5, retries=1)

#: Seconds between two alerts with the same reason.
INTERVAL = 60.0

#: Seconds before one is tried again that Slack did not take: nobody was told, and each try costs a request its wait.
PAUSE = 5.0

#: Reasons that are remembered, at most: those of the last minute are few, unless something is badly wrong.
MAX_REASONS = 256


class Alerting(SecretContainer):
    """The one secret of alerts, and who posts them."""

    reload_policy = ReloadPolicy(allowed={"SLACK_WEBHOOK_URL": "dynamic"})

    slack_webhook_url = DynamicSecret("SLACK_WEBHOOK_URL", SecretStr)

    slack = providers.Singleton(SlackAlerts, slack_webhook_url, POLICY)


class Throttle:
    """Lets each reason pass once an interval, and sooner where it was not told.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def passes(self, reason: str) -> bool:
        """Whether it is time to tell of a reason; whoever asks is taken to tell of it, or says that it `failed`."""
        with self._lock:
            now = self._clock()
            self._until = {r: until for r, until in self._until.items() if now < until}
            if reason in self._until or len(self._until) >= MAX_REASONS:
                return False
            self._until[reason] = now + INTERVAL
            return True

    def failed(self, reason: str) -> None:
        """It was not told: it passes again after `PAUSE`."""
        with self._lock:
            self._until[reason] = self._clock() + PAUSE


class SlackTeller:
    """Posts alerts; never raises.

    Args:
        secrets: The container of the webhook; closed with this.
        clock: Monotonic seconds; a test gives its own.
    """

    def __init__(self, secrets: Alerting, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = secrets
        self._slack: SlackAlerts = secrets.slack()
        # Each process counts for itself: a lock that another thread holds must not cross a fork.
        self._throttles = PerProcess(lambda: Throttle(clock), lambda _: None)
        self._failed_as: str | None = None

    def send(self, text: str) -> None:
        """Tell people, unless they have been told the same within a minute.

        Args:
            text: What happened; without a trace of a secret.
        """
        if not self._throttles().passes(text):
            return
        try:
            self._slack.alert(text)
        except Exception as failure:  # noqa: BLE001  an alert is no reason to fail
            self._throttles().failed(text)
            self._note(type(failure).__name__)
        else:
            self._note(None)

    async def send_async(self, text: str) -> None:
        """As `send`, from a coroutine."""
        if not self._throttles().passes(text):
            return
        try:
            await self._slack.alert_async(text)
        except Exception as failure:  # noqa: BLE001  as above
            self._throttles().failed(text)
            self._note(type(failure).__name__)
        else:
            self._note(None)

    def close(self) -> None:
        """Close the connections of this process, and the webhook's container; idempotent."""
        self._slack.close()
        self._secrets.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop, and the webhook's container; idempotent."""
        await self._slack.aclose()
        await self._secrets.aclose()

    def _note(self, failed_as: str | None) -> None:
        """Log a failure once, until it is another one, or alerts work again."""
        if failed_as is not None and failed_as != self._failed_as:
            logger.warning("alerts do not reach Slack: %s", failed_as)
        self._failed_as = failed_as


def alerts_from(source_url: str | None) -> SlackTeller | None:
    """Who tells people, where a deployment says how.

    A webhook that cannot be read now does not stop the service: it is logged, and read again at the first alert.

    Args:
        source_url: The URL of the source of SLACK_WEBHOOK_URL, such as `gsm://pgp-ops`; None for nobody.

    Raises:
        DeclarationError: If it names no source.
    """
    if source_url is None:
        return None
    # PGP_CONFIG_PINNED is about the service's own container.
    secrets = Alerting(source=source_from_url(source_url), pinned={})
    try:
        secrets.load()
    except PgpConfigError as fault:
        logger.warning("alerts cannot be told yet: %s", fault)
    return SlackTeller(secrets)
