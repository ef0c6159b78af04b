"""Promises 1 to 3: what one request sees."""

import asyncio
import contextvars
import copy
import itertools
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    RejectedVersion,
    SecretContainer,
    SecretUnavailable,
    StaticSecret,
    request_scope,
)
from pgp_config.scopes import Scope, current_scope, open_scope


class Pair(SecretContainer):
    user = DynamicSecret("SCOPE_USER", str)
    key = DynamicSecret("SCOPE_KEY", str)


class Strict(SecretContainer):
    user = DynamicSecret("SCOPE_USER", str, freshness=EVERY_REQUEST)
    key = DynamicSecret("SCOPE_KEY", str, freshness=EVERY_REQUEST)


@pytest.fixture
def pair(source, make):
    source.add("SCOPE_USER", "u1")
    source.add("SCOPE_KEY", "k1")
    secrets = make(Pair)
    secrets.load()
    return secrets


def rotate(source, number):
    source.add("SCOPE_USER", f"u{number}")
    source.add("SCOPE_KEY", f"k{number}")


def settle(secrets):
    """Wait until no fetch is in the air: one that is when a pair is rotated may bring half of it."""
    cache = secrets._cache
    for entry in cache._entries.values():
        while (flight := entry.flight) is not None:
            flight.outcome.result(10)


def land(secrets, name):
    """Wait for one of those that are in the air, unless it has landed."""
    flight = secrets._cache._entries[getattr(secrets, name)._spec].flight
    if flight is not None:
        flight.outcome.result(10)


# promise 1
def test_one_value_a_scope_although_the_source_and_the_cache_move_on(pair, source, clock):
    with request_scope():
        assert pair.key() == "k1"
        source.add("SCOPE_KEY", "k2")
        clock.advance(60)
        assert contextvars.Context().run(pair.key) == "k2"
        assert pair.key() == "k1"
    with request_scope():
        assert pair.key() == "k2"


# promise 1
def test_a_scope_fetches_a_secret_at_most_once(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Strict)
    with request_scope():
        for _ in range(10):
            secrets.key()
    assert source.count("SCOPE_KEY") == 1


# promise 1
def test_two_secrets_in_one_scope_come_from_one_generation(pair, source, clock):
    with request_scope():
        assert pair.user() == "u1"
        rotate(source, 2)
        clock.advance(60)
        contextvars.Context().run(lambda: (pair.user(), pair.key()))
        assert pair.key() == "k1"
    with request_scope():
        assert (pair.user(), pair.key()) == ("u2", "k2")


# promise 1: the race that expiry by secret loses, in both orders
@pytest.mark.parametrize(("first", "second"), [("user", "key"), ("key", "user")])
def test_a_pair_rotated_together_is_never_read_torn(source, clock, make, first, second):
    rotate(source, 1)
    secrets = make(Pair)
    secrets.user()
    clock.advance(3)
    secrets.key()
    settle(secrets)
    rotate(source, 2)
    for _ in range(20):
        clock.advance(0.5)
        with request_scope():
            seen = {getattr(secrets, first)()[1], getattr(secrets, second)()[1]}
        assert len(seen) == 1
    assert seen == {"2"}


# promise 1: the same race for three secrets, each reader in another order, threads and coroutines
class Trio(Pair):
    url = DynamicSecret("SCOPE_URL", str)


class StrictTrio(Strict):
    url = DynamicSecret("SCOPE_URL", str, freshness=EVERY_REQUEST)


ORDERS = list(itertools.permutations(("user", "key", "url")))


def rotate_three(source, number):
    rotate(source, number)
    source.add("SCOPE_URL", f"l{number}")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("container", [Trio, StrictTrio])
def test_three_rotated_together_are_never_read_torn(source, clock, make, container, order):
    rotate_three(source, 1)
    secrets = make(container)
    for name in order:
        getattr(secrets, name)()
        clock.advance(1)
    for number in range(2, 6):
        settle(secrets)
        rotate_three(source, number)
        for _ in range(15):
            clock.advance(0.5)
            with request_scope():
                seen = {getattr(secrets, name)()[1:] for name in order}
            assert len(seen) == 1
        assert seen == {str(number)}


