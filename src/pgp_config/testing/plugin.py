"""The pytest plugin: loaded by every run, so it imports nothing heavy before a fixture is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgp_config.emulator import SecretManagerEmulator


@pytest.fixture
def secret_manager() -> Iterator[SecretManagerEmulator]:
    """A local Secret Manager, started; `GoogleSecretManager("local", endpoint=….endpoint)` reads it."""
    from pgp_config.emulator import SecretManagerEmulator  # noqa: PLC0415  see the module

    with SecretManagerEmulator() as emulator:
        yield emulator
