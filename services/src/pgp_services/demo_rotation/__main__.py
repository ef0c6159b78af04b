"""Runs the demo of rotations: `python -m pgp_services.demo_rotation`."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import secrets as random_secrets
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from pgp_config import GoogleSecretManager
from pgp_services.demo_rotation.report import PROCESSES, Facts, Turn, show
from pgp_services.demo_rotation.stage import DATABASE, PROJECT, ROLES, SERVICE, WEBHOOK_KEY, Stage
from pgp_services.demo_rotation.traffic import (
    PATIENCE,
    QUERY,
    WEBHOOK,
    Traffic,
    send,
)
from pgp_services.stage.processes import StageFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgp_services.stage.processes import Gunicorn

#: Seconds of `max_age`, while processes poll and while they are pushed to.
POLLING_AGE, PUSHED_AGE = 3.0, 3600.0

#: How the processes hear of a rotation.
POLLING, PUSH = f"polling, max_age {POLLING_AGE:.0f} s", f"push, max_age {PUSHED_AGE:.0f} s"

#: Seconds that the command waits at least (`--settle`), and for how long one process is held back.
SETTLE, HELD = 3.0, 5.5

#: Requests a second that are sent, and how many senders there are.
RATE, SENDERS = 60.0, 8


class Show:
    """The rotations, under load; a request's own word counts for which version was used when.

    Args:
        stage: Everything that runs.
        console: Where it is told.
        rate: Requests a second.
    """

    def __init__(self, stage: Stage, console: Console, rate: float) -> None:
        self._stage = stage
        self._console = console
        self._rate = rate
        self._turns: list[Turn] = []
        self._loads: list[Traffic] = []
        self._values: list[str] = []
        self._release: Callable[[], None] = _nothing

    def run(self) -> Facts:
        """Rotate by polling, deploy, rotate by push, and roll back; what was measured."""
        key = random_secrets.token_hex(32)
        self._stage.manager.add(DATABASE, self._new_credentials(ROLES[0]))
        self._stage.manager.add(WEBHOOK_KEY, key)
        self._tell(f"The service starts: one gunicorn of {PROCESSES} workers that poll")
        polling = self._stage.deploy_polling(POLLING_AGE)
        began = time.monotonic()
        with self._load(polling, key) as traffic:
            self._stage.wait_for_reports()
            self._rotate_database(
                traffic, ROLES[1], "polling", self._held_request(polling[0], traffic)
            )
            self._rotate_webhook_key(traffic)
            self._tell(f"Deployed anew under load: {PROCESSES} instances that are pushed to")
            pushed = self._stage.deploy_pushed(PUSHED_AGE)
            with self._load(pushed, traffic.key) as next_traffic:
                # The old ones end when their load has.
                traffic.stop()
                for server in polling:
                    server.stop()
                self._stage.wait_for_reports()
                self._rotate_database(next_traffic, ROLES[0], "push")
                self._roll_back(next_traffic)
                refused = sum(not self._is_taken(server, key) for server in pushed)
        return Facts(
            turns=self._turns,
            compared={POLLING: self._turns[0], PUSH: self._turns[2]},
            answers=[answer for load in self._loads for answer in load.outcomes],
            seconds=time.monotonic() - began,
            old_key_refused=refused,
            rolled_back=self._newest(DATABASE) == self._values[1],
        )

    @contextlib.contextmanager
    def _load(self, servers: Sequence[Gunicorn], key: str) -> Iterator[Traffic]:
        traffic = Traffic([server.port for server in servers], key, self._rate, SENDERS)
        self._loads.append(traffic)
        traffic.start()
        try:
            deadline = time.monotonic() + PATIENCE
            while any(len(found) < PROCESSES for found in traffic.processes().values()):
                if time.monotonic() > deadline:
                    raise StageFailed(f"Not all of {PROCESSES} processes answer.")
                time.sleep(0.1)
            yield traffic
        finally:
            traffic.stop()

    # -- the rotations -----------------------------------------------------------------------

    def _rotate_database(
        self,
        traffic: Traffic,
        role: str,
        way: str,
        held: contextlib.AbstractContextManager[object] | None = None,
    ) -> None:
        title = f"database, {way}"
        self._tell(f"{title}: first the database gives {role}, which nobody uses, a new password")
        value = self._new_credentials(role)
        self._turn(title, DATABASE, role, traffic, value, held=held)

    def _rotate_webhook_key(self, traffic: Traffic) -> None:
        title, value = "webhook key, polling", random_secrets.token_hex(32)
        self._tell(f"{title}: the sender goes on with the old key; one worker is frozen")
        frozen = int(min(traffic.processes()[WEBHOOK]))

        def switch() -> None:
            self._tell("  The sender is told, and signs with the new key")
            traffic.key = value

        self._turn(
            title, WEBHOOK_KEY, "2", traffic, value, held=self._frozen(frozen), switch=switch
        )

    def _roll_back(self, traffic: Traffic) -> None:
        title = "database, rollback"
        self._tell(f"{title}: the credentials of before are served again")
        self._turn(title, DATABASE, ROLES[1], traffic, "")

    def _turn(
        self,
        title: str,
        secret: str,
        used: str,
        traffic: Traffic,
        value: str,
        *,
        held: contextlib.AbstractContextManager[object] | None = None,
        switch: Callable[[], None] | None = None,
    ) -> None:
        """Rotate, or roll back where there is no value; note the moments."""
        journal = self._stage.journal
        new = 1 + sum(turn.kind == _kind_of(secret) for turn in self._turns) + 1
        verdicts: list[float] = []

        def tell(line: str) -> None:
            if line.endswith("is unread.") or line.startswith("Done:"):
                verdicts.append(time.monotonic())
            self._console.print(
                f"    {line}", style="dim", markup=False, highlight=False, soft_wrap=True
            )

        released: list[float] = []
        with held or contextlib.nullcontext():
            release = self._release_later(secret, new, released) if held else None
            more = ["--rollback"] if not value else ["--keep-old"] if switch else []
            code = self._command(secret, value, tell, *more)
            if release is not None:
                release.join()
        if switch is not None and code == 0:
            switch()
            code = self._command(secret, value, tell)
        added = journal.added(secret, new)
        self._turns = [
            replace(turn, until=min(turn.until, added)) if turn.kind == _kind_of(secret) else turn
            for turn in self._turns
        ]
        self._turns.append(
            Turn(
                title=title,
                kind=_kind_of(secret),
                new=used,
                ended=code,
                added=added,
                verdict=verdicts[0] if verdicts else None,
                disabled=journal.disabled(secret, new - 1) if code == 0 else None,
                released=released[0] if released else None,
                answers=traffic.outcomes,
                is_rollback=not value,
            )
        )

    def _command(self, secret: str, value: str, tell: Callable[[str], None], *more: str) -> int:
        arguments = [secret, *more, "--service", SERVICE, "--settle", f"{SETTLE:.0f}"]
        arguments += ["--timeout", "60"]
        shown = " ".join(["pgp-config rotate", *arguments, *(["< new-value"] if value else [])])
        self._console.print(f"  $ {shown}", style="bold", highlight=False, soft_wrap=True)
        return self._stage.rotate(arguments, value, tell)

    # -- who is held back --------------------------------------------------------------------

    def _release_later(self, secret: str, version: int, released: list[float]) -> threading.Thread:
        def wait() -> None:
            time.sleep(max(0.0, self._stage.journal.added(secret, version) + HELD - _now()))
            released.append(_now())
            self._release()

        thread = threading.Thread(target=wait, name="demo-release")
        thread.start()
        return thread

    @contextlib.contextmanager
    def _held_request(self, server: Gunicorn, traffic: Traffic) -> Iterator[None]:
        """A request that began before the rotation, and does not end."""
        self._stage.hold.touch()
        self._release = lambda: self._stage.hold.unlink(missing_ok=True)
        thread = threading.Thread(target=self._hold, args=(server, traffic), name="demo-hold")
        thread.start()
        self._tell("  One request is held open, with a query before and one after")
        try:
            yield
        finally:
            self._release()
            thread.join()

    def _hold(self, server: Gunicorn, traffic: Traffic) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        traffic.outcomes.append(send(connection, QUERY, path="/hold"))
        connection.close()

    @contextlib.contextmanager
    def _frozen(self, process: int) -> Iterator[None]:
        self._release = lambda: os.kill(process, signal.SIGCONT)
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            self._release()

    # -- afterwards --------------------------------------------------------------------------

    def _is_taken(self, server: Gunicorn, key: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        try:
            return (
                send(connection, WEBHOOK, "late payment", key).status != http.client.UNAUTHORIZED
            )
        finally:
            connection.close()

    def _newest(self, secret: str) -> str:
        source = GoogleSecretManager(PROJECT, endpoint=self._stage.manager.endpoint)
        try:
            return source.fetch(secret).data.decode()
        finally:
            source.close()

    def _new_credentials(self, role: str) -> str:
        self._values.append(self._stage.new_credentials(role))
        return self._values[-1]

    def _tell(self, text: str) -> None:
        style = "" if text.startswith(" ") else "bold cyan"
        self._console.print(text, style=style, soft_wrap=True)


def _kind_of(secret: str) -> str:
    return {DATABASE: QUERY, WEBHOOK_KEY: WEBHOOK}[secret]


def _now() -> float:
    return time.monotonic()


def _nothing() -> None:
    """Nobody is held back."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="scripts/demo-rotation", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second (%(default)s)")
    parser.add_argument("--uptake", help="where processes report; by default an SQLite file")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        with Stage(options.uptake) as stage:
            facts = Show(stage, console, options.rate).run()
    except StageFailed as failure:
        console.print(str(failure), style="red", markup=False)
        return 1
    show(facts, console)
    broken = facts.broken_promises()
    for promise in broken:
        console.print(f"NOT KEPT: {promise}", style="bold red", markup=False)
    if not broken:
        console.print("Every promise was kept.", style="bold green")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
