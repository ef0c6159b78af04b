"""Programs that serve HTTP on a port of the loopback: started, watched until they are ready, and ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pgp_services.names import Service

#: Seconds in which a server must be ready, and after which one is killed that does not end.
PATIENCE, GRACE = 60.0, 10.0

#: Threads of each process that gunicorn starts.
THREADS = 8

#: The command that runs a service; the interpreter is this one, whatever the PATH says.
_COMMAND = (sys.executable, "-c", "from pgp_services.cli import main; main()")

#: What `pgp-services run` says once it listens.
_LISTENS = re.compile(rb" listens on 127\.0\.0\.1 port (\d+)\n")


class StageFailed(Exception):  # noqa: N818  not an error of the library
    """What is needed on this machine could not be started, or ended."""


class LocalServer(ABC):
    """A program of its own that answers on 127.0.0.1; it and what it starts are one process group.

    Args:
        command: The program and its arguments.
        environ: What it takes from its environment, besides this process's own.
        log: The file that its output goes to.
        pass_fds: File descriptors that it inherits.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.log = log
        self._is_asked = self._is_stopped = False
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  our own program
                command,
                env={**os.environ, **environ},
                pass_fds=pass_fds,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    @abstractmethod
    def port(self) -> int:
        """Where it listens; 0 where that is not known yet."""

    @property
    def pid(self) -> int:
        """The process id of the program."""
        return self._process.pid

    def process_ids(self) -> frozenset[int]:
        """The ids of the program and of all that it started; none once it has ended."""
        try:
            children = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return frozenset()
        return frozenset({self.pid, *(child.pid for child in children)})

    def wait_until_ready(self, patience: float = PATIENCE) -> None:
        """Wait until `/readyz` says 200.

        Args:
            patience: Seconds, at most.

        Raises:
            StageFailed: If it does not by then, with the end of the server's log; the server is stopped.
        """
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.port and self.status_of("/readyz") == http.client.OK:
                return
            time.sleep(0.05)
        self.stop()
        raise StageFailed(f"The service did not start:\n{self.log.read_text()[-4000:]}")

    def status_of(self, path: str) -> int:
        """The HTTP status of a page; 0 if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def end(self) -> None:
        """Ask it to end, once; `stop` waits for that."""
        if not self._is_asked:
            self._is_asked = True
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it and all that it started, at once if it does not end by itself; idempotent."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self.end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        # Its children too: it may have been killed itself, and have left them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


class Gunicorn(LocalServer):
    """A Flask application under gunicorn; its environment has the `PORT` too.

    Args:
        environ: As for `LocalServer`.
        folder: Where its log goes.
        app: The application, as gunicorn names it.
        workers: How many processes serve.
    """

    def __init__(
        self, environ: Mapping[str, str], folder: Path, app: str, workers: int = 1
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        descriptor = self._listener.fileno()
        super().__init__(
            _gunicorn(app, workers, descriptor),
            {**environ, "PORT": str(self.port)},
            folder / f"gunicorn-{self.port}.log",
            [descriptor],
        )

    @property
    def port(self) -> int:
        """Where it listens, from the start on."""
        return int(self._listener.getsockname()[1])

    def stop(self) -> None:
        """As in the base class; the port is free after it."""
        super().stop()
        self._listener.close()


def _gunicorn(app: str, workers: int, descriptor: int) -> list[str]:
    options = {
        "--worker-class": "gthread",
        "--workers": workers,
        "--threads": THREADS,
        "--graceful-timeout": 5,
        "--keep-alive": 60,
        "--bind": f"fd://{descriptor}",
    }
    given = [text for option, value in options.items() for text in (option, str(value))]
    return [sys.executable, "-m", "gunicorn", "--no-control-socket", *given, app]


class ServiceProcess(LocalServer):
    """A service of the fleet, as `pgp-services run` runs it, with one worker.

    Args:
        service: Which.
        environ: As for `LocalServer`.
        folder: Where its log goes; a further process of the service goes on in the same file's name
            with a number.
    """

    def __init__(self, service: Service, environ: Mapping[str, str], folder: Path) -> None:
        self.service = service
        self._port = 0
        number = sum(1 for _ in folder.glob(f"{service}.*log"))
        log = folder / (f"{service}.{number}.log" if number else f"{service}.log")
        # Not PORT: with it a service listens to more than this machine.
        command = [*_COMMAND, "run", service, "--host", "127.0.0.1", "--port", "0"]
        super().__init__(command, {**environ, "PORT": ""}, log)

    @property
    def port(self) -> int:
        """Where it listens, once it has said so."""
        if not self._port:
            told = _LISTENS.search(self.log.read_bytes())
            self._port = int(told[1]) if told else 0
        return self._port
