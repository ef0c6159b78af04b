"""What a process reports, and when; a store that fails hurts nobody."""

import gc
import logging
import os
import queue
import subprocess
import sys
import threading
import weakref

import pytest

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    Freshness,
    LoggingObserver,
    SecretContainer,
    SecretUnavailable,
    SourceTimeout,
    StaticSecret,
    Uptake,
    request_scope,
)
from pgp_config.events import TakenUp, UptakeUnreported
from pgp_config.scopes import lone_scope
from pgp_config.uptake import reporter as module
from pgp_config.uptake.base import MemoryUptake
from pgp_config.uptake.reporter import (
    LEEWAY,
    STATIC_TTL,
    UNCHANGED_PAUSE,
    Reporter,
    _is_woken,
)
from pgp_config.uptake.verdict import judge

CANARY = "canary-7f3a"


class Split2(SecretContainer):
    key = DynamicSecret("KEY")
    signing = StaticSecret("SIGNING_KEY")
    number = DynamicSecret("NUMBER", int)


class FailingStore(MemoryUptake):
    """Raises what a store may raise, with its password in the text."""

    failing = True
    calls = 0

    def report(self, entries):
        self.calls += 1
        if self.failing:
            raise ConnectionError(f"redis://user:{CANARY}@host")
        super().report(entries)

    def leave(self, instance, secrets):
        raise ConnectionError(f"redis://user:{CANARY}@host")


@pytest.fixture
def secrets(make, source, uptake):
    source.add("KEY", f"{CANARY}-1")
    source.add("SIGNING_KEY", f"{CANARY}-s")
    source.add("NUMBER", "1")
    made = make(Split2, uptake=uptake)
    made.load()
    return made


def settle(secrets):
    """Wait until what is in flight has landed."""
    for entry in list(secrets._cache._entries.values()):
        if entry.flight is not None:
            entry.flight.outcome.result(10)


@pytest.fixture
def say(uptake):
    """Have each process report what it has to say."""
    return lambda: [each.attempt() for each in uptake.reporters]


def said(store, name="KEY"):
    (found,) = store.read(name)
    return found.entry


def rotate(secrets, source, clock, value=f"{CANARY}-2"):
    source.add("KEY", value)
    clock.advance(10)
    secrets.key()


def test_each_secret_is_reported_with_its_version_and_no_value(secrets, store, say, clock):
    clock.advance(2)
    with request_scope():
        secrets.key()
    clock.advance(1)
    say()
    key = said(store)
    assert (key.service, key.kind, key.version, key.in_use) == ("split2", "dynamic", 1, (1,))
    assert (key.read_ago, key.confirmed_ago) == (1, 3)
    static = said(store, "SIGNING_KEY")
    assert (static.kind, static.version, static.read_ago) == ("static", 1, None)
    assert said(store, "NUMBER").read_ago is None
    assert CANARY not in str(vars(store))
    assert static.ttl == STATIC_TTL + LEEWAY
    assert key.ttl == 3600.0 + LEEWAY


def test_an_instance_is_named_by_its_host_its_process_and_chance(secrets, uptake, monkeypatch):
    (reporter,) = uptake.reporters
    first = reporter.instance
    assert f"-{os.getpid()}-" in first
    monkeypatch.setenv("K_REVISION", "split2-00042")
    reporter.renew_after_fork()  # a child is somebody else
    assert reporter.instance.startswith(f"split2-00042-{os.getpid()}-")
    assert reporter.instance != first


def test_the_service_is_named_by_argument_variable_cloud_run_or_container(monkeypatch, store):
    def named(**options):
        reporter = Uptake(store, **options).reporter("Split2", (), lambda: 0.0)
        reporter.close()
        return reporter._service

    assert named() == "Split2"
    monkeypatch.setenv("K_SERVICE", "pgp-split2")
    assert named() == "pgp-split2"
    monkeypatch.setenv("PGP_CONFIG_SERVICE", "split2-v1")
    assert named() == "split2-v1"
    assert named(service="mine") == "mine"


def test_an_open_scope_holds_the_old_version_until_it_is_closed(
    secrets, source, store, say, clock
):
    held = lone_scope()
    held.begin(secrets._cache, secrets.key._spec)
    rotate(secrets, source, clock)
    settle(secrets)
    say()
    assert (said(store).version, said(store).in_use) == (2, (1, 2))
    held.close()
    say()
    assert (said(store).version, said(store).in_use) == (2, (2,))


