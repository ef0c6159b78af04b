"""Rule `env-read`: a secret that is read from the environment by hand, past its scope, type and class."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgp_services.ops.sources.names import Names
    from pgp_services.ops.sources.program import Module, Program

_READERS = frozenset(
    {
        "os.getenv",
        "os.getenvb",
        "os.environ.get",
        "os.environ.pop",
        "os.environ.setdefault",
        "os.environ.__getitem__",
    }
)


def env_reads(
    program: Program, module: Module, names: Names
) -> Iterator[tuple[ast.AST, str, str, str]]:
    """Reads of secrets: the place, the rule, what it is, what to do."""
    for node in ast.walk(module.tree):
        name = program.text(_key(node, module), module)
        if name in names.everything:
            kind = "dynamic" if name in names.dynamic else "static"
            seen = (
                "a rotation is not seen" if kind == "dynamic" else "it is not sealed at start-up"
            )
            yield (
                node,
                "env-read",
                f"reads the {kind} secret {name} from the environment: {seen}",
                "Declare it in the container, and take it from there.",
            )


def _key(node: ast.AST, module: Module) -> ast.expr | None:
    """What an expression looks up in the environment, if it does so."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        return node.slice if module.dotted(node.value) == "os.environ" else None
    if isinstance(node, ast.Call) and module.dotted(node.func) in _READERS:
        named = (each.value for each in node.keywords if each.arg == "key")
        return node.args[0] if node.args else next(named, None)
    return None
