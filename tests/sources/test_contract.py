"""What every source promises, and what those with versions of their own promise besides.

A harness is the test's side of a source: it stores what the source is to find.
"""

import contextlib
import copy
import os
import pickle
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import google_crc32c
import pytest
from google.cloud.secretmanager_v1 import AccessSecretVersionResponse

from pgp_config import (
    DeclarationError,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
)
from pgp_config.emulator import SecretManagerEmulator
from pgp_config.sources import Directory, Environment, GoogleSecretManager, Memory, Source

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

CANARY = b"canary-4711"
NEXT = b"canary-4712"


def everything_shown(error):
    """What a crash reporter with locals would send of an error and all it drags along."""
    inner = error.with_traceback(error.__traceback__.tb_next)  # the test's own frame may know
    report = traceback.TracebackException.from_exception(inner, capture_locals=True)
    return "".join(report.format())


class SourceContract:
    """All sources. A subclass gives the fixture `harness`: `source` and `put(name, data)`."""

    def test_it_is_a_source(self, harness):
        assert isinstance(harness.source, Source)

    def test_it_hands_out_the_bytes_as_they_are_stored(self, harness):
        harness.put("RAW", b"\xff caf\xc3\xa9\r\n")
        assert harness.source.fetch("RAW").data == b"\xff caf\xc3\xa9\r\n"

    def test_a_checksum_that_comes_along_is_right(self, harness):
        harness.put("KEY", CANARY)
        assert harness.source.fetch("KEY").crc32c in (None, google_crc32c.value(CANARY))

    def test_a_secret_that_is_not_there_is_named(self, harness):
        harness.put("OTHER", CANARY)
        with pytest.raises(SecretNotFound) as caught:
            harness.source.fetch("MISSING")
        assert caught.value.secret == "MISSING"
        assert caught.value.remedy

    def test_an_unchanged_secret_keeps_its_version(self, harness):
        harness.put("KEY", CANARY)
        versions = {harness.source.fetch("KEY").version for _ in range(3)}
        assert versions == {1}

    def test_the_next_fetch_sees_a_new_version(self, harness):
        harness.put("KEY", CANARY)
        first = harness.source.fetch("KEY")
        harness.put("KEY", NEXT)
        second = harness.source.fetch("KEY")
        assert (first.data, second.data) == (CANARY, NEXT)
        assert second.version == first.version + 1

    def test_secrets_are_counted_apart(self, harness):
        harness.put("ONE", CANARY)
        harness.put("ONE", NEXT)
        harness.source.fetch("ONE")
        harness.put("TWO", CANARY)
        assert harness.source.fetch("TWO").version == 1

    def test_the_newest_version_can_be_asked_for_by_its_number(self, harness):
        harness.put("KEY", CANARY)
        newest = harness.source.fetch("KEY")
        assert harness.source.fetch("KEY", newest.version) == newest

    def test_a_version_that_is_not_there_is_not_found(self, harness):
        harness.put("KEY", CANARY)
        with pytest.raises(SecretNotFound) as caught:
            harness.source.fetch("KEY", 99)
        assert caught.value.secret == "KEY"
        assert "99" in str(caught.value)

    @pytest.mark.parametrize("version", [0, -1, True, 1.0, "", "1", "newest", None])
    def test_a_version_that_cannot_be_is_refused(self, harness, version):
        harness.put("KEY", CANARY)
        with pytest.raises(DeclarationError, match="Ask for 'latest'"):
            harness.source.fetch("KEY", version)

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../KEY", "a/KEY", "/etc/hostname", ".hidden", "KEY\0", "K\nY"]
    )
    def test_a_name_that_cannot_be_is_not_found(self, harness, name):
        harness.put("KEY", CANARY)
        with pytest.raises(SecretNotFound):
            harness.source.fetch(name)

    def test_many_threads_at_once(self, harness):
        harness.put("KEY", CANARY)
        start = Barrier(8)

        def fetch(_):
            start.wait(30)
            return harness.source.fetch("KEY")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(fetch, range(8)))
        assert {(answer.data, answer.version) for answer in answers} == {(CANARY, 1)}

    def test_closing_it_where_it_can_be_leaves_it_usable(self, harness):
        harness.put("KEY", CANARY)
        close = getattr(harness.source, "close", lambda: None)
        close()
        harness.source.fetch("KEY")
        close()
        close()
        assert harness.source.fetch("KEY").data == CANARY

    # promise 16
    @needs_fork
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_child_fetches_and_so_does_its_parent(self, harness):
        harness.put("KEY", CANARY)
        harness.source.fetch("KEY")
        assert fetched_in_child(harness.source, "KEY") == CANARY
        assert harness.source.fetch("KEY").data == CANARY

    # promise 15
    def test_no_value_shows(self, harness):
        harness.put("KEY", CANARY)
        payload = harness.source.fetch("KEY")
        for shown in (repr(harness.source), f"{harness.source}", repr(payload)):
            assert "canary" not in shown

    # promise 15
    def test_no_value_shows_in_an_error_with_all_its_frames(self, harness):
        harness.put("KEY", CANARY)
        with pytest.raises(SecretNotFound) as caught:
            harness.source.fetch("KEY", 99)
        assert "canary" not in everything_shown(caught.value)

    # promise 15
    def test_it_is_neither_pickled_nor_copied(self, harness):
        harness.put("KEY", CANARY)
        harness.source.fetch("KEY")
        for leak in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="not pickled or copied"):
                leak(harness.source)


