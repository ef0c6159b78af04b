"""`pgp-config tail`: what a person is told of each process, and when it ends."""

import json
import re
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
from typer.testing import CliRunner

from pgp_config import DynamicSecret, Memory, SecretContainer, request_scope
from pgp_config.cli import app, tail
from pgp_config.cli.following import Ended, Follower
from pgp_config.status import SecretAuth, StatusPage
from pgp_config.wsgi import StatusMiddleware

URL = "http://service.example/_secrets/data"
CANARY = "canary-7f3a"


class Clock:
    """A clock that a wait moves on; it ends the test when its waits are used up."""

    def __init__(self, waits):
        self.now, self.waits, self.left = 1000.0, [], waits

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def event(seq, text="Hot-reloaded API_KEY version 1 -> 2", level="info"):
    at = f"2026-11-25T12:00:{seq % 60:02}.000Z"
    return {
        "seq": seq,
        "at": at,
        "seconds_ago": 1.0,
        "kind": "Reloaded",
        "level": level,
        "secret": "API_KEY",
        "text": text,
    }


def page(instance="host-7-ab", events=(), seq=None, age=500.0):
    return {
        "process": {
            "instance": instance,
            "host": "host",
            "pid": 7,
            "watched_since": "x",
            "watched_for_seconds": age,
        },
        "container": {"name": "Split2"},
        "secrets": [{}, {}],
        "events": list(events),
        "seq": max((each["seq"] for each in events), default=0) if seq is None else seq,
    }


def followed(*answers, interval=2.0, credentials=False):
    """What is told of answers, and the requests; an answer is a document, a status or an exception."""
    left, requests, told = list(answers), [], []
    clock = Clock(len(answers) - 1)

    def answer(request):
        requests.append(dict(request.url.params))
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, int):
            return httpx.Response(found, text=CANARY)
        return (
            httpx.Response(200, json=found)
            if isinstance(found, dict)
            else httpx.Response(200, text=found)
        )

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        follower = Follower(
            client,
            URL,
            told.append,
            has_credentials=credentials,
            interval=interval,
            wait=clock.wait,
            clock=clock,
        )
        try:
            follower.follow()
        except KeyboardInterrupt:
            ended = ""
        except Ended as end:
            ended = str(end)
    assert CANARY not in str((told, ended))
    return told, requests, clock.waits, ended


def texts(told):
    return [(each.kind, each.text) for each in told]


def test_new_events_are_told_once():
    first = page(events=[event(1)])
    told, requests, waits, _ = followed(
        first, page(seq=1), page(events=[event(2, "Served stale")])
    )
    assert texts(told) == [
        ("process", "Process 7-ab of host: Split2, 2 secrets."),
        ("event", "7-ab  Hot-reloaded API_KEY version 1 -> 2"),
        ("event", "7-ab  Served stale"),
    ]
    assert requests == [
        {"after": "0"},
        {"after": "1", "instance": "host-7-ab"},
        {"after": "1", "instance": "host-7-ab"},
    ]
    assert waits == [2.0, 2.0, 2.0]


def test_of_a_process_that_is_met_the_last_ten_events_are_told():
    told, *_ = followed(page(events=[event(n, f"event {n}") for n in range(5, 40)]))
    assert [text for kind, text in texts(told) if kind == "event"] == [
        f"7-ab  event {n}" for n in range(30, 40)
    ]


def test_processes_that_answer_in_turn_each_have_their_own_events():
    one = page("host-1-aa", [event(1, "a1")])
    two = page("host-2-bb", [event(1, "b1"), event(2, "b2")])
    again = page("host-1-aa", [event(1, "a1"), event(2, "a2")])
    told, requests, *_ = followed(one, two, again, two)
    assert [text for kind, text in texts(told) if kind == "event"] == [
        "1-aa  a1",
        "2-bb  b1",
        "2-bb  b2",
        "1-aa  a2",
    ]
    assert [each[0] for each in texts(told)].count("process") == 2
    assert requests[2] == {"after": "2", "instance": "host-2-bb"}


