"""What a month costs: the arithmetic, the command, and the engine itself beside it."""

import json
import math
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pgp_config import DeclarationError
from pgp_config.cli import app
from pgp_config.cost import (
    MONTH,
    QUOTA,
    Traffic,
    advice,
    estimates,
    versions_cost,
)

DOCS = Path(__file__).parent.parent / "docs"


def by_mode(traffic, *max_ages):
    return {one.mode: one for one in estimates(traffic, max_ages or (5.0,))}


def run(*arguments):
    return CliRunner().invoke(app, ["cost", *arguments])


SMALL = ("--requests-per-second", "2", "--processes", "4", "--secrets", "3")


# -- the arithmetic --------------------------------------------------------------------------


def test_fetching_each_read_and_each_request_grow_with_the_traffic():
    found = by_mode(Traffic(2, 4, 3, reads=5))
    assert found["fetch per read"].accesses == 2 * 3 * 5 * MONTH
    assert found["cache per request"].accesses == 2 * 3 * MONTH


def test_the_bounded_mode_does_not_grow_with_the_traffic():
    few, many = (by_mode(Traffic(rate, 4, 3))["bounded"] for rate in (100, 100_000))
    assert few == many
    assert few.accesses == 4 * 3 * MONTH / (0.8 * 5) + 4 * 3  # each process starts once


def test_where_requests_are_rare_each_brings_an_access_at_most():
    found = by_mode(Traffic(0.01, 100, 3))
    assert found["bounded"].accesses == 0.01 * 3 * MONTH + 100 * 3
    assert found["library"].accesses == 0.01 * 3 * MONTH


def test_every_request_makes_a_call_a_round_trip_at_most():
    slow, fast = (
        by_mode(Traffic(100_000, 2, 3, round_trip=trip))["every request"] for trip in (0.1, 0.01)
    )
    assert slow.accesses == 2 * 3 * 10 * MONTH
    assert fast.accesses == 2 * 3 * 100 * MONTH


def test_a_push_is_paid_with_one_wave_in_each_process():
    none, some = (by_mode(Traffic(50, 4, 3, rotations=n))["push"] for n in (0, 2))
    assert none.accesses == 4 * 3 * MONTH / (0.8 * 3600) + 4 * 3
    assert some.accesses - none.accesses == 2 * 3 * 3 * 4


def test_the_first_ten_thousand_accesses_and_six_versions_are_free():
    free, paid = (
        by_mode(Traffic(1, 1, 1), max_age)["bounded"] for max_age in (MONTH, MONTH / 10_000)
    )
    assert (free.accesses, free.dollars) == (3, 0)
    assert paid.dollars == pytest.approx((paid.accesses - 10_000) * 0.03 / 10_000)
    assert [versions_cost(n) for n in (1, 6, 7, 106)] == [0, 0, 0.06, 6.0]


