"""What a type checker makes of the public names; checked by `scripts/check`, never run."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, assert_type

from dependency_injector import providers
from pydantic import BaseModel, Field, HttpUrl, SecretBytes, SecretStr

from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    Environment,
    Freshness,
    GoogleTokens,
    KeyRing,
    Keys,
    Memory,
    PerVersion,
    PubSubListener,
    PushEndpoint,
    ReloadPolicy,
    SecretContainer,
    SecretEvent,
    StaticSecret,
    request_scope,
    rotation_retry,
    rotation_retry_context,
    source_from_url,
)

if TYPE_CHECKING:
    from pgp_config.events import Event


class Login(BaseModel):
    """A JSON secret."""

    user: str
    password: SecretStr


class Client:
    """Takes the provider."""

    def __init__(self, api_key: DynamicSecret[SecretStr]) -> None:
        self.api_key = api_key


class Pool:
    """Takes the value."""

    def __init__(self, login: Login) -> None:
        self.login = login

    def close(self) -> None:
        """Ends it."""

    def is_usable(self) -> bool:
        """Tries it."""
        return True


async def open_pool(login: Login, *, key: SecretStr) -> Pool:
    """As the class, in an event loop."""
    assert_type(key, SecretStr)
    return Pool(login)


class PoolUser:
    """Takes the provider."""

    def __init__(self, pool: PerVersion[Pool]) -> None:
        self.pool = pool


class Service(SecretContainer):
    """A container."""

    reload_policy = ReloadPolicy(exceptions={"X_SIGNING_KEY_SECONDARY": "verifies only"})
    key = DynamicSecret("KEY")
    url = DynamicSecret("URL", HttpUrl, freshness=EVERY_REQUEST)
    fee = DynamicSecret("FEE", Annotated[Decimal, Field(ge=0)])
    login = StaticSecret("LOGIN", Login)
    fixed = StaticSecret("FIXED")
    client = providers.Singleton(Client, api_key=key)
    ring = KeyRing("RING", grace=timedelta(hours=1))
    binary = KeyRing("BINARY", SecretBytes, freshness=EVERY_REQUEST)
    pool = PerVersion(Pool, login)
    later = PerVersion(open_pool, login, key=key, close=Pool.close, probe=Pool.is_usable)
    user = providers.Singleton(PoolUser, pool=pool)


def observe(event: Event) -> None:
    """Is an observer."""


def reads() -> None:
    """Each read has its declared type."""
    secrets = Service(
        source=Memory({"KEY": "k"}), freshness=Freshness(max_age=1.5), observers=[observe]
    )
    assert_type(secrets, Service)
    assert_type(secrets.key(), SecretStr)
    assert_type(secrets.url(), HttpUrl)
    assert_type(secrets.fee(), Decimal)
    assert_type(secrets.login(), Login)
    assert_type(secrets.fixed(), SecretStr)
    assert_type(secrets.client(), Client)
    assert_type(secrets.key.refresh(), bool)
    assert_type(secrets.pool(), Pool)
    with request_scope(values={"KEY": "test"}), secrets.key.override("test"):
        secrets.load()
    secrets.close()


def rings() -> None:
    """A ring gives keys of its declared type."""
    secrets = Service(source=Memory({"RING": "k"}))
    assert_type(secrets.ring(), Keys[SecretStr])
    assert_type(secrets.binary(), Keys[SecretBytes])
    assert_type(secrets.ring().previous, SecretStr | None)
    assert_type(secrets.ring().sign("m"), bytes)
    assert_type(secrets.ring().verify(b"m", "00", "sha512"), bool)
    assert_type(secrets.ring().oldest_first(), list[bytes])
    assert_type(secrets.ring.refresh(), bool)


async def retries() -> int:
    """The decorated function has lost its first argument, and nothing else."""
    secrets = Service(source=Memory({"KEY": "k"}))

    @rotation_retry(secrets.key, on=PermissionError, budget=timedelta(seconds=3))
    def call(key: SecretStr, amount: int, *, fast: bool = False) -> int:
        return amount + len(key) * fast

    @rotation_retry(secrets.key, on=(PermissionError, KeyError), previous=False)
    async def call_later(key: SecretStr, amount: int) -> str:
        return f"{amount}{key}"

    assert_type(call(5, fast=True), int)
    assert_type(await call_later(5), str)
    for attempt in rotation_retry_context(secrets.key, on=lambda error: bool(error.args)):
        with attempt as key:
            assert_type(key, SecretStr)
    return call(1)


async def reads_later() -> None:
    """The same from a coroutine."""
    secrets = Service(source=source_from_url("env:"))
    await secrets.aload()
    async with request_scope():
        assert_type(await secrets.key.async_(), SecretStr)
        assert_type(await secrets.fee.async_(), Decimal)
        assert_type(await secrets.key.arefresh(), bool)
        assert_type(await secrets.ring.async_(), Keys[SecretStr])
        async for attempt in rotation_retry_context(secrets.key, on=PermissionError):
            with attempt as key:
                assert_type(key, SecretStr)
        assert_type(await secrets.pool.async_(), Pool)
        assert_type(await secrets.later.async_(), Pool)
    await secrets.aclose()
    Service(source=Environment("PREFIX_"))


def is_pushed_to(secrets: Service) -> None:
    """Both ways to hear of a rotation."""
    tokens = GoogleTokens(audience="https://a.example", service_account="push@a.example")
    PushEndpoint("/pushed", verifier=tokens, containers=(secrets,))
    with PubSubListener("projects/p/topics/t", containers=(secrets,)) as listener:
        listener.start(secrets)
    assert_type(secrets.announce(SecretEvent("SECRET_VERSION_ADD", "KEY", 2)).wait(), bool)
