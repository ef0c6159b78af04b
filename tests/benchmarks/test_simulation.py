"""The estimate of `pgp-config cost` beside the engine itself, driven through simulated requests."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgp_config import Freshness
from pgp_config.cache import SOFT_AGE
from pgp_config.cost import MONTH, Traffic, accesses_at_most, estimates


@pytest.fixture(scope="module")
def simulation():
    from bench import simulation

    return simulation


def bounded(traffic, max_age):
    return next(one for one in estimates(traffic, [max_age]) if one.mode == "bounded")


@settings(max_examples=40, deadline=None)
@given(
    per_max_age=st.floats(0.01, 60),
    max_age=st.floats(1, 3600),
    round_trip=st.floats(0.001, 1),
    weeks=st.floats(1, 1000),
    seed=st.integers(0, 1000),
)
def test_the_engine_never_asks_more_often_than_is_estimated(
    simulation, per_max_age, max_age, round_trip, weeks, seed
):
    rate = per_max_age / max_age
    process = simulation.Process(
        Freshness(max_age, max_age + 3600),
        seed=seed,
        round_trip=round_trip,
        rotate_every=weeks * max_age,
    )
    try:
        process.serve(itertools.islice(simulation.arrivals(rate, 1e9, seed=seed), 400))
        seconds, requests = process.clock.now, process.requests
        # A wave that a rotation has torn is asked for once more; and again, if it fell into a fetch of the wave.
        rotations = int(seconds // (weeks * max_age))
        most = accesses_at_most(seconds, requests, max_age) + 2 * rotations
        assert max(process.source.by_name.values()) <= most
    finally:
        process.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(0, 1000))
def test_whatever_requests_read_a_read_brings_two_fetches_at_most(simulation, reads, seed):
    process, chance = simulation.Process(Freshness(5), seed=seed), random.Random(seed)  # noqa: S311
    try:
        moment = 0.0
        for name in reads:
            moment += chance.expovariate(1 / 4)
            process.read_some(moment, name)
        for name, fetched in process.source.by_name.items():
            # It was loaded once; and what a read fetched is taken along once by the next that is due.
            assert fetched <= 1 + 2 * reads.count(name.lower())
    finally:
        process.close()


def test_a_day_of_the_engine_comes_near_to_the_estimate(simulation):
    traffic = Traffic(1.0, 1, 3, rotations=0)
    process = simulation.Process(Freshness(60))
    try:
        process.serve(simulation.arrivals(1.0, simulation.DAY, seed=1))
        estimated = (bounded(traffic, 60.0).accesses - 3) * simulation.DAY / MONTH
        assert 0.9 < process.source.accesses / estimated <= 1
        assert (
            process.source.accesses > 3 * simulation.DAY / 60
        )  # a refresh begins before max_age is over
        assert process.source.accesses <= 3 * simulation.DAY / 60 / SOFT_AGE
    finally:
        process.close()


# -- the arrivals ----------------------------------------------------------------------------


def test_arrivals_come_at_the_average_rate_and_follow_the_day(simulation):
    moments = list(simulation.arrivals(0.5, 2 * simulation.DAY, seed=1))
    assert len(moments) == pytest.approx(0.5 * 2 * simulation.DAY, rel=0.02)
    assert moments == sorted(moments)
    of_day = [int(moment % simulation.DAY // 3600) for moment in moments]
    night, noon = (sum(hour in hours for hour in of_day) for hours in ((23, 0), (11, 12)))
    assert noon / night == pytest.approx(1.8 / 0.2, rel=0.2)


def test_the_same_seed_gives_the_same_arrivals_and_the_same_accesses(simulation):
    counts = set()
    for _ in range(2):
        process = simulation.Process(Freshness(5), seed=7)
        process.serve(itertools.islice(simulation.arrivals(1.0, 1e9, seed=7), 500))
        counts.add((process.clock.now, process.source.accesses, process.waited))
        process.close()
    assert len(counts) == 1


def test_the_peak_is_that_of_the_busiest_hour_of_the_day(simulation):
    from collections import Counter

    assert simulation.peak_per_minute(Counter()) == 0
    assert simulation.peak_per_minute(Counter({0: 60, 13: 600, 24 + 13: 1200})) == 15
