"""The links that verify e-mail addresses: signed with SIGNUP_SECRET_KEY, good for a day.

A link is made where the mail is sent, and goes to that address only: the API never gives it to a caller.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import StringConstraints, TypeAdapter, ValidationError

from pgp_services.failures import BadToken

if TYPE_CHECKING:
    from pydantic import SecretStr

#: Seconds for which a link is good.
MAX_LINK_AGE = 24 * 3600

#: Characters of a link's token, at most.
MAX_LINK_LENGTH = 2048

#: An e-mail address, as far as it matters here: something, an @, something with a dot.
EmailAddress = Annotated[
    str, StringConstraints(pattern=r"^[^@\s]{1,64}@[^@\s]{1,250}\.[^@\s.]{1,63}$", max_length=254)
]

_ADDRESSES: TypeAdapter[str] = TypeAdapter(EmailAddress)


def link_token(address: str, key: SecretStr) -> str:
    """The token of the link that goes to an address.

    Args:
        address: The e-mail address.
        key: The value of SIGNUP_SECRET_KEY.
    """
    token = _serializer(key).dumps(address)
    return token if isinstance(token, str) else token.decode()


def address_of(token: str, key: SecretStr) -> str:
    """The address that a link proves.

    Args:
        token: The token of the link.
        key: The value of SIGNUP_SECRET_KEY.

    Raises:
        BadToken: If it is not ours, or older than `MAX_LINK_AGE`. No cause, and no frame whose locals
            hold the token or the key.
    """
    address = _opened(token, key)
    del token, key
    if address is None:
        raise BadToken("the sign-up link is not ours, or its time is over")
    return address


def _opened(token: str, key: SecretStr) -> str | None:
    if len(token) > MAX_LINK_LENGTH or not token.isascii():
        return None
    try:
        return _ADDRESSES.validate_python(_serializer(key).loads(token, max_age=MAX_LINK_AGE))
    except (BadData, ValidationError):
        return None


def _serializer(key: SecretStr) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        key.get_secret_value(),
        salt="pgp.webapi.sign-up",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
