"""What a check found, and what was not checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]

#: From what has to be mended to what is good to know.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; never with a value.

    Attributes:
        code: What sort of thing it is; docs/command.md lists them.
        severity: "error" (it does not work), "warning" (it works, and should not stay so) or "note".
        secret: The secret's name; None where it concerns no single one.
        what: What was found.
        remedy: What to do.
    """

    code: str
    severity: Severity
    secret: str | None
    what: str
    remedy: str

    @property
    def order(self) -> tuple[int, str, str, str]:
        """The worst first, then by code and name."""
        return SEVERITIES.index(self.severity), self.code, self.secret or "", self.what


@dataclass(frozen=True, slots=True)
class Examination:
    """A check, and whether it was made.

    Attributes:
        check: Such as "state".
        made: Whether it was made of all secrets.
        text: What was looked at; or why not.
    """

    check: str
    made: bool
    text: str
