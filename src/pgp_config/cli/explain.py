"""`pgp-config explain`: what an error means, and what to do."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pgp_config.explanations import explanations


def explain(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Names of errors, such as SecretForbidden; all are listed if none is given.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say what an error means, what causes it and what to do. The source is not asked.

    It ends with 0, or with 2 if there is no such error.
    """
    known = explanations()
    by_lower_case = {name.lower(): name for name in known}
    wanted = [by_lower_case.get(given.lower(), "") for given in names or ()]
    if "" in wanted:
        raise typer.BadParameter(f"there is no such error. Known are {', '.join(known)}.")
    chosen = {name: known[name] for name in wanted or known}
    if as_json:
        topics = [{"name": name, "text": text} for name, text in chosen.items()]
        typer.echo(json.dumps({"errors": topics, "error": None, "exit_code": 0}, indent=2))
    elif wanted:
        typer.echo("\n\n".join(f"{name}\n\n{text}" for name, text in chosen.items()))
    else:
        typer.echo("\n".join([*known, "", "pgp-config explain NAME says what it means."]))
