"""Promise 17: an object that is built from secrets follows them, and is closed when nobody uses it."""

import asyncio
import contextvars
import copy
import os
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from dependency_injector import providers

from pgp_config import (
    EVERY_REQUEST,
    BlockingRead,
    BuildError,
    DeclarationError,
    DynamicSecret,
    Freshness,
    PerVersion,
    SecretContainer,
    SecretEvent,
    SecretUnavailable,
    StaticSecret,
    StaticSecretInScope,
    request_scope,
)
from pgp_config.asgi import LifespanMiddleware
from pgp_config.events import BuildFailed, Built, CloseFailed, Rebuilt


class Engine:
    """Knows what it was built from, where, and whether it is closed."""

    def __init__(self, *values, **named):
        self.values = values or tuple(named.values())
        self.thread = threading.get_ident()
        self.closed = threading.Event()
        self.closes = 0
        self.fails_to_close = None

    def close(self):
        self.closes += 1
        self.closed.set()
        if self.fails_to_close:
            raise self.fails_to_close

    def use(self):
        assert not self.closed.is_set(), "used after it was closed"
        return self.values


class AsyncEngine(Engine):
    async def aclose(self):
        self.closed_in = asyncio.get_running_loop()
        Engine.close(self)


class Factory:
    """Builds engines; can be held back, and fail."""

    def __init__(self, kind=Engine):
        self.kind = kind
        self.built = []
        self.fault = None
        self.entered = threading.Event()
        self.released = threading.Event()
        self.released.set()

    def hold(self):
        self.entered.clear()
        self.released.clear()

    def release(self):
        self.released.set()

    def __call__(self, *values, **named):
        self.entered.set()
        assert self.released.wait(30), "a held factory was never released"
        if self.fault is not None:
            raise self.fault
        engine = self.kind(*values, **named)
        self.built.append(engine)
        return engine


@pytest.fixture
def factory():
    factory = Factory()
    yield factory
    factory.release()


@pytest.fixture
def probed():
    return []


@pytest.fixture
def service(source, make, factory, probed):
    """A container with an engine of one secret that each scope asks for anew."""

    def probe(engine):
        probed.append(engine)
        return engine.values != ("bad",)

    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str, freshness=EVERY_REQUEST)
        engine = PerVersion(factory, key, probe=probe)

    source.add("VERSIONED_KEY", "v1")
    return make(Service)


def read(secrets):
    """A scope of its own."""
    with request_scope():
        return secrets.engine()


# -- one for each combination ----------------------------------------------------------------


# promise 17: a push says nothing of how long the known version is confirmed, and yet is newer
def test_it_follows_a_version_that_was_pushed(source, make, factory):
    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str, freshness=Freshness(max_age=3600))
        engine = PerVersion(factory, key)

    source.add("VERSIONED_KEY", "v1")
    service = make(Service)
    old = read(service)
    for number in (2, 3):
        source.add("VERSIONED_KEY", f"v{number}")
        event = SecretEvent("SECRET_VERSION_ADD", "VERSIONED_KEY", number)
        assert service.announce(event).wait()
        assert read(service).use() == (f"v{number}",)
    assert old.closed.wait(10)


def versions_in_use(service):
    (use,) = service._required_cache().uses()
    return use.in_use


# promise 19: what rotates must not be told that the old version is unread
def test_the_version_of_an_object_in_service_is_in_use(service, source):
    read(service)
    source.add("VERSIONED_KEY", "bad")
    with request_scope():
        assert (service.engine().use(), service.key.version()) == (("v1",), 2)
    assert versions_in_use(service) == (1, 2)
    source.add("VERSIONED_KEY", "v3")
    assert read(service).use() == ("v3",)
    service.engine._registry.settle()  # the old one is closed
    assert versions_in_use(service) == (3,)


# promise 17
def test_it_is_built_once_for_each_version_and_the_old_one_is_closed(service, source, events):
    with request_scope():
        old = service.engine()
        assert old is service.engine()
        assert old.use() == ("v1",)
    assert read(service) is old
    source.add("VERSIONED_KEY", "v2")
    new = read(service)
    assert (new.use(), read(service)) == (("v2",), new)
    assert old.closed.wait(10)
    assert (old.closes, new.closes) == (1, 0)
    assert events.of(Built) == [Built("Service", "VERSIONED_KEY", "engine", {"VERSIONED_KEY": 1})]
    (rebuilt,) = events.of(Rebuilt)
    assert (rebuilt.old_versions, rebuilt.versions) == ({"VERSIONED_KEY": 1}, {"VERSIONED_KEY": 2})


# promise 17
def test_the_old_one_is_never_closed_while_a_scope_uses_it(service, source):
    with request_scope():
        old = service.engine()
        with request_scope():
            assert service.engine() is old
        source.add("VERSIONED_KEY", "v2")
        new = contextvars.Context().run(read, service)
        assert new is not old
        service.engine().use()
        assert service.engine() is old
    assert old.closed.wait(10)


# promise 17
def test_it_always_matches_the_versions_that_its_scope_sees(service, source):
    with request_scope():
        assert service.engine().values == (service.key(),)
        source.add("VERSIONED_KEY", "v2")
        assert service.engine().values == ("v1",) == (service.key(),)
        assert service.key.refresh() is True
        assert service.engine().values == ("v2",) == (service.key(),)
        assert service.key.refresh() is False
        assert service.engine().values == ("v2",)


