"""What the guard lets pass, and what it fails for."""

import pytest


def watch_of(values, mark):
    from bench.guard import Limit, Watch
    from bench.results import Figure

    coming = iter(values)
    figures = lambda: [Figure(case="ours", value=1.0, ratio=next(coming))]  # noqa: E731
    return Watch("reads", figures, (Limit("ours", mark, "floor"),))


@pytest.mark.parametrize(
    ("values", "failed", "seen"),
    [
        ((1.9,), False, (1.9,)),
        ((9.0, 1.9), False, (9.0, 1.9)),  # a neighbour's turn: over when it is measured again
        ((9.0, 8.0, 7.0), True, (9.0, 8.0, 7.0)),
    ],
)
def test_only_what_is_above_its_limit_each_time_fails(values, failed, seen):
    from bench.guard import judge
    from bench.harness import Mark

    (finding,) = judge(watch_of(values, Mark(at_most=3.0)), tries=3)
    assert (finding.failed, finding.seen) == (failed, seen)


def test_a_value_is_judged_where_there_is_no_ratio():
    from bench.guard import Limit, Watch, judge, told
    from bench.harness import Mark
    from bench.results import Figure

    figure = Figure(case="memory", value=9.0, unit="bytes")
    watch = Watch("requests", lambda: [figure], (Limit("memory", Mark(at_most=4.0)),))
    (finding,) = judge(watch, tries=2)
    assert told(finding) == "WORSE requests: memory: 9 B, 9 B (limit ≤ 4)"


def test_a_line_says_what_was_measured_beside_what():
    from bench.guard import judge, told
    from bench.harness import Mark

    (finding,) = judge(watch_of([1.894], Mark(at_most=3.0)))
    assert told(finding) == "ok    reads: ours / floor: 1.89 (limit ≤ 3)"


def test_each_limit_is_above_the_mark_of_its_row():
    from bench.guard import watches

    names = {(watch.name, limit.case) for watch in watches() for limit in watch.limits}
    assert {name for name, _ in names} == {"fetch", "imports", "reads", "requests", "scopes"}
    assert all(limit.mark.at_most is not None for watch in watches() for limit in watch.limits)
