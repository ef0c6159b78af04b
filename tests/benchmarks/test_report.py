"""The results page: marks, explanations, pictures."""

import datetime as dt

import pytest


def results_of(*figures, quick=False, failed=()):
    from bench.results import Machine, Results, RowResult

    machine = Machine(
        system="Linux 6", processor="CPU", cores=2, memory=2**31, python="CPython 3.11", load=0.1
    )
    row = RowResult(name="reads", title="Read of a value", figures=figures, took=90.0)
    return Results(
        measured_on=dt.date(2026, 1, 2),
        quick=quick,
        commit="abc1234",
        machine=machine,
        versions={"rodi": "2.1"},
        rows=(row,),
        failed=failed,
    )


def figure(case="ours", verdict="met", mark="≤ 2", **more):
    from bench.results import Figure

    return Figure(
        case=case,
        value=9e-8,
        ratio_to="floor",
        ratio=1.9,
        ratio_spread=(1.8, 2.0),
        mark=mark,
        verdict=verdict,
        **more,
    )


def explanation(**more):
    from bench.explained import Explanation

    given = {"row": "reads", "cases": ("ours",), "why": "Because.", "tried": "All of it."}
    return Explanation(**given | more)


def text_of(results, explanations=(), pictures=None):
    from bench.report import text_of

    return text_of(results, explanations, pictures or {})


def test_a_figure_stands_beside_its_mark():
    text = text_of(results_of(figure()))
    assert "| ours | 90 ns | 1.9 | ±5% | floor | ≤ 2 | met |" in text
    assert "| [reads](#reads-read-of-a-value) | ours | 1.9 times | ≤ 2 | met | 1 of 1 |" in text
    assert "02 January 2026" in text
    assert "all of it, 2 minutes" in text
    assert "rodi 2.1" in text


def test_a_missed_mark_is_explained_beside_it():
    from bench.explained import refuse_unexplained

    missed = results_of(figure(verdict="missed"))
    refuse_unexplained(missed, [explanation()])
    text = text_of(missed, [explanation(), explanation(why="Not shown.")])
    assert "**Missed: ours beside floor.** Because." in text
    assert "*Tried:* All of it." in text
    assert "Not shown." not in text


def test_what_explains_no_missed_mark_is_left_out():
    assert "Because." not in text_of(results_of(figure()), [explanation()])


@pytest.mark.parametrize("other", [{"row": "scopes"}, {"cases": ("theirs",)}, {"to": "rodi"}])
def test_no_page_without_an_explanation_of_a_missed_mark(other, tmp_path):
    from bench.explained import UnexplainedError, refuse_unexplained

    with pytest.raises(UnexplainedError, match="reads: ours / floor"):
        refuse_unexplained(results_of(figure(verdict="missed")), [explanation(**other)])


def test_what_is_not_to_be_trusted_is_said():
    text = text_of(results_of(figure(), quick=True, failed=("servers",)))
    assert "From a quick run" in text
    assert "failed: servers" in text


def test_names_are_no_markup():
    text = text_of(results_of(figure(case='get()["a|b"]', verdict="report only", mark=None)))
    assert 'get()\\["a\\|b"\\]' in text


def test_a_picture_has_a_text_for_who_does_not_see_it():
    from types import SimpleNamespace

    picture = SimpleNamespace(stem="reads-1", alt="Bars: ours 1.9")
    text = text_of(results_of(figure()), pictures={"reads": [picture]})
    assert "[![Bars: ours 1.9](benchmarks/reads-1.svg)](benchmarks/reads-1.png)" in text


def test_the_kept_explanations_are_of_rows_that_there_are():
    from bench import explained
    from bench.__main__ import row_names

    known = explained.read()
    assert {each.row for each in known} <= {*row_names()}
    assert all(each.why.strip() and each.tried.strip() for each in known)


def test_rows_stand_as_in_the_table_and_others_after_them():
    from bench.report import in_order
    from bench.results import RowResult

    rows = [RowResult(name=name, title=name, figures=()) for name in ("zebra", "month", "reads")]
    assert [row.name for row in in_order(rows)] == ["reads", "month", "zebra"]


def test_the_same_results_give_the_same_pictures(tmp_path):
    pytest.importorskip("matplotlib", reason="in .venv-bench only")
    from bench.plots import draw

    results = results_of(figure(), figure(case="a", mark=None), figure(case="b", mark=None))
    for folder in ("one", "two"):
        assert [p.stem for p in draw(results, tmp_path / folder)["reads"]] == ["reads-1"]
    for ending in ("svg", "png"):
        once, again = ((tmp_path / f / f"reads-1.{ending}").read_bytes() for f in ("one", "two"))
        assert once == again