# promise 1: "one object a scope" holds of what is built with a static secret too
def test_within_a_scope_it_stays_one_object_also_with_a_static_secret(
    source, make, clock, factory
):
    class Service(SecretContainer):
        user = StaticSecret("VERSIONED_USER", str)
        key = DynamicSecret("VERSIONED_KEY", str, freshness=EVERY_REQUEST)
        engine = PerVersion(factory, user, key)

    source.add("VERSIONED_USER", "u1")
    source.add("VERSIONED_KEY", "v1")
    service = make(Service)
    service.load()
    old = read(service)
    source.add("VERSIONED_KEY", "v2")
    factory.fault = OSError("not there yet")
    with request_scope():
        assert service.engine() is old
        factory.fault = None
        clock.advance(60)
        while (new := read(service)) is old:  # it is built in the background
            pass
        assert service.engine() is old
        assert not old.closed.is_set()
    assert old.closed.wait(10)
    assert read(service) is new


def test_a_read_outside_of_scopes_is_kept_until_the_container_is_closed(service, source):
    old = service.engine()
    assert service.engine() is old
    source.add("VERSIONED_KEY", "v2")
    new = service.engine()
    assert new.use() == ("v2",)
    old.use()
    service.close()
    assert (old.closes, new.closes) == (1, 1)


# promise 3
async def test_a_task_that_outlives_its_scope_keeps_what_it_reads(service, source, factory):
    await service.aload()
    go_on = asyncio.Event()

    async def straggler():
        await go_on.wait()
        return await service.engine.async_()

    with request_scope():
        task = asyncio.create_task(straggler())
    go_on.set()
    engine = await task
    source.add("VERSIONED_KEY", "v2")
    with request_scope():
        assert await service.engine.async_() is not engine
    engine.use()


def test_a_scope_that_ends_during_the_build_leaves_the_reader_its_object(service, source, factory):
    factory.hold()
    with ThreadPoolExecutor(1) as pool:
        with request_scope():
            reading = pool.submit(contextvars.copy_context().run, service.engine)
            assert factory.entered.wait(10)
        factory.release()
        engine = reading.result(10)
    source.add("VERSIONED_KEY", "v2")
    assert read(service) is not engine
    engine.use()


# promise 17
def test_two_secrets_make_one_object_for_each_pair(source, make, factory):
    class Service(SecretContainer):
        user = DynamicSecret("VERSIONED_USER", str, freshness=EVERY_REQUEST)
        key = DynamicSecret("VERSIONED_KEY", str, freshness=EVERY_REQUEST)
        host = StaticSecret("VERSIONED_HOST", str)
        engine = PerVersion(factory, user, key=key, host=host)

    factory.kind = lambda *values, **named: Engine(*values, *named.items())
    source.add("VERSIONED_USER", "u1")
    source.add("VERSIONED_KEY", "k1")
    source.add("VERSIONED_HOST", "h1")
    secrets = make(Service)
    assert secrets.engine().values == ("u1", ("key", "k1"), ("host", "h1"))
    source.add("VERSIONED_KEY", "k2")
    assert read(secrets).values == ("u1", ("key", "k2"), ("host", "h1"))
    source.add("VERSIONED_USER", "u2")
    assert read(secrets).values == ("u2", ("key", "k2"), ("host", "h1"))
    assert len(factory.built) == 3


# promise 17
def test_many_threads_at_a_rotation_build_it_once(service, source, factory):
    read(service)
    source.add("VERSIONED_KEY", "v2")
    factory.hold()
    ready = threading.Barrier(32)

    def request():
        ready.wait(10)
        with request_scope():
            return service.engine().use()

    with ThreadPoolExecutor(32) as pool:
        reads = [pool.submit(request) for _ in range(32)]
        assert factory.entered.wait(10)
        factory.release()
        assert {each.result(10) for each in reads} == {("v2",)}
    assert len(factory.built) == 2


# promise 17
def test_under_rotation_nothing_is_closed_in_use_or_built_twice_or_left_open(
    service, source, factory
):
    rotations, stop = 30, threading.Event()

    def requests():
        while not stop.is_set():
            with request_scope():
                engine = service.engine()
                for _ in range(5):
                    assert service.engine() is engine
                    # Newer where this scope is late: its own is closed already.
                    assert int(engine.use()[0][1:]) >= int(service.key()[1:])

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(requests) for _ in range(8)]
        try:
            for number in range(2, rotations + 2):
                source.add("VERSIONED_KEY", f"v{number}")
                assert read(service).values[0] in {f"v{number}", f"v{number - 1}"}
        finally:
            stop.set()
        for each in running:
            each.result(30)
    last = read(service)
    built = [engine.values for engine in factory.built]
    assert len(built) == len(set(built))
    for engine in factory.built:
        assert engine is last or engine.closed.wait(10)
    assert not last.closed.is_set()
    assert {engine.closes for engine in factory.built if engine is not last} <= {1}


# promise 17
def test_a_late_scope_gets_its_own_object_while_it_is_open_else_the_current_one(
    source, make, factory, clock
):
    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str)
        engine = PerVersion(factory, key)

    source.add("VERSIONED_KEY", "v1")
    secrets = make(Service)
    with request_scope():
        old = secrets.engine()
        late, too_late = contextvars.copy_context(), contextvars.copy_context()
        for context in (late, too_late):
            context.run(request_scope().__enter__)
            assert context.run(secrets.key) == "v1"
        source.add("VERSIONED_KEY", "v2")
        clock.advance(6)
        new = contextvars.Context().run(read, secrets)
        assert late.run(secrets.engine) is old
    late.run(contextvars.copy_context)
    from pgp_config.scopes import open_scope

    late.run(open_scope).close()
    assert old.closed.wait(10)
    assert too_late.run(secrets.engine) is new
    assert len(factory.built) == 2


