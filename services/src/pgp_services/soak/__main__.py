"""Runs the soak: `python -m pgp_services.soak`."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr
from rich.console import Console

from pgp_config.emulator import SecretManagerEmulator
from pgp_config.testing.history import History
from pgp_services.demo.load import Load
from pgp_services.demo.stage import (
    WORKERS,
    first_values,
    pilot_environ,
    static_names,
)
from pgp_services.lookalikes import ChangeNowServer, CloudTasksServer
from pgp_services.soak import recorded_app
from pgp_services.soak.faults import MATRIX, Row, Surroundings
from pgp_services.soak.ledger import DYNAMIC, Ledger
from pgp_services.soak.report import Facts, Span, records_of, show, violations
from pgp_services.soak.watch import Watch, workers_of
from pgp_services.stage.processes import PATIENCE, Gunicorn, StageFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgp_config.testing.history import Violation
    from pgp_services.soak.report import Records

#: The pilots, by the `max_age` that they run with, in seconds.
PILOTS = {"bounded": 1.0, "strict": 0.0}

#: Requests a second that are sent to both together, and how many senders there are.
RATE, SENDERS = 60.0, 8

#: Seconds of one row of the matrix, and between two of its steps; the secrets that it has not to itself
#: are rotated at each step, one after the other.
ROW, STEP = 2.0, 0.25

#: Lines of a pilot's log that are shown at most where a promise was broken, and which: faults of the
#: source are what a soak is for.
COMPLAINTS, _COMPLAINT = 30, r"(ERROR|CRITICAL) (?!pgp_config:)|Traceback"


class Soak:
    """The pilots, and all that they talk to, on 127.0.0.1.

    Args:
        console: Where progress is told.
        folder: Where logs and records go.
        rate: Requests a second.
        seed: For what is left to chance.
    """

    def __init__(self, console: Console, folder: Path, rate: float, seed: int) -> None:
        self._console = console
        self._folder = folder
        self._rate = rate
        self._seed = seed
        self._history = History()
        self._values = first_values()
        self._exit = contextlib.ExitStack()

    def run(self, minutes: float) -> Facts:
        """Go through the matrix, again and again, for so long; what was measured.

        Raises:
            StageFailed: If a pilot does not start.
        """
        with self._exit:
            self._set_up()
            self._manager.calls.reset()
            load = Load(
                [pilot.port for pilot in self._pilots.values()],
                SecretStr(self._values["SUCCESS_URL_SIGNING_KEY"]),
                self._rate,
                SENDERS,
            )
            with Watch(self._workers) as watch:
                load.start()
                try:
                    spans = list(self._spans(time.monotonic() + 60 * minutes))
                finally:
                    outcomes = load.stop()
            ended = len(set(self._workers) - set(self._workers_now()))
            calls, static_calls = (
                self._manager.calls.count("AccessSecretVersion"),
                self._static_calls(),
            )
        records = {name: records_of(self._folder, name) for name in PILOTS}
        return Facts(
            spans=spans,
            outcomes=outcomes,
            records=records,
            violations=self._violations(records),
            samples=watch.samples,
            restarts=ended,
            source_calls=calls,
            static_calls=static_calls,
        )

    def _set_up(self) -> None:
        enter = self._exit.enter_context
        self._manager = enter(SecretManagerEmulator("pgp-soak", seed=self._seed))
        for name, value in self._values.items():
            self._manager.add(name, value)
        self._changenow = enter(ChangeNowServer(self._values["CHANGENOW_API_KEY"]))
        self._tasks = enter(CloudTasksServer())
        self._ledger = Ledger(self._manager, self._changenow, self._history)
        self._pilots = {name: self._pilot(name, max_age) for name, max_age in PILOTS.items()}
        for pilot in self._pilots.values():
            pilot.wait_until_ready()
        self._await_loads(len(self._pilots) * WORKERS * len(static_names()))
        self._workers = self._workers_now()

    def _await_loads(self, expected: int) -> None:
        """The first worker of a pilot answers before the last one has loaded."""
        deadline = time.monotonic() + PATIENCE
        while self._static_calls() < expected:
            if time.monotonic() > deadline:
                raise StageFailed("Some workers did not load their secrets.")
            time.sleep(STEP)

    def _static_calls(self) -> int:
        calls = self._manager.calls.by_secret("AccessSecretVersion")
        return sum(calls.get(name, 0) for name in static_names())

    def _workers_now(self) -> list[int]:
        return [worker for pilot in self._pilots.values() for worker in workers_of(pilot.pid)]

    def complaints(self) -> Iterator[str]:
        """What the pilots' logs say of something worse than a warning."""
        for name, pilot in self._pilots.items():
            lines = pilot.log.read_text().splitlines()
            bad = [line for line in lines if re.search(_COMPLAINT, line)]
            yield from (f"{name}: {line}" for line in bad[:COMPLAINTS])

    def _pilot(self, name: str, max_age: float) -> Gunicorn:
        environ = {
            **pilot_environ(self._changenow, self._tasks),
            "PGP_CONFIG_SOURCE": f"gsm://pgp-soak?endpoint={self._manager.endpoint}",
            "PGP_CONFIG_MAX_AGE": str(max_age),
            recorded_app.FOLDER_VARIABLE: str(self._folder),
            recorded_app.NAME_VARIABLE: name,
        }
        app = f"{recorded_app.__name__}:create_app()"
        pilot = Gunicorn(environ, self._folder, app, WORKERS)
        self._exit.callback(pilot.stop)
        return pilot

    def _spans(self, until: float) -> Iterator[Span]:
        chance = random.Random(self._seed)  # noqa: S311  faults by chance, no cryptography
        at = Surroundings(self._manager, self._ledger, self._workers, chance)
        for number, (row, following) in enumerate(itertools.pairwise(itertools.cycle(MATRIX))):
            # Every row at least once, however short the soak.
            if number >= len(MATRIX) and time.monotonic() >= until:
                return
            self._console.print(f"  {number + 1:4d}  {row.name}", style="dim")
            yield self._span(row, following, at)

    def _span(self, row: Row, following: Row, at: Surroundings) -> Span:
        others = itertools.cycle(sorted(DYNAMIC.keys() - {row.target, following.target}))
        began = time.monotonic()
        with contextlib.closing(row.fault(at, row.target)) as fault:
            while time.monotonic() - began < ROW:
                next(fault)
                self._ledger.rotate(next(others))
                time.sleep(STEP)
        return Span(row.name, began, time.monotonic())

    def _violations(self, records: Mapping[str, Records]) -> list[Violation]:
        changes = self._history.changes
        return [
            violation
            for name, max_age in PILOTS.items()
            for violation in violations(records[name].reads, changes, max_age)
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="The pilot under load while every fault of the matrix befalls what it reads from.",
    )
    parser.add_argument(
        "--minutes",
        type=_positive,
        default=5.0,
        help="how long; one round of the matrix takes one, and is always made (%(default)s)",
    )
    parser.add_argument(
        "--rate", type=_positive, default=RATE, help="requests a second (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of what is left to chance (%(default)s)"
    )
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(
        f"Soaking the pilot PGP_SPLIT2_v1 for {options.minutes:g} minutes at {options.rate:g} requests "
        f"a second, in two modes: {', '.join(f'{n} (max_age {a:g} s)' for n, a in PILOTS.items())} …"
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            soak = Soak(console, Path(folder), options.rate, options.seed)
            facts = soak.run(options.minutes)
            complaints = list(soak.complaints())
    except StageFailed as failure:
        console.print(str(failure), style="red", markup=False)
        return 1
    show(facts, console)
    broken = facts.broken_promises()
    for complaint in complaints if broken else ():
        console.print(complaint, style="dim", markup=False)
    for promise in broken:
        console.print(f"NOT KEPT: {promise}", style="bold red")
    if not broken:
        console.print("Every promise was kept.", style="bold green")
    return 1 if broken else 0


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("give a number, more than 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
