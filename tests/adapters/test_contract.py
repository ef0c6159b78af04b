"""This library's own adapters, held to the contract that third parties run as well."""

import pytest

from pgp_config.testing.contracts import AdapterContract


class TestAdapters(AdapterContract):
    @pytest.fixture
    def backend(self, way, stage):
        return way(stage)
