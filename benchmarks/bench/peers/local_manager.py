"""A Secret Manager on this machine, in a process of its own, with one secret in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.peers.ours import VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT, NAME = "local", "DYNAMIC_VALUE"


class Addresses(NamedTuple):
    """Where it listens.

    Attributes:
        grpc: HOST:PORT.
        rest: HOST:PORT.
    """

    grpc: str
    rest: str


@contextmanager
def running() -> Iterator[Addresses]:
    """`pgp-config emulator`, until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder, "seed.json")
        seed.write_text(json.dumps({NAME: VALUE}), encoding="utf-8")
        command = [sys.executable, "-c", "from pgp_config.cli import main; main()", "emulator"]
        with subprocess.Popen(  # noqa: S603  our own program
            [*command, "--seed", str(seed), "--project", PROJECT],
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                yield addresses_in(_first_lines(server))
            finally:
                server.terminate()


def _first_lines(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None  # noqa: S101  it is a pipe
    return server.stdout.readline() + server.stdout.readline()


def addresses_in(printed: str) -> Addresses:
    """The addresses in the first two lines that the command prints.

    Raises:
        RuntimeError: If they are not there: it did not start.
    """
    found = re.search(
        r"listening on (?P<grpc>\S+:\d+)\s+REST at https?://(?P<rest>[^/\s]+)", printed
    )
    if found is None:
        raise RuntimeError(f"the local Secret Manager did not start; it printed {printed!r}")
    return Addresses(**found.groupdict())
