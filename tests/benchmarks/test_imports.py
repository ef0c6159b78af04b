"""Differences of cases that were measured together."""


def test_what_one_takes_more_is_the_median_of_the_rounds():
    from bench.harness import Mark, Measured
    from bench.rows.imports import excess

    measured = Measured({"ours": [3.0, 9.0, 4.0], "floor": [2.0, 5.0, 1.0]}, {"ours": "s"})
    figure = excess(measured, "ours", "floor", Mark(at_most=2.5, text="+2.5"))
    assert (figure.value, figure.spread, figure.ratio) == (3.0, (2.0, 3.5), None)
    assert (figure.mark, figure.verdict) == ("+2.5", "missed")
    assert excess(measured, "ours", "floor", None).verdict == "report only"
