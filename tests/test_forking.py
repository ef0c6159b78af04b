"""Promise 16: nothing crosses a fork that a child cannot use."""

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pgp_config import DynamicSecret, SecretContainer, StaticSecret
from pgp_config.forking import ForkGate

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
