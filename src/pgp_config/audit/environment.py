"""Rules `env-…`: the environment read by hand, past a secret's scope, type and class."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.audit.names import says_secret
from pgp_config.audit.program import Hit, assignments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgp_config.audit.declarations import Unit
    from pgp_config.audit.names import Names
    from pgp_config.audit.program import Module, Program

_MAPPINGS = frozenset({"os.environ", "os.environb"})
_FUNCTIONS = frozenset({"os.getenv", "os.getenvb", "decouple.config"})
_METHODS = frozenset({"get", "pop", "setdefault", "__getitem__"})

#: Classes whose instances are called, or have methods that are, with the name of a variable.
_READERS = frozenset({"environs.Env", "environ.Env", "starlette.config.Config", "decouple.Config"})

#: Files without these words read nothing from the environment themselves.
WORDS = ("environ", "getenv", "decouple", "starlette.config", "basesettings")

_Function = ast.FunctionDef | ast.AsyncFunctionDef

_DECLARE = "Declare it in the container, and take it from there."


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that looks one of its parameters up in the environment.

    Attributes:
        module: Where it is.
        is_method: Whether it belongs to a class.
        place: The place of the parameter in a call.
        name: Its name.
    """

    module: Module
    is_method: bool
    place: int
    name: str


Helpers = dict[str, Helper]


def env_reads(program: Program, names: Names, helpers: Helpers) -> Iterator[Hit]:
    """Reads of secrets, declared ones and those that only their name gives away."""
    for module in program.modules:
        for node in module.nodes:
            for name in _names_read(program, module, node, helpers):
                if name in names.everything:
                    yield _read(module, node, name, names, "")
                elif name is not None and says_secret(name):
                    yield _undeclared(module, node, name)
        yield from _settings(program, module, names)


def _read(module: Module, node: ast.AST, name: str, names: Names, how: str) -> Hit:
    kind, harm = ("dynamic", "a rotation is not seen")
    if name not in names.dynamic:
        kind, harm = ("static", "it is not sealed at start-up")
    text = f"reads the {kind} secret {name} from the environment{how}: {harm}"
    return Hit(module, node, "env-read", text, _DECLARE, name)


def _undeclared(module: Module, node: ast.AST, name: str) -> Hit:
    text = f"reads {name} from the environment, which its name says is a secret, and no container declares it"
    return Hit(module, node, "env-secret", text, _DECLARE, name)


def _settings(program: Program, module: Module, names: Names) -> Iterator[Hit]:
    """Fields of pydantic's settings classes that are filled from a secret's variable."""
    for node in module.of(ast.ClassDef):
        if any((module.dotted(base) or "").endswith("BaseSettings") for base in node.bases):
            prefix = _prefix(program, module, node)
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    name = f"{prefix}{field.target.id}".upper()
                    if name in names.everything:
                        yield _read(module, field, name, names, " through pydantic's settings")


def _prefix(program: Program, module: Module, node: ast.ClassDef) -> str:
    given = (
        keyword.value
        for statement in node.body
        for name, value in assignments(statement)
        if name == "model_config" and isinstance(value, ast.Call)
        for keyword in value.keywords
        if keyword.arg == "env_prefix"
    )
    return program.text(next(given, None), module) or ""


def unknown_reads(program: Program, units: Iterable[Unit], helpers: Helpers) -> Iterator[Hit]:
    """Reads in a unit whose name cannot be told: it may be that of a secret.

    What a function looks up by its own parameter is told where it is called.
    """
    for unit in units:
        for module in program.modules:
            if unit.folder in module.path.parents:
                parameters = _parameters_looked_up(module)
                for node in module.nodes:
                    if id(node) not in parameters and None in _names_read(
                        program, module, node, helpers
                    ):
                        yield Hit(
                            module,
                            node,
                            "env-unknown",
                            "reads from the environment what cannot be told without running it",
                            "Name it there: a text, or a constant.",
                        )


def _names_read(
    program: Program, module: Module, node: ast.AST, helpers: Helpers
) -> Iterable[str | None]:
    key = _key(node, module)
    if key is not None:
        return _texts(program, module, key)
    if isinstance(node, ast.Call):
        helper = _helper_called(program, module, node, helpers)
        if helper is not None:
            given = _argument(node, helper.place, helper.name)
            return [] if given is None else _texts(program, module, given)
    return []


