"""The state machine below `PerVersion`; the lost races are driven directly."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pgp_config import BuildError
from pgp_config.cache import Cache
from pgp_config.events import Built, CloseFailed, Rebuilt
from pgp_config.leases import Combination, Instance, Recipe, Registry, aclose_all, close_all


class Made:
    def __init__(self, value):
        self.value = value
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


@pytest.fixture
def cache(source, clock, events):
    cache = Cache(source, container="Service", clock=clock, chance=lambda: 0.0, observers=[events])
    yield cache
    cache.close()


@pytest.fixture
def registry(cache):
    made = []

    def make_one(factory=Made, *, close="auto", probe=None, is_async=False, secrets=("A", "B")):
        recipe = Recipe(factory, (None,) * len(secrets), close, probe, is_async)
        made.append(Registry(recipe, secrets, "engine", cache))
        return made[-1]

    yield make_one
    close_all(made)


def pair(a, b, ticks):
    return Combination((a, b), ticks, (f"a{a}", f"b{b}"))


def pair_of(first, second):
    return Made((first, second))


def nobody_refuses():
    pass


def lease(registry, combination):
    return registry.lease(combination, nobody_refuses)


def test_newer_is_what_was_confirmed_later_wherever_it_differs(registry):
    old = Instance("old", pair(2, 2, (20, 20)), None)
    for combination, is_newer in [
        (pair(3, 3, (30, 30)), True),
        (pair(3, 2, (30, 10)), True),
        (pair(1, 2, (30, 30)), True),
        (pair(1, 1, (10, 10)), False),
        (pair(1, 3, (10, 30)), False),  # torn: one from an old pin beside one just fetched
        (pair(2, 2, (30, 30)), False),
        (pair(3, 2, (20, 20)), False),
    ]:
        assert combination.is_newer_than(old) is is_newer, combination


# promise 17
def test_a_torn_combination_is_never_built(registry):
    engines = registry(pair_of)
    current = lease(engines, pair(2, 2, (20, 20)))
    assert lease(engines, pair(1, 3, (10, 30))) is current
    assert lease(engines, pair(3, 3, (30, 30))).made.value == ("a3", "b3")


def test_a_confirmation_counts_for_what_is_built_already(registry):
    engines = registry(pair_of)
    current = lease(engines, pair(2, 2, (20, 20)))
    assert lease(engines, pair(2, 2, (40, 40))) is current
    assert lease(engines, pair(1, 1, (30, 30))) is current
    assert lease(engines, pair(1, 1, (50, 50))) is not current


def test_what_is_retired_is_found_by_a_late_reader_and_does_not_come_back(registry, events):
    engines = registry(pair_of)
    old = lease(engines, pair(1, 1, (10, 10)))
    new = lease(engines, pair(2, 2, (20, 20)))
    assert lease(engines, pair(1, 1, (10, 10))) is old
    engines.give_back(old)
    assert not old.made.closed.is_set()
    engines.give_back(old)
    assert old.made.closed.wait(10)
    assert lease(engines, pair(1, 1, (10, 10))) is new
    assert (len(events.of(Built)), len(events.of(Rebuilt))) == (1, 1)


async def test_a_build_that_was_overtaken_is_closed_and_its_reader_looks_again(registry):
    entered, go_on, made = asyncio.Event(), asyncio.Event(), []

    async def factory(first, second):
        mine = Made(first)
        made.append(mine)
        if first == "a1":
            entered.set()
            await go_on.wait()
        return mine

    engines = registry(factory, is_async=True)
    slow = asyncio.create_task(engines.lease_async(pair(1, 1, (10, 10))))
    await entered.wait()
    new = await engines.lease_async(pair(2, 2, (20, 20)))
    go_on.set()
    assert await slow is new
    await aclose_all([engines])
    assert [each.closed.is_set() for each in made] == [True, True]


def test_a_synchronous_reader_looks_again_too(registry, monkeypatch):
    """Between the end of the build and the reader's lease a newer one was built, and it was closed."""
    engines = registry(pair_of)
    end, missed = engines._end, []

    def late(build, outcome):
        if not missed:
            missed.append(outcome)
            newer = lease(engines, pair(2, 2, (20, 20)))
            assert outcome.closed
            engines.give_back(newer)
        return end(build, outcome)

    monkeypatch.setattr(engines, "_end", late)
    assert lease(engines, pair(1, 1, (10, 10))).made.value == ("a2", "b2")