def test_a_scope_that_has_read_only_something_else_holds_it_too(
    secrets, source, store, say, clock
):
    """It may read the old version from its pin at any time."""
    with request_scope():
        secrets.number()
        source.add("KEY", f"{CANARY}-2")
        clock.advance(10)
        other = threading.Thread(target=secrets.key)
        other.start()
        other.join()
        settle(secrets)
        say()
        assert said(store).in_use == (1, 2)
    say()
    assert said(store).in_use == (2,)


@pytest.mark.parametrize("forked", [False, True])
def test_letting_go_of_the_old_version_wakes_the_reporter(secrets, source, uptake, clock, forked):
    held = lone_scope()
    held.begin(secrets._cache, secrets.key._spec)
    rotate(secrets, source, clock)
    settle(secrets)
    (reporter,) = uptake.reporters
    if forked:
        reporter.renew_after_fork()
    while not reporter._wakes.empty():
        reporter._wakes.get()
    held.close()
    assert reporter._wakes.get_nowait() is not False


def test_what_has_piled_up_is_one_report_and_the_end_is_the_end(store):
    reporter = Reporter(store, "C", service="s", ttl=1)
    for wake in (True, object()):
        reporter._wakes.put(wake)
    assert _is_woken(reporter._wakes, None)
    assert _is_woken(reporter._wakes, 0.001)  # time to try again
    reporter._wakes.put(True)
    reporter.close()
    assert not _is_woken(reporter._wakes, None)


def test_nothing_new_is_said_once_in_ten_seconds(secrets, say, clock, store, events):
    say()
    assert len(events.of(TakenUp)) == 3
    clock.advance(UNCHANGED_PAUSE - 1)
    say()
    assert {each.ago for each in store.read("KEY")} == {UNCHANGED_PAUSE - 1}
    clock.advance(1)
    say()
    assert {each.ago for each in store.read("KEY")} == {0}
    assert len(events.of(TakenUp)) == 3  # told to observers when it changes


def test_what_changes_is_said_at_once(secrets, source, say, clock, store, events):
    say()
    rotate(secrets, source, clock)
    settle(secrets)
    say()
    event = events.of(TakenUp)[-1]
    assert (event.secret, event.version, event.in_use) == ("KEY", 2, (2,))
    assert event.service == "split2"


def test_a_refused_version_and_a_failing_source_are_said(secrets, source, say, clock, store):
    source.add("NUMBER", "no number")
    source.fail("KEY", SourceTimeout("no answer"))
    clock.advance(10)
    secrets.number()
    secrets.key()
    settle(secrets)
    say()
    assert said(store, "NUMBER").refused == (2,)
    assert (said(store).failing, said(store).version) == (True, 1)


def test_a_secret_that_was_never_read_is_not_reported_and_a_missing_one_is(
    make, source, uptake, store, say
):
    source.add("KEY", "k")
    source.add("NUMBER", "7")
    secrets = make(Split2, uptake=uptake)
    say()
    assert store.read("KEY") == []
    with pytest.raises(LookupError):
        secrets.signing()
    say()
    assert (said(store, "SIGNING_KEY").version, said(store, "SIGNING_KEY").failing) == (None, True)


def test_a_store_that_fails_is_told_once_left_alone_for_a_growing_pause_and_found_again(
    make, source, clock, events, caplog
):
    source.add("KEY", "k")
    source.add("SIGNING_KEY", "s")
    source.add("NUMBER", "1")
    failing = FailingStore(clock)
    reporter = Reporter(
        failing, "Split2", service="s", ttl=60, observers=[events, LoggingObserver()], clock=clock
    )
    secrets = make(Split2, observers=[reporter])
    reporter.poke = lambda: None
    secrets.load()
    reporter.attach(secrets._cache)
    with caplog.at_level(logging.INFO, "pgp_config"):
        assert reporter.attempt() == 1.0
        assert reporter.attempt() == 1.0  # not asked again
        clock.advance(0.25)
        assert reporter.attempt() == 0.75
        assert failing.calls == 1
        pauses = []
        for _ in range(7):
            clock.advance(100)
            pauses.append(reporter.attempt())
        assert pauses == [2, 4, 8, 16, 32, 60, 60]
        assert secrets.key().get_secret_value() == "k"  # no read is hurt
        failing.failing = False
        clock.advance(100)
        assert reporter.attempt() is None
        assert said(failing).version == 1
        reporter.close()
    (told,) = events.of(UptakeUnreported)
    assert (told.failure, told.pause) == ("ConnectionError", 1.0)
    assert "The uptake store of Split2 cannot be told (ConnectionError)." in caplog.text
    assert "s (" in caplog.text
    assert "uses KEY version 1 and no other" in caplog.text
    assert "was not told of the end (ConnectionError)" in caplog.text
    assert CANARY not in caplog.text


