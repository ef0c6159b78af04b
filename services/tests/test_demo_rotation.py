"""The parts of the demo of rotations: its service, load and tables. The show itself is looked at."""

import hashlib
import hmac
import io
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from psycopg_pool import PoolTimeout
from pydantic import SecretStr
from rich.console import Console

from pgp_config import Memory
from pgp_services.demo_rotation import app as service
from pgp_services.demo_rotation.report import Facts, Turn, show
from pgp_services.demo_rotation.traffic import QUERY, WEBHOOK, Answer, Traffic, send

CREDENTIALS = (
    '{"user": "demo_a", "password": "p-1", "host": "127.0.0.1", "port": 1, "name": "app"}'
)
KEY = "key-one-0123456789abcdef"


class Pool:
    """A database that knows who asks."""

    def __init__(self, *roles):
        self.roles = list(roles)

    @contextmanager
    def connection(self):
        yield self

    def execute(self, statement):
        assert statement == "SELECT session_user"
        return self

    def fetchone(self):
        role = self.roles[0] if len(self.roles) == 1 else self.roles.pop(0)
        return None if role is None else (role,)


@pytest.fixture
def source():
    return Memory({"DEMO_DATABASE": CREDENTIALS, "DEMO_WEBHOOK_KEY": KEY})


@pytest.fixture
def secrets(source):
    secrets = service.Demo(source=source)
    yield secrets
    secrets.close()


@pytest.fixture
def pool(secrets):
    pool = Pool("demo_a")
    with secrets.pool.override(pool):
        yield pool


@pytest.fixture
def client(secrets, pool):
    return service.create_app(secrets).test_client()


def sign(key, message=b"paid"):
    return {service.SIGNATURE: hmac.new(key.encode(), message, hashlib.sha256).hexdigest()}


def test_a_query_says_who_used_which_role_and_when(client):
    answer = client.get("/query")
    assert (answer.status_code, answer.headers[service.USED]) == (200, "demo_a")
    assert int(answer.headers[service.PROCESS]) > 0
    assert float(answer.headers[service.AT]) > 0


def test_a_database_that_does_not_know_who_asks_names_no_role(client, pool):
    pool.roles = [None]
    assert client.get("/query").headers[service.USED] == ""


def test_a_webhook_is_verified_with_both_keys(client, source, secrets):
    source.add("DEMO_WEBHOOK_KEY", "key-two-0123456789abcdef")
    secrets.webhook_key.refresh()
    for key, status in ((KEY, 200), ("key-two-0123456789abcdef", 200), ("forged", 401)):
        answer = client.post("/webhook", data=b"paid", headers=sign(key))
        assert (answer.status_code, answer.headers[service.USED]) == (status, "2")
    assert client.post("/webhook", data=b"paid").status_code == 401


def test_a_held_request_ends_when_the_file_is_gone(client, pool, tmp_path, monkeypatch):
    hold = tmp_path / "hold"
    hold.touch()
    monkeypatch.setenv(service.HOLD_VARIABLE, str(hold))
    monkeypatch.setattr(service.time, "sleep", lambda _: hold.unlink())
    assert client.get("/hold").status_code == 200
    pool.roles = ["demo_a", "demo_b"]
    assert client.get("/hold").status_code == 500  # the scope did not keep its version


def test_it_is_deployed_as_the_environment_says(monkeypatch, tmp_path):
    closed = []
    monkeypatch.setattr(service.atexit, "register", closed.append)
    monkeypatch.setenv("PGP_CONFIG_SOURCE", f"dir://{tmp_path}")
    (tmp_path / "DEMO_DATABASE").write_text(CREDENTIALS)
    (tmp_path / "DEMO_WEBHOOK_KEY").write_text(KEY)
    monkeypatch.setenv("PORT", "8080")
    monkeypatch.setenv(service.CERTIFICATES_VARIABLE, "http://127.0.0.1:1/certs")
    client = service.create_app().test_client()
    assert client.post(service.PUSH_PATH, json={}).status_code == 401
    unreachable = {"Authorization": "Bearer e30.e30.e30"}
    assert client.post(service.PUSH_PATH, json={}, headers=unreachable).status_code in {401, 503}
    (close,) = closed
    close()


def test_a_pool_that_cannot_connect_is_refused():
    database = service.Database(
        user="demo_a", password=SecretStr("p"), host="127.0.0.1", port=1, name="app"
    )
    pool = service.make_pool(database)
    try:
        with pytest.raises(PoolTimeout):
            service.has_connected(pool)
    finally:
        pool.close()


