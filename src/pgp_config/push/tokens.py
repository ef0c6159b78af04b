"""Who sent a push: Google's signature on the OIDC token, the audience, and the service account.

The only part of the endpoint that imports Google's libraries (`google-auth`; no gRPC).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import Future
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from pgp_config.errors import DeclarationError
from pgp_config.forking import gate
from pgp_config.push.event import PushRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Certificates: TypeAlias = Mapping[str, str]

_logger = logging.getLogger("pgp_config")

#: Where Google publishes the certificates of its token signers: X.509 in PEM, by key id.
CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"

#: Seconds for which certificates are used without asking again, and for which they are used at most where
#: the server does not answer. Google's own answers may be kept for some five hours.
FRESH, USABLE = 3600.0, 6 * 3600.0

#: Seconds between two requests for certificates: neither an unknown key nor an outage costs one each.
PAUSE = 30.0

#: Seconds that one request for the certificates may take.
TIMEOUT = 3.0

#: Seconds by which the sender's clock and ours may differ.
CLOCK_SKEW = 30

#: Bytes of a token; Google's have about 1 KiB.
MAX_TOKEN = 8 * 1024

#: What Cloud Run puts in the place of a signature that it verified, where a service requires authentication.
_REMOVED = ".SIGNATURE_REMOVED_BY_GOOGLE"

_ISSUERS = ("https://accounts.google.com", "accounts.google.com")


class TokenRefused(PushRefused):
    """The token is missing, forged, expired, or meant for another audience."""

    status: ClassVar[int] = 401


class SenderRefused(PushRefused):
    """The token is Google's, and of another service account."""

    status: ClassVar[int] = 403


class TokenUnverifiable(PushRefused):
    """Google's certificates cannot be had at the moment."""

    status: ClassVar[int] = 503


def fetch_certificates(url: str = CERTS_URL) -> Certificates:
    """Google's certificates, by key id, in PEM.

    Args:
        url: Where they are; that of a local Secret Manager for a trial.
    """
    import requests  # noqa: PLC0415  an extra, and slow to import
    from google.auth.transport.requests import Request  # noqa: PLC0415  as above

    with requests.Session() as session:
        answer = Request(session)(url, method="GET", timeout=TIMEOUT)
    if answer.status != 200:  # noqa: PLR2004  OK
        raise OSError(f"HTTP status {answer.status}")
    content: Certificates = json.loads(answer.data)
    return content


