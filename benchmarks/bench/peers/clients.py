"""Caching clients of secret stores: one process-wide value, no scope; each with a stub as its store."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_secretsmanager_caching import SecretCache
from azure.appconfiguration import AzureAppConfigurationClient, ConfigurationSetting
from azure.appconfiguration.provider import load
from dependency_injector import providers
from gcp_secretmanager_cache import GCPCachedSecret

from bench.harness import Statement
from bench.peers.ours import VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness import Body, Prepare

#: Seconds: none of them asks its store again while it is measured.
LONG = 3600


def warm_reads() -> dict[str, Prepare]:
    """A read that finds the value, by the name of the client."""
    return {
        "aws-secretsmanager-caching": _aws_caching,
        "Powertools parameters": _powertools,
        "gcp-secretmanager-cache": _gcp_cache,
        "azure-appconfiguration-provider": _azure,
    }


@contextmanager
def context_local_singleton() -> Iterator[Body]:
    """dependency-injector's: one value a context, which nothing ends: no request scope."""

    def make() -> object:
        return object()

    provider = providers.ContextLocalSingleton(make)
    provider()
    yield Statement("provider()", provider=provider)


class _AwsStub:
    """What both AWS clients ask."""

    meta = SimpleNamespace(config=SimpleNamespace(user_agent=""), events=mock.Mock())

    def describe_secret(self, **_asked: object) -> dict[str, Any]:
        return {"VersionIdsToStages": {"v1": ["AWSCURRENT"]}}

    def get_secret_value(self, **_asked: object) -> dict[str, Any]:
        return {"SecretString": VALUE, "VersionId": "v1"}


@contextmanager
def _aws_caching() -> Iterator[Body]:
    cache = SecretCache(client=_AwsStub())
    yield Statement('cache.get_secret_string("key")', cache=cache)


@contextmanager
def _powertools() -> Iterator[Body]:
    secrets = SecretsProvider(boto3_client=_AwsStub())
    yield Statement('secrets.get("key", max_age=long)', secrets=secrets, long=LONG)


class _GoogleStub:
    """What gcp-secretmanager-cache asks; it makes one client a thread."""

    def __init__(self, **_options: object) -> None:
        pass

    def list_secret_versions(self, **_asked: object) -> list[Any]:
        name = "projects/p/secrets/key/versions/1"
        return [SimpleNamespace(name=name, create_time=datetime.now(tz=UTC))]

    def access_secret_version(self, _request: object) -> object:
        return SimpleNamespace(payload=SimpleNamespace(data=VALUE.encode()))


@contextmanager
def _gcp_cache() -> Iterator[Body]:
    with mock.patch("google.cloud.secretmanager.SecretManagerServiceClient", _GoogleStub):
        secret = GCPCachedSecret("projects/p/secrets/key", lambda: (None, "p"), ttl=float(LONG))
        secret.get_secret()
        yield Statement("secret.get_secret()", secret=secret)


@contextmanager
def _azure() -> Iterator[Body]:
    """It loads everything at start-up, and then reads a dictionary; `refresh()` is the user's to call."""
    setting = ConfigurationSetting(key="key", value=VALUE)
    store = f"{AzureAppConfigurationClient.__module__}.{AzureAppConfigurationClient.__name__}"
    with mock.patch(f"{store}.list_configuration_settings", return_value=_Listing([setting])):
        settings = load(
            endpoint="https://bench.invalid",
            credential=_NoCredential(),
            replica_discovery_enabled=False,
        )
        yield Statement('settings["key"]', settings=settings)


class _NoCredential:
    """Nobody asks for it: nothing is sent."""

    def get_token(self, *_scopes: str, **_options: object) -> object:
        raise NotImplementedError


class _Listing:
    """What Azure's client lists: one page of settings, with an etag."""

    etag = "1"

    def __init__(self, settings: list[Any]) -> None:
        self._pages = iter([settings])

    def by_page(self) -> _Listing:
        return self

    def __iter__(self) -> _Listing:
        return self

    def __next__(self) -> list[Any]:
        return next(self._pages)
