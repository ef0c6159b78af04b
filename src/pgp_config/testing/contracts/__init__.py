"""What every source and every adapter promises, as pytest classes to subclass: see docs/testing.md.

They are what this library's own sources and adapters pass.
"""

try:
    from pgp_config.testing.contracts.adapters import (
        AdapterBackend,
        AdapterContract,
        Reply,
        Stage,
    )
    from pgp_config.testing.contracts.sources import SourceBackend, SourceContract
except ImportError as missing:
    raise ImportError(
        f"pgp_config.testing.contracts needs {missing.name}: pip install 'pgp-config[testing]'",
        name=missing.name,
    ) from missing

__all__ = [
    "AdapterBackend",
    "AdapterContract",
    "Reply",
    "SourceBackend",
    "SourceContract",
    "Stage",
]
