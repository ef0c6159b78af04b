import asyncio
import contextvars
import threading
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace

import pytest

variable = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def harness():
    from bench import harness

    return harness


@pytest.fixture
def quick(harness):
    """Two rounds of next to nothing: what is measured here is that it is measured."""
    return SimpleNamespace(slice=1e-5, rounds=2)


def measured(harness, **samples):
    return harness.Measured(samples, dict.fromkeys(samples, "s"))


# -- what is made of samples -----------------------------------------------------------------


def test_a_ratio_is_that_of_two_samples_of_one_round(harness):
    figure = measured(harness, ours=[2.0, 40.0, 2.0], floor=[1.0, 10.0, 1.0]).figure(
        "ours", ratio_to="floor"
    )
    assert (figure.value, figure.ratio, figure.ratio_spread) == (2.0, 2.0, (2.0, 3.0))
    assert (figure.verdict, figure.mark) == ("report only", None)


@pytest.mark.parametrize(
    ("bounds", "value", "verdict"),
    [
        ({"at_most": 2.0}, 2.0, "met"),
        ({"at_most": 2.0}, 2.1, "missed"),
        ({"at_least": 0.95}, 0.95, "met"),
        ({"at_least": 0.95}, 0.94, "missed"),
        ({"at_least": 1, "at_most": 1}, 2, "missed"),
    ],
)
def test_a_mark_is_met_up_to_its_bound(harness, bounds, value, verdict):
    assert harness.Mark(**bounds).verdict(value) == verdict


def test_a_mark_is_shown_by_its_bounds_or_in_words(harness):
    assert str(harness.Mark(at_most=2.0)) == "≤ 2"
    assert str(harness.Mark(at_least=0.95, at_most=1)) == "≤ 1, ≥ 0.95"
    assert str(harness.Mark(at_most=1.0, text="faster than each")) == "faster than each"


def test_without_a_ratio_the_mark_is_for_the_value(harness):
    figure = measured(harness, ours=[3.0]).figure("ours", mark=harness.Mark(at_most=2.0))
    assert (figure.verdict, figure.spread) == ("missed", (3.0, 3.0))


def test_the_others_are_listed_from_fast_to_slow_behind_the_floor(harness):
    taken = measured(harness, slow=[3.0], floor=[1.0], fast=[2.0], ours=[1.5])
    figures = taken.figures(floor="floor", without=["ours"])
    assert [(figure.case, figure.ratio) for figure in figures] == [
        ("floor", None),
        ("fast", 2.0),
        ("slow", 3.0),
    ]


def test_faster_than_each_is_faster_than_the_fastest(harness):
    taken = measured(harness, slow=[3.0], fast=[2.0], ours=[1.0])
    figure = taken.against_fastest("ours", ["slow", "fast"], mark=harness.Mark(at_most=1.0))
    assert (figure.ratio_to, figure.ratio, figure.verdict) == ("fast", 0.5, "met")


# -- rounds ----------------------------------------------------------------------------------


def test_every_round_has_every_case_and_every_case_is_everywhere(harness):
    orders = [harness.order_of(3, number) for number in range(6)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert {order[0] for order in orders} == {order[-1] for order in orders} == {0, 1, 2}
    assert orders[1] == orders[0][::-1]


def test_one_sample_of_each_case_a_round_after_one_to_warm_up(harness, quick):
    log = []

    @contextmanager
    def prepare():
        yield lambda: log.append("taken") or 7.0

    taken = harness.measure([harness.sampled("ours", prepare, unit="1/s")], quick, rounds=3)
    assert (list(taken.samples["ours"]), taken.units, len(log)) == ([7.0] * 3, {"ours": "1/s"}, 4)


def test_two_cases_of_one_name_are_refused(harness, quick):
    case = harness.process("same", "print(1)")
    with pytest.raises(ValueError, match="one name"):
        harness.measure([case, case], quick)


# -- kinds of cases --------------------------------------------------------------------------


def test_a_body_runs_in_a_context_of_its_own_and_is_cleared_up_in_it(harness, quick):
    seen = []

    @contextmanager
    def prepare():
        variable.set("mine")
        yield lambda: seen.append(variable.get())
        seen.append(f"end of {variable.get()}")

    harness.measure([harness.loop("ours", prepare)], quick)
    assert set(seen) == {"mine", "end of mine"}
    assert variable.get() == "unset"


def test_a_body_in_threads_runs_in_copies_of_its_context(harness, quick):
    seen = set()

    @contextmanager
    def prepare():
        variable.set("mine")
        yield lambda: seen.add((threading.get_ident(), variable.get()))

    harness.measure([harness.loop("ours", prepare, threads=3)], quick)
    assert {value for _, value in seen} == {"mine"}
    assert threading.get_ident() not in {thread for thread, _ in seen}


def test_a_body_that_fails_in_a_thread_fails(harness, quick):
    @contextmanager
    def prepare():
        yield lambda: 1 / 0

    with pytest.raises(ZeroDivisionError):
        harness.measure([harness.loop("ours", prepare, threads=2)], quick)


def test_an_asynchronous_body_is_awaited_in_one_loop_and_context(harness, quick):
    seen = set()

    @asynccontextmanager
    async def prepare():
        variable.set("mine")
        loop = asyncio.get_running_loop()

        async def body():
            seen.add((asyncio.get_running_loop() is loop, variable.get()))

        yield body

    harness.measure([harness.loop("ours", prepare)], quick)
    assert seen == {(True, "mine")}


def test_a_statement_may_have_several_lines(harness, quick):
    log = []

    @contextmanager
    def prepare():
        yield harness.Statement("with scope():\n    log('in')", scope=opened, log=log.append)

    @contextmanager
    def opened():
        yield
        log.append("out")

    harness.measure([harness.loop("ours", prepare)], quick)
    assert log[:4] == ["in", "out", "in", "out"]


def test_what_is_short_is_repeated_within_its_loop_and_what_is_long_is_not(harness):
    short = harness.plan_for(lambda plan: plan.times * 1e-6, 0.01)
    assert (short.unrolled, short.times) == (True, 10_000)
    long = harness.plan_for(lambda plan: plan.times * 0.1, 0.01)
    assert (long.unrolled, long.times) == (False, 1)


def test_what_is_made_at_the_first_call_does_not_make_it_long(harness):
    costs = iter([5.0, 5.0])
    plan = harness.plan_for(lambda plan: next(costs, plan.times * 1e-6), 0.01)
    assert (plan.unrolled, plan.times) == (True, 10_000)


def test_a_sample_of_a_process_is_the_number_that_it_prints_last(harness, quick):
    case = harness.process("ours", "print('chatter'); print(42)", unit="bytes")
    assert list(harness.measure([case], quick, rounds=1).samples["ours"]) == [42.0]
