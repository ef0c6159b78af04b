"""A service in a folder of its own, and the command run in it; no output may hold a value."""

import json
import random
import sys

import pytest
from typer.testing import CliRunner

from pgp_config.cli import app
from pgp_config.sources.google import administration

#: In every value of these tests.
CANARY = "canary-9c41"

SERVICE = """
from decimal import Decimal

from dependency_injector import providers

from pgp_config import DynamicSecret, Freshness, GoogleSecretManager, KeyRing, Memory
from pgp_config import PerVersion, SecretContainer, StaticSecret


class Client:
    pass


def make_pool(password):
    pass


class Shop(SecretContainer):
    key = DynamicSecret("API_KEY")
    fee = DynamicSecret("FEE", Decimal)
    ring = KeyRing("WEBHOOK_SECRET")
    password = StaticSecret("DATABASE_PASSWORD")
    pool = PerVersion(make_pool, password)
    client = providers.Singleton(Client, key, fee=fee)
    handler = providers.Factory(dict, client=client, pool=pool, ring=ring, key=key)


class Till(SecretContainer):
    key = DynamicSecret("API_KEY")
    unused = DynamicSecret("UNUSED")


class Odd(SecretContainer):
    key = StaticSecret("API_KEY", int)


class Alone(SecretContainer):
    key = DynamicSecret("API_KEY")


class Pinned(SecretContainer):
    password = StaticSecret("DATABASE_PASSWORD")


class Always(SecretContainer):
    key = DynamicSecret("API_KEY", freshness=Freshness(max_age=0))


class Nothing(SecretContainer):
    pass


stored = Alone(source=Memory({"API_KEY": "canary-9c41"}))
other = Alone(source=Memory({"API_KEY": "canary-9c41", "MORE": "canary-9c41"}))
pinned = Pinned(source=Memory({}), pinned={"DATABASE_PASSWORD": 1})
higher = Pinned(source=Memory({}), pinned={"DATABASE_PASSWORD": 2})
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, with `shop.py` in it."""
    (tmp_path / "shop.py").write_text(SERVICE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)  # no pauses before a retry
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    sys.modules.pop("shop", None)
    yield tmp_path
    sys.modules.pop("shop", None)


@pytest.fixture
def run():
    """The command with these arguments; whatever it shows, a value is not in it."""

    def run_one(*arguments, **environ):
        ran = CliRunner().invoke(app, list(arguments), env=environ)
        assert CANARY not in ran.output
        assert not ran.exception or isinstance(ran.exception, SystemExit), ran.exception
        return ran

    return run_one


@pytest.fixture
def document(run):
    """The JSON document of a command, and nothing else on its standard output."""

    def read(*arguments, code=0, **environ):
        ran = run(*arguments, "--json", **environ)
        assert ran.exit_code == code, ran.output
        found = json.loads(ran.stdout)
        assert found["exit_code"] == code
        return found

    return read


@pytest.fixture
def manager(secret_manager):
    """The local Secret Manager with what the shop declares."""
    for name in ("API_KEY", "WEBHOOK_SECRET", "DATABASE_PASSWORD"):
        secret_manager.add(name, f"{CANARY}-{name}")
    secret_manager.add("FEE", "3.5")
    return secret_manager


@pytest.fixture(params=["grpc", "rest"])
def url(request, manager):
    """Its URL, over either transport."""
    return {
        "grpc": f"gsm://local?endpoint={manager.endpoint}",
        "rest": f"gsm://local?endpoint={manager.rest_endpoint}&transport=rest",
    }[request.param]


@pytest.fixture
def impatient(monkeypatch):
    """What is asked about a secret is asked for a second in place of fifteen."""
    monkeypatch.setattr(administration, "TOTAL_TIMEOUT", 1.0)


@pytest.fixture
def source(manager):
    """Its URL."""
    return f"gsm://local?endpoint={manager.rest_endpoint}&transport=rest"
