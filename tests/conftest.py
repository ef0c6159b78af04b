"""Shared doubles, and detectors of what a test left behind."""

import logging
import threading

import pytest

from pgp_config import SecretNotFound, default_observers
from pgp_config.redaction import redactor
from pgp_config.scopes import open_scope
from pgp_config.secret import Payload
from pgp_config.testing import FakeClock


class Hold:
    """One held-back fetch: it has `entered`, and returns after `release()`."""

    def __init__(self):
        self.entered = threading.Event()
        self._released = threading.Event()

    def release(self):
        self._released.set()

    def pause(self):
        self.entered.set()
        assert self._released.wait(30), "a held fetch was never released"


class FakeSource:
    """Versions, faults and held calls by name; a log of every call."""

    def __init__(self):
        self.calls = []
        self.closed = 0
        self._versions = {}
        self._faults = {}
        self._holds = {}
        self._lagging = {}
        self._in_flight = {}
        self._most = {}
        self._condition = threading.Condition()

    def add(self, name, value):
        data = value.encode() if isinstance(value, str) else value
        return self.put(name, Payload(data, len(self._versions.get(name, {})) + 1))

    def put(self, name, payload):
        self._versions.setdefault(name, {})[payload.version] = payload
        return payload.version

    def fail(self, name, error, version=None):
        """Raise this for a version number, or for every call; None ends it."""
        self._faults[name, version] = error

    def lag(self, name, version):
        """Have `latest` answer with an older version."""
        self._lagging[name] = version

    def hold(self, name):
        """Hold back the next call."""
        hold = self._holds[name] = Hold()
        return hold

    def count(self, name):
        return sum(called == name for called, _ in self.calls)

    def wait_for_calls(self, count):
        """Return once there were so many, and each was answered."""
        with self._condition:
            assert self._condition.wait_for(lambda: self._is_through(count), 30)

    def _is_through(self, count):
        return len(self.calls) >= count and not any(self._in_flight.values())

    def most_in_flight(self, name):
        return self._most[name]

    def fetch(self, name, version="latest"):
        with self._condition:
            self.calls.append((name, version))
            self._in_flight[name] = self._in_flight.get(name, 0) + 1
            self._most[name] = max(self._most.get(name, 0), self._in_flight[name])
            hold = self._holds.pop(name, None)
        try:
            if hold is not None:
                hold.pause()
            return self._answer(name, version)
        finally:
            with self._condition:
                self._in_flight[name] -= 1
                self._condition.notify_all()

    def _answer(self, name, version):
        for key in ((name, version), (name, None)):
            if self._faults.get(key) is not None:
                raise self._faults[key]
        versions = self._versions.get(name)
        if not versions:
            raise SecretNotFound("does not exist", remedy="Create it.", secret=name)
        if version == "latest":
            version = self._lagging.get(name, max(versions))
        if version not in versions:
            raise SecretNotFound("has no such version", remedy="Add it.", secret=name)
        return versions[version]

    def close(self):
        self.closed += 1


class Events(list):
    """An observer that keeps what it is told."""

    def __call__(self, event):
        self.append(event)

    def of(self, kind):
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def source():
    return FakeSource()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def make(source, clock, events):
    """Containers on the doubles; closed after the test."""
    made = []

    def make_one(container, **options):
        defaults = {
            "source": source,
            "clock": clock,
            "chance": lambda: 0.0,
            "observers": [events],
        }
        made.append(container(**{**defaults, **options}))
        return made[-1]

    yield make_one
    for container in made:
        container.close()


@pytest.fixture(autouse=True)
def _leaves_nothing_behind():
    loggers = [logging.getLogger(), logging.getLogger("pgp_config")]
    before = [(list(x.handlers), list(x.filters), x.level) for x in loggers]
    observers, remembered = list(default_observers), redactor.names
    yield
    assert open_scope() is None, "the test left a scope open"
    live = [t.name for t in threading.enumerate() if t.name.startswith("pgp-config-")]
    assert live == [], "the test left threads running: close() the container"
    assert [(list(x.handlers), list(x.filters), x.level) for x in loggers] == before
    assert default_observers == observers
    redactor.forget(*(redactor.names - remembered))
