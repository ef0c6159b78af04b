"""What a user would pick instead, brought to the moment at which what it holds expires.

Each has a source of some latency that counts its calls. `expire` makes what it holds due, as time would:
with a clock where the library takes one, else by waiting for the shortest time that it allows.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import cachetools
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_secretsmanager_caching import SecretCache, SecretCacheConfig
from gcp_secretmanager_cache import GCPCachedSecret

from bench.peers.ours import VALUE
from pgp_config import DynamicSecret, SecretContainer
from pgp_config.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgp_config import Freshness

#: Seconds: the shortest time to live that AWS's clients take, and what is slept until it is over.
SHORTEST, OVER = 1, 1.05

#: Seconds: any, where the clock is ours.
TTL = 100.0


class Source:
    """Takes its time, and counts.

    Args:
        latency: Seconds that a call takes.
    """

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.calls = 0
        self._flying = 0
        self._state = threading.Condition()

    def call(self) -> None:
        """One call."""
        with self._state:
            self.calls += 1
            self._flying += 1
        time.sleep(self.latency)
        with self._state:
            self._flying -= 1
            self._state.notify_all()

    def settle(self) -> None:
        """Wait until no call is under way, and what it brought has landed."""
        with self._state:
            self._state.wait_for(lambda: self._flying == 0, timeout=30)
        time.sleep(0.02)

    # -- as a source of pgp_config -----------------------------------------------------------

    def fetch(self, _name: str, _version: int | str = "latest") -> Payload:
        """One call, for pgp_config."""
        self.call()
        return Payload(VALUE.encode(), 1)

    # -- as a client of AWS ------------------------------------------------------------------

    meta = SimpleNamespace(config=SimpleNamespace(user_agent=""), events=mock.Mock())

    def describe_secret(self, **_asked: object) -> dict[str, Any]:
        """One call, for AWS's cache."""
        self.call()
        return {"VersionIdsToStages": {"v1": ["AWSCURRENT"]}}

    def get_secret_value(self, **_asked: object) -> dict[str, Any]:
        """One call, for both of AWS's clients."""
        self.call()
        return {"SecretString": VALUE, "VersionId": "v1"}

    # -- as Google's client ------------------------------------------------------------------

    def list_secret_versions(self, **_asked: object) -> list[Any]:
        """One call: a metadata read, of which there are 600 a minute."""
        self.call()
        name = "projects/p/secrets/key/versions/1"
        return [SimpleNamespace(name=name, create_time=datetime.now(tz=UTC))]

    def access_secret_version(self, _request: object) -> object:
        """One call."""
        self.call()
        return SimpleNamespace(payload=SimpleNamespace(data=VALUE.encode()))


class NumberedSource(Source):
    """Each call brings a version of its own, whose value is its number: so a reader knows which call it got.

    Attributes:
        ended: Seconds (`perf_counter`) at which each call ended, by its number.
    """

    def __init__(self, latency: float) -> None:
        super().__init__(latency)
        self.ended: dict[int, float] = {}

    def fetch(self, _name: str, _version: int | str = "latest") -> Payload:
        """One call; a secret's calls come one after another."""
        number = self.calls + 1
        self.call()
        self.ended[number] = time.perf_counter()
        return Payload(str(number).encode(), number)


@dataclass(frozen=True)
class Expiring:
    """A library with one value, warm.

    Attributes:
        source: Counts its calls.
        read: Reads the value.
        expire: Makes it due.
    """

    source: Source
    read: Callable[[], object]
    expire: Callable[[], None]


def peers() -> dict[str, Callable[[float], Any]]:
    """Context managers by the name of the library; each takes the latency and gives an `Expiring`."""
    return {
        "aws-secretsmanager-caching": _aws_caching,
        "Powertools parameters": _powertools,
        "gcp-secretmanager-cache, its thread refreshes": _gcp_thread,
        "gcp-secretmanager-cache, invalidate_secret()": _gcp_invalidated,
        "cachetools TTLCache, @cached(lock=)": _cachetools_lock,
        "cachetools TTLCache, @cached(condition=)": _cachetools_condition,
    }


