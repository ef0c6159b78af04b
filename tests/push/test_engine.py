"""Promise 19: a version that a push names is fetched at once; `max_age` stays the guarantee."""

import asyncio
import contextvars

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    SecretContainer,
    SecretDisabled,
    SecretEvent,
    SecretNotFound,
    SecretUnavailable,
    StaticSecret,
    request_scope,
)
from pgp_config.events import (
    Announced,
    Fetched,
    FetchFailed,
    Reloaded,
    ServedStale,
    StaticAnnounced,
    VersionRejected,
)

DOWN = SecretUnavailable("the source is down", remedy="Wait.")
DISABLED = SecretDisabled("is disabled", remedy="Enable it.")


class One(SecretContainer):
    key = DynamicSecret("PUSH_KEY", int)


class Strict(SecretContainer):
    key = DynamicSecret("PUSH_KEY", int, freshness=EVERY_REQUEST)


class Pair(SecretContainer):
    key = DynamicSecret("PUSH_KEY", int)
    other = DynamicSecret("PUSH_OTHER", int)


class Fixed(SecretContainer):
    fixed = StaticSecret("PUSH_KEY", int)


def event(kind, version=None, name="PUSH_KEY", project="123"):
    return SecretEvent(f"SECRET_{kind}", name, version, project)


def add(version):
    return event("VERSION_ADD", version)


def push(secrets, told):
    """Tell of an event, and wait until what it set off has landed."""
    landing = secrets.announce(told)
    assert landing.wait(30)
    return bool(landing)


def settle(secrets):
    """Wait until nothing is in flight."""
    entry = secrets._cache._entries[secrets.key._spec]
    while (flight := entry.flight) is not None:
        flight.outcome.result(30)


def read(secrets):
    """What a new request sees."""
    with request_scope():
        return contextvars.Context().run(secrets.key)


@pytest.fixture
def one(source, make):
    source.add("PUSH_KEY", "1")
    secrets = make(One)
    secrets.load()
    return secrets


@pytest.fixture
def rotated(one, source):
    """Version 2 is there, and `latest` lags behind it."""
    source.add("PUSH_KEY", "2")
    source.lag("PUSH_KEY", 1)
    source.calls.clear()
    return one


# promise 19
def test_the_next_request_sees_the_version_that_was_announced(rotated, source, events):
    assert push(rotated, add(2))
    assert read(rotated) == 2
    assert source.calls == [("PUSH_KEY", 2)]
    assert events.of(Announced) == [Announced("One", "PUSH_KEY", 2, "SECRET_VERSION_ADD")]
    assert events.of(Reloaded) == [Reloaded("One", "PUSH_KEY", 1, 2)]


# promise 1
def test_an_open_scope_keeps_its_value(rotated):
    with request_scope():
        assert rotated.key() == 1
        push(rotated, add(2))
        assert rotated.key() == 1
    assert read(rotated) == 2


# promise 7
def test_a_lagging_latest_does_not_bring_the_old_one_back(rotated, source, clock):
    push(rotated, add(2))
    clock.advance(6)
    assert read(rotated) == 2
    assert ("PUSH_KEY", "latest") in source.calls
    with request_scope():
        rotated.key.refresh()
        assert rotated.key() == 2


# promise 4
def test_a_number_confirms_nothing(rotated, source, clock):
    clock.advance(3)
    push(rotated, add(2))
    clock.advance(2.5)  # 5.5 s after `latest` was asked, 2.5 s after the number
    source.lag("PUSH_KEY", 2)
    read(rotated)
    assert source.calls == [("PUSH_KEY", 2), ("PUSH_KEY", "latest")]


# promise 19
def test_a_lost_push_is_made_good_by_max_age(one, source, clock):
    source.add("PUSH_KEY", "2")
    assert read(one) == 1
    clock.advance(5.1)
    assert read(one) == 2


def test_duplicates_and_older_numbers_cost_nothing(rotated, source):
    source.add("PUSH_KEY", "3")
    push(rotated, add(3))
    for late in (3, 2, 1):
        assert not push(rotated, add(late))
        assert not push(rotated, event("VERSION_ENABLE", late))
    assert source.calls == [("PUSH_KEY", 3)]
    assert read(rotated) == 3


