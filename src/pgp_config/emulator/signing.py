"""Signs OIDC tokens as Google does for Pub/Sub, with a key of its own: for trials and tests."""

from __future__ import annotations

import datetime as dt
import secrets
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

#: Seconds for which a token is good, as Google's.
LIFETIME = 3600

#: The service account of a token, unless the caller names another one.
SERVICE_ACCOUNT = "push@local.iam.gserviceaccount.com"

_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a local token signer")])
_BITS = 2048


class TokenSigner:
    """Tokens, and the certificates that verify them: `GoogleTokens(certificates=signer.certificates)`."""

    def __init__(self) -> None:
        # A key takes a tenth of a second: it is made when it is needed.
        self._keys: list[tuple[crypt.RSASigner, str]] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<TokenSigner with {len(self._keys)} keys>"

    def rotate(self) -> None:
        """Sign with a new key from now on; tokens of the old one stay good."""
        made = _new_key()
        with self._lock:
            self._keys.append(made)

    def _newest(self) -> crypt.RSASigner:
        with self._lock:
            if not self._keys:
                self._keys.append(_new_key())
            return self._keys[-1][0]

    def certificates(self) -> dict[str, str]:
        """The certificates, by key id, in PEM."""
        self._newest()
        return {signer.key_id: certificate for signer, certificate in self._keys}

    def token(
        self,
        audience: str,
        service_account: str = SERVICE_ACCOUNT,
        **claims: object,
    ) -> str:
        """A token that is good for an hour.

        Args:
            audience: Its `aud`.
            service_account: Its `email`.
            claims: Others, or other values in their place.
        """
        now = int(time.time())
        content = {
            "aud": audience,
            "email": service_account,
            "email_verified": True,
            "exp": now + LIFETIME,
            "iat": now,
            "iss": "https://accounts.google.com",
            "sub": "1",
            **claims,
        }
        token: bytes = jwt.encode(self._newest(), content)  # type: ignore[no-untyped-call]  # it has no types
        return token.decode()


def _new_key() -> tuple[crypt.RSASigner, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    signer = crypt.RSASigner.from_string(pem, secrets.token_hex(20))  # type: ignore[no-untyped-call]  # as above
    return signer, _certificate(key)


def _certificate(key: rsa.RSAPrivateKey) -> str:
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
