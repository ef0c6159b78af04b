"""The loop over a bot's updates: one scope for each poll, and one for each update."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Protocol

from pgp_config import PgpConfigError, request_scope
from pgp_config.pauses import pause_after
from pgp_services.failures import ServiceFailure, Unavailable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from pgp_services.clients.telegram import Update

logger = logging.getLogger("pgp_services.updates")

#: Seconds for which Telegram holds a poll open. As long a rotated token may wait for its first use, and
#: `stop` for the end of the loop: Cloud Run gives a process 10 s.
HELD = 5


class Updates(Protocol):
    """What the loop needs of a client: `TelegramClient` has it."""

    def get_updates(self, offset: int | None, timeout: int) -> list[Update]:
        """What happened since."""
        ...


class UpdateLoop:
    """Hands a bot's updates to a function, one after the other, until it is stopped.

    Each poll has a scope of its own, so that a token which has been rotated is taken up by the next one, and
    each update has one, so that what it reads is of one version. Telegram keeps an update until a later
    one is asked for: the loop asks for the next when it has handled this one, whether or not that went
    well. So none is lost or handled twice while the process lives; if it is killed, the updates of
    its last poll come again. Another token of the *same* bot goes on where the last one was; another
    bot has numbers of its own, and needs a restart.

    A poll that fails is tried again after 1 s, 2 s, 4 s … 60 s, jittered, and no sooner than Telegram
    wants; `stop` ends such a pause at once, and a poll within `held` seconds.

    Args:
        telegram: The bot.
        handle: Called with each update.
        stop: Ends the loop when it is set.
        held: Seconds for which Telegram holds a poll open, 0 or more.
        chance: Numbers from 0 to 1 for jitter; a test gives its own.
    """

    def __init__(
        self,
        telegram: Updates,
        handle: Callable[[Update], None],
        *,
        stop: threading.Event,
        held: int = HELD,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._telegram = telegram
        self._handle = handle
        self._stop = stop
        self._held = held
        self._chance = chance
        self._offset: int | None = None
        self._failures = 0

    def run(self) -> None:
        """Poll and handle until `stop` is set; no failure of a poll or of a handler ends it."""
        while not self._stop.is_set():
            for update in self._poll(self._held):
                if self._stop.is_set():
                    break
                self._take(update)
        if self._offset is not None:
            self._poll(0)  # confirms what has been handled; what it brings is not, and comes again

    def _poll(self, held: int) -> list[Update]:
        """What came; after a failure nothing, and a pause."""
        try:
            with request_scope():
                updates = self._telegram.get_updates(self._offset, held)
        except Exception as failure:  # noqa: BLE001  the loop goes on, whatever it was
            logger.warning("Telegram's updates cannot be had: %s", _told(failure))
            asked = failure.retry_after if isinstance(failure, Unavailable) else None
            pause = max(pause_after(self._failures, self._chance()), asked or 0.0)
            self._failures += 1
        else:
            self._failures = 0
            return updates
        self._stop.wait(pause)
        return []

    def _take(self, update: Update) -> None:
        try:
            with request_scope():
                self._handle(update)
        except Exception as failure:  # noqa: BLE001  as above; its text may quote the update
            logger.error(  # noqa: TRY400  a traceback may show the update too
                "update %d failed: %s", update.update_id, type(failure).__name__
            )
        finally:
            self._offset = update.update_id + 1


def _told(failure: Exception) -> str:
    """Only the texts of our own failures are known to hold nothing."""
    ours = isinstance(failure, ServiceFailure | PgpConfigError)
    return f"{type(failure).__name__}: {failure}" if ours else type(failure).__name__