# promise 7
def test_a_rollback_is_newer_although_its_number_is_lower(service, source, factory, events):
    from pgp_config import SecretDisabled

    source.add("VERSIONED_KEY", "v2")
    newer = read(service)
    source.fail("VERSIONED_KEY", SecretDisabled("is disabled"), version=2)
    source.lag("VERSIONED_KEY", 1)
    older = read(service)
    assert (newer.values, older.values) == (("v2",), ("v1",))
    assert newer.closed.wait(10)
    assert events.of(Rebuilt)[-1].versions == {"VERSIONED_KEY": 1}


def test_what_is_still_in_use_is_taken_back_into_service_by_a_rollback(service, source, factory):
    from pgp_config import SecretDisabled

    with request_scope():
        first = service.engine()
        source.add("VERSIONED_KEY", "v2")
        second = contextvars.Context().run(read, service)
        source.fail("VERSIONED_KEY", SecretDisabled("is disabled"), version=2)
        source.lag("VERSIONED_KEY", 1)
        assert contextvars.Context().run(read, service) is first
    assert second.closed.wait(10)
    assert read(service) is first
    first.use()


# -- builds that fail, and builds that take long ---------------------------------------------


# promise 17
def test_what_cannot_be_built_leaves_the_old_one_in_service_and_is_tried_again(
    service, source, factory, clock, events
):
    old = read(service)
    source.add("VERSIONED_KEY", "v2")
    factory.fault = ConnectionError("canary-7f3a: postgres://user:v2@host")
    assert read(service) is old
    (failed,) = events.of(BuildFailed)
    assert (failed.versions, failed.reason, failed.pause) == (
        {"VERSIONED_KEY": 2},
        "ConnectionError",
        1.0,
    )
    assert "canary" not in str(events)
    factory.entered.clear()
    assert read(service) is old
    assert not factory.entered.is_set()
    clock.advance(1)
    factory.hold()
    assert read(service) is old  # nobody waits for what has failed
    assert factory.entered.wait(10)
    build = next(iter(service.engine._registry._lines[None].builds.values()))
    factory.release()
    build.outcome.result(10)
    assert [event.pause for event in events.of(BuildFailed)] == [1.0, 2.0]
    clock.advance(2)
    factory.fault = None
    factory.hold()
    assert read(service) is old
    build = next(iter(service.engine._registry._lines[None].builds.values()))
    factory.release()
    build.outcome.result(10)
    assert read(service).use() == ("v2",)
    assert old.closed.wait(10)


def test_a_version_newer_than_the_one_that_failed_is_tried_at_once(service, source, factory):
    read(service)
    source.add("VERSIONED_KEY", "v2")
    factory.fault = ConnectionError()
    read(service)
    source.add("VERSIONED_KEY", "v3")
    factory.fault = None
    assert read(service).use() == ("v3",)


# promise 15
def test_without_an_old_one_the_error_names_the_type_and_shows_no_text(service, factory, clock):
    factory.fault = ConnectionError("canary-7f3a")
    for _ in range(2):
        with pytest.raises(BuildError) as caught:
            read(service)
        error = caught.value
        assert "VERSIONED_KEY in Service: engine could not be built: ConnectionError" in str(error)
        assert "canary" not in str(error)
        assert isinstance(error, SecretUnavailable)
        assert (error.__cause__, error.__context__) == (None, None)
        factory.fault = AssertionError("is not called during the pause")
    clock.advance(1)
    factory.fault = None
    assert read(service).use() == ("v1",)


# promise 15
def test_a_traceback_with_locals_shows_no_value(source, make, factory):
    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str)
        engine = PerVersion(factory, key)

    source.add("VERSIONED_KEY", "canary-7f3a")
    secrets = make(Service)
    factory.fault = ConnectionError("canary-7f3a")
    for _ in range(2):
        with pytest.raises(BuildError) as caught:
            secrets.engine()
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert "canary" not in "".join(told.format())


# promise 17
@pytest.mark.parametrize("fault", [None, ValueError("canary-7f3a")])
def test_a_new_one_that_fails_its_probe_is_closed_and_never_used(
    source, make, factory, events, fault
):
    def probe(engine):
        if engine.values == ("bad",) and fault is not None:
            raise fault
        return False if engine.values == ("bad",) else None

    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str, freshness=EVERY_REQUEST)
        engine = PerVersion(factory, key, probe=probe)

    source.add("VERSIONED_KEY", "v1")
    secrets = make(Service)
    old = read(secrets)
    source.add("VERSIONED_KEY", "bad")
    assert read(secrets) is old
    assert factory.built[-1].closed.wait(10)
    assert [event.reason for event in events.of(BuildFailed)] == [
        "probe" if fault is None else "ValueError"
    ]
    old.use()


# promise 17
def test_nobody_waits_past_the_budget_and_then_the_old_one_serves(
    service, source, factory, events, clock
):
    old = read(service)
    source.add("VERSIONED_KEY", "v2")
    service._cache.budget = 0.01
    factory.hold()
    with request_scope():
        assert service.engine() is old
        assert service.engine() is old
    assert [event.reason for event in events.of(BuildFailed)] == ["overdue"]
    service._cache.budget = 60
    assert read(service) is old
    clock.advance(5)
    assert read(service) is old
    build = next(iter(service.engine._registry._lines[None].builds.values()))
    factory.release()
    build.outcome.result(10)
    assert read(service).use() == ("v2",)
    assert len(factory.built) == 2
    assert len(events.of(BuildFailed)) == 1


