"""What SERVER and BOTCOMMAND have in common: commands, deep links, and what a user is told when something fails."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgp_config import PgpConfigError
from pgp_services.failures import ServiceFailure
from pgp_services.serving.answers import done

if TYPE_CHECKING:
    from pgp_services.clients.telegram import TelegramClient, Update
    from pgp_services.serving.answers import Answer

#: A command, to a bot by name or to all (core.telegram.org/bots/features#commands), and what follows.
_COMMAND = re.compile(
    r"/(?P<name>[a-z0-9_]{1,32})(@(?P<bot>[a-z0-9_]{1,64}))?(?:\s+(?P<argument>.*))?",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)

LATER = "Something does not work at the moment. Please try again in a few minutes."
NOT_GOOD = "That is not valid, or no longer. Please ask for a new one."


@dataclass(frozen=True, slots=True)
class Message:
    """A text that somebody wrote to the bot.

    Attributes:
        update_id: The number of its update.
        chat_id: The chat; where answers go.
        user_id: Who wrote it.
        text: What.
    """

    update_id: int
    chat_id: int
    user_id: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Command:
    """A command to our bot.

    Attributes:
        name: Its name, in small letters and without the slash.
        argument: What follows it; it may be a token.
    """

    name: str
    argument: str = field(repr=False)


def message_in(update: Update) -> Message | None:
    """The text that an update brings; None for anything else, such as a picture."""
    if update.chat_id is None or update.user_id is None or not update.text:
        return None
    return Message(update.update_id, update.chat_id, update.user_id, update.text)


def command_in(text: str, bot_name: str) -> Command | None:
    """The command that a text is; None for another text, and for a command to another bot.

    Args:
        text: What somebody wrote.
        bot_name: Our bot's user name, without its @.
    """
    match = _COMMAND.fullmatch(text.strip())
    if match is None or (match["bot"] or bot_name).lower() != bot_name.lower():
        return None
    return Command(match["name"].lower(), (match["argument"] or "").strip())


def deep_link(bot_name: str, start: str = "") -> str:
    """A link that opens a chat with the bot.

    Args:
        bot_name: The bot's user name, without its @.
        start: What the bot gets as the argument of `/start`: letters, digits, `_` and `-`, 64 at most.
    """
    return f"https://t.me/{bot_name}?start={start}" if start else f"https://t.me/{bot_name}"


def nothing_to_do() -> Answer:
    """The answer to what is none of our business."""
    return done("Nothing to do")


def apologise(telegram: TelegramClient, update: Update, text: str = LATER) -> None:
    """Tell whoever wrote that it was for nothing; where that fails too, leave it at that.

    Args:
        telegram: The bot.
        update: What they wrote.
        text: What they are told.
    """
    message = message_in(update)
    if message is not None:
        with contextlib.suppress(ServiceFailure, PgpConfigError):
            telegram.send_message(message.chat_id, text)
