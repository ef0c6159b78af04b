"""`pgp-config rotate NAME`: a new version, its uptake proved, the old one disabled."""

from __future__ import annotations

import contextlib
import sys
from math import inf
from pathlib import Path  # noqa: TC003  typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from pgp_config.cli.options import AsJson, as_misuse, unreadable
from pgp_config.cli.shown import Shown
from pgp_config.errors import PgpConfigError
from pgp_config.importing import from_working_folder
from pgp_config.policy import UPTAKE_VARIABLE
from pgp_config.rotation.declarations import declarations_of
from pgp_config.rotation.errors import RotationStopped
from pgp_config.rotation.steps import SETTLE, Options, Rotation
from pgp_config.rotation.values import MOST_BYTES, Value, as_stored, generate
from pgp_config.sources.administration import administration_of
from pgp_config.sources.urls import source_from_url
from pgp_config.uptake.urls import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgp_config.rotation.values import Declaration
    from pgp_config.sources.base import Source
    from pgp_config.uptake.base import UptakeStore


def rotate(  # noqa: PLR0917  typer makes options of them
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The secret's name in its source.")],
    source: Annotated[
        str,
        typer.Option(
            envvar="PGP_CONFIG_SOURCE",
            help="Where the secret is stored, such as gsm://pgp-live.",
            show_default=False,
        ),
    ],
    value_file: Annotated[
        Path | None, typer.Option(help="Read the new value from a file.", show_default=False)
    ] = None,
    generate_: Annotated[
        str | None,
        typer.Option(
            "--generate",
            metavar="RECIPE",
            help="Make the new value: hex:32, urlsafe:32, base64:32, alphanumeric:32 or fernet. It is never shown.",
            show_default=False,
        ),
    ] = None,
    continue_: Annotated[
        bool,
        typer.Option("--continue", help="Go on with a rotation under way, without its value."),
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Undo the rotation: the old value is served again.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="Forget where a rotation stands, after others changed its versions."
        ),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Say what would be done and what it costs; change nothing."),
    ] = False,
    container: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            envvar="PGP_CONFIG_CONTAINER",
            help="A container class or a catalogue that declares the secret's type; may be repeated.",
            show_default=False,
        ),
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="MODULE:NAME",
            help="The secret's type, such as pydantic:HttpUrl, where no container is given.",
            show_default=False,
        ),
    ] = None,
    uptake: Annotated[
        str | None,
        typer.Option(
            envvar=UPTAKE_VARIABLE,
            metavar="URL",
            help="Where the processes report: redis://HOST:6379/0 or sqlite:///PATH.",
            show_default=False,
        ),
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A service of which a process must report; may be repeated.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the uptake at most.")
    ] = 300.0,
    gone_after: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Take a process to be gone after so many seconds without a report; by default when its entry "
            "expires.",
            show_default=False,
        ),
    ] = None,
    settle: Annotated[
        float,
        typer.Option(
            min=0,
            envvar="PGP_CONFIG_SETTLE",
            help="Seconds for which processes that are starting are waited for.",
        ),
    ] = SETTLE,
    keep_old: Annotated[
        bool | None,
        typer.Option(
            "--keep-old/--disable-old",
            help="Leave the old version enabled, or disable it in the end; by default it is disabled, unless "
            "the container declares a key ring, which verifies with both.",
            show_default=False,
        ),
    ] = None,
    all_older: Annotated[
        bool,
        typer.Option(
            "--all-older",
            help="Disable every older version in the end, and not only those that were in use; with --continue after a "
            "rotation, too.",
        ),
    ] = False,
    wait_for_restarts: Annotated[
        bool,
        typer.Option(
            "--wait-for-restarts", help="Wait for the restarts that a static secret needs."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rotate a secret: add its new version, wait until every process uses it, disable the old one.

    The new value is read from standard input, from a file, or made; never from the command line, which others can
    see. Interrupt it when you like: run again, it goes on from where it was.

    It ends with 0 (done), 1 (refused or failed), 2 (wrong use), 3 (not proved in time that the old version is unread:
    it stays enabled), or 130 (interrupted).
    """
    if context.args:
        raise typer.BadParameter(
            "One argument is too many. If it is a value: others can see it there, and the shell has kept it. Choose "
            "another, and pipe it in."
        )
    _refuse_two(
        [value_file is not None, generate_ is not None, continue_, forget], rollback, plan=plan
    )
    if all_older and (keep_old or rollback or forget):
        raise typer.BadParameter(
            "--all-older disables versions: it goes with none of --keep-old, --rollback and --forget."
        )
    action = "rollback" if rollback else "forget" if forget else "rotate"
    shown = Shown(name, action, as_json=as_json)
    options = Options(
        expected=tuple(service or ()),
        timeout=timeout,
        settle=settle,
        gone_after=inf if gone_after is None else gone_after,
        keep_old=keep_old,
        wait_for_restarts=wait_for_restarts,
        all_older=all_older,
    )
    try:
        with _opened(source, uptake) as (opened, store):
            from_working_folder()
            with as_misuse(), contextlib.redirect_stdout(sys.stderr):  # what a module prints
                declarations = declarations_of(name, container or [], type_)
            with as_misuse("--source"):
                administration = administration_of(opened)
            rotation = Rotation(
                administration,
                name,
                store=store,
                declarations=declarations,
                options=options,
                tell=shown.tell,
            )
            if plan:
                code = shown.plan(rotation.plan(rollback=rollback))
            elif rollback:
                code = shown.outcome(rotation.rollback())
            elif forget:
                code = shown.outcome(rotation.forget())
            else:
                value = None if continue_ else _value(value_file, generate_, declarations)
                code = shown.outcome(rotation.rotate(value, given=generate_ is None))
    except PgpConfigError as error:
        code = shown.failure(error)
    except (KeyboardInterrupt, typer.Abort):  # the latter at the prompt
        code = shown.interruption()
    raise typer.Exit(code)


def _refuse_two(others: list[bool], rollback: bool, *, plan: bool) -> None:
    if sum([*others, rollback]) > 1 or (plan and any(others)):
        raise typer.BadParameter(
            "Give one of --value-file, --generate, --continue, --rollback and --forget; --plan goes with "
            "none but --rollback."
        )


@contextlib.contextmanager
def _opened(
    source_url: str, uptake_url: str | None
) -> Iterator[tuple[Source, UptakeStore | None]]:
    with as_misuse("--source"):
        source = source_from_url(source_url)
    with as_misuse("--uptake"):
        store = store_from_url(uptake_url) if uptake_url is not None else None
    try:
        yield source, store
    finally:
        for opened in (source, store):
            close = getattr(opened, "close", None)
            if close is not None:
                close()


def _value(file: Path | None, recipe: str | None, declarations: list[Declaration]) -> Value:
    if recipe is not None:
        with as_misuse("--generate"):
            return generate(recipe)
    data = _read(file) if file is not None else _read_input()
    if not data.strip():
        raise RotationStopped(
            "no value was given",
            remedy="Pipe it in (printf %s … | pgp-config rotate …), or use --value-file or --generate.",
        )
    return as_stored(data, declarations)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 3)  # one byte more than a value and a line break
    except OSError:
        raise unreadable("--value-file") from None


def _read_input() -> bytes:
    if sys.stdin is None:  # it was closed, as some supervisors do
        return b""
    if sys.stdin.isatty():
        text: str = typer.prompt(
            "The new value", hide_input=True, confirmation_prompt=True, err=True
        )
        return text.encode()
    return sys.stdin.buffer.read(MOST_BYTES + 3)
