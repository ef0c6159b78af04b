"""The local Secret Manager, or a word on what is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from pgp_config.emulator import SecretManagerEmulator


def emulator() -> SecretManagerEmulator:
    """A local Secret Manager; `with` starts and stops it.

    Raises:
        DeclarationError: If its extra is not installed.
    """
    try:
        from pgp_config.emulator import SecretManagerEmulator  # noqa: PLC0415  it is an extra
    except ImportError as missing:
        raise DeclarationError(
            f"the local Secret Manager needs {missing.name}",
            remedy="Install it: pip install 'pgp-config[emulator]'.",
        ) from missing
    return SecretManagerEmulator()