@pytest.fixture(params=["first read late", "read late"])
def slow_third(request, source, clock, make):
    """User and key are known and fresh; the url, which the key took along, is still in flight."""
    rotate_three(source, 1)
    secrets = make(Trio)
    if request.param == "read late":
        secrets.load()
        clock.advance(6)
    secrets.user()
    clock.advance(1)
    secrets.url()
    settle(secrets)
    clock.advance(1)
    hold = source.hold("SCOPE_URL")
    assert secrets.key() == "k1"
    assert hold.entered.wait(10)
    yield secrets, hold
    hold.release()


# promise 1: neither of the two was in flight when they were rotated
def test_a_third_that_is_still_in_flight_tears_no_pair(slow_third, source, clock):
    secrets, hold = slow_third
    clock.advance(1)
    rotate(source, 2)
    clock.advance(2)
    with request_scope():
        assert secrets.user() == "u1"  # due: it is refreshed, and takes the key along
        land(secrets, "key")
        assert secrets.key() == "k1"
    hold.release()
    settle(secrets)
    with request_scope():
        assert (secrets.user(), secrets.key()) == ("u2", "k2")


# promise 1
def test_nor_when_it_lands_before_the_other_half_of_the_pair(slow_third, source, clock):
    secrets, hold = slow_third
    clock.advance(1)
    rotate(source, 2)
    clock.advance(2)
    other = source.hold("SCOPE_USER")
    secrets.user()
    land(secrets, "key")
    hold.release()
    land(secrets, "url")
    with request_scope():
        assert (secrets.user(), secrets.key()) == ("u1", "k1")
    other.release()
    settle(secrets)
    with request_scope():
        assert (secrets.user(), secrets.key()) == ("u2", "k2")


# promise 1
def test_a_slow_wave_publishes_nothing_of_the_one_that_overtook_it(source, clock, make):
    rotate_three(source, 1)
    secrets = make(Trio)
    secrets.load()
    secrets.url(), secrets.key()
    rotate(source, 2)
    slow = source.hold("SCOPE_URL")
    clock.advance(4)
    secrets.user()  # due: takes both along
    assert slow.entered.wait(10)
    land(secrets, "user"), land(secrets, "key")
    with request_scope():
        assert (secrets.user(), secrets.key()) == ("u1", "k1")
    rotate(source, 3)
    half = source.hold("SCOPE_USER")
    clock.advance(4)
    secrets.key()  # due again
    assert half.entered.wait(10)
    land(secrets, "key")
    slow.release()
    land(secrets, "url")
    with request_scope():
        assert (secrets.user(), secrets.key()) == ("u2", "k2")
    half.release()
    settle(secrets)
    with request_scope():
        assert (secrets.user(), secrets.key()) == ("u3", "k3")


# promises 1 and 7
def test_what_a_wave_has_published_stays_when_a_slower_one_settles(pair, source):
    def shown():
        return pair._cache.generation[pair.key._spec].version

    pair.user(), pair.key()
    hold = source.hold("SCOPE_USER")
    source.add("SCOPE_KEY", "k2")
    assert pair.key.refresh() is True  # takes the user along
    assert hold.entered.wait(10)
    assert shown() == 1
    source.add("SCOPE_KEY", "k3")
    assert pair.key.refresh() is True
    assert shown() == 3
    hold.release()
    settle(pair)
    assert shown() == 3


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("container", [Trio, StrictTrio])
async def test_nor_by_coroutines_that_read_them_at_once(source, clock, make, container, order):
    rotate_three(source, 1)
    secrets = make(container)
    await secrets.aload()

    async def request(names, *, together):
        async with request_scope():
            reads = [getattr(secrets, name).async_ for name in names]
            if together:
                return {value[1:] for value in await asyncio.gather(*(read() for read in reads))}
            return {(await read())[1:] for read in reads}

    await request(order, together=False)
    for number in range(2, 6):
        settle(secrets)
        rotate_three(source, number)
        for _ in range(15):
            clock.advance(0.5)
            some = [request(names, together=number % 2 == 0) for names in (order, order[::-1])]
            for seen in await asyncio.gather(*some):
                assert len(seen) == 1
        assert seen == {str(number)}


