"""A local stand-in for Telegram's Bot API: one bot, whose token rotates, its chats and its updates.

It answers as https://core.telegram.org/bots/api says: 401 for a token that is not valid, 404 for what could be
none, 409 for the poll that another one takes over from, 429 with `parameters.retry_after`.
"""

from __future__ import annotations

import itertools
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgp_services.lookalikes.http import Fault, Incoming, LocalServer, as_json

if TYPE_CHECKING:
    from collections.abc import Callable

#: Updates that one poll is given, at most, characters of a message, and of a link's name.
PAGE, LONGEST, LONGEST_NAME = 100, 4096, 32

_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_-]{30,100}")


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that the bot wrote.

    Attributes:
        version: The version of the token by which it did, 1 or more.
        chat_id: To which chat.
        text: What it says.
    """

    version: int
    chat_id: int
    text: str


@dataclass(frozen=True, slots=True)
class InviteLink:
    """A link that the bot made.

    Attributes:
        version: The version of the token by which it did, 1 or more.
        chat_id: To which chat.
        member_limit: How many may join by it.
        expire_date: Until when, in seconds since 1970; None for ever.
        link: The link.
        name: What the chat's administrators see it by.
    """

    version: int
    chat_id: int
    member_limit: int | None
    expire_date: int | None
    link: str
    name: str | None = None


class TelegramServer(LocalServer):
    """Serves `sendMessage`, `createChatInviteLink`, `revokeChatInviteLink` and `getUpdates`; every chat exists, unless it is told.

    Args:
        key: The token that is accepted first; its version is 1.
        port: The port; 0 for a free one.

    Attributes:
        messages: The messages so far.
        links: The links so far.
        revoked: Those of them that were revoked.
        polls: How many polls have begun to wait so far.
    """

    def __init__(self, key: str, port: int = 0) -> None:
        super().__init__(key, port)
        self.messages: list[SentMessage] = []
        self.links: list[InviteLink] = []
        self.revoked: list[str] = []
        self.polls = 0
        self._changed = threading.Condition(self._lock)
        self._ids = itertools.count(1)
        self._updates: list[dict[str, Any]] = []
        self._update_ids = itertools.count(100_000_001)
        self._blocked: set[int] = set()
        self._missing: set[int] = set()
        self._poll = 0
        self._stopping = False

    # -- what it is told ---------------------------------------------------------------------

    def receive(self, text: str, *, chat_id: int = 1, user_id: int = 1) -> int:
        """Somebody writes to the bot; the number of the update."""
        message = {
            "message_id": next(self._ids),
            "date": 0,
            "chat": {"id": chat_id, "type": "private"},
            "from": {"id": user_id, "is_bot": False, "first_name": "U"},
            "text": text,
        }
        return self.add_update({"message": message})

    def add_update(self, content: dict[str, Any]) -> int:
        """Something happens to the bot; the number of the update.

        Args:
            content: The update without its number.
        """
        with self._changed:
            number = next(self._update_ids)
            self._updates.append({"update_id": number, **content})
            self._changed.notify_all()
            return number

    def block(self, chat_id: int) -> None:
        """The user of a chat blocks the bot."""
        with self._changed:
            self._blocked.add(chat_id)

    def lose_chat(self, chat_id: int) -> None:
        """A chat is not there."""
        with self._changed:
            self._missing.add(chat_id)

    def flood(self, retry_after: int, times: int = 1) -> None:
        """Have the bot wait, for so many requests."""
        self.fail(*[_flooded(retry_after)] * times)

    def unconfirmed(self) -> int:
        """How many updates wait to be taken, or to be confirmed."""
        with self._changed:
            return len(self._updates)

    def wait_for(self, condition: Callable[[], bool], limit: float = 30.0) -> bool:
        """Wait until the condition holds; it is asked after each change, and must not call the server.

        Args:
            condition: Looks at `messages`, `links`, `polls` or `seen`.
            limit: Seconds, at most.
        """
        with self._changed:
            return self._changed.wait_for(condition, limit)

    def rotate(
        self, key: str, meanwhile: Callable[[], object] = lambda: None, *, overlap: bool = False
    ) -> int:
        """As in the base class; a poll that waits with a token that is no more is answered."""
        version = super().rotate(key, meanwhile, overlap=overlap)
        self._wake()
        return version

    def revoke(self) -> None:
        """As in the base class; a poll that waits is answered."""
        super().revoke()
        self._wake()

    # -- answering ---------------------------------------------------------------------------

    def answer_to(self, request: Incoming) -> Fault:
        """As in the base class; who waits for something in `seen` is told."""
        answer = super().answer_to(request)
        self._wake()
        return answer

    def parted(self, request: Incoming) -> tuple[str, str]:
        """The token is in the path: `/bot<token>/<method>`."""
        token, _, method = request.path.removeprefix("/bot").partition("/")
        return token, f"/{method}"

    def judge(self, request: Incoming, path: str, *, accepted: bool) -> Fault:
        """What a method answers."""
        token, _ = self.parted(request)
        if not request.path.startswith("/bot") or _TOKEN.fullmatch(token) is None:
            return _error(404, "Not Found")
        if not accepted:
            return _error(401, "Unauthorized")
        version, given = self._version_of(token), _parameters(request)
        answer = {
            "/sendMessage": self._send,
            "/createChatInviteLink": self._invite,
            "/revokeChatInviteLink": self._revoke,
            "/getUpdates": self._take,
        }.get(path)
        return _error(404, "Not Found") if answer is None else answer(version, given)

    def _send(self, version: int, given: dict[str, Any]) -> Fault:
        refusal = self._refusal_of(given)
        if refusal is not None:
            return refusal
        text = given.get("text")
        if not isinstance(text, str) or not text:
            return _error(400, "Bad Request: message text is empty")
        if len(text) > LONGEST:
            return _error(400, "Bad Request: message is too long")
        self.messages.append(SentMessage(version, given["chat_id"], text))
        self._changed.notify_all()
        chat = {"id": given["chat_id"], "type": "private"}
        return _result({"message_id": next(self._ids), "date": 0, "chat": chat, "text": text})

    def _invite(self, version: int, given: dict[str, Any]) -> Fault:
        refusal = self._refusal_of(given)
        if refusal is not None:
            return refusal
        limit = given.get("member_limit")
        if limit is not None and limit not in range(1, 100_000):
            return _error(400, "Bad Request: member_limit is invalid")
        name = given.get("name")
        if name is not None and len(name) > LONGEST_NAME:
            return _error(400, "Bad Request: invite link name is too long")
        link = f"https://t.me/+{next(self._ids):016d}"
        expires = given.get("expire_date")
        self.links.append(InviteLink(version, given["chat_id"], limit, expires, link, name))
        self._changed.notify_all()
        return _result({"invite_link": link, "is_primary": False, "is_revoked": False})

    def _revoke(self, _: int, given: dict[str, Any]) -> Fault:
        refusal, link = self._refusal_of(given), given.get("invite_link")
        if refusal is not None:
            return refusal
        if (given["chat_id"], link) not in [(made.chat_id, made.link) for made in self.links]:
            return _error(400, "Bad Request: INVITE_HASH_EXPIRED")
        self.revoked.append(str(link))
        self._changed.notify_all()
        return _result({"invite_link": link, "is_primary": False, "is_revoked": True})

    def _refusal_of(self, given: dict[str, Any]) -> Fault | None:
        chat_id = given.get("chat_id")
        if not isinstance(chat_id, int) or chat_id in self._missing:
            return _error(400, "Bad Request: chat not found")
        if chat_id in self._blocked:
            return _error(403, "Forbidden: bot was blocked by the user")
        return None

    # -- polling -----------------------------------------------------------------------------

    def _take(self, version: int, given: dict[str, Any]) -> Fault:
        """Updates for a poll, which waits for one if it said so; called with the lock, which a wait lets go."""
        self._poll += 1
        mine, offset = self._poll, given.get("offset")
        self._changed.notify_all()  # a poll before this one ends
        if offset is not None:
            self._updates = [known for known in self._updates if known["update_id"] >= offset]
        if not self._updates and given.get("timeout", 0):
            self.polls += 1
            self._changed.wait_for(
                lambda: self._updates or self._is_over(mine, version), given["timeout"]
            )
        if mine != self._poll:
            return _error(
                409,
                "Conflict: terminated by other getUpdates request; "
                "make sure that only one bot instance is running",
            )
        if version not in self._accepted:
            return _error(401, "Unauthorized")
        return _result(self._updates[: min(given.get("limit", PAGE), PAGE)])

    def _is_over(self, poll: int, version: int) -> bool:
        return poll != self._poll or version not in self._accepted or self._stopping

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._wake()
        super().__exit__()


def _parameters(request: Incoming) -> dict[str, Any]:
    given = request.content()
    return given if isinstance(given, dict) else {}


def _result(content: object) -> Fault:
    return as_json(200, {"ok": True, "result": content})


def _error(status: int, description: str) -> Fault:
    return as_json(status, {"ok": False, "error_code": status, "description": description})


def _flooded(seconds: int) -> Fault:
    return as_json(
        429,
        {
            "ok": False,
            "error_code": 429,
            "description": f"Too Many Requests: retry after {seconds}",
            "parameters": {"retry_after": seconds},
        },
    )
