"""The catalogue's types: what they take, what they serve, and that they do not show what they refuse."""

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from pgp_config import DynamicSecret, ReloadPolicy, StaticSecret
from pgp_services import catalogue
from pgp_services.catalogue import CATALOGUE, Dynamic, Row, Static

#: The rows of the fleet's list (secrets.csv) that the pilot uses: name, category, kind, reload.
LISTED = """\
CHANGENOW_API_KEY,api key,secret,dynamic
PGP_SPLIT1_URL,service url,https url,dynamic
PGP_SPLIT1_RESPONSE_QUEUE,queue,queue id,dynamic
PGP_BATCHPROCESSOR_QUEUE,queue,queue id,dynamic
SERVICE_ENVIRONMENT,application config,enum prod|staging,dynamic
ALERTING_ENABLED,application config,bool,dynamic
LOG_LEVEL,application config,enum DEBUG|INFO|WARNING|ERROR,dynamic
PGP_BATCHPROCESSOR_URL,service url,https url,dynamic
SUCCESS_URL_SIGNING_KEY,signing key,secret,static
DATABASE_PASSWORD_SECRET,database,secret,static
CLOUD_SQL_CONNECTION_NAME,database,text project:region:instance,static
DATABASE_NAME_SECRET,database,text,static
DATABASE_USER_SECRET,database,text,static
CLOUD_TASKS_PROJECT_ID,infrastructure,text,static
CLOUD_TASKS_LOCATION,infrastructure,text,static
"""
ROWS = [line.split(",") for line in LISTED.splitlines()]


def read(row: Row, text):
    """As pgp_config reads a payload."""
    return TypeAdapter(row.declared).validate_strings(text)


def test_the_catalogue_has_the_listed_rows_and_no_others():
    assert sorted(CATALOGUE) == sorted(name for name, *_ in ROWS)


@pytest.mark.parametrize(("name", "category", "kind", "reload"), ROWS)
def test_each_row_is_as_listed(name, category, kind, reload):
    row = CATALOGUE[name]
    assert getattr(catalogue, name) is row
    assert row.category == category
    assert type(row) is {"dynamic": Dynamic, "static": Static}[reload]
    good = "5f" * 32
    if kind == "secret":
        assert isinstance(read(row, good), SecretStr)
    if kind == "https url":
        assert read(row, "https://a.example/") == "https://a.example"
    if kind.startswith("enum"):
        assert [read(row, choice) for choice in kind.removeprefix("enum ").split("|")]
        with pytest.raises(ValidationError):
            read(row, "other")


def test_a_row_declares_a_secret_of_its_class():
    dynamic, static = catalogue.CHANGENOW_API_KEY, catalogue.SUCCESS_URL_SIGNING_KEY
    assert isinstance(dynamic.secret(), DynamicSecret)
    assert isinstance(static.secret(), StaticSecret)
    assert dynamic.secret() is not dynamic.secret()
    assert dynamic.secret().name == "CHANGENOW_API_KEY"


def test_no_dynamic_row_has_a_protected_name():
    policy = ReloadPolicy()
    dynamic = [row.name for row in CATALOGUE.values() if isinstance(row, Dynamic)]
    assert [name for name in dynamic if policy.fault_of(name)] == []


GOOD = [
    ("CHANGENOW_API_KEY", "aF" * 32),
    ("PGP_SPLIT1_URL", "https://split1-abc123-uc.a.run.app"),
    ("PGP_SPLIT1_URL", "https://split1.example:8443/"),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "q" * 100),
    ("CLOUD_SQL_CONNECTION_NAME", "pgp-live:us-central1:main"),
    ("CLOUD_SQL_CONNECTION_NAME", "example.com:pgp-live:us-central1:main"),
    ("CLOUD_TASKS_PROJECT_ID", "example.com:pgp-live"),
    ("CLOUD_TASKS_LOCATION", "us-central1"),
    ("DATABASE_NAME_SECRET", "telepay db"),
    ("ALERTING_ENABLED", "true"),
    ("ALERTING_ENABLED", "false"),
    ("DATABASE_PASSWORD_SECRET", " anything at all "),
]

BAD = [
    ("CHANGENOW_API_KEY", "aF" * 31),
    ("CHANGENOW_API_KEY", "zz" * 32),
    ("SUCCESS_URL_SIGNING_KEY", "5f" * 32 + "\n"),
    ("PGP_SPLIT1_URL", "http://split1.example"),
    ("PGP_SPLIT1_URL", "https://split1.example/usdt-eth-estimate"),
    ("PGP_SPLIT1_URL", "https://split1.example//"),
    ("PGP_SPLIT1_URL", "https://user:pass@split1.example"),
    ("PGP_SPLIT1_URL", "https://split1.example?x=1"),
    ("PGP_SPLIT1_URL", "https://split1.example#x"),
    ("PGP_SPLIT1_URL", "https://split1.example:99999"),
    ("PGP_SPLIT1_URL", "https://split1.example:"),
    ("PGP_SPLIT1_URL", "https://[::1"),
    ("PGP_SPLIT1_URL", "https://"),
    ("PGP_SPLIT1_URL", "https://sp lit1.example"),
    ("PGP_SPLIT1_URL", "split1.example"),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "q" * 101),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "queue_1"),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "queue\n"),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "projects/p/locations/l/queues/q"),
    ("CLOUD_SQL_CONNECTION_NAME", "main"),
    ("CLOUD_TASKS_PROJECT_ID", "a/b"),
    ("CLOUD_TASKS_LOCATION", "us central1"),
    ("DATABASE_USER_SECRET", " user"),
    ("DATABASE_USER_SECRET", "user\n"),
    ("ALERTING_ENABLED", "1"),
    ("ALERTING_ENABLED", "True"),
    ("ALERTING_ENABLED", "yes"),
    ("LOG_LEVEL", "debug"),
    ("SERVICE_ENVIRONMENT", "production"),
]


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_what_a_type_takes(name, text):
    read(CATALOGUE[name], text)


@pytest.mark.parametrize(("name", "text"), BAD)
def test_what_a_type_refuses(name, text):
    with pytest.raises(ValidationError):
        read(CATALOGUE[name], text)


def test_a_url_is_served_without_its_closing_slash():
    assert read(CATALOGUE["PGP_SPLIT1_URL"], "https://Split1.Example/") == "https://split1.example"


def test_flags_are_booleans():
    assert read(CATALOGUE["ALERTING_ENABLED"], "false") is False
