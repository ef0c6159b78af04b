"""Vault is a source like any other: the contract, against a real OpenBao, by a URL as a service has it."""

import contextlib
from functools import partial
from typing import ClassVar
from urllib.parse import quote

import pytest

from pgp_config import source_from_url
from pgp_config.testing.contracts import SourceBackend, SourceContract
from pgp_config_vault import Vault


class VaultBackend(SourceBackend):
    lacks: ClassVar = {"binary": "Vault stores JSON, whose texts are Unicode"}

    def __init__(self, bao, prefix, policy, token_file):
        self._bao, self._prefix, self._policy = bao, prefix, policy
        token_file.write_text(bao.token(policy))
        host = bao.address.removeprefix("http://")
        options = f"tls=off&prefix={quote(prefix)}&token_file={quote(str(token_file))}"
        self.source = source_from_url(f"vault://{host}/secret?{options}")
        assert isinstance(self.source, Vault)

    def add(self, name, data):
        return self._bao.put(self._prefix + name, value=data.decode())

    def disable(self, name, version):
        self._change("delete", name, version)

    def enable(self, name, version):
        self._change("undelete", name, version)

    def destroy(self, name, version):
        self._change("destroy", name, version)

    def _change(self, verb, name, version):
        self._bao.call("POST", f"secret/{verb}/{self._prefix}{name}", {"versions": [version]})

    @contextlib.contextmanager
    def forbid(self, name):
        readable = (f"secret/data/{self._prefix}*", "read")
        self._bao.allow(self._policy, readable, (f"secret/data/{self._prefix}{name}", "deny"))
        try:
            yield
        finally:
            self._bao.allow(self._policy, readable)

    @contextlib.contextmanager
    def outage(self):
        self._bao.seal()
        try:
            yield
        finally:
            self._bao.unseal()


@pytest.fixture
def patient(monkeypatch):
    """A URL has no deadlines, and a busy machine may take longer than those of a service."""
    maker = partial(Vault, attempt_timeout=30, total_timeout=30)
    monkeypatch.setattr("pgp_config_vault.urls.Vault", maker)


class TestVault(SourceContract):
    @pytest.fixture
    def backend(self, bao, prefix, reader, once, patient, tmp_path):
        backend = VaultBackend(bao, prefix, reader, tmp_path / "token")
        yield backend
        backend.source.close()
