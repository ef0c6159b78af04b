"""Promise 16 under real servers: each worker serves, sees rotations, and is replaced."""

import json
import os
import signal
import time
from dataclasses import dataclass, field

import pytest

#: Seconds; what `environ` sets.
MAX_AGE = 0.2


@dataclass(frozen=True)
class Model:
    """How an application is served; `load` says whether its client is used before the fork."""

    name: str
    command: list[str] = field(repr=False)
    load: str = "install"
    grpcio: str | None = None

    def __str__(self):
        return self.name


def gunicorn(*arguments, workers=2):
    # A worker that hangs when it exits is not killed before the test gives up.
    options = ["--no-control-socket", "--graceful-timeout", "300", "--workers", str(workers)]
    return ["gunicorn", *options, "--bind", "fd://{fd}", *arguments]


def uvicorn(workers=2):
    options = ["--workers", str(workers), "--fd", "{fd}", "--log-level", "warning"]
    return ["uvicorn", *options, "fastapi_app:app"]


#: gunicorn's worker classes: their options and, where the application is loaded before the fork, more.
CLASSES = {
    "sync": (["--worker-class", "sync", "flask_app:app"], []),
    "gthread": (["--worker-class", "gthread", "--threads", "4", "flask_app:app"], []),
    "gevent": (["--worker-class", "gevent", "flask_app:app"], ["-c", "python:gevent_first"]),
    "uvicorn_worker": (["--worker-class", "uvicorn_worker.UvicornWorker", "fastapi_app:app"], []),
}

MODELS = [Model("uvicorn", uvicorn())]
for name, (options, preload) in CLASSES.items():
    preloaded = gunicorn("--preload", *preload, *options)
    MODELS += [
        Model(f"{name}-alone", gunicorn(*options)),
        Model(f"{name}-preload-unused", preloaded, load="first_request"),
        Model(f"{name}-preload-used", preloaded),
        Model(f"{name}-preload-used-oldest-grpcio", preloaded, grpcio="oldest"),
    ]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_worker_serves_sees_rotations_and_is_replaced(serve, vault, grpcio_of, model):
    server = serve(model.command, PROCESS_LOAD=model.load, grpcio=grpcio_of(model.grpcio))
    first, second = server.new_workers(2)
    server.ask_until_seen(vault.rotate(), [first, second])

    server.kill(first)
    [third] = server.new_workers(1)
    server.ask_until_seen(vault.rotate(), [second, third])

    for labels in server.answers.values():
        assert len({static for *_, static in labels}) == 1, "a static secret changed"
    assert server.stop() == 0
    assert server.faults() == []


@pytest.mark.parametrize("name", CLASSES)
def test_a_worker_that_was_frozen_serves_the_newest_version_at_once(serve, vault, name):
    """As on Cloud Run between two requests: minutes pass, and the connection is gone."""
    options, _ = CLASSES[name]
    server = serve(gunicorn(*options, workers=1), PROCESS_LOAD="install")
    assert server.ask() == [1, 1, 1]
    [worker] = server.answers
    os.kill(worker, signal.SIGSTOP)
    frozen = time.monotonic()
    try:
        vault.manager.stop()
        while time.monotonic() - frozen <= MAX_AGE:
            newest = vault.rotate()
        vault.manager.start()
    finally:
        os.kill(worker, signal.SIGCONT)
    assert server.ask() == [newest, newest, 1]
    assert server.stop() == 0
    assert server.faults() == []


@pytest.mark.parametrize("name", ["gthread", "gevent", "uvicorn_worker"])
def test_a_slow_source_does_not_stop_the_other_requests_of_a_worker(serve, vault, name):
    options, _ = CLASSES[name]
    strict = {"PGP_CONFIG_MAX_AGE": "0", "PROCESS_PATIENCE": "60", "PROCESS_LOAD": "install"}
    server = serve(gunicorn(*options, workers=1), **strict)
    assert server.ask() == [1, 1, 1]
    hold = vault.manager.hold("PROCESS_KEY")
    waiting = server.submit()
    assert hold.entered.wait(60)
    assert server.ask("/idle") == []
    assert not waiting.done()
    hold.release()
    assert waiting.result(60) == [1, 1, 1]
    assert server.stop() == 0
    assert server.faults() == []


@pytest.mark.parametrize(("load", "status"), [("first_request", 503), ("install", 500)])
def test_gevent_that_patches_after_the_import_is_refused(serve, load, status):
    """`--preload` imports the application before the worker patches: a hang, if it were let through."""
    options, _ = CLASSES["gevent"]
    announced = ["ignore:Monkey-patching ssl"]
    # One worker: gunicorn loses a SIGTERM to a worker that boots.
    server = serve(gunicorn("--preload", *options, workers=1), announced, PROCESS_LOAD=load)
    statuses = {server.request()[0] for _ in range(50)}
    while status not in statuses:  # what was loaded before the fork is served while it is fresh
        statuses.add(server.request()[0])
    assert statuses <= {200, status}
    assert "let gunicorn.conf.py begin with: from gevent import monkey" in server.log()
    assert server.stop() == 0
    assert "canary" not in server.log()


def test_the_grpcio_that_hangs_is_refused_before_any_fork(serve, grpcio):
    options, _ = CLASSES["sync"]
    server = serve(
        gunicorn("--preload", *options), PROCESS_LOAD="install", grpcio=grpcio("1.78.1")
    )
    assert server.wait() != 0
    assert "Booting worker" not in server.log()
    assert "grpcio 1.78.1 is installed, which hangs in a forked process" in server.log()
    assert "pip install 'grpcio!=1.78.1'" in server.log()
    assert "canary" not in server.log()


@pytest.mark.parametrize("name", ["sync", "uvicorn_worker"])
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["alone", "preload"])
def test_the_status_page_tells_the_workers_apart_and_each_its_own_versions(
    serve, vault, name, preload
):
    options, _ = CLASSES[name]
    server = serve(gunicorn(*preload, *options), PROCESS_LOAD="install")
    workers = server.new_workers(2)
    newest = vault.rotate()
    server.ask_until_seen(newest, workers)
    told = {}
    while set(told) < set(workers):
        status, body = server.request("/_secrets/data")
        assert status == 200
        document = json.loads(body)
        told[document["process"]["pid"]] = document
    assert len({document["process"]["instance"] for document in told.values()}) == 2
    for document in told.values():
        rows = {row["name"]: row for row in document["secrets"]}
        assert rows["PROCESS_KEY"]["version"] == newest
        assert rows["PROCESS_KEY"]["calls"]["made"] >= 1
        assert rows["PROCESS_SIGNING_KEY"]["state"] == "sealed"
        assert document["container"]["source"].startswith("GoogleSecretManager('local'")
        changes = [e["text"] for e in document["events"] if e["kind"] == "Reloaded"]
        assert f"Hot-reloaded PROCESS_KEY version 1 -> {newest}" in changes
    assert server.stop() == 0
    assert server.faults() == []
