"""Two keys in use at once: the current one signs, both verify; and in what order each library wants them.

No library is imported here: a feed is plain data, in the form that the library documents.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T_co = TypeVar("T_co", covariant=True)

#: JWT algorithms of a shared key (RFC 7518, 3.2). With others a key ring has nothing to do.
JWT_ALGORITHMS = ("HS256", "HS384", "HS512")

#: Seconds that a signed time may be off, both ways; Stripe's own default.
TOLERANCE = 300.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Keys(Generic[T_co]):
    """The current and the previous version of a key; immutable, and never pickled.

    Attributes:
        current: The key that signs; `SecretStr` unless the ring declares another type.
        version: Its version number in the source, 1 or more.
        previous: The version before it by number, which still verifies; None where there is none, or
            not any more.
        previous_version: Its number, or None.
    """

    current: T_co
    version: int
    previous: T_co | None = None
    previous_version: int | None = field(default=None)

    def __repr__(self) -> str:
        before = "" if self.previous is None else f", previous {self.previous_version}"
        return f"<Keys version {self.version}{before}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Keys are not pickled: pass their provider or its name instead.")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    # -- HMAC --------------------------------------------------------------------------------

    def sign(self, message: bytes | str, digest: str = "sha256") -> bytes:
        """The HMAC of a message, by the current key; `.hex()` of it for a header.

        Args:
            message: What is signed; text as UTF-8.
            digest: The name of a hash function in `hashlib`.

        Raises:
            ValueError: If there is no such hash function.
        """
        return _hmac(_bytes_of(self.current), _checked(message, digest), digest)

    def verify(
        self, message: bytes | str, signature: bytes | str | None, digest: str = "sha256"
    ) -> bool:
        """Whether one of the keys signed a message; as fast whichever it was, or none.

        Args:
            message: What was signed, as it came in: a parsed and dumped JSON is another message.
            signature: The HMAC as bytes, or its hexadecimal digits; None (no such header) is false.
            digest: The name of a hash function in `hashlib`.

        Raises:
            ValueError: If there is no such hash function.
        """
        from hmac import compare_digest  # noqa: PLC0415  as in `_hmac`

        content = _checked(message, digest)
        given = _signature_of(signature)
        verdicts = [
            compare_digest(_hmac(key, content, digest), given) for key in self.newest_first()
        ]
        return any(verdicts)

    def verify_timestamped(
        self,
        body: bytes | str,
        header: str | None,
        *,
        tolerance: float = TOLERANCE,
        now: float | None = None,
    ) -> bool:
        """Whether one of the keys signed a webhook's body with its time, as Stripe does it.

        The header is `t=SECONDS,v1=HEX[,v1=HEX…]`; what is signed with SHA-256 is `SECONDS.BODY`.

        Args:
            body: The body as it came in.
            header: The header; None (there is none) is false.
            tolerance: Seconds that the signed time may be off, both ways; 0 or more. Older ones may be
                repeats of what somebody has recorded.
            now: Seconds since 1970; the wall clock's by default, because the sender's is one.
        """
        moments, signatures = _parts_of(header)
        if len(moments) != 1 or not (moments[0].isascii() and moments[0].isdigit()):
            return False
        if abs((time.time() if now is None else now) - int(moments[0][:20])) > tolerance:
            return False
        message = moments[0].encode() + b"." + _message(body)
        return any(self.verify(message, signature) for signature in signatures)

    # -- feeds -------------------------------------------------------------------------------

    def newest_first(self) -> list[bytes]:
        """The keys, the signing one first: `MultiFernet([Fernet(key) for key in …])` encrypts with it."""
        return list(self._newest_first())

    def oldest_first(self) -> list[bytes]:
        """The keys, the signing one last: itsdangerous signs with the last of its list."""
        return self.newest_first()[::-1]

    def flask_config(self) -> dict[str, Any]:
        """`SECRET_KEY` and `SECRET_KEY_FALLBACKS` of Flask 3.1, for `app.config.update(…)`.

        What an application was configured with stays until it is configured again; for sessions
        that follow a rotation see `pgp_config_flask.KeyRingSessionInterface`.
        """
        current, *fallbacks = self.newest_first()
        return {"SECRET_KEY": current, "SECRET_KEY_FALLBACKS": fallbacks}

    @property
    def kid(self) -> str:
        """The current key's name in a JWT: its version number, such as "v7"; nothing of the key."""
        return _kid(self.version)

    def by_kid(self) -> dict[str, bytes]:
        """The keys by their names, the current one first."""
        numbers = [self.version, self.previous_version or 0]
        return dict(zip(map(_kid, numbers), self._newest_first(), strict=False))

    def jwt_encoding(self, algorithm: str = "HS256") -> dict[str, Any]:
        """What `jwt.encode(claims, **…)` of PyJWT needs: key, algorithm and a header with the `kid`.

        Raises:
            DeclarationError: If the algorithm is none of HS256, HS384, HS512.
        """
        _refuse_algorithm(algorithm)
        headers = {"kid": self.kid}
        return {"key": _bytes_of(self.current), "algorithm": algorithm, "headers": headers}

    def jwt_decoding(
        self, header: Mapping[str, object], algorithm: str = "HS256"
    ) -> dict[str, Any]:
        """What `jwt.decode(token, **…)` of PyJWT needs: the key that the token names, one algorithm.

        A token that names no key of this ring gets one that has signed nothing, so that it fails as
        every other forged token does, with PyJWT's `InvalidSignatureError`.

        Args:
            header: `jwt.get_unverified_header(token)`; of it only the `kid` is looked at.
            algorithm: The one algorithm that is accepted, whatever the header says.

        Raises:
            DeclarationError: If the algorithm is none of HS256, HS384, HS512.
        """
        _refuse_algorithm(algorithm)
        kid = header.get("kid")
        named = self.by_kid().get(kid) if isinstance(kid, str) else None
        return {"key": os.urandom(64) if named is None else named, "algorithms": [algorithm]}

    def _newest_first(self) -> Iterator[bytes]:
        yield _bytes_of(self.current)
        if self.previous is not None:
            yield _bytes_of(self.previous)


