"""The errors: which secret, in which container, what happened, what to do.

PgpConfigError
├── DeclarationError (ValueError)          a container, a policy or a type is declared wrongly
├── StartupError                           load() found faults; all of them, by name, in `faults`
├── SecretUnavailable                      no usable value, and none that is good enough to go on with
│   ├── SecretNotFound (LookupError)       the source has no such secret or version
│   ├── SecretForbidden (PermissionError)  this identity may not read it
│   ├── SecretDisabled                     the version asked for is disabled or destroyed
│   ├── SecretRefused                      the other side refused every version that there is
│   ├── SourceTimeout (TimeoutError)       no answer within the budget
│   └── BuildError                         an object could not be built from its secrets, and there is none
├── ChangedMeanwhile                       somebody else changed what was to be changed
├── RejectedVersion (ValueError)           a version came, and may not be served
├── StaticSecretInScope (RuntimeError)     a static secret would have been fetched during a request
└── BlockingRead (RuntimeError)            a synchronous read would have blocked a running event loop

No text of these ever holds a value: they are built from names, version numbers and reasons only. What each means is
in errors.md, of which `pgp-config explain` shows a section; the note of an error (PEP 678) names it, and so do the
log lines and the status page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_E = TypeVar("_E", bound="PgpConfigError")


class PgpConfigError(Exception):
    """Base of all errors of this library.

    Args:
        happened: What happened, as a clause without a closing full stop.
        remedy: What to do about it, as a sentence.
        secret: The secret's name in its source, where one is concerned.
        container: The name of the container class that declares it, where known.

    Attributes:
        explained_as: The section of errors.md that explains it; a class of another module has that of its base, or
            names its own.
    """

    explained_as: ClassVar[str] = "PgpConfigError"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__ == __name__:
            cls.explained_as = cls.__name__

    def __init__(
        self,
        happened: str,
        *,
        remedy: str = "",
        secret: str | None = None,
        container: str | None = None,
    ) -> None:
        super().__init__(happened)
        self.happened = happened
        self.remedy = remedy
        self.secret = secret
        self.container = container
        self.add_note(self._pointer())

    @property
    def explained_by(self) -> str:
        """The command that prints what it means, such as `pgp-config explain SecretForbidden`."""
        return f"pgp-config explain {self.explained_as}"

    def _pointer(self) -> str:
        return f"More: {self.explained_by} (docs/errors.md#{self.explained_as.lower()})"

    def __str__(self) -> str:
        where = " in ".join(part for part in (self.secret, self.container) if part)
        text = f"{where}: {self.happened}" if where else self.happened
        return f"{text}. {self.remedy}" if self.remedy else f"{text}."

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.happened, self.remedy, self.secret, self.container)

    def located(self, *, secret: str | None = None, container: str | None = None) -> Self:
        """A fresh copy that also says where; what is known already is kept.

        One fetch can fail many readers: each raises a copy, because an exception that several
        threads raise collects all their tracebacks.
        """
        copy = _rebuild(
            type(self),
            self.happened,
            self.remedy,
            self.secret or secret,
            self.container or container,
        )
        copy.__cause__ = self.__cause__
        return copy


def _rebuild(
    kind: type[_E], happened: str, remedy: str, secret: str | None, container: str | None
) -> _E:
    return kind(happened, remedy=remedy, secret=secret, container=container)


class DeclarationError(PgpConfigError, ValueError):
    """A container, a policy or a type is declared wrongly."""


class StartupError(PgpConfigError):
    """Loading found faults, and the service must not start.

    Args:
        happened: As in the base class.
        remedy: As in the base class.
        secret: Unused: the faults name theirs.
        container: The container that was loaded.
        faults: Every fault found, each with its own type and text.
    """

    def __init__(
        self,
        happened: str,
        *,
        remedy: str = "",
        secret: str | None = None,
        container: str | None = None,
        faults: Sequence[PgpConfigError] = (),
    ) -> None:
        self.faults = tuple(faults)  # first: the note names their kinds
        super().__init__(happened, remedy=remedy, secret=secret, container=container)

    @property
    def explained_by(self) -> str:
        """As in the base class; with the kinds of its faults."""
        kinds = sorted({fault.explained_as for fault in self.faults})
        return " ".join([super().explained_by, *kinds])

    def _pointer(self) -> str:
        return f"More: {self.explained_by} (docs/errors.md)"

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  - {fault}" for fault in self.faults)])

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_startup, (self.happened, self.remedy, self.container, self.faults)


def _rebuild_startup(
    happened: str, remedy: str, container: str | None, faults: tuple[PgpConfigError, ...]
) -> StartupError:
    return StartupError(happened, remedy=remedy, container=container, faults=faults)


class SecretUnavailable(PgpConfigError):  # noqa: N818  the public name is the state, not the word Error
    """There is no usable value, and no last good one within `max_stale`."""


def did_you_mean(
    given: str, known: Iterable[str], *, otherwise: str = "Use the name in the source."
) -> str:
    """A remedy for a name that there is not; the name itself is not in it.

    Args:
        given: The name.
        known: The names that there are.
        otherwise: The remedy if none of them is like it.
    """
    import difflib  # noqa: PLC0415  for a mistake only

    close = difflib.get_close_matches(given, sorted(known), n=1)
    return f"Did you mean {close[0]}?" if close else otherwise


class SecretNotFound(SecretUnavailable, LookupError):  # noqa: N818  as above
    """The source has no such secret, or no such version of it."""


class SecretForbidden(SecretUnavailable, PermissionError):  # noqa: N818  as above
    """The service's identity may not read the secret."""


class SecretDisabled(SecretUnavailable):
    """The version that was asked for is disabled or destroyed."""


class SecretRefused(SecretUnavailable):
    """The other side refused the known versions lately, and none is tried again for now."""


class SourceTimeout(SecretUnavailable, TimeoutError):  # noqa: N818  as above
    """The source did not answer within the budget."""


class BuildError(SecretUnavailable):
    """An object could not be built from its secrets, and no older one is in service."""


class ChangedMeanwhile(PgpConfigError):  # noqa: N818  as above
    """What was to be changed is not what it was when it was looked at: somebody else changed it."""


class RejectedVersion(PgpConfigError, ValueError):  # noqa: N818  as above
    """A version came from the source and may not be served."""


class StaticSecretInScope(PgpConfigError, RuntimeError):  # noqa: N818  as above
    """A static secret was not loaded at start-up and would have been fetched during a request."""


class BlockingRead(PgpConfigError, RuntimeError):  # noqa: N818  as above
    """A synchronous read would have blocked the event loop that runs in this thread."""
