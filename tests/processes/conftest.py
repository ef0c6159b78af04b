"""Real servers and programs on a local Secret Manager: started, asked, and ended with all their children."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROGRAMS = Path(__file__).parent / "programs"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

#: Seconds after which something hangs.
PATIENCE = 60

#: Seconds between two rotations that a program is to see.
PACE = 0.1

#: Warnings are errors in the programs too, but for what others announce.
WARNINGS = [
    "error",
    "ignore::FutureWarning",  # Google's libraries, of old Pythons and old grpcios
    # Python 3.12 and later, of each fork: gRPC has threads of its own.
    "ignore:This process:DeprecationWarning",
    "ignore:unclosed:ResourceWarning",  # gunicorn's sockets
]

#: What no log may show.
FAULT = re.compile(r"Traceback|\w+Warning:|\[(?:ERROR|CRITICAL)\]|canary")


class Vault:
    """The local Secret Manager; each value ends with the number of its version, which is no secret."""

    NAMES = ("PROCESS_KEY", "PROCESS_OTHER", "PROCESS_SIGNING_KEY")

    def __init__(self, manager):
        self.manager = manager
        self.newest = 0
        self.rotate()

    def rotate(self):
        self.newest += 1
        for name in self.NAMES:
            self.manager.add(name, f"canary-of-{name.lower()}-{self.newest}")
        return self.newest

    @contextlib.contextmanager
    def rotating(self):
        """Rotate all the while."""
        ended = threading.Event()

        def rotate():
            while not ended.wait(PACE):
                self.rotate()

        with ThreadPoolExecutor(1) as pool:
            rotations = pool.submit(rotate)
            try:
                yield
            finally:
                ended.set()
                rotations.result(PATIENCE)


@pytest.fixture
def vault(secret_manager):
    return Vault(secret_manager)


@pytest.fixture
def environ(vault):
    """A function that gives a program's variables: where the secrets are, a short age, a grpcio."""

    def make(*, grpcio=None, **variables):
        path = [str(grpcio)] if grpcio else []
        return {
            **os.environ,
            "PROCESS_ENDPOINT": vault.manager.endpoint,
            "PGP_CONFIG_MAX_AGE": "0.2",
            "PYTHONPATH": os.pathsep.join([*path, str(PROGRAMS)]),
            **variables,
        }

    return make


def python(*arguments, warnings=()):
    options = [part for warning in (*WARNINGS, *warnings) for part in ("-W", warning)]
    return [sys.executable, *options, *arguments]


