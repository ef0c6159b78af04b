"""Rules `env-read` and `env-unknown`: the environment read by hand, past a secret's scope, type and class."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgp_services.ops.sources.declarations import Hit, Unit
    from pgp_services.ops.sources.names import Names
    from pgp_services.ops.sources.program import Module, Program

_MAPPINGS = frozenset({"os.environ", "os.environb"})
_FUNCTIONS = frozenset({"os.getenv", "os.getenvb"})
_METHODS = frozenset({"get", "pop", "setdefault", "__getitem__"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def env_reads(
    program: Program, module: Module, names: Names
) -> Iterator[tuple[ast.AST, str, str, str]]:
    """Reads of secrets: the place, the rule, what it is, what to do."""
    helpers = _helpers(module)
    for node in ast.walk(module.tree):
        for name in _names_read(program, module, node, helpers):
            if name in names.everything:
                kind = "dynamic" if name in names.dynamic else "static"
                seen = (
                    "a rotation is not seen"
                    if kind == "dynamic"
                    else "it is not sealed at start-up"
                )
                yield (
                    node,
                    "env-read",
                    f"reads the {kind} secret {name} from the environment: {seen}",
                    "Declare it in the container, and take it from there.",
                )


def unknown_reads(program: Program, units: Iterable[Unit]) -> Iterator[Hit]:
    """Reads in a unit whose name cannot be told: it may be that of a secret."""
    for unit in units:
        for module in program.modules:
            if unit.folder in module.path.parents:
                for node in ast.walk(module.tree):
                    key = _key(node, module)
                    if key is not None and None in _texts(program, module, key):
                        yield (
                            module,
                            node,
                            "env-unknown",
                            "reads from the environment what cannot be told without running it",
                            "Name it there: a text, or a constant.",
                        )


def _names_read(
    program: Program, module: Module, node: ast.AST, helpers: dict[str, tuple[int, str]]
) -> Iterable[str | None]:
    key = _key(node, module)
    if key is not None:
        return _texts(program, module, key)
    if isinstance(node, ast.Call):
        place = helpers.get((module.dotted(node.func) or "").rpartition(".")[2])
        if place is not None:
            return [program.text(_argument(node, *place), module)]
    return []


def _texts(program: Program, module: Module, key: ast.expr) -> list[str | None]:
    """What a name may be; None among them if that cannot be told."""
    if isinstance(key, ast.Constant) and isinstance(key.value, bytes):
        return [key.value.decode("latin-1")]
    text = program.text(key, module)
    if text is None and isinstance(key, ast.Name):
        over = [
            each.iter
            for each in ast.walk(module.tree)
            if isinstance(each, ast.For | ast.AsyncFor | ast.comprehension)
            and isinstance(each.target, ast.Name)
            and each.target.id == key.id
        ]
        # A loop over what cannot be told, and no loop at all: a parameter, say.
        return [one for each in over for one in program.texts_in(each, module) or [None]] or [None]
    return [text]


def _key(node: ast.AST, module: Module) -> ast.expr | None:
    """What an expression looks up in the environment, if it does so."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        return node.slice if _is_environment(node.value, module) else None
    if isinstance(node, ast.Call) and _is_reader(node.func, module):
        return _argument(node, 0, "key")
    return None


def _is_reader(called: ast.expr, module: Module) -> bool:
    dotted = module.dotted(called) or ""
    before, _, last = dotted.rpartition(".")
    if dotted in _FUNCTIONS or (before in _MAPPINGS and last in _METHODS):
        return True
    return (
        isinstance(called, ast.Attribute)
        and called.attr in _METHODS
        and _is_environment(called.value, module)
    )


def _is_environment(node: ast.expr, module: Module) -> bool:
    """The environment, or a copy of it, or a name for one."""
    if isinstance(node, ast.Name) and node.id in module.copies:
        node = module.copies[node.id]
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr == "copy":
            return module.dotted(function.value) in _MAPPINGS
        return module.dotted(node.func) == "dict" and any(
            module.dotted(each) in _MAPPINGS
            for each in (*node.args, *(named.value for named in node.keywords))
        )
    return module.dotted(node) in _MAPPINGS


def _argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    named = (each.value for each in call.keywords if each.arg == name)
    return call.args[place] if len(call.args) > place else next(named, None)


def _helpers(module: Module) -> dict[str, tuple[int, str]]:
    """Functions here that look one of their parameters up: which, by place in a call and name."""
    found = {}
    for function in ast.walk(module.tree):
        if isinstance(function, _Function):
            parameters = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
            own = int(parameters[:1] in (["self"], ["cls"]))
            for node in ast.walk(function):
                key = _key(node, module)
                if isinstance(key, ast.Name) and key.id in parameters:
                    found[function.name] = (parameters.index(key.id) - own, key.id)
    return found
