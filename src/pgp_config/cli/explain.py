"""`pgp-config explain`: what an error means, and what to do."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from pgp_config.cli.options import AsJson  # noqa: TC001  typer reads the annotations
from pgp_config.cli.output import DONE, Output
from pgp_config.explanations import explanations

if TYPE_CHECKING:
    from collections.abc import Iterable


def explain(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Errors, such as SecretForbidden; all are listed if none is given.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what an error means, what causes it and what to do. The source is not asked.

    It ends with 0, or with 2 if there is no such error.
    """
    known = explanations()
    by_lower_case = {name.lower(): name for name in known}
    asked = [given.lower() for given in names or ()]
    close = [_closest(name, by_lower_case) for name in asked if name not in by_lower_case]
    if close:
        meant = " or ".join(by_lower_case[name] for name in close if name)
        hint = f"Did you mean {meant}?" if meant else f"Known are {', '.join(known)}."
        raise typer.BadParameter(f"there is no such error. {hint}")  # what was given is not shown
    wanted = [by_lower_case[name] for name in asked]
    output = Output(as_json=as_json)
    if wanted:
        _show(output, {name: known[name] for name in wanted})
    else:
        output.line("\n".join([*known, "", "pgp-config explain NAME says what it means."]))
    chosen = [{"name": name, "text": known[name]} for name in wanted or known]
    raise typer.Exit(output.end({"errors": chosen, "error": None}, DONE))


def _closest(given: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(given, known, n=1)), "")


def _show(output: Output, texts: dict[str, str]) -> None:
    for number, (name, text) in enumerate(texts.items()):
        output.line(name if number == 0 else f"\n{name}", style="bold")
        for part in text.split("\n\n"):
            output.line()
            if part.startswith("    "):
                output.line(part)  # as it is shown, for it is searched for
            else:
                output.paragraph(part, mark="")
