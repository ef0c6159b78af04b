"""`pgp-config tail URL`: what a running service's secrets do, as it happens."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Annotated

import httpx
import typer
from rich.console import Console
from rich.text import Text

from pgp_config.cli.following import Ended, Follower, Told
from pgp_config.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Callable

#: How it ended. 2 is a wrong use of the command, as typer has it.
FAILED, INTERRUPTED = 1, 130

#: Seconds that one answer may take.
TIMEOUT = 10.0

_ADVICE = (
    "Is the service up, and is the URL that of its status page, such as https://my-service.example/_secrets? Without --once "
    "it is tried again until it answers."
)

_STYLES = {"error": "red", "warning": "yellow", "info": "green"}

#: A host's name or address; httpx takes anything, and would look for it for ever.
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")

#: Hosts to which a header may go without TLS: this machine.
_LOCAL = {"127.0.0.1", "::1", "localhost"}


def tail(  # noqa: PLR0917  typer makes options of them
    url: Annotated[
        str,
        typer.Argument(
            help="The service's status page, such as https://my-service.example/_secrets."
        ),
    ],
    header: Annotated[
        list[str] | None,
        typer.Option(
            help="A header, 'Name: value'; may be repeated. Others can see the command line: better --header-env.",
            show_default=False,
        ),
    ] = None,
    header_env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="An environment variable that holds a header, 'Authorization: Bearer TOKEN'; may be repeated.",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once: tell what one process has, and end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object a line, and nothing else.")
    ] = False,
) -> None:
    """Follow the reload events of a running service, by its status page; no value is in them.

    Several processes behind one URL answer in turn: each is told of by its process id, when it starts, falls silent, or has
    had more events than it keeps. A fault of the network is tried again, at longer and longer intervals.

    It ends with 0 (--once), 1 (the page refuses, or is none), 2 (wrong use), or 130 (interrupted).
    """
    where = _data_url(url)
    headers = _headers(header or (), header_env or ())
    if headers and where.scheme == "http" and where.host not in _LOCAL:
        typer.echo(
            "Note: the header goes over the network as it is: http:// has no TLS.", err=True
        )
    tell = _json_line if as_json else _shown(Console(highlight=False, soft_wrap=True))
    try:
        with httpx.Client(headers=headers, timeout=TIMEOUT) as client:
            follower = Follower(
                client, str(where), tell, has_credentials=bool(headers), interval=interval
            )
            end = _look(follower, once=once)
    except Ended as ended:
        end = Told("ended", None, str(ended), error="Ended")
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if end is not None:
        typer.echo(printable(end.text), err=True)
        if as_json:
            _json_line(end)
        raise typer.Exit(FAILED)


def _look(follower: Follower, *, once: bool) -> Told | None:
    if not once:
        follower.follow()
    fault = follower.look()
    return (
        None
        if fault is None
        else Told("unreachable", None, f"{fault}. {_ADVICE}", error="Unreachable")
    )


# -- what is given: none of it is shown, it may hold a token -------------------------------------


def _data_url(url: str) -> httpx.URL:
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        found = httpx.URL("")
    if found.scheme not in {"http", "https"} or not _is_host(found):
        raise typer.BadParameter(
            "It is no URL such as https://my-service.example/_secrets.", param_hint="URL"
        )
    if found.userinfo or found.query or found.fragment:
        raise typer.BadParameter(
            "It has a user, a password or a query in it: others can see the command line. Give --header-env.",
            param_hint="URL",
        )
    path = found.path.rstrip("/")
    return found.copy_with(path=path if path.endswith("/data") else f"{path}/data")


def _is_host(url: httpx.URL) -> bool:
    return _HOST.fullmatch(url.raw_host) is not None and (url.port or 1) in range(1, 65536)


def _headers(given: list[str] | tuple[()], variables: list[str] | tuple[()]) -> dict[str, str]:
    lines = [(line, "--header") for line in given]
    for name in variables:
        line = os.environ.get(name)
        if line is None:
            raise typer.BadParameter(
                f"There is no variable {printable(name)}.", param_hint="--header-env"
            )
        lines.append((line, "--header-env"))
    headers = {}
    for line, option in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not (line.isascii() and line.isprintable()):
            raise typer.BadParameter(
                "A header is one line of ASCII, 'Name: value'.", param_hint=option
            )
        headers[name.strip()] = value.strip()
    return headers


# -- what is shown -----------------------------------------------------------------------------


def _shown(console: Console) -> Callable[[Told], object]:
    def show(told: Told) -> None:
        if told.event is None:
            console.print(Text(printable(told.text), style="cyan"))
            return
        style = _STYLES.get(str(told.event["level"]), "")
        console.print(
            Text.assemble(
                (f"{printable(str(told.event['at']))}  ", "dim"), (printable(told.text), style)
            )
        )

    return show


def _json_line(told: Told) -> None:
    line: dict[str, object] = {
        "type": told.kind,
        "instance": told.instance,
        "text": told.text,
        "event": told.event,
    }
    if told.error is not None:
        error = {"type": told.error, "text": told.text}
        line |= {"error": error, "exit_code": FAILED}
    typer.echo(json.dumps(line))
