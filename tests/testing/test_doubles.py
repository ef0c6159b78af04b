"""The clock and the source, by themselves."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    Freshness,
    Memory,
    SecretContainer,
    SecretForbidden,
    SecretUnavailable,
    request_scope,
)
from pgp_config.testing import FakeClock, FakeSource
from pgp_config.testing import source as doubles


class Driven(SecretContainer):
    key = DynamicSecret("DRIVEN_KEY", str, freshness=Freshness(max_age=60))


def seen(secrets):
    with request_scope():
        return secrets.key()


@pytest.fixture
def memory():
    return Memory({"DRIVEN_KEY": "k1"})


@pytest.fixture
def running(memory):
    """As a service has it: its clock is the real one."""
    secrets = Driven(source=memory)
    secrets.load()
    yield secrets
    secrets.close()


def test_a_running_container_goes_by_a_tests_clock(running, memory):
    clock = FakeClock()
    with clock.driving(running):
        memory.add("DRIVEN_KEY", "k2")
        assert seen(running) == "k1"
        clock.advance(timedelta(minutes=2))
        assert seen(running) == "k2"


def test_its_own_clock_goes_on_where_the_tests_had_come_to(running, memory):
    clock = FakeClock()
    with clock.driving(running):
        clock.advance(1_000_000)
        seen(running)
    (row,) = running.status()
    assert 0 <= row.age < 60
    with FakeClock().driving(running):
        assert seen(running) == "k1"


def test_a_clock_that_did_not_run_ahead_leaves_the_containers_own(running):
    with FakeClock().driving(running):
        pass
    assert 0 <= running.status()[0].age < 60


def test_what_the_other_side_said_goes_by_the_clock_too(running):
    verdicts = running.key.verdicts
    clock = FakeClock()
    with clock.driving(running):
        assert verdicts.clock is clock
    assert verdicts.clock is not clock


def test_a_clock_only_goes_forwards():
    clock = FakeClock(5)
    assert repr(clock) == "<FakeClock at 5 s>"
    with pytest.raises(DeclarationError):
        clock.advance(-1)
    assert clock() == 5


def test_a_container_without_a_source_is_not_driven():
    with pytest.raises(DeclarationError, match="class has no clock"), FakeClock().driving(Driven):
        pass


def test_a_source_fails_for_one_secret_or_for_all():
    source = FakeSource({"ONE": "1", "TWO": "2"})
    source.fail("ONE", SecretForbidden("is forbidden", remedy="Grant it."))
    source.fail()
    with pytest.raises(SecretForbidden, match="ONE: is forbidden"):
        source.fetch("ONE")
    with pytest.raises(SecretUnavailable, match="TWO: the source was told to fail"):
        source.fetch("TWO")
    source.recover("ONE")
    with pytest.raises(SecretUnavailable):
        source.fetch("ONE")
    source.recover()
    assert source.fetch("ONE").data == b"1"


def test_an_outage_ends_with_its_block():
    source = FakeSource({"ONE": "1", "TWO": "2"})
    with source.outage("ONE"):
        assert source.fetch("TWO").data == b"2"
        with pytest.raises(SecretUnavailable):
            source.fetch("ONE")
    assert source.fetch("ONE").data == b"1"


def test_any_error_can_be_raised():
    source = FakeSource({"ONE": "1"})
    source.fail(error=OSError("foreign"))
    with pytest.raises(OSError, match="foreign"):
        source.fetch("ONE")


def test_calls_are_counted_and_told():
    source = FakeSource({"ONE": "1", "TWO": "2"})
    source.fetch("ONE")
    source.fetch("TWO", 1)
    source.close()
    assert source.calls == [("ONE", "latest"), ("TWO", 1)]
    assert (source.count("ONE"), source.count(), source.closed) == (1, 2, 1)


def test_a_held_answer_comes_when_it_is_released():
    source = FakeSource({"ONE": "1"})
    hold = source.hold("ONE")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(source.fetch, "ONE")
        assert hold.entered.wait(30)
        assert not answer.done()
        hold.release()
        assert answer.result(30).data == b"1"
    assert source.fetch("ONE").data == b"1"


def test_a_held_answer_that_is_never_released_fails(monkeypatch):
    monkeypatch.setattr(doubles, "PATIENCE", 0)
    source = FakeSource({"ONE": "1"})
    source.hold("ONE")
    with pytest.raises(SecretUnavailable, match="never released"):
        source.fetch("ONE")
