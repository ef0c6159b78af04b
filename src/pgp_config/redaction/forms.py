"""In which forms a value may stand in a text: plain, and as the usual ways of writing it change it."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Shorter texts are not scrubbed: they occur by chance, and would tear log lines apart.
SHORTEST = 4

#: Bytes from which the hexadecimal and base64 forms are known: the latter have 7 characters then.
SHORTEST_ENCODED = 6

#: Characters from which one line of a value with several lines is known by itself.
SHORTEST_LINE = 16


def forms_of(text: str) -> set[str]:
    """Every form of a value that is looked for, itself among them; each of 4 characters or more."""
    found = set(_of_one(text))
    lines = text.splitlines()
    if len(lines) > 1:
        for line in map(str.strip, lines):
            # "-----BEGIN PRIVATE KEY-----" is no secret.
            if len(line) >= SHORTEST_LINE and not line.startswith("-----"):
                found.update(_of_one(line))
    return {form for form in found if len(form) >= SHORTEST}


def _of_one(text: str) -> Iterator[str]:
    data = _bytes_of(text)
    yield text
    yield data.decode(errors="replace")
    yield data.decode(errors="backslashreplace")
    yield text.strip()
    yield from _quoted(text, data)
    yield html.escape(text)
    yield html.escape(text, quote=False)
    yield from _percent(data)
    if len(data) >= SHORTEST_ENCODED:
        yield data.hex()
        yield data.hex().upper()
        yield from _base64(data)


def _bytes_of(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _quoted(text: str, data: bytes) -> Iterator[str]:
    """As Python and JSON quote it."""
    for shown in (repr, ascii):
        yield shown(text)[1:-1]
        # Beside a double quote in the same text single ones are escaped.
        yield shown(f"{text}'\"")[1:-4]
    yield repr(data)[2:-1]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]


def _percent(data: bytes) -> Iterator[str]:
    """As URLs and forms have it; clients differ in what they leave alone, and in the case of the digits."""
    for safe in ("", "/", " "):
        escaped = quote_from_bytes(data, safe).replace(" ", "+")
        yield escaped
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), escaped)


def _base64(data: bytes) -> Iterator[str]:
    """What does not depend on the neighbours, in each of the three places where it may begin.

    So it is found within `user:password` too, and with or without padding.
    """
    for before in range(3):
        bits = 8 * before
        begin, end = -(-bits // 6), (bits + 8 * len(data)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + data).decode()[begin:end]
