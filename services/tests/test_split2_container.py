"""The container of PGP_SPLIT2_v1: what it declares, who takes it, and what may not be."""

import subprocess
import sys

import pytest
from dependency_injector import providers
from pydantic import SecretStr

from pgp_config import DeclarationError, DynamicSecret, Memory, StartupError, StaticSecret
from pgp_services.catalogue import CATALOGUE
from pgp_services.settings import Settings
from pgp_services.split2.container import Split2

#: PGP_SPLIT2_v1's row of the fleet's table, and the common three.
STATIC = {
    "SUCCESS_URL_SIGNING_KEY",
    "DATABASE_PASSWORD_SECRET",
    "CLOUD_SQL_CONNECTION_NAME",
    "DATABASE_NAME_SECRET",
    "DATABASE_USER_SECRET",
    "CLOUD_TASKS_PROJECT_ID",
    "CLOUD_TASKS_LOCATION",
}
DYNAMIC = {
    "CHANGENOW_API_KEY",
    "PGP_SPLIT1_RESPONSE_QUEUE",
    "PGP_SPLIT1_URL",
    "PGP_BATCHPROCESSOR_QUEUE",
    "PGP_BATCHPROCESSOR_URL",
    "SERVICE_ENVIRONMENT",
    "LOG_LEVEL",
    "ALERTING_ENABLED",
}


@pytest.fixture
def secrets(values):
    container = Split2(
        source=Memory(values), settings=providers.Object(Settings("split2@pgp-test.example"))
    )
    yield container
    container.close()


def declared(kind):
    return {p.name: p for p in Split2.providers.values() if isinstance(p, kind)}


def test_it_declares_what_the_fleets_table_says():
    assert set(declared(StaticSecret)) == STATIC
    assert set(declared(DynamicSecret)) == DYNAMIC


def test_every_secret_is_the_catalogues():
    for name, provider in {**declared(StaticSecret), **declared(DynamicSecret)}.items():
        assert provider._spec.decoder.declared == CATALOGUE[name].declared
        assert Split2.providers[name.lower()] is provider


def test_every_secret_is_taken_and_nothing_undeclared_is_wired(secrets):
    """Old fault: getters that nobody called while the code still read the old keys."""
    assert secrets.check() == []


def test_the_signing_key_cannot_be_made_dynamic():
    """Old fault: "static" was a docstring."""
    with pytest.raises(DeclarationError, match="SUCCESS_URL_SIGNING_KEY"):
        type(
            "Careless",
            (Split2,),
            {"success_url_signing_key": DynamicSecret("SUCCESS_URL_SIGNING_KEY")},
        )


def test_clients_hold_secrets_and_not_their_values(secrets, values):
    changenow, handler, split1 = secrets.changenow(), secrets.handler(), secrets.split1()
    assert changenow._key is secrets.changenow_api_key
    assert handler._signing_key is secrets.success_url_signing_key
    assert handler._changenow is changenow
    assert (split1.queue, split1.base_url) == (
        secrets.pgp_split1_response_queue,
        secrets.pgp_split1_url,
    )
    secrets.load()
    shown = [str(vars(thing)) for thing in (changenow, handler, secrets.tasks())]
    shown += [repr(split1), repr(secrets.database()), repr(secrets)]
    for name in ("CHANGENOW_API_KEY", "SUCCESS_URL_SIGNING_KEY", "DATABASE_PASSWORD_SECRET"):
        assert values[name] not in "".join(shown)


def test_no_two_secrets_swap_their_values(secrets, values):
    """Old fault: two secrets with one free-text cache key swapped values."""
    secrets.load()
    served = {}
    for name in STATIC | DYNAMIC:
        value = secrets.providers[name.lower()]()
        served[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    assert served == {**values, "ALERTING_ENABLED": True}


def test_the_database_and_the_batch_processor_are_the_tables(secrets):
    database, batch = secrets.database(), secrets.batchprocessor()
    secrets.load()
    assert (database.instance(), database.name(), database.user()) == (
        "pgp-test:us-central1:pgp",
        "pgp",
        "split2",
    )
    assert isinstance(database.password(), SecretStr)
    place = batch.place()
    assert (place.queue, place.base_url) == ("batchprocessor", "https://batchprocessor.example")


def test_every_missing_and_every_bad_secret_stops_the_start_by_name(values):
    """Old fault: any failure became None, and the service ran on."""
    del values["PGP_SPLIT1_URL"]
    values["CHANGENOW_API_KEY"] = "CANARY"
    values["LOG_LEVEL"] = "LOUD"
    values["DATABASE_USER_SECRET"] = ""
    container = Split2(source=Memory(values), settings=providers.Object(Settings("a@b.example")))
    with pytest.raises(StartupError) as caught:
        container.load()
    container.close()
    names = {fault.secret for fault in caught.value.faults}
    assert names == {
        "PGP_SPLIT1_URL",
        "CHANGENOW_API_KEY",
        "LOG_LEVEL",
        "DATABASE_USER_SECRET",
    }
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_source_is_named(monkeypatch, value):
    monkeypatch.delenv("PGP_CONFIG_SOURCE", raising=False)
    if value is not None:
        monkeypatch.setenv("PGP_CONFIG_SOURCE", value)
    with pytest.raises(DeclarationError, match="PGP_CONFIG_SOURCE"):
        Split2.deployed()


def test_the_source_is_that_of_the_environment(monkeypatch, values):
    monkeypatch.setenv("PGP_CONFIG_SOURCE", "env:")
    monkeypatch.setenv("TASKS_SERVICE_ACCOUNT", "a@b.example")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    container = Split2.deployed()
    container.load()
    assert container.pgp_split1_url() == "https://split1.example"
    assert container.handler() is container.handler()
    container.close()


@pytest.mark.parametrize(
    ("blocked", "module"),
    [
        ("flask", "pgp_services.split2.handler"),
        ("flask", "pgp_services.split2.container"),
        ("flask", "pgp_services.split2.fastapi_app"),
        ("fastapi", "pgp_services.split2.container"),
        ("fastapi", "pgp_services.split2.flask_app"),
    ],
)
def test_nothing_depends_on_the_other_framework(blocked, module):
    names = {"flask": ["flask", "pgp_config_flask"], "fastapi": ["fastapi", "pgp_config_fastapi"]}
    code = f"import sys; sys.modules.update(dict.fromkeys({names[blocked]})); import {module}"
    subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", code], check=True)