# -- the load ----------------------------------------------------------------------------------


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def port(secrets, pool):
    server = make_server("127.0.0.1", 0, service.create_app(secrets), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_load_sends_queries_and_valid_webhooks(port):
    traffic = Traffic([port], KEY, rate=1000, threads=2)
    traffic.start()
    try:
        while not all(traffic.processes().values()):
            pass
    finally:
        answers = traffic.stop()
    assert {(a.kind, a.status, a.used) for a in answers} == {
        (QUERY, 200, "demo_a"),
        (WEBHOOK, 200, "1"),
    }


def test_a_refusal_and_no_answer_are_answers_too(port, unused_port):
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    assert send(connection, WEBHOOK, "paid", "forged").status == 401
    connection.close()
    assert send(HTTPConnection("127.0.0.1", unused_port, timeout=5), QUERY) == Answer(QUERY, 0)


# -- the tables --------------------------------------------------------------------------------


def uses(*moments, used="demo_b", kind=QUERY):
    return [Answer(kind, 200, str(n), used, at) for n, at in enumerate(moments)]


GOOD = [
    *uses(99.0, 101.0, 100.5, 102.5, used="demo_a"),
    *uses(101.0, 102.0, 101.5, 103.0),
    *uses(110.0, 110.0, used="2", kind=WEBHOOK),
]


def turn(**changes):
    good = {
        "title": "database",
        "kind": QUERY,
        "new": "demo_b",
        "ended": 0,
        "added": 100.0,
        "verdict": 106.0,
        "disabled": 106.5,
        "released": 105.0,
        "answers": GOOD,
    }
    return Turn(**{**good, **changes})


def facts(**changes):
    good = {
        "turns": [turn()],
        "compared": {"polling": turn()},
        "answers": GOOD,
        "seconds": 5.0,
        "old_key_refused": 4,
        "rolled_back": True,
    }
    return Facts(**{**good, **changes})


def test_the_last_uptake_is_that_of_the_last_process():
    assert (turn().last_uptake, turn().last_old_use) == (103.0, 102.5)
    late = [*GOOD, *uses(200.0, used="demo_c")]
    assert turn(answers=late, until=200.0).broken_promises() == []
    assert turn(answers=GOOD[:7]).last_uptake is None


LATE = "database: the verdict came after the last use of the old version"


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"ended": 3}, "database: the command ended with 0"),
        ({"answers": GOOD[:7]}, "database: 4 processes took it up"),
        ({"verdict": None}, "database: the command gave its verdict"),
        ({"disabled": None}, "database: the old version was disabled"),
        ({"verdict": 104.0}, LATE),
        ({"verdict": 102.7, "released": None}, LATE),
        ({"disabled": 102.7, "released": None}, LATE),
        ({"answers": [*GOOD, *uses(107.0, used="demo_a")]}, LATE),
    ],
)
def test_a_turn_that_broke_its_promise_is_named(changes, promise):
    assert turn(**changes).broken_promises() == [promise]


def test_a_rollback_disables_at_once_and_its_end_is_its_verdict():
    assert turn(disabled=100.1, is_rollback=True).broken_promises() == []
    assert turn(disabled=100.1, verdict=102.0, is_rollback=True).broken_promises() == [LATE]


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"answers": []}, "queries and webhooks were sent"),
        ({"answers": [*GOOD, Answer(QUERY, 500)]}, "no query failed"),
        ({"answers": [*GOOD, Answer(WEBHOOK, 401)]}, "no valid webhook was refused"),
        ({"old_key_refused": 3}, "every process refuses the old webhook key now"),
        ({"rolled_back": False}, "the rollback brought the former value back"),
        ({"turns": [turn(ended=1)]}, "database: the command ended with 0"),
    ],
)
def test_a_promise_that_was_not_kept_is_named(changes, promise):
    assert facts(**changes).broken_promises() == [promise]


def test_the_closing_tables_say_what_happened():
    assert facts().broken_promises() == []
    out = io.StringIO()
    answers = [*GOOD, Answer(QUERY, 0), Answer(QUERY, 503), Answer(WEBHOOK, 401)]
    show(
        facts(answers=answers, rolled_back=False, turns=[turn(), turn(disabled=None)]),
        Console(file=out, width=200),
    )
    text = out.getvalue()
    for said in (
        "3.00 s",
        "6.50",
        " - ",
        "13 in 5 s (3 a second)",
        "10, of which 2 (status 0, 503; 0 is no answer) failed",
        "3, of which 1 (status 401; 0 is no answer) refused",
        "refused by 4 of 4 processes",
        "FAILED",
    ):
        assert said in text
