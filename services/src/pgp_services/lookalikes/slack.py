"""A local stand-in for Slack's incoming webhooks: `POST /services/KEY` with a text."""

from __future__ import annotations

from pgp_services.lookalikes.http import Fault, Incoming, LocalServer

_BASE = "/services/"


class SlackServer(LocalServer):
    """Takes messages; the key is the webhook's path.

    Attributes:
        messages: The texts that were taken.
        contents: What each of them came with: all of the request.
    """

    def __init__(self, key: str, port: int = 0) -> None:
        super().__init__(key, port)
        self.messages: list[str] = []
        self.contents: list[dict[str, object]] = []

    def webhook(self, key: str) -> str:
        """The URL of the webhook with this key: the secret."""
        return f"{self.url}{_BASE}{key}"

    def parted(self, request: Incoming) -> tuple[str, str]:
        """The key is the path's end."""
        return request.path.removeprefix(_BASE), _BASE

    def judge(self, request: Incoming, path: str, *, accepted: bool) -> Fault:  # noqa: ARG002  it has one path
        """Slack's answers are plain text."""
        if not accepted:
            return _said(404, b"no_service")
        content = request.content()
        text = content.get("text") if isinstance(content, dict) else None
        if not isinstance(content, dict) or not isinstance(text, str) or not text:
            return _said(400, b"invalid_payload")
        self.messages.append(text)
        self.contents.append(content)
        return _said(200, b"ok")


def _said(status: int, word: bytes) -> Fault:
    return Fault(status, word, {"Content-Type": "text/html"})
