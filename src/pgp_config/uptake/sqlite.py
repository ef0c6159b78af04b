"""Reports of the processes of one machine, in a file."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pgp_config.uptake.entries import Entry, Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: Seconds to wait for another process that writes.
PATIENCE = 2.0

_TABLE = """
CREATE TABLE IF NOT EXISTS uptake (
    namespace TEXT, secret TEXT, instance TEXT, entry TEXT, at REAL, ends REAL,
    PRIMARY KEY (namespace, secret, instance)
) WITHOUT ROWID
"""

_WRITE = "INSERT OR REPLACE INTO uptake VALUES (?, ?, ?, ?, ?, ?)"
_READ = "SELECT entry, at, ends FROM uptake WHERE namespace = ? AND secret = ?"
_LEAVE = "DELETE FROM uptake WHERE namespace = ? AND instance = ? AND secret = ?"
#: What has expired, and what was written before the machine was started: its clock began anew.
_PRUNE = "DELETE FROM uptake WHERE ends <= ? OR at > ?"


def default_file() -> Path:
    """The file of `sqlite:` alone: in the user's state folder (XDG_STATE_HOME)."""
    folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(folder) / "pgp-config" / "uptake.sqlite3"


class SqliteUptake:
    """Reports in an SQLite file, shared by the processes of one machine.

    A connection lives for one call, so that none crosses a fork.

    Args:
        file: Its path; the file is made.
        namespace: Keeps apart what shares a file, such as staging and production.
        clock: Seconds of a clock that the machine's processes share; a test gives its own. The monotonic one is
            that of the machine since its start (Linux, macOS, Windows), and nobody sets it.
        makes_folder: Whether its folder is made too: that of `sqlite:` alone.
    """

    def __init__(
        self,
        file: Path,
        namespace: str = "",
        clock: Callable[[], float] = time.monotonic,
        *,
        makes_folder: bool = False,
    ) -> None:
        self._file = file
        self._makes_folder = makes_folder
        self._namespace = namespace
        self._clock = clock

    def __repr__(self) -> str:
        return f"SqliteUptake({str(self._file)!r})"

    def report(self, entries: Sequence[Entry]) -> None:
        """As `UptakeStore.report`."""
        with self._connection() as connection:
            # The time is taken under the lock: who waits for it must not find in what others have written
            # meanwhile a time that is still to come, and delete it.
            connection.execute("BEGIN IMMEDIATE")
            now = self._clock()
            rows = [
                (self._namespace, each.secret, each.instance, each.to_json(), now, now + each.ttl)
                for each in entries
            ]
            connection.execute(_PRUNE, (now, now))
            connection.executemany(_WRITE, rows)

    def read(self, secret: str) -> list[Heard]:
        """As `UptakeStore.read`."""
        with self._connection() as connection:
            rows = connection.execute(_READ, (self._namespace, secret)).fetchall()
        now = self._clock()  # after the reading: no row is of a time to come, for the reason above
        return [
            Heard(Entry.from_json(entry), now - at) for entry, at, ends in rows if at <= now < ends
        ]

    def leave(self, instance: str, secrets: Iterable[str]) -> None:
        """As `UptakeStore.leave`."""
        rows = [(self._namespace, instance, secret) for secret in secrets]
        with self._connection() as connection:
            connection.executemany(_LEAVE, rows)

    def close(self) -> None:
        """Nothing is open."""

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._makes_folder:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._file, timeout=PATIENCE)) as connection, connection:
            connection.execute(_TABLE)
            yield connection
