"""The fleet's secrets as typed data: name, type, class, and the services that may read each.

A container takes its secrets from here (`CHANGENOW_API_KEY.secret()`), so that a name and its type
are written once for all services, and its policy too (`policy_of`), so that a secret which a service
may not read, or may not reload, is an error where the container is imported. The list is complete: what
is not in it is read by nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from pgp_config import DynamicSecret, KeyRing, ReloadPolicy, StaticSecret
from pgp_services.names import Service

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import LiteralString

    from typing_extensions import TypeForm

    from pgp_config.policy import ReloadClass

T = TypeVar("T")


def _shaped(pattern: str, code: LiteralString, complaint: LiteralString) -> AfterValidator:
    """Keys of a shape; the complaint says which, and nothing of the key."""

    def check(key: SecretStr) -> SecretStr:
        if re.fullmatch(pattern, key.get_secret_value(), re.ASCII) is None:
            raise PydanticCustomError(code, complaint)
        return key

    return AfterValidator(check)


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


def _user_name(name: str) -> str:
    return name.removeprefix("@")


def _plain_number(text: object) -> object:
    """Digits and a point: Decimal reads exponents, underscores and NaN as well, and money is none of them."""
    if isinstance(text, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is None:
        raise PydanticCustomError("plain_decimal", "Not a number of digits and perhaps a point")
    return text


def _true_or_false(text: object) -> object:
    if text not in ("true", "false"):
        raise PydanticCustomError("true_or_false", "Neither true nor false")
    return text


#: A key of 64 hexadecimal digits; `get_secret_value()` gives them.
HexKey = Annotated[SecretStr, _shaped(r"[0-9a-fA-F]{64}", "hex_key", "Not 64 hexadecimal digits")]

#: A key that travels in a header: printable, without blanks.
HeaderKey = Annotated[
    SecretStr, _shaped(r"[!-~]{1,512}", "header_key", "Not printable characters without blanks")
]

#: A key of JWTs: HS256 wants 256 bits (RFC 7518, 3.2), and of a shorter one PyJWT tells the length.
JwtKey = Annotated[
    SecretStr, _shaped(r"(?s).{32,}", "jwt_key", "Shorter than the 32 characters that HS256 wants")
]

#: A key of links that are signed with HMAC-SHA256: a short one is guessed from one link.
LinkKey = Annotated[
    SecretStr,
    _shaped(r"(?s).{32,}", "link_key", "Shorter than 32 characters: it could be guessed"),
]

#: The key of an Ethereum provider, which travels in the path of its URL.
RpcKey = Annotated[
    SecretStr,
    _shaped(r"[A-Za-z0-9_-]{32}", "rpc_key", "Not 32 letters, digits, hyphens and underscores"),
]

#: A bot's token: its number, a colon, and the key proper (core.telegram.org/bots/api).
BotToken = Annotated[
    SecretStr,
    _shaped(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,128}", "bot_token", "Not digits, a colon, and a key"),
]

#: A bot's user name, with or without its @; served without.
BotUserName = Annotated[
    str, StringConstraints(pattern=r"^@?[A-Za-z][A-Za-z0-9_]{3,31}$"), AfterValidator(_user_name)
]

#: A percentage: finite, 0 to 100, as digits and a point.
Percentage = Annotated[
    Decimal, BeforeValidator(_plain_number), Field(ge=0, le=100, allow_inf_nan=False)
]

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
        declared: Its type, as pydantic validates it.
        category: What sort of thing it is, in the catalogue's words.
        kind: What it holds, in the catalogue's words.
        readers: The services that may read it.
    """

    name: str
    declared: TypeForm[T] = field(repr=False)
    category: str
    kind: str
    readers: frozenset[Service] = field(repr=False)

    @property
    def reload_class(self) -> ReloadClass:
        """`static` or `dynamic`."""
        return "dynamic" if isinstance(self, Dynamic) else "static"


@dataclass(frozen=True, slots=True)
class Dynamic(Row[T]):
    """A secret that services reload while they run.

    Attributes:
        exception: Why it may be dynamic though its name is protected; empty where that is not so.
    """

    exception: str = ""

    def secret(self) -> DynamicSecret[T]:
        """A declaration of it, for one container."""
        return DynamicSecret(self.name, self.declared)


@dataclass(frozen=True, slots=True)
class DynamicKey(Dynamic[SecretStr]):
    """A key that others sign with, of which two versions verify during a rotation."""

    def key_ring(self) -> KeyRing[SecretStr]:
        """A declaration of its current and its previous version, for one container."""
        return KeyRing(self.name)


