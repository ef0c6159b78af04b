"""Flask's signed-cookie sessions with the keys of a key ring: a rotation reaches them without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from flask.sessions import NullSession, SecureCookieSessionInterface
from itsdangerous import BadSignature, URLSafeTimedSerializer

from pgp_config import DeclarationError, KeyRing, RejectedVersion, SecretUnavailable

if TYPE_CHECKING:
    from flask import Flask, Request
    from flask.sessions import SecureCookieSession


class _NoSession(NullSession):
    """In place of a session that cannot be opened for want of a key: an error where it is used.

    Raised where Flask opens it, the error would pass every handler of the application, and a page that
    uses no session, such as a health page, would fail too.
    """

    def __init__(self, error: SecretUnavailable | RejectedVersion) -> None:
        super().__init__()
        self._error = error

    def _fail(self, *_: object, **__: object) -> NoReturn:
        raise self._error.located()

    # What Flask's own leaves readable would look like a user who is not logged in.
    __getitem__ = __contains__ = __iter__ = __len__ = _fail
    get = keys = values = items = copy = _fail
    __setitem__ = __delitem__ = clear = pop = popitem = update = setdefault = _fail


class KeyRingSessionInterface(SecureCookieSessionInterface):
    """Sessions that the current key signs, and that the previous one still opens.

    `app.session_interface = KeyRingSessionInterface(secrets.session_keys)`. The cookie is Flask's own,
    so that an application can change over, with its `SECRET_KEY` as the ring's current version.
    `SECRET_KEY` and `SECRET_KEY_FALLBACKS` are not read. A session that the previous key signed is
    signed anew with the answer to its first request, so that whoever comes back within the ring's
    grace stays logged in. Where there is no key, using the session raises what reading the key did.

    Args:
        ring: The key ring itself, not its value.

    Raises:
        DeclarationError: If it is something else.
    """

    def __init__(self, ring: KeyRing[Any]) -> None:
        if not isinstance(ring, KeyRing):
            raise DeclarationError(
                f"KeyRingSessionInterface was given a {type(ring).__name__} in place of a KeyRing",
                remedy="Give the provider itself: KeyRingSessionInterface(secrets.session_keys).",
            )
        self._ring = ring

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer:  # noqa: ARG002  Flask's hook
        """Flask's hook: what signs and opens the cookie of this request.

        Raises:
            PgpConfigError: If there is no key; as every read of a secret.
        """
        return self._serializer(self._ring().oldest_first())

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Flask's hook: the session of a request."""
        try:
            session = super().open_session(app, request)
        except (SecretUnavailable, RejectedVersion) as error:
            return _NoSession(error)
        if session and not self._is_signed_with_current(app, request):
            session.modified = True
        return session

    def _is_signed_with_current(self, app: Flask, request: Request) -> bool:
        keys = self._ring().oldest_first()
        if len(keys) == 1:
            return True
        cookie = request.cookies.get(self.get_cookie_name(app), "")
        try:
            self._serializer(keys[-1:]).loads(cookie)
        except BadSignature:
            return False
        return True

    def _serializer(self, keys: list[bytes]) -> URLSafeTimedSerializer:
        options = {"key_derivation": self.key_derivation, "digest_method": self.digest_method}
        return URLSafeTimedSerializer(
            keys, salt=self.salt, serializer=self.serializer, signer_kwargs=options
        )
