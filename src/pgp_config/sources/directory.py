"""Secrets as files of one directory, as Kubernetes and Cloud Run mount them."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pgp_config.errors import (
    DeclarationError,
    PgpConfigError,
    RejectedVersion,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
)
from pgp_config.sources.versions import ContentVersions

if TYPE_CHECKING:
    from pgp_config.payload import Payload

#: Bytes that a secret has at most: Secret Manager's own limit (cloud.google.com/secret-manager/quotas).
MAX_BYTES = 64 * 1024

#: What Kubernetes allows as a key of a secret, without the hidden names of its own symlinks.
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}")

#: A pipe in place of a file would block `open` for ever; Windows has neither the flags nor the need.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Directory:
    """A source with one file a secret, named as the secret; read anew on each fetch.

    A swap of the `..data` symlink, as Kubernetes does it, is seen by the next fetch. A file is opened
    once and read from that handle, so that a swap in the middle gives the old contents or the new
    ones, never both. Files have no versions: version n is the n-th content that this process saw.

    Args:
        path: The directory; a relative path is taken from the working directory of this moment. It
            need not exist yet.

    Raises:
        DeclarationError: If the path is empty, or no path at all.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = _checked_path(path)
        self._contents = ContentVersions()

    def __repr__(self) -> str:
        return f"Directory({str(self._path)!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A source of secrets is not pickled or copied: its values would go along.")

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `Source.fetch`.

        Raises:
            SecretNotFound: If there is no such file, the name can be none (a path, a hidden name), or
                the version is not the present one.
            SecretForbidden: If this process may not read the file.
            SecretUnavailable: If the directory is missing, or the file cannot be read.
            RejectedVersion: If the file is larger than 64 KiB.
            DeclarationError: If the version is neither a number nor `"latest"`.
        """
        if not isinstance(name, str) or _FILE_NAME.fullmatch(name) is None:
            raise SecretNotFound(
                f"a secret of a directory cannot be named {name!r}",
                remedy="Use letters, digits, '_', '-' and '.', not a '.' first, 253 at most.",
            )
        return self._contents.read(name, version, lambda: self._read(name))

    def _read(self, name: str) -> bytes:
        contents = self._attempt(name)
        if isinstance(contents, SecretNotFound):
            # The directory behind `..data` may have been swapped and removed in between.
            contents = self._attempt(name)
        if isinstance(contents, PgpConfigError):
            raise contents
        return contents

    def _attempt(self, name: str) -> bytes | PgpConfigError:
        """The contents, or the fault; nothing is raised while a frame holds a value."""
        try:
            return self._contents_of(name)
        except OSError as fault:
            error = self._explained(name, fault)
            error.__cause__ = fault.with_traceback(None)
            return error

    def _contents_of(self, name: str) -> bytes | PgpConfigError:
        handle = os.open(self._path / name, _OPEN_FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return self._no_file(name)
            with open(handle, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(handle)
        if len(data) <= MAX_BYTES:
            return data
        return RejectedVersion(
            f"the file {self._path / name} is larger than {MAX_BYTES} bytes",
            remedy="Store a smaller value; Secret Manager has the same limit.",
            secret=name,
        )

    def _no_file(self, name: str) -> SecretUnavailable:
        return SecretUnavailable(
            f"{self._path / name} is not a file",
            remedy="Mount the directory that holds the files themselves, one a secret.",
            secret=name,
        )

    def _explained(self, name: str, fault: OSError) -> PgpConfigError:
        if isinstance(fault, PermissionError):
            return SecretForbidden(
                f"this process may not read {self._path / name}",
                remedy="Give its user the right to read the file and to enter the directory.",
                secret=name,
            )
        if not os.path.isdir(self._path):  # noqa: PTH112  is_dir() raises where isdir() says no
            return SecretUnavailable(
                f"there is no directory {self._path}",
                remedy="Mount the secrets there, or correct the path.",
                secret=name,
            )
        if isinstance(fault, FileNotFoundError):
            return SecretNotFound(
                f"there is no file {self._path / name}",
                remedy="Add it to what is mounted there, or correct the secret's name.",
                secret=name,
            )
        return SecretUnavailable(
            f"{self._path / name} cannot be read ({errno.errorcode.get(fault.errno or 0, 'OSError')})",
            remedy="Look at the file and at the state of the mount.",
            secret=name,
        )


def _checked_path(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if isinstance(text, str) and text and "\0" not in text:
        return Path(text).absolute()
    raise DeclarationError(
        f"{path!r} is not the path of a directory",
        remedy="Give the directory of the mounted files: Directory('/run/secrets').",
    )