def test_a_restart_is_told():
    told, *_ = followed(page("host-1-aa"), page("host-9-cc", age=1.0))
    assert texts(told)[-1] == (
        "restart",
        "Process 9-cc has started, 1 s ago, of host: Split2, 2 secrets.",
    )


def test_a_process_that_falls_silent_and_comes_back():
    one, two = page("host-1-aa"), page("host-2-bb")
    told, *_ = followed(one, *[two] * 40, one)
    kinds = [(each.kind, each.instance) for each in told]
    assert kinds == [
        ("process", "host-1-aa"),
        ("process", "host-2-bb"),
        ("silent", "host-1-aa"),
        ("answers", "host-1-aa"),
    ]
    assert "Process 1-aa has not answered for 60 s" in told[2].text


def test_events_that_were_lost_are_counted():
    told, *_ = followed(
        page(events=[event(1)]),
        page(events=[event(5)]),
        page(events=[], seq=8),
        page(events=[], seq=8),
    )
    lost = [text for kind, text in texts(told) if kind == "lost"]
    assert ["3 events are lost" in lost[0], "3 events are lost" in lost[1], len(lost)] == [
        True,
        True,
        2,
    ]


def test_a_fault_is_tried_again_at_longer_intervals_and_its_end_is_told():
    fault = httpx.ConnectError(CANARY)
    told, _, waits, _ = followed(page(), fault, 503, 429, *[fault] * 4, page())
    assert waits == [2.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 2.0]
    assert texts(told)[1:3] == [
        ("unreachable", "No answer (ConnectError); trying again in 1 s."),
        ("unreachable", "The service answers 503; trying again in 2 s."),
    ]
    assert texts(told)[-1] == ("answers", "It answers again, after 91 s.")


@pytest.mark.parametrize(
    ("answers", "credentials", "why"),
    [
        ([401], False, "it wants credentials"),
        ([403], True, "does not accept these credentials. Correct the header"),
        ([page(), 401], True, "no longer accepts these credentials. Were they rotated?"),
        ([404], True, "off by default"),
        ([302], False, "answers 302, and no status page does"),
        (["<html>"], False, "a page to log in?"),
        (["[1]"], False, "something else"),
        ([{"process": {}}], False, "something else"),
        ([{**page(), "events": [{"seq": 1}]}], False, "something else"),
    ],
)
def test_what_ends_it(answers, credentials, why):
    *_, ended = followed(*answers, credentials=credentials)
    assert why in ended


# -- the command -------------------------------------------------------------------------------


