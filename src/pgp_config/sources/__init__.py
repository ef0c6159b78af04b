"""Step 1 of the flow: where the bytes of a secret come from.

`Source` is the seam. A third party offers one under a URL scheme of its own through the entry-point
group `pgp_config.sources`. Google's libraries are imported by the first fetch of a
`GoogleSecretManager`, not by this package.
"""

from typing import TYPE_CHECKING

from pgp_config.deferred import deferred

if TYPE_CHECKING:
    from pgp_config.sources.base import Source
    from pgp_config.sources.budget import FetchBudget
    from pgp_config.sources.directory import Directory
    from pgp_config.sources.environment import Environment
    from pgp_config.sources.google import GoogleSecretManager
    from pgp_config.sources.memory import Memory
    from pgp_config.sources.per_process import PerProcess
    from pgp_config.sources.urls import source_from_url, source_options
    from pgp_config.sources.versions import check_version
else:
    __getattr__, __dir__ = deferred(
        globals(),
        {
            "Directory": "pgp_config.sources.directory",
            "Environment": "pgp_config.sources.environment",
            "FetchBudget": "pgp_config.sources.budget",
            "GoogleSecretManager": "pgp_config.sources.google",
            "Memory": "pgp_config.sources.memory",
            "PerProcess": "pgp_config.sources.per_process",
            "Source": "pgp_config.sources.base",
            "check_version": "pgp_config.sources.versions",
            "source_from_url": "pgp_config.sources.urls",
            "source_options": "pgp_config.sources.urls",
        },
    )

__all__ = [
    "Directory",
    "Environment",
    "FetchBudget",
    "GoogleSecretManager",
    "Memory",
    "PerProcess",
    "Source",
    "check_version",
    "source_from_url",
    "source_options",
]
