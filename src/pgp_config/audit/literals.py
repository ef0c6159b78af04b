"""Rules `hard-coded-…`: values that stand in the source."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pgp_config.audit.names import says_secret
from pgp_config.audit.program import Hit, assignments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgp_config.audit.names import Names
    from pgp_config.audit.program import Module, Program

_HEX = "hard-coded-hex-key"

#: What values look like, wherever they stand.
_SHAPES = {
    "hard-coded-private-key": re.compile(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(\s|\\n)*[A-Za-z0-9+/=]{16}"
    ),
    _HEX: re.compile(
        r"(?<![0-9a-fA-F])(?<!sha256:)(?!(?P<digit>[0-9a-fA-F])(?P=digit){63})[0-9a-fA-F]{64}(?![0-9a-fA-F])"
    ),
    "hard-coded-bot-token": re.compile(r"(?<!\d)\d{6,12}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    "hard-coded-webhook": re.compile(
        r"https://hooks\.slack\.com/(services|workflows|triggers)/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9/]{16}"
    ),
    "hard-coded-url-key": re.compile(
        r"https?://\S{0,300}?(/v[23]/|\.quiknode\.pro/|[?&](api[-_]?)?(key|token)=)"
        r"(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20}",
        re.IGNORECASE,
    ),
    "hard-coded-token": re.compile(
        r"(?<![A-Za-z0-9])(AKIA[0-9A-Z]{16}(?<!EXAMPLE)|gh[oprsu]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60}"
        r"|glpat-[A-Za-z0-9_-]{20}|AIza[A-Za-z0-9_-]{35}|xox[abeprs]-[A-Za-z0-9-]{20}|[rs]k_live_[A-Za-z0-9]{20})"
    ),
    "hard-coded-api-key": re.compile(r"(?<![A-Z0-9-])([A-Z0-9]{7}-){3}[A-Z0-9]{7}(?![A-Z0-9-])"),
    "hard-coded-url-password": re.compile(
        r"\b[a-z][a-z0-9+.-]{1,30}://(?P<user>[^\s/?#@:\"']{0,100}):(?P<value>[^\s/?#@:\"']{6,200})@"
        r"(?!localhost\b|127\.|0\.0\.0\.0|\[::1\]|([a-z0-9-]+\.)*example\b)",
        re.IGNORECASE,
    ),
    "hard-coded-bearer": re.compile(
        r"\bBearer +(?=\S*\d)(?P<value>[A-Za-z0-9._~+/-]{20,}=*)", re.IGNORECASE
    ),
}

#: What a file has to hold, in small letters, for one of these to be in it: a search for them all takes as long as parsing.
SHAPE_WORDS = (
    "private key-----",
    "hooks.slack.com",
    *("/v2/", "/v3/", ".quiknode.pro/", "key=", "token="),
    "bearer ",
    *(
        "akia",
        "gho_",
        "ghp_",
        "ghr_",
        "ghs_",
        "ghu_",
        "github_pat_",
        "glpat-",
        "aiza",
        "xox",
        "k_live_",
    ),
)

#: The same for those that have no word.
SHAPE_PATTERNS = (
    re.compile(rb"[0-9a-f]{64}"),
    re.compile(rb"[0-9]{6,12}:[a-z0-9_-]{35}"),
    re.compile(rb"[a-z0-9]{7}-[a-z0-9]{7}-[a-z0-9]{7}-"),
    re.compile(rb"://[^\s/@:]{0,100}:[^\s/@:]{6,200}@"),
)

#: What a name says that is given 64 hexadecimal digits which are no key; and what it says of a key all the same.
_OF_DIGESTS = re.compile(r"sha_?256|hash|digest|checksum|fingerprint|etag", re.IGNORECASE)
_OF_KEYS = re.compile(r"key|secret|token|private|signing|passw", re.IGNORECASE)

_STORE = "Store it as a secret, and declare it in the container; it is known to all who can read the source: rotate it."


#: What a text is that stands for a value: a path, a reference, a thing to fill in.
_STANDS_FOR = re.compile(
    r"^[/.~]|://|^projects/|x{4}|\*{3}|change.?me|example|placeholder|dummy|your[-_]|test|fake|todo",
    re.IGNORECASE,
)

#: What stands for a password, or begins an expression that gives it: `{…}`, `<…>`, `$PASSWORD`, `%s`, `%(name)s`.
_TO_FILL_IN = re.compile(
    r"[{}<>$*()\[\]…]|\.{3}|%s|x{3}|^(my|the|some|db|user)?[-_]?(passw(or)?d|passphrase|secret|token)\d?$",
    re.IGNORECASE,
)

#: What generators make values of.
_ALPHABET = re.compile(r"[A-Za-z0-9+/=_.~:-]+")

#: Characters that a random value has at least, and bits of each of them.
_LENGTH, _BITS = 16, 3.0

#: Arguments that are given a password or a key, and characters that one has at least which a person has made up.
_ARGUMENTS = re.compile(r"(^|_)(password|passwd|passphrase|secret|token|api_?key)$", re.IGNORECASE)
_TYPED_LENGTH = 8

#: What is called with values that are none: those of a test, and reasons.
_HARMLESS = frozenset({"request_scope", "ReloadPolicy"})

#: Methods and functions that give a value to a name. Not `setenv` of pytest: its values are those of a test.
_PUTTING = frozenset({"putenv", "setdefault"})

#: An argument that gives version numbers by name.
_PINS = "pinned"

#: Words of a recovery phrase, at least (BIP 39); other texts with blanks are prose.
_PHRASE = 12


def shaped_values(module: Module, names: Names) -> Iterator[Hit]:
    """Texts that look like keys and tokens; the text is not shown."""
    given = _names_given(module)
    for node, text in module.texts():
        for rule, shape in _SHAPES.items():
            if _has_value(shape, text) and not (
                rule == _HEX and _is_digest(given.get(id(node), []), strict=names.strict)
            ):
                yield Hit(module, node, rule, "a literal looks like a key", _STORE)


def _has_value(shape: re.Pattern[str], text: str) -> bool:
    """Whether a text has something of that shape which stands for nothing else."""
    return any(map(_is_meant, shape.finditer(text)))


def _is_meant(found: re.Match[str]) -> bool:
    parts = found.groupdict()
    value = parts.get("value")
    if value is None:
        return True
    return value != parts.get("user") and not _is_placeholder(value)


def _is_placeholder(value: str) -> bool:
    return _STANDS_FOR.search(value) is not None or _TO_FILL_IN.search(value) is not None


def _names_given(module: Module) -> dict[int, list[str]]:
    """The names to which texts are given, by the texts' ids."""
    given: dict[int, list[str]] = {}
    for _, name, value, _ in _given(module):
        for node in ast.walk(value):
            given.setdefault(id(node), []).append(name)
    return given