class Secrets(SecretContainer):
    api_key = DynamicSecret("API_KEY")
    token = DynamicSecret("STATUS_TOKEN")


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    """A service with its status page; where it is, and its source."""
    source = Memory({"API_KEY": CANARY, "STATUS_TOKEN": f"{CANARY}-token"})
    secrets = Secrets(source=source)
    secrets.load()
    status = StatusPage(SecretAuth(secrets.token))

    def nothing(environ, start_response):
        start_response("404 Not Found", [])
        return [b""]

    server = make_server(
        "127.0.0.1", 0, StatusMiddleware(nothing, secrets, status), handler_class=Quiet
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/_secrets", source, secrets
    server.shutdown()
    thread.join()
    server.server_close()
    secrets.close()


def run(*words, code, **environ):
    shown = CliRunner().invoke(app, ["tail", *words], env=environ)
    assert shown.exit_code == code, shown.output
    assert CANARY not in shown.output
    return shown


def test_one_look_at_a_real_page(service):
    url, source, secrets = service
    source.add("API_KEY", f"{CANARY}-2")
    with request_scope():
        assert secrets.api_key.refresh()
    header = f"Authorization: Bearer {CANARY}-token"
    shown = run(url, "--once", "--header-env", "STATUS_HEADER", code=0, STATUS_HEADER=header)
    first, *_, last = shown.stdout.splitlines()
    assert re.fullmatch(r"Process \d+-[0-9a-f]+ of .*: Secrets, 2 secrets\.", first)
    assert re.search(r"^2\d\d\d-.*Z  \d+-[0-9a-f]+  Hot-reloaded API_KEY version 1 -> 2$", last)
    shown = run(f"{url}/data/", "--once", "--json", "--header", header, code=0)
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert (lines[0]["type"], lines[-1]["type"]) == ("process", "event")
    assert lines[-1]["event"]["text"] == "Hot-reloaded API_KEY version 1 -> 2"


def test_without_the_token_and_without_a_page(service):
    url, *_ = service
    assert "it wants credentials" in run(url, code=1).stderr
    assert "off by default" in run(url + "-other", code=1).stderr


def test_a_refusal_is_the_last_object_of_a_document(service):
    url, *_ = service
    for options in (["--once"], []):
        shown = run(url, *options, "--json", code=1)
        (line,) = shown.stdout.splitlines()
        found = json.loads(line)
        assert "it wants credentials" in found["text"]
        assert found == {
            "type": "ended",
            "instance": None,
            "text": shown.stderr.strip(),
            "event": None,
            "error": {"type": "Ended", "text": found["text"]},
            "exit_code": 1,
        }


def test_nobody_there():
    """A person is told what to do, and a program gets an object."""
    shown = run("http://127.0.0.1:9", "--once", code=1)
    assert shown.stdout == ""
    assert shown.stderr.startswith("No answer (ConnectError). Is the service up, and is the URL")
    shown = run("http://127.0.0.1:9", "--once", "--json", code=1)
    found = json.loads(shown.stdout)
    assert (found["type"], found["error"]["type"]) == ("unreachable", "Unreachable")
    assert (found["error"]["text"], found["exit_code"]) == (shown.stderr.strip(), 1)


def test_an_interruption_ends_it_with_130_and_without_a_word(monkeypatch):
    def interrupt(follower):
        raise KeyboardInterrupt

    monkeypatch.setattr(tail.__globals__["Follower"], "follow", interrupt)
    shown = run("https://service.example", code=130)
    assert (shown.stdout, shown.stderr) == ("", "")


def test_a_header_without_tls_is_warned_of(monkeypatch):
    monkeypatch.setattr(tail.__globals__["Follower"], "look", lambda follower: None)
    words = ("--once", "--header", f"X-Token: {CANARY}")
    assert "has no TLS" in run("http://service.example/x", *words, code=0).stderr
    assert run("https://service.example/x", *words, code=0).stderr == ""
    assert run("http://localhost/x", *words, code=0).stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        ("no-url",),
        ("ftp://x.example",),
        ("https://",),
        ("http://[x",),
        ("http://x.example:port",),
        ("http://x.example:99999",),
        (f"https://user:{CANARY}@x.example",),
        (f"https://x.example/?token={CANARY}",),
        ("https://x.example", "--header", CANARY),
        ("https://x.example", "--header", f": {CANARY}"),
        ("https://x.example", "--header", f"A: {CANARY}\n"),
        ("https://x.example", "--header-env", "NO_SUCH_VARIABLE_7F3A"),
        ("https://x.example", "--interval", "0"),
    ],
)
def test_a_wrong_use(words):
    run(*words, code=2)


def test_what_a_server_says_gives_a_terminal_no_orders(capsys):
    from rich.console import Console

    from pgp_config.cli.following import Told

    module = tail.__globals__
    show = module["_shown"](Console())
    show(Told("event", "x", "a\x1b[2Jb", event(1, "x")))
    show(Told("process", "x", "c\x07d"))
    assert capsys.readouterr().out.splitlines() == ["2026-11-25T12:00:01.000Z  a?[2Jb", "c?d"]
