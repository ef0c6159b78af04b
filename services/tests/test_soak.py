"""The parts of the soak: its faults, its notes, and what its tables say. CI runs the whole for a minute."""

import io
import itertools
import json
import os
import random
import signal
import socket
import threading
from dataclasses import astuple

import psutil
import pytest
from rich.console import Console

from pgp_config import RejectedVersion, SecretDisabled, SecretUnavailable, default_observers
from pgp_config.emulator import SecretManagerEmulator
from pgp_config.events import Fetched, Loaded
from pgp_config.sources import GoogleSecretManager
from pgp_config.testing.history import Change, History, Read, Violation
from pgp_services.catalogue import CATALOGUE
from pgp_services.demo.load import Outcome
from pgp_services.demo.stage import first_values
from pgp_services.lookalikes import ChangeNowServer
from pgp_services.soak import faults, recorded_app, report
from pgp_services.soak.faults import KEY, MATRIX, QUEUE, URL, Surroundings
from pgp_services.soak.ledger import DYNAMIC, Ledger
from pgp_services.soak.recorded_app import Records
from pgp_services.soak.report import Facts, Span, records_of, show, violations
from pgp_services.soak.watch import Sample, Watch, trends, workers_of

ROWS = {row.name: row for row in MATRIX}


@pytest.fixture
def at():
    """Surroundings of which nothing is wrong; the worker is a process that does nothing."""
    values = first_values()
    with SecretManagerEmulator("pgp-soak") as manager:
        for name, value in values.items():
            manager.add(name, value)
        changenow = ChangeNowServer(values[KEY])
        history = History()
        ledger = Ledger(manager, changenow, history)
        around = Surroundings(manager, ledger, [], random.Random(0))  # noqa: S311  no cryptography
        with changenow:
            yield around


@pytest.fixture
def source(at):
    source = GoogleSecretManager(
        "pgp-soak", endpoint=at.manager.endpoint, attempt_timeout=0.2, total_timeout=0.2
    )
    yield source
    source.close()


def begun(name, at):
    row = ROWS[name]
    fault = row.fault(at, row.target)
    next(fault)
    return fault, row.target


# -- what the source holds -----------------------------------------------------------------------


def decoded(source, name):
    return CATALOGUE[name].secret()._spec.decoder.decode(source.fetch(name))


@pytest.mark.parametrize("name", DYNAMIC)
def test_what_the_ledger_adds_is_of_the_secrets_type_and_what_it_spoils_is_not(name, at, source):
    for number in (2, 3, 4):
        at.ledger.rotate(name)
        assert source.fetch(name).version == at.ledger.newest(name) == number
        decoded(source, name)
    for value in faults.UNFIT:
        at.ledger.spoil(name, value)
        with pytest.raises(RejectedVersion):
            decoded(source, name)
    assert at.ledger.newest(name) == 4


def test_a_rotated_key_is_accepted_by_changenow_before_it_is_in_the_source(at):
    changes = at.ledger._history.changes
    at.ledger.rotate(KEY)
    assert at.ledger._changenow.accepts(1)
    assert at.ledger._changenow.accepts(2)
    at.ledger.rotate(KEY, revoke=True)
    assert not at.ledger._changenow.accepts(2)
    assert [c.newest for c in at.ledger._history.changes[len(changes) :]] == [2, 3]


# -- the faults ----------------------------------------------------------------------------------


def test_the_matrix_has_every_row_that_needs_no_clock_of_its_own():
    assert len(ROWS) == len(MATRIX) == 13 + len(faults.FAILURES)
    assert {row.target for row in MATRIX} <= set(DYNAMIC)


def test_nothing_changes_nothing(at, source):
    fault, target = begun("nothing", at)
    next(fault)
    fault.close()
    assert source.fetch(target).version == 1


def test_a_source_that_is_down_comes_back(at, source):
    source.fetch(URL)
    fault, _ = begun("source down", at)
    next(fault)
    with pytest.raises(SecretUnavailable):
        source.fetch(URL)
    fault.close()
    assert listens(at.manager)


def listens(manager):
    host, _, port = manager.endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_source_that_comes_and_goes_is_there_in_the_end(at):
    fault, _ = begun("source down and up", at)
    seen = []
    for _ in range(4):
        seen.append(listens(at.manager))
        next(fault)
    assert seen == [False, True, True, False]
    fault.close()
    assert listens(at.manager)