def test_after_the_end_nothing_is_leased(registry):
    engines = registry(pair_of)
    close_all([engines])
    with pytest.raises(BuildError, match="the container was closed"):
        lease(engines, pair(1, 1, (10, 10)))


def test_a_build_that_lands_as_it_is_given_up_is_no_failure(registry, events):
    engines = registry(pair_of)
    release = threading.Event()
    engines.recipe = Recipe(lambda *values: release.wait(10), (None, None), None, None, False)
    step = engines._begin(pair(1, 1, (10, 10)), None, waits=True)
    release.set()
    step.outcome.result(10)
    engines._give_up(step)
    assert len(events) == 1


def test_a_close_that_ends_the_container_does_not_wait_for_itself(registry):
    ended = threading.Event()

    def close(made):
        close_all([engines])
        ended.set()

    engines = registry(pair_of, close=close)
    old = lease(engines, pair(1, 1, (10, 10)))
    lease(engines, pair(2, 2, (20, 20)))
    engines.give_back(old)
    assert ended.wait(10)


async def test_of_two_that_end_a_container_one_closes_each_object(registry, monkeypatch):
    closed = []
    engines = registry(pair_of, close=closed.append)
    made = (await engines.lease_async(pair(1, 1, (10, 10)))).made
    take = engines.take

    def late(instance):
        assert take(instance)  # the other thread is quicker
        return take(instance)

    monkeypatch.setattr(engines, "take", late)
    await aclose_all([engines])
    assert closed == []
    engines._left.append(Instance("again", pair(1, 1, (10, 10)), None))
    close_all([engines])
    assert closed == []
    assert made.value == ("a1", "b1")


async def test_an_end_that_is_cancelled_leaves_the_rest_to_the_next_one(registry):
    entered, closed = asyncio.Event(), []

    async def factory(first, second):
        return first

    async def close(made):
        if made == "a2":
            entered.set()
            await asyncio.Event().wait()
        closed.append(made)

    engines = registry(factory, close=close, is_async=True)
    await engines.lease_async(pair(1, 1, (10, 10)))
    await engines.lease_async(pair(2, 2, (20, 20)))
    ending = asyncio.create_task(aclose_all([engines]))
    await entered.wait()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await aclose_all([engines])
    assert closed == ["a1"]


async def test_an_async_close_that_ends_the_container_does_not_wait_for_itself(registry):
    ended = asyncio.Event()

    async def factory(first, second):
        return first

    async def close(made):
        if made == "a1":
            await aclose_all([engines])
            ended.set()

    engines = registry(factory, close=close, is_async=True)
    old = await engines.lease_async(pair(1, 1, (10, 10)))
    await engines.lease_async(pair(2, 2, (20, 20)))
    engines.give_back(old)
    await asyncio.wait_for(ended.wait(), 10)


# promise 16
def test_under_gevent_a_fork_waits_for_builds(registry, monkeypatch):
    entered, release = threading.Event(), threading.Event()

    def factory(first, second):
        entered.set()
        assert release.wait(10)

    engines = registry(factory)
    step = engines._begin(pair(1, 1, (10, 10)), None, waits=True)
    assert entered.wait(10)
    engines.prepare_fork()
    assert not step.outcome.done()
    monkeypatch.setattr("pgp_config.leases.threads_are_greenlets", lambda: True)
    with ThreadPoolExecutor(1) as pool:
        forking = pool.submit(engines.prepare_fork)
        release.set()
        forking.result(10)
    assert step.outcome.done()


# promise 16
def test_a_build_that_a_child_inherited_is_left_alone(registry, monkeypatch):
    engines = registry(pair_of)
    monkeypatch.setattr(engines, "_start", lambda build: None)
    step = engines._begin(pair(1, 1, (10, 10)), None, waits=True)
    step.process = 0
    engines._make(step)
    assert not step.outcome.done()


# promise 16
def test_a_child_leaves_what_it_inherited_alone_and_builds_anew(registry, events):
    engines = registry(pair_of)
    kept, retired = lease(engines, pair(2, 2, (20, 20))), lease(engines, pair(2, 2, (20, 20)))
    engines.renew_after_fork()
    engines.give_back(kept)
    engines.give_back(retired)
    mine = lease(engines, pair(2, 2, (20, 20)))
    assert mine is not kept
    close_all([engines])
    assert (mine.made.closed.is_set(), kept.made.closed.is_set()) == (True, False)
    assert events.of(CloseFailed) == []