def test_the_log_says_which_older_versions_are_still_held(caplog):
    event = TakenUp("Split2", "KEY", "split2", "host-1", 8, (6, 7, 8))
    with caplog.at_level(logging.INFO, "pgp_config"):
        LoggingObserver()(event)
    assert caplog.messages == ["split2 (host-1) uses KEY version 8 and still 6, 7"]
    assert caplog.records[0].pgp_config_instance == "host-1"


# -- by itself ---------------------------------------------------------------------------------


class Told(MemoryUptake):
    """Says when it was told."""

    def __init__(self):
        super().__init__()
        self.told = queue.Queue()

    def report(self, entries):
        super().report(entries)
        self.told.put({each.secret: each.in_use for each in entries})


def test_by_itself_it_reports_in_the_background_and_leaves_at_the_end(make, source):
    source.add("KEY", "k-1")
    source.add("SIGNING_KEY", "s")
    source.add("NUMBER", "1")
    store = Told()
    secrets = make(Split2, uptake=Uptake(store), freshness=Freshness(0))
    secrets.load()
    while store.told.get(timeout=10).keys() != {"KEY", "SIGNING_KEY", "NUMBER"}:
        pass
    held = lone_scope()
    held.begin(secrets._cache, secrets.signing._spec)
    source.add("KEY", "k-2")
    with request_scope():
        secrets.key()
        while store.told.get(timeout=10)["KEY"] != (1, 2):
            pass
    held.close()
    while store.told.get(timeout=10)["KEY"] != (2,):
        pass
    secrets.close()
    secrets.close()
    assert store.read("KEY") == []


def test_whoever_probes_an_idle_process_lets_it_say_that_it_lives(secrets, uptake):
    (reporter,) = uptake.reporters
    before = reporter.woken
    secrets.status()
    assert reporter.woken == before + 1


def test_a_copy_of_the_container_is_closed_with_it(secrets, uptake):
    import copy

    copied = copy.deepcopy(secrets)
    copied.close()
    assert uptake.reporters[0]._closed


def test_after_close_it_starts_nothing(store):
    reporter = Reporter(store, "C", service="s", ttl=1)
    reporter.close()
    reporter.poke()
    reporter._start()
    assert reporter._thread is None


def test_of_two_who_wake_it_first_one_starts_it(store):
    reporter = Reporter(store, "C", service="s", ttl=1)
    reporter.poke()
    first = reporter._thread
    reporter._start()
    assert reporter._thread is first
    reporter.close()
    assert not first.is_alive()


