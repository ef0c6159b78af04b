"""Doubles of providers, a clock, and the stand-ins for ChangeNow and Cloud Tasks."""

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
import traceback

import pytest
import stamina
from dependency_injector import providers
from pydantic import SecretStr

from pgp_config import EVERY_REQUEST, Freshness, Memory, SecretUnavailable
from pgp_config.payload import Versioned
from pgp_config.redaction.installed import installed
from pgp_config.verdicts import Verdicts
from pgp_services import registry
from pgp_services.catalogue import CATALOGUE, secrets_of
from pgp_services.fleet import redact_once
from pgp_services.lookalikes import (
    ChangeNowServer,
    CloudTasksServer,
    NowPaymentsServer,
    SlackServer,
)
from pgp_services.lookalikes.postgres import LocalPostgres, find_programs
from pgp_services.lookalikes.telegram import TelegramServer
from pgp_services.serving import flask_app
from pgp_services.settings import Settings
from pgp_services.tokens import EstimateRequest, sign, verify


@pytest.fixture(autouse=True)
def no_pauses():
    """Retries follow at once; how long they would have paused is decided all the same."""
    stamina.set_testing(True, attempts=60)
    yield
    stamina.set_testing(False)


@pytest.fixture(autouse=True)
def loggers_as_before():
    loggers = [logging.getLogger(name) for name in ("pgp_services", "pgp_config", "stamina")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def no_redaction_left():
    """It would hide the leaks of later tests."""
    before = installed()
    yield
    for redaction in installed() - before:
        redaction.uninstall()
    redact_once.cache_clear()


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
def nowpayments_server(key, ipn_key):
    with NowPaymentsServer(key, ipn_key) as server:
        yield server


@pytest.fixture
def ipn_key(new_key):
    return new_key()


@pytest.fixture
def slack_server(key):
    with SlackServer(key) as server:
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


def frames_of(error):
    """Those of a whole chain of exceptions, but for the tests' own, which hold the canaries."""
    chain, seen = [error], set()
    while chain:
        link = chain.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        chain += [link.__cause__, link.__context__]
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if os.sep + "tests" + os.sep not in frame.f_code.co_filename:
                yield frame


@pytest.fixture
def shown_by():
    """All that a log of an exception could show: texts, causes, and the locals of all its frames."""

    def show(error):
        held = [
            f"{name}={value!r}"
            for frame in frames_of(error)
            for name, value in frame.f_locals.items()
        ]
        return "".join([*traceback.format_exception(error), repr(error), *held])

    return show


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


class Faulty(Memory):
    """A source of which some secrets cannot be read."""

    def __init__(self, values):
        super().__init__(values)
        self.failing = set()
        self.asked = []

    def fetch(self, name, version="latest"):
        self.asked.append(name)
        if name in self.failing:
            raise SecretUnavailable("down")
        return super().fetch(name, version)


@pytest.fixture
def faulty():
    return Faulty


class Started:
    """A service of the fleet in Flask, on a source of its own that is asked at each request."""

    def __init__(self, service, values, settings):
        names = {row.name for row in secrets_of(service)}
        self.values = {name: values[name] for name in names}
        self.source = Faulty(self.values)
        self.secrets = registry.container_of(service)(
            source=self.source,
            settings=providers.Object(settings),
            freshness=Freshness(max_age=0, max_stale=0),
        )
        self.client = flask_app.create_app(service, self.secrets).test_client()

    def post(self, path, body, headers=None):
        """The status and the content of the answer to a body: bytes, or what becomes JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.client.post(path, data=data, headers=headers)
        return answer.status_code, answer.get_json(), dict(answer.headers)

    def send(self, path, claims, key, field="token", headers=None):
        """As `post`, of claims signed with the key of that name."""
        return self.post(path, {field: sign(claims, SecretStr(self.values[key]))}, headers)

    def close(self):
        self.secrets.handler().close()
        self.secrets.close()


@pytest.fixture
def start(fleet_values, tasks_server):
    """Starts services; settings that are not given are those of a local machine."""
    started = []

    def run(service, **settings):
        given = Settings(
            **{
                "service_account": "fleet@pgp-test.example",
                "cloud_tasks_endpoint": tasks_server.endpoint,
                **settings,
            }
        )
        started.append(Started(service, fleet_values, given))
        return started[-1]

    yield run
    for each in started:
        each.close()


@pytest.fixture
def claims_of():
    """The claims that a recorded task carries, verified with a key."""

    def read(task, kind, key):
        return verify(kind, json.loads(task.body)["token"], SecretStr(key), time.time())

    return read


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


@pytest.fixture
def fleet_values(values, new_key):
    """A value for each secret of the catalogue; the confidential ones differ in each test."""
    queues = {
        name: name.lower().replace("_", "-") for name in CATALOGUE if name.endswith("_QUEUE")
    }
    urls = {
        name: f"https://{name[4:-4].lower()}.example"
        for name in CATALOGUE
        if name.endswith("_URL")
    }
    hexadecimal = (
        "HOST_WALLET_PRIVATE_KEY",
        "TPS_HOSTPAY_SIGNING_KEY",
        "SUCCESS_URL_SIGNING_KEY_SECONDARY",
        "TPS_HOSTPAY_SIGNING_KEY_SECONDARY",
        "NOWPAYMENTS_API_KEY",
        "NOWPAYMENTS_IPN_SECRET",
        "CLOUDFLARE_WEBHOOK_SECRET",
        "JWT_SECRET_KEY",
        "SIGNUP_SECRET_KEY",
    )
    return {
        **queues,
        **urls,
        **{name: new_key() for name in hexadecimal},
        "ETHEREUM_RPC_URL_API": secrets.token_hex(16),
        "TELEGRAM_BOT_API_TOKEN": f"7{secrets.randbelow(10**9)}:{new_key()[:35]}",
        "TELEGRAM_BOT_USERNAME": "@pgp_test_bot",
        "TP_FLAT_FEE": "3",
        **values,
    }


@pytest.fixture
def container_of(fleet_values):
    """Makes a service's container over a `Memory` source, loaded; gives it and the source."""
    with contextlib.ExitStack() as ends:

        def build(service, *, settings=None, load=True, **more):
            rows = secrets_of(service)
            source = Memory({row.name: {**fleet_values, **more}[row.name] for row in rows})
            known = settings or Settings("a@pgp-test.example", google_project="pgp-test")
            kind = registry.container_of(service)
            container = kind(
                source=source, settings=providers.Object(known), freshness=EVERY_REQUEST
            )
            ends.callback(container.close)
            ends.callback(registry.handler_of(container).close)
            if load:
                container.load()
            return container, source

        yield build


@pytest.fixture
def telegram_server(fleet_values):
    with TelegramServer(fleet_values["TELEGRAM_BOT_API_TOKEN"]) as server:
        yield server


@pytest.fixture
def asked(container_of, tasks_server):
    """Makes a Flask service's test client, whose tasks the stand-in for Cloud Tasks takes."""

    def build(service, settings=None, **more):
        known = {
            "service_account": "a@pgp-test.example",
            "google_project": "pgp-test",
            "google_region": "us-central1",
            "cloud_tasks_endpoint": tasks_server.endpoint,
            **(settings or {}),
        }
        container, source = container_of(service, settings=Settings(**known), **more)
        client = flask_app.create_app(service, container).test_client()
        client.container, client.source = container, source
        return client

    return build