class _Offset:
    """The monotonic clock, set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Secrets(SecretContainer):
    """One secret."""

    key = DynamicSecret("KEY", str)


@dataclass(frozen=True)
class Ours:
    """pgp_config with one value, warm.

    Attributes:
        source: Counts its calls.
        secrets: The container.
        pass_share: Lets so many shares of `max_age` pass.
    """

    source: Source
    secrets: Secrets
    pass_share: Callable[[float], None]


@contextmanager
def ours(source: Source, freshness: Freshness) -> Iterator[Ours]:
    """pgp_config itself."""
    clock = _Offset()
    secrets = Secrets(source=source, freshness=freshness, clock=clock, observers=[])
    secrets.load()

    def pass_share(share: float) -> None:
        clock.ahead += share * freshness.age_limit

    try:
        yield Ours(source, secrets, pass_share)
    finally:
        secrets.close()


@contextmanager
def _aws_caching(latency: float) -> Iterator[Expiring]:
    source = Source(latency)
    # It takes a whole number of seconds from half the interval on: with one of 1 s that may be none.
    config = SecretCacheConfig(secret_refresh_interval=2 * SHORTEST)
    cache = SecretCache(config=config, client=source)
    yield Expiring(source, lambda: cache.get_secret_string("key"), lambda: time.sleep(2 * OVER))


@contextmanager
def _powertools(latency: float) -> Iterator[Expiring]:
    source = Source(latency)
    secrets = SecretsProvider(boto3_client=source)
    yield Expiring(source, lambda: secrets.get("key", max_age=SHORTEST), lambda: time.sleep(OVER))


@contextmanager
def _gcp(latency: float, go: threading.Event) -> Iterator[tuple[Source, Any]]:
    """Its thread sleeps 30 s at least; here it sleeps until it is told that they are over."""
    source = Source(latency)
    ended = threading.Event()

    def sleep(_seconds: float) -> None:
        go.wait()
        go.clear()
        if ended.is_set():
            raise SystemExit

    client = "google.cloud.secretmanager.SecretManagerServiceClient"
    with (
        mock.patch(client, return_value=source),
        mock.patch("gcp_secretmanager_cache.cache_secret.sleep", sleep),
    ):
        secret = GCPCachedSecret("projects/p/secrets/key", lambda: (None, "p"), ttl=30.0)
        secret.get_secret()
        secret.ttl = 0.0  # else its thread would find that the 30 s are not over
        source.settle()
        try:
            yield source, secret
        finally:
            thread = secret.t()
            ended.set()
            go.set()
            if thread is not None:
                thread.join(10)


@contextmanager
def _gcp_thread(latency: float) -> Iterator[Expiring]:
    go = threading.Event()
    with _gcp(latency, go) as (source, secret):
        yield Expiring(source, secret.get_secret, go.set)


@contextmanager
def _gcp_invalidated(latency: float) -> Iterator[Expiring]:
    with _gcp(latency, threading.Event()) as (source, secret):
        yield Expiring(source, secret.get_secret, secret.invalidate_secret)


@contextmanager
def _cachetools_lock(latency: float) -> Iterator[Expiring]:
    yield _cachetools(latency, lock=threading.Lock())


@contextmanager
def _cachetools_condition(latency: float) -> Iterator[Expiring]:
    yield _cachetools(latency, condition=threading.Condition())


def _cachetools(latency: float, **how: Any) -> Expiring:  # noqa: ANN401  its options
    source, clock = Source(latency), _Offset()
    cache: Any = cachetools.TTLCache(maxsize=1, ttl=TTL, timer=clock)

    def fetch(_name: str) -> str:
        source.call()
        return VALUE

    cached = cachetools.cached(cache, **how)(fetch)

    def expire() -> None:
        clock.ahead += TTL

    return Expiring(source, lambda: cached("key"), expire)
