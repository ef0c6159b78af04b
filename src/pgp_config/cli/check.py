"""`pgp-config check`: whether the secrets of containers are there, usable and well kept; all findings at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgp_config.checks.budget import Load
from pgp_config.checks.catalogue import read_catalogue
from pgp_config.checks.examination import Options, examine
from pgp_config.checks.inventory import name_of
from pgp_config.cli.options import (
    AsJson,
    Containers,
    SourceUrl,
    as_misuse,
    containers_in,
    named,
    opened,
    refuse_unreadable,
    subjects_of,
)
from pgp_config.cli.output import DONE, FAILED, Output
from pgp_config.cost import Traffic
from pgp_config.errors import PgpConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgp_config.checks.examination import Report
    from pgp_config.checks.findings import Finding

_MARKS = {"error": ("✗ ", "bold red"), "warning": ("! ", "bold yellow"), "note": ("· ", "bold")}

#: Secrets of one finding that are named in a line.
_NAMED = 6


def check(  # noqa: PLR0917  typer makes options of them
    containers: Containers,
    source: SourceUrl = None,
    read: Annotated[
        bool,
        typer.Option(
            "--read/--no-read",
            help="Fetch each value and validate its type in memory, which is one access a secret; or leave that out.",
        ),
    ] = True,
    catalogue: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The team's list of secrets (.csv, .json, .yaml: name, class, type, services), to compare.",
            show_default=False,
        ),
    ] = None,
    requests_per_second: Annotated[
        float | None,
        typer.Option(
            help="Of each service, all its processes together: for cost and quota.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Of each service: for cost and quota.", show_default=False),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=0, help="Dollars a month that all of it may cost.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every secret that containers declare, and tell all findings at once with what to do.

    Whether each exists, its version is enabled, this identity may read it, and its value is of the declared type;
    whether its IAM policy, or the project's, lets too many read it; where the catalogue differs; what a month costs and
    which share of the quota it takes. What cannot be checked is named.

    NO VALUE IS SHOWN. To validate the types each value is fetched and dropped: one access a secret, which is billed
    and audited as any other. --no-read leaves it out.

    It ends with 0 (nothing has to be mended), 1 (errors or warnings were found, or it failed), or 2 (wrong use).
    """
    if (requests_per_second is None) != (processes is None):
        raise typer.BadParameter("Give --requests-per-second and --processes together.")
    if budget is not None and processes is None:
        raise typer.BadParameter("--budget needs --requests-per-second and --processes.")
    refuse_unreadable(catalogue, "--catalogue")
    output = Output(as_json=as_json)
    with named(containers) as targets:
        document: dict[str, Any] = {"containers": containers_in(targets), "error": None}
        try:
            options = Options(
                read,
                _load(requests_per_second, processes, budget),
                None if catalogue is None else read_catalogue(catalogue),
            )
            subjects = subjects_of(targets)
            with opened(source, subjects) as asked:
                if asked is None and catalogue is None:
                    raise typer.BadParameter(
                        "There is no source to ask: give --source gsm://PROJECT, or PGP_CONFIG_SOURCE."
                    )
                report = examine(subjects, asked, options)
                document["source"] = None if asked is None else name_of(asked)
            code = _show(output, document, report, len(subjects))
        except PgpConfigError as error:
            code = output.fail(document, error)
    raise typer.Exit(code)


def _load(
    requests_per_second: float | None, processes: int | None, budget: float | None
) -> Load | None:
    if requests_per_second is None or processes is None:
        return None
    with as_misuse():
        Traffic(requests_per_second, processes, secrets=1)  # it knows the bounds
    return Load(requests_per_second, processes, budget)


def _show(output: Output, document: dict[str, Any], report: Report, containers: int) -> int:
    document |= {
        "secrets": [row.name for row in report.rows],
        "findings": [asdict(finding) for finding in report.findings],
        "checks": [asdict(each) for each in report.examinations],
        "accesses": report.accesses,
        "month": asdict(report.bill),
    }
    for finding, secrets in _grouped(report.findings):
        _show_finding(output, finding, secrets)
    for each in report.examinations:
        mark, style = ("✓ ", "green") if each.made else ("- ", "yellow")
        text = each.text if each.made else f"NOT CHECKED: {each.text}"
        output.paragraph(f"{each.check}: {text}", mark=mark, style=style)
    for line in _month(report):
        output.paragraph(line, mark="$ ", style="bold")
    output.line()
    style = "bold green" if report.is_good else "bold red"
    output.paragraph(_summary(report, containers), mark="", style=style)
    return output.end(document, DONE if report.is_good else FAILED)


def _grouped(findings: Sequence[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings that differ in their secret alone, as one."""
    found: dict[tuple[str, str, str], tuple[Finding, list[str]]] = {}
    for finding in findings:
        key = finding.code, finding.what, finding.remedy
        _, secrets = found.setdefault(key, (finding, []))
        if finding.secret is not None:
            secrets.append(finding.secret)
    return list(found.values())


def _show_finding(output: Output, finding: Finding, secrets: list[str]) -> None:
    mark, style = _MARKS[finding.severity]
    of = f": {_names(secrets)}" if secrets else ""
    output.paragraph(f"{finding.severity} {finding.code}{of}", mark=mark, style=style)
    output.paragraph(f"{finding.what}.")
    output.paragraph(f"→ {finding.remedy}")
    output.line()


def _names(secrets: Sequence[str]) -> str:
    if len(secrets) <= _NAMED:
        return ", ".join(secrets)
    return f"{', '.join(secrets[:_NAMED])} and {len(secrets) - _NAMED} more ({len(secrets)})"


def _month(report: Report) -> list[str]:
    bill, lines = report.bill, []
    if bill.accesses is not None:
        lines.append(
            f"Up to {bill.accesses:,} accesses a month, ${bill.accesses_usd:,.2f}; {bill.quota:.2%} of the quota. What "
            "a start of a process reads comes on top."
        )
    if bill.versions is not None:
        lines.append(
            f"{bill.versions} versions that are not destroyed, ${bill.versions_usd:,.2f} a month."
        )
    return lines


def _summary(report: Report, containers: int) -> str:
    counts = [
        f"{_count(report, severity)} {severity}{'' if _count(report, severity) == 1 else 's'}"
        for severity in ("error", "warning", "note")
    ]
    secrets = "1 secret" if len(report.rows) == 1 else f"{len(report.rows)} secrets"
    of = "1 container" if containers == 1 else f"{containers} containers"
    skipped = sum(not each.made for each in report.examinations)
    left = "" if not skipped else f" {skipped} of the checks were not made, see above."
    return f"{secrets} of {of}: {', '.join(counts)}.{left}"


def _count(report: Report, severity: str) -> int:
    return sum(finding.severity == severity for finding in report.findings)