@pytest.mark.parametrize("container", [Trio, StrictTrio])
def test_nor_by_threads_while_the_first_of_them_is_still_in_flight(source, clock, make, container):
    rotate_three(source, 1)
    secrets = make(container)
    secrets.load()

    def request(order):
        with request_scope():
            return [getattr(secrets, name)()[1:] for name in order]

    request(ORDERS[0])
    for number in range(2, 5):
        clock.advance(6)
        hold = source.hold(("SCOPE_USER", "SCOPE_KEY", "SCOPE_URL")[number % 3])
        rotate_three(source, number)
        with ThreadPoolExecutor(6) as pool:
            reads = [pool.submit(request, order) for order in ORDERS]
            assert hold.entered.wait(10)
            hold.release()
            for read in reads:
                assert set(read.result(10)) == {str(number)}


# promise 1
def test_strict_secrets_that_are_used_together_are_fetched_together(source, make):
    rotate(source, 1)
    secrets = make(Strict)
    secrets.load()
    with request_scope():
        secrets.user(), secrets.key()
    before = len(source.calls)
    with request_scope():
        secrets.user()
        source.wait_for_calls(before + 2)  # the key's is begun, and not yet asked for
        rotate(source, 2)
        assert secrets.key() == "k1"
    assert len(source.calls) - before == 2


# promise 1
def test_a_scope_that_meets_a_rotation_asks_for_the_other_half(source, clock, make):
    rotate(source, 1)
    secrets = make(Pair)
    secrets.load()
    clock.advance(1)
    secrets.user.refresh()  # younger than the key, and not used since: no companion
    rotate(source, 2)
    clock.advance(4.5)
    with request_scope():
        assert secrets.key() == "k2"
        assert secrets.user() == "u2"


# promises 1 and 7
def test_what_a_refresh_has_shown_no_later_scope_falls_behind(pair, source):
    """The other half of the wave is still in flight: the generation does not show the rotation yet."""
    with request_scope():
        pair.user(), pair.key()
    rotate(source, 2)
    hold = source.hold("SCOPE_USER")
    assert pair.key.refresh() is True
    flight = pair._cache._entries[pair.user._spec].flight
    with request_scope():
        assert pair.key() == "k2"
    with request_scope(), ThreadPoolExecutor(1) as pool:
        user = pool.submit(contextvars.copy_context().run, pair.user)
        assert hold.entered.wait(10)
        hold.release()
        assert user.result(10) == "u2"
        assert pair.key() == "k2"
    flight.outcome.result(10)
    assert pair._cache.after == 0
    before = len(source.calls)
    with request_scope():
        assert (pair.user(), pair.key()) == ("u2", "k2")
    assert len(source.calls) == before


# promise 1
def test_refresh_is_the_explicit_way_to_move_on(pair, source):
    with request_scope():
        assert pair.key() == "k1"
        assert pair.key.refresh() is False
        source.add("SCOPE_KEY", "k2")
        assert pair.key() == "k1"
        assert pair.key.refresh() is True
        assert pair.key() == "k2"


def test_refresh_moves_a_scope_to_what_others_found_already(pair, source):
    with request_scope():
        assert pair.key() == "k1"
        source.add("SCOPE_KEY", "k2")
        contextvars.Context().run(pair.key.refresh)
        assert pair.key.refresh() is True
        assert pair.key() == "k2"


def test_the_version_that_a_scope_sees_can_be_asked_for(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Pair)
    assert secrets.key.version() is None
    with request_scope():
        assert secrets.key() == "k1"
        source.add("SCOPE_KEY", "k2")
        contextvars.Context().run(secrets.key.refresh)
        assert secrets.key.version() == 1
        assert secrets.key.refresh() is True
        assert secrets.key.version() == 2
    assert secrets.key.version() == 2
    with request_scope(values={"SCOPE_KEY": "given"}):
        assert secrets.key.version() is None
    with secrets.key.override("given"):
        assert secrets.key.version() is None


# promise 1: the lost race is driven directly
def test_of_two_threads_that_bring_different_versions_both_see_the_first_ones(pair):
    cache, spec = pair._cache, pair.key._spec
    older, newer = (replace(cache.current(spec), value=f"k{n}", version=n) for n in (7, 8))
    with request_scope():
        scope = open_scope()
        assert scope.keep(spec, spec, older, cache) == "k7"
        assert scope.keep(spec, spec, newer, cache) == "k7"
        assert (pair.key(), pair.key.version()) == ("k7", 7)