@pytest.mark.parametrize(
    "name",
    ["30 % PERMISSION_DENIED", "5 s of latency", "quota exceeded", "access revoked"],
)
def test_calls_fail_until_it_is_healed(name, at, source):
    fault, target = begun(name, at)
    outcomes = [fetched(source, target) for _ in range(20 if "%" in name else 1)]
    assert None in outcomes
    fault.close()
    assert [fetched(source, target) for _ in range(3)] == [1] * 3


def fetched(source, name):
    try:
        return source.fetch(name).version
    except SecretUnavailable:
        return None


def test_a_damaged_version_is_not_the_newest_until_it_arrives_whole(at, source):
    fault, target = begun("wrong checksum", at)
    with pytest.raises(RejectedVersion, match="version 2 does not match its crc32c"):
        decoded(source, target)
    assert at.ledger.newest(target) == 1
    fault.close()
    assert at.ledger.newest(target) == 2


@pytest.mark.parametrize(("name", "newest"), [("wrong type", [1, 3]), ("any bytes", [1, 1])])
def test_versions_that_do_not_fit_are_none_of_the_newest(name, newest, at):
    fault, target = begun(name, at)
    assert at.ledger.newest(target) == newest[0]
    fault.close()
    assert at.ledger.newest(target) == newest[1]


def test_a_good_version_comes_after_a_few_bytes(at):
    fault, target = begun("any bytes", at)
    next(fault)
    assert at.ledger.newest(target) == 5
    next(fault)
    assert at.ledger.newest(target) == 5


def test_the_newest_version_is_disabled_for_a_while(at, source):
    at.ledger.rotate(QUEUE)
    fault, target = begun("newest disabled", at)
    with pytest.raises(SecretDisabled):
        source.fetch(target)
    assert at.ledger.newest(target) == 1
    fault.close()
    assert source.fetch(target).version == at.ledger.newest(target) == 2


def test_latest_lags_behind_what_can_be_accessed(at, source):
    fault, target = begun("latest lags", at)
    assert source.fetch(target).version == at.ledger.newest(target) == 1
    assert source.fetch(target, 2).version == at.ledger._history.changes[-1].ceiling == 2
    fault.close()
    assert source.fetch(target).version == at.ledger.newest(target) == 2


def test_the_old_key_is_refused_at_the_moment_of_its_rotation(at):
    fault, _ = begun("key revoked at its rotation", at)
    accepted = [at.ledger._changenow.accepts(version) for version in (1, 2)]
    for _ in range(4):
        next(fault)
    accepted += [at.ledger._changenow.accepts(version) for version in (1, 2, 3)]
    assert accepted == [False, True, False, False, True]
    fault.close()
    assert all(at.ledger._changenow.accepts(version) for version in (1, 2, 3))


def test_a_worker_is_frozen_and_thawed(at, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda process, number: sent.append((process, number)))
    around = Surroundings(at.manager, at.ledger, [4711], at.chance)
    fault, _ = begun("a worker frozen", around)
    assert sent == [(4711, signal.SIGSTOP)]
    fault.close()
    assert sent[1:] == [(4711, signal.SIGCONT)]


# -- what is written down ------------------------------------------------------------------------


def a_read(**changes):
    facts = {
        "scope": 1,
        "secret": URL,
        "version": 1,
        "opened": 10.0,
        "started": 10.0,
        "ended": 10.0,
    }
    return Read(**{**facts, **changes})


