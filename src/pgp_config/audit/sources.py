"""All rules over some folders of Python sources, and the comments that let findings pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgp_config.audit import declarations, environment
from pgp_config.audit.declarations import (
    containers_of,
    declared_names,
    undeclared,
    units_of,
    unused,
)
from pgp_config.audit.environment import env_reads, helpers_of, unknown_reads
from pgp_config.audit.files import collection_paused, named, read_files
from pgp_config.audit.findings import Finding
from pgp_config.audit.import_time import import_reads
from pgp_config.audit.literals import (
    SHAPE_PATTERNS,
    SHAPE_WORDS,
    named_values,
    shaped_values,
)
from pgp_config.audit.names import SAYS_SECRET_WORDS, Names
from pgp_config.audit.program import Program
from pgp_config.audit.rules import RULES

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from pgp_config.audit.files import SourceFile
    from pgp_config.audit.program import Hit, Module

_NONE = Names(frozenset())


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit of sources came to.

    Attributes:
        findings: What is amiss, in the order of files and lines.
        allowed: What a comment lets pass, each with its reason.
        files: How many files were looked at.
        tests: How many files of tests were left out.
        empty: Of the paths that were given, those with no Python file.
        names: The secrets that were looked for: those given, and those that the sources declare.
        containers: The classes that declare secrets, by name.
    """

    findings: list[Finding]
    allowed: list[Finding]
    files: int
    tests: int
    empty: list[str]
    names: Names
    containers: list[str]


def audit_sources(
    paths: Iterable[Path],
    names: Names = _NONE,
    *,
    exclude: Collection[str] = (),
    ignore: Collection[str] = (),
    tests: bool = False,
) -> Audit:
    """What is amiss in Python sources; no value of a literal is shown.

    A line with the comment `# pgp-config: allow[RULE] REASON` is let pass, if it gives a reason. Files in which nothing
    can be are not parsed, so that what is wrong with their syntax is not told either.

    Args:
        paths: Files, and folders with all that is below.
        names: Secrets, besides those that the sources declare.
        exclude: Globs of files and folders to leave out.
        ignore: Rules that are not applied.
        tests: Whether files of tests are judged too.
    """
    with collection_paused():
        read = read_files(list(paths), exclude=exclude, tests=tests)
        program, names = _program(read.files, names)
        containers = containers_of(program, names)
        hits = [hit for hit in _hits(program, names, containers) if hit.rule not in ignore]
        found = {_judged(hit) for hit in hits}
        found |= {_unused_allowance(*each) for each in _unused_allowances(program, ignore)}
    unreadable = [
        *read.unreadable,
        *((each.shown, each.fault) for each in read.files if each.fault),
    ]
    found |= {_unreadable(shown, why) for shown, why in unreadable}
    ordered = sorted(found, key=lambda each: (each.where, each.line, each.rule, each.text))
    return Audit(
        [each for each in ordered if each.reason is None],
        [each for each in ordered if each.reason is not None],
        len(read.files),
        read.tests,
        read.empty,
        names,
        sorted({each.name for each in containers}),
    )


# -- what is parsed ----------------------------------------------------------------------------


def _program(files: Sequence[SourceFile], names: Names) -> tuple[Program, Names]:
    """The modules in which there may be something, and all names that are looked for.

    Parsing takes nearly all of the time: a file without a word that could matter is not parsed.
    """
    find = named(files)
    declaring = Program(_modules(files, declarations.WORDS), find)
    names = names.joined(declared_names(declaring))
    containers = containers_of(declaring, names)
    words = {
        *declarations.WORDS,
        *environment.WORDS,
        *SAYS_SECRET_WORDS,
        *SHAPE_WORDS,
        *(name.lower() for name in names.everything),
        *(attribute.lower() for each in containers for attribute in each.declared),
        *(each.name.lower() for each in containers),
        *(glob.strip("*").lower() for glob in names.hosts),
        "pgp-config:",
    }
    program = Program(_modules(files, words, SHAPE_PATTERNS), find)
    return _with_callers(program, files, units_of(containers)), names


def _with_callers(
    program: Program, files: Sequence[SourceFile], units: Sequence[declarations.Unit]
) -> Program:
    """With those that call what reads the environment, where a call that cannot be told is found."""
    beside = [file for file in files if any(unit.folder in file.path.parents for unit in units)]
    modules = [*program.modules, *_modules(beside, map(str.lower, helpers_of(program)))]
    return Program(dict.fromkeys(modules), program.named)


def _modules(
    files: Sequence[SourceFile], words: Iterable[str], patterns: Sequence[re.Pattern[bytes]] = ()
) -> Iterator[Module]:
    wanted = sorted(word.encode() for word in words)
    for file in files:
        text = file.lowered
        if any(word in text for word in wanted) or any(each.search(text) for each in patterns):
            module = file.module()
            if module is not None:
                yield module


# -- the rules ---------------------------------------------------------------------------------


def _hits(
    program: Program, names: Names, containers: list[declarations.Container]
) -> Iterator[Hit]:
    helpers = helpers_of(program)
    units = units_of(containers)
    yield from env_reads(program, names, helpers)
    for module in program.modules:
        yield from shaped_values(module, names)
        yield from named_values(program, module, names)
    yield from import_reads(program, containers, names)
    yield from unused(program, containers, units)
    yield from undeclared(program, units, names, containers)
    yield from unknown_reads(program, units, helpers)


def _judged(hit: Hit) -> Finding:
    line = getattr(hit.node, "lineno", 1)
    text, reason = hit.text, None
    allowance = hit.module.allowance(hit.node, hit.rule)
    if allowance is not None:
        allowance.used = True
        reason = allowance.reason or None
        text += "" if reason else "; the comment that lets it pass gives no reason"
    return Finding(hit.module.shown, hit.rule, text, hit.remedy, line, hit.secret, reason)


def _unused_allowances(
    program: Program, ignore: Collection[str]
) -> Iterator[tuple[Module, int, frozenset[str]]]:
    if "unused-allow" in ignore:
        return
    for module in program.modules:
        for each in module.allowances:
            # One that names no rule may be for an ignored one.
            is_ignored = bool(ignore) and (not each.rules or bool(each.rules & set(ignore)))
            if not each.used and not is_ignored:
                yield module, each.line, each.rules


def _unused_allowance(module: Module, line: int, rules: frozenset[str]) -> Finding:
    unknown = sorted(rules - RULES.keys())
    text = "a comment lets pass what is not found here"
    if unknown:
        text = f"a comment lets {', '.join(unknown)} pass, and there is no such rule"
    return Finding(module.shown, "unused-allow", text, "Remove the comment, or correct it.", line)


def _unreadable(shown: str, why: str) -> Finding:
    return Finding(
        shown, "unreadable", f"it was not judged: {why}", "Mend it, or leave it out: --exclude."
    )
