"""`pgp-config audit`: secrets read or written by hand, and static ones read while serving."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, cast

import typer
from pydantic import SecretBytes, SecretStr
from rich.console import Console
from rich.text import Text

from pgp_config.audit import RULES, Names, audit_sources, judge, read_export
from pgp_config.audit.sarif import sarif
from pgp_config.cli.output import printable
from pgp_config.cli.targets import METAVAR, targets_of
from pgp_config.errors import PgpConfigError
from pgp_config.key_rings import Keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgp_config.audit import Audit, Finding, Reading
    from pgp_config.providers import SecretProvider

#: How it ended. 2 is a wrong use of the command, as typer has it.
CLEAN, FOUND, UNUSABLE = 0, 1, 2

#: Types of values that are keys.
_KEYS = (SecretStr, SecretBytes, bytes, Keys)

#: In place of a file: standard input.
_STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class _Told:
    """What the command was told.

    Attributes:
        paths: Files and folders.
        names: The secrets that are known besides those in the sources.
        exclude: Globs of what is left out.
        ignore: Rules that are not applied.
        tests: Whether files of tests are judged.
        log: The export.
        services: The Cloud Run service of each account.
        processes: How many of a container load the secrets.
    """

    paths: Sequence[Path]
    names: Names
    exclude: Sequence[str] = ()
    ignore: Sequence[str] = ()
    tests: bool = False
    log: Path | None = None
    services: dict[str, str] = field(default_factory=dict)
    processes: int = 1


def audit(  # noqa: PLR0917  typer makes options of them
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files and folders of Python; the working folder by default."),
    ] = None,
    container: Annotated[
        list[str] | None,
        typer.Option(
            metavar=METAVAR,
            help="A container whose secrets are looked for, besides those that the sources declare; may be repeated. "
            "It is imported.",
            show_default=False,
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=dynamic|static]",
            help="A secret that is looked for, before any container declares it; dynamic by default; may be repeated.",
            show_default=False,
        ),
    ] = None,
    audit_log: Annotated[
        Path | None,
        typer.Option(
            help="An export of Cloud Audit Logs to judge too: a JSON array or JSON lines, gzipped or not; - for standard "
            "input.",
            show_default=False,
        ),
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ACCOUNT=SERVICE",
            help="Which Cloud Run service runs as which service account, to tell its starts from others'; may be repeated.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="How many processes of a container load the secrets.")
    ] = 1,
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="A glob of your hosts, whose URLs are configuration, besides *.run.app; may be repeated.",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="A glob of files or folders to leave out; may be repeated.", show_default=False
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="A rule that is not applied; may be repeated.", show_default=False
        ),
    ] = None,
    tests: Annotated[bool, typer.Option("--tests", help="Judge files of tests too.")] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Take 64 hexadecimal digits for a key, whatever they are called."
        ),
    ] = False,
    form: Annotated[
        Literal["text", "json", "sarif"],
        typer.Option("--format", help="How it is told; SARIF is what code hosts read."),
    ] = "text",
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document, and nothing else.")
    ] = False,
) -> None:
    """Find secrets that are read or written by hand: in Python sources, and in an export of Cloud Audit Logs.

    Found are reads of the environment past a container, values in the source, dynamic secrets read while a module is
    imported, unused and undeclared names; in the log, static secrets read while serving. No value is ever shown.

    A comment lets a line pass, if it gives a reason: # pgp-config: allow[RULE] REASON

    It ends with 0 (nothing was found), 1 (something was), or 2 (wrong use, or nothing to audit; the rest is judged).
    """
    if as_json and form == "sarif":
        raise typer.BadParameter("Give --json or --format sarif, not both.")
    names = _names(secret or [], container or [], ("*.run.app", *(host or [])), strict=strict)
    told = _Told(
        paths=paths
        if paths is not None
        else []
        if audit_log and (container or secret)
        else [Path()],
        names=names,
        exclude=exclude or (),
        ignore=_rules(ignore or ()),
        tests=tests,
        log=audit_log,
        services=_services(account or ()),
        processes=processes,
    )
    _Run(told, "json" if as_json else form).perform()


# -- what is given -----------------------------------------------------------------------------


def _names(
    secrets: Iterable[str], containers: Sequence[str], hosts: tuple[str, ...], *, strict: bool
) -> Names:
    classes: dict[str, set[str]] = {"dynamic": set(), "static": set()}
    confidential: set[str] = set()
    for each in secrets:
        name, _, kind = each.partition("=")
        if not name or kind not in {"", "dynamic", "static"}:
            # Not quoted: it may be a value given by mistake.
            raise typer.BadParameter(
                "Write NAME, NAME=dynamic or NAME=static.", param_hint="--secret"
            )
        classes[kind or "dynamic"].add(name)
        confidential.add(name)
    for found in _declared(containers):
        classes["dynamic" if found.is_dynamic else "static"].add(found.name)
        if _is_key(found):
            confidential.add(found.name)
    return Names(
        frozenset(classes["dynamic"]),
        frozenset(classes["static"] - classes["dynamic"]),
        frozenset(confidential),
        hosts,
        strict,
    )


def _declared(containers: Sequence[str]) -> list[SecretProvider[Any]]:
    if not containers:
        return []
    try:
        with targets_of(containers) as targets:
            return [secret for target in targets for secret in target.declared.secrets]
    except PgpConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--container") from None


def _is_key(secret: SecretProvider[Any]) -> bool:
    declared = secret.spec.decoder.declared
    declared = getattr(declared, "__origin__", declared)  # of an Annotated, or of Keys[...]
    return isinstance(declared, type) and issubclass(declared, _KEYS)


def _rules(given: Sequence[str]) -> Sequence[str]:
    for rule in given:
        if rule not in RULES:
            raise typer.BadParameter(
                f"There is no rule {rule}; the rules are {', '.join(RULES)}.",
                param_hint="--ignore",
            )
    return given


def _services(given: Iterable[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if any(not (account and service) for account, _, service in pairs):
        raise typer.BadParameter("Write ACCOUNT=SERVICE.", param_hint="--account")
    return {account: service for account, _, service in pairs}


# -- what is done ------------------------------------------------------------------------------


class _Run:
    """One audit.

    Args:
        told: What the command was told.
        form: How it is told of.
    """

    def __init__(self, told: _Told, form: str) -> None:
        self._told, self._form = told, form
        # Made now: a test, or a program, may have put another stream in place.
        self._out = Console(highlight=False, soft_wrap=True)
        self._errors: list[str] = []

    def perform(self) -> None:
        """Judge what can be, show it, and end with its code.

        Raises:
            Exit: Unless nothing was found.
        """
        there = [path for path in self._told.paths if self._is_there(path)]
        found = audit_sources(
            there,
            self._told.names,
            exclude=self._told.exclude,
            ignore=self._told.ignore,
            tests=self._told.tests,
        )
        self._errors += [f"{path}: there is no Python file to audit" for path in found.empty]
        reading = None if self._told.log is None else self._reading(self._told.log, found.names)
        findings = [*found.findings, *(reading.findings if reading else ())]
        findings = [each for each in findings if each.rule not in self._told.ignore]
        code = UNUSABLE if self._errors else FOUND if findings else CLEAN
        self._show(findings, found, reading, code)
        if code:
            raise typer.Exit(code)

    def _is_there(self, path: Path) -> bool:
        if path.exists():
            return True
        self._errors.append(f"{path}: there is no such file or folder")
        return False

    def _reading(self, log: Path, names: Names) -> Reading | None:
        if not names.everything:
            self._errors.append(
                "the audit log cannot be judged: no secret is known. Give --container or --secret"
            )
            return None
        try:
            if log == _STDIN:
                return self._judged(cast("BinaryIO", sys.stdin.buffer), names)
            with log.open("rb") as stream:
                return self._judged(stream, names)
        except OSError as fault:
            self._errors.append(f"{log}: it cannot be read ({type(fault).__name__})")
            return None

    def _judged(self, stream: BinaryIO, names: Names) -> Reading:
        told = self._told
        return judge(read_export(stream), names, services=told.services, processes=told.processes)

    # -- what is shown -----------------------------------------------------------------------

    def _show(
        self, findings: list[Finding], found: Audit, reading: Reading | None, code: int
    ) -> None:
        if self._form == "text":
            self._show_lines(findings, found, reading)
            return
        document = sarif([*findings, *found.allowed])
        if self._form == "json":
            document = _document(findings, found, reading, self._errors, code)
        typer.echo(json.dumps(document, indent=2))
        if self._form == "sarif":
            self._show_errors()

    def _show_lines(self, findings: list[Finding], found: Audit, reading: Reading | None) -> None:
        for each in findings:
            self._line(
                (each.place, "bold"),
                ": ",
                (each.rule, "red"),
                f": {each.text}. ",
                (each.remedy, "dim"),
            )
        if findings:
            self._line("")
        for note in reading.notes if reading else ():
            self._line(("Note: ", "yellow"), note)
        if not found.names.everything:
            self._line(
                ("Note: ", "yellow"),
                "No secret is declared here. What only a name or a shape gives away was looked for; --secret and "
                "--container name more.",
            )
        self._line((_summary(findings, found, reading), "red" if findings else "green"))
        self._show_errors()

    def _show_errors(self) -> None:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        for each in self._errors:
            console.print(Text(printable(f"{each}."), style="red"))

    def _line(self, *parts: str | tuple[str, str]) -> None:
        safe = [
            printable(part) if isinstance(part, str) else (printable(part[0]), part[1])
            for part in parts
        ]
        self._out.print(Text.assemble(*safe))


def _summary(findings: Sequence[Finding], found: Audit, reading: Reading | None) -> str:
    parts = [
        f"{_many(len(findings), 'finding') if findings else 'No findings'} in {_many(found.files, 'file')}",
        f"{_many(len(found.names.everything), 'secret')} known",
    ]
    if reading:
        parts.append(
            f"{_many(reading.accesses, 'access', 'accesses')} and {_many(sum(reading.starts.values()), 'start')} in the log"
        )
    if found.allowed:
        parts.append(f"{len(found.allowed)} allowed by a comment")
    if found.tests:
        parts.append(f"{_many(found.tests, 'file')} of tests left out (--tests)")
    return f"{'; '.join(parts)}."


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or f'{one}s'}"


def _document(
    findings: Sequence[Finding],
    found: Audit,
    reading: Reading | None,
    errors: list[str],
    code: int,
) -> dict[str, Any]:
    names = found.names
    return {
        "findings": [_facts(each) for each in findings],
        "allowed": [{**_facts(each), "reason": each.reason} for each in found.allowed],
        "errors": errors,
        "files": found.files,
        "tests_left_out": found.tests,
        "containers": found.containers,
        "secrets": {"dynamic": sorted(names.dynamic), "static": sorted(names.static)},
        "audit_log": None
        if reading is None
        else {"accesses": reading.accesses, "starts": reading.starts, "notes": reading.notes},
        "error": None,
        "exit_code": code,
    }


def _facts(finding: Finding) -> dict[str, Any]:
    facts = asdict(finding)
    del facts["reason"]
    return {**facts, "line": finding.line or None}
