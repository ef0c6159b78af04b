"""How every command shows what it has to say: lines and tables for people, or one JSON document; and how it ends."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgp_config.errors import PgpConfigError

#: How a command ends; docs/command.md says what each means.
DONE, FAILED, MISUSED, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 130

#: Columns where there is no terminal: what a program reads is not broken into lines.
_UNBOUNDED = 4096

#: From how many columns on a table has room for lists.
_WIDE = 120


class Output:
    """What a command shows; never a value.

    Args:
        as_json: Whether one JSON document is all there is to be on standard output.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        # Made now: a test, or a program, may have put another stream in place.
        self._out = Console(highlight=False, width=_width())
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def is_wide(self) -> bool:
        """Whether a table has room for lists of names."""
        return self._out.width >= _WIDE

    def line(self, text: str = "", *, mark: str = "", style: str = "") -> None:
        """Show a line for people, however long; where JSON is asked for, nothing.

        Args:
            text: What it says; a terminal takes no orders from it.
            mark: What stands before it, in the style.
            style: Of the mark, or of the text where there is no mark; as rich has them.
        """
        if not self.as_json:
            said = Text.assemble((mark, style), (printable(text), "" if mark else style))
            self._out.print(said, soft_wrap=True)

    def paragraph(self, text: str, *, mark: str = "  ", style: str = "") -> None:
        """As `line`, broken between words at the width of the terminal, and indented below the mark."""
        filled = textwrap.fill(
            text,
            self._out.width,
            initial_indent=" " * len(mark),
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.line(filled[len(mark) :], mark=mark, style=style)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> None:
        """Show a table for people; the first column is not broken.

        Args:
            headings: Of the columns.
            rows: Each cell is a text with its style.
        """
        if self.as_json:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(heading, no_wrap=number < len(headings) - 1, overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(text), style) for text, style in row))
        with self._out.capture() as captured:
            self._out.print(table)
        # rich fills the last column up with blanks.
        self._out.file.write(re.sub(r" +$", "", captured.get(), flags=re.MULTILINE))

    def end(self, document: Mapping[str, Any], code: int) -> int:
        """Show the document where JSON is asked for.

        Returns:
            The exit code, which the document holds too.
        """
        if self.as_json:
            text = self.as_text({**document, "exit_code": code})
            self._out.print(text, markup=False, soft_wrap=True, end="")
        return code

    @staticmethod
    def as_text(document: Mapping[str, Any]) -> str:
        """A document as it is written."""
        return json.dumps(document, indent=2) + "\n"

    def error(self, text: str, *, style: str = "red") -> None:
        """Say on standard error what went wrong."""
        self._errors.print(Text(printable(text), style=style))

    def fail(self, document: Mapping[str, Any], error: PgpConfigError) -> int:
        """Show why a command failed.

        Returns:
            The exit code.
        """
        self.error(str(error))
        return self.end({**document, "error": facts_of(error)}, FAILED)


def facts_of(error: PgpConfigError) -> dict[str, str]:
    """An error in a document."""
    return {"type": type(error).__name__, "text": str(error)}


def printable(text: str) -> str:
    """Text of which no terminal takes orders: names in a store may be anybody's."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def age_of(seconds: float) -> str:
    """An age as people say it, such as "5 h".

    Args:
        seconds: Less than 0 where two clocks differ.
    """
    for unit, size, least in (
        ("d", 86400.0, 2 * 86400.0),
        ("h", 3600.0, 3600.0),
        ("min", 60.0, 60.0),
    ):
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def _width() -> int | None:
    """None for that of the terminal, or of COLUMNS."""
    is_bound = "COLUMNS" in os.environ or (sys.stdout is not None and sys.stdout.isatty())
    return None if is_bound else _UNBOUNDED
