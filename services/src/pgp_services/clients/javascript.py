"""JSON as JavaScript reads and writes it: what was signed over `JSON.stringify(…)` is checked over the same text.

Every number is a double there, written with the fewest digits that give it back (ECMA-262,
Number::toString), not as Python writes it: 1.0 is 1, 1e-7 is 1e-7 and 0.0000012 is 0.0000012. Text is
escaped no more than it must be, and nothing but UTF-8.
"""

from __future__ import annotations

import json
from decimal import Decimal
from math import isinf
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

#: JSON that was read; a number that has a point or an exponent in JavaScript's text is a `Decimal`.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | Decimal | bool | None"

#: Digits before the point from which on JavaScript writes an exponent, and zeros after it.
_LARGEST, _SMALLEST = 21, -6


def parse(text: str) -> Json:
    """Read JSON as JavaScript does: numbers are what is left of them in a double.

    Raises:
        ValueError: If it is no JSON, or has a number that no double holds.
        RecursionError: If it is nested too deeply.
    """
    content: Json = json.loads(
        text, parse_float=_number, parse_int=_number, parse_constant=_no_constant
    )
    return content


def stringify(content: Json, entries: Callable[[dict[str, Json]], list[str]] = list) -> bytes:
    """What `JSON.stringify` makes of it, in UTF-8.

    Args:
        content: What is written.
        entries: The keys of an object, in the order in which they are written.
    """
    return _text(content, entries).encode("utf-8", "backslashreplace")


def in_order(content: dict[str, Json]) -> list[str]:
    """The keys as an object has them whose entries were set in `sort()`'s order.

    JavaScript compares by UTF-16 units, and has keys that are array indices first, by their number.
    """
    indices = sorted((key for key in content if _is_index(key)), key=int)
    others = (key for key in content if not _is_index(key))
    return indices + sorted(others, key=lambda key: key.encode("utf-16-be", "surrogatepass"))


def as_number(value: float) -> str:
    """What JavaScript writes for a finite double."""
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    return ("-" if sign else "") + _placed(text.rstrip("0"), point)


def _placed(digits: str, point: int) -> str:
    """Digits with the point after so many of them (fewer than 0: zeros before them)."""
    if len(digits) <= point <= _LARGEST:
        return digits.ljust(point, "0")
    if 0 < point <= _LARGEST:
        return f"{digits[:point]}.{digits[point:]}"
    if _SMALLEST < point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"


def _text(content: Json, entries: Callable[[dict[str, Json]], list[str]]) -> str:
    if isinstance(content, dict):
        pairs = (
            f"{_text(key, entries)}:{_text(content[key], entries)}" for key in entries(content)
        )
        return f"{{{','.join(pairs)}}}"
    if isinstance(content, list):
        return f"[{','.join(_text(item, entries) for item in content)}]"
    if isinstance(content, int | Decimal) and not isinstance(content, bool):
        return as_number(float(content))
    return json.dumps(content, ensure_ascii=False)


def _number(text: str) -> Decimal | int:
    value = float(text)
    if isinf(value):
        raise ValueError("No double holds it.")
    written = as_number(value)
    return int(written) if written.lstrip("-").isdecimal() else Decimal(written)


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdecimal() and str(int(key[:11])) == key and int(key) < 2**32 - 1


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON.")
