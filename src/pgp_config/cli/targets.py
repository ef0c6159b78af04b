"""`module:attribute` on the command line: the container that it names."""

from __future__ import annotations

import contextlib
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgp_config.errors import DeclarationError
from pgp_config.importing import cause_of, from_working_folder, imported, is_path
from pgp_config.providers.declared import Declared, declared_by, is_container

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: How an argument is written; for the help texts.
METAVAR = "CONTAINER"

HELP = (
    "MODULE:NAME of a container: an instance, a class, or a function without arguments that makes one. "
    "SERVICE=MODULE:NAME says what its service is called."
)


@dataclass(frozen=True, slots=True)
class Target:
    """A container that was named.

    Attributes:
        path: `module:attribute`.
        service: What the command line calls its service; else what its source tells as its user agent, without a
            release; else the name of the container's class.
        container: The class or the instance.
        declared: What it says of itself.
    """

    path: str
    service: str
    container: Any
    declared: Declared


@contextlib.contextmanager
def targets_of(names: Sequence[str]) -> Iterator[list[Target]]:
    """The containers of those names; what a function made for this is closed afterwards.

    Args:
        names: `module:attribute`, perhaps with `SERVICE=` before it. The working folder is where modules are looked
            for first. What they print goes to standard error.

    Raises:
        DeclarationError: If one cannot be imported or is no container, or none is given. What was given is shown if
            it is of that form: anything else may be a value.
    """
    from_working_folder()
    with contextlib.ExitStack() as ends:
        with contextlib.redirect_stdout(sys.stderr):
            found = [_target(name, ends) for name in names]
        if not found:
            raise DeclarationError(
                "no container was named", remedy="Name one: my_service.secrets:MyContainer."
            )
        yield found


def _target(name: str, ends: contextlib.ExitStack) -> Target:
    service, equals, path = name.rpartition("=")
    if (equals and not service) or not is_path(path):
        raise DeclarationError(
            "an argument is no module:attribute",  # not quoted: it may be a value given by mistake
            remedy="Write my_service.secrets:MyContainer, or SERVICE=my_service.secrets:MyContainer.",
        )
    container = _container(path, imported(path), ends)
    declared = declared_by(container)
    return Target(path, service or _service_of(declared), container, declared)


def _service_of(declared: Declared) -> str:
    agent = getattr(declared.source, "user_agent", None)
    return str(agent).partition("/")[0] if agent else declared.name


def _container(path: str, found: object, ends: contextlib.ExitStack) -> Any:  # noqa: ANN401  see Container
    if is_container(found):
        return found
    if isinstance(found, type) or not callable(found):
        raise _no_container(path, f"is a {_kind_of(found)}")
    made = _made(path, found)
    if not is_container(made):
        if inspect.iscoroutine(made):
            made.close()
        raise _no_container(path, f"made a {_kind_of(made)}")
    close = getattr(made, "close", None)
    if close is not None and not isinstance(made, type):
        ends.callback(close)
    return made


def _made(path: str, make: Any) -> object:  # noqa: ANN401  anything that can be called
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(make).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):  # some callables have none
        needed = []
    if needed:
        raise _no_container(path, f"needs arguments: {', '.join(needed)}")
    try:
        made: object = make()
    except Exception as fault:  # noqa: BLE001  it may raise anything
        happened = f"calling it raised {cause_of(fault)}"
    else:
        return made
    # Raised here: its exception keeps frames, and their locals may be values.
    raise _no_container(path, f"made no container: {happened}")


def _kind_of(found: object) -> str:
    return f"class {found.__name__}" if isinstance(found, type) else type(found).__name__


def _no_container(path: str, happened: str) -> DeclarationError:
    return DeclarationError(
        f"{path} {happened}",
        remedy="Name a SecretContainer, an instance of one, or a function without arguments that makes one.",
    )
