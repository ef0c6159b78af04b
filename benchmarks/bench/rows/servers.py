"""The same requests over real servers: gunicorn's gthread worker for Flask, uvicorn for FastAPI.

Both applications of a framework are served at once, each by a server of its own with one worker, and wrk
loads them in turn for short rounds: the one that is not asked sleeps. The load comes from this machine, so
that wrk takes a part of what is measured, of both alike.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import machine
from bench.harness import Mark, measure, sampled
from bench.peers.applications import PATH
from bench.results import Figure, RowResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.harness import Options

NAME = "servers"
TITLE = "Request with five reads, over real servers"

MARK = Mark(at_least=0.95)

#: Connections of wrk, each with one request in flight.
CONNECTIONS = 8

#: Seconds that a server may take to answer first.
PATIENCE = 60.0

_MISSING = "Not measured: wrk is not installed (Debian, as root: apt-get install wrk; macOS: brew install wrk)."

NOTES = (
    f"One worker each, gthread with 4 threads, uvicorn with uvloop and httptools; wrk with {CONNECTIONS} connections.",
)

#: How a server is started, by the framework: with the name of the application, and the port.
SERVERS: dict[str, tuple[str, ...]] = {
    "Flask on gunicorn": (
        *("gunicorn", "bench.peers.applications:flask_{}()", "--bind", "127.0.0.1:{}"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", "4", "--log-level", "error"),
        "--no-control-socket",
    ),
    "FastAPI on uvicorn": (
        *("uvicorn", "bench.peers.applications:fastapi_{}", "--factory", "--port", "{}"),
        *("--host", "127.0.0.1", "--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "error"),
    ),
}


def run(options: Options) -> RowResult:
    """Measure the row; without wrk there are no figures, and the reason is told."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return RowResult(name=NAME, title=TITLE, figures=(), notes=(_MISSING,))
    figures = [figure for server in SERVERS for figure in _figures(wrk, server, options)]
    return RowResult(name=NAME, title=TITLE, figures=tuple(figures), notes=NOTES)


def _figures(wrk: str, server: str, options: Options) -> Iterator[Figure]:
    seconds = options.choose(full=2, quick=1)
    names = {
        which: f"{shown}, {server}" for which, shown in (("bare", "bare"), ("ours", "pgp_config"))
    }
    cases = [
        sampled(name, partial(_served, wrk, server, which, seconds), unit="1/s")
        for which, name in names.items()
    ]
    measured = measure(cases, options, rounds=options.choose(full=31, quick=3))
    yield measured.figure(names["ours"], ratio_to=names["bare"], mark=MARK)
    yield measured.figure(names["bare"])


@contextmanager
def _served(wrk: str, server: str, which: str, seconds: int) -> Iterator[Callable[[], float]]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}{PATH}"
    command = [part.format(which if ":f" in part else port) for part in SERVERS[server]]
    process = subprocess.Popen(  # noqa: S603  our own arguments
        [sys.executable, "-m", *command],
        env={**os.environ, "PYTHONPATH": str(machine.BENCHMARKS)},
    )
    try:
        _await_answer(url, process)
        yield lambda: _load(wrk, url, seconds)
    finally:
        process.terminate()
        process.wait()


def _load(wrk: str, url: str, seconds: int) -> float:
    done = subprocess.run(  # noqa: S603  as above
        [wrk, "--threads", "1", f"--connections={CONNECTIONS}", f"--duration={seconds}s", url],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return rate_in(done.stdout)


def rate_in(printed: str) -> float:
    """Requests a second, as wrk prints them.

    Raises:
        RuntimeError: If they are not there, or some requests failed: others would be faster than they are.
    """
    failed = re.search(r"Non-2xx.*|Socket errors.*", printed)
    found = re.search(r"^Requests/sec:\s+([\d.]+)", printed, re.MULTILINE)
    if failed is not None or found is None:
        raise RuntimeError(f"wrk: {failed[0] if failed else printed}")
    return float(found[1])


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  a server of ours
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > ends:
                raise
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
