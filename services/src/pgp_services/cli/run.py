"""`pgp-services run`: one service in the foreground, as it is deployed."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import Annotated, NoReturn

import typer

from pgp_config import PgpConfigError
from pgp_services.cli.naming import service_named
from pgp_services.serving.server import CannotServeError, serve


def run(
    name: Annotated[str, typer.Argument(help="PGP_SPLIT2_v1, SPLIT2 or split2.")],
    port: Annotated[
        int, typer.Option(envvar="PORT", min=0, max=65535, help="0 for a free one.")
    ] = 8080,
    host: Annotated[
        str | None,
        typer.Option(
            help="Where to listen: by default 127.0.0.1, or everywhere where PORT is set.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of a Flask service.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads in each of them.")] = 8,
) -> None:
    """Run a service until SIGTERM or Ctrl-C; its secrets are where PGP_CONFIG_SOURCE says.

    Flask services run under gunicorn, WEBAPI under uvicorn in one process. SERVER and BOTCOMMAND
    ask Telegram for updates as TELEGRAM_UPDATES says, and then run in one process too.

    Exit codes: 0 ended by a signal, 1 a setting or a secret is missing or wrong or the port is
    taken, 2 there is no such service or an option does not suit it.
    """
    service = service_named(name)
    try:
        with closing(_listener(host or _usual_host(), port)) as listener:
            serve(service, listener, workers=workers, threads=threads)
    except CannotServeError as unsuitable:
        raise typer.BadParameter(str(unsuitable)) from None
    except PgpConfigError as fault:
        _end(str(fault))


def _usual_host() -> str:
    # Cloud Run sets PORT, and reaches a container from outside of it.
    return "0.0.0.0" if os.environ.get("PORT") else "127.0.0.1"  # noqa: S104  see above


def _listener(host: str, port: int) -> socket.socket:
    """Bound before anything is loaded: a port that is taken is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as fault:
        _end(f"cannot listen on {host} port {port}: {fault.strerror}.")


def _end(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(1) from None
