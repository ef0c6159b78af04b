"""How long a token is good, and when it is to be renewed."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any

from pgp_config_vault import faults
from pgp_config_vault.faults import VaultFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config_vault.sending import Answer

#: The share of a token's life after which it is renewed, and the seconds between two tries at least.
RENEW_AFTER, LEAST_PAUSE = 2 / 3, 1.0


class Lease:
    """A token, never shown, and its times.

    Args:
        token: What is sent along.
        life: Seconds that it is good from now; 0 for one that does not expire.
        renewable: Whether Vault lets it live longer.
        full_life: Seconds that it had when it was new.

    Attributes:
        token: As given.
        renewable: As given.
    """

    def __init__(
        self, token: str, life: float, *, renewable: bool, full_life: float | None = None
    ) -> None:
        now = time.monotonic()
        self.token = token
        self.renewable = renewable
        self._full_life = life if full_life is None else full_life
        self._life = life
        self._ends = now + life if life > 0 else inf
        self._due = now + max(life * RENEW_AFTER, LEAST_PAUSE) if life > 0 else inf

    @property
    def is_due(self) -> bool:
        """Whether it should be renewed, or another taken."""
        return time.monotonic() >= self._due

    @property
    def is_over(self) -> bool:
        """Whether it is not good any more."""
        return time.monotonic() >= self._ends

    def renewed(self, life: float, *, renewable: bool) -> Lease | None:
        """It with another life; None where that is so short that its longest life is about to end."""
        if life * 2 < self._full_life:
            return None
        return Lease(self.token, life, renewable=renewable, full_life=self._full_life)

    def put_off(self) -> None:
        """Go on with it for now: nothing better could be had."""
        now = time.monotonic()
        self._due = now + max((self._ends - now) / 4, LEAST_PAUSE)


def lease_of(answer: Answer) -> Lease:
    """The token that an answer to a login brings.

    Raises:
        VaultFault: If there is none in it.
    """
    found = auth_of(answer)
    try:
        return Lease(
            str(found["client_token"]), found["lease_duration"], renewable=found["renewable"]
        )
    except (LookupError, TypeError):
        pass
    raise VaultFault(faults.ODD, "the answer to the sign-in has no token")


def auth_of(answer: Answer) -> Mapping[str, Any]:
    """What an answer tells of a token; nothing if it does not."""
    found = answer.document.get("auth")
    return found if isinstance(found, dict) else {}
