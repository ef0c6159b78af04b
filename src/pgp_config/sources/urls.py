"""A source from one line of configuration: `gsm://project`, `env:`, `dir:///run/secrets`, `memory:`.

A distribution adds a scheme through the entry-point group `pgp_config.sources`: the entry point's
name is the scheme, its object is called with the whole URL and returns a source.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from pgp_config.errors import DeclarationError, PgpConfigError
from pgp_config.sources.base import Source
from pgp_config.sources.directory import Directory
from pgp_config.sources.environment import Environment
from pgp_config.sources.google import GoogleSecretManager
from pgp_config.sources.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.metadata import EntryPoint
    from urllib.parse import SplitResult

#: What brings a scheme of this project's that is no part of the core.
_DISTRIBUTIONS = {"vault": "pgp-config-vault", "aws": "pgp-config-aws"}

#: The entry-point group through which distributions add schemes.
GROUP = "pgp_config.sources"


def source_from_url(url: str) -> Source:
    """Make a source.

    Args:
        url: `gsm://PROJECT[?location=LOCATION&endpoint=HOST:PORT&transport=rest&user_agent=NAME]`, `env:`
            or `env:PREFIX_`, `dir:///ABSOLUTE/PATH`, `memory:` (empty, for tests), or a scheme that another
            distribution registered. No error of a URL shows more of it than its scheme and the names
            of its options.

    Raises:
        DeclarationError: If the scheme is unknown, or its rest does not fit it.
    """
    parts = _split(url)
    build = _BUILT_IN.get(parts.scheme)
    return build(parts) if build is not None else _from_entry_point(parts.scheme, url)


def source_options(url: str, *, allowed: Iterable[str]) -> dict[str, str]:
    """The options of a source's URL, as text; for sources of your own.

    Args:
        url: Such as `"vault://host/secret?prefix=apps/"`.
        allowed: The names that the scheme knows.

    Raises:
        DeclarationError: If one is unknown, empty or repeated. It shows their names, and no value.
    """
    return _options(_split(url), allowed=tuple(allowed))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    if parts is None or not parts.scheme:
        raise DeclarationError(
            "the URL of a source has no scheme" if parts else "the URL of a source is malformed",
            remedy=f"Begin it with one of: {_known_schemes()}.",
        )
    return parts


# -- built in ----------------------------------------------------------------------------------


def _google(parts: SplitResult) -> Source:
    options = _options(parts, allowed=("location", "endpoint", "transport", "user_agent"))
    if "@" in parts.netloc or parts.path not in ("", "/") or parts.fragment:
        raise _misfit("gsm", "names more than a project", "Write gsm://PROJECT?location=LOCATION.")
    if not parts.netloc:
        raise _misfit("gsm", "names no project", "Write gsm://PROJECT, such as gsm://pgp-live.")
    return GoogleSecretManager(parts.netloc, **options)  # type: ignore[arg-type]  # it checks them


def _environment(parts: SplitResult) -> Source:
    _options(parts, allowed=())
    if parts.netloc or parts.path.startswith("/") or parts.fragment:
        raise _misfit("env", "is no prefix", "Write env: or env:PREFIX_, without slashes.")
    return Environment(unquote(parts.path))


def _directory(parts: SplitResult) -> Source:
    _options(parts, allowed=())
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or parts.fragment:
        raise _misfit(
            "dir", "has no absolute path", "Write three slashes: dir:///run/secrets, for example."
        )
    return Directory(path)


def _memory(parts: SplitResult) -> Source:
    _options(parts, allowed=())
    if parts.netloc or parts.path or parts.fragment:
        raise _misfit("memory", "has content", "Write memory: alone, or give Memory({…}) in code.")
    return Memory()


_BUILT_IN: dict[str, Callable[[SplitResult], Source]] = {
    "gsm": _google,
    "env": _environment,
    "dir": _directory,
    "memory": _memory,
}


def _options(parts: SplitResult, *, allowed: Iterable[str]) -> dict[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    unknown = sorted(set(names) - set(allowed))
    if unknown:
        raise _misfit(
            parts.scheme,
            f"has unknown options: {', '.join(unknown)}",
            f"It knows {', '.join(allowed) or 'none'}.",
        )
    if len(names) != len(set(names)) or not all(value for _, value in pairs):
        raise _misfit(
            parts.scheme,
            f"has empty or repeated options: {', '.join(sorted(set(names)))}",
            "Give each option once, with a value, or leave it out.",
        )
    return dict(pairs)


def _misfit(scheme: str, happened: str, remedy: str) -> DeclarationError:
    return DeclarationError(f"the source URL with the scheme {scheme!r} {happened}", remedy=remedy)


# -- from other distributions ------------------------------------------------------------------


def _from_entry_point(scheme: str, url: str) -> Source:
    build = _loaded(_entry_point(scheme))
    made = _built(scheme, build, url)
    if isinstance(made, Source):
        return made
    raise DeclarationError(
        f"what is registered for the scheme {scheme!r} made a {type(made).__name__}, no source",
        remedy="It must return an object with fetch(name, version='latest').",
    )


def _entry_point(scheme: str) -> EntryPoint:
    found = {point.value: point for point in _entry_points() if point.name == scheme}
    if not found and scheme in _DISTRIBUTIONS:
        raise DeclarationError(
            f"the source for the scheme {scheme!r} is not installed",
            remedy=f"Install it: pip install {_DISTRIBUTIONS[scheme]}.",
        )
    if not found:
        raise DeclarationError(
            f"there is no source for the scheme {scheme!r}",
            remedy=f"Known are {_known_schemes()}. A distribution adds one through the entry-point "
            f"group {GROUP}: {scheme} = 'package:function', called with the URL.",
        )
    if len(found) > 1:
        raise DeclarationError(
            f"several distributions register the scheme {scheme!r}: {', '.join(sorted(found))}",
            remedy="Uninstall all but one of them.",
        )
    return next(iter(found.values()))


def _entry_points() -> Iterable[EntryPoint]:
    return entry_points(group=GROUP)


def _known_schemes() -> str:
    return ", ".join(sorted({*_BUILT_IN, *(point.name for point in _entry_points())}))


def _loaded(point: EntryPoint) -> Callable[[str], object]:
    try:
        build = point.load()
    except Exception as fault:
        raise DeclarationError(
            f"what is registered for the scheme {point.name!r}, {point.value}, cannot be imported",
            remedy="Mend or uninstall the distribution that registers it.",
        ) from fault
    if callable(build):
        return build  # type: ignore[no-any-return]  # what it returns is checked
    raise DeclarationError(
        f"what is registered for the scheme {point.name!r}, {point.value}, cannot be called",
        remedy="It must be a function that takes the URL and returns a source.",
    )


def _built(scheme: str, build: Callable[[str], object], url: str) -> object:
    try:
        return build(url)
    except PgpConfigError:
        raise
    except Exception as fault:  # noqa: BLE001  its text may show the URL, and with it a password
        kind = type(fault).__name__
    del url
    raise DeclarationError(
        f"what is registered for the scheme {scheme!r} raised {kind}",
        remedy="Call it yourself with the URL to see the whole error.",
    )
