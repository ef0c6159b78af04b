"""This library's own sources, held to the contract that third parties run as well."""

import contextlib
import errno
import os
import subprocess
import sys
from typing import ClassVar

import pytest
from google.cloud.secretmanager_v1 import AccessSecretVersionResponse

from pgp_config.emulator import SecretManagerEmulator
from pgp_config.sources import Directory, Environment, GoogleSecretManager, Memory
from pgp_config.testing.contracts import SourceBackend, SourceContract
from pgp_config.testing.contracts.sources import fetched_in_child

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

NO_VERSIONS = "version n is the n-th content that was seen, and none is kept"


class MemoryBackend(SourceBackend):
    lacks: ClassVar = {
        "forbid": "memory is everybody's",
        "outage": "memory is never out",
    }

    def __init__(self):
        self.source = Memory()
        self.add = self.source.add
        self.disable = self.source.disable
        self.enable = self.source.enable
        self.destroy = self.source.destroy


class TestMemory(SourceContract):
    @pytest.fixture
    def backend(self):
        return MemoryBackend()


class EnvironmentBackend(SourceBackend):
    lacks: ClassVar = {
        "versions": NO_VERSIONS,
        "disable": NO_VERSIONS,
        "destroy": NO_VERSIONS,
        "forbid": "a process may read its own variables",
        "outage": "variables are never out",
    }

    def __init__(self):
        self._environ = {}
        self.source = Environment("SPLIT2_", self._environ)

    def add(self, name, data):
        self._environ[f"SPLIT2_{name}"] = os.fsdecode(data)


class TestEnvironment(SourceContract):
    @pytest.fixture
    def backend(self):
        return EnvironmentBackend()


class DirectoryBackend(SourceBackend):
    lacks: ClassVar = {"versions": NO_VERSIONS, "disable": NO_VERSIONS, "destroy": NO_VERSIONS}

    def __init__(self, path, monkeypatch):
        self._path = path
        self._monkeypatch = monkeypatch
        self.source = Directory(path)

    def add(self, name, data):
        self._path.joinpath(name).write_bytes(data)

    def forbid(self, name):
        # Taking the mode's bits away would not keep root out, and tests often run as root.
        return self._failing(PermissionError(errno.EACCES, "Permission denied"))

    def outage(self):
        return self._failing(OSError(errno.EIO, "Input/output error"))

    @contextlib.contextmanager
    def _failing(self, error):
        def refuse(*_):
            raise error

        with self._monkeypatch.context() as patched:
            patched.setattr(os, "open", refuse)
            yield


class TestDirectory(SourceContract):
    @pytest.fixture
    def backend(self, tmp_path, monkeypatch):
        return DirectoryBackend(tmp_path, monkeypatch)


class GoogleBackend(SourceBackend):
    def __init__(self, emulator, transport):
        self._emulator = emulator
        endpoint = emulator.endpoint if transport == "grpc" else emulator.rest_endpoint
        self.source = GoogleSecretManager(emulator.project, endpoint=endpoint, transport=transport)
        self.add = emulator.add
        self.disable = emulator.disable
        self.enable = emulator.enable
        self.destroy = emulator.destroy

    @contextlib.contextmanager
    def forbid(self, name):
        self._emulator.deny(name)
        yield
        self._emulator.allow(name)

    @contextlib.contextmanager
    def outage(self):
        self._emulator.inject("UNAVAILABLE")
        yield
        self._emulator.clear_faults()


class TestGoogle(SourceContract):
    @pytest.fixture(params=["grpc", "rest"])
    def transport(self, request):
        return request.param

    @pytest.fixture
    def backend(self, transport):
        with SecretManagerEmulator("local") as emulator:
            backend = GoogleBackend(emulator, transport)
            yield backend
            backend.source.close()

    # promise 16
    @needs_fork
    def test_a_forked_child_fetches_and_so_does_its_parent(self, transport):
        # In a process of its own, with the server in another: a process with a gRPC server in it
        # cannot be forked safely.
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKING, transport],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.stdout.split() == ["child", "canary-4711", "parent", "canary-4711"] * 5, (
            ran.stderr
        )


# promise 16
@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_a_client_of_its_own():
    class Client:
        def __init__(self):
            self.maker = os.getpid()

        def access_secret_version(self, **_):
            name = "projects/1/secrets/KEY/versions/1"
            data = f"{os.getpid() - self.maker}".encode()
            return AccessSecretVersionResponse(name=name, payload={"data": data})

    source = GoogleSecretManager("local", client_factory=Client)
    assert source.fetch("KEY").data == b"0"
    assert fetched_in_child(source, "KEY") == b"0"


SERVING = """
from pgp_config.emulator import SecretManagerEmulator

with SecretManagerEmulator("local") as emulator:
    emulator.add("KEY", "canary-4711")
    print(emulator.endpoint, emulator.rest_endpoint, flush=True)
    input()
"""

FORKING = f"""
import os, signal, subprocess, sys
from pgp_config.sources import GoogleSecretManager

server = subprocess.Popen(
    [sys.executable, "-c", {SERVING!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
transport = sys.argv[1]
endpoints = dict(zip(("grpc", "rest"), server.stdout.readline().split()))
source = GoogleSecretManager(
    "local",
    endpoint=endpoints[transport],
    transport=transport,
    attempt_timeout=10,
    total_timeout=20,
)
source.fetch("KEY")
for _ in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        print("child", source.fetch("KEY").data.decode(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", source.fetch("KEY").data.decode(), flush=True)
source.close()
server.communicate("")
"""
