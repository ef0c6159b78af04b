"""The same requests over real servers: gunicorn's gthread worker for Flask, uvicorn for FastAPI.

All applications of a framework are served at once, each by a server of its own with one worker, and wrk
loads them in turn for short rounds: those that are not asked sleep. The load comes from this machine, so
that wrk takes a part of what is measured, of all alike. The bare framework and ours have more rounds; the
peers are measured with the bare one in rounds of their own, because they have no mark.

Memory: what is resident of a server and its worker after the first rounds, and after the last.
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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.harness import Mark, measure, sampled
from bench.peers.applications import PATH
from bench.results import Figure, RowResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.harness import Case, Options

NAME = "servers"
TITLE = "Request with five reads, over real servers"

MARK = Mark(at_least=0.95)

#: Bytes a request of what is resident, which the system gives by the page: 4 KiB in thousands of requests.
NO_GROWTH = Mark(at_most=1.0, text="0 growth (≤ 1 byte)")

#: Connections of wrk, each with one request in flight.
CONNECTIONS = 8

#: Seconds that a server may take to answer first.
PATIENCE = 60.0

_MISSING = "Not measured: wrk is not installed (Debian, as root: apt-get install wrk; macOS: brew install wrk)."

NOTES = (
    f"One worker each, gthread with 4 threads, uvicorn with uvloop and httptools; wrk with {CONNECTIONS} connections.",
    "The page of a peer is given five objects that live as long as the request; ours reads five secrets.",
)


@dataclass(frozen=True)
class Server:
    """How the applications of a framework are served.

    Attributes:
        command: With the module and function of the application, and the port.
        others: The peers' applications by the library's name: functions of `bench.peers.adapters`.
    """

    command: tuple[str, ...]
    others: Mapping[str, str]


SERVERS = {
    "Flask on gunicorn": Server(
        (
            *("gunicorn", "bench.peers.{}()", "--bind", "127.0.0.1:{}"),
            *("--worker-class", "gthread", "--workers", "1", "--threads", "4"),
            *("--log-level", "error", "--no-control-socket"),
        ),
        {name: f"adapters:{name}_on_flask" for name in ("dishka", "svcs", "wireup")},
    ),
    "FastAPI on uvicorn": Server(
        (
            *("uvicorn", "bench.peers.{}", "--factory", "--port", "{}"),
            *("--host", "127.0.0.1", "--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--log-level", "error"),
        ),
        {
            name: f"adapters:{name.replace('-', '_')}_on_fastapi"
            for name in ("dishka", "svcs", "wireup", "that-depends", "modern-di")
        },
    ),
}


def run(options: Options) -> RowResult:
    """Measure the row; without wrk there are no figures, and the reason is told."""
    wrk = shutil.which("wrk")
    if wrk is None:
        print(_MISSING, file=sys.stderr)
        return RowResult(name=NAME, title=TITLE, figures=(), notes=(_MISSING,))
    figures = [figure for name in SERVERS for figure in _figures(wrk, name, options)]
    return RowResult(name=NAME, title=TITLE, figures=tuple(figures), notes=NOTES)


def _figures(wrk: str, name: str, options: Options) -> Iterator[Figure]:
    server, framework = SERVERS[name], name.partition(" ")[0].lower()
    bare, ours = f"bare, {name}", f"pgp_config, {name}"
    served = {bare: f"applications:{framework}_bare", ours: f"applications:{framework}_ours"}
    memory: dict[str, Memory] = {case: Memory() for case in served}

    def case(shown: str, app: str) -> Case:
        seen = memory.setdefault(shown, Memory())
        return sampled(shown, partial(_served, wrk, server, app, seen), unit="1/s")

    rounds = options.choose(full=17, quick=2)
    measured = measure([case(*each) for each in served.items()], options, rounds=rounds)
    yield measured.figure(ours, ratio_to=bare, mark=MARK)
    yield measured.figure(bare)
    for shown, mark in ((ours, NO_GROWTH), (bare, None)):
        yield from _growth(shown, memory[shown], mark)
    others = {f"{peer}, {name}": app for peer, app in server.others.items()}
    beside = measure(
        [case(bare, served[bare]), *(case(*each) for each in others.items())],
        options,
        rounds=options.choose(full=5, quick=1),
    )
    for shown in sorted(others, key=beside.median, reverse=True):
        yield beside.figure(shown, ratio_to=bare)


def _growth(shown: str, memory: Memory, mark: Mark | None) -> Iterator[Figure]:
    each = memory.growth()
    if each is not None:
        yield Figure(
            case=f"{shown}, resident memory",
            value=each,
            unit="bytes a request",
            mark=None if mark is None else str(mark),
            verdict="report only" if mark is None else mark.verdict(each),
            note=f"in {memory.requests[-1] - memory.requests[memory.settled]:,} requests",
        )


@dataclass
class Memory:
    """What is resident of a server.

    Attributes:
        requests: That it had answered at each look.
        resident: Bytes at each look.
    """

    requests: list[int] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)

    def look(self, requests: int, resident: int | None) -> None:
        """After so many requests more."""
        if resident is not None:
            self.requests.append(requests + (self.requests[-1] if self.requests else 0))
            self.resident.append(resident)

    @property
    def settled(self) -> int:
        """The look from which on growth counts: what comes before is the warm-up."""
        return len(self.requests) // 3

    def growth(self) -> float | None:
        """Bytes a request; None where there was nothing to look at."""
        if len(self.requests) < 2:  # noqa: PLR2004  two looks
            return None
        more = self.resident[-1] - self.resident[self.settled]
        return more / (self.requests[-1] - self.requests[self.settled])


def resident_of(process: int, proc: Path = Path("/proc")) -> int | None:
    """Bytes that are resident of a process and its children; None where the system does not tell."""
    try:
        status = (proc / f"{process}/status").read_text(encoding="utf-8")
        children = (proc / f"{process}/task/{process}/children").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    own = int(found[1]) * 1024 if found else 0
    return own + sum(resident_of(int(child), proc) or 0 for child in children.split())


@contextmanager
def _served(wrk: str, server: Server, app: str, memory: Memory) -> Iterator[Callable[[], float]]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}{PATH}"
    command = [part.format(app if part.startswith("bench.") else port) for part in server.command]
    process = subprocess.Popen(  # noqa: S603  our own arguments
        [sys.executable, "-m", *command],
        env={**os.environ, "PYTHONPATH": str(machine.BENCHMARKS)},
    )

    def sample() -> float:
        printed = _load(wrk, url)
        memory.look(requests_in(printed), resident_of(process.pid))
        return rate_in(printed)

    try:
        _await_answer(url, process)
        yield sample
    finally:
        process.terminate()
        process.wait()


def _load(wrk: str, url: str) -> str:
    """What wrk prints after a second."""
    done = subprocess.run(  # noqa: S603  as above
        [wrk, "--threads", "1", f"--connections={CONNECTIONS}", "--duration=1s", url],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def requests_in(printed: str) -> int:
    """How many requests were answered, as wrk prints it."""
    found = re.search(r"^\s*(\d+) requests in", printed, re.MULTILINE)
    return int(found[1]) if found else 0


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
