"""Values for every secret of the catalogue: a good first one, and as many different next ones as are asked for.

Those that are secret are made at random for the run. A value of plain configuration says by itself whose it is and
which version: `https://split1-blue.pgp.example`, `split1-response-green`.
"""

from __future__ import annotations

import secrets as random_secrets
from itertools import count
from typing import TYPE_CHECKING

from pgp_services.catalogue import CATALOGUE, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgp_services.catalogue import Row
    from pgp_services.names import Service

#: The domain of the fleet's hosts; `.example` is nobody's.
DOMAIN = "pgp.example"

#: What versions 1 and 2 are called; a later one by its number.
_COLOURS = ("blue", "green")

#: What the first version and those after it say, in turn, where a value is one of a few.
_CHOICES = {
    "SERVICE_ENVIRONMENT": ("staging", "prod"),
    "ALERTING_ENABLED": ("false", "true"),
    "LOG_LEVEL": ("WARNING", "INFO"),
    "TP_FLAT_FEE": ("3", "5.5"),
}


def _bot_token() -> str:
    return f"{random_secrets.randbelow(9 * 10**9) + 10**9}:{random_secrets.token_urlsafe(26)}"


#: Keys of a shape of their own; every other one may be 64 hexadecimal digits.
_SHAPED: dict[str, Callable[[], str]] = {
    "TELEGRAM_BOT_API_TOKEN": _bot_token,
    "ETHEREUM_RPC_URL_API": lambda: random_secrets.token_hex(16),
}

_TEXTS = {
    "TELEGRAM_BOT_USERNAME": "pgp_{colour}_bot",
    "CLOUD_SQL_CONNECTION_NAME": "pgp-local:us-central1:pgp-{colour}",
    "DATABASE_NAME_SECRET": "pgp-{colour}",
    "DATABASE_USER_SECRET": "service-{colour}",
    "CLOUD_TASKS_PROJECT_ID": "pgp-{colour}",
    "CLOUD_TASKS_LOCATION": "us-central1",
}


def value_of(row: Row[object], version: int) -> str:
    """A good value of a secret.

    Args:
        row: The secret.
        version: 1 or more; plain configuration of another version is another, but for what is one of two.
    """
    colour = _COLOURS[version - 1] if version <= len(_COLOURS) else f"v{version}"
    if row.name in _CHOICES:
        return _CHOICES[row.name][(version - 1) % 2]
    if row.name in _TEXTS:
        return _TEXTS[row.name].format(colour=colour)
    slug = row.name.removeprefix("PGP_").lower().replace("_", "-")
    if row.kind == "https url":
        return f"https://{slug.removesuffix('-url')}-{colour}.{DOMAIN}"
    if row.kind == "queue id":
        return f"{slug.removesuffix('-queue')}-{colour}"
    return _SHAPED.get(row.name, lambda: random_secrets.token_hex(32))()


def first_values(services: Iterable[Service]) -> dict[str, str]:
    """A first value of each secret that one of these services may read."""
    readers = set(services)
    return {row.name: value_of(row, 1) for row in CATALOGUE.values() if row.readers & readers}


def values_for(service: Service) -> dict[str, str]:
    """A first value of each secret that a service may read."""
    return {row.name: value_of(row, 1) for row in secrets_of(service)}


class Values:
    """The values of a run, by secret and version; the texts of all its secrets are here and nowhere else.

    Args:
        first: Each secret's first value.
    """

    def __init__(self, first: dict[str, str]) -> None:
        self._known = {name: [value] for name, value in first.items()}

    def __repr__(self) -> str:
        return f"<Values of {len(self._known)} secrets>"

    def names(self) -> list[str]:
        """The secrets, in the catalogue's order."""
        return list(self._known)

    def of(self, name: str, version: int = 0) -> str:
        """A secret's value; the newest, if no version is given."""
        return self._known[name][version - 1]

    def newest(self, name: str) -> int:
        """A secret's newest version, 1 or more."""
        return len(self._known[name])

    def version(self, name: str, value: str) -> int:
        """Which version of a secret a value is, the newest such; 0 if it is none."""
        found = [
            number
            for number, known in zip(count(1), self._known[name], strict=False)
            if known == value
        ]
        return found[-1] if found else 0

    def renewed(self, name: str) -> str:
        """A next value of a secret, which is its newest from now on."""
        value = value_of(CATALOGUE[name], self.newest(name) + 1)
        self._known[name].append(value)
        return value