def test_where_no_thread_can_be_started_nobody_is_hurt(store, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    reporter = Reporter(store, "C", service="s", ttl=1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    reporter.poke()
    assert reporter._thread is None
    reporter.close()


def test_a_reporter_that_nobody_has_any_more_ends_its_thread(store):
    reporter = Reporter(store, "C", service="s", ttl=1)
    reporter.poke()
    thread, at_exit = reporter._thread, reporter._at_exit
    wakes = reporter._wakes
    del reporter
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    at_exit()  # finds nobody
    assert wakes is not None


def test_at_the_end_of_the_program_it_leaves(tmp_path):
    """A service that forgot to close, such as a Flask app under gunicorn."""
    url = f"sqlite:///{tmp_path}/uptake"
    program = (
        "from pgp_config import *\n"
        "from pgp_config.uptake.urls import store_from_url\n"
        "import time\n"
        "class C(SecretContainer):\n    key = DynamicSecret('KEY')\n"
        "secrets = C(source=Memory({'KEY': 'k'}))\n"
        "secrets.key()\n"
        f"store = store_from_url({url!r})\n"
        "while not store.read('KEY'): time.sleep(0.01)\n"
    )
    environment = {**os.environ, "PGP_CONFIG_UPTAKE": url}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr.count("Traceback")) == (0, 0), run.stderr
    from pgp_config.uptake.urls import store_from_url

    assert store_from_url(url).read("KEY") == []


def test_the_variable_says_where(monkeypatch, tmp_path, make, source):
    assert Uptake.from_environ({}) is None
    assert Uptake.from_environ({"PGP_CONFIG_UPTAKE": ""}) is None
    monkeypatch.setenv("PGP_CONFIG_UPTAKE", f"sqlite:///{tmp_path}/x")
    assert make(Split2)._reporter is not None
    assert "sqlite" not in repr(Uptake.from_environ(os.environ))


@pytest.mark.parametrize("store", [7, None, object()])
def test_what_is_no_store_is_refused(store):
    with pytest.raises(DeclarationError, match="the uptake store is a"):
        Uptake(store)


# -- a fleet, on a fake clock ------------------------------------------------------------------


@pytest.fixture
def fleet(make, source, uptake):
    """Processes of one service on one source."""
    source.add("KEY", "k-1")
    source.add("SIGNING_KEY", "s-1")
    source.add("NUMBER", "1")

    def start(count):
        made = [make(Split2, uptake=uptake) for _ in range(count)]
        for each in made:
            each.load()
        return made

    return start


@pytest.fixture
def turn(clock, say):
    """So many seconds in which these processes serve and report."""

    def go(seconds, *serving):
        clock.advance(seconds)
        for each in serving:
            each.key()
            settle(each)
            each._reporter.attempt()

    return go


def reasons(store, **options):
    verdict = judge(store.read("KEY"), old=1, new=2, **options)
    return verdict.state, [each.reason for each in verdict.waiting_for]


def test_one_that_lags_is_waited_for_until_it_has_served_the_new_version(
    fleet, turn, store, source
):
    one, two = fleet(2)
    turn(1, one, two)
    assert reasons(store) == ("waiting", ["behind", "behind"])
    source.add("KEY", "k-2")
    turn(10, one)
    assert reasons(store) == ("waiting", ["behind"])
    turn(10, one, two)
    assert reasons(store) == ("safe", [])


def test_one_that_ends_is_not_waited_for(fleet, turn, store, source):
    one, two = fleet(2)
    turn(1, one, two)
    source.add("KEY", "k-2")
    turn(10, one)
    two.close()
    assert reasons(store) == ("safe", [])


def test_one_that_dies_is_waited_for_until_its_entry_expires(fleet, turn, store, source, clock):
    one, two = fleet(2)
    turn(1, one, two)
    source.add("KEY", "k-2")
    for _ in range(36):
        turn(100, one)
        assert reasons(store) == ("waiting", ["silent"])
    assert reasons(store, gone_after=3000) == ("safe", [])
    turn(100, one)
    assert reasons(store) == ("safe", [])
    two.close()


def test_one_that_is_frozen_and_thaws_confirms_before_it_serves(fleet, turn, store, source, clock):
    one, two = fleet(2)
    turn(1, one, two)
    source.add("KEY", "k-2")
    turn(10, one)
    clock.advance(1000)
    assert reasons(store) == ("waiting", ["silent"])
    assert two.key().get_secret_value() == "k-2"  # max_age has passed while it was frozen
    settle(two)
    two._reporter.attempt()
    assert reasons(store) == ("safe", [])


def test_one_that_comes_back_after_its_entry_expired_serves_nothing_old(
    fleet, turn, store, source, clock
):
    one, two = fleet(2)
    turn(1, one, two)
    source.add("KEY", "k-2")
    turn(3700, one)
    assert reasons(store) == ("safe", [])
    source.fail("KEY", SourceTimeout("no answer"))  # and not even in an outage
    with pytest.raises(SecretUnavailable, match="past max_stale"):
        two.key()
    source.fail("KEY", None)
    clock.advance(100)
    assert two.key().get_secret_value() == "k-2"


def test_one_that_is_frozen_with_an_open_scope_is_waited_for(fleet, turn, store, source, clock):
    one, two = fleet(2)
    held = lone_scope()
    held.begin(two._cache, two.key._spec)
    source.add("KEY", "k-2")
    turn(10, one, two)
    assert reasons(store) == ("waiting", ["holds"])
    held.close()
    turn(0, two)
    assert reasons(store) == ("safe", [])


def test_one_that_starts_late_with_the_old_version_is_waited_for(
    fleet, turn, store, source, clock
):
    (one,) = fleet(1)
    source.add("KEY", "k-2")
    turn(10, one)
    assert reasons(store) == ("safe", [])
    source.lag("KEY", 1)  # `latest` is eventually consistent
    (late,) = fleet(1)
    late._reporter.attempt()
    assert reasons(store) == ("waiting", ["behind"])
    source.lag("KEY", 2)
    turn(10, late)
    assert reasons(store) == ("safe", [])


# -- forks -------------------------------------------------------------------------------------


def test_before_it_watches_anything_there_is_nothing_to_say(store):
    reporter = Reporter(store, "C", service="s", ttl=1)
    assert reporter.attempt() is None
    reporter.close()


def test_a_store_in_memory_works_on_in_a_forked_child(store, entry):
    store.report([entry("a")])
    store._lock.acquire()  # held by a thread that is not in the child
    store.renew_after_fork()
    assert len(store.read("KEY")) == 1


def test_a_forked_child_reports_as_somebody_else(tmp_path):
    url = f"sqlite:///{tmp_path}/uptake"
    program = (
        "import os, sys, time\n"
        "from pgp_config import *\n"
        "from pgp_config.uptake.urls import store_from_url\n"
        "class C(SecretContainer):\n    key = DynamicSecret('KEY')\n"
        "secrets = C(source=Memory({'KEY': 'k'}), freshness=EVERY_REQUEST)\n"
        "secrets.key()\n"
        f"store = store_from_url({url!r})\n"
        "while len(store.read('KEY')) != 1: time.sleep(0.01)\n"
        "child = os.fork()\n"
        "secrets.key()\n"
        "while child and len(store.read('KEY')) != 2: time.sleep(0.01)\n"
        "if not child: sys.stdin.readline()\n"
        "secrets.close()\n"
        "if not child: sys.exit()\n"
        "(left,) = store.read('KEY')\n"
        "assert f'-{child}-' in left.entry.instance, left\n"
        "print('parent left', flush=True)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert store.read('KEY') == []\n"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "PGP_CONFIG_UPTAKE": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "parent left\n"
        process.communicate("go on\n", timeout=60)
    assert process.returncode == 0


def test_under_gevent_it_reports_too(tmp_path):
    pytest.importorskip("gevent")
    url = f"sqlite:///{tmp_path}/uptake"
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import time, gevent\n"
        "from pgp_config import *\n"
        "from pgp_config.uptake.urls import store_from_url\n"
        "class C(SecretContainer):\n    key = DynamicSecret('KEY')\n"
        "source = Memory({'KEY': 'k'})\n"
        "secrets = C(source=source, freshness=EVERY_REQUEST)\n"
        "secrets.key()\n"
        f"store = store_from_url({url!r})\n"
        "def wait(in_use):\n"
        "    while [e.entry.in_use for e in store.read('KEY')] != [in_use]: gevent.sleep(0.01)\n"
        "wait((1,))\n"
        "def handler():\n"
        "    with request_scope():\n"
        "        secrets.key()\n"
        "        source.add('KEY', 'k-2')\n"
        "        gevent.spawn(secrets.key).join()\n"
        "        wait((1, 2))\n"
        "gevent.spawn(handler).get()\n"
        "wait((2,))\n"
        "secrets.close()\n"
        "assert store.read('KEY') == []\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "PGP_CONFIG_UPTAKE": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_at_the_interpreters_exit_it_says_so_and_after_its_end_nothing(
    store, secrets, uptake, say
):
    say()
    (reporter,) = uptake.reporters
    reporter._at_exit()
    assert store.read("KEY") == []
    gone = weakref.ref(type("Gone", (), {})())
    module._closing(gone)()


def test_a_child_of_a_process_whose_container_is_gone_watches_nothing(store):
    reporter = module.Reporter(store, "Split2", service="split2", ttl=60)
    parent = reporter.instance
    reporter.renew_after_fork()
    assert reporter.instance != parent
    assert reporter.attempt() is None
    reporter.close()


def test_a_store_that_failed_for_days_is_told_again(store, secrets):
    secrets._reporter._failures = 5000
    assert 45 <= secrets._reporter._fail(0.0, ConnectionError()) <= 60
