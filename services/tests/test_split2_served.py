"""PGP_SPLIT2_v1 under gunicorn and uvicorn, with a Secret Manager whose key rotates."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time

import pytest

from pgp_config.emulator import SecretManagerEmulator

MAX_AGE = 0.2

GUNICORN = [
    *("gunicorn", "--no-control-socket", "--worker-class", "gthread", "--threads", "4"),
    *("--workers", "2", "--graceful-timeout", "5", "--bind", "fd://{fd}"),
    "pgp_services.split2.flask_app:create_app()",
]
UVICORN = [
    *("uvicorn", "--fd", "{fd}", "--factory", "--log-level", "warning"),
    "pgp_services.split2.fastapi_app:create_app",
]


@contextlib.contextmanager
def served(command, environ, log):
    """A server on a port that this process listens on: a request waits until it is ready."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(fd=listener.fileno()) for part in command)],
            env={**os.environ, **environ},
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def manager(values):
    with SecretManagerEmulator(project="pgp-test") as manager:
        for name, value in values.items():
            manager.add(name, value)
        yield manager


def loads_of_the_static_key(manager):
    return manager.calls.count("AccessSecretVersion", "SUCCESS_URL_SIGNING_KEY")


@pytest.fixture(params=[(GUNICORN, 2), (UVICORN, 1)], ids=["gunicorn", "uvicorn"])
def ask(request, manager, changenow_server, tasks_server, tmp_path):
    environ = {
        "PGP_CONFIG_SOURCE": f"gsm://pgp-test?endpoint={manager.endpoint}",
        "PGP_CONFIG_MAX_AGE": str(MAX_AGE),
        "TASKS_SERVICE_ACCOUNT": "split2@pgp-test.example",
        "CHANGENOW_BASE_URL": changenow_server.url,
        "CLOUD_TASKS_ENDPOINT": tasks_server.endpoint,
    }
    log = tmp_path / "log"
    command, workers = request.param
    with served(command, environ, log) as port:

        def ask(method, path, body=None):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            with contextlib.closing(connection):
                connection.request(method, path, body)
                response = connection.getresponse()
                response.read()
                return response.status

        try:
            assert ask("GET", "/readyz") == 200
            # The first worker answers before the last one has loaded.
            deadline = time.monotonic() + 60
            while loads_of_the_static_key(manager) < workers and time.monotonic() < deadline:
                ask("GET", "/healthz")
        except TimeoutError:
            pytest.fail(log.read_text())
        ask.log = log
        yield ask


def test_a_rotation_is_used_by_the_requests_after_max_age(
    ask, body_with, manager, changenow_server, tasks_server, new_key, key, values
):
    asked = 0

    def estimate():
        nonlocal asked
        asked += 1
        return ask("POST", "/", body_with(user_id=asked))

    assert [estimate() for _ in range(4)] == [200] * 4
    static_calls = loads_of_the_static_key(manager)
    assert static_calls > 0  # at start-up, once a worker

    newer = new_key()
    changenow_server.rotate(newer, lambda: manager.add("CHANGENOW_API_KEY", newer))
    rotated = time.monotonic()
    while time.monotonic() - rotated <= MAX_AGE:
        assert estimate() == 200
    settled = len(changenow_server.seen)

    assert [estimate() for _ in range(10)] == [200] * 10
    assert {seen.version for seen in changenow_server.seen[settled:]} == {2}
    accepted = [seen for seen in changenow_server.seen if seen.version == 1 and seen.status == 200]
    assert all(seen.at <= rotated for seen in accepted)
    assert len(tasks_server.tasks) == asked
    assert loads_of_the_static_key(manager) == static_calls
    shown = ask.log.read_text()
    for secret in (key, newer, values["SUCCESS_URL_SIGNING_KEY"], "WALLETCANARY"):
        assert secret not in shown
