"""What an operation did, found done, would do and noticed, line by line; never a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_services.ops.gcloud import Command

#: `look`: it asks and changes nothing. `would`: a dry run. `already`: there was nothing to do.
Kind: TypeAlias = Literal["look", "would", "done", "already", "note", "todo", "passed", "failed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        kind: What sort of thing is told.
        text: What.
        command: The command that it is about, as a shell takes it.
    """

    kind: Kind
    text: str
    command: str | None = None


class Journal:
    """Keeps the lines, and passes each on as it comes.

    Args:
        tell: Told of each line.
    """

    def __init__(self, tell: Callable[[Entry], None] = lambda _: None) -> None:
        self.entries: list[Entry] = []
        self._tell = tell

    def write(self, kind: Kind, text: str, command: Command | None = None) -> None:
        """Add a line."""
        entry = Entry(kind, text, None if command is None else command.shown())
        self.entries.append(entry)
        self._tell(entry)

    def count(self, kind: Kind) -> int:
        """How many lines there are of a kind."""
        return sum(entry.kind == kind for entry in self.entries)

    def texts(self, kind: Kind) -> list[str]:
        """The lines of a kind."""
        return [entry.text for entry in self.entries if entry.kind == kind]
