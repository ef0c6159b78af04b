"""The web API's tokens: JWT, HS256 and nothing else, with an end and a subject, signed with JWT_SECRET_KEY.

WEBAPI issues them; WEBAPI and BROADCAST take them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import jwt
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from pgp_services.failures import NotLoggedIn

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pgp_services.serving.routes import Call

#: Seconds for which tokens are valid: what is shown with each request, and what gets another one.
ACCESS_AGE, REFRESH_AGE = 15 * 60, 30 * 24 * 3600

#: Characters of a token, at most.
MAX_JWT_LENGTH = 4096

_ALGORITHM = "HS256"

Use = Literal["access", "refresh"]


class Login(BaseModel):
    """What a token says; other claims are not looked at.

    Attributes:
        sub: Whose it is.
        exp: When it ends, in seconds of Unix time.
        use: What it is good for; a token that does not say so is shown with requests.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    sub: Annotated[str, StringConstraints(min_length=1, max_length=320)]
    exp: int
    use: Use = "access"


def issue(subject: str, use: Use, key: SecretStr, now: float) -> str:
    """Make a token.

    Args:
        subject: Whose it is.
        use: What it is good for.
        key: The value of JWT_SECRET_KEY.
        now: Unix time in seconds.
    """
    age = ACCESS_AGE if use == "access" else REFRESH_AGE
    claims = {"sub": subject, "use": use, "iat": int(now), "exp": int(now) + age}
    return jwt.encode(claims, key.get_secret_value(), _ALGORITHM)


def login_of(token: str, use: Use, key: SecretStr) -> Login:
    """What a token says.

    Args:
        token: The token.
        use: What it must be good for.
        key: The value of JWT_SECRET_KEY.

    Raises:
        NotLoggedIn: If it is not ours, not for this use, or its time is over. No cause, and no frame
            whose locals hold the token or the key.
    """
    login = _opened(token, key)
    del token, key
    return _good(login, use)


def login_in(call: Call, key: SecretStr) -> Login:
    """Who makes a request, by the access token of its `Authorization: Bearer` header.

    Raises:
        NotLoggedIn: If there is no such header, or as `login_of` says.
    """
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    login = _opened(token.strip(), key) if scheme.lower() == "bearer" else None
    del scheme, token, key
    return _good(login, "access")


def _good(login: Login | None, use: Use) -> Login:
    if login is None or login.use != use:
        raise NotLoggedIn("there is no JWT of ours for this use, or its time is over")
    return login


def _opened(token: str, key: SecretStr) -> Login | None:
    if len(token) > MAX_JWT_LENGTH:
        return None
    try:
        claims = jwt.decode(
            token,
            key.get_secret_value(),
            algorithms=[_ALGORITHM],
            options={"require": ["exp", "sub"]},
        )
        return Login.model_validate(claims)
    except (jwt.PyJWTError, ValidationError, ValueError, RecursionError):
        return None
