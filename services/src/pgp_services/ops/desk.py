"""Where an operation stands: it looks, it changes what differs, and in a dry run it only says so."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pgp_services.ops.failures import OpsError
from pgp_services.ops.gcloud import Command, Json, Ran

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgp_services.ops.gcloud import Runner
    from pgp_services.ops.journal import Journal
    from pgp_services.ops.values import Values

#: Looks at a time: each is a process of some hundred MiB.
_LOOKS = 4

#: Characters of gcloud's messages that are shown: its last words say why.
_LAST_WORDS = 600


class Desk:
    """Runs an operation's commands.

    Args:
        values: The operator's file.
        runner: Runs commands.
        journal: Told of what is done.
        dry_run: Whether changes are only told.
        offline: Whether looks are not made either, and find nothing: the commands for an empty project.
    """

    def __init__(
        self,
        values: Values,
        runner: Runner,
        journal: Journal,
        *,
        dry_run: bool = False,
        offline: bool = False,
    ) -> None:
        self.values = values
        self.journal = journal
        self.dry_run = dry_run or offline
        self.offline = offline
        self._runner = runner

    def look(self, *words: str, empty: Json = ()) -> Json:
        """What a command that changes nothing writes as JSON.

        Args:
            words: What follows `gcloud`; format and project are added.
            empty: What is found where nothing is asked.

        Raises:
            OpsError: If it fails.
        """
        command = self._announced(words)
        return empty if self.offline else _parsed(command, self._run(command))

    def look_all(self, commands: Iterable[tuple[str, ...]]) -> list[Json]:
        """As `look`, several at a time; the answers in their order."""
        announced = [self._announced(words) for words in commands]
        if self.offline:
            return [() for _ in announced]
        with ThreadPoolExecutor(_LOOKS) as threads:
            return list(threads.map(lambda each: _parsed(each, self._run(each)), announced))

    def _announced(self, words: tuple[str, ...]) -> Command:
        command = self._command((*words, "--format=json"))
        self.journal.write("look", " ".join(words[:3]), command)
        return command

    def ask(self, *words: str, confidential: bool = False) -> Ran:
        """How a command ends that changes nothing and may fail."""
        command = self._command(words, confidential=confidential)
        self.journal.write("look", " ".join(words[:3]), command)
        return Ran(0, "", "") if self.offline else self._runner(command)

    def tell(self, what: str, *words: str) -> None:
        """Tell of a command that would run, and do nothing."""
        self.journal.write("would", what, self._command(words))

    def change(
        self, what: str, *words: str, given: str | None = None, confidential: bool = False
    ) -> str:
        """Run a command that changes something; tell it in a dry run.

        Args:
            what: What it does, for people.
            words: What follows `gcloud`; the project is added.
            given: What it reads.
            confidential: Whether what it reads or writes is a value.

        Returns:
            What it wrote; nothing in a dry run.

        Raises:
            OpsError: If it fails.
        """
        command = self._command(words, given, confidential=confidential)
        if self.dry_run:
            self.journal.write("would", what, command)
            return ""
        ran = self._run(command)
        self.journal.write("done", what, command)
        return ran.out

    def _command(
        self, words: tuple[str, ...], given: str | None = None, *, confidential: bool = False
    ) -> Command:
        return Command((*words, f"--project={self.values.project}"), given, confidential)

    def _run(self, command: Command) -> Ran:
        ran = self._runner(command)
        if ran.code != 0:
            raise failure_of(command, ran)
        return ran


def failure_of(command: Command, ran: Ran) -> OpsError:
    """What a command's failure is told as: its last words, where they cannot hold a value."""
    said = "" if command.confidential else f": {ran.err.strip()[-_LAST_WORDS:]}"
    return OpsError(
        f"{Command(command.words).shown()} ended with {ran.code}{said}",
        remedy="Mend it and run again: what is done already is left alone.",
    )


def _parsed(command: Command, ran: Ran) -> Json:
    try:
        return json.loads(ran.out or "null") or ()
    except ValueError:
        raise OpsError(
            f"{command.shown()} wrote no JSON", remedy="Run it by hand: is gcloud up to date?"
        ) from None
