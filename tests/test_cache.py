"""Promises 4 to 10: freshness, coalescing, monotonic versions, last good, validate then promote."""

import asyncio
import contextvars
import gc
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import google_crc32c
import pytest
from pydantic import SecretStr

from pgp_config import (
    EVERY_REQUEST,
    BlockingRead,
    DynamicSecret,
    Freshness,
    RejectedVersion,
    SecretContainer,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
    StaticSecret,
    request_scope,
)
from pgp_config.cache import Cache, Flight, Known, Need, Spec, tick
from pgp_config.events import (
    Fetched,
    FetchFailed,
    LatestDisabled,
    Loaded,
    Reloaded,
    ServedStale,
    VersionRejected,
)
from pgp_config.scopes import lone_scope
from pgp_config.secret import Decoder, Payload

DOWN = SecretUnavailable("the source is down", remedy="Wait.")


class One(SecretContainer):
    key = DynamicSecret("CACHE_KEY", str)


class Strict(SecretContainer):
    key = DynamicSecret("CACHE_KEY", str, freshness=EVERY_REQUEST)


class Two(SecretContainer):
    key = DynamicSecret("CACHE_KEY", str)
    other = DynamicSecret("CACHE_OTHER", str)


@pytest.fixture
def one(source, make):
    source.add("CACHE_KEY", "v1")
    secrets = make(One)
    secrets.load()
    return secrets


def in_own_context(read):
    return contextvars.Context().run(read)


def land(hold, secrets):
    """Let a held background fetch go on, and wait until it has landed."""
    flight = next(iter(secrets._cache._entries.values())).flight
    hold.release()
    if flight is not None:
        flight.outcome.result(10)


# promise 4
def test_within_max_age_nobody_asks_the_source(one, source, clock):
    for _ in range(5):
        clock.advance(0.7)
        with request_scope():
            assert one.key() == "v1"
    assert source.count("CACHE_KEY") == 1


# promise 4
def test_past_max_age_the_first_read_brings_the_newest(one, source, clock):
    source.add("CACHE_KEY", "v2")
    clock.advance(5.001)
    with request_scope():
        assert one.key() == "v2"


# promise 4
def test_age_counts_from_the_beginning_of_the_fetch(source, clock, make):
    source.add("CACHE_KEY", "v1")
    secrets = make(One)
    hold = source.hold("CACHE_KEY")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(secrets.key)
        assert hold.entered.wait(10)
        clock.advance(4)
        hold.release()
        assert read.result(10) == "v1"
    source.add("CACHE_KEY", "v2")
    clock.advance(1.001)
    assert secrets.key() == "v2"


# promise 4
def test_freshness_by_secret_by_container_and_by_default(source, clock, make):
    class Mixed(SecretContainer):
        slow = DynamicSecret("CACHE_SLOW", str, freshness=Freshness(60))
        usual = DynamicSecret("CACHE_USUAL", str)

    source.add("CACHE_SLOW", "v1")
    source.add("CACHE_USUAL", "v1")
    secrets = make(Mixed, freshness=Freshness(10))
    secrets.load()
    source.add("CACHE_SLOW", "v2")
    source.add("CACHE_USUAL", "v2")
    clock.advance(7)
    assert (secrets.slow(), secrets.usual()) == ("v1", "v1")
    clock.advance(3.5)
    assert (secrets.slow(), secrets.usual()) == ("v1", "v2")


def test_the_environment_sets_the_default_freshness(source, clock, make, monkeypatch):
    monkeypatch.setenv("PGP_CONFIG_MAX_AGE", "1")
    source.add("CACHE_KEY", "v1")
    secrets = make(One)
    secrets.load()
    source.add("CACHE_KEY", "v2")
    clock.advance(1.001)
    assert secrets.key() == "v2"


# promise 4
def test_every_request_sees_a_rotation_at_once(source, make):
    source.add("CACHE_KEY", "v1")
    secrets = make(Strict)
    for number in range(2, 6):
        source.add("CACHE_KEY", f"v{number}")
        with request_scope():
            assert secrets.key() == f"v{number}"


# promise 5
def test_a_strict_secret_is_fetched_once_a_scope_and_not_in_the_background_besides(source, make):
    source.add("CACHE_KEY", "v1")
    secrets = make(Strict)
    cache, spec = secrets._cache, secrets.key._spec
    scope = lone_scope()
    known = cache.wait(spec, scope.begin(cache, spec))
    # As a second thread of the scope does that comes when the first one's fetch has landed.
    assert scope.begin(cache, spec) is known
    assert cache._entries[spec].flight is None
    assert source.count("CACHE_KEY") == 1


# promise 4 and 5
def test_a_strict_reader_does_not_join_a_fetch_that_began_before_its_scope(source, make):
    source.add("CACHE_KEY", "v1")
    secrets = make(Strict)
    hold = source.hold("CACHE_KEY")
    cache, spec = secrets._cache, secrets.key._spec
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(secrets.key)
        assert hold.entered.wait(10)
        late = {lone_scope().begin(cache, spec) for _ in range(5)}
        assert len(late) == 1
        source.add("CACHE_KEY", "v2")
        hold.release()
        early.result(10)
        assert cache.wait(spec, late.pop()).value == "v2"
    assert source.most_in_flight("CACHE_KEY") == 1
    assert source.count("CACHE_KEY") == 2


