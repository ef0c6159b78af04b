"""Telegram's Bot API: messages, invite links and updates, with the token that is current at each attempt.

The token is in the URL's path, and nowhere else.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from pgp_services.clients.base import Addressed, Ask, HttpClient, Party, in_path
from pgp_services.clients.connections import base_of
from pgp_services.clients.outcomes import Outcome
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import Refused, Unavailable
from pgp_services.tokens import ChatId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from pgp_services.clients.base import Key
    from pgp_services.clients.outcomes import M, Reply

API = "https://api.telegram.org"

#: Bounds of one call.
POLICY = RetryPolicy(budget=8.0, attempt=3.0)

#: Seconds that Telegram may take over a poll that it holds open.
POLL_MARGIN = 5.0

#: What a bot of the fleet is told of.
KINDS = ("message", "callback_query")

#: Bytes of a poll's answer that are read: 100 updates, each with all that a message can have.
MAX_UPDATES = 16 * 1024 * 1024

_IDS: TypeAdapter[int] = TypeAdapter(ChatId)


class TelegramRefused(Refused):
    """Telegram refuses the request or the token, or answers nonsense; or nobody may write to that chat."""


class ChatClosed(TelegramRefused):
    """The bot may not act in that chat (403): it was blocked or removed, or the account is no more.

    Asking again does not help; of somebody who is written to, it is nobody's fault.
    """


class UpdatesConflict(TelegramRefused):
    """Another process polls with the same token (409): Telegram serves one of them."""


class TelegramUnavailable(Unavailable):
    """Telegram does not answer within the budget, or wants to be left alone for longer than that."""


class Update(BaseModel):
    """What happened to the bot; fields that the fleet does not use are left out, and so is what is odd.

    Attributes:
        update_id: Its number; they grow.
        chat_id: The chat of the message, if it has one.
        user_id: Who wrote it or pressed the button, if somebody did.
        text: The message's text, or the button's data; it can hold a token of ours.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    update_id: int
    chat_id: ChatId | None = None
    user_id: ChatId | None = None
    text: str | None = Field(default=None, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, raw: Any) -> Any:  # noqa: ANN401  JSON
        if not isinstance(raw, dict) or raw.keys() <= cls.model_fields.keys():
            return raw
        pressed = _part(raw, "callback_query")
        message = _part(pressed or raw, "message")
        return {
            "update_id": raw.get("update_id"),
            "chat_id": _id_of(_part(message, "chat")),
            "user_id": _id_of(_part(pressed or message, "from")),
            "text": _of_kind(str, pressed.get("data") if pressed else message.get("text")),
        }


