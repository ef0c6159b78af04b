"""Doubles of providers, a clock, and the stand-ins for ChangeNow and Cloud Tasks."""

import json
import logging
import os
import secrets
import socket
import threading
import time

import pytest
import stamina
from pydantic import SecretStr

from pgp_config.payload import Versioned
from pgp_config.verdicts import Verdicts
from pgp_services.lookalikes import ChangeNowServer, CloudTasksServer
from pgp_services.lookalikes.postgres import LocalPostgres, find_programs
from pgp_services.tokens import EstimateRequest, sign


@pytest.fixture(autouse=True)
def no_pauses():
    """Retries follow at once; how long they would have paused is decided all the same."""
    stamina.set_testing(True, attempts=60)
    yield
    stamina.set_testing(False)


@pytest.fixture(autouse=True)
def loggers_as_before():
    loggers = [logging.getLogger(name) for name in ("pgp_services", "pgp_config")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


class Clock:
    """Monotonic seconds that pass when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


class Given:
    """A provider of a constant."""

    def __init__(self, value):
        self.value = value
        self.reads = 0

    def __call__(self):
        self.reads += 1
        return self.value

    async def async_(self):
        return self()


class RotatingKey(Given):
    """A provider of a key whose next value waits for `refresh()`."""

    name = "CHANGENOW_API_KEY"

    def __init__(self, value, *, after_refresh=None, on_read=lambda: None, before=None):
        super().__init__(SecretStr(value))
        self.after_refresh = after_refresh
        self.on_read = on_read
        self.before = before
        self.number = 1 if before is None else 2
        self.refreshes = 0
        self.verdicts = Verdicts("Test", self.name)

    def __call__(self):
        self.on_read()
        return super().__call__()

    def refresh(self):
        self.refreshes += 1
        if self.after_refresh is None:
            return False
        self.value = SecretStr(self.after_refresh)
        self.number += 1
        return True

    async def arefresh(self):
        return self.refresh()

    def versioned(self):
        return Versioned(self(), self.number)

    async def versioned_async(self):
        return self.versioned()

    def at_version(self, number):
        return Versioned(SecretStr(self.before), number)

    async def at_version_async(self, number):
        return self.at_version(number)

    def catch_up(self):
        return False


@pytest.fixture
def given():
    return Given


@pytest.fixture
def rotating_key():
    return RotatingKey


@pytest.fixture
def new_key():
    """Keys of 64 hexadecimal digits, different in each test: no log or cache can hold them already."""
    return lambda: secrets.token_hex(32)


@pytest.fixture
def key(new_key):
    return new_key()


@pytest.fixture
def changenow_server(key):
    with ChangeNowServer(key) as server:
        yield server


@pytest.fixture
def tasks_server():
    with CloudTasksServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres():
    """A real one, for all tests; each leaves it without roles and tables of its own."""
    if find_programs() is None and not os.environ.get("CI"):
        pytest.skip("PostgreSQL is not on this machine: scripts/packages installs it")
    with LocalPostgres() as server:
        yield server


@pytest.fixture(autouse=True)
def no_threads_left():
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and not t.daemon]
    for thread in left:
        thread.join(5)
    assert not [t for t in left if t.is_alive()]


@pytest.fixture
def unused_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        # Bound and not listening: nobody else gets it, and a connection to it is refused.
        yield holder.getsockname()[1]


@pytest.fixture
def signing_key(new_key):
    return new_key()


@pytest.fixture
def values(key, signing_key):
    """A value for each secret of the pilot."""
    return {
        "SUCCESS_URL_SIGNING_KEY": signing_key,
        "DATABASE_PASSWORD_SECRET": secrets.token_urlsafe(24),
        "CLOUD_SQL_CONNECTION_NAME": "pgp-test:us-central1:pgp",
        "DATABASE_NAME_SECRET": "pgp",
        "DATABASE_USER_SECRET": "split2",
        "CLOUD_TASKS_PROJECT_ID": "pgp-test",
        "CLOUD_TASKS_LOCATION": "us-central1",
        "CHANGENOW_API_KEY": key,
        "PGP_SPLIT1_RESPONSE_QUEUE": "split1-responses",
        "PGP_SPLIT1_URL": "https://split1.example",
        "PGP_BATCHPROCESSOR_QUEUE": "batchprocessor",
        "PGP_BATCHPROCESSOR_URL": "https://batchprocessor.example",
        "SERVICE_ENVIRONMENT": "staging",
        "LOG_LEVEL": "INFO",
        "ALERTING_ENABLED": "true",
    }


@pytest.fixture
def body_with(signing_key):
    """A request's body as SPLIT1 sends it, made now."""

    def build(**changes):
        claims = {
            "user_id": 12345,
            "closed_channel_id": -1001234567890,
            "wallet_address": "0xWALLETCANARY",
            "payout_currency": "xmr",
            "payout_network": "xmr",
            "adjusted_amount": "100.10",
            "swap_currency": "usdt",
            "payout_mode": "instant",
            "actual_eth_amount": "0.05",
            "timestamp": int(time.time()),
        }
        request = EstimateRequest.model_validate({**claims, **changes})
        return json.dumps({"token": sign(request, SecretStr(signing_key))}).encode()

    return build


@pytest.fixture
def in_child():
    """Runs a function in a forked child and gives the text that it returned."""

    def run(function):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover  the child, which must not go on with the tests
            try:
                os.write(writer, str(function()).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader, "rb") as answer:  # noqa: PTH123  a descriptor
            said = answer.read().decode()
        os.waitpid(child, 0)
        return said

    return run
