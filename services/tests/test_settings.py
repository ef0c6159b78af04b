"""The environment variables of a service."""

import pytest

from pgp_config import DeclarationError
from pgp_services.settings import Settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    for name in ("TASKS_SERVICE_ACCOUNT", "CHANGENOW_BASE_URL", "CLOUD_TASKS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_not_set_is_googles_and_changenows_own(monkeypatch):
    monkeypatch.setenv("TASKS_SERVICE_ACCOUNT", "a@b.example")
    monkeypatch.setenv("CLOUD_TASKS_ENDPOINT", "")
    assert Settings.from_environ() == Settings("a@b.example", "https://api.changenow.io", None)


def test_what_is_set_is_taken(monkeypatch):
    monkeypatch.setenv("TASKS_SERVICE_ACCOUNT", "a@b.example")
    monkeypatch.setenv("CHANGENOW_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CLOUD_TASKS_ENDPOINT", "127.0.0.1:2")
    assert Settings.from_environ() == Settings("a@b.example", "http://127.0.0.1:1", "127.0.0.1:2")


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_service_account_is_named(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("TASKS_SERVICE_ACCOUNT", value)
    with pytest.raises(DeclarationError, match="TASKS_SERVICE_ACCOUNT"):
        Settings.from_environ()