@dataclass(frozen=True, slots=True)
class Static(Row[T]):
    """A secret that is loaded once, at start-up."""

    def secret(self) -> StaticSecret[T]:
        """A declaration of it, for one container."""
        return StaticSecret(self.name, self.declared)


_EVERYONE = frozenset(Service)
_VERIFIES_ONLY = "verification only, never signs"


def _key(
    name: str,
    declared: TypeForm[SecretStr],
    *readers: Service,
    category: str = "api key",
    exception: str = "",
) -> Dynamic[SecretStr]:
    return Dynamic(name, declared, category, "secret", frozenset(readers), exception)


def _url(name: str, *readers: Service, category: str = "service url") -> Dynamic[str]:
    return Dynamic(name, HttpsUrl, category, "https url", frozenset(readers))


def _queue(name: str, *readers: Service) -> Dynamic[str]:
    return Dynamic(name, QueueId, "queue", "queue id", frozenset(readers))


def _static_key(
    name: str, declared: TypeForm[SecretStr], category: str, *readers: Service
) -> Static[SecretStr]:
    return Static(name, declared, category, "secret", frozenset(readers))


def _static_text(
    name: str,
    declared: TypeForm[str],
    category: str,
    readers: Collection[Service],
    kind: str = "text",
) -> Static[str]:
    return Static(name, declared, category, kind, frozenset(readers))


_WITH_DATABASE = frozenset(
    {
        Service.SPLIT2,
        Service.ORCHESTRATOR,
        Service.HOSTPAY1,
        Service.HOSTPAY3,
        Service.SERVER,
        Service.SPLIT1,
        Service.NOTIFICATIONS,
        Service.INVITE,
        Service.ACCUMULATOR,
        Service.BATCHPROCESSOR,
        Service.BROADCAST,
        Service.NP_IPN,
        Service.MICROBATCHPROCESSOR,
        Service.WEBAPI,
    }
)
_WITH_TASKS = frozenset(
    {
        Service.SPLIT2,
        Service.ORCHESTRATOR,
        Service.HOSTPAY1,
        Service.HOSTPAY3,
        Service.SPLIT1,
        Service.HOSTPAY2,
        Service.ACCUMULATOR,
        Service.BATCHPROCESSOR,
        Service.NP_IPN,
        Service.MICROBATCHPROCESSOR,
    }
)

