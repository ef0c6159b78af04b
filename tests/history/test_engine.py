"""Promises 1, 4 and 7 over histories: any order of events on a fake clock, and a crowd on the real one."""

import asyncio
import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from pgp_config import (
    DynamicSecret,
    Freshness,
    Memory,
    SecretContainer,
    SecretDisabled,
    SecretEvent,
    SecretNotFound,
    SecretUnavailable,
    cache,
    request_scope,
)
from pgp_config.events import ServedStale
from pgp_config.scopes import Scope
from pgp_config.secret import Payload
from pgp_config.testing.history import Bounds, Change, History, Read
from pgp_config.testing.recorder import ReadRecorder

QUICK, STRICT, SLOW = "HISTORY_QUICK", "HISTORY_STRICT", "HISTORY_SLOW"
NAMES = [QUICK, STRICT, SLOW]
BOUNDS = {QUICK: Bounds(5.0, 120.0), STRICT: Bounds(0.0, 120.0), SLOW: Bounds(30.0, 120.0)}

WHAT = ["rotate to a bad version", "disable", "enable", "lag", "catch up", "fail", "heal", "heal"]

KINDS = ["SECRET_VERSION_ADD", "SECRET_VERSION_ADD", "SECRET_VERSION_DISABLE", "SECRET_DELETE"]

secret_names = st.sampled_from(NAMES)
names_to_read = st.lists(secret_names, min_size=1, max_size=4)


class Fleet(SecretContainer):
    quick = DynamicSecret(QUICK, int, freshness=Freshness(5, 120))
    strict = DynamicSecret(STRICT, int, freshness=Freshness(0, 120))
    slow = DynamicSecret(SLOW, int, freshness=Freshness(30, 120))


class Hold:
    """One call that is held back: before the source answers, or with its answer in hand."""

    def __init__(self, *, answered):
        self.answered = answered
        self.entered = threading.Event()
        self._released = threading.Event()

    def pause(self):
        self.entered.set()
        assert self._released.wait(30)

    def release(self):
        self._released.set()