def _texts(program: Program, module: Module, key: ast.expr) -> list[str | None]:
    """What a name may be; None among them if that cannot be told."""
    if isinstance(key, ast.Constant) and isinstance(key.value, bytes):
        return [key.value.decode("latin-1")]
    text = program.text(key, module)
    if text is None and isinstance(key, ast.Name):
        over = [
            each.iter
            for each in module.nodes
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
    if isinstance(called, ast.Attribute):
        return (called.attr in _METHODS and _is_environment(called.value, module)) or _is_settings(
            called.value, module
        )
    return _is_settings(called, module)


def _is_settings(node: ast.expr, module: Module) -> bool:
    """A name for an object of a library that reads the environment."""
    made = module.copies.get(node.id) if isinstance(node, ast.Name) else None
    return isinstance(made, ast.Call) and module.dotted(made.func) in _READERS


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


# -- functions that read what they are told ----------------------------------------------------


def helpers_of(program: Program) -> Helpers:
    """The functions of a program that look one of their parameters up, themselves or through others."""
    found: Helpers = {}
    before = -1
    while len(found) > before:
        before = len(found)
        for module in program.modules:
            words = ("environ", "getenv", *found)
            if not any(word in module.text for word in words):
                continue
            for function, is_method in _functions(module):
                if function.name not in found:
                    looked_up = _parameter(program, module, function, found)
                    if looked_up is not None:
                        place, name = looked_up
                        found[function.name] = Helper(module, is_method, place, name)
    return found


def _functions(module: Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    methods = {id(each) for node in module.of(ast.ClassDef) for each in node.body}
    for node in module.nodes:
        if isinstance(node, _Function):
            yield node, id(node) in methods


def _parameter(
    program: Program,
    module: Module,
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    helpers: Helpers,
) -> tuple[int, str] | None:
    """Which parameter is looked up: its place in a call, and its name."""
    parameters = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    own = int(parameters[:1] in (["self"], ["cls"]))
    if len(parameters) > own:
        for node in ast.walk(function):
            key = _key(node, module) or _passed_on(program, module, node, helpers)
            if isinstance(key, ast.Name) and key.id in parameters[own:]:
                return parameters.index(key.id) - own, key.id
    return None


def _passed_on(
    program: Program, module: Module, node: ast.AST, helpers: Helpers
) -> ast.expr | None:
    if not isinstance(node, ast.Call):
        return None
    helper = _helper_called(program, module, node, helpers)
    return None if helper is None else _argument(node, helper.place, helper.name)


def _helper_called(
    program: Program, module: Module, call: ast.Call, helpers: Helpers
) -> Helper | None:
    """The helper that a call is one of, if that can be told by the names."""
    called = call.func
    last = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    dotted = module.dotted(called) or last
    helper = helpers.get(dotted.rpartition(".")[2])
    if helper is None or helper.module is module:
        return helper
    if helper.is_method:
        # `get` is every mapping's: only of an object that is known to be made there.
        known = last not in _METHODS or _is_made_in(program, module, called, helper.module)
        return helper if known else None
    where, _ = program.where(dotted)
    return helper if where is helper.module else None


def _is_made_in(program: Program, module: Module, called: ast.expr, home: Module) -> bool:
    """Whether a method is that of an object whose class is in a module."""
    base = called.value if isinstance(called, ast.Attribute) else called
    made = module.copies.get(base.id) if isinstance(base, ast.Name) else None
    if made is None:
        other, name = program.where(module.dotted(base) or "")
        if other is not None:
            module, made = other, other.copies.get(name)
    if not isinstance(made, ast.Call):
        return False
    kind = module.dotted(made.func) or ""
    return module is home or program.where(kind)[0] is home


def _parameters_looked_up(module: Module) -> set[int]:
    """Ids of the look-ups of a parameter in the function that has it."""
    found = set()
    for function, _ in _functions(module):
        arguments = function.args
        parameters = {each.arg for each in (*arguments.posonlyargs, *arguments.args)}
        for node in ast.walk(function):
            if any(isinstance(each, ast.Name) and each.id in parameters for each in _given(node)):
                found.add(id(node))
    return found


def _given(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        return [*node.args, *(each.value for each in node.keywords)]
    return [node.slice] if isinstance(node, ast.Subscript) else []