CHANGENOW_API_KEY = _key(
    "CHANGENOW_API_KEY",
    HexKey,
    Service.SPLIT2,
    Service.HOSTPAY1,
    Service.HOSTPAY2,
    Service.MICROBATCHPROCESSOR,
)
NOWPAYMENTS_API_KEY = _key("NOWPAYMENTS_API_KEY", HeaderKey, Service.SERVER)
ETHEREUM_RPC_URL_API = _key("ETHEREUM_RPC_URL_API", RpcKey, Service.HOSTPAY3)
TELEGRAM_BOT_API_TOKEN = _key(
    "TELEGRAM_BOT_API_TOKEN",
    BotToken,
    Service.SERVER,
    Service.NOTIFICATIONS,
    Service.INVITE,
    Service.BROADCAST,
    Service.BOTCOMMAND,
)
TELEGRAM_BOT_USERNAME: Dynamic[str] = Dynamic(
    "TELEGRAM_BOT_USERNAME",
    BotUserName,
    "api key",
    "text",
    frozenset({Service.SERVER, Service.BROADCAST, Service.BOTCOMMAND}),
)
PGP_ORCHESTRATOR_URL = _url("PGP_ORCHESTRATOR_URL", Service.NP_IPN, Service.BOTCOMMAND)
PGP_SPLIT1_URL = _url(
    "PGP_SPLIT1_URL", Service.SPLIT2, Service.ORCHESTRATOR, Service.BATCHPROCESSOR
)
PGP_SPLIT2_URL = _url("PGP_SPLIT2_URL", Service.SPLIT1, Service.ACCUMULATOR)
PGP_HOSTPAY1_URL = _url(
    "PGP_HOSTPAY1_URL",
    Service.HOSTPAY1,
    Service.HOSTPAY3,
    Service.SPLIT1,
    Service.HOSTPAY2,
    Service.ACCUMULATOR,
    Service.MICROBATCHPROCESSOR,
)
PGP_HOSTPAY2_URL = _url("PGP_HOSTPAY2_URL", Service.HOSTPAY1)
PGP_HOSTPAY3_URL = _url("PGP_HOSTPAY3_URL", Service.HOSTPAY1, Service.HOSTPAY3)
PGP_INVITE_URL = _url("PGP_INVITE_URL", Service.ORCHESTRATOR)
PGP_SERVER_URL = _url("PGP_SERVER_URL", Service.WEBAPI)
PGP_NOTIFICATION_URL = _url("PGP_NOTIFICATION_URL", Service.NP_IPN)
PGP_ACCUMULATOR_URL = _url("PGP_ACCUMULATOR_URL", Service.ORCHESTRATOR)
PGP_SCHEDULER_URL = _url("PGP_SCHEDULER_URL", Service.SERVER)
PGP_BROADCAST_URL = _url("PGP_BROADCAST_URL", Service.SERVER)
PGP_BOTCOMMAND_URL = _url("PGP_BOTCOMMAND_URL", Service.SERVER)
PGP_ORCHESTRATOR_QUEUE = _queue("PGP_ORCHESTRATOR_QUEUE", Service.NP_IPN, Service.BOTCOMMAND)
PGP_SPLIT1_ESTIMATE_QUEUE = _queue(
    "PGP_SPLIT1_ESTIMATE_QUEUE", Service.ORCHESTRATOR, Service.BATCHPROCESSOR
)
PGP_SPLIT1_RESPONSE_QUEUE = _queue("PGP_SPLIT1_RESPONSE_QUEUE", Service.SPLIT2)
PGP_SPLIT2_SWAP_QUEUE = _queue("PGP_SPLIT2_SWAP_QUEUE", Service.SPLIT1, Service.ACCUMULATOR)
PGP_SPLIT2_RESPONSE_QUEUE = _queue("PGP_SPLIT2_RESPONSE_QUEUE", Service.SPLIT1)
PGP_HOSTPAY_TRIGGER_QUEUE = _queue(
    "PGP_HOSTPAY_TRIGGER_QUEUE", Service.SPLIT1, Service.ACCUMULATOR, Service.MICROBATCHPROCESSOR
)
PGP_HOSTPAY2_QUEUE = _queue("PGP_HOSTPAY2_QUEUE", Service.HOSTPAY1)
PGP_HOSTPAY3_QUEUE = _queue("PGP_HOSTPAY3_QUEUE", Service.HOSTPAY1, Service.HOSTPAY3)
PGP_HOSTPAY1_RESPONSE_QUEUE = _queue(
    "PGP_HOSTPAY1_RESPONSE_QUEUE", Service.HOSTPAY1, Service.HOSTPAY3, Service.HOSTPAY2
)
PGP_INVITE_QUEUE = _queue("PGP_INVITE_QUEUE", Service.ORCHESTRATOR)
PGP_NOTIFICATION_QUEUE = _queue("PGP_NOTIFICATION_QUEUE", Service.NP_IPN)
PGP_ACCUMULATOR_QUEUE = _queue("PGP_ACCUMULATOR_QUEUE", Service.ORCHESTRATOR)
PGP_BATCHPROCESSOR_QUEUE = _queue("PGP_BATCHPROCESSOR_QUEUE", Service.SPLIT2)
PGP_SCHEDULER_QUEUE = _queue("PGP_SCHEDULER_QUEUE", Service.SERVER)
PGP_BROADCAST_QUEUE = _queue("PGP_BROADCAST_QUEUE", Service.SERVER)
NOWPAYMENTS_IPN_SECRET = DynamicKey(
    "NOWPAYMENTS_IPN_SECRET",
    SecretStr,
    "webhook",
    "secret",
    frozenset({Service.SERVER, Service.NP_IPN}),
)
SUCCESS_URL_SIGNING_KEY_SECONDARY = _key(
    "SUCCESS_URL_SIGNING_KEY_SECONDARY",
    HexKey,
    Service.ORCHESTRATOR,
    category="webhook",
    exception=_VERIFIES_ONLY,
)
TPS_HOSTPAY_SIGNING_KEY_SECONDARY = _key(
    "TPS_HOSTPAY_SIGNING_KEY_SECONDARY",
    HexKey,
    Service.HOSTPAY1,
    category="webhook",
    exception=_VERIFIES_ONLY,
)
CLOUDFLARE_WEBHOOK_SECRET = _key(
    "CLOUDFLARE_WEBHOOK_SECRET", SecretStr, Service.SERVER, category="webhook"
)
TP_FLAT_FEE: Dynamic[Decimal] = Dynamic(
    "TP_FLAT_FEE",
    Percentage,
    "application config",
    "percentage decimal",
    frozenset({Service.SPLIT1, Service.ACCUMULATOR}),
)
PGP_SUCCESS_URL = _url(
    "PGP_SUCCESS_URL", Service.WEBAPI, Service.WEB, category="application config"
)
PGP_FAILURE_URL = _url(
    "PGP_FAILURE_URL", Service.WEBAPI, Service.WEB, category="application config"
)
SERVICE_ENVIRONMENT: Dynamic[ServiceEnvironment] = Dynamic(
    "SERVICE_ENVIRONMENT", ServiceEnvironment, "application config", "enum prod|staging", _EVERYONE
)
ALERTING_ENABLED: Dynamic[bool] = Dynamic(
    "ALERTING_ENABLED", Flag, "application config", "bool", _EVERYONE
)
LOG_LEVEL: Dynamic[LogLevel] = Dynamic(
    "LOG_LEVEL", LogLevel, "application config", "enum DEBUG|INFO|WARNING|ERROR", _EVERYONE
)
PGP_BATCHPROCESSOR_URL = _url("PGP_BATCHPROCESSOR_URL", Service.SPLIT2)
HOST_WALLET_PRIVATE_KEY = _static_key(
    "HOST_WALLET_PRIVATE_KEY", HexKey, "private key", Service.HOSTPAY3
)
SUCCESS_URL_SIGNING_KEY = _static_key(
    "SUCCESS_URL_SIGNING_KEY",
    HexKey,
    "signing key",
    Service.SPLIT2,
    Service.ORCHESTRATOR,
    Service.HOSTPAY1,
    Service.HOSTPAY3,
    Service.SPLIT1,
    Service.HOSTPAY2,
    Service.INVITE,
    Service.ACCUMULATOR,
    Service.BATCHPROCESSOR,
    Service.MICROBATCHPROCESSOR,
)
TPS_HOSTPAY_SIGNING_KEY = _static_key(
    "TPS_HOSTPAY_SIGNING_KEY",
    HexKey,
    "signing key",
    Service.HOSTPAY1,
    Service.SERVER,
    Service.SPLIT1,
    Service.BATCHPROCESSOR,
)
DATABASE_PASSWORD_SECRET = _static_key(
    "DATABASE_PASSWORD_SECRET", SecretStr, "database", *_WITH_DATABASE
)
CLOUD_SQL_CONNECTION_NAME = _static_text(
    "CLOUD_SQL_CONNECTION_NAME",
    CloudSqlInstance,
    "database",
    _WITH_DATABASE,
    "text project:region:instance",
)
DATABASE_NAME_SECRET = _static_text(
    "DATABASE_NAME_SECRET", DatabaseName, "database", _WITH_DATABASE
)
DATABASE_USER_SECRET = _static_text(
    "DATABASE_USER_SECRET", DatabaseName, "database", _WITH_DATABASE
)
CLOUD_TASKS_PROJECT_ID = _static_text(
    "CLOUD_TASKS_PROJECT_ID", ProjectId, "infrastructure", _WITH_TASKS
)
CLOUD_TASKS_LOCATION = _static_text(
    "CLOUD_TASKS_LOCATION", Location, "infrastructure", _WITH_TASKS
)
JWT_SECRET_KEY = _static_key(
    "JWT_SECRET_KEY", JwtKey, "signing key", Service.BROADCAST, Service.WEBAPI
)
SIGNUP_SECRET_KEY = _static_key("SIGNUP_SECRET_KEY", LinkKey, "signing key", Service.WEBAPI)

