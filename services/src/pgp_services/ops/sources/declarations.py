"""Rules `unused` and `undeclared`: containers that declare what nobody uses, and code that uses what none declares."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgp_services.ops.sources.program import assignments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pgp_services.ops.sources.names import Names
    from pgp_services.ops.sources.program import Module, Program

_KINDS = ("DynamicSecret", "StaticSecret", "KeyRing")

#: How a row of a catalogue makes a declaration: `catalogue.NAME.secret()`.
_FACTORIES = ("secret", "key_ring")

Hit = tuple["Module", ast.AST, str, str, str]


@dataclass(eq=False)
class Container:
    """A class that may declare secrets.

    Attributes:
        name: Its name.
        module: Where it stands.
        node: Its syntax.
        bases: The names of its bases.
        declared: The secret's name and the place, by attribute.
        parents: Its bases that are in the program.
        children: What derives from it.
    """

    name: str
    module: Module
    node: ast.ClassDef
    bases: list[str]
    declared: dict[str, tuple[str, ast.stmt]]
    parents: list[Container] = field(default_factory=list)
    children: list[Container] = field(default_factory=list)

    def lineage(self) -> list[Container]:
        """Itself and all that it derives from."""
        return _reached(self, lambda each: each.parents)

    def offspring(self) -> list[Container]:
        """Itself and all that derive from it."""
        return _reached(self, lambda each: each.children)

    def names(self) -> set[str]:
        """The secrets that an instance of it has."""
        return {name for each in self.lineage() for name, _ in each.declared.values()}


def _reached(
    first: Container, steps: Callable[[Container], Iterable[Container]]
) -> list[Container]:
    """What is reached, each once: classes are told apart by name alone, so there may be circles."""
    found = [first]
    for each in found:
        found += [one for one in steps(each) if one not in found]
    return found


def containers_of(program: Program, names: Names) -> list[Container]:
    """Every class that declares secrets, itself or through its bases."""
    found = [
        Container(node.name, module, node, _bases(node), _declared(program, module, node, names))
        for module in program.modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    by_name = {each.name: each for each in found}
    for each in found:
        each.parents = [by_name[b] for b in each.bases if by_name.get(b) not in (None, each)]
        for parent in each.parents:
            parent.children.append(each)
    return [each for each in found if any(one.declared for one in each.lineage())]


def _bases(node: ast.ClassDef) -> list[str]:
    last = (base.attr if isinstance(base, ast.Attribute) else base for base in node.bases)
    return [each if isinstance(each, str) else getattr(each, "id", "") for each in last]


def _declared(
    program: Program, module: Module, node: ast.ClassDef, names: Names
) -> dict[str, tuple[str, ast.stmt]]:
    found = {}
    for statement in node.body:
        for attribute, value in assignments(statement):
            name = _declaration(program, module, value, names)
            if name is not None:
                found[attribute] = (name, statement)
    return found


def _declaration(program: Program, module: Module, value: ast.expr, names: Names) -> str | None:
    """The name of the secret that an expression declares."""
    if not isinstance(value, ast.Call):
        return None
    called = module.dotted(value.func) or ""
    if called.rpartition(".")[2] in _KINDS:
        named = (each.value for each in value.keywords if each.arg == "name")
        return program.text(value.args[0] if value.args else next(named, None), module)
    if isinstance(value.func, ast.Attribute) and value.func.attr in _FACTORIES:
        row = (module.dotted(value.func.value) or "").rpartition(".")[2]
        return row if row in names.everything else None
    return None


# -- unused ------------------------------------------------------------------------------------


def unused(program: Program, containers: Iterable[Container]) -> Iterator[Hit]:
    """Declarations that no container's class, and no module beside one, makes use of."""
    for container in containers:
        for attribute, (name, place) in container.declared.items():
            if not any(_uses(program, each, attribute, place) for each in container.offspring()):
                yield (
                    container.module,
                    place,
                    "unused",
                    f"{container.name}.{attribute} declares {name}, and nothing uses it",
                    "Give it to what needs it, or remove it.",
                )


def _uses(program: Program, container: Container, attribute: str, place: ast.stmt) -> bool:
    own = (node for part in container.node.body if part is not place for node in ast.walk(part))
    if any(_is_use(node, attribute) for node in own):
        return True
    beside = [m for m in program.modules if m.path.parent == container.module.path.parent]
    return any(
        _is_use(node, attribute) and not isinstance(node, ast.Name)
        for module in beside
        for node in _outside(module.tree, container.node)
    )


def _is_use(node: ast.AST, attribute: str) -> bool:
    """A read of that name, of that attribute, or the text of it as `getattr` and `Provide` take it."""
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        return name == attribute and isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.Constant) and node.value == attribute


def _outside(tree: ast.Module, excluded: ast.ClassDef) -> Iterator[ast.AST]:
    for statement in tree.body:
        if statement is not excluded:
            yield from ast.walk(statement)


# -- undeclared --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """A folder whose code belongs to one container.

    Attributes:
        folder: The folder; what is below belongs to it.
        declared: The secrets that its containers have.
        container: How the container is named in findings.
    """

    folder: Path
    declared: frozenset[str]
    container: str


def units_of(containers: Iterable[Container]) -> list[Unit]:
    """The folders with a container from which nothing derives, and no such folder below."""
    last = [each for each in containers if not each.children]
    folders = {each.module.path.parent for each in last}
    inner = [f for f in folders if not any(f in other.parents for other in folders)]
    units = []
    for folder in sorted(inner):
        mine = [each for each in last if each.module.path.parent == folder]
        declared = frozenset(name for each in mine for name in each.names())
        units.append(Unit(folder, declared, " and ".join(sorted(each.name for each in mine))))
    return units


def undeclared(program: Program, units: Iterable[Unit], names: Names) -> Iterator[Hit]:
    """Uses of secrets in a unit whose container does not have them."""
    for unit in units:
        for module in program.modules:
            if unit.folder in module.path.parents:
                for node, name in _mentions(module, names):
                    if name not in unit.declared:
                        yield (
                            module,
                            node,
                            "undeclared",
                            f"uses {name}, which {unit.container} does not declare",
                            "Declare it, if the catalogue lets this service read it.",
                        )


def _mentions(module: Module, names: Names) -> Iterator[tuple[ast.AST, str]]:
    """Names of secrets: as texts, as rows of a catalogue, as attributes of a container."""
    for node, text in module.texts():
        if text in names.everything:
            yield node, text
    for part in ast.walk(module.tree):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Load):
            if part.attr in names.everything:
                yield part, part.attr
            elif part.attr in names.attributes:
                yield part, names.attributes[part.attr]
