"""AWS Secrets Manager is a source like any other: the contract, against moto's server, by a URL as a service has it."""

import contextlib
from functools import partial
from typing import ClassVar
from urllib.parse import quote

import pytest

from pgp_config import source_from_url
from pgp_config.testing.contracts import SourceBackend, SourceContract
from pgp_config_aws import AwsSecretsManager


class AwsBackend(SourceBackend):
    lacks: ClassVar = {
        "disable": "a version is in use or not by where AWSCURRENT is",
        "destroy": "AWS forgets versions by itself",
    }

    def __init__(self, moto):
        self._moto = moto
        self.source = source_from_url(f"aws://eu-west-1?endpoint={quote(moto.endpoint, safe='')}")
        assert isinstance(self.source, AwsSecretsManager)

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


@pytest.fixture
def patient(monkeypatch):
    """A URL has no deadlines, and a busy machine may take longer than those of a service."""
    maker = partial(AwsSecretsManager, attempt_timeout=30, total_timeout=30)
    monkeypatch.setattr("pgp_config_aws.urls.AwsSecretsManager", maker)


class TestAwsSecretsManager(SourceContract):
    @pytest.fixture
    def backend(self, moto, once, patient):
        backend = AwsBackend(moto)
        yield backend
        backend.source.close()
