"""An uptake store from one line of configuration: `redis://host:6379/0`, `sqlite:///path`, `memory:`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from pgp_config.errors import DeclarationError
from pgp_config.uptake.base import MemoryUptake
from pgp_config.uptake.sqlite import SqliteUptake, default_file

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from pgp_config.uptake.base import UptakeStore

_FORMS = (
    "Write redis://HOST:6379/0, rediss://…, unix:///redis.sock, sqlite:///PATH, or sqlite: alone."
)


def store_from_url(url: str) -> UptakeStore:
    """Make an uptake store; nothing is connected yet.

    Args:
        url: `redis://[USER:PASSWORD@]HOST:PORT/DB`, `rediss://…` (TLS), `unix:///PATH` (Redis on a socket),
            `sqlite:///PATH`, `sqlite:` (a file of this user), or `memory:` (this process, for tests); each but
            the last with `?namespace=NAME`. No error shows more of it than its scheme.

    Raises:
        DeclarationError: If the scheme is unknown, its rest does not fit it, the folder of a file is not there, or a
            library is missing.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    namespace = options.pop("namespace", "")
    if parts.scheme in ("redis", "rediss", "unix"):
        # Not `urlunsplit`: it takes the slashes of a scheme that it does not know.
        rest = f"?{urlencode(options)}" if options else ""
        return _redis(parts.scheme, url.partition("?")[0] + rest, namespace)
    if parts.scheme == "sqlite" and not parts.netloc and not options:
        return SqliteUptake(_file_of(parts), namespace, makes_folder=not parts.path)
    if url == "memory:":
        return MemoryUptake()
    known = parts.scheme in ("sqlite", "memory")
    happened = "does not fit its scheme" if known else "has an unknown scheme"
    raise DeclarationError(
        f"the URL of the uptake store ({parts.scheme or 'without a scheme'}) {happened}",
        remedy=_FORMS,
    )


def _file_of(parts: SplitResult) -> Path:
    # Four slashes, as SQLAlchemy writes an absolute path, mean the same.
    path = unquote(parts.path)
    if not path:
        return default_file()
    file = Path(f"/{path.lstrip('/')}")
    if not file.parent.is_dir():
        raise DeclarationError(
            "the URL of the uptake store (sqlite) names a file in a folder that is not there",
            remedy="Make the folder, or correct the path: only the file is made.",
        )
    return file


def _redis(scheme: str, url: str, namespace: str) -> UptakeStore:
    try:
        from pgp_config.uptake.over_redis import RedisUptake  # noqa: PLC0415  needs an extra

        return RedisUptake(url, namespace)
    except ImportError:
        happened, remedy = "needs redis", "Install it: pip install 'pgp-config[redis]'."
    except Exception as fault:  # noqa: BLE001  its text may show the URL, and with it a password
        happened, remedy = f"is refused by redis ({type(fault).__name__})", _FORMS
    del url
    raise DeclarationError(f"the URL of the uptake store ({scheme}) {happened}", remedy=remedy)
