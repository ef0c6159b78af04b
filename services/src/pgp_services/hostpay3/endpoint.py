"""The Ethereum endpoint: the URL of the settings, and the key of the secret.

A `PerVersion` is built from secrets alone, and the URL is none: so what it builds is told the URL when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from pgp_services.clients.ethereum import JsonRpc

if TYPE_CHECKING:
    from pgp_services.provided import Provided


class KeyedRpc:
    """The endpoints with one version of the key: one, for there is one URL. Built by a `PerVersion`.

    Args:
        key: The provider's key.
    """

    def __init__(self, key: SecretStr) -> None:
        self._key = key
        self._made: dict[str, JsonRpc] = {}

    def at(self, base_url: str) -> JsonRpc:
        """The endpoint below a URL.

        Raises:
            DeclarationError: If the URL is neither https nor on the loopback.
        """
        made = self._made.get(base_url)
        # Of two threads that come first, both use the one that is kept: it has the connections.
        return made or self._made.setdefault(base_url, JsonRpc(base_url, self._key))

    def close(self) -> None:
        """Close their connections."""
        for made in self._made.values():
            made.close()


class Endpoint:
    """Gives the endpoint for the key that the current request sees.

    Args:
        keyed: Gives the endpoints with that key.
        base_url: `https://` and a host, or a local stand-in.

    Raises:
        DeclarationError: If the URL is of another kind.
    """

    def __init__(self, keyed: Provided[KeyedRpc], base_url: str) -> None:
        JsonRpc(base_url, SecretStr(""))  # a bad URL is told of when the service starts
        self._keyed = keyed
        self._base_url = base_url

    def __call__(self) -> JsonRpc:
        """The endpoint, in a thread that may wait."""
        return self._keyed().at(self._base_url)

    async def async_(self) -> JsonRpc:
        """The endpoint, in a coroutine."""
        return (await self._keyed.async_()).at(self._base_url)
