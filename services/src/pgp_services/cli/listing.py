"""`pgp-services list`: the fleet, and what each service may read."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgp_services import catalogue
from pgp_services.cli.naming import service_named
from pgp_services.names import Service
from pgp_services.registry import REGISTRY, routes_of

#: Columns of the table where no terminal says how wide it is: nothing is broken.
_WIDTH = 132

#: More columns than the table can need.
_UNBOUNDED = 1_000

_TITLES = ("service", "routes", "static", "dynamic")

_CAPTION = (
    "* The secret for which the service is security-critical. Static secrets change with a restart, dynamic "
    "ones while the service runs. Every service has /healthz and /readyz besides."
)


def listing(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Only these, such as SPLIT2.", show_default=False
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show the services: framework, routes, and the secrets that each may read; never a value.

    Exit codes: 0 shown, 2 there is no such service.
    """
    services = [service_named(name) for name in names or ()] or list(Service)
    rows = [_row(service) for service in dict.fromkeys(services)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _show(rows)


def _row(service: Service) -> dict[str, Any]:
    entry, rows = REGISTRY[service], catalogue.secrets_of(service)
    critical = catalogue.CRITICAL.get(service)
    return {
        "name": service,
        "framework": entry.framework,
        "updates": entry.updates,
        "routes": [f"{route.method} {route.path}" for route in routes_of(service)],
        "static": [row.name for row in rows if row.reload_class == "static"],
        "dynamic": [row.name for row in rows if row.reload_class == "dynamic"],
        "critical": None if critical is None else critical.name,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    # Made now: a test, or a program, may have put another stream in place.
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    table = _table(rows)
    wanted = console.measure(table, options=console.options.update(max_width=_UNBOUNDED)).maximum
    if wanted <= console.width:
        console.print(table)
    else:
        # Beside one another the columns would be so narrow that names were broken.
        for row in rows:
            console.print(_stacked(row), soft_wrap=True)
        console.print(_CAPTION)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(caption=_CAPTION, caption_justify="left", show_lines=True)
    for title in _TITLES:
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(_title(row), *_cells(row))
    return table


def _stacked(row: dict[str, Any]) -> Text:
    """A service with what the columns have below one another."""
    shown = _title(row)
    for title, cell in zip(_TITLES[1:], _cells(row), strict=True):
        shown.append(f"\n  {title}:")
        for line in cell.split("\n"):
            shown.append("\n    ").append_text(line)
    return shown.append("\n")


def _cells(row: dict[str, Any]) -> tuple[Text, Text, Text]:
    static = (_static(name, critical=name == row["critical"]) for name in row["static"])
    return (
        Text("\n".join(row["routes"])),
        Text("\n").join(static),
        Text("\n".join(row["dynamic"])),
    )


def _title(row: dict[str, Any]) -> Text:
    loop = "" if row["updates"] is None else f"\nTelegram's updates: {row['updates']}"
    return Text.assemble((row["name"], "bold"), f"\n{row['framework']}{loop}")


def _static(name: str, *, critical: bool) -> Text:
    return Text(f"{name} *", "bold red") if critical else Text(name)
