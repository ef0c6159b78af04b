"""Calls from one service of the fleet to another, where no task is wanted.

Deployed, each call carries an identity token of Google's for the service that is called, as Cloud Run wants it;
on one machine it goes to a gateway, which knows the services' ports by their hosts.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import httpx
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import id_token
from pydantic import BaseModel, SecretStr

from pgp_config import DeclarationError
from pgp_services.clients.base import Addressed, Ask, HttpClient, Party
from pgp_services.clients.connections import base_of, is_loopback
from pgp_services.clients.outcomes import Outcome, UnusableAddressError
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgp_services.clients.outcomes import M, Reply
    from pgp_services.provided import Provided

#: Bounds of one call.
POLICY = RetryPolicy(budget=8.0, attempt=5.0)

#: Gives an identity token for an audience, or raises a GoogleAuthError.
Identity: TypeAlias = "Callable[[str], str]"


class ServiceRefused(Refused):
    """The other service refuses the request, or this one's identity."""


class ServiceUnavailable(Unavailable):
    """The other service does not answer within the budget; or there is no identity to call it with."""


class _Done(BaseModel):
    """The other service took it; it says nothing more of it."""


def google_identity(audience: str) -> str:
    """An identity token of the service account that this process runs as.

    Args:
        audience: For whom: the base URL of the service that is called.

    Raises:
        GoogleAuthError: If there is none to be had.
    """
    token: str = id_token.fetch_id_token(Request(), audience)  # type: ignore[no-untyped-call]  # it has no types
    return token


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where a call goes.

    Attributes:
        base_url: The other service's base URL.
        token: The identity that it is called with; None through the gateway.
    """

    base_url: str = field(repr=False)
    token: SecretStr | None


class _Destinations:
    """Gives the destination that the current request sees, with a token for it.

    Args:
        base_url: Gives the other service's base URL.
        identity: Gives tokens; None: none is wanted.
    """

    def __init__(self, base_url: Provided[str], identity: Identity | None) -> None:
        self._base_url = base_url
        self._identity = identity

    def __call__(self) -> _Destination:
        return self._with_token(self._base_url())

    async def async_(self) -> _Destination:
        base_url = await self._base_url.async_()
        if self._identity is None:
            return _Destination(base_url, None)
        # It may ask the metadata server: not in the loop's thread.
        return await asyncio.to_thread(self._with_token, base_url)

    def _with_token(self, base_url: str) -> _Destination:
        if self._identity is None:
            return _Destination(base_url, None)
        try:
            return _Destination(base_url, SecretStr(self._identity(base_url)))
        except GoogleAuthError as fault:
            trouble = f"no identity to call a service with ({type(fault).__name__})"
        raise ServiceUnavailable(trouble)


class ServiceClient(HttpClient[_Destination]):
    """Another service of the fleet; usable from threads and from coroutines.

    Args:
        base_url: The secret with its base URL: `https://` and a host.
        gateway: `http://127.0.0.1:PORT` of the gateway on this machine; None where the service is deployed.
        identity: Gives the identity tokens where there is no gateway; Google's by default.
        policy: The bounds of one call with all its attempts.

    Raises:
        DeclarationError: If the gateway is not on the loopback.
    """

    party = Party("a service of the fleet", ServiceRefused, ServiceUnavailable)

    def __init__(
        self,
        base_url: Provided[str],
        gateway: str | None = None,
        *,
        identity: Identity = google_identity,
        policy: RetryPolicy = POLICY,
    ) -> None:
        self._gateway = None if gateway is None else base_of(gateway)
        if gateway is not None and (self._gateway is None or not is_loopback(self._gateway.host)):
            raise DeclarationError(
                "the gateway is not a port of this machine",
                remedy="Set LOCAL_GATEWAY to http://127.0.0.1:PORT, or leave it out where the services "
                "are deployed.",
            )
        destinations = _Destinations(base_url, identity if gateway is None else None)
        # The base URL is the destination's own.
        super().__init__(destinations, httpx.URL("https://fleet.invalid"), policy)

    def addressed(self, ask: Ask[M], key: _Destination) -> Addressed:
        """To the service with the token, or to the gateway with the service's host.

        Raises:
            UnusableAddressError: If the secret is no base URL.
        """
        base = base_of(key.base_url)
        if base is None:
            raise UnusableAddressError
        path = ask.path.encode("ascii")
        if self._gateway is not None:
            host = {"host": base.netloc.decode("ascii")}
            return Addressed(self._gateway.copy_with(raw_path=path), host)
        token = key.token.get_secret_value() if key.token is not None else ""
        return Addressed(base.copy_with(raw_path=path), {"authorization": f"Bearer {token}"})

    def judge(self, ask: Ask[M], reply: Reply) -> Outcome[M]:
        """Every 2xx is good, whatever is in it."""
        if httpx.codes.is_success(reply.status):
            return Outcome(reply.status, value=ask.answer())
        return reply.failure()

    def post(self, path: str, body: Mapping[str, object]) -> None:
        """Call the service.

        Not idempotent: it is called again only where it surely had no effect (no connection, 429; once after a
        503 with `Retry-After`, as the fleet's services answer), and never after a time-out or a lost connection.

        Args:
            path: The path, beginning with a slash; it belongs in code.
            body: Sent as JSON.

        Raises:
            ServiceRefused: If the service refuses the request, or this one's identity.
            ServiceUnavailable: If it does not answer within the budget, or there is no identity.
            PgpConfigError: If the URL is not to be had.
        """
        ask = _call(path, body)
        del body  # it may hold a token, and a traceback's locals are logged
        self.call(ask)

    async def post_async(self, path: str, body: Mapping[str, object]) -> None:
        """As `post`, from a coroutine."""
        ask = _call(path, body)
        del body  # as above
        await self.call_async(ask)


def _call(path: str, body: Mapping[str, object]) -> Ask[_Done]:
    return Ask("call", "POST", path, _Done, body=json.dumps(body).encode(), once=True)
