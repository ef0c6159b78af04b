"""What an audit found: where, which rule, which secret, what it means, what to do; never a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not as it has to be.

    Attributes:
        where: A file, a secret or a service.
        rule: Which rule it breaks.
        text: What was found, as a clause without a closing full stop.
        remedy: What to do, as a sentence.
        line: In that file, from 1; 0 where it is no line's.
        secret: The secret's name, where one is concerned.
        reason: Why it is let pass, if a comment in the source says so.
    """

    where: str
    rule: str
    text: str
    remedy: str
    line: int = 0
    secret: str | None = None
    reason: str | None = None

    @property
    def place(self) -> str:
        """The file and the line as editors take them, or `where` alone."""
        return f"{self.where}:{self.line}" if self.line else self.where

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}: {self.text}. {self.remedy}"
