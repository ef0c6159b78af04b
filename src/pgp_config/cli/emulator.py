"""`pgp-config emulator`: a local Secret Manager in the foreground."""

from __future__ import annotations

import signal
import sys
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pgp_config.cli.options import refuse_unreadable
from pgp_config.cli.output import DONE, Output
from pgp_config.errors import DeclarationError, PgpConfigError

if TYPE_CHECKING:
    from pgp_config.emulator import SecretManagerEmulator

#: Lines to paste into a shell.
_REST = """\
REST at {url} for gcloud:
  export CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER={url}
  export CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true CLOUDSDK_CORE_PROJECT={project}"""

_PUSHES = """\
Changes go to {url}, with a token for that audience, whose certificates are at
  http://{rest}/oauth2/v1/certs"""


def emulator(  # noqa: PLR0917  each is an option of the command
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
    push_url: Annotated[
        str | None, typer.Option(help="A push endpoint that is told of each change.")
    ] = None,
    pubsub: Annotated[
        str | None,
        typer.Option(help="A Pub/Sub emulator to publish each change to, such as 127.0.0.1:8085."),
    ] = None,
    topic: Annotated[
        str, typer.Option(help="The topic of the seeded secrets, in their project.")
    ] = "secrets",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Write its addresses as one JSON document, and nothing else."),
    ] = False,
) -> None:
    """Start a local Secret Manager that Google's own clients talk to.

    It listens on 127.0.0.1 only, asks nobody who they are, speaks without TLS, and forgets everything
    when it ends: it is NO PLACE FOR REAL SECRETS.

    The first line of output is its address. Point a service at it with
    PGP_CONFIG_SOURCE='gsm://local?endpoint=ADDRESS'; the lines after it say how gcloud finds it.
    It ends on Ctrl-C or SIGTERM with 0, with 1 if it cannot start, or with 2 (wrong use).
    """
    refuse_unreadable(seed, "--seed")
    output = Output(as_json=as_json)
    try:
        _serve(output, (port, rest_port), seed, project, _Pushes(push_url, pubsub, topic))
    except PgpConfigError as error:
        raise typer.Exit(output.fail({}, error)) from None


class _Pushes(NamedTuple):
    """Where changes are told of."""

    url: str | None
    pubsub: str | None
    topic: str


def _serve(
    output: Output, ports: tuple[int, int], file: Path | None, project: str, pushes: _Pushes
) -> None:
    port, rest_port = ports
    try:
        from pgp_config.emulator import (  # noqa: PLC0415  needs an extra
            PushUrl,
            SecretManagerEmulator,
            Topic,
        )
        from pgp_config.emulator.seed import seed  # noqa: PLC0415  as above
    except ImportError as missing:
        raise DeclarationError(
            f"the local Secret Manager needs {missing.name}",
            remedy="Install it: pip install 'pgp-config[emulator]'.",
        ) from None
    told = pushes.url is not None or pushes.pubsub is not None
    topics = [f"projects/{project}/topics/{pushes.topic}"] if told else []
    server = SecretManagerEmulator(project, port=port, rest_port=rest_port, topics=topics)
    seeded = 0 if file is None else seed(server, file)
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before any thread is started: all of them inherit the mask, so that sigwait gets the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with server:
        for line in _addresses(server, project):
            output.line(line)
        # After the seeding: what was there at the start is no change.
        if pushes.pubsub is not None:
            server.publish_to(Topic(pushes.pubsub))
            output.line(f"Changes go to {topics[0]} of {pushes.pubsub}")
        if pushes.url is not None:
            server.publish_to(PushUrl(pushes.url, signer=server.signer))
            output.line(_PUSHES.format(url=pushes.url, rest=server.rest_endpoint))
        secrets = "1 secret" if seeded == 1 else f"{seeded} secrets"
        output.line(f"{secrets} in projects/{project}. No place for real secrets.")
        output.end(_document(server, project, seeded), DONE)
        sys.stdout.flush()
        signal.sigwait(ends)
        output.line("Stopping.")


def _addresses(server: SecretManagerEmulator, project: str) -> list[str]:
    rest = _REST.format(url=f"http://{server.rest_endpoint}/", project=project)
    return [f"Secret Manager emulator listening on {server.endpoint}", rest]


def _document(server: SecretManagerEmulator, project: str, seeded: int) -> dict[str, object]:
    return {
        "endpoint": server.endpoint,
        "rest_endpoint": server.rest_endpoint,
        "source": f"gsm://{project}?endpoint={server.endpoint}",
        "project": project,
        "secrets": seeded,
        "error": None,
    }
