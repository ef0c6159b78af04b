"""The checker of histories: it is silent about what was promised, and catches every planted fault."""

import pytest

from pgp_config.testing.history import Bounds, Change, History, Read

BOUNDS = {"KEY": Bounds(5.0, 60.0), "STRICT": Bounds(0.0, 60.0)}


def read(version, at=10.0, scope=1, opened=None, name="KEY", took=0.0, **kind):
    opened = at if opened is None else opened
    return Read(scope, name, version, opened, at, at + took, **kind)


def history(*facts):
    made = History()
    made.add(Change("KEY", 1, 0.0, 0.0))
    made.add(Change("STRICT", 1, 0.0, 0.0))
    for fact in facts:
        made.add(fact)
    return made


def broken(*facts):
    return [violation.promise for violation in history(*facts).violations(BOUNDS)]


ROTATED = Change("KEY", 2, 10.0, 10.5)


@pytest.mark.parametrize(
    "facts",
    [
        [],
        [read(1), read(1, 11.0)],
        # Within max_age of a rotation either version may be seen, after it the new one.
        [ROTATED, read(1, 15.5), read(2, 15.5, scope=2), read(2, 99.0, scope=3)],
        # A scope stays where it is; a refresh moves it on.
        [ROTATED, read(1, 9.0), read(1, 99.0, opened=9.0)],
        [ROTATED, read(1, 9.0), read(2, 11.0, opened=9.0, moved=True), read(2, 12.0, opened=9.0)],
        # Threads of one scope that overlap a refresh may see either.
        [
            ROTATED,
            read(1, 9.0),
            read(2, 11.0, opened=9.0, moved=True, took=2.0),
            read(1, 12.0, opened=9.0),
            read(2, 12.5, opened=9.0),
        ],
        # A secret that is read late comes from the generation that its scope pinned.
        [ROTATED, read(1, 9.0, name="STRICT"), read(1, 99.0, opened=9.0)],
        # Served stale: max_stale holds.
        [ROTATED, read(1, 60.0, stale=True)],
        # A strict reader that overlaps the rotation may see either.
        [Change("STRICT", 2, 10.0, 11.0), read(1, 10.5, name="STRICT")],
        # Two readers that overlap, and two processes, are in no order.
        [ROTATED, read(2, 11.0, took=1.0), read(1, 11.5, scope=2, opened=11.5)],
        [ROTATED, read(2, 11.0), read(1, 12.0, process=1)],
        # A version that was taken back gives way to a lower one.
        [ROTATED, Change("KEY", 1, 20.0, 20.5), read(2, 20.2), read(1, 20.3, scope=2)],
        # While `latest` lags, the higher version that was seen may be served on.
        [Change("KEY", 1, 20.0, 20.0, highest=2), read(2, 30.0)],
    ],
)  # fmt: skip
def test_what_is_promised_is_no_violation(facts):
    assert broken(*facts) == []


@pytest.mark.parametrize(
    ("promise", "facts"),
    [
        (1, [ROTATED, read(1, 11.0), read(2, 12.0, opened=11.0)]),
        (1, [ROTATED, read(1, 9.0), read(2, 11.0, opened=9.0, moved=True), read(1, 12.0, opened=9.0)]),
        (4, [ROTATED, read(1, 16.0)]),
        (4, [ROTATED, read(1, 16.0, opened=9.0)]),
        (4, [ROTATED, read(1, 71.0, stale=True)]),
        (4, [ROTATED, read(1, 11.0, moved=True)]),
        (4, [read(2)]),
        (4, [ROTATED, read(2, 9.0)]),
        (4, [Change("STRICT", 2, 8.0, 9.0), read(1, 10.0, name="STRICT")]),
        (4, [ROTATED, Change("KEY", 1, 20.0, 20.5), read(2, 26.0)]),
        (7, [ROTATED, read(2, 11.0), read(1, 12.0, scope=2)]),
        (7, [ROTATED, read(2, 11.0), read(1, 12.0, scope=2, opened=9.0, moved=True, stale=True)]),
        (7, [ROTATED, Change("KEY", 1, 10.6, 10.6, highest=2), read(2, 11.0), read(1, 12.0, scope=2)]),
    ],
)  # fmt: skip
def test_a_planted_fault_is_caught(promise, facts):
    assert broken(*facts) == [promise]


def test_a_read_of_what_the_source_never_held_is_no_history():
    with pytest.raises(ValueError, match="NONE was read"):
        history(read(1, name="NONE")).violations({})


def test_the_default_bound_is_the_default_freshness():
    assert [v.promise for v in history(ROTATED, read(1, 16.0)).violations({})] == [4]
    assert history(ROTATED, read(1, 15.0)).violations({}) == []


def test_a_violation_says_what_was_seen_and_what_should_have_been():
    made = history(ROTATED, read(1, 16.0, scope=3, process=7))
    (violation,) = made.violations(BOUNDS)
    assert str(violation) == (
        "promise 4: scope 3 of process 7 read KEY version 1 (16.000000 to 16.000000), but from "
        "11.000000 on the source held 2 to 2"
    )
    assert len(made) == 1
    assert repr(made) == "<History of 1 reads and 3 changes>"
    assert made.new_scope() != made.new_scope()
