"""Secrets in memory, with Secret Manager's versions and states: for tests and examples."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import google_crc32c

from pgp_config.errors import (
    ChangedMeanwhile,
    DeclarationError,
    SecretDisabled,
    SecretNotFound,
)
from pgp_config.forking import gate
from pgp_config.payload import Payload
from pgp_config.sources.administration import (
    DESTROYED,
    DISABLED,
    ENABLED,
    SecretFacts,
    VersionFacts,
)
from pgp_config.sources.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True, eq=False, repr=False)
class _Version:
    """One version; a destroyed one has lost its payload."""

    number: int
    payload: Payload | None
    created: float
    enabled: bool = True
    changes: int = 0

    def facts(self) -> VersionFacts:
        """What is known of it without its value."""
        state = ENABLED if self.enabled else DISABLED
        state = DESTROYED if self.payload is None else state
        return VersionFacts(self.number, state, f"{self.number}-{self.changes}", self.created)


class Memory:
    """A source in memory; safe to use from several threads.

    `latest` is the newest version in any state, as in Secret Manager: where that one is disabled or
    destroyed, asking for `latest` is an error.

    Args:
        values: The first version of each secret, as text or bytes.

    Raises:
        DeclarationError: If a name is not a text, or empty, or a value is neither text nor bytes.
    """

    def __init__(self, values: Mapping[str, str | bytes] | None = None) -> None:
        self._versions: dict[str, list[_Version]] = {}
        self._facts: dict[str, SecretFacts] = {}
        self._lock = threading.Lock()
        gate.register(self)
        for name, value in (values or {}).items():
            self.add(name, value)

    def __repr__(self) -> str:
        return f"<Memory of {len(self._versions)} secrets>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A source of secrets in memory is not pickled or copied.")

    def add(self, name: str, value: str | bytes) -> int:
        """Add a version, and the secret if it is new.

        Returns:
            The version's number: 1, 2, …

        Raises:
            DeclarationError: If the name is not a text, or empty, or the value is neither text nor
                bytes.
        """
        data = _checked_bytes(name, value)
        with self._lock:
            versions = self._versions.setdefault(name, [])
            number = len(versions) + 1
            payload = Payload(data, number, google_crc32c.value(data))
            versions.append(_Version(number, payload, time.time()))
        return number

    def disable(self, name: str, version: int | str = "latest") -> None:
        """Make a version unreadable until it is enabled again.

        Raises:
            SecretNotFound: If there is no such secret or version.
            SecretDisabled: If it is destroyed.
        """
        self._switch(name, version, enabled=False)

    def enable(self, name: str, version: int | str = "latest") -> None:
        """Make a disabled version readable again.

        Raises:
            SecretNotFound: If there is no such secret or version.
            SecretDisabled: If it is destroyed.
        """
        self._switch(name, version, enabled=True)

    def destroy(self, name: str, version: int | str = "latest") -> None:
        """Forget a version's value for good; its number is not given again.

        Raises:
            SecretNotFound: If there is no such secret or version.
        """
        with self._lock:
            found = self._find(name, version)
            found.payload, found.changes = None, found.changes + 1

    def delete(self, name: str) -> None:
        """Forget a secret with all its versions.

        Raises:
            SecretNotFound: If there is no such secret.
        """
        with self._lock:
            self._find(name, "latest")
            del self._versions[name]

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `Source.fetch`.

        Raises:
            SecretNotFound: If there is no such secret or version.
            SecretDisabled: If the version is disabled or destroyed.
        """
        with self._lock:
            found = self._find(name, version)
            if found.payload is not None and found.enabled:
                return found.payload
        state = "destroyed" if found.payload is None else "disabled"
        raise SecretDisabled(
            f"version {found.number} is {state}",
            remedy="Enable that version, or add a new one.",
            secret=name,
        )

    def administration(self) -> MemoryAdministration:
        """What changes its secrets as a rotation does; see `pgp_config.sources.administration`."""
        return MemoryAdministration(self)

    def describe(self, name: str) -> SecretFacts:
        """The secret itself."""
        with self._lock:
            self._find(name, "latest")
            return self._facts.get(name, SecretFacts({}, "0"))

    def annotate(self, name: str, secret: SecretFacts, annotations: Mapping[str, str]) -> None:
        """Replace its annotations, if it is as it was described."""
        with self._lock:
            if self._facts.get(name, SecretFacts({}, "0")) != secret:
                raise _changed(name)
            self._facts[name] = SecretFacts(dict(annotations), str(int(secret.etag) + 1))

    def versions(self, name: str) -> list[VersionFacts]:
        """Its versions, the newest first."""
        with self._lock:
            self._find(name, "latest")
            return [found.facts() for found in reversed(self._versions[name])]

    def names(self) -> list[str]:
        """Every secret, by name."""
        with self._lock:
            return sorted(self._versions)

    def renew_after_fork(self) -> None:
        """In a child: the lock may have been held by a thread that is not here."""
        self._lock = threading.Lock()

    def _switch(self, name: str, version: int | str, *, enabled: bool) -> None:
        with self._lock:
            found = self._find(name, version)
            if found.payload is None:
                raise SecretDisabled(
                    f"version {found.number} is destroyed",
                    remedy="Add a new version: a destroyed one has no value any more.",
                    secret=name,
                )
            found.enabled, found.changes = enabled, found.changes + 1

    def _find(self, name: str, version: int | str) -> _Version:
        check_version(version)
        versions = self._versions.get(name)
        if versions is None:
            raise SecretNotFound(
                "does not exist in memory",
                remedy=f"Add it: memory.add({name!r}, …).",
                secret=name,
            )
        number = len(versions) if version == "latest" else version
        for found in versions:
            if found.number == number:
                return found
        raise SecretNotFound(
            f"has no version {version}: the newest is {len(versions)}",
            remedy="Ask for 'latest', or for one of these.",
            secret=name,
        )


class MemoryAdministration:
    """Changes secrets in memory; see `Administration`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.fetch = memory.fetch
        self.describe = memory.describe
        self.versions = memory.versions
        self.names = memory.names
        self.annotate = memory.annotate
        self.add = memory.add

    def enable(self, name: str, version: VersionFacts) -> None:
        """As `Administration.enable`."""
        self._refuse_changed(name, version)
        self._memory.enable(name, version.number)

    def disable(self, name: str, version: VersionFacts) -> None:
        """As `Administration.disable`."""
        self._refuse_changed(name, version)
        self._memory.disable(name, version.number)

    def lacking(self, name: str) -> list[str]:  # noqa: ARG002  as in the protocol
        """Nobody lacks anything here."""
        return []

    def _refuse_changed(self, name: str, version: VersionFacts) -> None:
        if version not in self._memory.versions(name):
            raise _changed(name)


def _changed(name: str) -> ChangedMeanwhile:
    return ChangedMeanwhile(
        "is not as it was when it was looked at", remedy="Look again.", secret=name
    )


def _checked_bytes(name: str, value: str | bytes) -> bytes:
    if not isinstance(name, str) or not name:
        raise DeclarationError(
            f"a secret in memory is named {name!r}", remedy="Give a name: Memory({'NAME': '…'})."
        )
    if isinstance(value, str | bytes):
        return value.encode(errors="surrogatepass") if isinstance(value, str) else value
    kind = type(value).__name__
    del value
    raise DeclarationError(
        f"was given a value of type {kind}",
        remedy="Give text or bytes, as a source stores them: 'true', '3.5', json.dumps(…).",
        secret=name,
    )
