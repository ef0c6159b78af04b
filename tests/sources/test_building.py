"""What a source of one's own is built with: a budget, what belongs to one process, a URL's options."""

import copy
import os
import random
import sys
import threading

import pytest

from pgp_config import DeclarationError, FetchBudget, PerProcess, source_options
from pgp_config.sources import attempts

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)


def script(*steps):
    """An attempt that goes through these, and a list of the seconds that each was given."""
    given, left = [], list(steps)

    def attempt(timeout):
        given.append(timeout)
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    return attempt, given


def is_os_error(fault):
    return isinstance(fault, OSError)


# promise 8
def test_an_attempt_that_may_pass_is_made_again_within_the_budget():
    attempt, given = script(OSError(), OSError(), "value")
    assert FetchBudget(20, 60).run(attempt, may_pass=is_os_error) == "value"
    assert given == [20, 20, 20]


# promise 8
def test_any_other_fault_is_raised_at_once():
    attempt, given = script(ValueError("no"), "value")
    with pytest.raises(ValueError, match="no"):
        FetchBudget(20, 60).run(attempt, may_pass=is_os_error)
    assert len(given) == 1


# promise 8
def test_an_attempt_that_does_not_end_is_left_behind():
    go_on = threading.Event()
    budget = FetchBudget(0.05, 0.05)
    with pytest.raises(TimeoutError):
        budget.run(lambda _: go_on.wait(60), may_pass=is_os_error)
    go_on.set()


def test_a_time_out_may_pass():
    attempt, given = script(TimeoutError(), "value")
    assert FetchBudget(20, 60).run(attempt, may_pass=is_os_error) == "value"
    assert len(given) == 2


def test_attempts_that_are_left_behind_do_not_pile_up(monkeypatch):
    go_on = threading.Event()
    many = attempts.Attempts("test", 1)
    begun = []

    def stuck():
        begun.append(1)
        return go_on.wait(60)

    for _ in range(3):
        with pytest.raises(TimeoutError):
            many.run(stuck, 0.05)
    go_on.set()
    assert len(begun) == 1
    assert many.run(lambda: "value", 30) == "value"


def test_a_thread_that_cannot_start_takes_no_place(monkeypatch):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    one = attempts.Attempts("test", 1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="new thread"):
            one.run(lambda: None, 30)
    assert one.run(lambda: "value", 30) == "value"


def test_a_budget_that_cannot_be_is_refused():
    with pytest.raises(DeclarationError, match="attempt_timeout is 3 s and total_timeout 2 s"):
        FetchBudget(3)


def test_without_tenacity_it_is_said_what_to_install(monkeypatch):
    import pgp_config.sources as package

    monkeypatch.setitem(sys.modules, "tenacity", None)
    monkeypatch.delitem(sys.modules, "pgp_config.sources.retries", raising=False)
    monkeypatch.delattr(package, "retries", raising=False)
    with pytest.raises(DeclarationError, match=r"not installed \(tenacity\)") as caught:
        FetchBudget().run(lambda _: None, may_pass=is_os_error)
    assert "pip install 'pgp-config[source]'" in caught.value.remedy


class Client:
    def __init__(self):
        self.process = os.getpid()
        self.closed = 0

    def close(self):
        self.closed += 1


def test_it_is_made_once_and_again_after_it_was_closed():
    held = PerProcess(Client, Client.close)
    held.close()  # nothing yet
    first = held.get()
    assert held.get() is first
    held.close()
    held.close()
    assert first.closed == 1
    assert held.get() is not first


def test_after_an_error_it_is_made_anew():
    steps = [OSError("down"), Client()]

    def make():
        step = steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    held = PerProcess(make, Client.close)
    with pytest.raises(OSError, match="down"):
        held.get()
    assert isinstance(held.get(), Client)


def test_who_waits_for_another_thread_can_do_so_in_time():
    begun, go_on = threading.Event(), threading.Event()

    def make():
        begun.set()
        assert go_on.wait(30)
        return Client()

    held = PerProcess(make, Client.close)
    first = threading.Thread(target=held.get)
    first.start()
    assert begun.wait(30)
    with pytest.raises(TimeoutError, match=r"after 0\.01 s"):
        held.get(0.01)
    go_on.set()
    first.join(30)
    assert held.get(0.01) is held.get()


# promise 15
def test_it_is_not_copied():
    with pytest.raises(TypeError, match="not pickled or copied"):
        copy.copy(PerProcess(Client, Client.close))


# promise 16
@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_makes_its_own_and_leaves_the_parents_alone():
    held, budget = PerProcess(Client, Client.close), FetchBudget(20, 20)
    first = held.get()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        mine = budget.run(lambda _: held.get(), may_pass=is_os_error)
        held.close()
        os.write(writing, f"{mine.process == os.getpid()} {first.closed}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "True 0"
    os.waitpid(child, 0)
    assert held.get() is first


# promise 16
def test_what_a_child_inherited_is_never_freed():
    held = PerProcess(Client, Client.close)
    first = held.get()
    held.renew_after_fork()
    FetchBudget().renew_after_fork()
    assert held.get() is not first
    assert first.closed == 0


def test_the_options_of_a_url_are_given_once_and_known():
    allowed = ("prefix", "key")
    assert source_options("mine://host/x?prefix=a%2F&key=b", allowed=allowed) == {
        "prefix": "a/",
        "key": "b",
    }
    for url, said in [
        ("mine://host?canary=canary-1", "unknown options: canary"),
        ("mine://host?key=", "empty or repeated options: key"),
        ("mine://host?key=a&key=b", "empty or repeated options: key"),
    ]:
        with pytest.raises(DeclarationError, match=said) as caught:
            source_options(url, allowed=allowed)
        assert "canary-1" not in str(caught.value)
