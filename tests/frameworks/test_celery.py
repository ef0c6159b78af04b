"""Celery: eager runs here, and workers of every pool in processes of their own."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from celery import Celery, chain, current_app, signals

from pgp_config import DeclarationError, SecretForbidden, request_scope
from pgp_config.integrations import celery as integration
from pgp_config.integrations.celery import install
from pgp_config.scopes import open_scope

PROGRAMS = pathlib.Path(__file__).parent / "programs"


@pytest.fixture
def app(stage):
    """An application whose tasks run in place."""
    before = list(signals.task_prerun.receivers), list(signals.task_postrun.receivers)
    others = [list(each.receivers) for each in OF_WORKERS]
    app = Celery("here", set_as_current=False, broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True
    install(app, stage.secrets)
    yield app
    signals.task_prerun.receivers, signals.task_postrun.receivers = before
    for each, receivers in zip(OF_WORKERS, others, strict=True):
        each.receivers = receivers
    for each in (*OF_WORKERS, signals.task_prerun, signals.task_postrun):
        each.sender_receivers_cache.clear()


class Sender:
    """A worker, as its signals tell of it."""

    def __init__(self, app):
        self.app = app


def has_scope():
    return open_scope() is not None


OF_WORKERS = (
    signals.worker_init,
    signals.worker_process_init,
    signals.worker_process_shutdown,
    signals.worker_shutdown,
)


# promises 1 and 2
def test_an_eager_run_is_a_scope_and_the_caller_keeps_its_own(app, stage):
    stage.secrets.load()

    @app.task
    def job():
        return stage.twice()

    with request_scope() as scope:
        assert stage.secrets.key() == "canary-0"
        stage.rotate()
        first, second = job.delay().get(), job.delay().get()
        assert open_scope() is scope
        assert stage.secrets.key() == "canary-0"
    assert len({*first}) == len({*second}) == 1
    assert len({"canary-0", *first, *second}) == 3
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


def test_a_run_within_a_run_and_a_retry_have_scopes_of_their_own(app, stage):
    stage.secrets.load()

    @app.task
    def inner():
        return stage.twice()

    @app.task(bind=True, max_retries=2)
    def outer(self):
        first = stage.read()
        inside = inner.apply().get()
        assert stage.read() == first
        if self.request.retries < 2:
            self.retry(countdown=0)
        return [first, *inside]

    told = outer.apply(throw=False)
    assert told.successful()
    assert open_scope() is None
    assert (stage.all_closed(), stage.scope_count()) == (True, 6)


def test_each_task_of_a_chain_has_a_scope_of_its_own(app, stage):
    stage.secrets.load()

    @app.task
    def step(before):
        return [*before, *stage.twice()]

    one, two, three, four = chain(step.s([]), step.s()).apply().get()
    assert (one, three) == (two, four)
    assert one != three


def test_a_task_that_is_called_as_a_function_stays_in_the_callers_scope(app, stage):
    stage.secrets.load()

    @app.task
    def job():
        return stage.read()

    with request_scope():
        first = stage.secrets.key()
        stage.rotate()
        assert job() == first


def test_the_handlers_of_a_task_that_fails_are_in_its_scope_which_is_closed(app, stage):
    stage.secrets.load()
    told = []

    class Task(app.Task):
        def before_start(self, *_):
            told.append(stage.read())

        def on_failure(self, *_):
            told.append(stage.read())

    @app.task(base=Task)
    def job():
        stage.fail()

    assert job.apply(throw=False).failed()
    assert told == ["canary-0"] * 2
    assert (stage.all_closed(), stage.scope_count()) == (True, 1)


def test_tasks_of_other_applications_and_runs_from_before_are_let_alone(app, stage):
    other = Celery("other", set_as_current=False)
    job = other.task(has_scope)
    assert job.apply().get() is False
    signals.task_postrun.send(sender=app.task(has_scope))  # of a run that began before install()


def test_what_is_wrong_with_an_installation_is_said(app, stage):
    with pytest.raises(DeclarationError, match="installed in this application already"):
        install(app, stage.secrets)
    with pytest.raises(DeclarationError, match="a module in place of a Celery application"):
        install(integration, stage.secrets)
    with pytest.raises(DeclarationError, match="a str was given in place of a container"):
        install(Celery("third", set_as_current=False), "secrets")


# promise 11
def test_a_worker_that_cannot_load_exits_with_every_fault(app, stage, source):
    stage.break_start()
    signals.worker_init.send(sender=Sender(app=Celery("other")))
    with pytest.raises(SystemExit) as ended:
        signals.worker_init.send(sender=Sender(app=app))
    assert all(fault in ended.value.code for fault in stage.faults)
    assert source.closed == 1


def test_a_child_that_cannot_load_tries_again_before_the_next_task(app, stage, source, caplog):
    """As where the pool spawns its children, and the source fails just then."""
    signals.worker_process_init.send(sender="other@host")
    assert source.calls == []
    previous = current_app._get_current_object()
    app.set_current()
    try:
        source.fail("FRAMEWORK_FIXED", SecretForbidden("may not be read", remedy="Grant it."))
        signals.worker_process_init.send(sender="worker@host")
        assert "tried before the next task" in caplog.text
        assert "(pgp-config explain StartupError SecretForbidden)" in caplog.text
        assert "FRAMEWORK_FIXED in Service: may not be read" in caplog.text
        source.fail("FRAMEWORK_FIXED", None)
        stage.clock.advance(70)  # past the pause of what failed

        @app.task
        def job():
            return stage.secrets.fixed()

        with request_scope():
            assert job.apply().get() == "fixed-0"
        signals.worker_process_shutdown.send(sender="worker@host", pid=1, exitcode=0)
        assert source.closed == 1
    finally:
        previous.set_current()
    signals.worker_process_shutdown.send(sender="other@host", pid=1, exitcode=0)


def test_the_container_is_closed_with_its_own_worker(app, source):
    signals.worker_shutdown.send(sender=Sender(Celery("other", set_as_current=False)))
    assert source.closed == 0
    signals.worker_shutdown.send(sender=Sender(app))
    assert source.closed == 1


class Worker:
    """A worker in a process of its own, and its application in this one's child for sending."""

    def __init__(self, folder, *options):
        for name in ("secrets", "queue", "control", "results"):
            (folder / name).mkdir()
        self._folder = folder
        self.environ = {**os.environ, "CELERY_FOLDER": str(folder), "PYTHONPATH": str(PROGRAMS)}
        self._options = options

    def give(self, **values):
        for name, value in values.items():
            (self._folder / "secrets" / name).write_text(value)

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--without-gossip",
             "--without-mingle", "--without-heartbeat", *self._options],
            env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def is_ready(self):
        return any(line.startswith("ready") for line in self.process.stdout)

    def send(self, *calls):
        """Results of tasks that another process sends, which loads nothing."""
        program = (
            "import celery_tasks, json\n"
            f"results = [celery_tasks.job.delay(*call).get(60, interval=0.02) for call in {calls!r}]\n"
            "print(json.dumps(results))"
        )
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=self.environ, capture_output=True, text=True, check=True, timeout=90,
        )  # fmt: skip
        return json.loads(run.stdout)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=60)
        return errors

    def log(self):
        return [line.split() for line in (self._folder / "log").read_text().splitlines()]


