"""Rules `unused` and `undeclared`: containers that declare what nobody uses, and code that uses what none declares."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgp_config.audit.files import module_name
from pgp_config.audit.names import Names
from pgp_config.audit.program import Hit, assignments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pgp_config.audit.program import Module, Program

_KINDS = ("DynamicSecret", "StaticSecret", "KeyRing")

#: A file with none of these in it declares nothing.
WORDS = ("dynamicsecret", "staticsecret", "keyring", "secretcontainer")

#: How a row of a catalogue makes a declaration: `catalogue.NAME.secret()`.
_FACTORIES = ("secret", "key_ring")


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
        for node in module.of(ast.ClassDef)
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
        return program.text(_argument(value, 0, "name"), module)
    if isinstance(value.func, ast.Attribute) and value.func.attr in _FACTORIES:
        row = (module.dotted(value.func.value) or "").rpartition(".")[2]
        return row if row in names.everything else None
    return None


def _argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    named = (each.value for each in call.keywords if each.arg == name)
    return call.args[place] if len(call.args) > place else next(named, None)


# -- the names that a program declares ----------------------------------------------------------


def declared_names(program: Program) -> Names:
    """The secrets that are declared anywhere in a program, in a container or in a catalogue."""
    dynamic: set[str] = set()
    static: set[str] = set()
    confidential: set[str] = set()
    for module in program.modules:
        for call in module.of(ast.Call):
            kind = (module.dotted(call.func) or "").rpartition(".")[2]
            name = program.text(_argument(call, 0, "name"), module) if kind in _KINDS else None
            if name:
                (static if kind == "StaticSecret" else dynamic).add(name)
                if kind == "KeyRing" or _holds_a_key(module, _argument(call, 1, "declared")):
                    confidential.add(name)
    # Of two containers one may restart for what the other reloads: the stricter rules hold.
    return Names(frozenset(dynamic), frozenset(static - dynamic), frozenset(confidential))


def _holds_a_key(module: Module, declared: ast.expr | None) -> bool:
    """Whether a declared type is one of keys; without one it is a `SecretStr`."""
    if declared is None:
        return True
    meant = module.constants.get(getattr(declared, "id", ""), declared)
    # Walked and not unparsed, which a deep expression would end by its recursion.
    words = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(meant)}
    return bool(words & {"SecretStr", "SecretBytes", "bytes"})


# -- unused ------------------------------------------------------------------------------------


def unused(program: Program, containers: list[Container], units: list[Unit]) -> Iterator[Hit]:
    """Declarations that no container's class uses, and no module that may have the container.

    That is every module but those of other containers: what is only called like it there is another thing.
    """
    for container in containers:
        for attribute, (name, place) in container.declared.items():
            if not any(
                _uses(program, each, attribute, place, units) for each in container.offspring()
            ):
                yield Hit(
                    container.module,
                    place,
                    "unused",
                    f"{container.name}.{attribute} declares {name}, and nothing uses it",
                    "Give it to what needs it, or remove it.",
                    name,
                )


def _uses(
    program: Program, container: Container, attribute: str, place: ast.stmt, units: list[Unit]
) -> bool:
    own = (node for part in container.node.body if part is not place for node in ast.walk(part))
    if any(_is_use(node, attribute) for node in own):
        return True
    home = container.module
    if any(
        _is_use(node, attribute) and not isinstance(node, ast.Name)
        for node in _outside(home.tree, container.node)
    ):
        return True
    return any(
        attribute in module.used
        for module in program.modules
        if module is not home and _may_have(module, container, units)
    )


def _may_have(module: Module, container: Container, units: list[Unit]) -> bool:
    foreign = (
        unit.folder
        for unit in units
        if unit.folder != container.module.path.parent
        and unit.folder not in container.module.path.parents
    )
    return not any(folder in module.path.parents for folder in foreign)


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
        attributes: The names under which they have them.
        container: How the container is named in findings.
    """

    folder: Path
    declared: frozenset[str]
    attributes: frozenset[str]
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
        attributes = frozenset(a for each in mine for one in each.lineage() for a in one.declared)
        called = " and ".join(sorted({each.name for each in mine}))
        units.append(Unit(folder, declared, attributes, called))
    return units


def undeclared(
    program: Program, units: Iterable[Unit], names: Names, containers: Iterable[Container]
) -> Iterator[Hit]:
    """Uses of secrets in a unit whose container does not have them, nor one that the module imports."""
    known = list(containers)
    classes = {each.name for each in known}
    for unit in units:
        for module in program.modules:
            if unit.folder in module.path.parents:
                declared = unit.declared | _imported(module, known)
                for node, name in _mentions(module, names, classes):
                    is_its = getattr(node, "attr", "") in unit.attributes
                    if name not in declared and not is_its:
                        yield Hit(
                            module,
                            node,
                            "undeclared",
                            f"uses {name}, which {unit.container} does not declare",
                            "Declare it, if this service may read it.",
                            name,
                        )


def _imported(module: Module, containers: Iterable[Container]) -> set[str]:
    """The secrets of containers that a module imports, or whose module it imports."""
    imports = set(module.aliases.values())
    return {
        name
        for each in containers
        if not imports.isdisjoint(_imports_of(each))
        for name in each.names()
    }


def _imports_of(container: Container) -> tuple[str, str]:
    module = module_name(container.module.path)
    return module, f"{module}.{container.name}"


def _mentions(module: Module, names: Names, classes: set[str]) -> Iterator[tuple[ast.AST, str]]:
    """Names of secrets: as texts, as rows of a catalogue, as attributes of a container.

    A text without an underscore is a word like others: `DATABASE` is the key of many things.
    """
    for node, text in module.texts():
        if text in names.everything and "_" in text:
            yield node, text
    for part in module.of(ast.Attribute):
        if isinstance(part.ctx, ast.Load):
            if part.attr in names.everything and "_" in part.attr:
                yield part, part.attr
            elif part.attr in names.attributes and _is_container(module, part.value, classes):
                yield part, names.attributes[part.attr]


#: What containers are called by those who have one, `self._secrets` among them: `fee` is also an invoice's.
_CONTAINERS = frozenset({"secrets", "container", "config"})


def _is_container(module: Module, base: ast.expr, classes: set[str]) -> bool:
    last = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
    made = module.copies.get(last)
    kind = module.dotted(made.func) if isinstance(made, ast.Call) else None
    return (
        last.lstrip("_") in _CONTAINERS
        or last in classes
        or (kind or "").rpartition(".")[2] in classes
    )