class SteppedSource:
    """As Secret Manager: the newest version in any state is `latest`, unless that lags."""

    def __init__(self):
        self.versions = {name: [] for name in NAMES}
        self.disabled = set()
        self.lagging = {}
        self.failing = set()
        self.holds = {}
        self.in_flight = dict.fromkeys(NAMES, 0)
        self._lock = threading.Lock()

    def fetch(self, name, version="latest"):
        with self._lock:
            self.in_flight[name] += 1
            assert self.in_flight[name] == 1, "two calls in flight for one secret"
        hold = self.holds.get(name)
        try:
            if hold is not None and not hold.answered:
                hold.pause()
            return self._answer(name, version)
        finally:
            if hold is not None and hold.answered:
                hold.pause()
            self.in_flight[name] -= 1

    def _answer(self, name, version):
        if name in self.failing:
            raise SecretUnavailable("is down", remedy="Wait.")
        number = self.latest(name) if version == "latest" else version
        if number > len(self.versions[name]):
            raise SecretNotFound("has no such version", remedy="Add it.")
        if (name, number) in self.disabled:
            raise SecretDisabled("is disabled", remedy="Enable it.")
        return Payload(self.versions[name][number - 1], number)

    def latest(self, name):
        return min(len(self.versions[name]), self.lagging.get(name, 10**6))

    def good(self, name):
        """The numbers that can be served."""
        numbers = range(1, len(self.versions[name]) + 1)
        return [n for n in numbers if self.is_good(name, n) and (name, n) not in self.disabled]

    def is_good(self, name, number):
        return self.versions[name][number - 1] != b"bad"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Engine(RuleBasedStateMachine):
    """Rotates, lags, fails, disables, pushes, refreshes and reads in any order."""

    def __init__(self):
        super().__init__()
        self.source, self.clock, self.history = SteppedSource(), Clock(), History()
        self.stale = []
        self.scopes = []
        for name in NAMES:
            self.source.versions[name].append(b"1")
            self.changed(name)
        self.secrets = Fleet(
            source=self.source, clock=self.clock, chance=lambda: 0.0, observers=[self.observe]
        )
        self.providers = dict(
            zip(NAMES, [self.secrets.quick, self.secrets.strict, self.secrets.slow], strict=True)
        )
        self.secrets.load()

    def observe(self, event):
        if isinstance(event, ServedStale):
            self.stale.append(event.secret)

    # -- the source --------------------------------------------------------------------------

    def changed(self, name):
        """Note what the source holds now."""
        good, latest = self.source.good(name), self.source.latest(name)
        before = [c for c in self.history._changes if c.secret == name]
        now = self.clock.now
        if not self.source.is_good(name, latest):
            # A bad newest version: whatever was good before it may stay.
            low, high = min(c.newest for c in before), max(c.ceiling for c in before)
            change = Change(name, low, now, now, highest=max([high, *good]))
        elif latest in good:
            change = Change(name, latest, now, now, highest=max(good))
        elif good:
            change = Change(name, max(good), now, now)
        else:
            change = Change(name, 10**6, now, now)  # nothing can be served afresh
        self.history.add(change)

    @rule(names=st.sampled_from([NAMES, [QUICK, STRICT], [SLOW]]))
    def rotate(self, names):
        for name in names:
            self.tick()
            versions = self.source.versions[name]
            versions.append(b"%d" % (len(versions) + 1))
            self.changed(name)

    @rule(name=secret_names, what=st.sampled_from(WHAT), back=st.integers(0, 2))
    def change(self, name, what, back):
        """Something happens to the source."""
        self.tick()
        source, versions = self.source, self.source.versions[name]
        earlier = max(1, len(versions) - back)
        if what == "rotate to a bad version":
            versions.append(b"bad")
        elif what == "disable":
            source.disabled.add((name, earlier))
        elif what == "enable":
            source.disabled -= {key for key in source.disabled if key[0] == name}
        elif what == "lag":
            source.lagging[name] = earlier
        elif what == "catch up":
            source.lagging.pop(name, None)
        elif what == "fail":
            source.failing.add(name)
        else:
            source.failing.discard(name)
        self.changed(name)

    @rule(name=secret_names, kind=st.sampled_from(KINDS), back=st.integers(-2, 2))
    def push(self, name, kind, back):
        """A push comes: true or forged, late, twice or out of order."""
        self.tick()
        number = max(1, len(self.source.versions[name]) - back)
        self.secrets.announce(SecretEvent(kind, name, number, "1"))
        self.settle()

    @rule(name=secret_names, answered=st.booleans())
    def hold_or_release(self, name, answered):
        """Hold back the next calls for a secret, or let the held one go."""
        hold = self.source.holds.pop(name, None)
        if hold is None:
            self.source.holds[name] = Hold(answered=answered)
        else:
            hold.release()
            self.settle()

    @rule(seconds=st.sampled_from([0.5, 4.1, 5.1, 5.1, 5.1, 25.0, 31.0, 31.0, 200.0]))
    def advance(self, seconds):
        self.clock.now += seconds

    # -- readers -----------------------------------------------------------------------------

    @initialize()
    def open(self):
        self.tick()
        context, scope = contextvars.Context(), request_scope()
        context.run(scope.__enter__)
        self.scopes.append((self.history.new_scope(), self.clock.now, context, scope))

    @rule(which=st.integers(0, 2))
    def replace_scope(self, which):
        """Open a scope; the oldest ones end."""
        self.open()
        if len(self.scopes) > which + 1:
            _, _, context, scope = self.scopes.pop(0)
            context.run(scope.__exit__, None, None, None)

    @rule(names=names_to_read, which=st.integers(-3, -1))
    def read(self, names, which):
        number, opened, context, _ = self.scopes[max(which, -len(self.scopes))]
        for name in names:
            self.tick()
            self.note(name, number, opened, context)

    @rule(names=names_to_read)
    def read_outside(self, names):
        for name in names:
            self.tick()
            self.note(name, self.history.new_scope(), self.clock.now, contextvars.Context())

    @rule(name=secret_names, which=st.integers(-3, -1))
    def refresh(self, name, which):
        number, opened, context, _ = self.scopes[max(which, -len(self.scopes))]
        self.tick()
        provider = self.providers[name]

        def look_again():
            provider.refresh()
            return provider()

        self.note(name, number, opened, context, look_again, moved=True)

    def note(self, name, number, opened, context, act=None, *, moved=False):
        """Read, note it, and compare the whole history with what was promised."""
        self.stale.clear()
        # Nobody releases a held call while this thread waits: do not wait.
        self.secrets._cache.budget = 0 if name in self.source.holds else 30
        now = self.clock.now
        try:
            version = context.run(act or self.providers[name])
        except SecretUnavailable:
            (age,) = [row.age for row in self.secrets.status() if row.name == name]
            assert age is None or age > BOUNDS[name].max_stale
        else:
            stale = name in self.stale
            self.history.add(Read(number, name, version, opened, now, now, stale, moved))
        self.settle()
        broken = self.history.violations(BOUNDS)
        assert not broken, "\n".join(map(str, broken))

    # -- steps -------------------------------------------------------------------------------

    def tick(self):
        """So that no two events are at the same moment."""
        self.clock.now += 0.001

    def settle(self):
        """Wait until every flight has landed or is held."""
        entries = self.secrets._cache._entries
        for spec, entry in entries.items():
            while (flight := entry.flight) is not None:
                hold = self.source.holds.get(spec.name)
                if hold is not None:
                    assert hold.entered.wait(30)
                    break
                flight.outcome.result(30)

    def teardown(self):
        for hold in self.source.holds.values():
            hold.release()
        self.source.holds.clear()
        for _, _, context, scope in self.scopes:
            context.run(scope.__exit__, None, None, None)
        self.secrets.close()


