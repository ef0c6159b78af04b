"""Comments in a source by which a finding is let pass: `# pgp-config: allow[RULE] REASON`."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass, field

#: What a source has to hold for a comment to be looked for.
_MARK = "pgp-config:"

_COMMENT = re.compile(r"#\s*pgp-config:\s*allow\b(\[(?P<rules>[^\]]*)\])?:?(?P<reason>.*)")


@dataclass(eq=False)
class Allowance:
    """A comment that lets findings on its line pass.

    Attributes:
        line: Where it stands, from 1.
        rules: The rules that it names; none for all.
        reason: What it gives; without one it lets nothing pass.
        used: Whether there was such a finding.
    """

    line: int
    rules: frozenset[str]
    reason: str
    used: bool = field(default=False)

    def covers(self, rule: str) -> bool:
        """Whether it is about a rule."""
        return not self.rules or rule in self.rules


def allowances_in(text: str) -> list[Allowance]:
    """Those of a source that can be parsed; what only looks like one, in a string, is none."""
    if _MARK not in text:
        return []
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = (token for token in tokens if token.type == tokenize.COMMENT)
    matches = ((token.start[0], _COMMENT.match(token.string)) for token in comments)
    return [
        Allowance(line, _rules(match["rules"] or ""), match["reason"].strip())
        for line, match in matches
        if match is not None
    ]


def _rules(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())
