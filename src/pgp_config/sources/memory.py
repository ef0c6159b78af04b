"""Secrets in this process's memory: the twin of Secret Manager for tests and examples."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

import google_crc32c

from pgp_config.errors import SecretDisabled, SecretNotFound
from pgp_config.secret import Payload

if TYPE_CHECKING:
    from collections.abc import Mapping


class Memory:
    """Versions of secrets, numbered from 1, with Secret Manager's semantics.

    `latest` is the newest version in any state: a disabled newest one is an error, not a step back.

    Args:
        values: The first version of each secret, as text or bytes.
    """

    def __init__(self, values: Mapping[str, str | bytes] | None = None) -> None:
        self._versions: dict[str, list[Payload]] = {}
        self._off: set[tuple[str, int]] = set()
        self._gone: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        for name, value in (values or {}).items():
            self.add(name, value)

    def __repr__(self) -> str:
        return f"<Memory of {len(self._versions)} secrets>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Memory source is not pickled or copied: it holds secret values.")

    def add(self, name: str, value: str | bytes) -> int:
        """Add a version, and the secret if it is new.

        Returns:
            The version's number: 1 for the first.
        """
        data = value.encode() if isinstance(value, str) else bytes(value)
        with self._lock:
            versions = self._versions.setdefault(name, [])
            versions.append(Payload(data, len(versions) + 1, google_crc32c.value(data)))
            return len(versions)

    def disable(self, name: str, version: int) -> None:
        """Refuse a version until it is enabled again.

        Raises:
            SecretNotFound: If there is none of that number.
        """
        with self._lock:
            self._find(name, version)
            self._off.add((name, version))

    def enable(self, name: str, version: int) -> None:
        """Hand out a disabled version again; a destroyed one stays destroyed.

        Raises:
            SecretNotFound: If there is none of that number.
        """
        with self._lock:
            self._find(name, version)
            self._off.discard((name, version))

    def destroy(self, name: str, version: int) -> None:
        """Forget a version's bytes for ever; its number stays taken.

        Raises:
            SecretNotFound: If there is none of that number.
        """
        with self._lock:
            self._find(name, version)
            self._gone.add((name, version))
            self._versions[name][version - 1] = Payload(b"", version)

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """One version of a secret.

        Raises:
            SecretNotFound: There is no such secret or version.
            SecretDisabled: The version is disabled or destroyed.
        """
        with self._lock:
            payload = self._find(name, version)
            for state, where in (("destroyed", self._gone), ("disabled", self._off)):
                if (name, payload.version) in where:
                    raise SecretDisabled(
                        f"version {payload.version} is {state}",
                        remedy="Enable it, or add a version.",
                        secret=name,
                    )
            return payload

    def _find(self, name: str, version: int | str) -> Payload:
        versions = self._versions.get(name, [])
        number = len(versions) if version == "latest" else version
        if isinstance(number, int) and 1 <= number <= len(versions):
            return versions[number - 1]
        what = "secret" if not versions else f"version {version!r}"
        raise SecretNotFound(
            f"there is no such {what} in memory",
            remedy=f"Add it: source.add({name!r}, …).",
            secret=name,
        )
