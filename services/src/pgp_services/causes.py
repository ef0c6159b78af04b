"""What tasks are named after: a hash of what caused them, so that a repeat is dropped by Cloud Tasks."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgp_services.serving.routes import Call
    from pgp_services.tokens import Claims

#: The header with the name of the task that a call is a delivery of.
TASK_NAME = "x-cloudtasks-taskname"


def digest(what: str, *parts: str | int) -> str:
    """A SHA-256, in hexadecimal digits, of what identifies a cause.

    Args:
        what: Of what sort the cause is: two sorts never have the same digest.
        parts: What tells causes of this sort apart.
    """
    return hashlib.sha256(json.dumps([what, *parts]).encode()).hexdigest()


def digest_of(claims: Claims, call: Call | None = None) -> str:
    """The digest of a token that says nothing that identifies its cause by itself.

    Two payments of one payer may have the same claims in the same second, and so the same token; they come as two
    tasks, though, each named after its cause. So the name of the task is what counts, and not what it says: the same
    cause comes with another time or another estimate when a queue was replaced, whose names are its own.

    Args:
        claims: The token's claims; they count where no task brought them.
        call: The call that brought it, if Cloud Tasks did: nobody else calls there, and the header is its own.
    """
    task = "" if call is None else call.headers.get(TASK_NAME, "")
    if task:
        return digest(claims.kind, "task", task)
    return digest(claims.kind, json.dumps(claims.model_dump(mode="json"), sort_keys=True))
