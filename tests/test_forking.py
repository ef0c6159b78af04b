"""Promise 16: nothing crosses a fork that a child cannot use."""

import logging
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    SecretContainer,
    StartupError,
    StaticSecret,
    cache,
    forking,
)
from pgp_config.events import Loaded
from pgp_config.forking import ForkGate, gate

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class Forked(SecretContainer):
    key = DynamicSecret("FORK_KEY", str)
    fixed = StaticSecret("FORK_FIXED", str)


@pytest.fixture
def forked(source, make):
    source.add("FORK_KEY", "k1")
    source.add("FORK_FIXED", "f1")
    return make(Forked)


def in_child(work):
    """What `work` returns in a forked child, as text; 'hung' never comes back, so alarm ends it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        try:
            os.write(writing, str(work()).encode())
        except BaseException as error:  # noqa: BLE001  told to the parent
            os.write(writing, repr(error).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


# promise 16
def test_a_container_loaded_before_the_fork_works_in_the_child(forked, source, clock):
    forked.load()
    source.add("FORK_KEY", "k2")

    def child():
        before = forked.key(), forked.fixed()
        clock.advance(6)
        return before, forked.key(), source.count("FORK_FIXED")

    assert in_child(child) == "(('k1', 'f1'), 'k2', 1)"
    assert forked.key() == "k1"


# promise 16
def test_a_container_that_was_made_and_not_used_loads_in_the_child(forked):
    def child():
        forked.load()
        return forked.key(), forked.fixed()

    assert in_child(child) == "('k1', 'f1')"
    forked.load()
    assert forked.key() == "k1"


# promise 16
def test_a_fork_waits_for_calls_in_flight_and_the_parent_goes_on(forked, source, clock):
    forked.load()
    clock.advance(6)
    hold = source.hold("FORK_KEY")
    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(forked.key)
        assert hold.entered.wait(10)
        fork = pool.submit(in_child, forked.key)
        assert not fork.done()
        hold.release()
        assert read.result(10) == "k1"
        assert fork.result(10) == "k1"


# promise 16
def test_a_child_does_not_wait_for_a_fetch_that_stayed_with_its_parent(
    forked, source, clock, monkeypatch
):
    """The gate has run out of patience: the fetch is still in flight when the process forks."""
    forked.load()
    clock.advance(4.1)
    hold = source.hold("FORK_KEY")
    assert forked.key() == "k1"
    assert hold.entered.wait(10)
    source.add("FORK_KEY", "k2")
    monkeypatch.setattr(gate, "_patience", 0)
    clock.advance(6)
    assert in_child(forked.key) == "k2"
    hold.release()
    assert forked.key() in ("k1", "k2")


# promise 16
def test_a_child_forgets_the_waves_that_stayed_with_its_parent(forked, source, clock):
    forked.load()
    source.add("FORK_KEY", "k2")
    forked.key.refresh()
    cache = forked._cache
    cache._ahead.add(7)
    assert in_child(lambda: cache._ahead) == "set()"
    cache._ahead.clear()


def test_calls_wait_until_the_fork_is_over():
    gate = ForkGate()
    gate.before_fork()
    went_through = threading.Event()

    def call():
        with gate.call():
            went_through.set()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(call)
        assert not went_through.is_set()
        gate.after_in_parent()
        assert went_through.wait(10)


def test_a_fork_does_not_wait_for_ever(caplog):
    gate = ForkGate(patience=0)
    with gate.call(), caplog.at_level(logging.WARNING, "pgp_config"):
        gate.before_fork()
        assert "Forking while 1 calls to a secret source are in flight" in caplog.text
        gate.after_in_parent()


def test_a_child_starts_afresh():
    class Counter:
        renewed = 0

        def renew_after_fork(self):
            self.renewed += 1

    gate, counter = ForkGate(), Counter()
    gate.register(counter)
    gate.before_fork()
    gate.after_in_child()
    assert counter.renewed == 1
    with gate.call():
        pass


def test_a_container_is_not_pickled_and_says_what_to_do(forked):
    with pytest.raises(TypeError, match="Make a container in each process"):
        pickle.dumps(forked)


# -- gevent --------------------------------------------------------------------------------------


def test_a_process_that_gevent_patched_after_the_import_is_refused(forked, monkeypatch):
    """Its greenlets would wait for locks that stop the one which holds them."""
    monkeypatch.setattr(forking, "_lock_type", object())
    with pytest.raises(DeclarationError, match="Patch first"):
        forked.key()
    with pytest.raises(StartupError, match="gevent patched this process after"):
        forked.load()


def executor_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("pgp-config-Forked")]


@pytest.fixture
def green(monkeypatch):
    """As if threads were greenlets, which a child has too."""
    monkeypatch.setattr(cache, "threads_are_greenlets", lambda: True)


def test_under_gevent_no_thread_of_the_engine_is_left_for_the_child(green, forked):
    assert in_child(executor_threads) == "[]"
    forked.load()
    assert executor_threads() != []
    forking.gate.before_fork()
    assert executor_threads() == []
    forking.gate.after_in_parent()
    assert forked.key() == "k1"


def test_under_gevent_a_fork_does_not_wait_for_readers_that_wait_for_it(green, forked, clock):
    forked.load()
    clock.advance(6)
    gate = forking.gate
    gate.before_fork()
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(forked.key)
        while not executor_threads():
            assert not read.done()
        gate.before_fork()
        gate.after_in_parent()
        assert not read.done()
        gate.after_in_parent()
        assert read.result(10) == "k1"


def test_under_gevent_an_observer_may_fork(green, source, make):
    class One(SecretContainer):
        key = DynamicSecret("FORK_KEY")

    source.add("FORK_KEY", "k1")
    forked = []

    def observer(event):
        if isinstance(event, Loaded):
            gate.before_fork()  # what a fork does in the parent
            gate.after_in_parent()
            forked.append(event.secret)

    make(One, observers=[observer]).load()
    assert forked == ["FORK_KEY"]


OBSERVERS_THAT_FORK = """
import os
import threading

from pgp_config import DynamicSecret, Memory, SecretContainer, StaticSecret, cache
from pgp_config.events import Loaded

cache.threads_are_greenlets = lambda: True
both = threading.Barrier(2)


class Forked(SecretContainer):
    key = DynamicSecret("FORK_KEY")
    fixed = StaticSecret("FORK_FIXED")


def observer(event):
    if isinstance(event, Loaded):
        both.wait(30)  # at once: neither may wait without an end for the thread of the other
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.write(1, b"%d" % os.waitpid(child, 0)[1])


secrets = Forked(source=Memory({"FORK_KEY": "k1", "FORK_FIXED": "f1"}), observers=[observer])
secrets.load()
secrets.close()
"""


def test_under_gevent_two_observers_may_fork_at_once():
    """In a process of its own: no other library's threads and handlers of forks are in it."""
    ran = subprocess.run(
        [sys.executable, "-c", OBSERVERS_THAT_FORK],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("00", 0), ran.stderr
