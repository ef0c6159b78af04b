"""What tasks are named after: a hash of what caused them, so that a repeat is dropped by Cloud Tasks."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgp_services.tokens import Claims


def digest(what: str, *parts: str | int) -> str:
    """A SHA-256, in hexadecimal digits, of what identifies a cause.

    Args:
        what: Of what sort the cause is: two sorts never have the same digest.
        parts: What tells causes of this sort apart.
    """
    return hashlib.sha256(json.dumps([what, *parts]).encode()).hexdigest()


def digest_of(claims: Claims) -> str:
    """The digest of a token's claims, where nothing in them identifies their cause by itself."""
    return digest(claims.kind, json.dumps(claims.model_dump(mode="json"), sort_keys=True))
