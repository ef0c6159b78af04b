"""The recorder: what it notes of the reads of a process, and that it leaves no trace."""

import asyncio
import contextvars

import pytest

from pgp_config import (
    DynamicSecret,
    SecretContainer,
    SecretUnavailable,
    StaticSecret,
    request_scope,
)
from pgp_config import scopes as engine
from pgp_config.testing import recorder as module
from pgp_config.testing.history import Read
from pgp_config.testing.recorder import ReadRecorder


class Recorded(SecretContainer):
    key = DynamicSecret("RECORDED_KEY", str)
    fixed = StaticSecret("RECORDED_FIXED", str)


@pytest.fixture
def reads():
    return []


@pytest.fixture
def recorder(reads, clock):
    with ReadRecorder(reads.append, clock=clock, process=7) as recorder:
        yield recorder


@pytest.fixture
def secrets(source, make, recorder):
    source.add("RECORDED_KEY", "v1")
    source.add("RECORDED_FIXED", "v1")
    secrets = make(Recorded, observers=[recorder])
    secrets.load()
    return secrets


def test_each_read_of_a_dynamic_secret_is_noted_with_its_scope(secrets, reads, clock):
    with request_scope():
        clock.advance(1)
        secrets.fixed()
        assert secrets.key() == secrets.key() == "v1"
    with request_scope():
        secrets.key()
    first, again, other = reads
    assert (
        first
        == again
        == Read(first.scope, "RECORDED_KEY", 1, opened=1000, started=1001, ended=1001, process=7)
    )
    assert other.scope != first.scope
    assert other.opened == 1001


async def test_coroutines_refreshes_and_stale_reads_are_noted_as_such(
    secrets, source, reads, clock
):
    source.add("RECORDED_KEY", "v2")
    async with request_scope():
        assert await secrets.key.async_() == "v1"
        assert await secrets.key.arefresh() is True
    source.fail("RECORDED_KEY", SecretUnavailable("is down"))
    clock.advance(6)
    async with request_scope():
        assert await secrets.key.async_() == "v2"
    assert [(read.version, read.moved, read.stale) for read in reads] == [
        (1, False, False),
        (2, True, False),
        (2, False, True),
    ]


async def test_a_read_outside_of_scopes_is_a_scope_of_its_own(secrets, reads):
    assert secrets.key() == await secrets.key.async_() == "v1"
    assert await asyncio.to_thread(secrets.key.refresh) is False
    assert len({read.scope for read in reads}) == 3
    assert [read.moved for read in reads] == [False, False, True]


async def test_reads_with_their_number_and_moves_to_what_is_known_are_noted(
    secrets, source, reads
):
    assert secrets.key.catch_up() is False
    async with request_scope():
        assert secrets.key.versioned().number == 1
        assert (await secrets.key.versioned_async()).number == 1
        assert secrets.key.catch_up() is False
        source.add("RECORDED_KEY", "v2")
        await asyncio.to_thread(contextvars.Context().run, secrets.key.refresh)
        assert secrets.key.catch_up() is True
    mine = [read for read in reads if read.scope == reads[0].scope]
    assert [(read.version, read.moved, read.stale) for read in mine] == [
        (1, False, False),
        (1, False, False),
        (2, True, True),
    ]


def test_values_that_a_test_gave_and_reads_that_outlive_their_scope_are_not_noted(secrets, reads):
    with request_scope(values={"RECORDED_KEY": "given"}):
        assert secrets.key() == "given"
    with request_scope():
        note = ReadRecorder(reads.append)._begin(secrets.key, moved=False)
    note()
    assert reads == []


def test_the_beginnings_of_scopes_that_are_long_over_are_forgotten(recorder, monkeypatch):
    monkeypatch.setattr(module, "SCOPES", 3)
    scopes = [
        request_scope() for _ in range(9)
    ]  # all at once: an identity is free again after its end
    for scope in scopes:
        with scope:
            pass
    assert list(recorder._opened) == [id(scope) for scope in scopes[-3:]]


def test_a_scope_from_before_the_recording_began_with_its_first_read(source, make, clock, reads):
    source.add("RECORDED_KEY", "v1")
    secrets = make(Recorded)
    with request_scope():
        clock.advance(1)
        with ReadRecorder(reads.append, clock=clock):
            secrets.key()
    assert [(read.opened, read.started) for read in reads] == [(1001, 1001)]


def test_it_leaves_no_trace(secrets):
    before = engine.Scope.__enter__, DynamicSecret.__call__, dict(vars(DynamicSecret))
    with ReadRecorder([].append):
        assert DynamicSecret.__call__ is not before[1]
    assert (
        engine.Scope.__enter__,
        DynamicSecret.__call__,
        dict(vars(DynamicSecret)),
    ) == before
