"""What one service is told of its surroundings: environment variables, nothing of them secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pgp_services import catalogue
from pgp_services.names import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgp_services.catalogue import Row
    from pgp_services.lookalikes.http import LocalServer

#: The project that the local Secret Manager keeps the secrets of.
PROJECT = "pgp-local"

#: The secret with Slack's webhook, which is outside of the catalogue.
SLACK_WEBHOOK = "SLACK_WEBHOOK_URL"

#: Services whose URL has another name than theirs; the fleet's scheduler is none of the seventeen.
_OTHERWISE_NAMED = {"PGP_NOTIFICATION_URL": Service.NOTIFICATIONS}


def account_of(service: Service) -> str:
    """The service account that a service's tasks carry: by it they are told apart."""
    return f"{service.short.lower().replace('_', '-')}@{PROJECT}.iam.gserviceaccount.com"


def source_of(service: Service, endpoint: str) -> str:
    """The URL of a service's secrets, in the local Secret Manager; it says who asks."""
    return f"gsm://{PROJECT}?endpoint={quote(endpoint)}&user_agent={service}"


def door_for(server: LocalServer, service: Service, key: Row[Any]) -> str:
    """The base URL of a stand-in: a door of the service's own, if it has the key."""
    return server.door(service) if service in key.readers else server.url


def served_by(url_secret: str) -> Service | None:
    """The service whose base URL a secret holds, if it is one of the seventeen."""
    by_name = {f"PGP_{service.short}_URL": service for service in Service}
    return {**by_name, **_OTHERWISE_NAMED}.get(url_secret)


def url_secrets() -> Iterator[str]:
    """The names of the secrets that hold a base URL."""
    return (row.name for row in catalogue.CATALOGUE.values() if row.kind == "https url")
