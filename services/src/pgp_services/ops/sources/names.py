"""What an audit is told: the names of secrets, their classes, and which hosts are one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Names:
    """The names of secrets.

    Attributes:
        dynamic: Of those that are reloaded.
        static: Of those that are loaded at start-up.
        confidential: Of those, of both classes, that hold keys.
        hosts: Globs of hosts whose URLs are configuration, such as `*.run.app`.
    """

    dynamic: frozenset[str]
    static: frozenset[str] = frozenset()
    confidential: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ("*.run.app",)
    everything: frozenset[str] = field(init=False)
    attributes: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everything", self.dynamic | self.static)
        object.__setattr__(self, "attributes", {name.lower(): name for name in self.everything})

    def owns(self, host: str) -> bool:
        """Whether a host is one's own."""
        return any(fnmatchcase(host.lower(), glob) for glob in self.hosts)
