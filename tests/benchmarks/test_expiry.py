import pytest


@pytest.fixture
def expiry(monkeypatch):
    pytest.importorskip("aws_secretsmanager_caching", reason="its peers are in .venv-bench only")
    from bench.rows import expiry

    return expiry


def test_a_percentile_is_one_of_the_times(expiry):
    assert expiry.percentile([3.0, 1.0, 2.0]) == 3.0
    assert expiry.percentile(range(1, 1001)) == 990
    assert expiry.percentile(range(1, 101), 0.5) == 50


def test_a_read_waits_for_the_call_under_way_and_the_one_after_it(expiry):
    ended = {1: 1.0, 2: 2.0, 3: 3.0}
    assert expiry.waited_for(ended, ("2", 0.5, 2.1)) == 2
    assert expiry.waited_for(ended, ("3", 2.5, 3.1)) == 1
    assert expiry.waited_for(ended, ("3", 0.5, 3.1)) == 3
