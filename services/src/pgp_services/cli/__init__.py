"""The `pgp-services` command; one file a subcommand."""

from __future__ import annotations

import typer

from pgp_services.cli.listing import listing
from pgp_services.cli.ops import ops
from pgp_services.cli.run import run

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show locals
    help="The PGP payment fleet: what each service reads, and running one of them.",
)
app.command("list")(listing)
app.command()(run)
app.add_typer(ops, name="ops")


def main() -> None:
    """Run the command."""
    app()