def test_duplicates_share_what_is_in_flight(rotated, source):
    source.add("PUSH_KEY", "3")
    hold = source.hold("PUSH_KEY")
    landings = [rotated.announce(add(number)) for number in (3, 3, 2)]
    assert hold.entered.wait(30)
    landings.append(rotated.announce(add(3)))
    assert [landing.wait(0) for landing in landings] == [False] * 4
    hold.release()
    assert all(landing.wait(30) for landing in landings)
    assert source.calls == [("PUSH_KEY", 3)]


def test_a_higher_number_waits_for_the_one_in_flight(rotated, source):
    source.add("PUSH_KEY", "3")
    hold = source.hold("PUSH_KEY")
    rotated.announce(add(2))
    assert hold.entered.wait(30)
    landing = rotated.announce(add(3))
    hold.release()
    assert landing.wait(30)
    assert source.calls == [("PUSH_KEY", 2), ("PUSH_KEY", 3)]
    assert read(rotated) == 3
    assert source.most_in_flight("PUSH_KEY") == 1


# promise 5
@pytest.mark.parametrize(("latest", "asked"), [(1, ["latest", 2]), (2, ["latest"])])
def test_behind_a_fetch_of_latest_a_number_is_fetched_if_it_is_still_news(
    latest, asked, one, source, clock
):
    clock.advance(6)
    source.calls.clear()
    hold = source.hold("PUSH_KEY")
    one._cache._take_off(one._cache._entries[one.key._spec])
    assert hold.entered.wait(30)
    source.add("PUSH_KEY", "2")
    source.lag("PUSH_KEY", latest)
    landing = one.announce(add(2))
    hold.release()
    assert landing.wait(30)
    assert [version for _, version in source.calls] == asked
    assert source.most_in_flight("PUSH_KEY") == 1
    assert read(one) == 2


# promise 4
def test_who_needs_a_confirmation_is_not_served_by_a_number(rotated, source, clock):
    hold = source.hold("PUSH_KEY")
    rotated.announce(add(2))
    assert hold.entered.wait(30)
    clock.advance(6)
    with request_scope() as scope:
        source.lag("PUSH_KEY", 2)
        waiting = scope.begin(rotated._cache, rotated.key._spec)
        assert rotated.announce(add(2))  # a duplicate changes nothing of that
        hold.release()
        assert waiting.outcome.result(30).version == 2
    assert source.calls == [("PUSH_KEY", 2), ("PUSH_KEY", "latest")]


# promise 5
def test_a_reader_makes_a_waiting_number_a_confirmation(one, source, clock):
    clock.advance(6)
    hold = source.hold("PUSH_KEY")
    one._cache._take_off(one._cache._entries[one.key._spec])
    assert hold.entered.wait(30)
    source.add("PUSH_KEY", "2")
    source.add("PUSH_KEY", "3")
    source.lag("PUSH_KEY", 2)
    landing = one.announce(add(3))
    with request_scope() as scope:
        clock.advance(6)
        waiting = scope.begin(one._cache, one.key._spec)
        hold.release()
        # The reader is not kept waiting for the number: that comes with a fetch of its own.
        assert waiting.outcome.result(30).version == 2
    assert landing.wait(30)
    settle(one)
    assert read(one) == 3
    assert [version for _, version in source.calls[1:]] == ["latest", "latest", 3]


# promise 1
def test_secrets_that_were_rotated_together_are_seen_together(source, make):
    source.add("PUSH_KEY", "1")
    source.add("PUSH_OTHER", "1")
    secrets = make(Pair)
    secrets.load()
    with request_scope():
        assert (secrets.key(), secrets.other()) == (1, 1)
    source.add("PUSH_KEY", "2")
    source.add("PUSH_OTHER", "2")
    hold = source.hold("PUSH_OTHER")
    landing = secrets.announce(add(2))
    assert landing.wait(30)  # the half that was announced
    with request_scope():
        assert (secrets.key(), secrets.other()) == (1, 1)
    companion = secrets._cache._entries[secrets.other._spec].flight
    hold.release()
    companion.outcome.result(30)
    with request_scope():
        assert (secrets.key(), secrets.other()) == (2, 2)