# promise 5
def test_readers_at_expiry_share_one_fetch(one, source, clock):
    clock.advance(6)
    hold = source.hold("CACHE_KEY")
    with ThreadPoolExecutor(16) as pool:
        reads = [pool.submit(one.key) for _ in range(16)]
        assert hold.entered.wait(10)
        hold.release()
        assert {read.result(10) for read in reads} == {"v1"}
    assert source.count("CACHE_KEY") == 2


# promise 5
async def test_sync_and_async_readers_share_a_fetch(one, source, clock):
    clock.advance(6)
    hold = source.hold("CACHE_KEY")
    waiting = asyncio.create_task(one.key.async_())
    thread = asyncio.create_task(asyncio.to_thread(one.key))
    await asyncio.to_thread(hold.entered.wait, 10)
    hold.release()
    assert await waiting == await thread == "v1"
    assert source.count("CACHE_KEY") == 2


# promise 6
def test_from_eighty_percent_a_read_refreshes_in_the_background(one, source, clock, events):
    source.add("CACHE_KEY", "v2")
    clock.advance(3.9)
    assert one.key() == "v1"
    assert source.count("CACHE_KEY") == 1
    clock.advance(0.2)
    hold = source.hold("CACHE_KEY")
    assert one.key() == "v1"
    assert hold.entered.wait(10)
    assert one.key() == "v1"
    assert events.of(ServedStale) == events.of(FetchFailed) == []
    land(hold, one)
    assert one.key() == "v2"
    assert source.count("CACHE_KEY") == 2
    assert [(e.old_version, e.version) for e in events.of(Reloaded)] == [(1, 2)]


# promise 6
def test_no_thread_runs_without_a_read(one, source, clock):
    clock.advance(600)
    assert source.count("CACHE_KEY") == 1


# promise 7
def test_a_lagging_latest_does_not_bring_back_an_older_version(one, source, clock):
    source.add("CACHE_KEY", "v2")
    clock.advance(6)
    assert one.key() == "v2"
    source.lag("CACHE_KEY", 1)
    clock.advance(6)
    assert one.key() == "v2"
    assert source.calls[-1] == ("CACHE_KEY", 2)


# promise 7
@pytest.mark.parametrize("error", [SecretDisabled("is disabled"), SecretNotFound("is gone")])
def test_a_rollback_is_confirmed_by_number_and_then_followed(one, source, clock, error):
    source.add("CACHE_KEY", "v2")
    clock.advance(6)
    assert one.key() == "v2"
    source.lag("CACHE_KEY", 1)
    source.fail("CACHE_KEY", error, version=2)
    clock.advance(6)
    assert one.key() == "v1"


# promise 7
def test_a_rollback_that_cannot_be_confirmed_leaves_the_last_good(one, source, clock, events):
    source.add("CACHE_KEY", "v2")
    clock.advance(6)
    assert one.key() == "v2"
    source.lag("CACHE_KEY", 1)
    source.fail("CACHE_KEY", DOWN, version=2)
    clock.advance(6)
    assert one.key() == "v2"
    assert events.of(ServedStale)


DISABLED = SecretDisabled("is disabled", remedy="Enable it.")


def disable(source, version):
    """As Secret Manager: `latest` is the newest version in any state."""
    source.fail("CACHE_KEY", DISABLED, version)
    source.fail("CACHE_KEY", DISABLED, "latest")


# promise 7
def test_a_disabled_latest_falls_back_to_the_known_version_and_says_so(one, source, clock, events):
    disable(source, source.add("CACHE_KEY", "v2"))
    clock.advance(6)
    assert one.key() == "v1"
    assert [event.version for event in events.of(LatestDisabled)] == [1]
    assert not events.of(ServedStale)
    assert one.status()[0].state == "ok"
    clock.advance(3600)
    assert one.key() == "v1"
    source.fail("CACHE_KEY", None, "latest")
    source.add("CACHE_KEY", "v3")
    clock.advance(6)
    assert one.key() == "v3"


# promise 7
def test_a_served_version_that_is_disabled_gives_way_to_the_one_before(one, source, clock, events):
    newest = source.add("CACHE_KEY", "v2")
    clock.advance(6)
    assert one.key() == "v2"
    disable(source, newest)
    clock.advance(6)
    assert one.key() == "v1"
    assert (events[-1].old_version, events[-1].version) == (2, 1)


# promise 7
def test_a_process_that_slept_takes_the_newest_enabled_version(one, source, clock):
    """Frozen while version 2 came, and version 3 came and was disabled."""
    source.add("CACHE_KEY", "v2")
    disable(source, source.add("CACHE_KEY", "v3"))
    clock.advance(600)
    assert one.key() == "v2"


# promises 7 and 10
def test_a_bad_version_is_no_way_out_of_a_disabled_latest(source, make, clock, events):
    class Typed(SecretContainer):
        limit = DynamicSecret("CACHE_KEY", int)

    source.add("CACHE_KEY", "1")
    secrets = make(Typed)
    secrets.load()
    bad = source.add("CACHE_KEY", "two")
    disable(source, source.add("CACHE_KEY", "3"))
    for _ in range(2):
        clock.advance(6)
        assert secrets.limit() == 1
    assert len(events.of(VersionRejected)) == 1
    assert source.calls.count(("CACHE_KEY", bad)) == 1


