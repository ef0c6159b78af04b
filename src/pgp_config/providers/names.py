"""Which names a secret can have: what no source could hold is refused where it is declared.

The rule is the union of the sources' own: Secret Manager's letters, digits, `-` and `_`; a variable's; a file's; a path
of Vault's and a name or an ARN of AWS's, both perhaps with `#KEY`. Each source refuses what itself cannot hold.
"""

from __future__ import annotations

import re

#: Characters of a name at most: AWS's names have the longest, and its ARNs are longer.
LONGEST, LONGEST_ARN = 512, 2048

#: A name that an error may show though it is none: a value given by mistake is longer, or has other characters.
_SHOWABLE = re.compile(r"[A-Za-z0-9_./-]{1,32}")


def fault_of(name: str) -> str | None:
    """Why no source could hold a secret of that name, as a clause; None if one could."""
    place, _, key = name.partition("#")
    if not place:
        return "has nothing before its '#'"
    longest = LONGEST_ARN if place.startswith("arn:") else LONGEST
    if len(place) > longest or len(key) > LONGEST:
        return f"has {len(name)} characters"
    if " " in place or not name.isprintable():
        return "has a blank, a line break or a control character in it"
    # AWS's names may begin with a slash.
    segments = place.removeprefix("/").split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        return "has an empty segment, '.' or '..' between its slashes"
    return None


def shown(name: str) -> str | None:
    """The name if an error may show it; None if it may be a value that was given by mistake."""
    return name if fault_of(name) is None or _SHOWABLE.fullmatch(name) else None
