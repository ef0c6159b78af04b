"""What services ask one another to write to people, as JSON in a task."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from pgp_services.tokens import ChatId, Facts

#: A message's text, as Telegram takes it (core.telegram.org/bots/api#sendmessage); not blank.
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"\S")]

#: Chats of one broadcast, at most.
MAX_CHATS = 100


class Notification(Facts):
    """To NOTIFICATIONS: write to somebody.

    Attributes:
        chat_id: The chat.
        text: What is written.
    """

    chat_id: ChatId
    text: Text


class Broadcast(Facts):
    """To BROADCAST: write to many.

    Attributes:
        chat_ids: The chats; none twice.
        text: What is written; there is room for the bot's link after it.
    """

    chat_ids: Annotated[list[ChatId], Field(min_length=1, max_length=MAX_CHATS)]
    text: Annotated[Text, StringConstraints(max_length=4000)]