# promises 7 and 9
def test_where_no_version_is_enabled_the_last_good_is_served_as_stale(one, source, clock, events):
    source.fail("CACHE_KEY", DISABLED)
    clock.advance(6)
    assert one.key() == "v1"
    assert events.of(ServedStale)
    clock.advance(3600)
    with pytest.raises(SecretUnavailable, match="is disabled"):
        one.key()


# promise 7
def test_without_a_known_version_a_disabled_latest_is_an_error(source, make):
    disable(source, source.add("CACHE_KEY", "v1"))
    with pytest.raises(SecretDisabled, match="CACHE_KEY in One: is disabled"):
        make(One).key()


# promise 8
def test_a_reader_waits_no_longer_than_the_budget(source, make):
    source.add("CACHE_KEY", "v1")
    secrets = make(One)
    secrets._cache.budget = 0
    hold = source.hold("CACHE_KEY")
    with pytest.raises(SourceTimeout, match="CACHE_KEY in One: the source did not answer within"):
        secrets.key()
    hold.release()


# promise 8
async def test_a_coroutine_waits_no_longer_than_the_budget(one, source, clock, events):
    one._cache.budget = 0
    clock.advance(6)
    hold = source.hold("CACHE_KEY")
    assert await one.key.async_() == "v1"
    assert len(events.of(ServedStale)) == 1
    hold.release()


# promise 9
def test_in_an_outage_the_last_good_value_is_served_with_an_event_each_time(
    one, source, clock, events
):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(6)
    for _ in range(3):
        with request_scope():
            assert one.key() == "v1"
            assert one.key() == "v1"
    stale = events.of(ServedStale)
    assert [(e.secret, e.version, e.age) for e in stale] == [("CACHE_KEY", 1, 6.0)] * 3


# promise 9
def test_past_max_stale_the_secret_is_unavailable_and_says_why(one, source, clock):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(3601)
    with pytest.raises(SecretUnavailable, match=r"confirmed 3601 s ago.*the source is down.*Wait"):
        one.key()
    source.fail("CACHE_KEY", None)
    clock.advance(100)
    assert one.key() == "v1"


# promise 9
def test_a_failing_secret_is_asked_again_after_a_growing_pause(one, source, clock, events):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(6)
    for _ in range(180):
        one.key()
        wait_for_landing(one)
        clock.advance(1)
    pauses = [event.pause for event in events.of(FetchFailed)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def wait_for_landing(secrets):
    for entry in secrets._cache._entries.values():
        flight = entry.flight
        if flight is not None:
            flight.outcome.result(10)


# promise 9
def test_while_a_source_fails_nobody_waits_for_it(one, source, clock):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(6)
    one.key()
    source.fail("CACHE_KEY", None)
    source.add("CACHE_KEY", "v2")
    clock.advance(2)
    hold = source.hold("CACHE_KEY")
    assert one.key() == "v1"
    assert hold.entered.wait(10)
    land(hold, one)
    assert one.key() == "v2"


# promise 9
def test_a_strict_secret_is_asked_for_again_by_the_first_scope_after_the_pause(
    source, clock, make
):
    source.add("CACHE_KEY", "v1")
    secrets = make(Strict)
    secrets.load()
    source.fail("CACHE_KEY", DOWN)
    assert secrets.key() == "v1"
    source.fail("CACHE_KEY", None)
    source.add("CACHE_KEY", "v2")
    assert secrets.key() == "v1"
    clock.advance(1.01)
    assert secrets.key() == "v2"


# promise 9
def test_a_failing_secret_does_not_hurt_the_others(source, clock, make):
    source.add("CACHE_KEY", "v1")
    source.add("CACHE_OTHER", "v1")
    secrets = make(Two)
    secrets.load()
    source.fail("CACHE_KEY", SecretForbidden("is forbidden"))
    source.add("CACHE_OTHER", "v2")
    clock.advance(6)
    assert (secrets.key(), secrets.other()) == ("v1", "v2")


# promise 9
def test_without_a_last_good_value_the_error_is_the_sources_and_is_not_asked_for_twice(
    source, make
):
    source.fail("CACHE_KEY", SecretForbidden("may not be read", remedy="Grant it."))
    secrets = make(One)
    for _ in range(3):
        with pytest.raises(SecretForbidden, match=r"CACHE_KEY in One: may not be read. Grant it."):
            secrets.key()
    assert source.count("CACHE_KEY") == 1


async def test_an_error_comes_alone_without_what_was_tried_before_it(source, make):
    source.fail("CACHE_KEY", SecretForbidden("may not be read"))
    secrets = make(One)
    with pytest.raises(SecretForbidden) as caught:
        await secrets.key.async_()
    assert caught.value.__context__ is None
    with request_scope(), pytest.raises(SecretForbidden) as caught:
        secrets.key()
    assert caught.value.__context__ is None


def test_whatever_a_source_raises_becomes_an_error_of_ours_without_its_text(source, make):
    source.fail("CACHE_KEY", KeyError("canary-7f3a"))
    secrets = make(One)
    with pytest.raises(SecretUnavailable, match="failed with KeyError") as caught:
        secrets.key()
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


# promise 10
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (Payload(b"\xff\xfe", 2), "is not UTF-8"),
        (Payload(b"twelve", 2), "not a valid int"),
        (Payload(b"\n", 2), "is empty"),
        (Payload(b"-----BEGIN EC PRIVATE KEY-----", 2), "private-key material"),
    ],
)
def test_a_bad_version_is_quarantined_and_the_last_good_stays(
    source, clock, make, events, payload, reason
):
    class Typed(SecretContainer):
        limit = DynamicSecret("CACHE_LIMIT", int)

    source.add("CACHE_LIMIT", "11")
    secrets = make(Typed)
    secrets.load()
    source.put("CACHE_LIMIT", payload)
    for _ in range(3):
        clock.advance(6)
        assert secrets.limit() == 11
    (rejected,) = events.of(VersionRejected)
    assert (rejected.secret, rejected.version) == ("CACHE_LIMIT", 2)
    assert reason in str(rejected.error)
    assert events.of(ServedStale) == []
    source.add("CACHE_LIMIT", "13")
    clock.advance(6)
    assert secrets.limit() == 13


