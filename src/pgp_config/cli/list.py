"""`pgp-config list`: the secrets of containers, with what their source tells of each; never a value."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from pgp_config.checks.inventory import Look, looks_at, name_of, rows_of, teller
from pgp_config.cli.options import (
    AsJson,
    Containers,
    SourceUrl,
    containers_in,
    named,
    opened,
    subjects_of,
)
from pgp_config.cli.output import DONE, FAILED, Output, age_of
from pgp_config.errors import PgpConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgp_config.checks.inventory import Row, Subject
    from pgp_config.sources.base import Source

_HEADINGS = ("SECRET", "CLASS", "VERSION", "AGE", "STATE", "SERVICES")
_STYLES = {"enabled": "green", "forbidden": "yellow", "unknown": "yellow", "": ""}

#: Services that are named in a narrow table; more are counted.
_FEW = 1


def list_(containers: Containers, source: SourceUrl = None, *, as_json: AsJson = False) -> None:
    """List the secrets that containers declare: class, version, age, state and services.

    Version, age and state are those of the version that is read: the newest, or the one that a static secret is
    pinned to. They are asked from the source as metadata; no value is fetched. Without a source the declarations are
    listed, and it is said that nobody was asked.

    It ends with 0, with 1 if the source could not be asked, or with 2 (wrong use).
    """
    output = Output(as_json=as_json)
    with named(containers) as targets:
        subjects = subjects_of(targets)
        document: dict[str, Any] = {"containers": containers_in(targets)}
        try:
            with opened(source, subjects) as asked:
                code = _show(output, document, subjects, asked)
        except PgpConfigError as error:
            document |= _document(rows_of(subjects), {}, None)
            code = output.fail(document, error)
    raise typer.Exit(code)


def _document(
    rows: Sequence[Row], looks: Mapping[str, Look], source: Source | None
) -> dict[str, Any]:
    why = _why_not(source, looks)
    return {
        "source": None if source is None else name_of(source),
        "asked": why is None,
        "why_not": why,
        "secrets": [_facts(row, looks.get(row.name)) for row in rows],
        "error": None,
    }


def _show(
    output: Output,
    document: dict[str, Any],
    subjects: Sequence[Subject],
    source: Source | None,
) -> int:
    rows = rows_of(subjects)
    looks = {} if source is None else looks_at(source, rows)
    document |= _document(rows, looks, source)
    services = {subject.service for subject in subjects}
    output.table(
        _HEADINGS,
        [_cells(row, looks.get(row.name), services, wide=output.is_wide) for row in rows],
    )
    output.line()
    output.line(_summary(rows, services, source))
    problem = _problem(looks)
    if not document["asked"]:
        why = document["why_not"]
        output.paragraph(f"Versions and states are not known: {why}", mark="! ", style="yellow")
    return output.end(document, DONE if problem is None else FAILED)


def _why_not(source: Source | None, looks: Mapping[str, Look]) -> str | None:
    """Why nothing, or not everything, is known of versions and states."""
    if source is None:
        return "no source was asked. Give one: --source gsm://PROJECT, or PGP_CONFIG_SOURCE."
    if teller(source, "versions") is None:
        return f"a source of the kind {type(source).__name__} tells none."
    problem = _problem(looks)
    if problem is not None and all(look.unreached for look in looks.values()):
        return (
            f"{problem.happened}. {problem.remedy}"  # of the source, and not of the first secret
        )
    return None if problem is None else str(problem)


def _problem(looks: Mapping[str, Look]) -> PgpConfigError | None:
    return next((look.problem for look in looks.values() if look.problem is not None), None)


def _facts(row: Row, look: Look | None) -> dict[str, Any]:
    return {
        "name": row.name,
        "class": row.reload_class,
        "types": list(row.types),
        "services": list(row.services),
        "pinned": list(row.pinned),
        "version": None if look is None else look.version,
        "created": None if look is None else look.created,
        "age_s": None if look is None or look.created is None else _age(look.created),
        "state": None if look is None else look.state,
    }


def _age(created: float) -> float:
    # Dates of a store are by the wall clock, and so is an age that people compare with them.
    return round(max(time.time() - created, 0.0), 1)


def _cells(
    row: Row, look: Look | None, services: set[str], *, wide: bool
) -> list[tuple[str, str]]:
    look = look or Look("")
    state = look.state if look.state != "enabled" or not row.pinned else "enabled, pinned"
    return [
        (row.name, ""),
        (row.reload_class, "bold" if "static" in row.classes else ""),
        ("-" if look.version is None else str(look.version), ""),
        ("-" if look.created is None else age_of(_age(look.created)), ""),
        (state or "-", _STYLES.get(look.state, "bold red")),
        (_services(row, services, wide=wide), ""),
    ]


def _services(row: Row, services: set[str], *, wide: bool) -> str:
    if len(row.services) <= _FEW:
        return ", ".join(row.services)
    if len(row.services) == len(services):
        return f"all {len(services)}"
    return ", ".join(row.services) if wide else f"{len(row.services)} of {len(services)}"


def _summary(rows: Sequence[Row], services: set[str], source: Source | None) -> str:
    static = sum("static" in row.classes for row in rows)
    where = "" if source is None else f"; {name_of(source)}"
    secrets = "1 secret" if len(rows) == 1 else f"{len(rows)} secrets"
    of = "1 service" if len(services) == 1 else f"{len(services)} services"
    return f"{secrets} of {of}: {static} static, {len(rows) - static} dynamic{where}."
