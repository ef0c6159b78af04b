"""What every source and every adapter promises, as pytest classes to subclass: see docs/testing.md.

They are what this library's own sources and adapters pass. pytest has to be installed.
"""

from pgp_config.testing.contracts.adapters import (
    AdapterBackend,
    AdapterContract,
    Reply,
    Stage,
)
from pgp_config.testing.contracts.sources import SourceBackend, SourceContract

__all__ = [
    "AdapterBackend",
    "AdapterContract",
    "Reply",
    "SourceBackend",
    "SourceContract",
    "Stage",
]