# promise 10
def test_a_good_version_that_was_missed_is_taken_below_a_bad_one(one, source, clock, events):
    source.add("CACHE_KEY", "v2")
    source.add("CACHE_KEY", b"\xff")
    clock.advance(600)
    assert one.key() == "v2"
    assert [event.version for event in events.of(VersionRejected)] == [3]


# promise 10
def test_a_version_that_was_damaged_on_its_way_is_taken_once_it_arrives_whole(
    source, clock, make, events
):
    class Typed(SecretContainer):
        limit = DynamicSecret("CACHE_LIMIT", int)

    source.add("CACHE_LIMIT", "11")
    secrets = make(Typed)
    secrets.load()
    source.put("CACHE_LIMIT", Payload(b"12", 2, crc32c=1))
    for _ in range(2):
        clock.advance(6)
        assert secrets.limit() == 11
    told = [(event.version, "crc32c" in str(event.error)) for event in events.of(VersionRejected)]
    assert told == [(2, True)] * 2
    source.put("CACHE_LIMIT", Payload(b"12", 2, crc32c=google_crc32c.value(b"12")))
    clock.advance(6)
    assert secrets.limit() == 12


def test_a_bad_first_version_is_an_error_until_a_good_one_comes(source, clock, make, events):
    source.add("CACHE_LIMIT", "eleven")

    class Typed(SecretContainer):
        limit = DynamicSecret("CACHE_LIMIT", int)

    secrets = make(Typed)
    for _ in range(3):
        with pytest.raises(
            RejectedVersion, match="CACHE_LIMIT in Typed: version 1 is not a valid"
        ):
            secrets.limit()
        clock.advance(100)
    assert len(events.of(VersionRejected)) == 1
    source.add("CACHE_LIMIT", "11")
    clock.advance(100)
    assert secrets.limit() == 11


def test_events_tell_the_life_of_a_secret(one, source, clock, events):
    source.add("CACHE_KEY", "v2")
    clock.advance(6)
    one.key()
    assert [type(e) for e in events] == [Fetched, Loaded, Fetched, Reloaded]
    assert {(e.container, e.secret) for e in events} == {("One", "CACHE_KEY")}


# promise 16
async def test_a_sync_read_that_would_block_the_loop_is_an_error_that_names_the_await(
    one, clock, source
):
    assert one.key() == "v1"
    clock.advance(6)
    with pytest.raises(BlockingRead, match=r"CACHE_KEY in One.*await secrets\.cache_key\.async_"):
        one.key()
    with pytest.raises(BlockingRead, match=r"await secrets\.cache_key\.arefresh"):
        one.key.refresh()
    assert await one.key.async_() == "v1"
    assert one.key() == "v1"


async def test_refreshing_from_a_coroutine(one, source):
    assert await one.key.arefresh() is False
    source.add("CACHE_KEY", "v2")
    async with request_scope():
        assert await one.key.arefresh() is True
        assert one.key() == "v2"


def test_a_refresh_in_an_outage_changes_nothing_and_asks_once(one, source, events):
    source.fail("CACHE_KEY", DOWN)
    assert one.key.refresh() is False
    assert one.key.refresh() is False
    assert source.count("CACHE_KEY") == 2
    assert len(events.of(ServedStale)) == 2


async def test_a_refresh_from_a_coroutine_in_an_outage(one, source):
    source.fail("CACHE_KEY", DOWN)
    assert await one.key.arefresh() is False
    assert await one.key.arefresh() is False


# promise 5
async def test_one_cancelled_waiter_leaves_the_others_alone(one, source, clock):
    clock.advance(6)
    hold = source.hold("CACHE_KEY")
    impatient = asyncio.create_task(one.key.async_())
    patient = asyncio.create_task(one.key.async_())
    await asyncio.to_thread(hold.entered.wait, 10)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    source.add("CACHE_KEY", "v2")
    hold.release()
    assert await patient in {"v1", "v2"}
    assert source.count("CACHE_KEY") == 2


