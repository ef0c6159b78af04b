"""The bytes of a secret: its text or its binary, or one key of the JSON object that it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pgp_config import Payload, RejectedVersion

if TYPE_CHECKING:
    from pgp_config import PgpConfigError


class _Number(float):
    """A JSON number with a fraction that remembers how it was written: money has more digits than a float."""

    __slots__ = ("written",)

    written: str

    @classmethod
    def of(cls, written: str) -> _Number:
        number = cls(written)
        number.written = written
        return number


def outcome_of(data: bytes, key: str | None, version: int) -> Payload | PgpConfigError:
    """The payload, or why there is none; an error is returned, for a frame that raises it holds the value."""
    if key is None:
        return Payload(data, version)
    found = _object(data)
    if found is None:
        return RejectedVersion(
            f"version {version} is no JSON object, so it has no key {key!r}",
            remedy='Ask for the name without \'#\', or store an object: {"KEY": "…"}.',
        )
    if found.get(key) is None:
        return RejectedVersion(
            f"version {version} has {len(found)} keys, and none is {key!r} (or it is null)",
            remedy="Correct the key after the '#', or store it.",
        )
    return Payload(_bytes(found[key]), version)


def _object(data: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(data, parse_float=_Number.of)
    except (ValueError, RecursionError):  # that of the parser holds what it parsed
        return None
    return found if isinstance(found, dict) else None


def _bytes(value: object) -> bytes:
    """A text as it is, all else as JSON: `true`, `3.50`, a list."""
    if isinstance(value, _Number):
        return value.written.encode()
    # Sorted: the same version always has the same bytes.
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    )
    return text.encode(errors="surrogatepass")
