import pytest

from pgp_config import Freshness
from pgp_config.cost import accesses_at_most


@pytest.fixture
def month():
    from bench.rows import month

    return month


@pytest.mark.parametrize(
    ("processes", "most", "simulated", "days"),
    [
        (1, 5_000_000, 1, 30),  # all of it
        (1, 200_000, 1, 1),  # a day of the one process
        (1, 10, 1, 1),  # never less
        (20, 250_000, 1, 30),
        (200, 200_000, 4, 30),
        (2, 10**9, 2, 30),  # no more than there are
    ],
)
def test_what_is_simulated_stands_for_the_rest(month, processes, most, simulated, days):
    assert month.Share.of(processes, most) == month.Share(simulated, days)


def test_a_share_is_scaled_to_the_month(month):
    found = month.simulated(month._each_read, 200, 50_000)
    assert found.accesses == pytest.approx(3 * month.REQUESTS, rel=0.05)
    assert found.requests == pytest.approx(50_000, rel=0.05)
    assert found.note == "of 2 of 200 processes, 30 of 30 days"
    assert found.dollars == pytest.approx(45, rel=0.05)
    assert found.peak == pytest.approx(1.8 * 3 * month.REQUESTS / month.MONTH * 60, rel=0.15)


def test_the_engine_stays_within_what_the_estimate_says(month):
    way = month._ours(Freshness(60))
    served, by_hour, at_start = way(month.arrivals(1.0, 10_000, seed=3), 3)
    assert at_start == 3
    assert by_hour.total() <= 3 * accesses_at_most(10_000, served, 60)
