"""`pgp-config demo`: what a spectator sees, and that a broken promise is one."""

import dataclasses
import json
import sys
import threading

import pytest
from typer.testing import CliRunner

from pgp_config.cli import app
from pgp_config.demo import CUES, Facts, Show, Stage
from pgp_config.demo import stage as stage_module

KEPT = Facts(
    seconds=8.0,
    requests=1000,
    failed=0,
    torn=0,
    by_version={1: 400, 2: 600},
    uptake=0.4,
    max_age=1.0,
    in_outage=200,
    calls=9,
    static_calls=0,
    lines=4,
    leaks=0,
)


def told(facts, monkeypatch, *words):
    monkeypatch.setattr(Show, "run", lambda show: facts)
    return CliRunner().invoke(app, ["demo", *words])


@pytest.fixture
def in_memory(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgp_config.emulator", None)


def wait_until(true):
    """A wait for the show: as long as it takes, and not for a time."""
    reached = threading.Event()
    while not true() and not reached.wait(0.001):
        pass


def test_it_shows_the_cues_and_the_promises_with_their_measures(monkeypatch):
    def run(show):
        show._tell(CUES[0], show._stage)
        return KEPT

    monkeypatch.setattr(Show, "run", run)
    shown = CliRunner().invoke(app, ["demo"])
    assert shown.exit_code == 0
    assert "a local Secret Manager, over gRPC" in shown.stdout
    assert (
        " 1.5 s       0 requests, 0 failed, key version 0 in use  ← the key is rotated"
        in shown.stdout
    )
    assert "✓ 1,000 requests, 0 failed" in shown.stdout
    assert "the new key was used after 0.4 s" in shown.stdout
    assert "Every promise was kept." in shown.stdout


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"failed": 3}, "1,000 requests, 3 failed"),
        ({"requests": 0}, "0 requests"),
        ({"uptake": None}, "used never"),
        ({"uptake": 9.0}, "used after 9.0 s"),
        ({"torn": 1}, "1 requests saw two versions"),
        ({"in_outage": 0}, "0 requests were served"),
        ({"calls": 1000}, "1,000 calls"),
        ({"calls": 0}, "0 calls"),
        ({"static_calls": 1}, "asked for 1 times"),
        ({"leaks": 1}, "1 of 4 lines"),
    ],
)
def test_a_broken_promise_is_named_and_ends_it_with_1(monkeypatch, change, text):
    facts = dataclasses.replace(KEPT, **change)
    shown = told(facts, monkeypatch)
    assert shown.exit_code == 1
    (line,) = (line for line in shown.stdout.splitlines() if "NOT KEPT" in line)
    assert text in line
    assert "A promise was broken." in shown.stdout
    document = json.loads(told(facts, monkeypatch, "--json").stdout)
    assert document["kept"] is False
    assert document["measured"]["max_age"] == 1.0
    assert [each["kept"] for each in document["promises"]].count(False) == 1


def test_an_interruption_ends_it_with_130(monkeypatch):
    def interrupt(show):
        raise KeyboardInterrupt

    monkeypatch.setattr(Show, "run", interrupt)
    shown = CliRunner().invoke(app, ["demo"])
    assert (shown.exit_code, shown.stderr) == (130, "Interrupted.\n")


def test_the_show_itself(monkeypatch, in_memory):
    """All cues in turn; each waits until enough has happened, and not for a time."""
    monkeypatch.setattr(stage_module, "MAX_AGE", 0.05)
    monkeypatch.setattr(stage_module, "PAUSE", 0.001)
    told = []
    with Stage() as stage:
        steps = iter(
            [
                lambda: stage.by_version[1] > 10,
                lambda: 2 in stage.by_version,
                lambda: True,
                lambda: stage.source.calls["DEMO_API_KEY"] > calls[-1],
                lambda: stage.requests > told[-1] + 5,
            ]
        )
        calls = []

        def tell(cue, on):
            calls.append(on.source.calls["DEMO_API_KEY"] + 1)
            told.append(on.requests)

        facts = Show(stage, tell, wait=lambda _: wait_until(next(steps))).run()
    assert "memory" in stage.where
    assert (facts.failed, facts.torn, facts.static_calls, facts.leaks) == (0, 0, 0, 0)
    assert facts.in_outage > 0
    assert facts.by_version[2] > 0
    assert facts.uptake >= 0
    assert len(told) == len(CUES)
    assert any("Hot-reloaded DEMO_API_KEY version 1 -> 2" in line for line in stage.log.lines)


def test_requests_that_fail_or_leak_are_counted(in_memory):
    with Stage() as stage:
        stage.request()
        stage.rotate()
        stage.revoke()
        stage.request()  # within max_age: the old key, which the partner refuses by now
        assert (stage.requests, stage.failed) == (2, 1)
        stage.log.lines.append(f"the key is {stage._values[0]}")
        assert stage.leaks() == 1
    with pytest.MonkeyPatch.context() as patch, Stage() as stage:
        patch.setattr(stage._secrets.api_key.__class__, "__call__", refuse)
        stage.request()
        assert (stage.failed, stage.by_version) == (1, {0: 1})


def refuse(*_, **__):
    from pgp_config.errors import SourceTimeout

    raise SourceTimeout("does not answer")


def test_nothing_is_left_of_a_stage_that_could_not_start(monkeypatch, in_memory):
    import logging

    monkeypatch.setattr(stage_module.Demo, "__new__", refuse)
    with pytest.raises(TimeoutError), Stage():
        raise AssertionError
    assert not any(
        isinstance(h, stage_module.Lines) for h in logging.getLogger("pgp_config").handlers
    )


def test_with_the_local_secret_manager():
    with Stage() as stage:
        stage.request()
        stage.rotate()
        stage.revoke()
        assert (stage.requests, stage.failed) == (1, 0)
        assert stage.where == "a local Secret Manager, over gRPC"
