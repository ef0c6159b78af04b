"""A PostgreSQL of one's own: the real server, with a cluster that lives as long as its `with` block.

It needs PostgreSQL's programs on this machine (Debian: the package `postgresql`), and neither a running
server nor Docker. Roles log in with SCRAM over 127.0.0.1; there is no other way in.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

#: Where distributions put the programs, besides the PATH.
_PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql*/bin")

#: Accounts that may run it where this process is root's, which PostgreSQL refuses.
_ACCOUNTS = ("postgres", "nobody")

#: Seconds that the server has to start or stop.
PATIENCE = 60

#: How often another free port is tried: somebody may take it before the server does.
_ATTEMPTS = 3

_SUPERUSER = "postgres"


class PostgresMissingError(RuntimeError):
    """PostgreSQL's programs are not on this machine."""


class PostgresError(RuntimeError):
    """A program of PostgreSQL failed; its own words, which name no password, say why."""


def find_programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, or None."""
    on_path = shutil.which("initdb")
    candidates = [] if on_path is None else [Path(on_path).resolve().parent]
    for place in _PLACES:
        candidates.extend(sorted(Path("/").glob(place), key=_number_in, reverse=True))
    return next((folder for folder in candidates if (folder / "pg_ctl").exists()), None)


def _number_in(folder: Path) -> float:
    """The version in `…/15/bin`, `…/pgsql-9.6/bin` or `…/postgresql@16/bin`."""
    numbers = re.findall(r"\d+(?:\.\d+)?", folder.parent.name)
    return float(numbers[-1]) if numbers else 0.0


class LocalPostgres:
    """A server on 127.0.0.1 while its `with` block runs, with one empty database.

    Args:
        database: The database's name.

    Attributes:
        host: 127.0.0.1.
        port: Where it listens, from the start on.
        database: The database's name.

    Raises:
        PostgresMissingError: If PostgreSQL is not installed.
        PostgresError: If it does not start.
    """

    host = "127.0.0.1"

    def __init__(self, database: str = "app") -> None:
        self.database = database
        self.port = 0
        self._password = secrets.token_urlsafe(24)

    def __enter__(self) -> Self:
        programs = find_programs()
        if programs is None:
            raise PostgresMissingError(
                "PostgreSQL is not on this machine. Debian: apt-get install postgresql"
            )
        self._programs = programs
        self._account = _account()
        self._folder = Path(tempfile.mkdtemp(prefix="pgp-postgres-"))
        try:
            self._initialise()
            self._start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.execute(f"CREATE DATABASE {_name(self.database)}", database="postgres")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """Stop the server at once, as in an outage; `start` brings it back."""
        self._run("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self._folder / 'data'}")

    def start(self) -> None:
        """Start a server that was stopped, at the same port."""
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            "--silent",
            f"--pgdata={self._folder / 'data'}",
            f"--log={self._folder / 'log'}",
            f"--options=-p {self.port} -h {self.host} -F -c unix_socket_directories='' "
            "-c max_connections=200",
        )

    def create_role(self, role: str, password: str | None = None, *, member_of: str = "") -> None:
        """Create a role.

        Args:
            role: Its name.
            password: What it logs in with; None for a role that does not log in, but owns things.
            member_of: Another role, whose rights it has, and which owns what it creates.
        """
        login = "NOLOGIN" if password is None else f"LOGIN PASSWORD {_literal(password)}"
        self.execute(f"CREATE ROLE {_name(role)} {login}")
        if member_of:
            self.execute(
                f"GRANT {_name(member_of)} TO {_name(role)};"
                f"ALTER ROLE {_name(role)} SET role = {_name(member_of)}"
            )

    def alter_password(self, role: str, password: str) -> None:
        """Give a role another password; from now on the old one is refused, sessions go on."""
        self.execute(f"ALTER ROLE {_name(role)} PASSWORD {_literal(password)}")

    def sessions(self) -> dict[str, int]:
        """How many sessions each role has, without this method's own; one that ends is counted a moment longer."""
        rows = self.execute(
            "SELECT usename, count(*) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND usename <> '' "
            "GROUP BY usename"
        )
        return {role: int(count) for role, count in (row.split("|") for row in rows)}

    def end_sessions(self, role: str) -> None:
        """End every session of a role, as a fail-over would."""
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = "
        self.execute(ended + _literal(role))

    def execute(self, statements: str, *, database: str | None = None) -> list[str]:
        """Run statements as the superuser; the rows as text, their columns separated by `|`.

        Args:
            statements: SQL, through standard input: a command line is there for all to read.
            database: Another database.
        """
        return self._run(
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            f"--host={self.host}",
            f"--port={self.port}",
            f"--username={_SUPERUSER}",
            f"--dbname={database or self.database}",
            given=statements,
            environment={"PGPASSWORD": self._password},
        ).splitlines()

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.touch(0o600)
        password.write_text(self._password)
        if self._account is not None:
            shutil.chown(password, self._account)
            shutil.chown(self._folder, self._account)
        self._run(
            "initdb",
            "--auth=scram-sha-256",
            f"--pwfile={password}",
            f"--username={_SUPERUSER}",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            f"--pgdata={self._folder / 'data'}",
        )
        password.unlink()

    def _start(self) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            self.port = _free_port()
            try:
                self.start()
            except PostgresError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _run(
        self,
        program: str,
        *arguments: str,
        given: str = "",
        environment: dict[str, str] | None = None,
    ) -> str:
        # What it says goes to a file: the server that pg_ctl leaves behind would keep a pipe open.
        with tempfile.TemporaryFile("w+") as said:
            run = subprocess.run(  # noqa: S603  PostgreSQL's own programs
                [self._programs / program, *arguments],
                input=given.encode(),
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
                cwd=self._folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **(environment or {})},
                user=self._account,
                group=None if self._account is None else pwd.getpwnam(self._account).pw_gid,
                extra_groups=None if self._account is None else (),
            )
            said.seek(0)
            output = said.read()
        if run.returncode:
            raise PostgresError(f"{program} failed: {output.strip()}")
        return output


def _account() -> str | None:
    """Whom to run as: root may not run PostgreSQL."""
    if os.geteuid() != 0:
        return None
    known = {account.pw_name for account in pwd.getpwall()}
    return next(account for account in _ACCOUNTS if account in known)


def _free_port() -> int:
    with socket.socket() as holder:
        holder.bind((LocalPostgres.host, 0))
        return int(holder.getsockname()[1])


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
