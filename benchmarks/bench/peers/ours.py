"""pgp_config itself, with a source in memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgp_config import DynamicSecret, Memory, SecretContainer, StaticSecret

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is read everywhere, by us and by all peers; nobody's key.
VALUE = "a value of some length, as keys have"


class Secrets(SecretContainer):
    """Two secrets."""

    dynamic = DynamicSecret("DYNAMIC_VALUE", str)
    static = StaticSecret("STATIC_VALUE", str)


@contextmanager
def loaded() -> Iterator[Secrets]:
    """A container whose secrets are known."""
    secrets = Secrets(source=Memory({"DYNAMIC_VALUE": VALUE, "STATIC_VALUE": VALUE}))
    secrets.load()
    try:
        yield secrets
    finally:
        secrets.close()