def test_the_quota_is_that_of_a_minute():
    found = by_mode(Traffic(1500, 1, 1))
    assert found["fetch per read"].quota == 1500 * 60 / QUOTA == 1.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"requests_per_second": 0}, "requests per second: 0"),
        ({"requests_per_second": -1}, "requests per second: -1"),
        ({"requests_per_second": math.nan}, "requests per second: nan"),
        ({"requests_per_second": math.inf}, "requests per second: inf"),
        ({"processes": 0}, "processes: 0"),
        ({"processes": 1_000_001}, "processes: 1000001"),
        ({"secrets": 0}, "secrets: 0"),
        ({"secrets": 100_001}, "secrets: 100001"),
        ({"reads": 0}, "reads in a request: 0"),
        ({"rotations": -1}, "rotations a month: -1"),
        ({"round_trip": 0}, "round trip: 0 s"),
        ({"round_trip": 61}, "round trip: 61 s"),
        ({"round_trip": math.nan}, "round trip: nan s"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(given, said):
    with pytest.raises(DeclarationError, match=re.escape(f"cannot be made for {said}. Give")):
        Traffic(**{"requests_per_second": 1, "processes": 1, "secrets": 1, **given})


@pytest.mark.parametrize("max_age", [0, -1, math.nan, math.inf, MONTH + 1])
def test_a_bound_that_is_none_is_refused(max_age):
    with pytest.raises(DeclarationError, match=re.escape(f"max_age: {max_age} s")):
        estimates(Traffic(1, 1, 1), [5, max_age])


def test_no_bound_at_all_is_refused():
    with pytest.raises(DeclarationError, match="no max_age"):
        estimates(Traffic(1, 1, 1), [])


def test_the_freshest_bound_within_the_budget_is_advised():
    found = estimates(Traffic(100, 10, 3), (60, 5, 600))
    assert [one.max_age for one in found if one.mode == "bounded"] == [5, 60, 600]
    for budget, mode, max_age in ((1e4, "bounded", 5), (5, "bounded", 60), (0.1, "push", 3600)):
        said = advice(found, budget)
        assert (said.choice.mode, said.choice.max_age, said.fits) == (mode, max_age, True)
    assert "pushes: see docs/push.md" in said.text


def test_a_mode_that_takes_most_of_the_quota_is_not_advised():
    found = estimates(Traffic(1e6, 1000, 10))
    assert found[4].quota > 0.5
    assert advice(found, 1e9).choice.max_age == 60


def test_where_nothing_fits_the_cheapest_is_named_as_such():
    said = advice(estimates(Traffic(1e6, 10_000, 1000)), 0)
    assert not said.fits
    assert said.choice.mode == "push"
    assert said.text.startswith("No mode is within $0.00 a month")


@pytest.mark.parametrize("budget", [-1, math.nan, math.inf])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(DeclarationError, match="budget"):
        advice(estimates(Traffic(1, 1, 1)), budget)


# -- the command -----------------------------------------------------------------------------


def test_the_table_shows_every_mode_and_what_to_choose():
    shown = run(*SMALL)
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert [line[:20].strip() for line in lines[1:9]] == [
        "fetch per read",
        "cache per request",
        "EVERY_REQUEST",
        "TTL library, 60 s",
        "max_age=5",
        "max_age=60",
        "max_age=600",
        "push, max_age=3600",
    ]
    assert "10,000 accesses of a month are free" in shown.output
    assert "Choose max_age=60." in shown.output
    assert all(len(line) <= 120 for line in lines)


def test_bounds_and_reads_can_be_given():
    shown = run(*SMALL, "--max-age", "30", "--max-age", "2.5", "--per-request-reads", "7")
    assert "max_age=2.5 " in shown.output
    assert "max_age=60" not in shown.output
    assert f"{2 * 3 * 7 * MONTH:,.0f}" in shown.output


def test_json_is_all_there_is():
    shown = run(*SMALL, "--json", "--budget", "100")
    document = json.loads(shown.output)
    assert document["traffic"]["processes"] == 4
    assert len(document["modes"]) == 8
    assert document["choice"]["max_age"] == 5
    assert document["choice"]["fits"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ("--requests-per-second", "nan", "--processes", "4", "--secrets", "3"),
        ("--requests-per-second", "2", "--processes", "0", "--secrets", "3"),
        ("--requests-per-second", "2", "--processes", "4", "--secrets", "-1"),
        (*SMALL, "--max-age", "0"),
        (*SMALL, "--per-request-reads", "0"),
        (*SMALL, "--budget", "-1"),
        (*SMALL, "--round-trip", "nan"),
        ("--processes", "4", "--secrets", "3"),
    ],
)
def test_a_wrong_use_ends_with_two_and_says_why(arguments):
    shown = run(*arguments)
    assert shown.exit_code == 2
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", shown.output).split())
    assert "Give" in text or "Missing option" in text


def test_the_documentation_shows_what_the_command_says():
    text = (DOCS / "using.md").read_text(encoding="utf-8")
    section = text.partition("## What it costs")[2]
    command, output = re.search(r"```\n\$ pgp-config cost (.+)\n((?:.*\n)+?)```", section).groups()
    assert run(*command.split()).output == output
