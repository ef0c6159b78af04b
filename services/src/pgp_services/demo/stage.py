"""All that the pilot talks to, and the pilot itself under gunicorn, on 127.0.0.1."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import SecretStr

from pgp_config import GoogleSecretManager, SecretDisabled, StaticSecret
from pgp_config.emulator import SecretManagerEmulator
from pgp_services.lookalikes import ChangeNowServer, CloudTasksServer
from pgp_services.names import Service
from pgp_services.split2.container import Split2
from pgp_services.stage.processes import Gunicorn
from pgp_services.stage.values import values_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

PROJECT = "pgp-demo"

WORKERS = 2

#: The pilot, as gunicorn names it.
PILOT = "pgp_services.split2.flask_app:create_app()"


def first_values() -> dict[str, str]:
    """A value for each secret of the pilot; those that are secret are made for this run."""
    return {
        **values_for(Service.SPLIT2),
        "CLOUD_TASKS_PROJECT_ID": PROJECT,
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
        pilot = Gunicorn({**shared, **environ}, folder, PILOT, WORKERS)
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