def test_closing_is_idempotent_ends_threads_and_makes_late_reads_a_clear_error(one, source):
    one.close()
    one.close()
    assert source.closed == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("pgp-config")]
    for read in (one.key, one.key.refresh, one.load):
        with pytest.raises(SecretUnavailable, match="was closed"):
            read()


def test_closing_tells_those_who_wait(source, make):
    source.add("CACHE_KEY", "v1")
    secrets = make(Strict)
    hold = source.hold("CACHE_KEY")
    cache, spec = secrets._cache, secrets.key._spec
    with ThreadPoolExecutor(2) as pool:
        flying = pool.submit(secrets.key)
        assert hold.entered.wait(10)
        queued = lone_scope().begin(cache, spec)
        closing = pool.submit(secrets.close)
        with pytest.raises(SecretUnavailable, match="was closed"):
            flying.result(10)
        with pytest.raises(SecretUnavailable, match="was closed"):
            cache.wait(spec, queued)
        hold.release()
        closing.result(10)


def test_a_scope_that_outlives_the_container_starts_nothing(one, source, clock):
    with request_scope() as scope:
        scope._pin(one._cache)
        clock.advance(4.5)
        one.close()
        with pytest.raises(SecretUnavailable, match="was closed"):
            one.key()
    assert source.count("CACHE_KEY") == 1


def test_a_container_that_is_forgotten_open_warns(source):
    source.add("CACHE_KEY", "v1")
    secrets = One(source=source, observers=[])
    secrets.load()
    executor = secrets._cache._executor
    del secrets
    with pytest.warns(ResourceWarning, match="One was not closed"):
        gc.collect()
    executor.shutdown()


def test_a_container_that_fetched_nothing_needs_no_close(source):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        secrets = One(source=source)
        del secrets
        gc.collect()


# promise 9
def test_where_no_thread_can_be_started_the_last_good_is_served(
    one, source, clock, events, monkeypatch
):
    """At the shut-down of the interpreter, or when the system is out of threads."""

    def no_more(*_):
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(one._cache._executor, "submit", no_more)
    clock.advance(4.5)
    assert one.key() == "v1"
    clock.advance(1)
    assert one.key() == "v1"
    assert [event.age for event in events.of(ServedStale)] == [5.5]
    clock.advance(3600)
    with pytest.raises(SecretUnavailable, match="no thread can be started"):
        one.key()
    monkeypatch.undo()
    assert one.key() == "v1"


