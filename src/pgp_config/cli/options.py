"""Arguments and options that several commands have, and how what they name is opened."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Annotated

import typer

from pgp_config.checks.inventory import Subject, source_of
from pgp_config.cli.careful import CONTAINER_VARIABLE
from pgp_config.cli.targets import HELP, METAVAR, targets_of
from pgp_config.errors import DeclarationError
from pgp_config.sources.urls import source_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pgp_config.cli.targets import Target
    from pgp_config.sources.base import Source

Containers = Annotated[
    list[str],
    typer.Argument(
        metavar=METAVAR,
        envvar=CONTAINER_VARIABLE,
        help=HELP,
        show_default=False,
    ),
]

SourceUrl = Annotated[
    str | None,
    typer.Option(
        "--source",
        envvar="PGP_CONFIG_SOURCE",
        metavar="URL",
        help="Where the secrets are stored, such as gsm://pgp-live; by default where a container instance reads.",
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document, and nothing else.")]


@contextlib.contextmanager
def as_misuse(option: str | None = None) -> Iterator[None]:
    """Have a fault of what was given be a wrong use of the command.

    Args:
        option: Which it was; None where the text says it.

    Raises:
        typer.BadParameter: If what is done in it raises a `DeclarationError`.
    """
    try:
        yield
    except DeclarationError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def unreadable(option: str) -> typer.BadParameter:
    """What is raised for a file that was named and cannot be read: without its name, which may be a value."""
    return typer.BadParameter(
        "There is no such file, or it cannot be read. Name another one.", param_hint=option
    )


def refuse_unreadable(file: Path | None, option: str) -> None:
    """Refuse a file that cannot be read. It is not opened: a pipe can be read once.

    Raises:
        typer.BadParameter: If it cannot.
    """
    if file is not None and (file.is_dir() or not os.access(file, os.R_OK)):
        raise unreadable(option)


@contextlib.contextmanager
def named(containers: Sequence[str]) -> Iterator[list[Target]]:
    """The containers that were named.

    Raises:
        typer.BadParameter: If one is none.
    """
    with contextlib.ExitStack() as ends:
        with as_misuse():
            targets = ends.enter_context(targets_of(containers))
        yield targets


def subjects_of(targets: Sequence[Target]) -> list[Subject]:
    """What is looked at of each."""
    return [Subject(target.service, target.declared) for target in targets]


@contextlib.contextmanager
def opened(url: str | None, subjects: Sequence[Subject]) -> Iterator[Source | None]:
    """The source of a URL, else that of the container instances; None where there is neither.

    Raises:
        typer.BadParameter: If the URL names none.
        PgpConfigError: If the instances read from several.
    """
    if url is None:
        yield source_of(subjects)
        return
    with as_misuse("--source"):
        source = source_from_url(url)
    try:
        yield source
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


def containers_in(targets: Sequence[Target]) -> list[dict[str, str]]:
    """The containers in a document."""
    return [
        {"path": target.path, "service": target.service, "container": target.declared.name}
        for target in targets
    ]
