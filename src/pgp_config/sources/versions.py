"""Version numbers: what a caller may ask for, and a count of contents for sources that have none."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

from pgp_config.errors import DeclarationError, SecretNotFound
from pgp_config.forking import gate
from pgp_config.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Callable


def check_version(version: int | str) -> None:
    """See that a source can be asked for a version: its number, 1 or more, or `"latest"`.

    Raises:
        DeclarationError: If it is anything else.
    """
    if version == "latest":
        return
    if isinstance(version, int) and not isinstance(version, bool) and version >= 1:
        return
    raise DeclarationError(
        f"a version {version!r} was asked for",
        remedy="Ask for 'latest', or for a version's number: a whole number, 1 or more.",
    )


class _Counted:
    """How many contents of one secret were seen, and a mark of the last one."""

    __slots__ = ("lock", "mark", "version")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.mark = b""
        self.version = 0


class ContentVersions:
    """Counts the contents that this process sees of each secret: version n is the n-th.

    Contents are told apart by a keyed hash, with a key that no other process has, so that the last
    value is not held a second time.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._seen: dict[str, _Counted] = {}
        gate.register(self)

    def read(self, name: str, version: int | str, contents: Callable[[], bytes]) -> Payload:
        """Read a secret and count its contents.

        Args:
            name: The secret's name.
            version: As in `Source.fetch`.
            contents: Reads the bytes, now.

        Raises:
            DeclarationError: If the version is neither a number nor `"latest"`.
            SecretNotFound: If the version is a number, and not that of these contents.
        """
        check_version(version)
        counted = self._seen.setdefault(name, _Counted())
        # The lock is held while reading: of two readers, the later one may not count first.
        with counted.lock:
            payload = self._counted(counted, contents())
        if version in ("latest", payload.version):
            return payload
        present = payload.version
        del payload
        raise SecretNotFound(
            f"has no version {version} here: the contents now are version {present}",
            remedy="Ask for 'latest': this source keeps no other versions.",
            secret=name,
        )

    def _counted(self, counted: _Counted, data: bytes) -> Payload:
        mark = hashlib.blake2b(data, key=self._key, digest_size=32).digest()
        if mark != counted.mark:
            counted.mark = mark
            counted.version += 1
        return Payload(data, counted.version)

    def renew_after_fork(self) -> None:
        """In a child: a lock may have been held by a thread that is not here."""
        for counted in list(self._seen.values()):
            counted.lock = threading.Lock()
