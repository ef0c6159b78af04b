"""Step 4 of the flow: secrets as real providers of dependency_injector, declared in a container.

This package is the only one that imports dependency_injector.
"""

from pgp_config.providers.container import SecretContainer
from pgp_config.providers.graph import Finding
from pgp_config.providers.key_rings import KeyRing
from pgp_config.providers.per_version import PerVersion
from pgp_config.providers.secrets import DynamicSecret, SecretProvider, StaticSecret

__all__ = [
    "DynamicSecret",
    "Finding",
    "KeyRing",
    "PerVersion",
    "SecretContainer",
    "SecretProvider",
    "StaticSecret",
]