# promises 1, 2, 12 and 16
@pytest.mark.parametrize("pool", ["solo", "threads", "prefork", "gevent"])
def test_workers_of_every_pool_see_rotations_from_task_to_task(tmp_path, pool):
    worker = Worker(tmp_path, f"--pool={pool}", "--concurrency=2" if pool == "prefork" else "-c1")
    worker.give(CELERY_KEY="k0", CELERY_FIXED="fixed-0")
    worker.start()
    try:
        assert worker.is_ready(), worker.process.stderr.read()
        *results, retried = worker.send(("k1",), ("k2",), ("k3", True))
    finally:
        errors = worker.stop()
    assert [result[:3] for result in results] == [["k0", "k0", "fixed-0"], ["k1", "k1", "fixed-0"]]
    assert retried[:3] == ["k3", "k3", "fixed-0"]
    assert all(result[4] for result in results)
    assert "Traceback" not in errors
    assert worker.process.returncode == 0, errors
    parent = str(worker.process.pid)
    runs = {str(result[3]) for result in (*results, retried)}
    assert (parent in runs) == (pool != "prefork")
    said = worker.log()
    # Once, by the worker: its children begin with the values.
    assert [line[2] for line in said if line[1] == "CELERY_FIXED"] == [parent]
    assert {line[1] for line in said if line[0] == "closed"} >= {parent, *runs}


# promise 11
def test_a_worker_without_its_secrets_does_not_start(tmp_path):
    worker = Worker(tmp_path, "--pool=prefork", "-c2").start()
    _, errors = worker.process.communicate(timeout=60)
    assert worker.process.returncode == 1
    assert "the service cannot start; faults among its 2 secrets: 2" in errors
    assert "CELERY_KEY in Jobs" in errors
    assert "CELERY_FIXED in Jobs" in errors
    assert "Traceback" not in errors