def test_the_recorded_pilot_writes_down_reads_and_fetches_and_no_value(
    tmp_path, monkeypatch, values
):
    monkeypatch.setenv(recorded_app.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv(recorded_app.NAME_VARIABLE, "bounded")
    made = []
    monkeypatch.setattr(recorded_app.flask_app, "create_app", lambda: made.append("app") or "app")
    entered = []
    monkeypatch.setattr(
        recorded_app.ReadRecorder, "__enter__", lambda self: entered.append(self) or self
    )
    before = list(default_observers)
    assert recorded_app.create_app() == "app"
    recorder, records = default_observers[len(before) :]
    default_observers[:] = before
    assert entered == [recorder]
    records.add(a_read())
    records(Fetched("Split2", URL, 1, 0.1))
    records(Loaded("Split2", URL, 1))
    records._file.close()
    written = records_of(tmp_path, "bounded")
    assert written.reads == [a_read()]
    assert written.fetches == 1


def test_a_process_that_is_killed_loses_no_line(tmp_path):
    records = Records(tmp_path, "strict")
    records.add(a_read(version=2))
    (file,) = tmp_path.glob("strict-*.jsonl")
    assert json.loads(file.read_text()) == list(astuple(a_read(version=2)))
    records._file.close()


# -- memory and threads --------------------------------------------------------------------------


def samples(memory, threads):
    return [Sample(1, m * 2**20, t) for m, t in zip(memory, threads, strict=True)]


@pytest.mark.parametrize(
    ("memory", "threads", "flat"),
    [
        ([90, 90, 100, 100, 101, 101, 102, 102], [20] * 8, True),
        ([90, 90, 100, 100, 110, 120, 130, 140], [20] * 8, False),
        ([100] * 8, [10, 10, 20, 20, 22, 22, 22, 22], True),
        ([100] * 8, [10, 10, 20, 20, 30, 30, 40, 40], False),
    ],
)
def test_growth_after_the_first_quarter_is_told_from_a_flat_run(memory, threads, flat):
    (trend,) = trends(samples(memory, threads))
    assert trend.is_flat is flat


def test_a_few_samples_make_no_trend():
    assert trends(samples([100] * 3, [1] * 3)) == []


def test_a_process_is_sampled_until_it_ends(monkeypatch):
    seen = threading.Event()

    class Ended:
        def memory_info(self):
            seen.set()
            raise psutil.NoSuchProcess(1)

    monkeypatch.setattr("pgp_services.soak.watch.INTERVAL", 0.001)
    with Watch([os.getpid()]) as watch:
        watch._processes.append(Ended())
        assert seen.wait(30)
    assert watch.samples
    assert all(s.process == os.getpid() and s.memory and s.threads for s in watch.samples)


def test_the_workers_of_a_server_are_its_children():
    assert os.getpid() in workers_of(os.getppid())


# -- the verdict ---------------------------------------------------------------------------------


def facts(**changes):
    good = {
        "spans": [
            Span("nothing", 0.0, 2.0),
            Span("source down", 2.0, 4.0),
            Span("nothing", 4.0, 6.0),
        ],
        "outcomes": [Outcome(number % 2, number / 10, 0.02, 200) for number in range(60)],
        "records": {
            "bounded": written(a_read(started=1.0), a_read(started=3.0, stale=True)),
            "strict": written(*[a_read(started=5.0)] * 20),
        },
        "violations": [],
        "samples": samples([100] * 8, [20] * 8),
        "restarts": 0,
        "source_calls": 7,
        "static_calls": 0,
    }
    return Facts(**{**good, **changes})


def written(*reads):
    return report.Records(reads, 3)


def broken(promise):
    return Violation(promise, a_read(started=3.0), "it should have seen version 2")


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"outcomes": []}, "requests were answered, and reads recorded"),
        ({"outcomes": [Outcome(0, 0.0, 0.01, 503)]}, "no request failed"),
        ({"violations": [broken(4)]}, "no read was stale past its bound"),
        ({"violations": [broken(1)]}, "no read broke another promise"),
        ({"restarts": 1}, "every worker lived to the end"),
        ({"samples": samples(range(100, 180, 10), [20] * 8)}, "memory and threads stayed flat"),
        ({"source_calls": 22}, "fewer calls than reads"),
        ({"static_calls": 1}, "no static secret was fetched during requests"),
    ],
)
def test_a_promise_that_was_not_kept_is_named(changes, promise):
    assert facts(**changes).broken_promises() == [promise]


def test_the_tables_say_what_happened():
    assert facts().broken_promises() == []
    out = io.StringIO()
    found = facts(violations=[broken(4), broken(1)], outcomes=[Outcome(0, 2.5, 1.5, 503)])
    show(found, Console(file=out, width=200))
    lines = [line.split() for line in out.getvalue().splitlines()]
    cells = {line[1]: line for line in lines if len(line) > 1}
    assert [c for c in cells["source"] if c != "│"] == [
        *("source", "down", "2", "1", "1", "1.50", "s", "0.00", "s", "1", "1", "2"),
    ]
    text = out.getvalue()
    for said in (
        "1, of which 1 failed (status 503; 0 is no answer)",
        "reads stale past their bound",
        "3 (a fetch for each read: 20)",
        "memory 100.0 MiB -> 100.0 MiB, threads 20 -> 20",
        "promise 4: scope 1 of process 0 read PGP_SPLIT1_URL version 1",
    ):
        assert said in text


def test_violations_are_found_in_windows_and_told_once():
    changes = [Change(URL, 1, 0.0, 0.0), Change(URL, 2, 100.0, 100.0)]
    moments = [10.0, 50.0, 130.0, 170.0]
    reads = [
        a_read(scope=number, opened=moment, started=moment, ended=moment)
        for number, moment in zip(itertools.count(), moments, strict=False)
    ]
    found = violations(reads, changes, max_age=1.0)
    assert [(violation.promise, violation.read.scope) for violation in found] == [(4, 2), (4, 3)]
