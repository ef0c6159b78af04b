"""How an operation ends before its end.

OpsError            it failed; what was done stays done
└── RefusedError    a gate is closed, or what was verified is not as it has to be
"""

from __future__ import annotations


class OpsError(Exception):
    """An operation failed.

    Args:
        happened: What happened; without a trace of a secret.
        remedy: What to do.
    """

    def __init__(self, happened: str, *, remedy: str) -> None:
        super().__init__(happened, remedy)
        self.happened = happened
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.happened}. {self.remedy}"


class RefusedError(OpsError):
    """A gate is closed, or a verification has findings."""
