"""Dependency injection for secrets that rotate while the service runs."""

from typing import TYPE_CHECKING

from pgp_config.deferred import deferred
from pgp_config.errors import (
    BlockingRead,
    BuildError,
    ChangedMeanwhile,
    DeclarationError,
    PgpConfigError,
    RejectedVersion,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretRefused,
    SecretUnavailable,
    SourceTimeout,
    StartupError,
    StaticSecretInScope,
)
from pgp_config.events import Observer, default_observers
from pgp_config.key_rings import Keys
from pgp_config.observers.logs import LoggingObserver
from pgp_config.payload import Payload
from pgp_config.policy import EVERY_REQUEST, Freshness, ReloadPolicy
from pgp_config.providers import DynamicSecret, KeyRing, PerVersion, SecretContainer, StaticSecret
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from pgp_config.push import (
        GoogleTokens,
        PubSubListener,
        PushEndpoint,
        PushRefused,
        SecretEvent,
    )
    from pgp_config.retrying import Rotating, rotation_retry, rotation_retry_context
    from pgp_config.sources.base import Source
    from pgp_config.sources.budget import FetchBudget
    from pgp_config.sources.directory import Directory
    from pgp_config.sources.environment import Environment
    from pgp_config.sources.google import GoogleSecretManager
    from pgp_config.sources.memory import Memory
    from pgp_config.sources.per_process import PerProcess
    from pgp_config.sources.urls import source_from_url, source_options
    from pgp_config.sources.versions import check_version
    from pgp_config.uptake import Uptake
else:
    # A service uses one source, and few of them push, retry or report.
    __getattr__, __dir__ = deferred(
        globals(),
        {
            "Directory": "pgp_config.sources.directory",
            "Environment": "pgp_config.sources.environment",
            "FetchBudget": "pgp_config.sources.budget",
            "GoogleSecretManager": "pgp_config.sources.google",
            "GoogleTokens": "pgp_config.push.tokens",
            "Memory": "pgp_config.sources.memory",
            "PerProcess": "pgp_config.sources.per_process",
            "PubSubListener": "pgp_config.push.listener",
            "PushEndpoint": "pgp_config.push.endpoint",
            "PushRefused": "pgp_config.push.event",
            "Rotating": "pgp_config.retrying",
            "SecretEvent": "pgp_config.push.event",
            "Source": "pgp_config.sources.base",
            "Uptake": "pgp_config.uptake",
            "check_version": "pgp_config.sources.versions",
            "rotation_retry": "pgp_config.retrying",
            "rotation_retry_context": "pgp_config.retrying",
            "source_from_url": "pgp_config.sources.urls",
            "source_options": "pgp_config.sources.urls",
        },
    )


default_observers.append(LoggingObserver())

__all__ = [
    "EVERY_REQUEST",
    "BlockingRead",
    "BuildError",
    "ChangedMeanwhile",
    "DeclarationError",
    "Directory",
    "DynamicSecret",
    "Environment",
    "FetchBudget",
    "Freshness",
    "GoogleSecretManager",
    "GoogleTokens",
    "KeyRing",
    "Keys",
    "LoggingObserver",
    "Memory",
    "Observer",
    "Payload",
    "PerProcess",
    "PerVersion",
    "PgpConfigError",
    "PubSubListener",
    "PushEndpoint",
    "PushRefused",
    "RejectedVersion",
    "ReloadPolicy",
    "Rotating",
    "SecretContainer",
    "SecretDisabled",
    "SecretEvent",
    "SecretForbidden",
    "SecretNotFound",
    "SecretRefused",
    "SecretUnavailable",
    "Source",
    "SourceTimeout",
    "StartupError",
    "StaticSecret",
    "StaticSecretInScope",
    "Uptake",
    "check_version",
    "default_observers",
    "request_scope",
    "rotation_retry",
    "rotation_retry_context",
    "source_from_url",
    "source_options",
]
