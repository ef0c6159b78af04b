"""A program as an audit reads it: its modules, what their names stand for, and texts that can be told without running it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pgp_config.audit.allowances import allowances_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pgp_config.audit.allowances import Allowance

N = TypeVar("N", bound=ast.AST)

#: Names that stand for names, at most, in a row: enough, and no circle is followed for ever.
_DEPTH = 8

#: What reads the environment, of a module that may be imported whole.
_OF_OS = ("environ", "environb", "getenv", "getenvb")

#: What a method calls its own object and class.
_OWN = frozenset({"self", "cls"})


@dataclass(eq=False)
class Module:
    """A file of Python.

    Attributes:
        path: The file.
        shown: How it is named in findings.
        tree: Its syntax.
        name: Its dotted name, by the packages that it is in.
        text: Its text.
        constants: What is assigned to its names, at the top and in its classes (`Class.NAME`).
        aliases: What its imported names stand for, dotted.
    """

    path: Path
    shown: str
    tree: ast.Module
    name: str
    text: str
    constants: dict[str, ast.expr] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.nodes:
            self._import(node)
        self._assign(self.tree.body, "")

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All of its syntax: walked once, which takes half as long as reading it."""
        return list(ast.walk(self.tree))

    def of(self, kind: type[N]) -> list[N]:
        """Its nodes of one kind."""
        return [node for node in self.nodes if isinstance(node, kind)]

    @cached_property
    def allowances(self) -> list[Allowance]:
        """The comments by which findings are let pass."""
        return allowances_in(self.text)

    def _import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for each in node.names:
                first = each.name.partition(".")[0]
                self.aliases[each.asname or first] = each.name if each.asname else first
        elif isinstance(node, ast.ImportFrom):
            package = self._package(node)
            for each in node.names:
                self.aliases[each.asname or each.name] = f"{package}.{each.name}".lstrip(".")
                if package == "os" and each.name == "*":
                    self.aliases |= {name: f"os.{name}" for name in _OF_OS}

    def _package(self, node: ast.ImportFrom) -> str:
        """Where a `from` looks: relative to this module's package, if it has dots."""
        if not node.level:
            return node.module or ""
        is_package = self.path.name == "__init__.py"
        parts = self.name.split(".")
        kept = parts[: len(parts) - node.level + is_package]
        return ".".join([*kept, *filter(None, [node.module])])

    def _assign(self, body: Iterable[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                self._assign(node.body, f"{node.name}.")
            for name, value in assignments(node):
                self.constants[prefix + name] = value

    def dotted(self, node: ast.AST) -> str | None:
        """What a name or an attribute stands for: `e.get` is `os.environ.get` after `e = os.environ`."""
        return self._dotted(node, _DEPTH)

    def _dotted(self, node: ast.AST, depth: int) -> str | None:
        if depth and isinstance(node, ast.Attribute):
            base = self._dotted(node.value, depth - 1)
            return None if base is None else f"{base}.{node.attr}"
        if not depth or not isinstance(node, ast.Name):
            return None
        if node.id in self.aliases:
            return self.aliases[node.id]
        meant = self._environments.get(node.id)
        return node.id if meant is None else self._dotted(meant, depth - 1)

    @cached_property
    def _environments(self) -> dict[str, ast.expr]:
        """Names, local ones included, to which a name or an attribute is assigned."""
        return {
            name: value
            for node in self.of(ast.stmt)
            for name, value in assignments(node)
            if isinstance(value, ast.Attribute)
        }

    @cached_property
    def copies(self) -> dict[str, ast.expr]:
        """Names, local ones included, to which the result of a call is assigned."""
        return {
            name: value
            for node in self.of(ast.stmt)
            for name, value in assignments(node)
            if isinstance(value, ast.Call)
        }

    @cached_property
    def docstrings(self) -> set[int]:
        """Ids of the constants that are statements of their own: they are read by nobody."""
        return {
            id(node.value) for node in self.of(ast.Expr) if isinstance(node.value, ast.Constant)
        }

    def texts(self) -> Iterator[tuple[ast.Constant, str]]:
        """Every literal text that is no docstring, nor a part of an f-string's format."""
        for node in self.of(ast.Constant):
            if id(node) not in self.docstrings:
                if isinstance(node.value, str):
                    yield node, node.value
                elif isinstance(node.value, bytes):
                    yield node, node.value.decode("latin-1")

    @cached_property
    def used(self) -> frozenset[str]:
        """Attributes that are read anywhere in it, and its literal texts."""
        texts = {node.value for node in self.of(ast.Constant) if isinstance(node.value, str)}
        loads = {node.attr for node in self.of(ast.Attribute) if isinstance(node.ctx, ast.Load)}
        return frozenset(texts | loads)

    def allowance(self, node: ast.AST, rule: str) -> Allowance | None:
        """The comment on a node's first or last line that lets a rule pass, or tries to."""
        first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", None)
        for each in self.allowances:
            if each.line in {first, last} and each.covers(rule):
                return each
        return None


class Hit(NamedTuple):
    """What a rule found, before the comments are looked at.

    Attributes:
        module: Where.
        node: The syntax; its first line is shown.
        rule: Which rule.
        text: What was found.
        remedy: What to do.
        secret: The secret's name, where one is known.
    """

    module: Module
    node: ast.AST
    rule: str
    text: str
    remedy: str
    secret: str | None = None


def assignments(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names to which a statement assigns, each with the value."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            for to, value in _pairs(target, node.value):
                if isinstance(to, ast.Name):
                    yield to.id, value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        yield node.target.id, node.value


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """One by one what `a, b = 1, 2` assigns."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=False))
    return [(target, value)]


class Program:
    """All modules of an audit.

    Args:
        modules: Those that are judged.
        named: Gives a module by its dotted name, also one that is not judged, for what stands in it.
    """

    def __init__(self, modules: Iterable[Module], named: Callable[[str], Module | None]) -> None:
        self.modules = list(modules)
        self.named = named

    def text(self, node: ast.AST | None, module: Module, depth: int = _DEPTH) -> str | None:
        """The text that an expression gives; None if that cannot be told without running it.

        Args:
            node: A literal, a constant's name, an f-string or a sum of those.
            module: Where it stands.
            depth: Names in a row that are followed.
        """
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if node is None or not depth:
            return None
        if isinstance(node, ast.JoinedStr):
            return self._joined(node.values, module, depth)
        if isinstance(node, ast.FormattedValue):
            plain = node.conversion == -1 and node.format_spec is None
            return self.text(node.value, module, depth - 1) if plain else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([node.left, node.right], module, depth)
        return self._named(node, module, depth)

    def _joined(self, parts: Iterable[ast.expr], module: Module, depth: int) -> str | None:
        texts = [self.text(part, module, depth - 1) for part in parts]
        known = [text for text in texts if text is not None]
        return "".join(known) if len(known) == len(texts) else None

    def _named(self, node: ast.AST, module: Module, depth: int) -> str | None:
        """The text of a constant, of this module or of another one."""
        if isinstance(node, ast.Name) and node.id in module.constants:
            return self.text(module.constants[node.id], module, depth - 1)
        dotted = module.dotted(node)
        if dotted is None:
            return None
        first, _, rest = dotted.partition(".")
        if first in _OWN and "." not in rest:
            return self._own(rest, module, depth)
        if dotted in module.constants:
            return self.text(module.constants[dotted], module, depth - 1)
        return self._imported(dotted, depth)

    def _own(self, attribute: str, module: Module, depth: int) -> str | None:
        """The text of `self.NAME`, if all classes here that have one say the same."""
        values = [
            value for name, value in module.constants.items() if name.endswith(f".{attribute}")
        ]
        texts = {self.text(value, module, depth - 1) for value in values}
        return texts.pop() if len(texts) == 1 else None

    def texts_in(self, node: ast.AST, module: Module) -> list[str | None]:
        """The texts of a collection that is written out, or of a constant that is one; empty if it is none."""
        if isinstance(node, ast.Name):
            node = module.constants.get(node.id, node)
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return [self.text(each, module) for each in node.elts]
        if isinstance(node, ast.Dict):
            return [self.text(each, module) for each in node.keys]
        return []

    def _imported(self, dotted: str, depth: int) -> str | None:
        other, name = self.where(dotted)
        return None if other is None else self.text(other.constants.get(name), other, depth - 1)

    def where(self, dotted: str) -> tuple[Module | None, str]:
        """The module in which a dotted name is, and its name there."""
        parts = dotted.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            other = self.named(".".join(parts[:cut]))
            if other is not None:
                return other, ".".join(parts[cut:])
        return None, dotted
