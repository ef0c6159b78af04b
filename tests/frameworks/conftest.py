"""A service's container, and what its handlers saw, for each framework."""

import asyncio
import threading

import pytest

from pgp_config import (
    EVERY_REQUEST,
    BlockingRead,
    DynamicSecret,
    RejectedVersion,
    SecretContainer,
    SecretForbidden,
    StaticSecret,
)
from pgp_config.scopes import open_scope


class Service(SecretContainer):
    key = DynamicSecret("FRAMEWORK_KEY", str, freshness=EVERY_REQUEST)
    known = DynamicSecret("FRAMEWORK_KNOWN", str)
    fixed = StaticSecret("FRAMEWORK_FIXED", str)


def _ends(scope):
    ended = threading.Event()
    scope.on_close(ended.set)
    return ended.wait(10)


class Stage:
    """What the handlers of every framework do: read, rotate, read again; and which scopes they saw."""

    def __init__(self, source, secrets, clock):
        self.source = source
        self.clock = clock
        self.secrets = secrets
        self.scopes = []
        self.entered = threading.Event()
        self.released = threading.Event()

    def rotate(self):
        self.source.add("FRAMEWORK_KEY", f"canary-{self.source.count('FRAMEWORK_KEY') + 100}")

    def read(self):
        self.scopes.append(open_scope())
        return self.secrets.key()

    async def aread(self):
        self.scopes.append(open_scope())
        return await self.secrets.key.async_()

    def blocking(self):
        """Read synchronously where a loop runs; what that says."""
        try:
            return self.read()
        except BlockingRead as error:
            return str(error)

    def twice(self):
        first = self.read()
        self.rotate()
        return [first, self.read()]

    async def atwice(self):
        first = await self.aread()
        self.rotate()
        return [first, *await asyncio.gather(self.aread(), asyncio.to_thread(self.read))]

    def lines(self):
        for line in self.twice():
            yield f"{line}\n"
        yield f"{self.read()}\n"

    async def alines(self):
        for line in await self.atwice():
            yield f"{line}\n"
        yield f"{await self.aread()}\n"

    def fail(self):
        self.read()
        raise KeyError("the-handler")

    async def afail(self):
        await self.aread()
        raise KeyError("the-handler")

    def all_closed(self):
        """Whether handlers ran in scopes, and each of these ends: some do after the client has its answer."""
        return bool(self.scopes) and all(map(_ends, self.scopes))

    def scope_count(self):
        return len({id(scope) for scope in self.scopes})

    def break_start(self):
        """Two faults that a start-up has to tell at once."""
        self.source.fail("FRAMEWORK_FIXED", SecretForbidden("may not be read", remedy="Grant it."))
        self.source.fail("FRAMEWORK_KEY", RejectedVersion("is no key", remedy="Add one."))

    @property
    def faults(self):
        return (
            "FRAMEWORK_FIXED in Service: may not be read",
            "FRAMEWORK_KEY in Service: is no key",
        )

    def lose_key(self):
        """From now on the key is not to be had, and the last good version is too old."""
        self.clock.advance(4000)
        self.source.fail("FRAMEWORK_KEY", SecretForbidden("may not be read", remedy="Grant it."))


@pytest.fixture
def secrets(source, make):
    source.add("FRAMEWORK_KEY", "canary-0")
    source.add("FRAMEWORK_KNOWN", "known-0")
    source.add("FRAMEWORK_FIXED", "fixed-0")
    return make(Service)


@pytest.fixture
def stage(source, secrets, clock):
    return Stage(source, secrets, clock)
