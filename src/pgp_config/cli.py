"""The `pgp-config` command."""

from __future__ import annotations

import signal
import sys
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import Annotated

from pgp_config.errors import PgpConfigError

try:
    import typer
except ImportError:  # pragma: no cover  # the extra is always there in the tests
    sys.exit("pgp-config needs its extra: pip install 'pgp-config[cli,emulator]'")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show locals
    help="Secrets that rotate while the service runs.",
)

#: Lines to paste into a shell.
_REST = """\
REST at {url} for gcloud:
  export CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER={url}
  export CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true CLOUDSDK_CORE_PROJECT={project}"""


@app.callback()
def _commands() -> None:
    """Without this, typer would take a single command for the whole program."""


@app.command()
def emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="For gRPC; 0 for a free one.")] = 0,
    rest_port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="For REST, as gcloud speaks it; 0 for a free one."),
    ] = 0,
    seed: Annotated[
        Path | None,
        typer.Option(help="A JSON file: names, each with a text or a list of texts (versions)."),
    ] = None,
    project: Annotated[str, typer.Option(help="The project of the seeded secrets.")] = "local",
) -> None:
    """Start a local Secret Manager that Google's own clients talk to.

    It listens on 127.0.0.1 only, asks nobody who they are, speaks without TLS, and forgets everything
    when it ends: it is NO PLACE FOR REAL SECRETS.

    The first line of output is its address. Point a service at it with
    PGP_CONFIG_SOURCE='gsm://local?endpoint=ADDRESS'; the lines after it say how gcloud finds it.
    It ends on Ctrl-C or SIGTERM.
    """
    try:
        _serve(port, rest_port, seed, project)
    except PgpConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _serve(port: int, rest_port: int, file: Path | None, project: str) -> None:
    try:
        from pgp_config.emulator import SecretManagerEmulator  # noqa: PLC0415  needs an extra
        from pgp_config.emulator.seed import seed  # noqa: PLC0415  as above
    except ImportError as missing:
        typer.echo(
            f"The local Secret Manager needs {missing.name}: pip install 'pgp-config[emulator]'.",
            err=True,
        )
        raise typer.Exit(1) from None
    server = SecretManagerEmulator(project, port=port, rest_port=rest_port)
    seeded = 0 if file is None else seed(server, file)
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before any thread is started: all of them inherit the mask, so that sigwait gets the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with server:
        typer.echo(f"Secret Manager emulator listening on {server.endpoint}")
        typer.echo(_REST.format(url=f"http://{server.rest_endpoint}/", project=project))
        secrets = "1 secret" if seeded == 1 else f"{seeded} secrets"
        typer.echo(f"{secrets} in projects/{project}. No place for real secrets.")
        sys.stdout.flush()
        signal.sigwait(ends)
        typer.echo("Stopping.")


def main() -> None:
    """Run the command."""
    app()
