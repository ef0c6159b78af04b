"""Promise 18 over histories: rotations, rollbacks, disabled versions, outages and reads in any order."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgp_config import (
    Freshness,
    KeyRing,
    Memory,
    SecretContainer,
    SecretUnavailable,
    cache,
    request_scope,
)

NAME = "HISTORY_RING"
GRACE, MAX_AGE, MAX_STALE = 60, 5, 10_000


class Ring(SecretContainer):
    keys = KeyRing(NAME, grace=GRACE, freshness=Freshness(MAX_AGE, MAX_STALE))


class Failing(Memory):
    down = False

    def fetch(self, name, version="latest"):
        if self.down:
            raise SecretUnavailable("is down", remedy="Wait.")
        return super().fetch(name, version)


class Model:
    """What the source holds, and since when this process has known what it serves."""

    def __init__(self):
        self.now = 1000.0
        self.source = Failing({NAME: "k1"})
        self.newest = 1
        self.changed_at = {1: self.now}
        self.enabled = {1: True}
        self.ever_down = False
        self.served = 0
        self.begun = {}
        self.secrets = Ring(
            source=self.source, clock=lambda: self.now, chance=lambda: 0.0, observers=[]
        )

    def do(self, what, number):
        self.now += 0.001
        version = max(1, self.newest - number % 3)
        if what == "rotate":
            self.newest = self.source.add(NAME, f"k{self.newest + 1}")
            self.enabled[self.newest], self.changed_at[self.newest] = True, self.now
        elif what == "disable":
            self.switch(version, enabled=False)
        elif what == "enable":
            for each in self.enabled:
                self.switch(each, enabled=True)
        elif what in ("fail", "heal"):
            self.source.down = what == "fail"
            self.ever_down |= self.source.down
        elif what == "wait":
            self.now += [0.5, 4.5, 6.0, 30.0, 61.0][number % 5]
        else:
            self.read(refreshes=what == "refresh")

    def switch(self, version, *, enabled):
        if self.enabled[version] != enabled:
            (self.source.enable if enabled else self.source.disable)(NAME, version)
            self.enabled[version], self.changed_at[version] = enabled, self.now

    def read(self, *, refreshes):
        """Read, note what the process serves now, and compare the keys with what was promised."""
        with request_scope():
            try:
                if refreshes:
                    self.secrets.keys.refresh()
                keys = self.secrets.keys()
            except SecretUnavailable:
                keys = None
        self.note_served(None if keys is None else keys.version)
        if keys is not None:
            self.check(keys)
        self.settle()

    def settle(self):
        (entry,) = self.secrets._cache._entries.values()
        flight = entry.flight
        if flight is not None:
            flight.outcome.result(10)
        self.note_served(None if entry.known is None else entry.known.version)

    def note_served(self, version):
        if version is None or version == self.served:
            return
        if version > self.served:
            self.begun[version] = self.now
        self.begun.setdefault(version, min(self.begun.values()))
        self.served = version

    def check(self, keys):
        before = keys.version - 1
        assert keys.previous_version in (None, before)
        ends = self.begun[keys.version] + GRACE
        unchanged_for = self.now - self.changed_at.get(before, -1e9)
        if keys.previous is not None:
            assert keys.previous.get_secret_value() == f"k{before}"
            assert self.now < ends, "the grace was over"
            assert self.enabled[before] or self.ever_down or unchanged_for <= MAX_AGE
        elif before >= 1 and self.enabled[before] and unchanged_for > MAX_AGE:
            assert self.ever_down or self.now >= ends, "it verifies, and is left out"


OPERATIONS = [
    "rotate",
    "disable",
    "enable",
    "fail",
    "heal",
    "heal",
    "wait",
    "wait",
    "read",
    "read",
]


@pytest.fixture(autouse=True)
def no_limit_to_the_search(monkeypatch):
    monkeypatch.setattr(cache, "REACH", 1000)


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(
    st.lists(
        st.tuples(st.sampled_from([*OPERATIONS, "refresh"]), st.integers(0, 30)),
        min_size=5,
        max_size=40,
    )
)
def test_no_order_of_events_breaks_a_ring(operations):
    model = Model()
    try:
        model.do("read", 0)
        for what, number in operations:
            model.do(what, number)
            model.do("read", 0)
    finally:
        model.secrets.close()


@pytest.mark.parametrize(
    "fault",
    ["a rollback begins a new grace", "a disabled version stays", "the grace has no end"],
)
def test_the_search_finds_planted_faults(fault, monkeypatch):
    engine = cache.Cache
    if fault == "a rollback begins a new grace":
        monkeypatch.setattr(
            engine, "_end_of_overlap", lambda self, _entry, _known: self.clock() + GRACE
        )
    elif fault == "a disabled version stays":
        monkeypatch.setattr(cache, "_is_lasting", lambda _error: False)
    else:
        monkeypatch.setattr(engine, "_end_of_overlap", lambda *_: 1e9)
    with pytest.raises(AssertionError):
        test_no_order_of_events_breaks_a_ring()
