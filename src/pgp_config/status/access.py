"""Who may see the status page: what an auth callable is given, how it refuses, and one that is ready to use."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pgp_config.errors import DeclarationError
from pgp_config.key_rings import Keys
from pgp_config.secret import confidential_texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


class StatusRequest(NamedTuple):
    """What an auth callable is given of a request for the status page.

    Attributes:
        method: "GET" or "HEAD".
        path: The path within the application.
        headers: By name in lower case. One that came several times is one, as the server joins them.
        remote: The address of the other end of the connection, which may be a proxy's; None where the
            server does not know it.
        query: What follows the question mark, as it came.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    remote: str | None
    query: str = ""


class Challenge:
    """A refusal that asks for credentials: 401 with `WWW-Authenticate`. It is false.

    Args:
        scheme: The header, such as `'Basic realm="status"'`.
    """

    def __init__(self, scheme: str) -> None:
        if not scheme.isprintable() or not scheme.isascii():
            raise DeclarationError(
                "a Challenge has characters that no header may have",
                remedy="Give one line of ASCII, such as 'Basic realm=\"status\"'.",
            )
        self.scheme = scheme

    def __repr__(self) -> str:
        return f"Challenge({self.scheme!r})"

    def __bool__(self) -> bool:
        return False


#: What an auth callable says: only `True` lets a request in.
Verdict: TypeAlias = bool | Challenge
Auth: TypeAlias = "Callable[[StatusRequest], Verdict | Awaitable[Verdict]]"


class SecretAuth:
    """An auth callable: HTTP Basic for people, Bearer for programs, with a secret that may rotate.

    Each request with credentials reads the secret, so that a new version counts as soon as the service sees
    it; of a `KeyRing` the previous version counts too. Comparing takes as long whatever was sent.

    Args:
        secret: The provider itself: `secrets.status_token`, of a `SecretStr` or a text, or a key ring.
        user: The user's name of HTTP Basic.
        realm: What a browser shows when it asks.

    Raises:
        DeclarationError: If the secret is a value in place of a provider.
    """

    def __init__(
        self, secret: Callable[[], object], *, user: str = "status", realm: str = "pgp_config"
    ) -> None:
        if not callable(secret):
            raise DeclarationError(
                f"SecretAuth was given a {type(secret).__name__} in place of a secret",
                remedy="Give the provider, without calling it: SecretAuth(secrets.status_token).",
            )
        self._secret = secret
        self._user = user
        self._challenge = Challenge(f'Basic realm="{realm}", charset="UTF-8"')

    def __repr__(self) -> str:
        return f"<SecretAuth of {self._user}>"

    def __call__(self, request: StatusRequest) -> Verdict:
        """Whether the request has the secret.

        Raises:
            PgpConfigError: If the secret cannot be read; the page refuses then.
        """
        given = self._given(request.headers.get("authorization", ""))
        if given is None:
            return self._challenge
        # All of them, so that the time does not tell which one it was.
        verdicts = [_is_same(given, token) for token in _tokens_of(self._secret()) if token]
        return any(verdicts) or self._challenge

    def _given(self, header: str) -> str | None:
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "bearer":
            return credentials.strip()
        if scheme.lower() != "basic":
            return None
        try:
            pair = base64.b64decode(credentials.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        user, colon, password = pair.partition(":")
        return password if colon and _is_same(user, self._user) else None


def _tokens_of(value: object) -> list[str]:
    keys = [value.current, value.previous] if isinstance(value, Keys) else [value]
    return [text for key in keys for text in _texts_of(key)]


def _texts_of(key: object) -> list[str]:
    return [key] if isinstance(key, str) else list(confidential_texts(key))[:1]


def _is_same(given: str, wanted: str) -> bool:
    # Of digests: `compare_digest` itself tells texts of another length apart sooner.
    return hmac.compare_digest(_digest(given), _digest(wanted))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
