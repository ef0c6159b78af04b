"""The `pgp-config` command; one file a subcommand."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

try:
    import httpx  # noqa: F401  the check belongs here, before a subcommand needs it
    import rich  # noqa: F401  as above
    import typer
except ImportError:  # pragma: no cover  # the extra is always there in the tests
    sys.exit("pgp-config needs its extra: pip install 'pgp-config[cli,emulator]'")

from pgp_config.cli.audit import audit
from pgp_config.cli.careful import CarefulGroup
from pgp_config.cli.check import check
from pgp_config.cli.cost import cost
from pgp_config.cli.demo import demo
from pgp_config.cli.emulator import emulator
from pgp_config.cli.graph import graph
from pgp_config.cli.init import init
from pgp_config.cli.list import list_
from pgp_config.cli.rotate import rotate
from pgp_config.cli.tail import tail

app = typer.Typer(
    cls=CarefulGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show locals
    # Panels cut off the names of long options at 80 columns, and keep the line breaks of docstrings.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"pgp-config {version('pgp-config')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """Secrets that rotate while the service runs.

    No command shows a value. Each writes one JSON document with --json, and ends with 0 (fine), 1 (failed, or found
    something), 2 (wrong use), 3 (rotate: not finished) or 130 (interrupted).
    """


app.command("list", short_help="Secrets: class, version, age, state, services.")(list_)
app.command(short_help="What is wrong with the secrets, and what to do.")(check)
app.command(short_help="Secrets read or written by hand; static ones read while serving.")(audit)
app.command(short_help="Containers, secrets and clients as a picture.")(graph)
# What is too much is refused by the command itself: it may be a value, and is not to be shown.
app.command(
    short_help="A new version, its uptake proved, the old one disabled.",
    context_settings={"allow_extra_args": True},
)(rotate)
app.command(short_help="What a month of reading costs, mode by mode.")(cost)
app.command(short_help="A local Secret Manager for Google's clients.")(emulator)
app.command(short_help="A new service that passes its own tests at once.")(init)
app.command(short_help="A rotation under load to watch, in ten seconds.")(demo)
app.command(short_help="The reload events of a running service.")(tail)


def main() -> None:
    """Run the command."""
    app()