def _is_digest(given: list[str], *, strict: bool) -> bool:
    """Whether 64 digits are no key by the names that they are given to.

    Args:
        given: Those names.
        strict: Whether without a name that says so they are taken for a key: one that is missed costs more than an escape.
    """
    if any(map(_OF_KEYS.search, given)):
        return False
    return not strict or any(map(_OF_DIGESTS.search, given))


def named_values(program: Program, module: Module, names: Names) -> Iterator[Hit]:
    """Literals that are given to the name of a secret, and URLs of own hosts to a name that says URL."""
    harmless = _harmless(module)
    for place, name, node, is_key in _given(module):
        value = None if id(node) in harmless else _literal(program, module, node)
        if not value or value.upper() in names.everything:
            continue
        if _is_declared(name, names, is_key=is_key) and not _is_label(name, value):
            text = f"a literal is given to {name}"
            secret = name if name in names.everything else name.upper()
            yield Hit(module, place, "hard-coded-value", text, _STORE, secret)
        elif says_secret(name) and _is_random(value):
            text = f"a literal that looks random is given to {name}"
            yield Hit(module, place, "hard-coded-secret", text, _STORE)
        elif isinstance(place, ast.keyword) and _ARGUMENTS.search(name) and _is_typed(value):
            text = f"a literal is given to the argument {name}"
            yield Hit(module, place, "hard-coded-password", text, _STORE)
        elif name.upper().endswith("_URL") and names.owns(_host(value)):
            yield Hit(
                module,
                place,
                "hard-coded-url",
                f"the URL of a service is given to {name}",
                "Take it from the service's secret: it changes with a blue-green switch.",
            )


