"""Promises 11 and 12: start-up, and what stays as it was loaded."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async

from pgp_config import (
    DynamicSecret,
    RejectedVersion,
    SecretContainer,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
    StartupError,
    StaticSecret,
    StaticSecretInScope,
    request_scope,
)
from pgp_config.cache import READ_BUDGET
from pgp_config.providers import container
from pgp_config.secret import Payload


class Service(SecretContainer):
    key = DynamicSecret("LOADED_KEY", str)
    limit = DynamicSecret("LOADED_LIMIT", int)
    fixed = StaticSecret("LOADED_SIGNING_KEY", str)


@pytest.fixture
def filled(source):
    source.add("LOADED_KEY", "k1")
    source.add("LOADED_LIMIT", "7")
    source.add("LOADED_SIGNING_KEY", "s1")
    return source


# promise 11
def test_all_secrets_are_fetched_at_the_same_time(make):
    class Meeting:
        """Answers when all three have asked: fetches in a row would never be answered."""

        def __init__(self):
            self.barrier = threading.Barrier(3)

        def fetch(self, name, version="latest"):
            self.barrier.wait(30)
            return Payload(b"7", 1)

    secrets = make(Service, source=Meeting())
    secrets.load()
    assert secrets.limit() == 7


# promise 11
async def test_from_a_coroutine_too(filled, make):
    secrets = make(Service)
    await secrets.aload()
    assert [row.state for row in secrets.status()] == ["ok"] * 3


# promise 11
def test_a_second_load_fetches_what_is_missing(filled, make):
    secrets = make(Service)
    secrets.fixed()
    secrets.load()
    secrets.load()
    assert filled.count("LOADED_SIGNING_KEY") == filled.count("LOADED_KEY") == 1


class Faulty(SecretContainer):
    missing = DynamicSecret("FAULTY_MISSING")
    empty = DynamicSecret("FAULTY_EMPTY")
    disabled = StaticSecret("FAULTY_DISABLED")
    forbidden = DynamicSecret("FAULTY_FORBIDDEN")
    late = StaticSecret("FAULTY_LATE")
    wrong = DynamicSecret("FAULTY_WRONG", int)
    material = DynamicSecret("FAULTY_MATERIAL")
    broken = DynamicSecret("FAULTY_BROKEN")
    good = DynamicSecret("FAULTY_GOOD")


@pytest.fixture
def faulty(source):
    source.add("FAULTY_EMPTY", "\n")
    source.fail("FAULTY_DISABLED", SecretDisabled("is disabled"))
    source.fail("FAULTY_FORBIDDEN", SecretForbidden("is forbidden"))
    source.fail("FAULTY_LATE", SourceTimeout("is late"))
    source.add("FAULTY_WRONG", "canary-7f3a")
    source.add("FAULTY_MATERIAL", "-----BEGIN PRIVATE KEY-----canary-7f3a")
    source.fail("FAULTY_BROKEN", RuntimeError("canary-7f3a"))
    source.add("FAULTY_GOOD", "good")
    return source


def assert_all_named(error):
    kinds = {fault.secret: type(fault) for fault in error.faults}
    assert kinds == {
        "FAULTY_MISSING": SecretNotFound,
        "FAULTY_EMPTY": RejectedVersion,
        "FAULTY_DISABLED": SecretDisabled,
        "FAULTY_FORBIDDEN": SecretForbidden,
        "FAULTY_LATE": SourceTimeout,
        "FAULTY_WRONG": RejectedVersion,
        "FAULTY_MATERIAL": RejectedVersion,
        "FAULTY_BROKEN": SecretUnavailable,
    }
    assert (
        "Faulty: the service cannot start; faults among its 9 secrets: 8. Mend each of these:"
        in str(error)
    )
    for name in kinds:
        assert name in str(error)
    assert "canary" not in str(error)


# promise 11
def test_every_fault_is_reported_at_once_by_name(faulty, make):
    with pytest.raises(StartupError) as caught:
        make(Faulty).load()
    assert_all_named(caught.value)


# promise 11
async def test_every_fault_is_reported_to_a_coroutine_too(faulty, make):
    with pytest.raises(StartupError) as caught:
        await make(Faulty).aload()
    assert_all_named(caught.value)


def test_a_source_that_can_connect_does_so_first(make, filled):
    class Connecting(type(filled)):
        connected = 0

        def connect(self):
            self.connected += 1
            assert self.calls == []

    source = Connecting()
    source.add("LOADED_KEY", "k1")
    source.add("LOADED_LIMIT", "7")
    source.add("LOADED_SIGNING_KEY", "s1")
    secrets = make(Service, source=source)
    secrets.load()
    secrets.load()
    assert source.connected == 1


@pytest.mark.parametrize("form", ["load", "aload"])
async def test_a_source_that_cannot_connect_is_the_one_fault(make, filled, form):
    def connect():
        raise SecretForbidden("there are no credentials", remedy="Get some.")

    filled.connect = connect
    secrets = make(Service)
    load = secrets.aload if form == "aload" else sync_to_async(secrets.load)
    with pytest.raises(StartupError, match=r"there are no credentials\. Get some") as caught:
        await load()
    assert len(caught.value.faults) == 1
    assert filled.calls == []


# promise 12
def test_a_static_secret_is_not_fetched_while_a_scope_is_open(filled, make):
    secrets = make(Service)
    with request_scope():
        with pytest.raises(StaticSecretInScope, match=r"LOADED_SIGNING_KEY in Service.*load\(\)"):
            secrets.fixed()
        with pytest.raises(StaticSecretInScope, match="when the service starts"):
            secrets.load()
    assert filled.calls == []


# promise 12
def test_a_static_secret_has_no_refresh_and_never_changes(filled, make, clock):
    secrets = make(Service)
    secrets.load()
    filled.add("LOADED_SIGNING_KEY", "s2")
    clock.advance(1_000_000)
    with request_scope():
        assert secrets.fixed() == secrets.fixed() == "s1"
    secrets.load()
    assert secrets.fixed() == "s1"
    assert not hasattr(secrets.fixed, "refresh")
    assert filled.count("LOADED_SIGNING_KEY") == 1


# promise 12
def test_outside_scopes_it_is_loaded_once_when_it_is_read(filled, make):
    secrets = make(Service)
    assert secrets.fixed() == secrets.fixed() == "s1"
    assert filled.count("LOADED_SIGNING_KEY") == 1


# promise 12
async def test_a_coroutine_can_read_it_too(filled, make):
    secrets = make(Service)
    assert await secrets.fixed.async_() == "s1"
    async with request_scope():
        assert await secrets.fixed.async_() == "s1"
        assert await secrets.fixed.async_() == "s1"
    assert filled.count("LOADED_SIGNING_KEY") == 1


# promise 12
def test_looking_at_the_status_fetches_no_static_secret(source, make, clock):
    source.fail("LOADING_STATIC", SecretUnavailable("is down"))

    class Only(SecretContainer):
        fixed = StaticSecret("LOADING_STATIC")

    secrets = make(Only)
    with pytest.raises(StartupError):
        secrets.load()
    clock.advance(100)
    with request_scope():
        assert [row.state for row in secrets.status()] == ["missing"]
    assert source.count("LOADING_STATIC") == 1


# promise 11
@pytest.mark.parametrize("form", ["load", "aload"])
async def test_a_source_that_hangs_is_given_up_for_all_secrets_at_once(
    source, make, clock, monkeypatch, form
):
    names = [f"LOADED_{number}" for number in range(20)]
    many = type("Many", (SecretContainer,), {name.lower(): DynamicSecret(name) for name in names})
    secrets = make(many)
    monkeypatch.setattr(container, "time", SimpleNamespace(monotonic=clock))
    began = clock.now

    def hang(_spec, _flight, patience):
        clock.advance(patience)
        raise SourceTimeout("no answer")

    async def hang_async(*waiting):
        hang(*waiting)

    monkeypatch.setattr(secrets._cache, "wait", hang)
    monkeypatch.setattr(secrets._cache, "wait_async", hang_async)
    with pytest.raises(StartupError, match="faults among its 20 secrets: 20"):
        await (secrets.aload() if form == "aload" else asyncio.to_thread(secrets.load))
    assert clock.now - began == 2 * READ_BUDGET


# promise 12
def test_in_an_outage_it_goes_on(filled, make, clock):
    secrets = make(Service)
    secrets.load()
    filled.fail("LOADED_SIGNING_KEY", SecretUnavailable("is down"))
    clock.advance(1_000_000)
    assert secrets.fixed() == "s1"


def test_closing_before_anything_was_made_is_harmless():
    SecretContainer.instance_type().close()
