"""What the demonstration needs: a source that can go away, the other side that accepts a key, a service under load."""

from __future__ import annotations

import contextlib
import logging
import secrets as random_secrets
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol, Self

from pgp_config.errors import PgpConfigError, SourceTimeout
from pgp_config.policy import Freshness
from pgp_config.providers import DynamicSecret, SecretContainer, StaticSecret
from pgp_config.scopes import request_scope
from pgp_config.sources.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from pgp_config.payload import Payload
    from pgp_config.sources.base import Source

API_KEY, SIGNING_KEY = "DEMO_API_KEY", "DEMO_SIGNING_KEY"

PROJECT = "pgp-config-demo"

#: Seconds: short, so that nobody waits for the rotation.
MAX_AGE = 1.0

#: Threads that serve, and seconds between two requests of one of them.
THREADS, PAUSE = 4, 0.02


class Manager(Protocol):
    """Where versions are made: the local Secret Manager, or memory."""

    def add(self, name: str, value: str) -> object:
        """Add a version."""
        ...

    def disable(self, name: str, version: int) -> object:
        """Disable a version."""
        ...


class Demo(SecretContainer):
    """The container of the demonstration."""

    signing_key = StaticSecret(SIGNING_KEY)
    api_key = DynamicSecret(API_KEY)


class Counting:
    """A source that counts its calls, and can be away.

    Args:
        source: What answers.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.calls: Counter[str] = Counter()
        self.is_away = False

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As the source does.

        Raises:
            SourceTimeout: While it is away.
        """
        self.calls[name] += 1
        if self.is_away:
            raise SourceTimeout("does not answer", secret=name)
        return self._source.fetch(name, version)


class Lines(logging.Handler):
    """Keeps the lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(record.getMessage())


class Stage:
    """The source, the other side, and the service; a context manager.

    Attributes:
        where: What the source is, for people.
        source: Counts the calls.
        lines: The log.
        requests: How many were made so far.
        failed: How many of them failed.
        torn: How many saw two versions.
        by_version: By the version of the key.
        first_use: When a version was first used, in monotonic seconds.
    """

    def __init__(self) -> None:
        self._exit = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._values = [random_secrets.token_hex(16), random_secrets.token_hex(16)]
        self._accepted = {self._values[0]}
        self.log = Lines()
        self.requests = self.failed = self.torn = 0
        self.by_version: Counter[int] = Counter()
        self.first_use: dict[int, float] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            self._manager, self.source, self.where = self._started(started)
            self._manager.add(API_KEY, self._values[0])
            self._manager.add(SIGNING_KEY, self._values[1])
            started.enter_context(_heard_by(self.log))
            self._secrets = Demo(source=self.source, freshness=Freshness(max_age=MAX_AGE))
            started.callback(self._secrets.close)
            self._secrets.load()
            self._exit = started.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def _started(self, started: contextlib.ExitStack) -> tuple[Manager, Counting, str]:
        try:
            from pgp_config.emulator import SecretManagerEmulator  # noqa: PLC0415  needs an extra
            from pgp_config.sources.google import GoogleSecretManager  # noqa: PLC0415  as above
        except ImportError:
            memory = Memory()
            return (
                memory,
                Counting(memory),
                "versions in memory (pgp-config[emulator] has a Secret Manager)",
            )
        server = started.enter_context(SecretManagerEmulator(PROJECT))
        google = GoogleSecretManager(PROJECT, endpoint=server.endpoint)
        started.callback(google.close)
        return server, Counting(google), "a local Secret Manager, over gRPC"

    # -- what happens ------------------------------------------------------------------------

    def rotate(self) -> None:
        """A new version of the key; the other side accepts both for now."""
        self._values.append(random_secrets.token_hex(16))
        self._accepted.add(self._values[-1])
        self._manager.add(API_KEY, self._values[-1])

    def revoke(self) -> None:
        """The old version is disabled, and the other side refuses it."""
        self._accepted.discard(self._values[0])
        self._manager.disable(API_KEY, 1)

    def leave(self) -> None:
        """The source goes away."""
        self.source.is_away = True

    def come_back(self) -> None:
        """The source answers again."""
        self.source.is_away = False

    # -- the service -------------------------------------------------------------------------

    @contextlib.contextmanager
    def load(self, threads: int = THREADS) -> Iterator[None]:
        """Serve requests from some threads meanwhile."""
        serving = [threading.Thread(target=self._serve, daemon=True) for _ in range(threads)]
        for thread in serving:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in serving:
                thread.join()

    def _serve(self) -> None:
        while not self._stopped.wait(PAUSE):
            self.request()

    def request(self) -> None:
        """Serve one request: it reads the key, calls the other side with it, and reads it again."""
        try:
            with request_scope():
                key = self._secrets.api_key().get_secret_value()
                self._secrets.signing_key()
                accepted = key in self._accepted
                torn = self._secrets.api_key().get_secret_value() != key
                version = self._secrets.api_key.version() or 0
        except PgpConfigError:
            accepted, torn, version = False, False, 0
        with self._lock:
            self.requests += 1
            self.failed += not accepted
            self.torn += torn
            self.by_version[version] += 1
            self.first_use.setdefault(version, time.monotonic())

    def leaks(self) -> int:
        """How many lines of the log hold a value."""
        return sum(any(value in line for value in self._values) for line in self.log.lines)


@contextlib.contextmanager
def _heard_by(handler: logging.Handler) -> Iterator[None]:
    """Have a handler alone hear what the library says."""
    logger = logging.getLogger("pgp_config")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