class _Answer(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    ok: Literal[True]


class _Message(BaseModel):
    message_id: int


class _Sent(_Answer):
    result: _Message


class _Link(BaseModel):
    invite_link: Annotated[str, StringConstraints(pattern=r"^https://[!-~]{1,500}$")]


class _Invited(_Answer):
    result: _Link


class _Updates(_Answer):
    result: list[Update]


class TelegramClient(HttpClient["SecretStr"]):
    """A bot; usable from threads and from coroutines.

    Args:
        token: The secret, not its value.
        base_url: `https://` and a host; plain http for a local server on the loopback only.
        policy: The bounds of one call with all its attempts.

    Raises:
        DeclarationError: If the base URL is of another kind.
    """

    # 401 for a token that is not valid, 404 for one that could be none: our methods exist. 403 is a chat's.
    party = Party("Telegram", TelegramRefused, TelegramUnavailable, frozenset({401, 404}))

    def __init__(
        self, token: Key[SecretStr], base_url: str = API, policy: RetryPolicy = POLICY
    ) -> None:
        base = base_of(base_url)
        del base_url  # it may hold a password, and a traceback's locals are logged
        super().__init__(token, base, policy)

    def addressed(self, ask: Ask[M], key: SecretStr) -> Addressed:
        """The token is a part of the path."""
        return Addressed(self.at(f"/bot{in_path(key)}{ask.path}"))

    def judge(self, ask: Ask[M], reply: Reply) -> Outcome[M]:
        """Telegram says in the body how long it wants to be left alone, by 403 whose the chat is, by 409 that another polls."""
        outcome: Outcome[M] = reply.read(ask.answer)
        if reply.status == httpx.codes.CONFLICT:
            return Outcome(
                reply.status,
                "another process polls Telegram",
                without_effect=True,
                refused=UpdatesConflict,
            )
        if reply.status == httpx.codes.FORBIDDEN:
            return replace(outcome, refused=ChatClosed)
        if reply.status != httpx.codes.TOO_MANY_REQUESTS:
            return outcome
        return Outcome(
            reply.status,
            outcome.trouble,
            retry_after=_retry_after(reply) or outcome.retry_after,
            passing=True,
            without_effect=True,
        )

    def send_message(self, chat_id: int, text: str) -> int:
        """Write to a chat.

        Not idempotent: it is sent again only where Telegram surely did not take it (no connection, 429, a
        refused token; once after a 503 with `Retry-After`), and never after a time-out or a lost connection.

        Args:
            chat_id: The chat.
            text: 1 to 4,096 characters, shown as they are.

        Returns:
            The message's id in that chat.

        Raises:
            ChatClosed: If the chat has blocked the bot, or is closed to it for good in another way.
            TelegramRefused: If Telegram refuses the message or the token, or answers nonsense; if the
                chat is not there.
            TelegramUnavailable: If it does not answer within the budget.
            PgpConfigError: If there is no token.
        """
        return self.call(_message(chat_id, text)).result.message_id

    async def send_message_async(self, chat_id: int, text: str) -> int:
        """As `send_message`, from a coroutine."""
        return (await self.call_async(_message(chat_id, text))).result.message_id

    def create_invite_link(
        self,
        chat_id: int,
        *,
        member_limit: int = 1,
        expires_in: float | None = None,
        name: str | None = None,
    ) -> str:
        """Make a link by which people join a chat.

        Not idempotent, and sent again as `send_message` is; a link that nobody knows invites nobody.

        Args:
            chat_id: The chat; the bot is an administrator there.
            member_limit: How many may join by it, 1 to 99,999.
            expires_in: Seconds from now for which it is valid, more than 0; None for ever.
            name: What the chat's administrators see it by, 32 characters at most; None for nothing.

        Returns:
            The link.

        Raises:
            TelegramRefused: As `send_message`.
            TelegramUnavailable: As `send_message`.
            PgpConfigError: If there is no token.
        """
        return self.call(_link(chat_id, member_limit, expires_in, name)).result.invite_link

    async def create_invite_link_async(
        self,
        chat_id: int,
        *,
        member_limit: int = 1,
        expires_in: float | None = None,
        name: str | None = None,
    ) -> str:
        """As `create_invite_link`, from a coroutine."""
        asked = _link(chat_id, member_limit, expires_in, name)
        return (await self.call_async(asked)).result.invite_link

    def revoke_invite_link(self, chat_id: int, link: str) -> None:
        """Have a link of ours let nobody in any more; a second time is harmless.

        One attempt, repeated once at most, within 2 s: it comes after another call that failed.

        Args:
            chat_id: The chat.
            link: The link.

        Raises:
            TelegramRefused: As `create_invite_link`; also if there is no such link.
            TelegramUnavailable: As `create_invite_link`.
            PgpConfigError: If there is no token.
        """
        self.call(_revocation(chat_id, link), self._brief())

    async def revoke_invite_link_async(self, chat_id: int, link: str) -> None:
        """As `revoke_invite_link`, from a coroutine."""
        await self.call_async(_revocation(chat_id, link), self._brief())

    def get_updates(self, offset: int | None, timeout: int) -> list[Update]:
        """What happened since the last time; by asking for it one confirms all that came before.

        One attempt a token: whoever polls in a loop has pauses of their own.

        Args:
            offset: The first update that is wanted; those before it are gone. None for all there are.
            timeout: Seconds for which Telegram holds the request open if there is none, 0 or more.

        Raises:
            UpdatesConflict: If another process polls.
            TelegramRefused: If Telegram refuses the token, or answers nonsense.
            TelegramUnavailable: If it does not answer.
            PgpConfigError: If there is no token.
        """
        return self.call(_poll(offset, timeout), self._patient(timeout)).result

    async def get_updates_async(self, offset: int | None, timeout: int) -> list[Update]:  # noqa: ASYNC109  Telegram's
        """As `get_updates`, from a coroutine."""
        return (await self.call_async(_poll(offset, timeout), self._patient(timeout))).result

    def _brief(self) -> RetryPolicy:
        return RetryPolicy(budget=2.0, attempt=1.5, retries=1, clock=self._policy.clock)

    def _patient(self, held: int) -> RetryPolicy:
        # A read may take two thirds of an attempt; a refused token costs a second one, which is not held.
        limit = (held + POLL_MARGIN) * 1.5
        return RetryPolicy(
            budget=limit + POLL_MARGIN, attempt=limit, retries=0, clock=self._policy.clock
        )


def _message(chat_id: int, text: str) -> Ask[_Sent]:
    return _ask("message", "sendMessage", _Sent, {"chat_id": chat_id, "text": text})


def _link(
    chat_id: int, member_limit: int, expires_in: float | None, name: str | None
) -> Ask[_Invited]:
    wanted: dict[str, object] = {"chat_id": chat_id, "member_limit": member_limit}
    if expires_in is not None:
        wanted["expire_date"] = int(time.time() + expires_in)
    if name is not None:
        wanted["name"] = name
    return _ask("invite link", "createChatInviteLink", _Invited, wanted)


def _revocation(chat_id: int, link: str) -> Ask[_Invited]:
    wanted = {"chat_id": chat_id, "invite_link": link}
    return Ask(
        "revocation",
        "POST",
        "/revokeChatInviteLink",
        _Invited,
        body=json.dumps(wanted).encode(),
    )


def _poll(offset: int | None, held: int) -> Ask[_Updates]:
    wanted: dict[str, object] = {"timeout": held, "allowed_updates": KINDS}
    if offset is not None:
        wanted["offset"] = offset
    return Ask(
        "updates",
        "POST",
        "/getUpdates",
        _Updates,
        body=json.dumps(wanted).encode(),
        longest=MAX_UPDATES,
    )


def _ask(what: str, method: str, answer: type[M], wanted: Mapping[str, object]) -> Ask[M]:
    return Ask(what, "POST", f"/{method}", answer, body=json.dumps(wanted).encode(), once=True)


class _Parameters(BaseModel):
    retry_after: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Flooded(BaseModel):
    parameters: _Parameters


def _retry_after(reply: Reply) -> float | None:
    """Seconds, by the body of a 429."""
    try:
        return _Flooded.model_validate(reply.content()).parameters.retry_after
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _part(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = raw.get(name)
    return part if isinstance(part, dict) else {}


def _id_of(part: Mapping[str, Any]) -> int | None:
    """The id of a chat or of a person; None where it can be nobody's."""
    try:
        return _IDS.validate_python(part.get("id"), strict=True)
    except ValidationError:
        return None


def _of_kind(kind: type, value: object) -> object:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
