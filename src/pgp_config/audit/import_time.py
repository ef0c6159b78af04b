"""Rule `import-read`: a dynamic secret that is read while a module is imported, and kept over rotations."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from pgp_config.audit.program import Hit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgp_config.audit.declarations import Container
    from pgp_config.audit.names import Names
    from pgp_config.audit.program import Module, Program

_Function = ast.FunctionDef | ast.AsyncFunctionDef

#: Functions that call functions while a module is imported: in a row at most.
_DEPTH = 4

_REMEDY = "Give the secret itself (the provider), and call it where the value is used: in a request, or in a scope."


def import_reads(program: Program, containers: Iterable[Container], names: Names) -> Iterator[Hit]:
    """Calls of dynamic secrets that run when a module is imported."""
    by_name = {each.name: each for each in containers}
    for module in program.modules:
        if any(name in module.text for name in by_name) or module.aliases:
            yield from _reads(program, module, by_name, names)
    for container in by_name.values():
        yield from _reads_in_class(container, names)


def _reads(
    program: Program, module: Module, containers: dict[str, Container], names: Names
) -> Iterator[Hit]:
    functions = {each.name: each for each in module.tree.body if isinstance(each, _Function)}
    for node, through in _run_at_import(module.tree.body, functions):
        called = node.func
        if isinstance(called, ast.Attribute):
            container = _container(program, module, called.value, containers)
            declared = {} if container is None else _attributes(container)
            name = declared.get(called.attr)
            if name in names.dynamic:
                yield _hit(module, node, name, through)


def _hit(module: Module, node: ast.AST, name: str | None, through: str) -> Hit:
    by = f", by {through}()" if through else ""
    text = f"reads the dynamic secret {name} while the module is imported{by}: the value is kept over rotations"
    return Hit(module, node, "import-read", text, _REMEDY, name)


def _reads_in_class(container: Container, names: Names) -> Iterator[Hit]:
    """Calls in the container's own body: `Singleton(Client, key=api_key())`."""
    declared = _attributes(container)
    for node, _ in _run_at_import(container.node.body, {}):
        name = declared.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if name in names.dynamic:
            yield _hit(container.module, node, name, "")


def _attributes(container: Container) -> dict[str, str]:
    """The secrets of a container by attribute, inherited ones included."""
    return {
        attribute: name
        for each in reversed(container.lineage())
        for attribute, (name, _) in each.declared.items()
    }


def _container(
    program: Program, module: Module, node: ast.expr, containers: dict[str, Container]
) -> Container | None:
    """The container that an expression is an instance of, or the class of."""
    dotted = module.dotted(node)
    if dotted is None:
        return None
    home, name = module, dotted
    if dotted not in module.constants:
        other, name = program.where(dotted)
        home = other or module
    made = home.constants.get(name)
    if isinstance(made, ast.Call):
        name = home.dotted(made.func) or ""
    return containers.get(name.rpartition(".")[2])


# -- what runs when a module is imported ---------------------------------------------------------


def _run_at_import(
    body: list[ast.stmt], functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef]
) -> Iterator[tuple[ast.Call, str]]:
    """The calls that run, and the function in which they do; a function of the module is followed."""
    followed: set[str] = set()
    pending: list[tuple[ast.AST, str, int]] = [(node, "", 0) for node in reversed(body)]
    while pending:
        node, through, depth = pending.pop()
        if isinstance(node, ast.Call):
            yield node, through
            name = getattr(node.func, "id", "")
            if name in functions and name not in followed and depth < _DEPTH:
                followed.add(name)
                pending += [(each, name, depth + 1) for each in reversed(functions[name].body)]
        pending += [(each, through, depth) for each in reversed(_parts(node))]


def _parts(node: ast.AST) -> list[ast.AST]:
    """What of a node runs with it: of a function only what stands before its body."""
    if isinstance(node, _Function):
        return [*node.decorator_list, *_defaults(node.args)]
    if isinstance(node, ast.Lambda):
        return [*_defaults(node.args)]
    if isinstance(node, ast.If) and _is_of_programs(node.test):
        return [*node.orelse]
    if isinstance(node, ast.With | ast.AsyncWith) and any(map(_is_scope, node.items)):
        return []
    return list(ast.iter_child_nodes(node))


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None)]


def _is_of_programs(test: ast.expr) -> bool:
    """`if __name__ == "__main__"`, and `if TYPE_CHECKING`."""
    return bool(_names_in(test) & {"__name__", "TYPE_CHECKING"})


def _is_scope(item: ast.withitem) -> bool:
    """`with request_scope()`: what is read in it is a job's."""
    return "request_scope" in _names_in(item.context_expr)


def _names_in(node: ast.expr) -> set[str]:
    # Not unparsed: a deep expression would end that by its recursion.
    return {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node)}
