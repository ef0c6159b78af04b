"""`pgp-config graph`: containers, secrets and clients as a picture or a text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from pgp_config.cli.options import AsJson, Containers, named
from pgp_config.cli.output import DONE, FAILED, Output
from pgp_config.drawing import texts
from pgp_config.drawing.graph import Placed
from pgp_config.drawing.svg import svg
from pgp_config.providers.drawn import drawn_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Format(StrEnum):
    """How a graph is written."""

    MERMAID = "mermaid"
    SVG = "svg"
    JSON = "json"
    DOT = "dot"


_DRAW = {Format.MERMAID: texts.mermaid, Format.SVG: svg, Format.DOT: texts.dot}


def graph(
    containers: Containers,
    format_: Annotated[
        Format, typer.Option("--format", help="What to write.", case_sensitive=False)
    ] = Format.MERMAID,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there.", show_default=False),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Draw containers: which secrets they declare, what is built from them, and what that is given to.

    Mermaid is shown by GitHub, GitLab and many editors in a ```mermaid block, DOT is for Graphviz, and the SVG needs
    nothing else. --json is --format json. No source is asked.

    It ends with 0, with 1 if the file cannot be written, or with 2 (wrong use).
    """
    output = Output(as_json=as_json or format_ is Format.JSON)
    with named(containers) as targets:
        graphs = [Placed(target.service, drawn_of(target.container)) for target in targets]
    if file is None:
        raise typer.Exit(_print(output, graphs, format_))
    raise typer.Exit(_write(output, graphs, format_, file))


def _print(output: Output, graphs: Sequence[Placed], format_: Format) -> int:
    if output.as_json:
        return output.end({**texts.document(graphs), "error": None}, DONE)
    typer.echo(_DRAW[format_](graphs), nl=False)
    return DONE


def _write(output: Output, graphs: Sequence[Placed], format_: Format, file: Path) -> int:
    text = output.as_text(texts.document(graphs)) if output.as_json else _DRAW[format_](graphs)
    try:
        file.write_text(text, "utf-8")
    except OSError as failure:
        output.error(f"{file} cannot be written ({failure.strerror}). Name another file.")
        return FAILED
    return DONE