async def test_nor_does_a_coroutine(service, source, factory):
    async with request_scope():
        old = await service.engine.async_()
    source.add("VERSIONED_KEY", "v2")
    service._cache.budget = 0.01
    factory.hold()
    async with request_scope():
        assert await service.engine.async_() is old
    factory.release()


def test_an_overdue_first_one_is_an_error_and_is_waited_for_again_after_the_pause(
    service, factory, clock, events
):
    service.load()
    service._cache.budget = 0.01
    factory.hold()
    for _ in range(2):
        with pytest.raises(BuildError, match="overdue"):
            read(service)
    clock.advance(1)
    with pytest.raises(BuildError, match="overdue"):
        read(service)
    assert [event.pause for event in events.of(BuildFailed)] == [1.0, 2.0]
    clock.advance(2)
    service._cache.budget = 30
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, service)
        factory.release()
        assert reading.result(10).use() == ("v1",)
    assert len(factory.built) == 1


def test_an_overdue_build_that_fails_in_the_end_is_told_once(service, factory, events, clock):
    service.load()
    service._cache.budget = 0.01
    factory.hold()
    with pytest.raises(BuildError):
        read(service)
    build = next(iter(service.engine._registry._lines[None].builds.values()))
    factory.fault = ConnectionError()
    factory.release()
    assert isinstance(build.outcome.result(10), BuildError)
    assert [event.reason for event in events.of(BuildFailed)] == ["overdue"]


def test_a_build_that_is_overtaken_by_a_newer_one_is_closed(service, source, factory):
    service.load()
    with request_scope():
        service.key()
        factory.hold()
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(contextvars.copy_context().run, service.engine)
            assert factory.entered.wait(10)
            slow, factory.entered = factory.released, threading.Event()
            factory.released = threading.Event()
            factory.release()
            source.add("VERSIONED_KEY", "v2")
            new = contextvars.Context().run(read, service)
            slow.set()
            assert reading.result(10) is new
    old = factory.built[-1]
    assert old.use.__self__.values == ("v1",)
    assert old.closed.wait(10)
    new.use()


# -- closing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "close", "called"),
    [
        (("close", "dispose"), "auto", ["close"]),
        (("dispose",), "auto", ["dispose"]),
        ((), "auto", []),
        (("close", "dispose"), None, []),
        (("close",), lambda made: made.log.append("own"), ["own"]),
    ],
)
def test_what_closes_an_object(source, make, names, close, called):
    log = []

    def build(value):
        made = type("Made", (), {"log": log})()
        for name in names:
            setattr(made, name, lambda name=name: log.append(name))
        return made

    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str)
        engine = PerVersion(build, key, close=close)

    source.add("VERSIONED_KEY", "v1")
    secrets = make(Service)
    read(secrets)
    secrets.close()
    secrets.close()
    assert log == called


# promise 17
def test_closing_is_last_first_and_one_that_fails_stops_none(source, make, events):
    log = []

    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str, freshness=EVERY_REQUEST)
        one = PerVersion(lambda value: f"one-{value}", key, close=log.append)
        two = PerVersion(lambda value: f"two-{value}", key, close=log.append)
        bad = PerVersion(lambda value: f"bad-{value}", key, close=lambda made: log.missing)

    source.add("VERSIONED_KEY", "v1")
    secrets = make(Service)
    secrets.two(), secrets.bad(), secrets.one()
    source.add("VERSIONED_KEY", "v2")
    secrets.two(), secrets.bad()
    secrets.close()
    assert log == ["two-v2", "one-v1", "two-v1"]
    failed = events.of(CloseFailed)
    assert [(event.name, event.versions, event.reason) for event in failed] == [
        ("bad", {"VERSIONED_KEY": 2}, "AttributeError"),
        ("bad", {"VERSIONED_KEY": 1}, "AttributeError"),
    ]
    with pytest.raises(SecretUnavailable, match="closed"):
        secrets.one()


def test_a_build_under_way_is_told_of_the_end_and_its_object_is_closed(service, factory):
    service.load()
    factory.hold()
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(read, service)
        assert factory.entered.wait(10)
        registry = service.engine._registry
        build = next(iter(registry._lines[None].builds.values()))
        closing = pool.submit(service.close)
        with pytest.raises(BuildError, match="closed"):
            reading.result(10)
        assert build.outcome.done()
        factory.release()
        closing.result(10)
    assert factory.built[0].closes == 1


def test_where_no_thread_can_be_started_the_read_fails_and_the_close_is_made_here(
    service, source, factory, monkeypatch, events, clock
):
    service.load()
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith(("pgp-config-build", "pgp-config-close")):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(BuildError, match="no thread can be started"):
        read(service)
    monkeypatch.undo()
    clock.advance(1)
    old = read(service)
    source.add("VERSIONED_KEY", "v2")
    with request_scope():
        assert service.engine() is not old
    with request_scope():
        last = service.engine()
        source.add("VERSIONED_KEY", "v3")
        contextvars.Context().run(read, service)
        monkeypatch.setattr(threading.Thread, "start", refuse)
    assert last.closes == 1


def test_a_build_that_a_signal_kept_from_starting_is_started_by_the_next_reader(
    service, factory, monkeypatch
):
    service.load()
    registry = service.engine._registry
    service._cache.budget = 0.01
    monkeypatch.setattr(registry, "_start", lambda build: None)
    with pytest.raises(BuildError, match="overdue"):
        read(service)
    assert registry._lines[None].builds == {}
    monkeypatch.undo()


