"""The environment variables of a service."""

from dataclasses import fields

import pytest

from pgp_config import DeclarationError
from pgp_services.settings import Settings

VARIABLES = {
    "TASKS_SERVICE_ACCOUNT": "a@b.example",
    "CHANGENOW_BASE_URL": "http://127.0.0.1:1",
    "CLOUD_TASKS_ENDPOINT": "127.0.0.1:2",
    "NOWPAYMENTS_BASE_URL": "http://127.0.0.1:3",
    "TELEGRAM_BASE_URL": "http://127.0.0.1:4",
    "ETHEREUM_BASE_URL": "http://127.0.0.1:5",
    "LOCAL_GATEWAY": "http://127.0.0.1:6",
    "GOOGLE_CLOUD_PROJECT": "pgp-live",
    "GOOGLE_CLOUD_REGION": "us-central1",
    "TELEGRAM_UPDATES": "poll",
    "NOWPAYMENTS_IPN_URL": "https://np-ipn.example",
    "ALERTS_SOURCE": "env:",
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_what_is_not_set_is_the_others_own(monkeypatch):
    monkeypatch.setenv("CLOUD_TASKS_ENDPOINT", "")
    settings = Settings.from_environ()
    assert settings == Settings()
    assert settings.changenow_base_url == "https://api.changenow.io"
    assert settings.cloud_tasks_endpoint is None


def test_what_is_set_is_taken(monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environ()
    assert [getattr(settings, field.name) for field in fields(settings)] == list(
        VARIABLES.values()
    )
    assert settings.tasks_service_account == "a@b.example"
    assert (settings.tasks_project, settings.tasks_region) == ("pgp-live", "us-central1")


@pytest.mark.parametrize(
    ("variable", "attribute"),
    [
        ("TASKS_SERVICE_ACCOUNT", "tasks_service_account"),
        ("GOOGLE_CLOUD_PROJECT", "tasks_project"),
        ("GOOGLE_CLOUD_REGION", "tasks_region"),
    ],
)
@pytest.mark.parametrize("value", [None, ""])
def test_what_a_service_cannot_do_without_is_named(monkeypatch, variable, attribute, value):
    if value is not None:
        monkeypatch.setenv(variable, value)
    settings = Settings.from_environ()
    with pytest.raises(DeclarationError, match=variable):
        getattr(settings, attribute)


def test_whether_a_process_polls_is_said_in_one_of_two_words(monkeypatch):
    monkeypatch.setenv("TELEGRAM_UPDATES", "yes")
    with pytest.raises(DeclarationError, match="TELEGRAM_UPDATES"):
        Settings.from_environ()
