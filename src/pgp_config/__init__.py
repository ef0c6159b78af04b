"""Dependency injection for secrets that rotate while the service runs."""

from pgp_config.errors import (
    BlockingRead,
    BuildError,
    DeclarationError,
    PgpConfigError,
    RejectedVersion,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
    StartupError,
    StaticSecretInScope,
)
from pgp_config.events import Observer, default_observers
from pgp_config.observers.logs import LoggingObserver
from pgp_config.policy import EVERY_REQUEST, Freshness, ReloadPolicy
from pgp_config.providers import DynamicSecret, PerVersion, SecretContainer, StaticSecret
from pgp_config.scopes import request_scope
from pgp_config.sources.directory import Directory
from pgp_config.sources.environment import Environment
from pgp_config.sources.google import GoogleSecretManager
from pgp_config.sources.memory import Memory
from pgp_config.sources.urls import source_from_url

default_observers.append(LoggingObserver())

__all__ = [
    "EVERY_REQUEST",
    "BlockingRead",
    "BuildError",
    "DeclarationError",
    "Directory",
    "DynamicSecret",
    "Environment",
    "Freshness",
    "GoogleSecretManager",
    "LoggingObserver",
    "Memory",
    "Observer",
    "PerVersion",
    "PgpConfigError",
    "RejectedVersion",
    "ReloadPolicy",
    "SecretContainer",
    "SecretDisabled",
    "SecretForbidden",
    "SecretNotFound",
    "SecretUnavailable",
    "SourceTimeout",
    "StartupError",
    "StaticSecret",
    "StaticSecretInScope",
    "default_observers",
    "request_scope",
    "source_from_url",
]