def _hmac(key: bytes, content: bytes, digest: str) -> bytes:
    import hmac  # noqa: PLC0415  it loads OpenSSL, which few need

    return hmac.digest(key, content, digest)


def _kid(version: int) -> str:
    return f"v{version}"


def _bytes_of(key: Any) -> bytes:  # noqa: ANN401  a SecretStr, a SecretBytes, or bytes
    if isinstance(key, bytes):
        return key
    content: str | bytes = key.get_secret_value()
    return content.encode() if isinstance(content, str) else content


def _checked(message: bytes | str, digest: str) -> bytes:
    """The message, once it is sure that nothing raises while a frame holds the key."""
    import hashlib  # noqa: PLC0415  it loads OpenSSL, which few need

    hashlib.new(digest, usedforsecurity=True)
    return _message(message)


def _message(message: bytes | str) -> bytes:
    return message.encode() if isinstance(message, str) else bytes(memoryview(message))


def _signature_of(given: bytes | str | None) -> bytes:
    """The HMAC's bytes; what is no signature becomes one that nothing has."""
    if isinstance(given, str):
        try:
            return bytes.fromhex(given)
        except ValueError:
            return b""
    return b"" if given is None else bytes(memoryview(given))


def _parts_of(header: str | None) -> tuple[list[str], list[str]]:
    """The times and the signatures of a header such as Stripe's."""
    parts = [part.strip().partition("=") for part in (header or "").split(",")]
    return [value for name, _, value in parts if name == "t"], [
        value for name, _, value in parts if name == "v1"
    ]


def _refuse_algorithm(algorithm: str) -> None:
    if algorithm not in JWT_ALGORITHMS:
        raise DeclarationError(
            f"a key ring was asked for the JWT algorithm {algorithm!r}",
            remedy=f"Give one of those that use a shared key: {', '.join(JWT_ALGORITHMS)}.",
        )
