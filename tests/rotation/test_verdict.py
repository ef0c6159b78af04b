"""Whether an old version is unread everywhere, from what the processes last said."""

import itertools
from math import inf

import pytest

from pgp_config.uptake.entries import Heard
from pgp_config.uptake.verdict import REMEDIES, SILENT_AFTER, judge


def heard(made, ago=1.0):
    return Heard(made, ago)


def test_nobody_reports_is_unknown():
    verdict = judge([], old=1, new=2)
    assert (verdict.state, verdict.waiting_for, verdict.up) == ("unknown", (), ())


def test_all_have_the_new_version_is_safe(entry):
    said = [heard(entry(f"host-{n}", version=2)) for n in range(3)]
    verdict = judge(said, old=1, new=2)
    assert (verdict.state, verdict.up) == ("safe", (("split2", 3),))


def test_a_newer_one_will_do_too(entry):
    assert judge([heard(entry(version=3))], old=1, new=2).state == "safe"


@pytest.mark.parametrize(
    ("facts", "ago", "reason"),
    [
        ({"version": 1}, 1.0, "behind"),
        ({"version": 1}, SILENT_AFTER + 1, "silent"),
        ({"version": 2, "in_use": (1, 2)}, 1.0, "holds"),
        ({"version": 2, "in_use": (1, 2)}, SILENT_AFTER + 1, "silent"),
        ({"version": 1, "failing": True}, 1.0, "failing"),
        ({"version": None, "in_use": (), "failing": True}, 1.0, "failing"),
        ({"version": 1, "refused": (2,)}, 1.0, "refused"),
        ({"version": 1, "refused": (2,), "kind": "static"}, 1.0, "refused"),
        ({"version": 1, "kind": "static"}, SILENT_AFTER + 1, "restart"),
    ],
)
def test_one_that_may_use_the_old_version_is_waited_for_and_it_is_said_why(
    entry, facts, ago, reason
):
    said = [heard(entry("host-1", **facts), ago), heard(entry("host-2", version=2))]
    verdict = judge(said, old=1, new=2)
    assert verdict.state == "waiting"
    (laggard,) = verdict.waiting_for
    assert (laggard.instance, laggard.reason, laggard.heard_ago) == ("host-1", reason, ago)
    assert reason in REMEDIES
    assert verdict.up == (("split2", 1),)


def test_it_is_never_safe_while_a_live_process_has_or_holds_an_older_version(entry):
    """Every combination of what three processes may say."""
    states = [(1, (1,)), (2, (2,)), (2, (1, 2)), (None, ()), (3, (2, 3)), (3, (1, 3))]
    ages = [1.0, SILENT_AFTER + 1, 500.0]
    each = list(itertools.product(states, ages))
    for fleet in itertools.product(each, repeat=3):
        said = [
            heard(entry(f"host-{n}", version=version, in_use=in_use), ago)
            for n, ((version, in_use), ago) in enumerate(fleet)
        ]
        verdict = judge(said, old=1, new=2, gone_after=400.0)
        alive = [(version, in_use) for (version, in_use), ago in fleet if ago <= 400.0]
        lagging = [v for v, in_use in alive if v is None or min((v, *in_use)) < 2]
        assert len(verdict.waiting_for) == len(lagging)
        expected = "waiting" if lagging else "safe" if alive else "unknown"
        assert verdict.state == expected


def test_an_expected_service_of_which_nobody_reports_makes_it_unknown(entry):
    said = [heard(entry(version=2)), heard(entry("host-9", service="batch", version=2))]
    assert judge(said, old=1, new=2, expected=["batch", "split2"]).state == "safe"
    verdict = judge(said, old=1, new=2, expected=["split3", "split1", "split2"])
    assert (verdict.state, verdict.missing) == ("unknown", ("split1", "split3"))


def test_waiting_is_told_before_missing_and_both_are_named(entry):
    verdict = judge([heard(entry())], old=1, new=2, expected=["batch"])
    assert (verdict.state, verdict.missing) == ("waiting", ("batch",))


def test_a_process_that_was_not_heard_for_so_long_is_gone(entry):
    said = [heard(entry("host-1"), 61.0), heard(entry("host-2", version=2))]
    assert judge(said, old=1, new=2, gone_after=60.0).state == "safe"
    assert judge(said, old=1, new=2, gone_after=62.0).state == "waiting"
    assert judge(said[:1], old=1, new=2, gone_after=60.0).state == "unknown"


def test_after_a_rollback_by_number_all_must_be_back(entry):
    back = heard(entry("host-1", version=1))
    held = heard(entry("host-2", version=1, in_use=(1, 2)))
    ahead = heard(entry("host-3", version=2))
    assert judge([back], old=2, new=1).state == "safe"
    assert [w.reason for w in judge([back, held, ahead], old=2, new=1).waiting_for] == [
        "holds",
        "behind",
    ]


def test_two_services_are_counted_apart_and_laggards_are_in_order(entry):
    said = [
        heard(entry("b", service="two")),
        heard(entry("a", service="two")),
        heard(entry("c", service="one")),
        heard(entry("d", service="one", version=2)),
    ]
    verdict = judge(said, old=1, new=2, gone_after=inf)
    assert [(w.service, w.instance) for w in verdict.waiting_for] == [
        ("one", "c"),
        ("two", "a"),
        ("two", "b"),
    ]
    assert verdict.up == (("one", 1),)