def test_a_thread_that_is_interrupted_while_it_starts_leaves_none_behind(service, monkeypatch):
    service.load()

    def interrupt(thread):
        raise KeyboardInterrupt

    registry = service.engine._registry
    monkeypatch.setattr(threading.Thread, "start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry._in_thread("build", list)
    assert registry._threads == set()


# -- event loops -----------------------------------------------------------------------------


async def open_engine(*values, **named):
    await asyncio.sleep(0)
    engine = AsyncEngine(*values, **named)
    engine.loop = asyncio.get_running_loop()
    return engine


@pytest.fixture
def looped(source, make):
    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str, freshness=EVERY_REQUEST)
        engine = PerVersion(open_engine, key)

    source.add("VERSIONED_KEY", "v1")
    return make(Service)


async def aread(secrets):
    async with request_scope():
        return await secrets.engine.async_()


# promises 16 and 17
async def test_an_async_factory_builds_in_the_loop_and_its_object_is_closed_there(looped, source):
    async with request_scope():
        old = await looped.engine.async_()
        assert await looped.engine.async_() is old
        assert await asyncio.gather(*(aread(looped) for _ in range(8))) == [old] * 8
        source.add("VERSIONED_KEY", "v2")
        new = await aread(looped)
        old.use()
    await looped.aclose()
    here = asyncio.get_running_loop()
    assert (old.loop, old.closed_in, new.closed_in) == (here, here, here)
    assert (old.closes, new.closes) == (1, 1)
    await looped.aclose()


# promise 16
def test_each_event_loop_has_its_own(looped):
    first = asyncio.run(aread(looped))
    with asyncio.Runner() as runner:
        second = runner.run(aread(looped))
        assert second is not first
        assert runner.run(aread(looped)) is second
        runner.run(looped.aclose())
    assert second.closes == 1


def test_what_a_loop_left_open_is_told_when_the_next_one_comes(looped, events):
    asyncio.run(aread(looped))
    asyncio.run(aread(looped))
    assert [event.reason for event in events.of(CloseFailed)] == ["its event loop has ended"]
    looped.close()
    assert len(events.of(CloseFailed)) == 2


def test_a_scope_that_outlives_its_loop_gives_back_what_cannot_be_closed(looped, source, events):
    with request_scope():
        asyncio.run(looped.engine.async_())
        registry = looped.engine._registry
        (line,) = registry._lines.values()
        line.current.retired = True
    assert [event.reason for event in events.of(CloseFailed)] == ["its event loop has ended"]


def test_a_loop_that_stands_still_is_told_and_not_waited_for(looped, events):
    with asyncio.Runner() as runner:
        runner.run(aread(looped))
        looped.close()
    assert [event.reason for event in events.of(CloseFailed)] == ["its event loop does not run"]