# promise 5
def test_those_who_queue_are_told_where_no_thread_can_be_started(source, make, monkeypatch):
    source.add("CACHE_KEY", "v1")
    secrets = make(Strict)
    secrets.load()
    hold = source.hold("CACHE_KEY")
    cache, spec = secrets._cache, secrets.key._spec
    first = cache.admit(spec, Need(after=tick()))
    second = cache.admit(spec, Need(after=tick()))

    def no_more(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(cache._executor, "submit", no_more)
    hold.release()
    assert cache.wait(spec, first, 30).value == "v1"
    assert cache.wait(spec, second, 30).value == "v1"
    assert cache._entries[spec].flight is None


# promise 5
def test_an_observer_that_ends_its_thread_keeps_nobody_waiting(source, make):
    def leave(event):
        if isinstance(event, Loaded):
            raise SystemExit

    source.add("CACHE_KEY", "v1")
    secrets = make(One, observers=[leave])
    secrets._cache.budget = 3600
    assert secrets.key() == "v1"


def test_closing_closes_the_source_although_it_is_interrupted(one, source, monkeypatch):
    executor = one._cache._executor

    def interrupted(**_):
        monkeypatch.undo()
        executor.shutdown()
        raise KeyboardInterrupt

    monkeypatch.setattr(executor, "shutdown", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.close()
    assert source.closed == 1


def test_the_status_tells_state_version_and_age(source, clock, make):
    class All(SecretContainer):
        good = DynamicSecret("CACHE_GOOD", str)
        late = DynamicSecret("CACHE_LATE", str)
        gone = DynamicSecret("CACHE_GONE", str, freshness=Freshness(1, 2))
        never = DynamicSecret("CACHE_NEVER", str)
        fixed = StaticSecret("CACHE_FIXED")

    for name in ("GOOD", "LATE", "GONE", "FIXED"):
        source.add(f"CACHE_{name}", "v")
    secrets = make(All)
    for read in (secrets.good, secrets.late, secrets.gone, secrets.fixed):
        read()
    source.fail("CACHE_LATE", DOWN)
    source.fail("CACHE_GONE", DOWN)
    clock.advance(6)
    for read in (secrets.good, secrets.late):
        read()
    with pytest.raises(SecretUnavailable):
        secrets.gone()
    rows = {row.name: (row.kind, row.state, row.version, row.age) for row in secrets.status()}
    assert rows == {
        "CACHE_FIXED": ("static", "ok", 1, 6.0),
        "CACHE_GONE": ("dynamic", "missing", 1, 6.0),
        "CACHE_GOOD": ("dynamic", "ok", 1, 0.0),
        "CACHE_LATE": ("dynamic", "stale", 1, 6.0),
        "CACHE_NEVER": ("dynamic", "missing", None, None),
    }
    assert "the source is down" in {row.error for row in secrets.status()}


# promise 9
def test_looking_at_the_status_brings_a_failing_secret_back(one, source, clock):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(3601)
    with pytest.raises(SecretUnavailable):
        one.key()
    source.fail("CACHE_KEY", None)
    assert [row.state for row in one.status()] == ["missing"]
    assert source.count("CACHE_KEY") == 2
    clock.advance(2)
    hold = source.hold("CACHE_KEY")
    assert [row.state for row in one.status()] == ["missing"]
    assert hold.entered.wait(10)
    one.status()
    land(hold, one)
    assert [row.state for row in one.status()] == ["ok"]
    assert source.count("CACHE_KEY") == 3


def test_secrets_of_another_max_age_join_a_wave_when_half_way_due(source, clock, make):
    class Mixed(SecretContainer):
        quick = DynamicSecret("CACHE_QUICK", str, freshness=Freshness(2))
        slow = DynamicSecret("CACHE_SLOW", str, freshness=Freshness(10))

    source.add("CACHE_QUICK", "v1")
    source.add("CACHE_SLOW", "v1")
    secrets = make(Mixed)
    secrets.load()
    for _ in range(3):
        secrets.slow()
        clock.advance(2.5)
        secrets.quick()
        wait_for_landing(secrets)
    assert source.count("CACHE_SLOW") == 2


def test_a_failing_secret_joins_no_wave(source, clock, make):
    source.add("CACHE_KEY", "v1")
    source.add("CACHE_OTHER", "v1")
    secrets = make(Two)
    secrets.load()
    source.fail("CACHE_OTHER", DOWN)
    clock.advance(6)
    secrets.other()
    before = source.count("CACHE_OTHER")
    secrets.key()
    assert source.count("CACHE_OTHER") == before


def test_a_flight_that_lands_after_the_container_was_closed_is_dropped(one):
    cache = one._cache
    entry = next(iter(cache._entries.values()))
    cache._land(entry, Flight(), Known("x", 9, 0, 0, 0))
    assert entry.known.version == 1


def test_a_read_that_finds_the_flight_already_started_by_another_joins_it(one, clock):
    cache = one._cache
    entry = next(iter(cache._entries.values()))
    clock.advance(4.5)
    with cache._lock:
        flight = entry.flight = Flight()
        assert cache._take_off(entry) is flight
        entry.flight = None


# promise 9
def test_nobody_waits_for_a_flight_that_is_overdue_already(one, source, clock, events):
    clock.advance(6)
    hold = source.hold("CACHE_KEY")
    one._cache.budget = 0
    assert one.key() == "v1"
    assert hold.entered.wait(10)
    one._cache.budget = 3600
    assert one.key() == "v1"
    assert one.key() == "v1"
    assert len(events.of(FetchFailed)) == 1
    assert source.count("CACHE_KEY") == 2
    land(hold, one)
    assert [row.state for row in one.status()] == ["ok"]


# promise 6
def test_a_refresh_that_failed_in_the_background_is_not_repeated_by_each_read(one, source, clock):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(4.1)
    for _ in range(5):
        assert one.key() == "v1"
        wait_for_landing(one)
    assert source.count("CACHE_KEY") == 2


# promise 9
def test_many_who_give_up_on_one_flight_are_one_failure(source, make, events):
    source.add("CACHE_KEY", "v1")
    secrets = make(One)
    hold = source.hold("CACHE_KEY")
    cache, spec = secrets._cache, secrets.key._spec
    flight = cache.admit(spec, Need())
    for _ in range(3):
        with pytest.raises(SourceTimeout):
            cache.wait(spec, flight, 0)
    assert len(events.of(FetchFailed)) == 1
    hold.release()
    assert cache.wait(spec, flight).value == "v1"


# promise 9
def test_nobody_waits_for_a_retry_that_is_under_way(one, source, clock):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(6)
    one.key()
    clock.advance(2)
    hold = source.hold("CACHE_KEY")
    assert one.key() == "v1"
    assert hold.entered.wait(10)
    one._cache.budget = 3600
    assert one.key() == "v1"
    land(hold, one)


# promise 9
def test_no_strict_reader_waits_behind_a_flight_that_was_given_up(source, make, events):
    source.add("CACHE_KEY", "v1")
    secrets = make(Strict)
    secrets.load()
    hold = source.hold("CACHE_KEY")
    secrets._cache.budget = 0
    assert secrets.key() == "v1"
    assert hold.entered.wait(10)
    secrets._cache.budget = 3600
    assert in_own_context(secrets.key) == "v1"
    assert len(events.of(FetchFailed)) == 1
    hold.release()
    wait_for(secrets.key)
    assert source.count("CACHE_KEY") == 2


# promise 9
def test_who_gives_up_in_the_queue_gives_up_the_flight_ahead_for_everybody(source, make, events):
    source.add("CACHE_KEY", "v1")
    source.add("CACHE_OTHER", "v1")
    secrets = make(Two, freshness=EVERY_REQUEST)
    secrets.load()
    secrets.other(), secrets.key()
    wait_for_landing(
        secrets
    )  # the key took the other along: queued behind that, it would take nothing along
    hold = source.hold("CACHE_KEY")
    secrets.other()  # takes the key along, which hangs: nobody waits for that flight
    assert hold.entered.wait(10)
    cache = secrets._cache
    cache.budget = 0
    assert secrets.key() == "v1"
    assert len(events.of(FetchFailed)) == 1
    cache.budget = 3600
    for _ in range(3):
        assert in_own_context(secrets.key) == "v1"
    assert cache._entries[secrets.key._spec].flight.wave is None
    assert len(events.of(FetchFailed)) == 1
    hold.release()
    wait_for(secrets.key)
    wait_for(secrets.key)


# promises 5 and 9
def test_those_who_queue_behind_a_fetch_that_fails_are_told_with_it(source, make, events):
    source.add("CACHE_KEY", "v1")
    secrets = make(Strict)
    secrets.load()
    hold = source.hold("CACHE_KEY")
    source.fail("CACHE_KEY", DOWN)
    cache, spec = secrets._cache, secrets.key._spec
    first = cache.admit(spec, Need(after=tick()))
    second = cache.admit(spec, Need(after=tick()))
    assert hold.entered.wait(10)
    hold.release()
    assert cache.wait(spec, first).value == cache.wait(spec, second).value == "v1"
    assert len(events.of(FetchFailed)) == 1
    assert source.count("CACHE_KEY") == 2


# promise 6
def test_a_slow_secret_does_not_keep_the_others_of_its_wave_from_refreshing(source, clock, make):
    source.add("CACHE_KEY", "v1")
    source.add("CACHE_OTHER", "v1")
    secrets = make(Two)
    secrets.load()
    secrets.key(), secrets.other()
    hold = source.hold("CACHE_OTHER")
    clock.advance(6)
    assert secrets.key() == "v1"
    assert hold.entered.wait(10)
    for number in range(2, 6):
        source.add("CACHE_KEY", f"v{number}")
        clock.advance(4.5)
        secrets.key()
        wait_for(secrets.key)
        assert secrets.key() == f"v{number}"
    hold.release()
    wait_for(secrets.other)
    assert secrets.key() == "v5"


# promises 6 and 9
def test_a_flight_that_was_given_up_does_not_hold_back_its_wave(source, clock, make):
    source.add("CACHE_KEY", "v1")
    source.add("CACHE_OTHER", "v1")
    secrets = make(Two)
    secrets.load()
    secrets.key(), secrets.other()
    source.add("CACHE_KEY", "v2")
    source.add("CACHE_OTHER", "v2")
    hold = source.hold("CACHE_OTHER")
    clock.advance(6)
    secrets._cache.budget = 0
    assert secrets.other() == "v1"
    wait_for(secrets.key)
    generation = secrets._cache.generation
    assert generation[secrets.key._spec].version == 2
    assert generation[secrets.other._spec].version == 1
    hold.release()
    wait_for(secrets.other)
    assert secrets.other() == "v2"
    assert secrets._cache.generation[secrets.other._spec].version == 2


# promise 9
def test_a_flight_that_was_given_up_and_fails_is_one_failure(one, source, clock, events):
    hold = source.hold("CACHE_KEY")
    source.fail("CACHE_KEY", DOWN)
    clock.advance(6)
    one._cache.budget = 0
    assert one.key() == "v1"
    land(hold, one)
    assert len(events.of(FetchFailed)) == 1


# promises 4 and 9: Cloud Run freezes the process between two requests
def test_a_failure_from_before_the_process_slept_keeps_nobody_from_the_newest(one, source, clock):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(6)
    assert one.key() == "v1"
    source.fail("CACHE_KEY", None)
    source.add("CACHE_KEY", "v2")
    clock.advance(600)
    assert one.key() == "v2"


# promise 4: as above, with a fetch in flight when it fell asleep
def test_a_fetch_from_before_the_process_slept_serves_nobody_after_it(one, source, clock):
    hold = source.hold("CACHE_KEY")
    clock.advance(4.1)
    assert one.key() == "v1"
    assert hold.entered.wait(10)
    source.add("CACHE_KEY", "v2")
    clock.advance(600)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(in_own_context, one.key)
        while one._cache._entries[one.key._spec].queued is None:
            pass
        hold.release()
        assert late.result(10) == "v2"
    assert source.count("CACHE_KEY") == 3


# promise 4: as above, and the fetch runs into its deadline when the process is thawed
@pytest.mark.parametrize("asleep", [600, 7200])
def test_a_fetch_that_fails_because_the_process_slept_keeps_nobody_from_the_newest(
    one, source, clock, events, asleep
):
    hold = source.hold("CACHE_KEY")
    source.fail("CACHE_KEY", SourceTimeout("no answer in time"))
    clock.advance(4.1)
    assert one.key() == "v1"
    assert hold.entered.wait(10)
    source.add("CACHE_KEY", "v2")
    clock.advance(asleep)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(in_own_context, one.key)
        while one._cache._entries[one.key._spec].queued is None:
            pass
        flight = one._cache._entries[one.key._spec].flight
        second = source.hold("CACHE_KEY")
        hold.release()
        flight.outcome.result(10)
        assert second.entered.wait(10)
        source.fail("CACHE_KEY", None)
        second.release()
        assert late.result(10) == "v2"
    assert events.of(FetchFailed) == events.of(ServedStale) == []


# promise 4
def test_a_background_fetch_that_fails_because_the_process_slept_is_no_failure(
    one, source, clock, events
):
    hold = source.hold("CACHE_KEY")
    source.fail("CACHE_KEY", SourceTimeout("no answer in time"))
    clock.advance(4.1)
    assert one.key() == "v1"
    assert hold.entered.wait(10)
    clock.advance(600)
    land(hold, one)
    source.fail("CACHE_KEY", None)
    source.add("CACHE_KEY", "v2")
    assert one.key() == "v2"
    assert events.of(FetchFailed) == []


# promise 9
def test_a_secret_that_failed_for_days_comes_back(one, source, clock):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(6)
    one._cache._entries[one.key._spec].failures = 5000
    assert one.key() == "v1"
    source.fail("CACHE_KEY", None)
    source.add("CACHE_KEY", "v2")
    clock.advance(600)
    assert one.key() == "v2"


# promise 9
@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [1, 2, 60]), (1.0, [1.25, 2.5, 45])])
def test_pauses_are_jittered_also_the_longest(source, make, clock, events, chance, pauses):
    source.add("CACHE_KEY", "v1")
    secrets = make(One, chance=lambda: chance)
    secrets.load()
    source.fail("CACHE_KEY", DOWN)
    clock.advance(6)
    for _ in range(10):
        secrets.key()
        wait_for(secrets.key)
        clock.advance(61)
    told = [event.pause for event in events.of(FetchFailed)]
    assert [told[0], told[1], told[-1]] == pauses


