"""What a type checker makes of the test kit; checked by `scripts/check`, never run."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, assert_type

import pytest

from pgp_config import EVERY_REQUEST, DynamicSecret, SecretContainer
from pgp_config.emulator import SecretManagerEmulator
from pgp_config.events import ServedStale
from pgp_config.testing import (
    FakeClock,
    FakeSource,
    LeakWatch,
    Prepared,
    SecretsTestMixin,
    no_secret_leaks,
    prepare,
)
from pgp_config.testing.contracts import SourceBackend, SourceContract

if TYPE_CHECKING:
    from pgp_config.testing.prepared import Maker


class Service(SecretContainer):
    """A container."""

    key = DynamicSecret("KEY")


def a_test(
    make_secrets: Maker,
    secret_manager: SecretManagerEmulator,
    secret_clock: FakeClock,
    secret_leaks: LeakWatch,
) -> None:
    """The fixtures."""
    made = make_secrets(Service, {"KEY": "k"}, freshness=EVERY_REQUEST, load=False)
    assert_type(made, Prepared[Service, FakeSource])
    assert_type(made.secrets, Service)
    assert_type(made.rotate("KEY", b"k"), int)
    assert_type(made.events.of(ServedStale), list[ServedStale])
    managed = make_secrets(Service, manager=secret_manager)
    assert_type(managed.store, SecretManagerEmulator)
    secret_clock.advance(5)
    secret_leaks.look_for("canary")
    with secret_clock.driving(made.secrets), made.store.outage():
        made.clock.advance(5)


async def without_pytest() -> None:
    """The blocks."""
    with prepare(Service, {"KEY": "k"}) as made, no_secret_leaks("canary", allow=["scopes"]):
        assert_type(made.secrets, Service)
    async with prepare(Service) as later:
        assert_type(later, Prepared[Service, FakeSource])


class Case(SecretsTestMixin, unittest.IsolatedAsyncioTestCase):
    """The helpers for unittest."""

    def setUp(self) -> None:
        """As unittest has it."""
        assert_type(self.forbid_secret_leaks("canary"), LeakWatch)
        assert_type(self.make_secrets(Service).secrets, Service)
        assert_type(self.start_secret_manager(), SecretManagerEmulator)


class Backend(SourceBackend):
    """The test's side of a source."""

    lacks = {"forbid": "cannot", "outage": "cannot"}  # noqa: RUF012  as a test writes it

    def __init__(self) -> None:
        self._memory = self.source = FakeSource()

    def add(self, name: str, data: bytes) -> int:
        """Store it."""
        return self._memory.add(name, data)


class TestSource(SourceContract):
    """A contract."""

    @pytest.fixture
    def backend(self) -> SourceBackend:
        """What is under test."""
        return Backend()
