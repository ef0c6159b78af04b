"""All that the pilot talks to, and the pilot itself under gunicorn, on 127.0.0.1."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets as random_secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import SecretStr

from pgp_config import GoogleSecretManager, SecretDisabled, StaticSecret
from pgp_config.emulator import SecretManagerEmulator
from pgp_services.lookalikes import ChangeNowServer, CloudTasksServer
from pgp_services.split2.container import Split2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

PROJECT = "pgp-demo"

#: Seconds in which a server must be ready.
PATIENCE = 30.0

WORKERS, THREADS = 2, 8


#: The pilot, as gunicorn names it.
PILOT = "pgp_services.split2.flask_app:create_app()"


class DemoFailed(Exception):  # noqa: N818  not an error of the library
    """The demo could not be run."""


def first_values() -> dict[str, str]:
    """A value for each secret of the pilot; those that are secret are made for this run."""
    return {
        "SUCCESS_URL_SIGNING_KEY": random_secrets.token_hex(32),
        "DATABASE_PASSWORD_SECRET": random_secrets.token_urlsafe(24),
        "CLOUD_SQL_CONNECTION_NAME": "pgp-demo:us-central1:pgp",
        "DATABASE_NAME_SECRET": "pgp",
        "DATABASE_USER_SECRET": "split2",
        "CLOUD_TASKS_PROJECT_ID": PROJECT,
        "CLOUD_TASKS_LOCATION": "us-central1",
        "CHANGENOW_API_KEY": random_secrets.token_hex(32),
        "PGP_SPLIT1_RESPONSE_QUEUE": "split1-response-blue",
        "PGP_SPLIT1_URL": "https://split1-blue.example",
        "PGP_BATCHPROCESSOR_QUEUE": "batchprocessor",
        "PGP_BATCHPROCESSOR_URL": "https://batchprocessor.example",
        "SERVICE_ENVIRONMENT": "staging",
        "LOG_LEVEL": "WARNING",
        "ALERTING_ENABLED": "true",
    }


def static_names() -> set[str]:
    """The names of the pilot's static secrets."""
    return {part.name for part in Split2.providers.values() if isinstance(part, StaticSecret)}


def pilot_environ(changenow: ChangeNowServer, tasks: CloudTasksServer) -> dict[str, str]:
    """What the pilot takes from its environment in order to talk to the stand-ins."""
    return {
        "CHANGENOW_BASE_URL": changenow.url,
        "CLOUD_TASKS_ENDPOINT": tasks.endpoint,
        "TASKS_SERVICE_ACCOUNT": "split2@pgp-demo.iam.gserviceaccount.com",
    }


class Gunicorn:
    """A Flask application under gunicorn, by default the pilot's; its environment has the `PORT` too.

    Args:
        environ: What the service takes from its environment, besides this process's own.
        folder: Where its log goes.
        app: The application, as gunicorn names it.
        workers: How many processes serve.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        folder: Path,
        app: str = PILOT,
        workers: int = WORKERS,
    ) -> None:
        self._app = app
        self._workers = workers
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.log = folder / f"gunicorn-{self.port}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own server
                self._command(),
                env={**os.environ, **environ, "PORT": str(self.port)},
                pass_fds=[self._listener.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _command(self) -> list[str]:
        return [
            *(
                sys.executable,
                "-m",
                "gunicorn",
                "--no-control-socket",
                "--worker-class",
                "gthread",
            ),
            *(
                "--workers",
                str(self._workers),
                "--threads",
                str(THREADS),
                "--graceful-timeout",
                "5",
            ),
            *("--keep-alive", "60", "--bind", f"fd://{self._listener.fileno()}"),
            self._app,
        ]

    @property
    def pid(self) -> int:
        """The process id of gunicorn's master."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until `/readyz` says 200.

        Raises:
            DemoFailed: If it does not within 30 s, with the end of the server's log.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._status("/readyz") == http.client.OK:
                return
            time.sleep(0.1)
        self.stop()
        raise DemoFailed(f"The service did not start:\n{self.log.read_text()[-4000:]}")

    def _status(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def stop(self) -> None:
        """End it, at once if it does not end by itself."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.close()


class Stage:
    """Secret Manager, ChangeNow, Cloud Tasks, the pilot, and the same pilot with constant values.

    Attributes:
        values: The first value of each secret.
        manager: The local Secret Manager.
        changenow: The stand-in for ChangeNow.
        tasks: The stand-in for Cloud Tasks.
        live: The pilot that reads from Secret Manager.
        constant: The pilot that reads the same values from environment variables.
    """

    def __init__(self) -> None:
        self.values = first_values()
        self._exit = contextlib.ExitStack()

    @property
    def signing_key(self) -> SecretStr:
        """What the load signs its tokens with."""
        return SecretStr(self.values["SUCCESS_URL_SIGNING_KEY"])

    def is_disabled(self, name: str, version: int) -> bool:
        """Whether Secret Manager refuses a version."""
        source = GoogleSecretManager(PROJECT, endpoint=self.manager.endpoint)
        try:
            source.fetch(name, version)
        except SecretDisabled:
            return True
        finally:
            source.close()
        return False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            self.manager = started.enter_context(SecretManagerEmulator(project=PROJECT))
            for name, value in self.values.items():
                self.manager.add(name, value)
            self.changenow = started.enter_context(
                ChangeNowServer(self.values["CHANGENOW_API_KEY"])
            )
            self.tasks = started.enter_context(CloudTasksServer())
            folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
            self.live = self._pilot(started, self._live_environ(), folder)
            self.constant = self._pilot(started, self._constant_environ(), folder)
            self._exit = started.pop_all()
        return self

    def _pilot(
        self, started: contextlib.ExitStack, environ: Mapping[str, str], folder: Path
    ) -> Gunicorn:
        shared = pilot_environ(self.changenow, self.tasks)
        pilot = Gunicorn({**shared, **environ}, folder)
        started.callback(pilot.stop)
        pilot.wait_until_ready()
        return pilot

    def _live_environ(self) -> dict[str, str]:
        return {"PGP_CONFIG_SOURCE": f"gsm://{PROJECT}?endpoint={self.manager.endpoint}"}

    def _constant_environ(self) -> dict[str, str]:
        return {"PGP_CONFIG_SOURCE": "env:", **self.values}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()