# promise 10
def test_a_bad_version_lets_a_good_one_be_found_within_a_second(source, make, clock):
    class Typed(SecretContainer):
        limit = DynamicSecret("CACHE_LIMIT", int)

    source.add("CACHE_LIMIT", "eleven")
    secrets = make(Typed)
    for _ in range(9):
        with pytest.raises(RejectedVersion):
            secrets.limit()
        clock.advance(1)
    source.add("CACHE_LIMIT", "11")
    assert secrets.limit() == 11


# promise 6
@pytest.mark.parametrize(("chance", "due"), [(0.0, 4.0), (1.0, 4.5)])
def test_the_refresh_in_the_background_is_jittered(source, make, clock, chance, due):
    source.add("CACHE_KEY", "v1")
    secrets = make(One, chance=lambda: chance)
    secrets.load()
    clock.advance(due - 0.1)
    secrets.key()
    wait_for(secrets.key)
    assert source.count("CACHE_KEY") == 1
    clock.advance(0.1)
    secrets.key()
    wait_for(secrets.key)
    assert source.count("CACHE_KEY") == 2


# promise 8
def test_by_default_a_reader_waits_two_seconds_at_most(source):
    assert Cache(source, container="Default").budget == 2


# promise 9
def test_past_max_stale_a_reader_waits_for_the_source_that_may_be_back(one, source, clock):
    source.fail("CACHE_KEY", DOWN)
    clock.advance(3590)
    assert one.key() == "v1"
    wait_for(one.key)
    source.fail("CACHE_KEY", None)
    clock.advance(2)
    source.fail("CACHE_KEY", DOWN)
    assert one.key() == "v1"
    wait_for(one.key)
    clock.advance(10)
    source.fail("CACHE_KEY", None)
    source.add("CACHE_KEY", "v2")
    assert one.key() == "v2"


