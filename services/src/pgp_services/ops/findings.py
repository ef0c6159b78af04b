"""What a verification or an audit found: where, which rule, what it means, what to do; never a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not as it has to be.

    Attributes:
        where: A secret, a service, or a file and a line.
        rule: Which rule it breaks.
        text: What was found.
        remedy: What to do.
    """

    where: str
    rule: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.text}. {self.remedy}"