class Elsewhere:
    """An event loop that runs in another thread."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        return self

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def test_closing_from_another_thread_waits_for_the_loop(looped):
    with Elsewhere() as elsewhere:
        engine = elsewhere.run(aread(looped))
        looped.close()
        assert engine.closed_in is elsewhere.loop


async def test_closing_from_another_loop_does_so_too(looped):
    with Elsewhere() as elsewhere:
        engine = await asyncio.to_thread(elsewhere.run, aread(looped))
        await looped.aclose()
        assert engine.closed_in is elsewhere.loop


async def test_a_synchronous_close_in_the_loop_is_finished_by_aclose(looped):
    engine = await aread(looped)
    looped.close()
    assert engine.closes == 0
    await looped.aclose()
    assert engine.closes == 1


# promise 16
async def test_a_synchronous_read_of_what_belongs_to_a_loop_names_the_await_form(looped):
    with pytest.raises(BlockingRead, match=r"await secrets\.engine\.async_\(\)"):
        looped.engine()


# promise 16
async def test_a_synchronous_factory_is_never_called_on_the_loop(service):
    async with request_scope():
        engine = await service.engine.async_()
        assert engine.thread != threading.get_ident()
        assert service.engine() is engine
        assert await service.engine.async_() is engine
    await service.aclose()
    assert engine.closes == 1


# promise 16
async def test_a_read_that_would_block_the_loop_says_so(service):
    with pytest.raises(BlockingRead, match=r"await secrets\.engine\.async_\(\)"):
        service.engine()
    await service.aload()


# promise 16
async def test_so_does_one_that_would_wait_for_the_first_build(source, make, factory):
    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str)
        engine = PerVersion(factory, key)

    source.add("VERSIONED_KEY", "v1")
    secrets = make(Service)
    await secrets.aload()
    with pytest.raises(BlockingRead, match="has to wait"):
        secrets.engine()
    with request_scope():
        engine = await secrets.engine.async_()
    assert len(factory.built) == 1
    engine.use()


# promise 17
async def test_a_synchronous_read_on_the_loop_goes_on_with_the_old_one(
    source, make, factory, clock
):
    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str)
        engine = PerVersion(factory, key)

    source.add("VERSIONED_KEY", "v1")
    secrets = make(Service)
    async with request_scope():
        old = await secrets.engine.async_()
    source.add("VERSIONED_KEY", "v2")
    await secrets.key.arefresh()
    factory.hold()
    with request_scope():
        assert secrets.engine() is old
    factory.release()
    async with request_scope():
        assert (await secrets.engine.async_()).use() == ("v2",)
    await asyncio.to_thread(old.closed.wait, 10)


async def test_one_reader_that_is_cancelled_does_not_cancel_the_build(looped):
    await looped.aload()
    building = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(value):
        building.set()
        await go_on.wait()
        return Engine(value)

    looped.engine._registry.recipe = looped.engine._registry.recipe.__class__(
        slow, (None,), "auto", None, is_async=True
    )
    reader, other = asyncio.create_task(aread(looped)), asyncio.create_task(aread(looped))
    await building.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    go_on.set()
    (await other).use()
    await looped.aclose()


def looped_service(make, source, factory, **options):
    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str, freshness=EVERY_REQUEST)
        engine = PerVersion(factory, key, **options)

    source.add("VERSIONED_KEY", "v1")
    return make(Service)


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_probe_may_be_asynchronous_too(source, make, events, is_async):
    made = []

    async def factory(value):
        made.append(AsyncEngine(value))
        return made[-1]

    async def probe(engine):
        return engine.values != ("bad",)

    secrets = looped_service(
        make, source, factory, probe=probe if is_async else lambda made: made.values != ("bad",)
    )
    old = await aread(secrets)
    source.add("VERSIONED_KEY", "bad")
    assert await aread(secrets) is old
    await secrets.aclose()
    assert [engine.closes for engine in made] == [1, 1]
    assert [event.reason for event in events.of(BuildFailed)] == ["probe"]


async def test_a_failing_async_factory_and_a_failing_async_close_are_events(source, make, events):
    async def factory(value):
        if value == "bad":
            raise ConnectionError("canary-7f3a")
        return value

    async def close(made):
        raise ConnectionError("canary-7f3a")

    secrets = looped_service(make, source, factory, close=close)
    assert await aread(secrets) == "v1"
    source.add("VERSIONED_KEY", "bad")
    assert await aread(secrets) == "v1"
    await secrets.aclose()
    reasons = [event.reason for event in (*events.of(BuildFailed), *events.of(CloseFailed))]
    assert reasons == ["ConnectionError", "ConnectionError"]
    assert "canary" not in str(events)


async def test_nothing_to_close_after_an_async_factory_is_well_too(source, make, events):
    async def factory(value):
        return value

    secrets = looped_service(make, source, factory)
    assert await aread(secrets) == "v1"
    await secrets.aclose()
    assert events.of(CloseFailed) == []


async def test_a_build_that_is_cancelled_is_told_to_its_readers(source, make, events):
    building = asyncio.Event()

    async def factory(value):
        building.set()
        await asyncio.Event().wait()

    secrets = looped_service(make, source, factory)
    reader = asyncio.create_task(aread(secrets))
    await building.wait()
    (task,) = secrets.engine._registry._tasks
    task.cancel()
    with pytest.raises(BuildError, match="CancelledError"):
        await reader


async def test_a_close_that_hangs_is_given_up_and_told(source, make, events, monkeypatch):
    monkeypatch.setattr("pgp_config.leases.CLOSE_PATIENCE", 0.01)

    async def factory(value):
        return value

    async def close(made):
        await asyncio.Event().wait()

    secrets = looped_service(make, source, factory, close=close)
    await aread(secrets)
    await secrets.aclose()
    assert [event.reason for event in events.of(CloseFailed)] == ["CancelledError"]


def test_a_close_that_hangs_in_another_loop_is_given_up_and_told(
    source, make, events, monkeypatch
):
    monkeypatch.setattr("pgp_config.leases.CLOSE_PATIENCE", 0.01)
    hanging = []

    async def factory(value):
        return value

    async def close(made):
        hanging.append(asyncio.Event())
        await hanging[0].wait()

    secrets = looped_service(make, source, factory, close=close)
    with Elsewhere() as elsewhere:
        elsewhere.run(aread(secrets))
        secrets.close()

        async def let_go():
            hanging[0].set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        elsewhere.run(let_go())
    assert [event.reason for event in events.of(CloseFailed)] == ["overdue"]


class OnlyAclose:
    async def aclose(self):
        """Is never called: nobody knows in which loop."""


class AsyncClose:
    async def close(self):
        """As above."""


@pytest.mark.parametrize(
    ("factory", "options", "reason"),
    [
        (lambda value: OnlyAclose(), {}, "needs an `async def` factory"),
        (lambda value: AsyncClose(), {}, "needs an `async def` factory"),
        (lambda value: open_engine(value, "more"), {}, "write it as `async def`"),
        (
            Engine,
            {"probe": lambda made: open_engine()},
            "an asynchronous probe",
        ),
    ],
)
def test_what_belongs_to_a_loop_needs_an_async_factory(source, make, factory, options, reason):
    secrets = looped_service(make, source, factory, **options)
    with pytest.raises(BuildError, match=reason):
        read(secrets)


def test_a_close_that_turns_out_to_be_a_coroutine_is_told(source, make, events):
    secrets = looped_service(make, source, Engine, close=lambda made: OnlyAclose().aclose())
    read(secrets)
    secrets.close()
    assert [event.reason for event in events.of(CloseFailed)] == ["its close is a coroutine"]


def test_with_close_none_an_object_of_a_loop_may_come_from_anywhere(source, make):
    secrets = looped_service(make, source, lambda value: OnlyAclose(), close=None)
    assert isinstance(read(secrets), OnlyAclose)


async def test_a_callable_object_may_be_an_async_factory(source, make):
    class Opener:
        async def __call__(self, value):
            return value

    secrets = looped_service(make, source, Opener())
    assert await aread(secrets) == "v1"
    await secrets.aclose()


# promise 17
async def test_the_lifespan_closes_what_belongs_to_its_loop(looped):
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    engines = []

    async def app(scope, receive, send):
        await receive()
        engines.append(await aread(looped))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append((message["type"], [engine.closes for engine in engines]))

    sent = []
    await LifespanMiddleware(app, looped)({"type": "lifespan"}, receive, send)
    assert sent == [("lifespan.startup.complete", [0]), ("lifespan.shutdown.complete", [1])]


# -- given values and overrides --------------------------------------------------------------


def test_a_given_value_makes_an_object_for_its_scope_alone(service, factory, events):
    with request_scope(values={"VERSIONED_KEY": "given"}):
        one = service.engine()
        assert one is service.engine()
        assert one.use() == ("given",)
        with ThreadPoolExecutor(1) as pool:
            assert (
                pool.submit(contextvars.copy_context().run, service.engine).result(10).values
                == one.values
            )
        with request_scope():
            other = service.engine()
            assert other is not one
        assert other.closed.wait(10)
        one.use()
    assert one.closed.wait(10)
    assert read(service).use() == ("v1",)
    assert len(events.of(Built)) == 1


def test_threads_of_one_scope_share_what_is_built_of_a_given_value(service, factory):
    factory.hold()
    with request_scope(values={"VERSIONED_KEY": "given"}), ThreadPoolExecutor(2) as pool:
        contexts = [contextvars.copy_context() for _ in range(2)]
        reads = [pool.submit(context.run, service.engine) for context in contexts]
        assert factory.entered.wait(10)
        factory.release()
        assert reads[0].result(10) is reads[1].result(10)
    assert len(factory.built) == 1


def test_a_given_value_that_nothing_can_be_built_of_is_an_error_each_time(
    service, factory, events
):
    old = read(service)
    factory.fault = ConnectionError()
    for _ in range(2):
        with request_scope(values={"VERSIONED_KEY": "given"}), pytest.raises(BuildError):
            service.engine()
    assert events.of(BuildFailed) == []
    assert read(service) is old


def test_the_object_can_be_overridden(service, factory):
    fake = Engine("canary-7f3a")
    with service.engine.override(fake):
        assert service.engine() is fake
        with request_scope():
            assert service.engine() is fake
        assert "canary" not in repr(service.engine.last_overriding)
    assert factory.built == []
    with service.engine.override(providers.Callable(lambda: fake)):
        assert service.engine() is fake
    service.engine.override(fake)
    service.engine.override(fake)
    service.engine.reset_override()
    assert read(service) is not fake


def test_an_override_in_the_middle_of_a_scope_is_seen_and_undone(service):
    with request_scope():
        engine = service.engine()
        with service.engine.override("fake"):
            assert service.engine() == "fake"
        assert service.engine() is engine


async def test_an_async_object_can_be_overridden(looped, make):
    fake = object()
    with looped.engine.override(fake):
        assert await looped.engine.async_() is fake
        assert looped.engine() is fake
    with looped.engine.override(providers.Callable(open_engine, "fake")):
        assert (await looped.engine.async_()).values == ("fake",)
    other = make(looped.declarative_parent)
    with looped.engine.override(other.engine):
        assert (await aread(looped)).values == ("v1",)
    await other.aclose()


def test_an_overridden_secret_makes_an_object_of_its_own(service, source, make, factory):
    real = read(service)
    with service.key.override("other"):
        outside = service.engine()
        assert outside.use() == ("other",)
        assert service.engine() is outside
        with request_scope():
            assert service.engine() is outside
    assert read(service) is real
    with service.key.override(providers.Callable(lambda: "called")), request_scope():
        called = service.engine()
        assert (called.use(), service.engine()) == (("called",), called)
    assert called.closed.wait(10)
    source.add("VERSIONED_OTHER", "o1")

    class Other(SecretContainer):
        key = DynamicSecret("VERSIONED_OTHER", str)

    other = make(Other)
    with service.key.override(other.key), request_scope():
        assert service.engine().use() == ("o1",)
        assert service.engine() is service.engine()
    service.close()
    assert outside.closes == 1


# -- as a provider ---------------------------------------------------------------------------


class Client:
    def __init__(self, engine=None):
        self.engine = engine


# promise 14
def test_it_arrives_in_another_provider_as_itself(source, make, factory):
    class Service(SecretContainer):
        key = DynamicSecret("VERSIONED_KEY", str, freshness=EVERY_REQUEST)
        engine = PerVersion(factory, key)
        client = providers.Singleton(Client, engine=engine)

    source.add("VERSIONED_KEY", "v1")
    secrets = make(Service)
    assert factory.built == []
    with request_scope():
        assert secrets.client().engine().use() == ("v1",)
    source.add("VERSIONED_KEY", "v2")
    with request_scope():
        assert secrets.client().engine().use() == ("v2",)
    assert secrets.check() == []


# promise 14
@pytest.mark.parametrize(
    "capture",
    [
        lambda engine: providers.Dependency(default=engine),
        lambda engine: providers.Singleton(Client, engine.provided.values),
        lambda engine: providers.Singleton(Client, providers.Selector(lambda: "a", a=engine)),
    ],
)
def test_an_object_cannot_be_captured_by_accident(capture):
    with pytest.raises(DeclarationError, match="make_engine"):

        class Service(SecretContainer):
            key = DynamicSecret("VERSIONED_KEY")

            def make_engine(self):
                """Builds nothing."""

            engine = PerVersion(make_engine, key)
            client = capture(engine)


# promise 14
def test_the_error_for_a_captured_value_names_the_way_to_the_plain_value():
    with pytest.raises(DeclarationError, match="PerVersion"):

        class Service(SecretContainer):
            key = DynamicSecret("VERSIONED_KEY")
            client = providers.Singleton(Client, key.provided.value)


# promise 13
def test_its_secrets_are_held_to_the_policy():
    with pytest.raises(DeclarationError, match="DATABASE_PASSWORD"):

        class Service(SecretContainer):
            engine = PerVersion(Engine, DynamicSecret("DATABASE_PASSWORD"))


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: PerVersion(Engine), "takes no secret"),
        (lambda: PerVersion(Engine, "canary-7f3a"), "takes a str, which is no secret"),
        (lambda: PerVersion(Engine, key=providers.Object(1)), "takes a Object"),
        (
            lambda: PerVersion(Engine, DynamicSecret("VERSIONED_KEY"), close=open_engine),
            "close of a PerVersion is `async def`",
        ),
        (
            lambda: PerVersion(Engine, DynamicSecret("VERSIONED_KEY"), probe=open_engine),
            "probe of a PerVersion is `async def`",
        ),
    ],
)
def test_a_wrong_declaration_is_an_error_with_its_cure(declare, told):
    with pytest.raises(DeclarationError, match=told) as caught:
        declare()
    assert "canary" not in str(caught.value)


def test_without_a_container_it_says_so():
    engine = PerVersion(Engine, DynamicSecret("VERSIONED_KEY"))
    with pytest.raises(DeclarationError, match="belongs to no container instance"):
        engine()


# promise 15
def test_it_is_shown_without_a_value_and_not_pickled(service):
    read(service)
    texts = [repr(service.engine), str(service.engine), repr(service.engine._registry)]
    assert texts == ["<PerVersion engine of VERSIONED_KEY>"] * 2 + ["<Registry of engine>"]
    registry = service.engine._registry
    assert "v1" not in repr(registry._lines)
    assert "v1" not in repr(registry.recipe)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(service.engine)


def test_loading_builds_nothing_and_the_status_shows_the_secrets_only(service, factory):
    service.load()
    assert factory.built == []
    assert [row.name for row in service.status()] == ["VERSIONED_KEY"]


def test_a_copy_of_the_container_shares_the_objects(service):
    engine = read(service)
    twin = copy.deepcopy(service)
    assert read(twin) is engine
    twin.close()
    assert engine.closes == 1


def test_a_copied_provider_keeps_its_overriding_and_its_secrets(service):
    memo = {}
    service.engine.override("fake")
    twin = copy.deepcopy(service.engine, memo)
    assert twin() == "fake"
    assert service.engine.__deepcopy__(memo) is twin
    assert next(iter(twin.related)).name == "VERSIONED_KEY"
    service.engine.reset_override()
    assert copy.deepcopy(service.engine)._registry is service.engine._registry


def test_instances_of_one_class_share_nothing(service, make):
    other = make(service.declarative_parent)
    assert read(service) is not read(other)


def test_a_secret_that_is_only_in_it_is_loaded_and_bound_too(source, make):
    class Service(SecretContainer):
        engine = PerVersion(Engine, StaticSecret("VERSIONED_SIGNING_KEY"))

    source.add("VERSIONED_SIGNING_KEY", "s1")
    secrets = make(Service)
    with request_scope(), pytest.raises(StaticSecretInScope):
        secrets.engine()
    (value,) = secrets.engine().values
    assert value.get_secret_value() == "s1"
    with request_scope():
        assert secrets.engine().values == (value,)
    assert source.count("VERSIONED_SIGNING_KEY") == 1


# -- processes -------------------------------------------------------------------------------


def in_child(work):
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


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


# promise 16
@forks
def test_a_child_builds_anew_and_neither_uses_nor_closes_what_it_inherited(service, factory):
    kept = service.engine()
    with request_scope():
        parents = service.engine()

        def child():
            mine = service.engine()
            with request_scope():
                assert service.engine() is mine
            return mine is parents, parents.closes, len(factory.built)

        assert in_child(child) == "(False, 0, 2)"

    def end():
        mine = read(service)
        service.close()
        return mine.closes, kept.closes, parents.closes

    assert in_child(end) == "(1, 0, 0)"
    assert read(service) is kept is parents


# promise 16: what the gate calls in a child, called here
def test_what_an_inherited_scope_holds_is_not_found_in_a_child(service):
    with request_scope():
        parents = service.engine()
        service.engine.renew_after_fork()
        service.engine._registry.renew_after_fork()
        assert service.engine() is not parents
    assert parents.closes == 0
    parents.close()


# promise 16
@forks
def test_a_scope_that_is_inherited_gives_nothing_back_in_the_child(service, source):
    with request_scope():
        old = service.engine()
        source.add("VERSIONED_KEY", "v2")
        contextvars.Context().run(read, service)

        def child():
            from pgp_config.scopes import current_scope

            current_scope().close()
            return old.closes

        assert in_child(child) == "0"
        old.use()


# promise 16
@forks
def test_what_a_child_inherited_is_never_freed(source, make):
    freed = []

    class Socket:
        def __init__(self, value):
            self.value = value

        def __del__(self):
            freed.append(os.getpid())

    secrets = looped_service(make, source, Socket)
    read(secrets)

    def child():
        import gc

        nonlocal secrets
        secrets.close()
        secrets = None
        gc.collect()
        return freed

    assert in_child(child) == "[]"


# promise 16
@forks
def test_a_fork_during_a_build_leaves_the_child_its_own(service, factory):
    service.load()
    factory.hold()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, service)
        assert factory.entered.wait(10)

        def child():
            # Not release(): the parent's thread may hold the events' locks at the moment of the fork.
            factory.entered, factory.released = threading.Event(), threading.Event()
            factory.released.set()
            return read(service).use()

        assert in_child(child) == "('v1',)"
        factory.release()
        assert reading.result(10).use() == ("v1",)
    assert len(factory.built) == 1
