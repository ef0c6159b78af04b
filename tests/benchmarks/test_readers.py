import asyncio
import threading

import pytest


@pytest.fixture
def readers():
    from bench import readers

    return readers


def test_a_percentile_is_one_of_the_times(readers):
    assert readers.percentile([3.0, 1.0, 2.0]) == 3.0
    assert readers.percentile(range(1, 1001)) == 990
    assert readers.percentile(range(1, 101), 0.5) == 50


def test_a_read_waits_for_the_call_under_way_and_the_one_after_it(readers):
    ended = {1: 1.0, 2: 2.0, 3: 3.0}
    assert readers.waited_for(ended, ("2", 0.5, 2.1)) == 2
    assert readers.waited_for(ended, ("3", 2.5, 3.1)) == 1
    assert readers.waited_for(ended, ("3", 0.5, 3.1)) == 3


def test_readers_read_at_once_and_each_is_timed(readers):
    together = threading.Barrier(8)  # it opens when all of them are there
    assert len(readers.burst(8, lambda: together.wait(30))) == 8
    took = asyncio.run(readers.burst_async(5, lambda: asyncio.sleep(0)))
    assert len(took) == 5
    assert min(took) >= 0


def test_a_reader_that_fails_is_no_sample(readers):
    thrown = []
    before, threading.excepthook = threading.excepthook, thrown.append
    try:
        with pytest.raises(RuntimeError, match="a reader failed"):
            readers.burst(2, lambda: 1 / 0)
    finally:
        threading.excepthook = before
    assert len(thrown) == 2