def test_refresh_outside_scopes_compares_with_what_the_process_knew(pair, source):
    assert pair.key.refresh() is False
    source.add("SCOPE_KEY", "k2")
    assert pair.key.refresh() is True


def test_refresh_of_a_secret_that_was_never_read_is_a_change(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Pair)
    assert secrets.key.refresh() is True
    with request_scope():
        assert secrets.key() == "k1"


# promise 1
def test_threads_of_one_scope_share_value_and_fetch(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Strict)
    hold = source.hold("SCOPE_KEY")
    with request_scope(), ThreadPoolExecutor(8) as pool:
        contexts = [contextvars.copy_context() for _ in range(8)]
        reads = [pool.submit(context.run, secrets.key) for context in contexts]
        assert hold.entered.wait(10)
        source.add("SCOPE_KEY", "k2")
        hold.release()
        assert len({read.result(10) for read in reads}) == 1
    assert source.count("SCOPE_KEY") == 1


# promise 2
async def test_tasks_gather_threads_and_bridges_share_the_scope(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Strict)
    async with request_scope():
        first = await secrets.key.async_()
        source.add("SCOPE_KEY", "k2")
        seen = await asyncio.gather(
            secrets.key.async_(),
            asyncio.create_task(secrets.key.async_()),
            asyncio.to_thread(secrets.key),
            sync_to_async(secrets.key)(),
            sync_to_async(secrets.key, thread_sensitive=False)(),
            sync_to_async(async_to_sync(secrets.key.async_))(),
        )
        assert contextvars.copy_context().run(secrets.key) == first
    assert set(seen) == {first}
    assert source.count("SCOPE_KEY") == 1


# promise 2
def test_unrelated_threads_do_not_share_a_scope(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Strict)
    with request_scope(), ThreadPoolExecutor(1) as pool:
        assert secrets.key() == "k1"
        source.add("SCOPE_KEY", "k2")
        assert pool.submit(secrets.key).result(10) == "k2"
        assert secrets.key() == "k1"


# promise 2
def test_nested_scopes_are_independent(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Strict)
    with request_scope():
        assert secrets.key() == "k1"
        source.add("SCOPE_KEY", "k2")
        with request_scope():
            assert secrets.key() == "k2"
        assert secrets.key() == "k1"


# promise 3
def test_outside_scopes_a_read_is_a_scope_of_its_own(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Strict)
    assert secrets.key() == "k1"
    source.add("SCOPE_KEY", "k2")
    assert secrets.key() == "k2"


# promise 3
async def test_a_task_that_outlives_its_scope_reads_for_itself(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Strict)
    go_on = asyncio.Event()

    async def straggler():
        early = await secrets.key.async_()
        await go_on.wait()
        return early, await secrets.key.async_(), open_scope()

    async with request_scope():
        task = asyncio.create_task(straggler())
        assert await secrets.key.async_() == "k1"
    source.add("SCOPE_KEY", "k2")
    go_on.set()
    assert await task == ("k1", "k2", None)


# promise 2
def test_closing_empties_the_scope(pair):
    with request_scope():
        pair.key()
        scope = current_scope()
        assert repr(scope) == "<Scope with 1 secrets read>"
    assert len(scope) == 0


# promise 3: the lost race, driven directly
def test_a_read_that_ends_after_its_scope_leaves_nothing_in_it(source, make):
    source.add("SCOPE_KEY", "k1")
    secrets = make(Strict)
    hold = source.hold("SCOPE_KEY")
    with ThreadPoolExecutor(2) as pool:
        with request_scope():
            scope = current_scope()
            read = pool.submit(contextvars.copy_context().run, secrets.key)
            assert hold.entered.wait(10)
        with request_scope():
            moved = current_scope()
            refresh = pool.submit(contextvars.copy_context().run, secrets.key.refresh)
        hold.release()
        assert read.result(10) == "k1"
        refresh.result(10)
    assert len(scope) == 0
    assert len(moved) == 0


def test_values_given_by_a_test_are_private_to_its_context_and_typed(pair, source):
    with request_scope(values={"SCOPE_KEY": "given"}):
        assert pair.key() == "given"
        assert pair.user() == "u1"
        assert contextvars.Context().run(pair.key) == "k1"
        assert pair.key.refresh() is False
    assert pair.key() == "k1"