def kill_group(process):
    """Leave nothing of a process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def last_words(process):
    """End a process that hangs, and its children: what they told, and where their threads were."""
    os.killpg(process.pid, signal.SIGALRM)  # see children.py
    try:
        return process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        kill_group(process)
        return process.communicate()[1]


# -- grpcio --------------------------------------------------------------------------------------


def oldest_grpcio():
    """The oldest release that the project declares to work with, for this Python."""
    google = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["google"]
    bounds = [
        bound.version
        for requirement in map(Requirement, google)
        if requirement.name == "grpcio"
        and (not requirement.marker or requirement.marker.evaluate())
        for bound in requirement.specifier
        if bound.operator == ">="
    ]
    return max(bounds, key=Version)


@pytest.fixture(scope="session")
def grpcio(request):
    """A function that gives the folder of a release of grpcio, to be put first on the path."""

    def install(release):
        name = f"{release}-{sys.implementation.cache_tag}-{sys.platform}"
        folder = request.config.cache.mkdir("grpcio") / name
        if not folder.exists():
            _pip_install(f"grpcio=={release}", folder)
        return folder

    return install


@pytest.fixture
def grpcio_of(grpcio):
    """A function: the folder of the oldest supported release; None for the installed one."""
    return lambda release: grpcio(oldest_grpcio()) if release == "oldest" else None


def _pip_install(requirement, folder):
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    pip = [*(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")]
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--target", str(partial)]
    run = subprocess.run(
        [*pip, *options, requirement], capture_output=True, text=True, timeout=300, check=False
    )
    if run.returncode:
        because = f"pip cannot install {requirement} here: {run.stderr.strip()[-300:]}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(because)
    partial.rename(folder)


# -- programs ------------------------------------------------------------------------------------


@pytest.fixture
def run_program(environ, vault):
    """Runs a program to its end, while the secrets rotate; what it prints."""

    def run(name, *arguments, **options):
        process = subprocess.Popen(
            python(str(PROGRAMS / name), *arguments),
            env=environ(**options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            # To the end of its output: no child outlives it.
            with vault.rotating():
                output, errors = process.communicate(timeout=2 * PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{name} hangs: {last_words(process)}")
        sys.stderr.write(errors)  # pytest shows it where the test fails
        assert FAULT.search(output + errors) is None, errors
        assert process.returncode == 0, errors
        return json.loads(output)

    return run


# -- servers -------------------------------------------------------------------------------------


class Server:
    """A running server, and what its workers answered.

    Attributes:
        answers: The labels in each worker's answers, by its pid.
    """

    def __init__(self, process, port):
        self._process = process
        self._port = port
        self._lines = []
        self._killed = []
        self._pool = ThreadPoolExecutor(8 + 1)
        self._output = self._pool.submit(self._lines.extend, process.stdout)
        self.answers = defaultdict(list)

    def request(self, path="/"):
        """The status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        with contextlib.closing(connection):
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read()
            except OSError as fault:
                pytest.fail(f"{fault!r}\n{self.log()}")

    def ask(self, path="/"):
        """The labels that a worker answers with."""
        status, body = self.request(path)
        assert status == 200, f"{status} {body[:300]!r}\n{self.log()}"
        answer = json.loads(body)
        self.answers[answer["pid"]].append(answer["labels"])
        return answer["labels"]

    def submit(self, path="/"):
        return self._pool.submit(self.ask, path)

    def ask_until(self, condition, what):
        """Ask, eight at once, until the answers are as they should be."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"never happened: {what}\n{self.log()}"
            list(self._pool.map(self.ask, ["/"] * 8))

    def ask_until_seen(self, label, workers):
        """Ask until each of these workers has answered with this version of both dynamic secrets."""
        expected = [label, label]
        self.ask_until(
            lambda: all(
                expected in [labels[:2] for labels in self.answers[pid]] for pid in workers
            ),
            f"version {label} is seen by each of {workers}",
        )

    def new_workers(self, count):
        """The pids of so many workers that had not answered before."""
        known = set(self.answers)
        self.ask_until(
            lambda: len(self.answers) >= len(known) + count, f"{count} new workers answer"
        )
        return list(self.answers.keys() - known)

    def kill(self, worker):
        os.kill(worker, signal.SIGKILL)
        self._killed.append(f"Worker (pid:{worker}) was sent SIGKILL!")

    def stop(self):
        """The exit code after a SIGTERM."""
        self._process.terminate()
        return self.wait()

    def wait(self):
        """The exit code; no worker may outlive the server, and hold its output open."""
        try:
            self._output.result(PATIENCE)
            return self._process.wait(PATIENCE)
        except (TimeoutError, subprocess.TimeoutExpired):
            pytest.fail(f"it does not end\n{self.log()}")

    def log(self):
        return "".join(self._lines)

    def faults(self):
        """The lines of the log that tell of faults, but for gunicorn's on a worker that the test killed."""
        faults = [line for line in self.log().splitlines() if FAULT.search(line)]
        return [line for line in faults if not any(killed in line for killed in self._killed)]

    def close(self):
        kill_group(self._process)
        self._pool.shutdown()
        self._process.stdout.close()


@pytest.fixture
def serve(environ):
    """Starts a server on a port that the test listens on: a request waits until it is ready."""
    with contextlib.ExitStack() as stack:

        def start(command, warnings=(), **options):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
            arguments = [part.format(fd=listener.fileno()) for part in command]
            process = subprocess.Popen(
                python("-m", *arguments, warnings=warnings),
                env=environ(**options),
                pass_fds=[listener.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            server = Server(process, listener.getsockname()[1])
            stack.callback(server.close)
            return server

        yield start
