"""Each fault of a source, on the local Secret Manager and with Google's client.

Every row asserts that no read fails which the promises cover, that none is older than its bound, and that
the other secrets notice nothing. The cache's clock is a fake one; the source's deadlines are short.
"""

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    Freshness,
    GoogleSecretManager,
    RejectedVersion,
    SecretContainer,
    SecretForbidden,
    SecretUnavailable,
    StartupError,
    StaticSecret,
    request_scope,
)
from pgp_config.emulator.controls import CODES
from pgp_config.events import FetchFailed, LatestDisabled, ServedStale, VersionRejected
from pgp_config.sources import retries
from pgp_config.testing.history import Bounds, Change, History, Read

KEY, OTHER, SIGNING = "FAULT_KEY", "FAULT_OTHER", "FAULT_SIGNING_KEY"
MAX_AGE, MAX_STALE = 5.0, 60.0
BOUNDS = dict.fromkeys([KEY, OTHER], Bounds(MAX_AGE, MAX_STALE))


class Faulty(SecretContainer):
    key = DynamicSecret(KEY, int, freshness=Freshness(MAX_AGE, MAX_STALE))
    other = DynamicSecret(OTHER, int, freshness=Freshness(MAX_AGE, MAX_STALE))
    signing = StaticSecret(SIGNING, int)


class Drill:
    """A loaded container on a local Secret Manager, and the history of what is read from it."""

    def __init__(self, manager, make, clock, events, **timeouts):
        self.manager, self.clock, self.events = manager, clock, events
        self.history = History()
        self.newest = {}
        for name in (KEY, OTHER, SIGNING):
            self.rotate(name)
        self.source = GoogleSecretManager("local", endpoint=manager.endpoint, **timeouts)
        self.secrets = make(Faulty, source=self.source)
        self.secrets._cache.budget = 60
        self.secrets.load()

    def rotate(self, name=KEY, value=None):
        """Add a version whose value is its number, or what is given."""
        number = self.newest.get(name, 0) + 1
        self.manager.add(name, str(number) if value is None else value)
        self.newest[name] = number
        if value is None:
            self.now_holds(name, number)
        return number

    def now_holds(self, name, number):
        """Note which version is the newest good one from now on."""
        self.history.add(Change(name, number, self.clock.now, self.clock.now))

    def read(self, after=MAX_AGE + 0.1):
        """Let time pass, then read everything in a scope; the version of the key."""
        self.clock.advance(after)
        scope, now = self.history.new_scope(), self.clock.now
        with request_scope():
            for name, provider in ((KEY, self.secrets.key), (OTHER, self.secrets.other)):
                before = len(self.events)
                version = provider()
                excused = (ServedStale, LatestDisabled)
                stale = any(isinstance(event, excused) for event in self.events[before:])
                self.history.add(Read(scope, name, version, now, now, now, stale=stale))
                self.settle()
                if name == KEY:
                    key = version
            assert self.secrets.signing() == 1
        return key

    def rotations_read(self):
        """Read while both secrets are rotated at every third read; the versions of the key seen."""
        seen = set()
        for step in range(24):
            if step % 3 == 0:
                self.rotate(), self.rotate(OTHER)
            seen.add(self.read())
        return seen

    def heal(self):
        """End the faults; from now on the source answers in time, however busy the machine is."""
        self.manager.start()
        self.manager.clear_faults()
        self.source._attempt, self.source._total = 30.0, 60.0
        self.source.fetch(KEY)

    def settle(self):
        for entry in self.secrets._cache._entries.values():
            while (flight := entry.flight) is not None:
                flight.outcome.result(30)

    def check(self, *, other=True):
        """No promise was broken, and the other secret noticed nothing."""
        assert [str(violation) for violation in self.history.violations(BOUNDS)] == []
        if other:
            kinds = (ServedStale, FetchFailed, VersionRejected, LatestDisabled)
            assert [e for e in self.events if isinstance(e, kinds) and e.secret == OTHER] == []


@pytest.fixture
def start(secret_manager, make, clock, events, monkeypatch):
    """A function that makes a drill whose source has the given deadlines."""
    monkeypatch.setattr(retries, "SHORTEST_BACKOFF", 0.001)
    monkeypatch.setattr(retries, "LONGEST_BACKOFF", 0.002)
    yield lambda **timeouts: Drill(secret_manager, make, clock, events, **timeouts)
    secret_manager.clear_faults()


