"""One command of Google's CLI: its words, what it is given, how it is shown, and running it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from pgp_services.ops.failures import OpsError

#: What a program wrote as JSON: Google documents it, and nothing here checks all of it.
Json: TypeAlias = Any

#: Seconds that a command may take; the slowest, a deployment, waits for its start-up probe.
TIMEOUT = 900.0

#: Every byte survives: a value is text for the most part, and need not be.
_BYTES = ("utf-8", "surrogateescape")

#: Ends what is given to a command, where it is shown.
_END = "END_OF_INPUT"


@dataclass(frozen=True, slots=True)
class Command:
    """A command line of `gcloud`.

    Attributes:
        words: What follows `gcloud`.
        given: What it reads from standard input; None for nothing.
        confidential: Whether what it reads or writes is a secret's value, or a token.
    """

    words: tuple[str, ...]
    given: str | None = field(default=None, repr=False)
    confidential: bool = False

    def shown(self) -> str:
        """The command as a shell takes it; in place of a value, a name for it."""
        line = shlex.join(["gcloud", *self.words])
        if self.given is None:
            return line
        if self.confidential:
            return f'{line} <<< "$VALUE"'
        return f"{line} <<'{_END}'\n{self.given.rstrip()}\n{_END}"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended.

    Attributes:
        code: Its exit code.
        out: What it wrote; never shown where the command is confidential.
        err: Its messages.
    """

    code: int
    out: str = field(repr=False)
    err: str = field(repr=False)


class Runner(Protocol):
    """Runs commands; a test has one that needs no Google."""

    def __call__(self, command: Command) -> Ran:
        """Run it to its end."""
        ...


def run_gcloud(command: Command) -> Ran:
    """Run a command with the `gcloud` that is on the PATH.

    Raises:
        OpsError: If there is none, or it does not end in time.
    """
    program = shutil.which("gcloud")
    if program is None:
        raise OpsError(
            "the Google Cloud CLI (gcloud) is not on the PATH",
            remedy="Install it: https://cloud.google.com/sdk/docs/install",
        )
    try:
        ended = subprocess.run(  # noqa: S603  a list of words, and no shell
            [program, *command.words, "--quiet"],
            input=(command.given or "").encode(*_BYTES),
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # None of what it wrote goes along: it may be a value.
        ended = None
    if ended is None:
        raise OpsError(
            f"gcloud {' '.join(command.words[:3])} did not end within {TIMEOUT:.0f} s",
            remedy="Look at it in the console, then run again: it goes on.",
        )
    return Ran(
        ended.returncode, ended.stdout.decode(*_BYTES), ended.stderr.decode("utf-8", "replace")
    )