class GoogleTokens:
    """Verifies the OIDC tokens that Pub/Sub sends with a push.

    Args:
        audience: What the subscription's `--push-auth-token-audience` says; by default that is the push
            URL.
        service_account: The e-mail address of the subscription's `--push-auth-service-account`.
        certificates: Gives Google's certificates, by key id, in PEM; called when they are needed, an hour
            at the earliest after the last time, or when a token names a new key.
        behind_cloud_run_iam: Whether Cloud Run verifies who calls (`--no-allow-unauthenticated`). It then
            removes the signature, and a token without one is taken at its word. Never say so of a service
            that anyone may call: anyone could write such a token.
        clock_skew: Seconds by which the sender's clock may differ, 0 to 300.
        clock: Monotonic seconds; a test gives its own.

    Raises:
        DeclarationError: If an argument cannot be meant so, or google-auth is not installed.
    """

    def __init__(
        self,
        *,
        audience: str,
        service_account: str,
        certificates: Callable[[], Certificates] = fetch_certificates,
        behind_cloud_run_iam: bool = False,
        clock_skew: int = CLOCK_SKEW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _refuse_arguments(audience, service_account, clock_skew)
        self._audience = audience
        self._account = service_account
        self._skew = clock_skew
        self._is_behind_iam = behind_cloud_run_iam
        self._jwt = _google_jwt()
        self._keys = _Keys(certificates, clock)

    def __repr__(self) -> str:
        return f"GoogleTokens(audience={self._audience!r}, service_account={self._account!r})"

    def verify(self, token: str) -> None:
        """Check a token; blocks while certificates are fetched.

        Raises:
            TokenRefused: If it is not a valid token of Google's for this audience.
            SenderRefused: If it is another account's.
            TokenUnverifiable: If Google's certificates cannot be had.
        """
        if token.endswith(_REMOVED):
            claims = self._claims_verified_before(token)
        else:
            claims = self._claims(token, self._keys.get(self._key_id(token)))
        if claims is None or claims.get("iss") not in _ISSUERS:
            raise _forged()
        if claims.get("email") != self._account or claims.get("email_verified") is not True:
            raise SenderRefused(
                "the token of a push is not that of the service account expected",
                remedy="Compare --push-auth-service-account of the subscription with service_account=.",
            )

    def _claims_verified_before(self, token: str) -> Mapping[str, Any] | None:
        """What a token says whose signature Cloud Run verified and removed."""
        if not self._is_behind_iam:
            raise TokenRefused(
                "the signature of a push's token was removed by Cloud Run, which requires authentication",
                remedy="If nobody can call the service without it, verify with "
                "GoogleTokens(…, behind_cloud_run_iam=True).",
            )
        try:
            claims: Mapping[str, Any] = self._jwt.decode(token[:MAX_TOKEN], verify=False)
            is_current = float(claims["exp"]) + self._skew >= time.time()
        except Exception:  # noqa: BLE001  as below
            return None
        return claims if is_current and claims.get("aud") == self._audience else None

    def _key_id(self, token: str) -> str:
        try:
            header = self._jwt.decode_header(token) if len(token) <= MAX_TOKEN else {}
        except Exception:  # noqa: BLE001  google-auth raises what base64, JSON and UTF-8 raise
            header = {}
        # Google signs with RS256. Without a key id google-auth would try every key.
        key_id = header.get("kid")
        if header.get("alg") == "RS256" and isinstance(key_id, str):
            return key_id
        raise _forged()

    def _claims(self, token: str, certificate: str) -> Mapping[str, Any] | None:
        """What a valid token says; None for any other. Google's errors show parts of the token."""
        try:
            claims: Mapping[str, Any] = self._jwt.decode(
                token,
                certs=[certificate],
                audience=self._audience,
                clock_skew_in_seconds=self._skew,
            )
        except Exception:  # noqa: BLE001  as above; claims of wrong types raise too
            return None
        return claims


def _refuse_arguments(audience: object, service_account: object, clock_skew: object) -> None:
    if not isinstance(audience, str) or not audience:
        raise DeclarationError(
            "a push endpoint has no audience",
            remedy="Give that of the subscription, by default its push URL.",
        )
    if not isinstance(service_account, str) or "@" not in service_account:
        raise DeclarationError(
            "a push endpoint has no service account",
            remedy="Give the e-mail address of the subscription's service account.",
        )
    if not isinstance(clock_skew, int) or not 0 <= clock_skew <= 300:  # noqa: PLR2004  said in the remedy
        raise DeclarationError(
            f"the clock skew is {clock_skew!r}", remedy="Give seconds, 0 to 300."
        )


def _google_jwt() -> Any:  # noqa: ANN401  google-auth has no types for it
    try:
        from google.auth import jwt  # noqa: PLC0415  an extra
    except ImportError:
        raise DeclarationError(
            "a push endpoint needs google-auth",
            remedy="Install it: pip install 'pgp-config[push]'.",
        ) from None
    return jwt


def _forged() -> TokenRefused:
    return TokenRefused(
        "a push has no valid token of Google's for this audience",
        remedy="Give the subscription --push-auth-service-account, and the endpoint its audience.",
    )


class _Keys:
    """Certificates by key id; fetched by one caller at a time, and kept."""

    def __init__(self, fetch: Callable[[], Certificates], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._known: Certificates = {}
        self._fetched_at = -inf
        self._asked_at = -inf
        self.renew_after_fork()
        gate.register(self)

    def renew_after_fork(self) -> None:
        """In a child: what is known stays, and a fetch of the parent's is not waited for."""
        self._lock = threading.Lock()
        self._fetching: Future[None] | None = None

    def get(self, key_id: str) -> str:
        """The certificate of a key.

        Raises:
            TokenRefused: If Google has no such key.
            TokenUnverifiable: If it is not known, and Google does not say.
        """
        if self._clock() >= self._fetched_at + FRESH or key_id not in self._known:
            self._refresh()
        age = self._clock() - self._fetched_at
        if age < USABLE and key_id in self._known:
            return self._known[key_id]
        # Asked for since and not there: no key of Google's. Else it may be a new one.
        if age < PAUSE:
            raise _forged()
        raise _unverifiable()

    def _refresh(self) -> None:
        with self._lock:
            fetching = self._fetching
            if fetching is None:
                if self._clock() < self._asked_at + PAUSE:
                    return
                self._asked_at = self._clock()
                mine = self._fetching = Future()
        if fetching is None:
            self._ask(mine)
            return
        try:
            fetching.result(2 * TIMEOUT)
        except TimeoutError:
            raise _unverifiable() from None

    def _ask(self, fetching: Future[None]) -> None:
        try:
            with gate.call():
                fetched = dict(self._fetch())
            if all(isinstance(part, str) for pair in fetched.items() for part in pair):
                self._known, self._fetched_at = fetched, self._clock()
            else:
                _logger.warning("Google's certificates are not texts by key id")
        except Exception as fault:  # noqa: BLE001  the fetcher is anyone's
            _logger.warning("Could not fetch Google's certificates: %s", type(fault).__name__)
        finally:
            self._fetching = None
            fetching.set_result(None)


def _unverifiable() -> TokenUnverifiable:
    return TokenUnverifiable(
        "the certificates of Google's token signers cannot be had",
        remedy=f"Let the service reach {CERTS_URL}; Pub/Sub sends the push again.",
    )
