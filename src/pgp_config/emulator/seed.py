"""What a local Secret Manager holds at its start, from a JSON file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgp_config.emulator.rules import StatusError
from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from pathlib import Path

    from pgp_config.emulator.server import SecretManagerEmulator

_FORM = (
    "Write an object of names: a text, a list of texts (versions, oldest first), or "
    '{"value": …, "labels": {…}}.'
)


def seed(emulator: SecretManagerEmulator, file: Path) -> int:
    """Add the secrets of a file: all of them, or none.

    Args:
        emulator: Where they go.
        file: A JSON object: each secret's name with a text, a list of texts (its versions, the oldest
            first), or an object with `value` (one of those) and `labels`.

    Returns:
        How many secrets there were.

    Raises:
        DeclarationError: If the file cannot be read or is not of that form; without a value.
    """
    entries = [_entry(file, name, content) for name, content in _read(file).items()]
    for name, labels, values in entries:
        try:
            emulator.create(name, labels)
            for value in values:
                emulator.add(name, value)
        except StatusError as error:
            raise _fault(file, f"{name}: {error.message.rstrip('.')}") from None
    return len(entries)


def _read(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as failure:
        raise _fault(file, f"it cannot be read ({failure.strerror})") from None
    except ValueError:
        content = None  # not raised from here: the error's locals would show the file
    if not isinstance(content, dict):
        raise _fault(file, "it is not a JSON object")
    return content


def _entry(file: Path, name: str, content: Any) -> tuple[str, dict[str, str], list[str]]:  # noqa: ANN401  JSON
    labels: Any = {}
    if isinstance(content, dict):
        if set(content) - {"value", "labels"} or "value" not in content:
            raise _fault(file, f"{name} has other keys than value and labels")
        labels, content = content.get("labels", {}), content["value"]
    values = content if isinstance(content, list) else [content]
    if not all(isinstance(value, str) for value in values):
        raise _fault(file, f"{name} is neither a text nor a list of texts")
    if not isinstance(labels, dict) or not all(isinstance(x, str) for x in labels.values()):
        raise _fault(file, f"the labels of {name} are not texts by name")
    return name, labels, values


def _fault(file: Path, happened: str) -> DeclarationError:
    return DeclarationError(f"the seed file {file}: {happened}", remedy=_FORM)