# promise 10: Terraform replaces a secret
def test_a_secret_that_was_deleted_and_created_again_is_seen_under_the_same_number(
    one, source, clock, events
):
    source.put("CACHE_KEY", Payload(b"new", 1))
    clock.advance(6)
    assert one.key() == "new"
    assert [(e.old_version, e.version) for e in events.of(Reloaded)] == [(1, 1)]
    source.put("CACHE_KEY", Payload(b"\xff", 1))
    for _ in range(2):
        clock.advance(6)
        assert one.key() == "new"
    assert len(events.of(VersionRejected)) == 1


# promise 10
def test_a_bad_number_is_looked_at_again_when_its_secret_was_created_anew(one, source, clock):
    source.put("CACHE_KEY", Payload(b"\xff", 2))
    clock.advance(6)
    assert one.key() == "v1"
    source.put("CACHE_KEY", Payload(b"v2", 2))
    clock.advance(6)
    assert one.key() == "v2"
    assert one._cache._entries[one.key._spec].quarantined == {}


def wait_for(secret):
    flight = secret._cache._entries[secret._spec].flight
    if flight is not None:
        flight.outcome.result(10)


def test_texts_of_internal_objects_hold_no_value(one):
    known = next(iter(one._cache.generation.values()))
    assert "v1" not in repr(known)
    assert "v1" not in repr(one._cache)


def test_a_need_is_met_by_a_late_enough_start_only():
    known = Known("x", 1, asked_at=10.0, tick=5, soft_at=14.0)
    assert Need().is_met_by(known)
    assert Need(since=10.0, after=4).is_met_by(known)
    assert not Need(since=10.1).is_met_by(known)
    assert not Need(after=5).is_met_by(known)


def test_a_cache_can_be_used_without_a_container(source):
    source.add("CACHE_KEY", "v1")
    cache = Cache(source, container="Bare")
    spec = Spec("CACHE_KEY", Decoder(SecretStr), dynamic=True)
    cache.add(spec, Freshness())
    known = cache.wait(spec, cache.admit(spec, Need()))
    assert known.version == 1
    cache.close()
