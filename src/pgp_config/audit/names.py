"""What an audit is told: the names of secrets, their classes, and which hosts are one's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

#: What a name ends with that is given a secret, whoever named it.
_SAYS_SECRET = re.compile(
    r"(^|_)(PASSWORD|PASSWD|PASSPHRASE|SECRET|SECRET_KEY|API_?KEY|PRIVATE_KEY|SIGNING_KEY|ENCRYPTION_KEY|ACCESS_KEY"
    r"|AUTH_KEY|TOKEN|MNEMONIC|SEED_PHRASE)$"
)

#: Words, in small letters, one of which is in every such name.
SAYS_SECRET_WORDS = (
    "passw",
    "passphrase",
    "secret",
    "api_key",
    "apikey",
    "private_key",
    "signing_key",
    "encryption_key",
    "access_key",
    "auth_key",
    "token",
    "mnemonic",
    "seed_phrase",
)

#: Of the library itself: its settings name secrets and hold none.
_OWN = "PGP_CONFIG_"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of secrets.

    Attributes:
        dynamic: Of those that are reloaded.
        static: Of those that are loaded at start-up.
        confidential: Of those, of both classes, that hold keys.
        hosts: Globs of hosts whose URLs are configuration, such as `*.run.app`.
        strict: Whether 64 hexadecimal digits are taken for a key unless they are given to the name of a digest; else
            only where they are given to a name that says key.
    """

    dynamic: frozenset[str]
    static: frozenset[str] = frozenset()
    confidential: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ("*.run.app",)
    strict: bool = False
    everything: frozenset[str] = field(init=False)
    attributes: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everything", self.dynamic | self.static)
        object.__setattr__(self, "attributes", {name.lower(): name for name in self.everything})

    def owns(self, host: str) -> bool:
        """Whether a host is one's own."""
        return any(fnmatchcase(host.lower(), glob) for glob in self.hosts)

    def joined(self, other: Names) -> Names:
        """These and others; what is dynamic in one and static in the other is dynamic: the stricter rules."""
        dynamic = self.dynamic | other.dynamic
        return Names(
            dynamic=dynamic,
            static=(self.static | other.static) - dynamic,
            confidential=self.confidential | other.confidential,
            hosts=self.hosts,
            strict=self.strict,
        )


def says_secret(name: str) -> bool:
    """Whether a name says that it is given a secret: `DB_PASSWORD`, `slack_token`."""
    upper = name.upper()
    return _SAYS_SECRET.search(upper) is not None and not upper.startswith(_OWN)
