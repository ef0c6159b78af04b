"""Rules `hard-coded-…`: values that stand in the source."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pgp_services.ops.sources.program import assignments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgp_services.ops.sources.names import Names
    from pgp_services.ops.sources.program import Module, Program

_HEX = "hard-coded-hex-key"

#: What values look like, wherever they stand.
_SHAPES = {
    "hard-coded-private-key": re.compile(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(\s|\\n)*[A-Za-z0-9+/=]{16}"
    ),
    _HEX: re.compile(
        r"(?<![0-9a-fA-F])(?<!sha256:)(?!([0-9a-fA-F])\1{63})[0-9a-fA-F]{64}(?![0-9a-fA-F])"
    ),
    "hard-coded-bot-token": re.compile(r"(?<!\d)\d{6,12}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    "hard-coded-webhook": re.compile(
        r"https://hooks\.slack\.com/(services|workflows|triggers)/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9/]{16}"
    ),
    "hard-coded-url-key": re.compile(
        r"https?://\S*?(/v[23]/|\.quiknode\.pro/|[?&](api[-_]?)?(key|token)=)"
        r"(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20}",
        re.IGNORECASE,
    ),
    "hard-coded-api-key": re.compile(r"(?<![A-Z0-9-])([A-Z0-9]{7}-){3}[A-Z0-9]{7}(?![A-Z0-9-])"),
}

#: What a name says that is given 64 hexadecimal digits which are no key; and what it says of a key all the same.
_OF_DIGESTS = re.compile(r"sha_?256|hash|digest|checksum|fingerprint|etag", re.IGNORECASE)
_OF_KEYS = re.compile(r"key|secret|token|private|signing|passw", re.IGNORECASE)

_STORE = "Store it as a secret, and declare it in the container; it is known to all who can read the source: rotate it."


def shaped_values(module: Module) -> Iterator[tuple[ast.AST, str, str, str]]:
    """Texts that look like keys and tokens; the text is not shown."""
    digests = _digests(module)
    for node, text in module.texts():
        for rule, shape in _SHAPES.items():
            if shape.search(text) and not (rule == _HEX and id(node) in digests):
                yield node, rule, "a literal looks like a key", _STORE


def _digests(module: Module) -> set[int]:
    """Ids of the texts that are given to a name of a digest, and to none of a key.

    Without a name that says so, 64 digits are taken for a key: one that is missed costs more than an escape.
    """
    given: dict[int, list[str]] = {}
    for _, name, value, _ in _given(module):
        for node in ast.walk(value):
            given.setdefault(id(node), []).append(name)
    return {
        node
        for node, names in given.items()
        if any(map(_OF_DIGESTS.search, names)) and not any(map(_OF_KEYS.search, names))
    }


def named_values(
    program: Program, module: Module, names: Names
) -> Iterator[tuple[ast.AST, str, str, str]]:
    """Literals that are given to the name of a secret, and URLs of own hosts to a name that says URL."""
    for place, name, node, is_key in _given(module):
        value = _literal(program, module, node)
        if not value or value.upper() in names.everything:
            continue
        if name.upper() in names.confidential or (name in names.everything and not is_key):
            yield place, "hard-coded-value", f"a literal is given to {name}", _STORE
        elif name.upper().endswith("_URL") and names.owns(_host(value)):
            yield (
                place,
                "hard-coded-url",
                f"the URL of a service is given to {name}",
                "Take it from the service's secret: it changes with a blue-green switch.",
            )


def _given(module: Module) -> Iterator[tuple[ast.AST, str, ast.expr, bool]]:
    """The place, the name, the value, and whether the name is a key of a mapping."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.stmt):
            yield from _assigned(node)
        elif isinstance(node, ast.keyword) and node.arg:
            yield node, node.arg, node.value, False
        elif isinstance(node, ast.Dict):
            yield from _mapped(node)
        elif isinstance(node, ast.arguments):
            yield from _defaults(node)


def _assigned(node: ast.stmt) -> Iterator[tuple[ast.AST, str, ast.expr, bool]]:
    for name, value in assignments(node):
        yield node, name, value, False
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                yield node, target.attr, node.value, False


def _mapped(node: ast.Dict) -> Iterator[tuple[ast.AST, str, ast.expr, bool]]:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key, key.value, value, True


def _defaults(node: ast.arguments) -> Iterator[tuple[ast.AST, str, ast.expr, bool]]:
    positional = [*node.posonlyargs, *node.args]
    given = len(node.defaults)
    for argument, default in zip(
        positional[len(positional) - given :], node.defaults, strict=True
    ):
        yield default, argument.arg, default, False
    for argument, kept in zip(node.kwonlyargs, node.kw_defaults, strict=True):
        if kept is not None:
            yield kept, argument.arg, kept, False


def _literal(program: Program, module: Module, node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | bytes):
        return None if isinstance(node.value, bool) else str(node.value)
    return program.text(node, module)


def _host(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme == "https" else ""
