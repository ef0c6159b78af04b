"""All that the demo needs on 127.0.0.1: PostgreSQL, Secret Manager, the service under gunicorn, the command."""

from __future__ import annotations

import contextlib
import json
import os
import secrets as random_secrets
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pgp_config.emulator import SecretManagerEmulator
from pgp_config.emulator.publishing import PushUrl
from pgp_config.uptake.urls import store_from_url
from pgp_services.demo_rotation.app import CERTIFICATES_VARIABLE, HOLD_VARIABLE, PUSH_PATH
from pgp_services.demo_rotation.report import PROCESSES
from pgp_services.lookalikes.postgres import LocalPostgres, PostgresMissingError
from pgp_services.stage.processes import PATIENCE, Gunicorn, StageFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from pgp_config.emulator.publishing import Notice

PROJECT, SERVICE = "pgp-demo", "demo"
DATABASE, WEBHOOK_KEY = "DEMO_DATABASE", "DEMO_WEBHOOK_KEY"

#: Two roles in turn (docs/objects.md), members of the one that owns the tables.
OWNER, ROLES = "demo", ("demo_a", "demo_b")

_APP = "pgp_services.demo_rotation.app:create_app()"

#: Unix time at monotonic 0: Secret Manager's clock is the monotonic one, which nobody sets.
_EPOCH = time.time() - time.monotonic()


def _clock() -> float:
    return _EPOCH + time.monotonic()


class Journal:
    """When versions were added and disabled, in monotonic seconds, by Secret Manager's own word."""

    def __init__(self) -> None:
        self._moments: dict[tuple[str, str, int], float] = {}
        self._changed = threading.Condition()

    def __call__(self, notice: Notice) -> None:
        """Note what Secret Manager publishes."""
        told = notice.attributes
        path = told.get("versionId", "").split("/")
        if len(path) == len(("projects", "P", "secrets", "S", "versions", "N")):
            moment = datetime.fromisoformat(told["timestamp"]).timestamp() - _EPOCH
            with self._changed:
                self._moments[told["eventType"], path[3], int(path[5])] = moment
                self._changed.notify_all()

    def added(self, secret: str, version: int) -> float:
        """When a version was added; waits for it."""
        return self._of("SECRET_VERSION_ADD", secret, version)

    def disabled(self, secret: str, version: int) -> float:
        """When a version was disabled; waits for it."""
        return self._of("SECRET_VERSION_DISABLE", secret, version)

    def _of(self, kind: str, secret: str, version: int) -> float:
        key = (kind, secret, version)
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._moments, PATIENCE):
                raise StageFailed(f"There was no {kind} of {secret} version {version}.")
            return self._moments[key]


class Stage:
    """Everything that runs.

    Args:
        uptake: The URL of the uptake store; by default an SQLite file.

    Attributes:
        journal: What happened to versions.
        manager: The local Secret Manager.
        hold: A file; while it is there, a request to `/hold` does not end.
    """

    def __init__(self, uptake: str | None = None) -> None:
        self._uptake = uptake
        self.journal = Journal()
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            self._folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
            self.hold = self._folder / "hold"
            self._uptake = self._uptake or f"sqlite:///{self._folder / 'uptake.sqlite3'}"
            try:
                self._postgres = started.enter_context(LocalPostgres())
            except PostgresMissingError:
                raise StageFailed(
                    "PostgreSQL is not on this machine: run scripts/packages as root (Debian)."
                ) from None
            self._postgres.create_role(OWNER)
            for role in ROLES:
                self._postgres.create_role(role, random_secrets.token_hex(16), member_of=OWNER)
            topics = [f"projects/{PROJECT}/topics/secrets"]
            self.manager = started.enter_context(
                SecretManagerEmulator(PROJECT, topics=topics, clock=_clock)
            )
            self.manager.publish_to(self.journal)
            self._exit = started.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def new_credentials(self, role: str) -> str:
        """Give a role a new password; what then belongs into the store."""
        password = random_secrets.token_urlsafe(24)
        self._postgres.alter_password(role, password)
        return json.dumps(
            {
                "user": role,
                "password": password,
                "host": self._postgres.host,
                "port": self._postgres.port,
                "name": self._postgres.database,
            }
        )

    # -- the service -------------------------------------------------------------------------

    def deploy_polling(self, max_age: float) -> list[Gunicorn]:
        """One gunicorn of four workers, which look for new versions by themselves."""
        return self._deploy([PROCESSES], {"PGP_CONFIG_MAX_AGE": str(max_age)})

    def deploy_pushed(self, max_age: float) -> list[Gunicorn]:
        """Four instances of one worker, with a push subscription each: one reaches one process."""
        certificates = f"http://{self.manager.rest_endpoint}/oauth2/v1/certs"
        instances = self._deploy(
            [1] * PROCESSES,
            {"PGP_CONFIG_MAX_AGE": str(max_age), CERTIFICATES_VARIABLE: certificates},
        )
        for instance in instances:
            url = f"http://127.0.0.1:{instance.port}{PUSH_PATH}"
            self.manager.publish_to(PushUrl(url, signer=self.manager.signer))
        return instances

    def _deploy(self, sizes: Sequence[int], environ: Mapping[str, str]) -> list[Gunicorn]:
        shared = {**self._environ(), HOLD_VARIABLE: str(self.hold), "PGP_CONFIG_SERVICE": SERVICE}
        servers = []
        for workers in sizes:
            server = Gunicorn({**shared, **environ}, self._folder, _APP, workers)
            self._exit.callback(server.stop)
            servers.append(server)
        for server in servers:
            server.wait_until_ready()
        return servers

    def wait_for_reports(self) -> None:
        """Wait until the uptake store knows of four processes and no other, for each secret.

        Raises:
            StageFailed: If it does not within 60 s.
        """
        store = store_from_url(str(self._uptake))
        deadline = time.monotonic() + PATIENCE
        while any(len(store.read(name)) != PROCESSES for name in (DATABASE, WEBHOOK_KEY)):
            if time.monotonic() > deadline:
                raise StageFailed("Not all processes report to the uptake store.")
            time.sleep(0.1)
        store.close()

    def _environ(self) -> dict[str, str]:
        return {
            "PGP_CONFIG_SOURCE": f"gsm://{PROJECT}?endpoint={self.manager.endpoint}",
            "PGP_CONFIG_UPTAKE": str(self._uptake),
        }

    # -- the command -------------------------------------------------------------------------

    def rotate(self, arguments: Sequence[str], value: str, tell: Callable[[str], None]) -> int:
        """Run `pgp-config rotate`, with the value on its standard input.

        Args:
            arguments: What follows `pgp-config rotate`.
            value: The new value, "" for none.
            tell: Told of each line of its output as it comes.

        Returns:
            Its exit code.
        """
        with subprocess.Popen(  # noqa: S603  our own command
            [Path(sys.executable).with_name("pgp-config"), "rotate", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env={**os.environ, **self._environ(), "PYTHONIOENCODING": "utf-8"},
        ) as process:
            if process.stdin is None or process.stdout is None:  # pipes, as asked for
                raise StageFailed("The command has no pipes.")
            process.stdin.write(value)
            process.stdin.close()
            for line in process.stdout:
                tell(line.rstrip())
        return process.returncode
