"""Free ports, and what the examples of docs/ start."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def free_ports(count):
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Terminals:
    """Runs what a reader runs: in the foreground to its end, or in a terminal of its own."""

    def __init__(self, folder):
        self.folder = folder
        programs = Path(sys.executable).parent
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PGP_CONFIG", "COV"))},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGP_CONFIG_SETTLE": "0",
            "HOME": str(folder),  # gunicorn has its control socket there
            "NO_PROXY": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
        }
        self._open = []

    def run(self, script):
        """What it wrote; both streams."""
        ran = subprocess.run(
            [shutil.which("bash"), "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        assert ran.returncode == 0, f"{script}\n{ran.stdout}"
        return ran.stdout

    def open(self, script, until):
        """Start it, and wait for a text in its output."""
        terminal = Terminal(script, self.folder, self.environ)
        self._open.append(terminal)
        terminal.wait_for(until)
        return terminal

    def close(self):
        for terminal in reversed(self._open):
            terminal.interrupt()


class Terminal:
    """A program that goes on."""

    def __init__(self, script, folder, environ):
        self._process = subprocess.Popen(
            [shutil.which("bash"), "-euc", script],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines = []
        self._turn = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            with self._turn:
                self._lines.append(line)
                self._turn.notify_all()
        with self._turn:
            self._lines.append("(ended)")
            self._turn.notify_all()

    @property
    def said(self):
        return "".join(self._lines)

    def wait_for(self, text):
        with self._turn:
            self._turn.wait_for(lambda: text in self.said or "(ended)" in self.said, 90)
        assert text in self.said, self.said

    def interrupt(self):
        """Ctrl-C."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(60)
        self._reader.join(60)
        self._process.stdout.close()


@pytest.fixture
def terminals(tmp_path):
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()