#: Every row, by name.
CATALOGUE: dict[str, Row[object]] = {
    row.name: row for row in list(globals().values()) if isinstance(row, Row)
}

#: The static secret for which a service is security-critical: rotated by a restart only.
CRITICAL: dict[Service, Static[SecretStr]] = {
    Service.ORCHESTRATOR: SUCCESS_URL_SIGNING_KEY,
    Service.HOSTPAY1: TPS_HOSTPAY_SIGNING_KEY,
    Service.HOSTPAY3: HOST_WALLET_PRIVATE_KEY,
    Service.SERVER: TPS_HOSTPAY_SIGNING_KEY,
}


def secrets_of(service: Service) -> list[Row[object]]:
    """The rows that a service may read, in the catalogue's order."""
    return [row for row in CATALOGUE.values() if service in row.readers]


def policy_of(service: Service) -> ReloadPolicy:
    """What a service's container may declare: the secrets that it may read, each in its class."""
    return _policy(secrets_of(service))


def _policy(rows: Collection[Row[object]]) -> ReloadPolicy:
    excepted = [row for row in rows if isinstance(row, Dynamic) and row.exception]
    return ReloadPolicy(
        allowed={row.name: row.reload_class for row in rows},
        exceptions={row.name: row.exception for row in excepted},
    )


#: What the parts that services share may declare: any secret of the catalogue, in its class.
WHOLE_POLICY = _policy(CATALOGUE.values())