@pytest.fixture
def drill(start):
    """One whose source answers in time, however busy the machine is."""
    return start(attempt_timeout=30, total_timeout=60)


@pytest.fixture
def hasty(start):
    """One that soon gives up a source which does not answer."""
    return start(attempt_timeout=0.2, total_timeout=0.3)


def test_source_down_for_the_whole_run(hasty):
    hasty.manager.stop()
    for _ in range(9):
        assert hasty.read() == 1
    hasty.check(other=False)
    assert len(hasty.events.of(ServedStale)) == 18
    with pytest.raises(SecretUnavailable, match=f"{KEY} in Faulty: .* past max_stale"):
        hasty.read(MAX_STALE)


def test_source_down_at_a_cold_start(hasty, make):
    """Every secret is named, each was asked for once, and nothing is tried for longer than the budget."""
    hasty.manager.stop()
    cold = make(Faulty, source=hasty.source)
    before = len(hasty.events.of(FetchFailed))
    with pytest.raises(StartupError) as caught:
        cold.load()
    assert all(name in str(caught.value) for name in (KEY, OTHER, SIGNING))
    assert len(hasty.events.of(FetchFailed)) - before == 3


def test_source_down_and_up(hasty):
    hasty.manager.stop()
    hasty.rotate(), hasty.rotate(OTHER)
    for _ in range(3):
        assert hasty.read() == 1
    hasty.heal()
    assert 2 in [hasty.read() for _ in range(4)]
    hasty.rotate()
    assert hasty.read() == 3
    hasty.check(other=False)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("code", [code for code in CODES if code != "FAILED_PRECONDITION"])
def test_thirty_percent_errors(drill, code, seed):
    drill.manager._random.seed(seed)
    drill.manager.inject(code, secret=KEY, chance=0.3)
    assert len(drill.rotations_read()) > 2, "hardly any version got through"
    drill.check()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_thirty_percent_of_versions_called_disabled(drill, seed):
    """That is a statement, and believed: a version may be taken back, and is found again afterwards."""
    drill.manager._random.seed(seed)
    drill.manager.inject("FAILED_PRECONDITION", secret=KEY, chance=0.3)
    assert len(drill.rotations_read()) > 2, "hardly any version got through"
    drill.manager.clear_faults()
    assert [drill.read(61.0), drill.read()][-1] == drill.newest[KEY]
    broken = {violation.read.secret for violation in drill.history.violations(BOUNDS)}
    assert broken <= {KEY}


def test_five_seconds_of_latency(hasty):
    hasty.manager.delay(5.0, KEY)
    hasty.rotate(), hasty.rotate(OTHER)
    for _ in range(4):
        assert hasty.read() == 1
    hasty.heal()
    assert [hasty.read(40.0), hasty.read()][-1] == 2
    hasty.check()


def test_a_wrong_checksum(drill):
    assert drill.read() == 1
    drill.manager.corrupt(KEY)
    drill.rotate(KEY, "2")
    for _ in range(3):
        assert drill.read() == 1
    assert {event.version for event in drill.events.of(VersionRejected)} == {2}
    drill.manager.clear_faults()
    drill.now_holds(KEY, 2)
    assert drill.read() == 2
    drill.check()


def test_a_wrong_type(drill):
    drill.rotate(KEY, "two")
    for _ in range(3):
        assert drill.read() == 1
    assert [event.version for event in drill.events.of(VersionRejected)] == [2]
    drill.rotate()
    assert drill.read() == 3
    drill.check()


def test_the_newest_version_disabled(drill):
    drill.rotate()
    assert drill.read() == 2
    drill.manager.disable(KEY, 2)
    drill.now_holds(KEY, 1)
    for _ in range(3):
        assert drill.read() == 1
    assert {event.version for event in drill.events.of(LatestDisabled)} == {1}
    drill.manager.enable(KEY, 2)
    drill.now_holds(KEY, 2)
    assert drill.read() == 2
    drill.manager.destroy(KEY, 2)
    drill.now_holds(KEY, 1)
    assert drill.read() == 1
    drill.check()


def test_quota_exceeded(hasty):
    hasty.manager.inject("RESOURCE_EXHAUSTED", secret=KEY)
    before = len(hasty.events.of(FetchFailed))
    for _ in range(50):
        assert hasty.read(after=1.0) == 1
    failed = len(hasty.events.of(FetchFailed)) - before
    assert failed <= 6, "the pause after a failure does not grow"
    hasty.heal()
    hasty.rotate()
    assert [hasty.read(), hasty.read(40.0)][-1] == 2
    hasty.check()


