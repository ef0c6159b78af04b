"""All rules over some folders, and the escape from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.ops.findings import Finding
from pgp_services.ops.sources.declarations import containers_of, undeclared, units_of, unused
from pgp_services.ops.sources.environment import env_reads, unknown_reads
from pgp_services.ops.sources.literals import named_values, shaped_values
from pgp_services.ops.sources.program import files_at, program_at

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pgp_services.ops.sources.declarations import Hit
    from pgp_services.ops.sources.names import Names
    from pgp_services.ops.sources.program import Module, Program


#: The rule of a folder in which there is nothing to audit: that is no pass.
NOTHING = "nothing-audited"


def audit(paths: Iterable[Path], names: Names) -> list[Finding]:
    """What is amiss in Python sources; no value of a literal is shown.

    A line with the comment `# audit: allow REASON` is let pass, if it gives a reason.

    Args:
        paths: Files, and folders with all that is below.
        names: The secrets.
    """
    paths = list(paths)
    program, unreadable = program_at(paths)
    found = {_judged(*hit) for hit in _hits(program, names)}
    found |= {
        Finding(shown, "unreadable", f"it cannot be read ({why})", "Mend it, or leave it out.")
        for shown, why in unreadable
    }
    found |= {
        Finding(str(path), NOTHING, "0 files audited", "Name folders with Python files.")
        for path in paths
        if not files_at(path)
    }
    return sorted((each for each in found if each is not None), key=_in_order)


def _hits(program: Program, names: Names) -> Iterator[Hit]:
    for module in program.modules:
        for hit in (
            *env_reads(program, module, names),
            *shaped_values(module),
            *named_values(program, module, names),
        ):
            yield (module, *hit)
    containers = containers_of(program, names)
    yield from unused(program, containers)
    units = units_of(containers)
    yield from undeclared(program, units, names)
    yield from unknown_reads(program, units)


def _judged(module: Module, node: ast.AST, rule: str, text: str, remedy: str) -> Finding | None:
    where = f"{module.shown}:{getattr(node, 'lineno', 1)}"
    reason = module.escape(node)
    if reason:
        return None
    if reason == "":
        text += "; its `audit: allow` gives no reason"
    return Finding(where, rule, text, remedy)


def _in_order(finding: Finding) -> tuple[str, int, str]:
    file, _, line = finding.where.rpartition(":")
    return (
        (file, int(line), finding.rule) if line.isdecimal() else (finding.where, 0, finding.rule)
    )
