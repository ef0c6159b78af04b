"""The pilot, writing down what each request reads: `gunicorn 'pgp_services.soak.recorded_app:create_app()'`."""

from __future__ import annotations

import json
import os
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from pgp_config import default_observers
from pgp_config.events import Fetched
from pgp_config.testing.recorder import ReadRecorder
from pgp_services.split2 import flask_app

if TYPE_CHECKING:
    from flask import Flask

    from pgp_config.events import Event
    from pgp_config.testing.history import Read

#: Environment variables: the folder that the records go to, and the name of this pilot.
FOLDER_VARIABLE, NAME_VARIABLE = "PGP_SOAK_RECORDS", "PGP_SOAK_PILOT"


class Records:
    """One process's records: a line a read, and a line a fetch; no value is in either.

    Args:
        folder: Where the file goes.
        pilot: The name of the pilot that this process is a worker of.
    """

    def __init__(self, folder: Path, pilot: str) -> None:
        # Line by line: a process that is killed loses nothing that it has written.
        self._file = (folder / f"{pilot}-{os.getpid()}.jsonl").open("a", buffering=1)

    def add(self, read: Read) -> None:
        """Note a read."""
        self._file.write(json.dumps(astuple(read)) + "\n")

    def __call__(self, event: Event) -> None:
        """Note a fetch."""
        if isinstance(event, Fetched):
            self._file.write(json.dumps(event.secret) + "\n")


def create_app() -> Flask:
    """The pilot's Flask application; records until the process ends."""
    records = Records(Path(os.environ[FOLDER_VARIABLE]), os.environ[NAME_VARIABLE])
    recorder = ReadRecorder(records.add, process=os.getpid())
    recorder.__enter__()
    default_observers.extend([recorder, records])
    return flask_app.create_app()
