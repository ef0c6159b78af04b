"""AWS Secrets Manager is a source like any other: the contract, against moto's server."""

import contextlib
from typing import ClassVar

import pytest

from pgp_config.testing.contracts import SourceBackend, SourceContract
from pgp_config_aws import AwsSecretsManager


class AwsBackend(SourceBackend):
    lacks: ClassVar = {
        "disable": "a version is in use or not by where AWSCURRENT is",
        "destroy": "AWS forgets versions by itself",
    }

    def __init__(self, moto):
        self._moto = moto
        self.source = AwsSecretsManager(
            "eu-west-1", endpoint=moto.endpoint, attempt_timeout=30, total_timeout=30
        )

    def add(self, name, data):
        try:
            self._moto.put(name, data.decode())
        except UnicodeDecodeError:
            self._moto.put(name, data)

    def forbid(self, name):
        return self._moto.permissions()  # there, the keys of tests are nobody's

    @contextlib.contextmanager
    def outage(self):
        self._moto.script = [(503, b"")]
        yield
        self._moto.script = []


class TestAwsSecretsManager(SourceContract):
    @pytest.fixture
    def backend(self, moto, once):
        backend = AwsBackend(moto)
        yield backend
        backend.source.close()
