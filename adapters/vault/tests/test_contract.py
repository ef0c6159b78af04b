"""Vault is a source like any other: the contract, against a real OpenBao."""

import contextlib
from typing import ClassVar

import pytest

from pgp_config.testing.contracts import SourceBackend, SourceContract
from pgp_config_vault import Token, Vault


class VaultBackend(SourceBackend):
    lacks: ClassVar = {"binary": "Vault stores JSON, whose texts are Unicode"}

    def __init__(self, bao, prefix, policy):
        self._bao, self._prefix, self._policy = bao, prefix, policy
        self.source = Vault(
            bao.address,
            prefix=prefix,
            auth=Token(bao.token(policy)),
            attempt_timeout=30,
            total_timeout=30,
        )

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


class TestVault(SourceContract):
    @pytest.fixture
    def backend(self, bao, prefix, reader, once):
        backend = VaultBackend(bao, prefix, reader)
        yield backend
        backend.source.close()
