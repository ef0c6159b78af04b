"""The secrets of one or more containers, each once, and what its source tells of it without its value."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pgp_config.errors import (
    DeclarationError,
    PgpConfigError,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)
from pgp_config.providers.declared import Declared, type_name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgp_config.providers import SecretProvider
    from pgp_config.sources.administration import VersionFacts
    from pgp_config.sources.base import Source

T = TypeVar("T")

#: Secrets that are looked at at once.
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Subject:
    """A container that is looked at.

    Attributes:
        service: What its service is called.
        declared: What it says of itself.
    """

    service: str
    declared: Declared


@dataclass(frozen=True, slots=True)
class Row:
    """A secret, with all containers that declare it.

    Attributes:
        name: Its name in the source.
        classes: "static", "dynamic", or both where containers differ.
        types: The declared types, by name.
        services: Those that declare it.
        secrets: Its declarations.
        pinned: The versions at which a container loads it; empty where all take the newest.
    """

    name: str
    classes: tuple[str, ...]
    types: tuple[str, ...]
    services: tuple[str, ...]
    secrets: tuple[SecretProvider[Any], ...]
    pinned: tuple[int, ...]

    @property
    def reload_class(self) -> str:
        """The class, or both."""
        return " and ".join(self.classes)

    @property
    def has_overlap(self) -> bool:
        """Whether the version before is in use beside the newest."""
        return any(secret.has_overlap for secret in self.secrets)

    @property
    def read(self) -> int | str:
        """The version that is read: the newest, or the lowest that is pinned."""
        return self.pinned[0] if self.pinned else "latest"


@dataclass(frozen=True, slots=True)
class Look:
    """What a source told of a secret.

    Attributes:
        state: Of the version that is read: "enabled", "disabled" or "destroyed"; "missing" (there is no such secret),
            "no version", "forbidden" (the metadata may not be read) or "unknown".
        version: Its number, where it is known.
        created: When it was added, in seconds of Unix time, where that is known.
        versions: All of them, the newest first.
        problem: Why nothing is known.
        unreached: Whether the problem is the source's, and the same for every secret.
    """

    state: str
    version: int | None = None
    created: float | None = None
    versions: tuple[VersionFacts, ...] = ()
    problem: PgpConfigError | None = None
    unreached: bool = False


def rows_of(subjects: Sequence[Subject]) -> list[Row]:
    """Every declared secret once, by name."""
    found: dict[str, list[tuple[Subject, SecretProvider[Any]]]] = {}
    for subject in subjects:
        for secret in subject.declared.secrets:
            found.setdefault(secret.name, []).append((subject, secret))
    return [_row(name, found[name]) for name in sorted(found)]


def _row(name: str, declared: Sequence[tuple[Subject, SecretProvider[Any]]]) -> Row:
    secrets = tuple(secret for _, secret in declared)
    pins = {subject.declared.pinned.get(name) for subject, _ in declared}
    return Row(
        name,
        _distinct(secret.reload_class for secret in secrets),
        _distinct(type_name_of(secret) for secret in secrets),
        _distinct(subject.service for subject, _ in declared),
        secrets,
        tuple(sorted(pin for pin in pins if pin is not None)),
    )


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))


def source_of(subjects: Sequence[Subject]) -> Source | None:
    """The source from which container instances read; None where there are classes only.

    Raises:
        DeclarationError: If they read from different ones.
    """
    found = {
        repr(subject.declared.source): subject.declared.source
        for subject in subjects
        if subject.declared.source is not None
    }
    if len(found) > 1:
        raise DeclarationError(
            f"these containers read from {len(found)} different sources",
            remedy="Look at them one by one, or say from which source: --source gsm://PROJECT.",
        )
    return next(iter(found.values()), None)


def name_of(source: Source) -> str:
    """A source in words; without its URL, which may hold a password."""
    where = getattr(source, "where", None)
    return type(source).__name__ + (f" of {where}" if where else "")


# -- asking ------------------------------------------------------------------------------------


def teller(source: Source, what: str) -> Callable[..., Any] | None:
    """The method of a source's administration that tells something; None where it has none.

    Args:
        source: Whose.
        what: A method of `Administration` or `Inspection`.
    """
    make = getattr(source, "administration", None)
    return None if make is None else getattr(make(), what, None)


def reach(source: Source) -> PgpConfigError | None:
    """Why the source cannot be asked for anything; None if it can, as far as that shows before it is asked."""
    connect = getattr(source, "connect", None)
    try:
        if connect is not None:
            connect()
    except PgpConfigError as fault:
        return fault.located()
    return None


def looks_at(source: Source, rows: Sequence[Row]) -> dict[str, Look]:
    """What the source tells of each secret: its versions and their states, and never a value.

    Where the first one shows that the source does not answer, the others are not waited for.
    """
    tell = teller(source, "versions")
    if tell is None:
        return {row.name: Look("unknown") for row in rows}
    fault = reach(source)
    return of_each(
        rows,
        lambda row: _look(tell, row),
        None if fault is None else Look("unknown", problem=fault, unreached=True),
        lambda look: look if look.unreached else None,
    )


def of_each(
    rows: Sequence[Row],
    ask: Callable[[Row], T],
    known: T | None,
    ends: Callable[[T], T | None],
) -> dict[str, T]:
    """Ask for each secret, several at a time.

    Args:
        rows: The secrets.
        ask: Asks for one.
        known: The answer for all, where it is known already.
        ends: Gives the answer for all others where the first one's says that asking is of no use, else None.
    """
    answers: dict[str, T] = {}
    if known is None and rows:
        answers[rows[0].name] = ask(rows[0])
        known = ends(answers[rows[0].name])
    left = [row for row in rows if row.name not in answers]
    if known is not None:
        return {**answers, **dict.fromkeys([row.name for row in left], known)}
    with ThreadPoolExecutor(AT_ONCE, "pgp-config-look") as threads:
        told = list(threads.map(ask, left))
    return {**answers, **{row.name: one for row, one in zip(left, told, strict=True)}}


def is_of_source(problem: PgpConfigError | None) -> bool:
    """Whether a problem is the source's, and not one secret's."""
    return type(problem) in (SecretUnavailable, SourceTimeout, DeclarationError)


def _look(tell: Callable[[str], list[VersionFacts]], row: Row) -> Look:
    try:
        versions = tuple(tell(row.name))
    except SecretNotFound:
        return Look("missing")
    except PgpConfigError as fault:
        state = "forbidden" if isinstance(fault, SecretForbidden) else "unknown"
        return Look(state, problem=fault.located(), unreached=is_of_source(fault))
    if not versions:
        return Look("no version")
    wanted = versions[0].number if row.read == "latest" else row.read
    one = next((each for each in versions if each.number == wanted), None)
    if one is None:
        return Look("missing version", row.pinned[0], versions=versions)
    return Look(one.state, one.number, one.created, versions)
