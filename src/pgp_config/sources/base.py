"""The seam: one method, and how it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pgp_config.payload import Payload


@runtime_checkable
class Source(Protocol):
    """Where secrets are stored.

    `fetch` is called from several threads at once, blocks, and bounds its own time. A source that
    holds a connection may also have `close()`; a `fetch` after it connects anew. One whose first
    fetch takes longer may have `connect()`, which start-up calls first. One whose names belong to a
    project may have `owns(project, location)`: pushes about secrets of other projects are ignored then.
    Nothing that it holds may cross a fork: connect on first use in each process.
    """

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """Ask for one version of one secret, now.

        Args:
            name: The secret's name.
            version: A version's number, or `"latest"`.

        Returns:
            The bytes, the number of the version that they are, and the checksum that came with them.

        Raises:
            SecretNotFound: There is no such secret, or no such version.
            SecretForbidden: This identity may not read it.
            SecretDisabled: That version is disabled or destroyed.
            SourceTimeout: No answer in time.
            SecretUnavailable: Any other failure to get an answer.
            RejectedVersion: The source cannot hand out what it has.
        """
        ...