async def test_refreshing_a_given_value_from_a_coroutine_asks_nobody(pair, source):
    before = len(source.calls)
    with request_scope(values={"SCOPE_KEY": "given"}):
        assert await pair.key.arefresh() is False
        assert await pair.key.async_() == "given"
    assert len(source.calls) == before


def test_given_values_nest(pair):
    with request_scope(values={"SCOPE_KEY": "outer", "SCOPE_USER": "outer"}):
        with request_scope(values={"SCOPE_KEY": "inner"}):
            assert (pair.key(), pair.user()) == ("inner", "outer")
        with request_scope():
            assert pair.key() == "outer"
        assert pair.key() == "outer"


def test_concurrent_tests_do_not_meet(pair):
    ready = threading.Barrier(8)

    def one_test(number):
        with request_scope(values={"SCOPE_KEY": f"given-{number}"}):
            ready.wait(10)
            return [pair.key() for _ in range(100)]

    with ThreadPoolExecutor(8) as pool:
        for number, seen in enumerate(pool.map(one_test, range(8))):
            assert set(seen) == {f"given-{number}"}


async def test_given_values_end_with_their_scope_for_stragglers_too(pair):
    go_on = asyncio.Event()

    async def straggler():
        await go_on.wait()
        with request_scope():
            return await pair.key.async_()

    with request_scope(values={"SCOPE_KEY": "given"}):
        task = asyncio.create_task(straggler())
    go_on.set()
    assert await task == "k1"


def test_given_values_may_be_of_the_type_already_and_also_static(source, make):
    class Typed(SecretContainer):
        limit = DynamicSecret("SCOPE_LIMIT", int)
        key = StaticSecret("SCOPE_SIGNING_KEY")

    secrets = make(Typed)
    with request_scope(values={"SCOPE_LIMIT": 7, "SCOPE_SIGNING_KEY": b"canary"}):
        assert secrets.limit() == 7
        assert secrets.key().get_secret_value() == "canary"
    assert source.calls == []


def test_a_given_value_of_the_wrong_type_is_an_error_without_the_value(source, make):
    class Typed(SecretContainer):
        limit = DynamicSecret("SCOPE_LIMIT", int)

    secrets = make(Typed)
    for wrong in ("canary-7f3a", object(), b"canary"):
        with (
            request_scope(values={"SCOPE_LIMIT": wrong}),
            pytest.raises(RejectedVersion) as caught,
        ):
            secrets.limit()
        assert "canary" not in str(caught.value)
        assert "SCOPE_LIMIT in Typed: the value given is not a valid int (" in str(caught.value)
        assert str(caught.value).endswith(" Give a value of the declared type, int.")
        assert caught.value.__context__ is None
    with pytest.raises(RejectedVersion, match=r"^SCOPE_LIMIT in Typed: the value given is not a "):
        secrets.limit.override("canary-7f3a")


def test_a_misspelt_name_is_an_error_with_the_name_that_was_meant():
    with pytest.raises(DeclarationError, match="Did you mean SCOPE_KEY"):
        request_scope(values={"SCOPE_KEYS": "x"})
    with pytest.raises(DeclarationError, match="name in the source"):
        request_scope(values={"zzz-nothing-like-it": "x"})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({DynamicSecret("SCOPE_KEY"): "canary"}, "names a secret by a DynamicSecret"),
        ("canary", "is given a str"),
    ],
)
def test_values_that_are_not_by_name_are_an_error_that_says_so(values, told):
    with pytest.raises(DeclarationError, match=told) as caught:
        request_scope(values=values)
    assert "canary" not in str(caught.value)


def test_a_scope_shows_and_stores_no_value(pair):
    scope_object = request_scope(values={"SCOPE_KEY": "canary-7f3a"})
    with scope_object:
        pair.key()
        texts = [repr(scope_object), repr(current_scope()), str(current_scope())]
        assert "canary" not in "".join(texts)
        scope = current_scope()
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="not pickled or copied"):
                attempt(scope)
    assert "closed" in repr(scope)


def test_a_scope_can_end_in_another_context_than_it_began_in(pair):
    scope = request_scope()
    context = contextvars.copy_context()
    context.run(scope.__enter__)
    context.run(pair.key)
    scope.__exit__(None, None, None)
    assert context.run(open_scope) is None