def _harmless(module: Module) -> set[int]:
    """Ids of what stands in the arguments of what takes no values, or those of a test."""
    calls = (
        call
        for call in module.of(ast.Call)
        if (module.dotted(call.func) or "").rpartition(".")[2] in _HARMLESS
    )
    pins = (keyword for keyword in module.of(ast.keyword) if keyword.arg == _PINS)
    return {id(node) for each in (*calls, *pins) for node in ast.walk(each)}


def _is_declared(name: str, names: Names, *, is_key: bool) -> bool:
    return name.upper() in names.confidential or (name in names.everything and not is_key)


def _is_label(name: str, value: str) -> bool:
    """Whether a text only names the thing, as a header or an argument does, or is prose."""
    if any(c.isspace() for c in value):
        return len(value.split()) < _PHRASE or not value.replace(" ", "").islower()
    return name.upper() in re.sub(r"[^A-Z0-9]", "_", value.upper())


def _is_random(value: str) -> bool:
    """Whether a text looks made by a generator: letters and digits, long, of many characters."""
    if any(_has_value(shape, value) for shape in _SHAPES.values()):
        return False  # it is told by its shape already, or is a digest
    if len(value) < _LENGTH or _STANDS_FOR.search(value) or not _ALPHABET.fullmatch(value):
        return False
    if re.search(r"\d", value) is None or re.search(r"[A-Za-z]", value) is None:
        return False
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares) >= _BITS


def _is_typed(value: str) -> bool:
    """Whether a text looks like a password that a person has made up: letters and digits, and no words or names."""
    if len(value) < _TYPED_LENGTH or _is_placeholder(value) or any(map(str.isspace, value)):
        return False
    return re.search(r"\d", value) is not None and re.search(r"[A-Za-z]", value) is not None


def _given(module: Module) -> Iterator[tuple[ast.AST, str, ast.expr, bool]]:
    """The place, the name, the value, and whether the name is a key of a mapping."""
    for node in module.nodes:
        if isinstance(node, ast.stmt):
            yield from _assigned(node)
        elif isinstance(node, ast.keyword) and node.arg:
            yield node, node.arg, node.value, False
        elif isinstance(node, ast.Dict):
            yield from _mapped(node)
        elif isinstance(node, ast.Call):
            yield from _put(node)
        elif isinstance(node, ast.arguments):
            yield from _defaults(node)


def _assigned(node: ast.stmt) -> Iterator[tuple[ast.AST, str, ast.expr, bool]]:
    for name, value in assignments(node):
        yield node, name, value, False
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                yield node, target.attr, node.value, False
            elif isinstance(target, ast.Subscript) and (key := _text_of(target.slice)):
                yield node, key, node.value, True


def _put(node: ast.Call) -> Iterator[tuple[ast.AST, str, ast.expr, bool]]:
    """What `os.putenv` and `environ.setdefault` are given."""
    called = node.func
    if isinstance(called, ast.Attribute) and called.attr in _PUTTING:
        match node.args:
            case [name, value] if key := _text_of(name):
                yield node, key, value, True


def _text_of(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _mapped(node: ast.Dict) -> Iterator[tuple[ast.AST, str, ast.expr, bool]]:
    for key, value in zip(node.keys, node.values, strict=True):
        if key is not None and (name := _text_of(key)):
            yield key, name, value, True


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