def search(examples, steps=40):
    """Run the machine; a failure is neither shrunk nor kept."""
    run_state_machine_as_test(
        Engine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def no_limit_to_the_search(monkeypatch):
    monkeypatch.setattr(cache, "REACH", 1000)


@pytest.mark.usefixtures("no_limit_to_the_search")
def test_no_order_of_events_breaks_a_promise():
    search(200)


FAULTS = {
    "a scope pins no generation": (
        Scope,
        "keep",
        lambda self, _key, spec, known, cache: self.pop(cache, None) and known.value,
    ),
    "whatever is known is fresh": (cache.Need, "is_met_by", lambda _self, _fetch: True),
    "a lagging latest is followed": (
        cache.Cache,
        "_candidates",
        lambda _self, _entry, _known, payload: [payload],
    ),
    "an outage has no end": (
        cache.Cache,
        "_last_good",
        lambda _self, entry, _error=None: entry.known,
    ),
}


@pytest.mark.usefixtures("no_limit_to_the_search")
@pytest.mark.parametrize("fault", FAULTS)
def test_the_search_catches_an_engine_that_breaks_one(monkeypatch, fault):
    monkeypatch.setattr(*FAULTS[fault])
    with pytest.raises((AssertionError, ExceptionGroup)):
        search(300)


# -- a crowd, on the real clock ------------------------------------------------------------------


class Crowd(SecretContainer):
    quick = DynamicSecret(QUICK, int, freshness=Freshness(0.02, 120))
    strict = DynamicSecret(STRICT, int, freshness=Freshness(0, 120))
    slow = DynamicSecret(SLOW, int, freshness=Freshness(0.2, 120))


CROWD = {QUICK: Bounds(0.02, 120.0), STRICT: Bounds(0.0, 120.0), SLOW: Bounds(0.2, 120.0)}
READS, SCOPE_READS = 100_000, 10


class Rotation:
    """Adds versions to a Memory for as long as it is open, and notes them."""

    def __init__(self, history):
        self.source = Memory()
        self._history = history
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        for name in NAMES:
            self._rotate(name, 1)

    def _run(self):
        number = 1
        while not self._over.wait(0.002):
            number += 1
            for name in NAMES:
                self._rotate(name, number)

    def _rotate(self, name, number):
        began = time.monotonic()
        self.source.add(name, str(number))
        self._history.add(Change(name, number, began, time.monotonic()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def read_in_threads(secrets, scopes):
    for number in range(scopes):
        with request_scope():
            for n in range(SCOPE_READS):
                (secrets.quick, secrets.strict, secrets.slow)[(number + n) % 3]()


async def read_in_tasks(secrets, scopes):
    providers = (secrets.quick, secrets.strict, secrets.slow)
    for number in range(scopes):
        async with request_scope(), asyncio.TaskGroup() as group:
            for n in range(SCOPE_READS):
                group.create_task(providers[(number + n) % 3].async_())


async def read_in_many_tasks(secrets, tasks, scopes):
    await asyncio.gather(*(read_in_tasks(secrets, scopes) for _ in range(tasks)))


def test_a_hundred_thousand_reads_under_rotation_break_no_promise():
    history = History()
    share = READS // 2 // SCOPE_READS
    with (
        Rotation(history) as rotation,
        ReadRecorder(history.add) as recorder,
        ThreadPoolExecutor(5) as pool,
    ):
        secrets = Crowd(source=rotation.source, observers=[recorder])
        secrets.load()
        readers = [pool.submit(read_in_threads, secrets, share // 4) for _ in range(4)]
        readers.append(pool.submit(asyncio.run, read_in_many_tasks(secrets, 50, share // 50)))
        for reader in readers:
            reader.result()
        secrets.close()
    assert len(history) == READS
    assert [str(violation) for violation in history.violations(CROWD)] == []
    assert len({read.version for read in history._reads}) > 20, "hardly anything was rotated"
