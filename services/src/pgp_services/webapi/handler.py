"""What PGP_WEBAPI_v1 does for channel owners: log-ins from sign-up links, and the configuration.

Accounts are rows of the database, which the fleet's table says nothing of: whoever proves an address is it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pgp_services.jwts import ACCESS_AGE, issue, login_in, login_of
from pgp_services.serving.answers import done
from pgp_services.serving.bodies import model_in, token_in
from pgp_services.serving.routes import Route
from pgp_services.webapi.links import address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Tokens, and what only their owner may see, are in no cache.
_PRIVATE = {"Cache-Control": "no-store"}


class Refreshing(BaseModel):
    """What asks for another access token.

    Attributes:
        refresh_token: The JWT that was issued with the first one.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    refresh_token: Annotated[str, StringConstraints(min_length=1), Field(repr=False)]


class WebApiHandler:
    """Handles the API's routes; usable from coroutines.

    Args:
        jwt_key: The secret JWT_SECRET_KEY.
        sign_up_key: The secret SIGNUP_SECRET_KEY.
        success_url: The secret PGP_SUCCESS_URL.
        failure_url: The secret PGP_FAILURE_URL.
        server_url: The secret PGP_SERVER_URL.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        jwt_key: Provided[SecretStr],
        sign_up_key: Provided[SecretStr],
        success_url: Provided[str],
        failure_url: Provided[str],
        server_url: Provided[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jwt_key = jwt_key
        self._sign_up_key = sign_up_key
        self._success_url = success_url
        self._failure_url = failure_url
        self._server_url = server_url
        self._clock = clock

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route("/api/auth/verify-email", handle_async=self.verify_email),
            Route("/api/auth/refresh", handle_async=self.refresh),
            Route("/api/auth/verify", handle_async=self.verify, method="GET"),
            Route("/api/config", handle_async=self.configuration, method="GET"),
        ]

    async def verify_email(self, call: Call) -> Answer:
        """Turn the token of a sign-up link into a log-in.

        Raises:
            ServiceFailure: If there is no token, or it is not good.
            PgpConfigError: If a secret has no usable value.
        """
        address = address_of(token_in(call.body), await self._sign_up_key.async_())
        key, now = await self._jwt_key.async_(), self._clock()
        refresh_token = issue(address, "refresh", key, now)
        return _issued(issue(address, "access", key, now), refresh_token=refresh_token)

    async def refresh(self, call: Call) -> Answer:
        """Give another access token for a refresh token.

        Raises:
            ServiceFailure: If there is none, or it is not good.
            PgpConfigError: If a secret has no usable value.
        """
        asked = model_in(Refreshing, call.body)
        key = await self._jwt_key.async_()
        login = login_of(asked.refresh_token, "refresh", key)
        return _issued(issue(login.sub, "access", key, self._clock()))

    async def verify(self, call: Call) -> Answer:
        """Say whose the access token of a request is.

        Raises:
            NotLoggedIn: If there is none, or it is not good.
            PgpConfigError: If a secret has no usable value.
        """
        login = login_in(call, await self._jwt_key.async_())
        return done("Logged in", headers=_PRIVATE, subject=login.sub, expires_at=login.exp)

    async def configuration(self, call: Call) -> Answer:
        """Say where the fleet's pages and the bot's server are, to whoever is logged in.

        Raises:
            NotLoggedIn: If nobody is.
            PgpConfigError: If a secret has no usable value.
        """
        login_in(call, await self._jwt_key.async_())
        return done(
            "Configuration",
            headers=_PRIVATE,
            success_url=await self._success_url.async_(),
            failure_url=await self._failure_url.async_(),
            server_url=await self._server_url.async_(),
        )

    def close(self) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""


def _issued(access_token: str, **more: str) -> Answer:
    return done(
        "Logged in",
        headers=_PRIVATE,
        access_token=access_token,
        token_type="Bearer",  # noqa: S106  the scheme's name
        expires_in=ACCESS_AGE,
        **more,
    )
