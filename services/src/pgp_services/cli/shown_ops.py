"""How an operation is shown: a line a step, in a dry run a shell script, or one JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgp_config.audit import Finding
    from pgp_services.ops.failures import OpsError
    from pgp_services.ops.journal import Entry, Journal

#: How lines begin, and their colour.
_MARKS = {
    "done": ("✓ ", "green"),
    "passed": ("✓ ", "green"),
    "already": ("= ", "dim"),
    "note": ("! ", "yellow"),
    "todo": ("! ", "yellow"),
    "failed": ("✗ ", "red"),
}


class ShownOps:
    """What an operation shows; never a value.

    Args:
        action: Which operation, such as `deploy base`.
        as_json: Whether one JSON document is all there is to be on standard output.
        dry_run: Whether commands are shown, and not only what they do.
    """

    def __init__(self, action: str, *, as_json: bool, dry_run: bool) -> None:
        self._as_json, self._dry_run, self._action = as_json, dry_run, action
        # Made now: a test, or a program, may have put another stream in place.
        self._out = Console(highlight=False, soft_wrap=True, markup=False)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

    def tell(self, entry: Entry) -> None:
        """Show a line."""
        if self._as_json:
            return
        if self._dry_run:
            self._script(entry)
        elif entry.kind in _MARKS:
            mark, style = _MARKS[entry.kind]
            self._out.print(Text.assemble((mark, style), printable(entry.text)))

    def _script(self, entry: Entry) -> None:
        """A dry run is a shell script: what is no command is a comment."""
        what = {"look": "Looks", "would": printable(entry.text)}
        text = what.get(entry.kind, f"{entry.kind}: {printable(entry.text)}")
        self._out.print(f"# {text}", style="dim")
        if entry.command is not None:
            self._out.print(printable(entry.command))

    def end(
        self,
        journal: Journal,
        code: int,
        *,
        findings: Sequence[Finding] = (),
        error: OpsError | None = None,
        summary: str = "",
    ) -> None:
        """Show how it ended: the findings, the failure with how to go on, or a summary."""
        if self._as_json:
            self._document(journal, code, findings, error, summary)
            return
        for finding in findings:
            self._errors.print(Text(printable(str(finding)), style="red"))
        if error is not None:
            self._errors.print(Text(printable(f"{error.happened}."), style="red"))
            self._errors.print(printable(error.remedy))
            self._errors.print(
                f"Done before: {journal.count('done')}; there already: {journal.count('already')}. "
                "Run again: it goes on from here."
            )
        elif summary:
            self._out.print(f"# {summary}" if self._dry_run else summary)

    def _document(
        self,
        journal: Journal,
        code: int,
        findings: Sequence[Finding],
        error: OpsError | None,
        summary: str,
    ) -> None:
        document = {
            "action": self._action,
            "summary": "" if findings or error else summary,
            "dry_run": self._dry_run,
            "exit_code": code,
            "entries": [asdict(entry) for entry in journal.entries],
            "findings": [asdict(finding) for finding in findings],
            "error": None if error is None else {"text": error.happened, "remedy": error.remedy},
        }
        self._out.print(json.dumps(document, indent=2))


def printable(text: str) -> str:
    """Text of which no terminal takes orders: names in a project may be anybody's."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
