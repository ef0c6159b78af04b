"""The group of commands: usage errors that do not repeat what was given, which may be a value."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where commands find containers that no argument names.
CONTAINER_VARIABLE = "PGP_CONFIG_CONTAINER"

#: What typer hands on from pydantic before the words of a choice that there is not.
_PYDANTICS = "Value error, "

#: What stands for what was given.
_HIDDEN = "(not shown)"

#: Messages that list what was given without quotes.
_EXTRA = re.compile(r"(Got unexpected extra argument(?:s|\(s\))? )\(.*\)", re.DOTALL)

#: Click's, or that of the copy of click which later releases of typer bring along.
_UsageError: Any = typer.BadParameter.__mro__[1]


class CarefulGroup(TyperGroup):
    """Commands whose errors name options and commands, and of their arguments nothing.

    Click quotes what it does not understand. A value that was given by mistake would so come into logs of CI.
    """

    _given: Sequence[str] = ()

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:  # noqa: ANN401  as in the base class
        """Note what is given, and run."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().main(args, *rest, **options)

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  of two releases
        """Parse the options of the group itself."""
        try:
            return super().make_context(*arguments, **options)
        except _UsageError as error:
            raise self._masked(error) from None

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  as above
        """Parse the arguments of a command, and run it."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            raise self._masked(error) from None

    def _masked(self, error: Any) -> Exception:  # noqa: ANN401  as above
        parameter = getattr(error, "param", None)
        if not error.message and parameter is not None and parameter.envvar == CONTAINER_VARIABLE:
            error.message = f"Write MODULE:NAME of a container, or set {CONTAINER_VARIABLE}."
        text: str = _EXTRA.sub(rf"\1{_HIDDEN}", error.message).removeprefix(_PYDANTICS)
        for given in {part for each in self._given for part in _parts(each)}:
            text = text.replace(repr(given), _HIDDEN)
        error.message = text
        masked: Exception = error
        return masked


def _parts(given: str) -> list[str]:
    """What a message may quote of an argument: all of it, or what comes after the equals sign."""
    return [given, given.partition("=")[2]] if "=" in given else [given]
