"""Requests' bodies: JSON of a bounded length, validated, and refused without a trace of what was sent."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from pgp_services.failures import BadRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable

M = TypeVar("M", bound=BaseModel)

#: Bytes of a request's body, at most; a token is far shorter.
MAX_BODY = 65536

#: A field's name as it may be repeated to the caller and in the log.
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)


def json_object(body: bytes) -> dict[str, object]:
    """A body's JSON object.

    Raises:
        BadRequest: If it is something else.
        TooLarge: If it is longer than `MAX_BODY`.
    """
    if len(body) > MAX_BODY:
        raise TooLarge("the body is too long")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise BadRequest("the body is not a JSON object")
    return content


def token_in(body: bytes) -> str:
    """The token in a request's body.

    Raises:
        BadRequest: If the body is not a JSON object with a text `token`.
        TooLarge: If it is longer than `MAX_BODY`.
    """
    token = json_object(body).get("token")
    if not isinstance(token, str) or not token:
        raise BadRequest("the body has no token")
    return token


def model_in(model: type[M], body: bytes) -> M:
    """A request's body as a model.

    Args:
        model: A pydantic model.
        body: The body.

    Raises:
        BadRequest: If it is not of that model; the fields are named, what they held is not.
        TooLarge: If it is longer than `MAX_BODY`.
    """
    return validated(model, json_object(body))


def validated(model: type[M], content: object) -> M:
    """Content as a model.

    Raises:
        BadRequest: If it is not of that model; the fields are named, what they held is not.
    """
    try:
        return model.model_validate(content)
    except ValidationError as fault:
        found = fault.errors(include_input=False, include_url=False, include_context=False)
    fields = sorted({_named(error["loc"]) for error in found})
    # Raised out here: the fault would be its context, and holds what was sent.
    raise BadRequest(f"the body has wrong fields: {', '.join(fields)}", fields=fields)


def _named(place: Iterable[int | str]) -> str:
    """A field's name; one that the caller made up could be anything."""
    parts = [str(part) for part in place]
    return ".".join(part if part.isdecimal() or _FIELD.fullmatch(part) else "?" for part in parts)
