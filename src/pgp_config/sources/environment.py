"""Secrets in environment variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

from pgp_config.errors import DeclarationError, SecretNotFound
from pgp_config.sources.versions import ContentVersions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgp_config.payload import Payload


class Environment:
    """A source that reads the process's environment anew on each fetch.

    The environment has no versions: version n is the n-th content that this process saw of the
    variable. An empty variable is let through as empty bytes, which no declared type accepts.

    Args:
        prefix: Put before a secret's name to make the variable's, such as `"SPLIT2_"`.
        environ: The variables.

    Raises:
        DeclarationError: If the prefix cannot begin a variable's name.
    """

    def __init__(self, prefix: str = "", environ: Mapping[str, str] = os.environ) -> None:
        if not isinstance(prefix, str) or "=" in prefix or "\0" in prefix:
            raise DeclarationError(
                f"the prefix {prefix!r} cannot begin the name of an environment variable",
                remedy="Give a text without '=' and NUL, such as 'SPLIT2_'.",
            )
        self._prefix = prefix
        self._environ = environ
        self._contents = ContentVersions()

    def __repr__(self) -> str:
        return f"Environment(prefix={self._prefix!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A source of secrets is not pickled or copied: its values would go along.")

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `Source.fetch`.

        Raises:
            SecretNotFound: If the variable is not set, or the version is not the present one.
            DeclarationError: If the version is neither a number nor `"latest"`.
        """
        return self._contents.read(name, version, lambda: self._read(name))

    def _read(self, name: str) -> bytes:
        variable = self._prefix + name
        value = self._environ.get(variable)
        if value is None:
            raise SecretNotFound(
                f"the environment variable {variable} is not set",
                remedy="Set it before the process starts.",
                secret=name,
            )
        return _as_set(value)


def _as_set(value: str) -> bytes:
    """The bytes of a variable as they were set; what is no UTF-8 is left for the decoder to refuse."""
    try:
        return os.fsencode(value)
    except UnicodeEncodeError:  # its text would show a part of the value
        return value.encode(errors="surrogatepass")
