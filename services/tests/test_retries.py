"""Retrying: jittered, growing, inside the budget, and as long as the other side asks."""

import pytest

from pgp_services.clients.retries import SHORTEST_ATTEMPT, RetryPolicy
from pgp_services.failures import Refused, Unavailable


@pytest.fixture
def policy(clock):
    return RetryPolicy(budget=10.0, attempt=3.0, clock=clock, chance=lambda: 1.0)


def test_pauses_double_up_to_the_longest(policy):
    course = policy.start()
    pauses = [course.pause_after(Unavailable("down")) for _ in range(7)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_half_of_a_pause_is_chance(clock):
    policy = RetryPolicy(budget=10.0, attempt=3.0, clock=clock, chance=lambda: 0.0)
    assert policy.start().pause_after(Unavailable("down")) == 0.05


def test_other_failures_end_the_call(policy):
    course = policy.start()
    assert course.pause_after(Refused("no")) is False
    assert course.pause_after(Unavailable("for good", passing=False)) is False
    assert course.pause_after(ValueError()) is False


def test_a_pause_is_as_long_as_the_other_side_asks(policy):
    assert policy.start().pause_after(Unavailable("slow down", retry_after=4.0)) == 4.0


def test_a_pause_past_the_budget_ends_the_call(policy, clock):
    course = policy.start()
    assert course.pause_after(Unavailable("slow down", retry_after=10.0)) is False
    clock.now += 9.9
    assert course.pause_after(Unavailable("down")) is False


def test_an_attempt_ends_with_the_budget(policy, clock):
    course = policy.start()
    assert course.attempt_limit() == 3.0
    clock.now += 8
    assert course.attempt_limit() == 2.0
    clock.now += 8
    assert course.left() == 0.0
    assert course.attempt_limit() == SHORTEST_ATTEMPT