def test_access_revoked(drill):
    drill.manager.deny(KEY)
    for _ in range(9):
        assert drill.read() == 1
    assert isinstance(drill.events.of(FetchFailed)[0].error, SecretForbidden)
    drill.check()
    with pytest.raises(SecretUnavailable, match="this identity may not read it"):
        drill.read(MAX_STALE)


def test_a_lagging_latest(drill):
    drill.rotate()
    assert drill.read() == 2
    drill.manager.lag(KEY, 1)
    for _ in range(3):
        assert drill.read() == 2
    drill.check()


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_jumps_of_the_wall_clock(source, make, clock, monkeypatch, jump):
    """On a source in memory: gRPC in Python computes its deadlines from the wall clock that is faked."""
    for name in (KEY, OTHER, SIGNING):
        source.add(name, "1")
    secrets = make(Faulty)
    secrets.load()
    assert secrets.key() == 1
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    clock.advance(1.0)
    assert secrets.key() == 1
    assert len(source.calls) == 3
    source.add(KEY, "2")
    clock.advance(MAX_AGE)
    assert secrets.key() == 2


def test_jumps_of_the_monotonic_clock(drill):
    """A frozen process: minutes pass between two requests, or days."""
    for seconds in (600.0, 86_400.0 * 30):
        newest = drill.rotate()
        assert drill.read(after=seconds) == newest
    drill.check()


# -- payloads ------------------------------------------------------------------------------------

LIMIT = 64 * 1024

payloads = st.one_of(
    st.binary(min_size=1, max_size=LIMIT),
    st.text(min_size=1, max_size=300).map(str.encode),
    st.tuples(st.sampled_from([b"\xef\xbb\xbf", b"\x00", b"\xff\xfe", b""]), st.binary(max_size=40)).map(b"".join),
    st.tuples(st.text(min_size=1, max_size=40).map(str.encode), st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r"])).map(b"".join),
).filter(bool)  # fmt: skip


class Anything(SecretContainer):
    text = DynamicSecret("FAULT_TEXT", str, freshness=EVERY_REQUEST)
    data = DynamicSecret("FAULT_DATA", bytes, freshness=EVERY_REQUEST)


@pytest.fixture
def anything(secret_manager, make):
    """A function that stores bytes as two secrets, and the container that reads these."""
    source = GoogleSecretManager(
        "local", endpoint=secret_manager.endpoint, attempt_timeout=30, total_timeout=60
    )
    secrets = make(Anything, source=source)
    secrets._cache.budget = 60

    def store(data):
        secret_manager.add("FAULT_TEXT", data)
        secret_manager.add("FAULT_DATA", data)
        return secrets

    store(b"first").load()
    return store


def text_of(data):
    """What a text secret is: UTF-8, one newline at the end stripped; None if it is no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    for newline in ("\r\n", "\n"):
        if text.endswith(newline):
            text = text.removesuffix(newline)
            break
    return text if text.strip() else None


@example(data=b"\x00")
@example(data=b"a\x00b")
@example(data=b"\xef\xbb\xbfkey")
@example(data=b"key\r\n")
@example(data=b"key\n\n")
@example(data=b"\n")
@example(data=b"\xff")
@example(data=b"key\xc3")
@example(data=b"\xff" * LIMIT)
@example(data=b"x" * LIMIT)
@given(data=payloads)
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_payload_of_any_bytes(anything, data):
    with request_scope():
        before = anything(b"good").text()
    secrets = anything(data)
    with request_scope():
        if b"PRIVATE KEY" not in data:
            assert secrets.data() == data
        text = text_of(data)
        assert secrets.text() == (before if text is None else text)


@pytest.mark.parametrize("data", [b"\xff", b"\n", b"\x00\xff"])
def test_a_bad_payload_at_a_cold_start_is_an_error_without_the_value(secret_manager, make, data):
    secret_manager.add("FAULT_TEXT", data)
    secret_manager.add("FAULT_DATA", data)
    source = GoogleSecretManager("local", endpoint=secret_manager.endpoint)
    with pytest.raises(RejectedVersion, match="FAULT_TEXT in Anything: version 1 is"):
        make(Anything, source=source).text()
