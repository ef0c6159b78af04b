"""The fleet's secrets as typed data: name, type, and whether a service may reload it.

A container takes its secrets from here (`CHANGENOW_API_KEY.secret()`), so that a name and its type
are written once for all services.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from pgp_config import DynamicSecret, StaticSecret

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


def _hex_key(key: SecretStr) -> SecretStr:
    if re.fullmatch(r"[0-9a-fA-F]{64}", key.get_secret_value()) is None:
        raise PydanticCustomError("hex_key", "Not 64 hexadecimal digits")
    return key


def _https_base(url: str) -> str:
    """The URL without a closing slash, if it is https, a host, perhaps a port, and nothing else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        host, port = None, ""
    base = f"https://{host}{port}"
    if not host or re.search(r"\s", url) or url.removesuffix("/").lower() != base:
        raise PydanticCustomError("https_base_url", "Not an https URL of a host without a path")
    return base


def _true_or_false(text: object) -> object:
    if text not in ("true", "false"):
        raise PydanticCustomError("true_or_false", "Neither true nor false")
    return text


#: A key of 64 hexadecimal digits; `get_secret_value()` gives them.
HexKey = Annotated[SecretStr, AfterValidator(_hex_key)]

#: `https://host` or `https://host:port`: the path belongs in code. Served without a closing slash.
HttpsUrl = Annotated[str, AfterValidator(_https_base)]

#: A Cloud Tasks queue id: letters, digits, hyphens, at most 100 (google.cloud.tasks.v2.Queue.name).
QueueId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")]

#: A project id as Cloud Tasks takes it: also colons and periods (google.cloud.tasks.v2.Queue.name).
ProjectId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,100}$")]

#: A Google Cloud region, such as `us-central1`.
Location = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]

#: A Cloud SQL instance: `project:region:instance`; a domain-scoped project has a colon of its own.
CloudSqlInstance = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9.-]+:)?[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]+$")
]

#: A name of a database or a user: one line, no white space at its ends.
DatabaseName = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,61}[!-~])?$")]

#: `true` or `false`, and no other spelling.
Flag = Annotated[bool, BeforeValidator(_true_or_false)]

#: Where a service runs.
ServiceEnvironment = Literal["prod", "staging"]

#: A level of the `logging` module.
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """A row of the catalogue.

    Attributes:
        name: The secret's name in Secret Manager.
        declared: Its type.
        category: What sort of thing it is, in the catalogue's words.
    """

    name: str
    declared: TypeForm[T]
    category: str


class Dynamic(Row[T]):
    """A secret that services reload while they run."""

    def secret(self) -> DynamicSecret[T]:
        """A declaration of it, for one container."""
        return DynamicSecret(self.name, self.declared)


class Static(Row[T]):
    """A secret that is loaded once, at start-up."""

    def secret(self) -> StaticSecret[T]:
        """A declaration of it, for one container."""
        return StaticSecret(self.name, self.declared)


CHANGENOW_API_KEY: Dynamic[SecretStr] = Dynamic("CHANGENOW_API_KEY", HexKey, "api key")

PGP_SPLIT1_URL: Dynamic[str] = Dynamic("PGP_SPLIT1_URL", HttpsUrl, "service url")
PGP_BATCHPROCESSOR_URL: Dynamic[str] = Dynamic("PGP_BATCHPROCESSOR_URL", HttpsUrl, "service url")

PGP_SPLIT1_RESPONSE_QUEUE: Dynamic[str] = Dynamic("PGP_SPLIT1_RESPONSE_QUEUE", QueueId, "queue")
PGP_BATCHPROCESSOR_QUEUE: Dynamic[str] = Dynamic("PGP_BATCHPROCESSOR_QUEUE", QueueId, "queue")

SERVICE_ENVIRONMENT: Dynamic[ServiceEnvironment] = Dynamic(
    "SERVICE_ENVIRONMENT", ServiceEnvironment, "application config"
)
LOG_LEVEL: Dynamic[LogLevel] = Dynamic("LOG_LEVEL", LogLevel, "application config")
ALERTING_ENABLED: Dynamic[bool] = Dynamic("ALERTING_ENABLED", Flag, "application config")

SUCCESS_URL_SIGNING_KEY: Static[SecretStr] = Static(
    "SUCCESS_URL_SIGNING_KEY", HexKey, "signing key"
)

DATABASE_PASSWORD_SECRET: Static[SecretStr] = Static(
    "DATABASE_PASSWORD_SECRET", SecretStr, "database"
)
CLOUD_SQL_CONNECTION_NAME: Static[str] = Static(
    "CLOUD_SQL_CONNECTION_NAME", CloudSqlInstance, "database"
)
DATABASE_NAME_SECRET: Static[str] = Static("DATABASE_NAME_SECRET", DatabaseName, "database")
DATABASE_USER_SECRET: Static[str] = Static("DATABASE_USER_SECRET", DatabaseName, "database")

CLOUD_TASKS_PROJECT_ID: Static[str] = Static("CLOUD_TASKS_PROJECT_ID", ProjectId, "infrastructure")
CLOUD_TASKS_LOCATION: Static[str] = Static("CLOUD_TASKS_LOCATION", Location, "infrastructure")

#: Every row, by name.
CATALOGUE: dict[str, Row[object]] = {
    row.name: row for row in list(globals().values()) if isinstance(row, Row)
}
