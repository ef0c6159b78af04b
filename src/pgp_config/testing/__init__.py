"""For tests of services: containers with values, a source that fails, a clock, and detectors of leaks.

See docs/testing.md. The fixtures of pytest are in `pgp_config_pytest`, which gets what it needs from here.
"""

from typing import TYPE_CHECKING

from pgp_config.deferred import deferred

if TYPE_CHECKING:
    from pgp_config.testing.cases import SecretsTestMixin
    from pgp_config.testing.clock import FakeClock
    from pgp_config.testing.leaks import LeakWatch, SecretLeak, no_secret_leaks
    from pgp_config.testing.prepared import Events, Prepared, prepare
    from pgp_config.testing.source import FakeSource, Hold
else:
    # A history or a recorder of reads needs none of these.
    __getattr__, __dir__ = deferred(
        globals(),
        {
            "Events": "pgp_config.testing.prepared",
            "FakeClock": "pgp_config.testing.clock",
            "FakeSource": "pgp_config.testing.source",
            "Hold": "pgp_config.testing.source",
            "LeakWatch": "pgp_config.testing.leaks",
            "Prepared": "pgp_config.testing.prepared",
            "SecretLeak": "pgp_config.testing.leaks",
            "SecretsTestMixin": "pgp_config.testing.cases",
            "no_secret_leaks": "pgp_config.testing.leaks",
            "prepare": "pgp_config.testing.prepared",
        },
    )

__all__ = [
    "Events",
    "FakeClock",
    "FakeSource",
    "Hold",
    "LeakWatch",
    "Prepared",
    "SecretLeak",
    "SecretsTestMixin",
    "no_secret_leaks",
    "prepare",
]
