"""The `pgp-config` command; one file a subcommand."""

from __future__ import annotations

import sys

try:
    import rich  # noqa: F401  the check belongs here, before a subcommand needs it
    import typer
except ImportError:  # pragma: no cover  # the extra is always there in the tests
    sys.exit("pgp-config needs its extra: pip install 'pgp-config[cli,emulator]'")

from pgp_config.cli.cost import cost
from pgp_config.cli.emulator import emulator
from pgp_config.cli.explain import explain
from pgp_config.cli.rotate import rotate

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show locals
    help="Secrets that rotate while the service runs.",
)
app.command()(cost)
app.command()(emulator)
app.command()(explain)
# What is too much is refused by the command itself: it may be a value, and is not to be shown.
app.command(context_settings={"allow_extra_args": True})(rotate)


def main() -> None:
    """Run the command."""
    app()
