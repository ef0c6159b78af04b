"""What PGP_BROADCAST_v1 does with a request."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal

from pgp_services.bots import deep_link
from pgp_services.clients.telegram import TelegramRefused, TelegramUnavailable
from pgp_services.jwts import login_in
from pgp_services.messages import Broadcast
from pgp_services.serving.answers import done
from pgp_services.serving.bodies import model_in
from pgp_services.serving.routes import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.telegram import TelegramClient
    from pgp_services.failures import ServiceFailure
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

logger = logging.getLogger("pgp_services.broadcast")

#: Where tasks and the scheduler call, and who is logged in.
EXECUTE_PATH, TRIGGER_PATH = "/api/broadcast/execute", "/api/broadcast/trigger"

#: Seconds after which no further chat is written to: the last one may take another 8, and with its reads of
#: secrets and its alert at their worst a request ends within 30.
WRITING = 14.0

#: What is told where nothing is known to have been sent, and a repeat might write to somebody twice.
NOBODY_KNOWN = "nobody is known to have got a message: Telegram may have taken some, or none"

#: What became of a chat: `unknown` is a message that may have been taken, `unsent` one that surely was not.
Outcome = Literal["sent", "refused", "unknown", "unsent"]


class BroadcastHandler:
    """Handles `POST /api/broadcast/execute` and `/api/broadcast/trigger`; used from threads.

    A failure is answered with 5xx only where nobody got the message, so that a repeat of the request, which Cloud
    Tasks makes, writes to nobody twice. Where some got it and others surely did not, the answer is 200 and lists the
    latter, for whoever reads it to ask for them again: BROADCAST has neither a queue nor a row to go on by. Cloud Tasks
    reads no answer, which is why SERVER makes a task for each chat: of one chat nothing is ever left over.
    Where Telegram may have taken messages and none is known to be sent, the answer is 200 too, and somebody is alerted:
    a repeat might write twice, and Telegram is down.

    Args:
        jwt_key: The secret JWT_SECRET_KEY.
        bot_name: The secret TELEGRAM_BOT_USERNAME.
        telegram: The bot.
        clock: Monotonic seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        jwt_key: Provided[SecretStr],
        bot_name: Provided[str],
        telegram: TelegramClient,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jwt_key = jwt_key
        self._bot_name = bot_name
        self._telegram = telegram
        self._clock = clock

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route(EXECUTE_PATH, self.execute),
            Route(TRIGGER_PATH, self.trigger),
        ]

    def execute(self, call: Call) -> Answer:
        """Write to the chats; for tasks and the scheduler: Cloud Run lets nobody else call.

        Raises:
            ServiceFailure: If the request is not of that form, or nobody got the message and somebody still may.
            PgpConfigError: If a secret has no usable value.
        """
        return self._write(model_in(Broadcast, call.body))

    def trigger(self, call: Call) -> Answer:
        """As `execute`, for whoever shows a JWT of the web API.

        Raises:
            NotLoggedIn: If there is no good one.
            ServiceFailure: As `execute`.
            PgpConfigError: As `execute`.
        """
        login_in(call, self._jwt_key())
        return self._write(model_in(Broadcast, call.body))

    def _write(self, asked: Broadcast) -> Answer:
        text = f"{asked.text}\n\n{deep_link(self._bot_name())}"
        end = self._clock() + WRITING
        outcomes: dict[int, Outcome] = {}
        failure: ServiceFailure | None = None
        for chat_id in dict.fromkeys(asked.chat_ids):
            # With a refused token no other chat is written to either.
            if isinstance(failure, TelegramRefused) or self._clock() >= end:
                outcomes[chat_id] = "unsent"
                continue
            outcomes[chat_id], trouble = self._outcome(chat_id, text)
            failure = trouble or failure
        unsent = [chat_id for chat_id, what in outcomes.items() if what == "unsent"]
        if unsent and not {"sent", "unknown"} & set(outcomes.values()):
            # Nobody got it: the same request can be made again, and nobody gets it twice.
            raise failure or TelegramUnavailable("none of the messages could be sent")
        if unsent:
            logger.warning(
                "%d of %d chats are left over: ask for them again", len(unsent), len(outcomes)
            )
        sent, unknown = (
            sum(what == kind for what in outcomes.values()) for kind in ("sent", "unknown")
        )
        alarm = NOBODY_KNOWN if unknown and not sent else ""
        if alarm:
            logger.warning(
                "%d of %d messages may have been taken, none surely", unknown, len(outcomes)
            )
        told = [{"chat_id": chat_id, "outcome": what} for chat_id, what in outcomes.items()]
        message = f"{sent} of {len(told)} messages sent"
        return done(message, alarm=alarm, sent=sent, unsent=unsent, outcomes=told)

    def _outcome(self, chat_id: int, text: str) -> tuple[Outcome, ServiceFailure | None]:
        """What became of a chat; and the failure, where it surely did not get the message and yet may."""
        try:
            self._telegram.send_message(chat_id, text)
        except TelegramRefused as failure:
            return ("unsent", failure) if failure.of_key else ("refused", None)
        except TelegramUnavailable as failure:
            return ("unsent", failure) if failure.passing else ("unknown", None)
        return "sent", None

    def close(self) -> None:
        """Close the connections of this process."""
        self._telegram.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._telegram.aclose()
