"""The same without pytest: for `unittest.TestCase` and `unittest.IsolatedAsyncioTestCase`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_config.testing.leaks import no_secret_leaks
from pgp_config.testing.prepared import Maker

if TYPE_CHECKING:
    import unittest
    from collections.abc import Iterable

    from pgp_config.emulator import SecretManagerEmulator
    from pgp_config.testing.leaks import Kind, LeakWatch

    _Case = unittest.TestCase
else:
    _Case = object


class SecretsTestMixin(_Case):
    """Put it in front of a `unittest.TestCase`; what it makes ends with the test."""

    @property
    def make_secrets(self) -> Maker:
        """Makes containers with values: `self.make_secrets(MyContainer, {…})`; see `pgp_config.testing.prepare`."""
        return Maker(self.addCleanup)

    def start_secret_manager(self) -> SecretManagerEmulator:
        """A local Secret Manager, started; it needs `pgp-config[emulator]`."""
        from pgp_config.testing.emulated import emulator  # noqa: PLC0415  few tests use one

        return self.enterContext(emulator())

    def forbid_secret_leaks(self, *canaries: str, allow: Iterable[Kind] = ()) -> LeakWatch:
        """From here to the end of the test; see `pgp_config.testing.no_secret_leaks`.

        Call it first, in `setUp`: what was made before it is cleaned up after it looked.
        """
        return self.enterContext(no_secret_leaks(*canaries, allow=allow))