# promise 10
def test_a_bad_version_is_rejected_and_the_last_good_one_stays(rotated, source, events):
    source.add("PUSH_KEY", "canary-no-number")
    push(rotated, add(3))
    # There was a good one that had been missed.
    assert read(rotated) == 2
    assert [e.version for e in events.of(VersionRejected)] == [3]
    assert not push(rotated, add(3))
    assert not push(rotated, event("VERSION_ENABLE", 3))
    assert source.calls == [("PUSH_KEY", 3), ("PUSH_KEY", 2)]


def test_of_a_version_that_is_disabled_by_now_the_one_below_is_served(rotated, source):
    source.add("PUSH_KEY", "3")
    source.fail("PUSH_KEY", DISABLED, 3)
    push(rotated, add(3))
    assert read(rotated) == 2


def test_where_all_of_them_are_disabled_the_known_one_stays(rotated, source, events):
    source.fail("PUSH_KEY", DISABLED, 2)
    push(rotated, add(2))
    assert read(rotated) == 1
    assert not events.of(FetchFailed)
    source.fail("PUSH_KEY", None, 2)
    assert push(rotated, event("VERSION_ENABLE", 2))
    assert read(rotated) == 2


def test_a_flood_of_forged_numbers_costs_a_few_calls_a_minute(rotated, source, clock, events):
    for forged in range(1000, 0, -1):
        push(rotated, add(forged))
    # The first, then those just above the known version; the real one among them.
    asked = [version for _, version in source.calls]
    assert asked == [1000, 6, 5, 4, 3, 2]
    assert read(rotated) == 2
    assert not events.of(FetchFailed)

    source.calls.clear()
    for _ in range(600):  # ten minutes
        clock.advance(1)
        push(rotated, add(5000))
        push(rotated, add(4000))
    assert len(source.calls) < 30


def test_after_a_forged_number_the_real_one_is_still_heard(rotated, source):
    push(rotated, add(9))
    assert push(rotated, add(2))
    assert read(rotated) == 2
    assert source.calls == [("PUSH_KEY", 9), ("PUSH_KEY", 2)]


def test_a_number_that_is_missing_is_asked_for_again_after_a_pause(rotated, source, clock):
    push(rotated, add(9))
    assert not push(rotated, add(9))
    clock.advance(1)
    assert push(rotated, add(9))
    clock.advance(1)
    assert not push(rotated, add(9))  # the pause has grown


# promise 9
def test_a_failing_source_is_not_asked_and_the_number_is_not_forgotten(rotated, source, clock):
    source.fail("PUSH_KEY", DOWN)
    push(rotated, add(2))  # fails
    source.calls.clear()
    assert not push(rotated, add(2))
    assert source.calls == []
    assert read(rotated) == 1
    source.fail("PUSH_KEY", None)
    clock.advance(5.1)
    with request_scope():
        rotated.key.refresh()  # `latest` lags: what was announced is looked at after it
    settle(rotated)
    assert read(rotated) == 2


# promise 9
def test_a_push_serves_nothing_and_so_tells_of_nothing_stale(rotated, source, events):
    source.fail("PUSH_KEY", DOWN)
    push(rotated, add(2))
    assert len(events.of(FetchFailed)) == 1
    assert not events.of(ServedStale)


def test_what_waits_behind_a_fetch_that_fails_is_told(one, source, clock):
    clock.advance(6)
    hold = source.hold("PUSH_KEY")
    one._cache._take_off(one._cache._entries[one.key._spec])
    assert hold.entered.wait(30)
    landing = one.announce(add(2))
    source.fail("PUSH_KEY", DOWN)
    hold.release()
    assert landing.wait(30)
    assert source.calls[1:] == [("PUSH_KEY", "latest")]


@pytest.mark.parametrize("kind", ["DISABLE", "DESTROY", "DESTROY_SCHEDULED"])
def test_the_end_of_the_served_version_is_looked_into_at_once(kind, one, source, events):
    source.add("PUSH_KEY", "2")
    push(one, add(2))
    source.calls.clear()
    assert not push(one, event(f"VERSION_{kind}", 1))
    assert source.calls == []
    source.fail("PUSH_KEY", DISABLED, 2)
    source.fail("PUSH_KEY", DISABLED, "latest")
    assert push(one, event(f"VERSION_{kind}", 2))
    assert read(one) == 1
    assert events.of(Reloaded)[-1] == Reloaded("One", "PUSH_KEY", 2, 1)


