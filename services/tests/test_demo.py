"""The parts of the demo: its load, and what its closing table says. The show itself is looked at."""

import io
import json
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr
from rich.console import Console

from pgp_services.demo.load import Load, Outcome
from pgp_services.demo.report import Facts, show
from pgp_services.tokens import EstimateRequest, verify


class Pilot(BaseHTTPRequestHandler):
    """Answers with the status of its server, and keeps the tokens."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.append(body["token"])
        if len(self.server.tokens) >= 6:
            self.server.enough.set()
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def pilots():
    started = []
    for status in (200, 503):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Pilot)
        server.daemon_threads = True
        server.status, server.tokens, server.enough = status, [], threading.Event()
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        started.append((server, thread))
    yield [server for server, _ in started]
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_load_goes_to_each_service_in_turn_with_tokens_of_its_own(pilots, new_key):
    key = SecretStr(new_key())
    load = Load([server.server_address[1] for server in pilots], key, rate=1000, threads=2)
    load.start()
    for server in pilots:
        assert server.enough.wait(30)
    outcomes = load.stop()
    assert {(outcome.target, outcome.status) for outcome in outcomes} == {(0, 200), (1, 503)}
    tokens = [token for server in pilots for token in server.tokens]
    assert len(set(tokens)) == len(tokens) == len(outcomes)
    claims = verify(EstimateRequest, tokens[0], key, time.time())
    assert claims.swap_currency == "eth"


def test_no_answer_is_an_outcome_too(unused_port, new_key):
    load = Load([unused_port], SecretStr(new_key()), rate=1000, threads=1)
    outcome = load._send(HTTPConnection("127.0.0.1", unused_port, 5), 0, 1)
    assert outcome.status == 0


def facts(**changes):
    good = {
        "outcomes": [Outcome(0, float(n), 0.01, 200) for n in range(10)],
        "seconds": 5.0,
        "warm_live": [0.010, 0.011, 0.012],
        "warm_constant": [0.010, 0.010, 0.011],
        "key_requests": {1: 4, 2: 6},
        "old_key_accepted": 0,
        "old_key_last_use": 0.02,
        "old_key_refused": True,
        "tasks": {("blue", "https://blue.example/x"): 4, ("green", "https://green.example/x"): 6},
        "calls": {"CHANGENOW_API_KEY": 3},
        "static_calls": 0,
        "max_age": 6.0,
    }
    return Facts(**{**good, **changes})


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"outcomes": []}, "requests were answered"),
        ({"outcomes": [Outcome(0, 0.0, 0.01, 503)]}, "no request failed"),
        ({"key_requests": {1: 10}}, "both versions of the key were used"),
        ({"old_key_accepted": 1}, "ChangeNow accepted no old key after the rotation"),
        ({"old_key_last_use": 7.0}, "the old key fell out of use within max_age"),
        ({"old_key_refused": False}, "the old key is refused now"),
        (
            {"tasks": {("blue", "https://blue.example"): 1}},
            "tasks went to both URLs and both queues",
        ),
        ({"static_calls": 1}, "no static secret was fetched during requests"),
    ],
)
def test_a_promise_that_was_not_kept_is_named(changes, promise):
    assert facts(**changes).broken_promises() == [promise]


def test_the_closing_table_says_what_happened():
    assert facts().broken_promises() == []
    out = io.StringIO()
    failed = [Outcome(0, 0.0, 0.01, status) for status in (200, 503, 0)]
    show(facts(outcomes=failed, old_key_refused=False), Console(file=out, width=200))
    text = out.getvalue()
    for said in (
        "3 in 5 s",
        "2 (status 0, 503; 0 is no answer)",
        "4 to ChangeNow",
        "ACCEPTED",
        "6 to https://green.example/x",
        "3 (a fetch for each read: 18)",
        "p50 11.00 ms",
        "p50 +1.00 ms",
    ):
        assert said in text