class VersionedSourceContract(SourceContract):
    """Sources that keep versions; the harness also has `disable`, `enable`, `destroy` (name, version)."""

    def test_an_older_version_can_be_asked_for(self, harness):
        harness.put("KEY", CANARY)
        harness.put("KEY", NEXT)
        old = harness.source.fetch("KEY", 1)
        assert (old.data, old.version) == (CANARY, 1)

    def test_latest_is_the_newest_in_any_state(self, harness):
        harness.put("KEY", CANARY)
        harness.put("KEY", NEXT)
        harness.disable("KEY", 2)
        with pytest.raises(SecretDisabled) as caught:
            harness.source.fetch("KEY")
        assert caught.value.secret == "KEY"
        assert harness.source.fetch("KEY", 1).data == CANARY

    def test_a_version_that_was_enabled_again_is_readable(self, harness):
        harness.put("KEY", CANARY)
        harness.disable("KEY", 1)
        harness.enable("KEY", 1)
        assert harness.source.fetch("KEY").data == CANARY

    def test_a_destroyed_version_stays_destroyed(self, harness):
        harness.put("KEY", CANARY)
        harness.destroy("KEY", 1)
        for version in ("latest", 1):
            with pytest.raises(SecretDisabled):
                harness.source.fetch("KEY", version)
        harness.put("KEY", NEXT)
        assert harness.source.fetch("KEY").version == 2

    # promise 15
    def test_no_value_shows_in_the_error_for_a_disabled_version(self, harness):
        harness.put("KEY", CANARY)
        harness.source.fetch("KEY")
        harness.disable("KEY", 1)
        with pytest.raises(SecretDisabled) as caught:
            harness.source.fetch("KEY")
        assert "canary" not in everything_shown(caught.value)


class GuardedSourceContract:
    """Sources that can refuse an identity; the harness also has `forbid(name)`, a context manager."""

    def test_a_secret_that_may_not_be_read_says_so(self, harness):
        harness.put("KEY", CANARY)
        with harness.forbid("KEY"), pytest.raises(SecretForbidden) as caught:
            harness.source.fetch("KEY")
        assert caught.value.secret == "KEY"
        assert caught.value.remedy
        assert harness.source.fetch("KEY").data == CANARY


def fetched_in_child(source, name):
    """The bytes that a forked child fetches, or its error; nothing if it hangs: an alarm ends it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        import signal

        signal.alarm(20)
        try:
            os.write(writing, source.fetch(name).data)
        except BaseException as error:  # noqa: BLE001  told to the parent
            os.write(writing, repr(error).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        data = answer.read()
    os.waitpid(child, 0)
    return data


class MemoryHarness:
    def __init__(self):
        self.source = Memory()
        self.put = self.source.add
        self.disable = self.source.disable
        self.enable = self.source.enable
        self.destroy = self.source.destroy


class TestMemory(VersionedSourceContract):
    @pytest.fixture
    def harness(self):
        return MemoryHarness()


class EnvironmentHarness:
    def __init__(self):
        self._environ = {}
        self.source = Environment("SPLIT2_", self._environ)

    def put(self, name, data):
        self._environ[f"SPLIT2_{name}"] = os.fsdecode(data)


class TestEnvironment(SourceContract):
    @pytest.fixture
    def harness(self):
        return EnvironmentHarness()


class DirectoryHarness:
    def __init__(self, path, monkeypatch):
        self._path = path
        self._monkeypatch = monkeypatch
        self.source = Directory(path)

    def put(self, name, data):
        self._path.joinpath(name).write_bytes(data)

    @contextlib.contextmanager
    def forbid(self, name):
        # Taking the mode's bits away would not keep root out, and tests often run as root.
        def refuse(path, *_, really=os.open):
            if os.fspath(path) == os.fspath(self._path / name):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return really(path, *_)  # pragma: no cover  # nobody else opens a file just then

        with self._monkeypatch.context() as patched:
            patched.setattr(os, "open", refuse)
            yield


class TestDirectory(SourceContract, GuardedSourceContract):
    @pytest.fixture
    def harness(self, tmp_path, monkeypatch):
        return DirectoryHarness(tmp_path, monkeypatch)


class GoogleHarness:
    def __init__(self, emulator, transport):
        self._emulator = emulator
        endpoint = emulator.endpoint if transport == "grpc" else emulator.rest_endpoint
        self.source = GoogleSecretManager(emulator.project, endpoint=endpoint, transport=transport)
        self.put = emulator.add
        self.disable = emulator.disable
        self.enable = emulator.enable
        self.destroy = emulator.destroy

    @contextlib.contextmanager
    def forbid(self, name):
        self._emulator.deny(name)
        yield
        self._emulator.allow(name)


class TestGoogle(VersionedSourceContract, GuardedSourceContract):
    @pytest.fixture(params=["grpc", "rest"])
    def transport(self, request):
        return request.param

    @pytest.fixture
    def harness(self, transport):
        with SecretManagerEmulator("local") as emulator:
            harness = GoogleHarness(emulator, transport)
            yield harness
            harness.source.close()

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
