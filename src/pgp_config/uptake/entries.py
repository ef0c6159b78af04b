"""What a process says of a secret, as facts; never a value, a length or a hash."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """What one process says of one secret.

    Ages and no times, so that no two clocks are ever compared.

    Attributes:
        service: The name of the service.
        instance: The process: its host or revision, its process id, and a random part.
        secret: The secret's name in its source.
        kind: "static" or "dynamic".
        version: The version that new scopes get; None where there is none.
        in_use: Every version that the process still holds, in order.
        refused: The versions that failed their type in this process, in order.
        read_ago: Seconds since a scope last read it; None where it was not read, and for static ones.
        confirmed_ago: Seconds since the source last confirmed the version, or None.
        failing: Whether the source's last answer to this process was a failure.
        ttl: Seconds for which the entry holds, unless it is repeated.
    """

    service: str
    instance: str
    secret: str
    kind: str
    version: int | None
    in_use: tuple[int, ...]
    refused: tuple[int, ...]
    read_ago: float | None
    confirmed_ago: float | None
    failing: bool
    ttl: float

    def facts(self) -> tuple[object, ...]:
        """What is news when it changes: all but the ages."""
        return (self.secret, self.version, self.in_use, self.refused, self.failing)

    def to_json(self) -> str:
        """The entry as a store keeps it."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Entry:
        """An entry as a store kept it; what a later release has added is left out.

        Raises:
            ValueError: If it is none.
        """
        try:
            known: dict[str, Any] = json.loads(text)
            known = {name: known[name] for name in cls.__dataclass_fields__}
            known["in_use"] = tuple(known["in_use"])
            known["refused"] = tuple(known["refused"])
        except (LookupError, TypeError):
            raise ValueError("the uptake store holds an entry of another form") from None
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Heard:
    """An entry, and how old it is.

    Attributes:
        entry: What the process said.
        ago: Seconds since then, by the store's own clock.
    """

    entry: Entry
    ago: float