def test_a_scope_object_is_used_once_and_says_so(pair):
    scope = request_scope()
    with scope:
        with pytest.raises(DeclarationError, match="Make a new one for each scope"):
            scope.__enter__()
        assert pair.key() == "k1"
    with pytest.raises(DeclarationError, match="a second time"), scope:
        pass
    request_scope().__exit__(None, None, None)


def test_two_containers_in_one_scope_share_nothing(source, make):
    source.add("SCOPE_KEY", "k1")
    one, other = make(Pair), make(Pair)
    with request_scope():
        assert one.key() == "k1"
        source.add("SCOPE_KEY", "k2")
        assert other.key() == "k2"
        assert one.key() == "k1"


def test_callbacks_run_once_at_the_end_the_last_one_first_and_one_that_fails_stops_none(caplog):
    log = []

    def fail():
        raise ValueError("canary-7f3a")

    with caplog.at_level(logging.ERROR, "pgp_config"), request_scope():
        scope = current_scope()
        scope.on_close(lambda: log.append(("first", len(scope), open_scope())))
        scope.on_close(fail)
        scope.on_close(lambda: log.append(("last", len(scope), open_scope())))
        scope["key"] = "value"
        assert log == []
    assert log == [("last", 0, None), ("first", 0, None)]
    scope.close()
    assert len(log) == 2
    scope.on_close(lambda: log.append("late"))
    assert log[2:] == ["late"]
    assert caplog.messages == ["A callback failed at the end of a scope: ValueError"]
    assert "canary" not in caplog.text


def test_of_two_threads_that_close_a_scope_one_calls_back():
    """The lost race, driven directly: the other one was quicker by the last callback."""

    class Taken(list):
        def pop(self):
            self.clear()
            return super().pop()

    log = []
    with request_scope():
        scope = current_scope()
        scope[Scope.CALLBACKS] = Taken([lambda: log.append("called")])
    assert log == []


def test_what_comes_after_the_end_is_not_kept(pair):
    """The lost races, driven directly: the scope was closed while a thread was on its way there."""
    cache, spec = pair._cache, pair.key._spec
    with request_scope() as scope:
        pair.key()
        known = scope.seen(spec)
    assert scope.keep(spec, spec, known, cache) == "k1"
    assert len(scope) == 0
    scope.move(spec, spec, known, cache)
    assert len(scope) == 0
    assert scope.derive("made", {spec: known}, "late") == "late"
    assert len(scope) == 0
    assert scope.begin(cache, spec) is known
    assert len(scope) == 0
    scope.close()
    assert (len(scope), scope.closed) == (0, True)


def test_nor_are_a_generation_for_a_read_that_fails_and_a_static_value(source, make):
    """As above: nothing else comes after these, and a pin holds every value that was known."""

    class Service(SecretContainer):
        key = DynamicSecret("SCOPE_KEY", str)
        fixed = StaticSecret("SCOPE_FIXED", str)

    source.add("SCOPE_FIXED", "f1")
    secrets = make(Service)
    assert secrets.fixed() == "f1"
    with pytest.raises(SecretUnavailable):
        secrets.key()
    with request_scope() as scope:
        pass
    with pytest.raises(SecretUnavailable):
        scope.begin(secrets._cache, secrets.key.spec)
    assert len(scope) == 0
    assert secrets.fixed._read(scope) == "f1"
    assert len(scope) == 0


def test_what_was_made_from_a_version_that_the_scope_has_left_is_not_kept(pair, source):
    cache, spec = pair._cache, pair.key._spec
    with request_scope():
        pair.key(), pair.user()
        scope = current_scope()
        before = {provider._spec: scope.seen(provider._spec) for provider in (pair.key, pair.user)}
        assert scope.derive("made", before, "old") == "old"
        assert scope.derive("made", before, "other") == "old"
        scope.derive("unrelated", {pair.user._spec: before[pair.user._spec]}, "kept")
        scope.move(spec, spec, replace(before[spec], version=2), cache)
        assert ("made" in scope, scope["unrelated"]) == (False, "kept")
        assert scope.derive("made", before, "late") == "late"
        assert "made" not in scope
