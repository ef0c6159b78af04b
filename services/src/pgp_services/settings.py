"""What a service takes from its environment variables: where things are, and nothing secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

from pgp_config import DeclarationError
from pgp_services.clients import changenow

#: The URL of the source of all secrets, such as `gsm://pgp-live`.
SOURCE_VARIABLE = "PGP_CONFIG_SOURCE"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of a service.

    Attributes:
        tasks_service_account: TASKS_SERVICE_ACCOUNT, the e-mail address of the service account whose
            identity the calls of Cloud Tasks carry.
        changenow_base_url: CHANGENOW_BASE_URL; ChangeNow's own by default.
        cloud_tasks_endpoint: CLOUD_TASKS_ENDPOINT, `127.0.0.1:PORT` of a local stand-in; Google's own
            by default.
    """

    tasks_service_account: str
    changenow_base_url: str = changenow.API
    cloud_tasks_endpoint: str | None = None

    @classmethod
    def from_environ(cls) -> Self:
        """Read the variables.

        Raises:
            DeclarationError: If TASKS_SERVICE_ACCOUNT is not set.
        """
        return cls(
            tasks_service_account=required("TASKS_SERVICE_ACCOUNT"),
            changenow_base_url=os.environ.get("CHANGENOW_BASE_URL") or changenow.API,
            cloud_tasks_endpoint=os.environ.get("CLOUD_TASKS_ENDPOINT") or None,
        )


def required(variable: str) -> str:
    """An environment variable that has no default.

    Raises:
        DeclarationError: If it is missing or empty.
    """
    value = os.environ.get(variable)
    if not value:
        raise DeclarationError(
            f"the environment variable {variable} is not set",
            remedy="services/README.md lists what a service takes.",
        )
    return value
