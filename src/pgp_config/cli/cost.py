"""`pgp-config cost`: what a month of reading secrets costs, mode by mode."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pgp_config.cli.options import AsJson  # noqa: TC001  typer reads the annotations
from pgp_config.cli.output import DONE, Output
from pgp_config.cost import (
    FREE_ACCESSES,
    FREE_VERSIONS,
    MAX_AGES,
    Traffic,
    advice,
    estimates,
    versions_cost,
)
from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from pgp_config.cost import Advice, Estimate

_HEADINGS = ("mode", "old at most", "accesses a month", "$ a month", "quota")


def cost(  # noqa: PLR0917  typer makes options of them
    requests_per_second: Annotated[
        float,
        typer.Option(
            help="Of all processes together: the average for the bill, the peak for the quota.",
            show_default=False,
        ),
    ],
    processes: Annotated[
        int,
        typer.Option(help="How many processes serve them, workers included.", show_default=False),
    ],
    secrets: Annotated[
        int, typer.Option(help="Dynamic secrets that each request reads.", show_default=False)
    ],
    max_age: Annotated[
        list[float] | None,
        typer.Option(
            help=f"Seconds; may be repeated. By default {', '.join(f'{age:g}' for age in MAX_AGES)}.",
            show_default=False,
        ),
    ] = None,
    per_request_reads: Annotated[
        int, typer.Option(help="How often a request reads each secret.")
    ] = 1,
    rotations: Annotated[int, typer.Option(help="New versions of each secret in a month.")] = 1,
    round_trip: Annotated[float, typer.Option(help="Seconds that an access takes.")] = 0.03,
    budget: Annotated[
        float, typer.Option(help="Dollars a month that the accesses may cost.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Estimate what a month of reading secrets costs, and say which mode to choose.

    Accesses, dollars at Google's prices, and the share of the 90,000 accesses that a project may make in a
    minute. For pgp_config they are upper bounds: where requests are rare it asks less often.

    It ends with 0, or with 2 where a number is out of its bounds.
    """
    try:
        traffic = Traffic(
            requests_per_second, processes, secrets, per_request_reads, rotations, round_trip
        )
        found = estimates(traffic, max_age or MAX_AGES)
        chosen = advice(found, budget)
    except DeclarationError as error:
        raise typer.BadParameter(str(error)) from None
    output = Output(as_json=as_json)
    for line in _table(found):
        output.line(line)
    output.line(
        f"\nThe first {FREE_ACCESSES:,} accesses of a month are free. One version of each secret costs "
        f"${versions_cost(secrets):,.2f} a month more;\n{FREE_VERSIONS} versions are free, and each that is not "
        "destroyed counts."
    )
    output.line(f"\nChoose {chosen.choice.title}. {chosen.text}".replace(". ", ".\n"))
    output.end(_document(traffic, found, chosen), DONE)


def _table(found: list[Estimate]) -> list[str]:
    rows = [_HEADINGS, *(_cells(one) for one in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS))]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _cells(one: Estimate) -> tuple[str, ...]:
    return (
        one.title,
        f"{one.max_age:g} s" if one.max_age else "-",
        f"{one.accesses:,}",
        f"{one.dollars:,.2f}",
        f"{one.quota:.2%}",
    )


def _document(traffic: Traffic, found: list[Estimate], chosen: Advice) -> dict[str, object]:
    return {
        "traffic": asdict(traffic),
        "modes": [asdict(one) for one in found],
        "versions_usd_a_month": versions_cost(traffic.secrets),
        "choice": {
            "mode": chosen.choice.mode,
            "max_age": chosen.choice.max_age,
            "fits": chosen.fits,
            "why": chosen.text,
        },
        "error": None,
    }
