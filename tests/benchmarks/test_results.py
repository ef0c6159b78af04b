import datetime as dt

import pytest


@pytest.fixture
def results():
    from bench import results

    return results


@pytest.fixture
def run_of(results):
    def make(*rows):
        return results.Results(
            measured_on=dt.date(2026, 11, 25),
            quick=False,
            commit="abc1234",
            machine=results.Machine(
                system="Linux", processor="x", cores=2, memory=None, python="CPython", load=None
            ),
            versions={"flask": "3.1.3"},
            rows=rows,
        )

    return make


@pytest.fixture
def row_of(results):
    def make(name="reads", ratio=2.0, spread=0.1, unit="s"):
        figure = results.Figure(
            case="ours",
            value=1.0,
            unit=unit,
            ratio_to="floor",
            ratio=ratio,
            ratio_spread=(ratio - spread, ratio + spread),
        )
        return results.RowResult(name=name, title=name, figures=(figure,))

    return make


def test_results_are_read_as_they_were_written(results, run_of, row_of, tmp_path):
    run = run_of(row_of())
    results.write(run, tmp_path / "new" / "latest.json")
    assert results.read(tmp_path / "new" / "latest.json") == run


def test_rows_that_were_not_measured_are_kept_from_the_run_before(run_of, row_of):
    before = run_of(row_of("reads", 1.0), row_of("scopes", 1.0))
    kept = run_of(row_of("scopes", 2.0), row_of("fetch", 2.0)).over(before)
    assert [(row.name, row.figures[0].ratio) for row in kept.rows] == [
        ("fetch", 2.0),
        ("reads", 1.0),
        ("scopes", 2.0),
    ]
    assert run_of(row_of()).over(None).row("reads") is not None
    assert kept.row("imports") is None


@pytest.mark.parametrize(
    ("ratio", "spread", "unit", "kind"),
    [
        (2.2, 0.01, "s", "same"),
        (2.6, 0.1, "s", "worse"),
        (1.5, 0.1, "s", "better"),
        (2.6, 0.9, "s", "same"),
        (2.6, 0.1, "1/s", "better"),
        (1.5, 0.1, "1/s", "worse"),
    ],
)
def test_a_ratio_has_changed_where_it_differs_by_more_than_its_spread(
    results, run_of, row_of, ratio, spread, unit, kind
):
    now, before = run_of(row_of("reads", ratio, spread, unit)), run_of(row_of("reads", unit=unit))
    (change,) = results.changes(now, before)
    assert (change.before, change.now, change.kind) == (2.0, ratio, kind)


def test_what_only_one_of_two_runs_has_is_not_compared(results, run_of, row_of):
    assert not list(results.changes(run_of(row_of("fetch")), run_of(row_of("reads"))))


def test_amounts_are_shown_in_three_digits():
    from bench.shown import amount

    assert amount(83.5e-9, "s") == "83.5 ns"
    assert amount(0.0012345, "s") == "1.23 ms"
    assert amount(3 * 2**20, "bytes") == "3 MiB"
    assert amount(1234, "calls") == "1,234 calls"
    assert amount(0, "s") == "0 ns"


def test_the_names_in_a_requirements_file_are_those_of_what_runs():
    from bench.machine import required_names

    text = "# peers\n-r ../dev.in\nuvloop; sys_platform != 'win32'\ntypes-cachetools\nflask>=3\n"
    assert required_names(text) == ["uvloop", "flask"]