def test_a_deleted_secret_is_asked_for_once(one, source, events):
    source.calls.clear()
    source.fail("PUSH_KEY", SecretNotFound("is gone", remedy="Create it."))
    assert push(one, event("DELETE"))
    assert not push(one, event("DELETE"))
    assert source.calls == [("PUSH_KEY", "latest")]
    assert read(one) == 1  # the last good one


def test_a_flood_of_ends_costs_a_call_a_second(one, source, clock):
    source.calls.clear()
    for _ in range(100):
        push(one, event("VERSION_DISABLE", 1))
    assert len(source.calls) == 1
    clock.advance(1)
    assert push(one, event("VERSION_DISABLE", 1))


def test_a_version_that_ends_while_it_is_fetched_is_asked_for_again(rotated, source):
    hold = source.hold("PUSH_KEY")
    rotated.announce(add(2))
    assert hold.entered.wait(30)
    landing = rotated.announce(event("VERSION_DISABLE", 2))
    again = rotated.announce(add(2))
    source.fail("PUSH_KEY", DISABLED, "latest")
    hold.release()
    assert again.wait(30)
    assert landing.wait(30)
    assert source.calls[:2] == [("PUSH_KEY", 2), ("PUSH_KEY", "latest")]


# promise 4
def test_a_strict_secret_gains_from_a_push_where_latest_lags(source, make):
    source.add("PUSH_KEY", "1")
    secrets = make(Strict)
    secrets.load()
    source.add("PUSH_KEY", "2")
    source.lag("PUSH_KEY", 1)
    assert read(secrets) == 1
    push(secrets, add(2))
    assert read(secrets) == 2
    # Each scope asks by itself: what ends needs no push.
    assert not push(secrets, event("VERSION_DISABLE", 2))


# promise 12
def test_a_static_secret_is_left_alone_and_told_of_once(source, make, events):
    source.add("PUSH_KEY", "1")
    secrets = make(Fixed)
    push(secrets, add(2))
    secrets.load()
    source.calls.clear()
    for told in (add(1), add(2), add(3), event("VERSION_DISABLE", 1), event("DELETE")):
        assert not push(secrets, told)
    assert source.calls == []
    assert secrets.fixed() == 1
    assert events.of(StaticAnnounced) == [StaticAnnounced("Fixed", "PUSH_KEY", 2)]
    assert not events.of(Announced)


def test_events_that_concern_nobody_do_nothing(one, source, events):
    source.calls.clear()
    before = len(events)
    for told in (
        event("VERSION_ADD", 2, name="OTHER"),
        SecretEvent("TOPIC_CONFIGURED"),
        SecretEvent("SECRET_UPDATE"),
        SecretEvent("SECRET_THAT_GOOGLE_INVENTS"),
    ):
        assert not push(one, told)
    assert (source.calls, len(events)) == ([], before)


def test_events_of_another_project_are_ignored(one, source):
    source.owns = lambda project, location: (project, location) == ("123", None)
    source.add("PUSH_KEY", "2")
    assert not push(one, event("VERSION_ADD", 2, project="999"))
    assert push(one, event("VERSION_ADD", 2, project="123"))


def test_before_the_first_read_nothing_is_fetched(source, make):
    source.add("PUSH_KEY", "1")
    source.add("PUSH_KEY", "2")
    source.lag("PUSH_KEY", 1)
    secrets = make(One)
    assert not push(secrets, event("VERSION_DISABLE", 1))
    assert not push(secrets, add(2))
    assert source.calls == []
    read(secrets)
    settle(secrets)
    assert read(secrets) == 2


def test_a_closed_container_hears_nothing(one, source):
    one.close()
    source.calls.clear()
    assert not push(one, add(2))
    assert source.calls == []


async def test_a_coroutine_waits_without_blocking(rotated, source):
    assert await rotated.announce(add(1)).wait_async()
    hold = source.hold("PUSH_KEY")
    landing = rotated.announce(add(2))
    assert repr(landing) == "<Landing of 1 fetches>"
    assert not await landing.wait_async(0)
    waiting = asyncio.create_task(landing.wait_async(30))
    await asyncio.sleep(0)
    hold.release()
    assert await waiting
    assert read(rotated) == 2


def test_no_event_shows_a_value(rotated, source, events, caplog):
    source.add("PUSH_KEY", "canary-4711")
    push(rotated, add(3))
    assert events.of(Fetched)
    assert "canary-4711" not in repr(list(events)) + caplog.text
