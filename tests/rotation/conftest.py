"""Uptake stores, a real Redis among them, and processes that report only when a test says so."""

import os
import shutil
import subprocess

import pytest

from pgp_config.uptake import Uptake
from pgp_config.uptake.base import MemoryUptake
from pgp_config.uptake.entries import Entry
from pgp_config.uptake.reporter import Reporter


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """The URL of a Redis of this run, on a socket: Debian's redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        assert os.environ.get("CI") != "true", "scripts/packages installs redis-server"
        pytest.skip("there is no redis-server (Debian: apt-get install redis-server)")
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    with subprocess.Popen(
        [program, "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        for line in server.stdout:
            if "accept connections" in line:
                break
        yield f"unix://{socket}"
        server.terminate()
        server.communicate()


@pytest.fixture
def redis_url(redis_server, request):
    """That Redis, with a namespace of this test."""
    return f"{redis_server}?namespace={abs(hash(request.node.nodeid))}"


def entry(instance="host-1", **facts):
    """What a process says; version 1 of KEY, unless said otherwise."""
    known = {
        "service": "split2",
        "instance": instance,
        "secret": "KEY",
        "kind": "dynamic",
        "version": 1,
        "in_use": (facts.get("version", 1),),
        "refused": (),
        "read_ago": 0.5,
        "confirmed_ago": 1.0,
        "failing": False,
        "ttl": 3600.0,
    }
    return Entry(**{**known, **facts})


@pytest.fixture(name="entry")
def _entry():
    return entry


class ByHand(Reporter):
    """Reports when `attempt()` is called, and not by itself."""

    woken = 0

    def poke(self):
        self.woken += 1


class UptakeByHand(Uptake):
    """Makes such reporters, on the test's clock."""

    def __init__(self, store, clock, service="split2", ttl=3600.0):
        super().__init__(store, service=service, ttl=ttl)
        self.clock = clock
        self.reporters = []

    def reporter(self, container, observers, chance):
        made = ByHand(
            self.store,
            container,
            service=self.service,
            ttl=self.ttl,
            observers=observers,
            clock=self.clock,
        )
        self.reporters.append(made)
        return made


@pytest.fixture
def store(clock):
    return MemoryUptake(clock)


@pytest.fixture
def uptake(store, clock):
    return UptakeByHand(store, clock)
