"""Where a rotation stands, kept with the secret: an annotation of version numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pgp_config.rotation.errors import RotationStopped

#: The annotation's name.
ANNOTATION = "pgp-config-rotation"

FORWARD, BACK = "rotate", "rollback"


@dataclass(frozen=True, slots=True)
class Mark:
    """A rotation, from before its first change.

    Attributes:
        action: "rotate" or "rollback".
        old: The version that is to be replaced; None for the first one of a secret.
        after: The newest version when it began: what is newer was added since.
        new: The version that it added; None as long as that is not known.
        copy_of: The version whose value a rollback adds again.
        reopened: Whether the rollback enabled that version, and will disable it again.
        done: Whether nothing is left to do.
        others: What is replaced besides `old`: versions that processes reported in use, or that `latest` named,
            in order.
    """

    action: str
    old: int | None
    after: int
    new: int | None = None
    copy_of: int | None = None
    reopened: bool = False
    done: bool = False
    others: tuple[int, ...] = ()

    @property
    def replaced(self) -> list[int]:
        """All that is replaced, in order."""
        return sorted({*self.others} if self.old is None else {self.old, *self.others})

    def to_json(self) -> str:
        """The annotation's text; a release that knows of no others understands it where there are none."""
        facts = asdict(self)
        if not self.others:
            del facts["others"]
        return json.dumps(facts, separators=(",", ":"))


def mark_of(text: str | None) -> Mark | None:
    """The mark in an annotation; None where there is none.

    Raises:
        RotationStopped: If it is another's.
    """
    if text is None:
        return None
    try:
        known = json.loads(text)
        needed = {name: known[name] for name in Mark.__dataclass_fields__ if name != "others"}
        return Mark(**needed, others=tuple(known.get("others", ())))
    except (ValueError, LookupError, TypeError):
        pass
    raise RotationStopped(
        f"its annotation {ANNOTATION} is not understood",
        remedy="A later release may have written it: use that one, or forget it with --forget.",
    )
