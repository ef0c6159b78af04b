"""What all applications share: bodies, answers, the responder with its alerts, and both frameworks' own refusals."""

import asyncio
import json
import queue
import threading
from http import HTTPStatus

import pytest
from dependency_injector import providers
from fastapi.testclient import TestClient
from pydantic import BaseModel

from pgp_config import Memory, SecretUnavailable
from pgp_services import registry
from pgp_services.failures import (
    BadRequest,
    BadToken,
    NotLoggedIn,
    Refused,
    ServiceFailure,
    TooLarge,
    Unavailable,
)
from pgp_services.fleet import Fleet, Operations
from pgp_services.names import Service
from pgp_services.serving import fastapi_app, flask_app
from pgp_services.serving.answers import (
    LONGEST_RETRY_AFTER,
    RETRY_AFTER,
    Answer,
    done,
    refused,
    refused_by_framework,
)
from pgp_services.serving.bodies import MAX_BODY, json_object, model_in, token_in, validated
from pgp_services.serving.polling import Polling
from pgp_services.serving.responder import Responder, described
from pgp_services.serving.routes import Call, Route
from pgp_services.settings import Settings

# -- bodies --------------------------------------------------------------------------------------


class Item(BaseModel):
    name: str
    amount: int


class Order(BaseModel):
    user: int
    items: list[Item] = []
    notes: dict[str, int] = {}


def test_a_body_becomes_a_model():
    body = b'{"user": 1, "items": [{"name": "a", "amount": 2}]}'
    assert model_in(Order, body) == Order(user=1, items=[Item(name="a", amount=2)])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"a"', b"nonsense", b"\xff\xfe", b"1e999999", b"[" * 60_000]
)
def test_what_is_no_json_object_is_a_bad_request(body):
    with pytest.raises(BadRequest, match="not a JSON object") as caught:
        json_object(body)
    assert caught.value.fields == ()


def test_a_body_is_of_bounded_length():
    fits = b'{"a": "' + b"x" * (MAX_BODY - 9) + b'"}'
    assert len(fits) == MAX_BODY
    assert json_object(fits)
    with pytest.raises(TooLarge):
        json_object(fits + b" ")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"{}", ("user",)),
        (b'{"user": "CANARY"}', ("user",)),
        (b'{"user": 1, "items": [{"name": 5}, {}]}', ("items.0.amount", "items.0.name")),
        (b'{"user": 1, "notes": {"CANARY one": "x"}}', ("notes.?",)),
    ],
)
def test_wrong_fields_are_named_and_what_they_held_is_not(body, fields):
    with pytest.raises(BadRequest, match="wrong fields") as caught:
        model_in(Order, body)
    assert set(fields) <= set(caught.value.fields)
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_content_that_is_parsed_already_is_validated_alike():
    assert validated(Order, {"user": 1}).user == 1
    with pytest.raises(BadRequest):
        validated(Order, None)


@pytest.mark.parametrize("body", [b"{}", b'{"token": ""}', b'{"token": 5}', b'{"token": null}'])
def test_a_body_without_a_token_is_a_bad_request(body):
    with pytest.raises(BadRequest, match="no token"):
        token_in(body)
    assert token_in(b'{"token": "a.b"}') == "a.b"


# -- answers -------------------------------------------------------------------------------------


def test_an_answer_says_what_was_done():
    answer = done("Sent", headers={"X-A": "b"}, task_id="t")
    assert answer.content == {"status": "success", "message": "Sent", "task_id": "t"}
    assert (answer.status, answer.headers, answer.message) == (200, {"X-A": "b"}, "Sent")
    assert Answer(200, "<p>").message == Answer(200, {}).message == "done"


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (BadRequest("why"), 400, "Bad request"),
        (TooLarge("why"), 413, HTTPStatus(413).phrase),
        (BadToken("why"), 401, "Invalid or expired token"),
        (Refused("why"), 502, "An upstream service refused the request"),
        (Unavailable("why"), 503, "Temporarily unavailable"),
        (SecretUnavailable("why"), 503, "Temporarily unavailable"),
        (ServiceFailure("why"), 500, "Internal error"),
        (ZeroDivisionError("CANARY"), 500, "Internal error"),
    ],
)
def test_a_failure_is_answered_in_fixed_words(failure, status, message):
    answer = refused(failure)
    assert (answer.status, answer.content) == (status, {"status": "error", "message": message})


def test_wrong_fields_are_told():
    assert refused(BadRequest("why", fields=["a.b"])).content["fields"] == ["a.b"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [(None, RETRY_AFTER), (0.1, RETRY_AFTER), (30.2, 31), (9999, LONGEST_RETRY_AFTER)],
)
def test_retry_after_is_bounded(wanted, told):
    assert refused(Unavailable("why", retry_after=wanted)).headers == {"Retry-After": str(told)}


def test_who_is_not_logged_in_is_told_how():
    assert refused(NotLoggedIn("why")).headers == {"WWW-Authenticate": "Bearer"}
    assert refused(BadToken("why")).headers == {}


def test_a_frameworks_refusal_has_the_same_form():
    answer = refused_by_framework(404, {"X-A": "b"})
    assert answer.content == {"status": "error", "message": "Not Found"}
    assert answer.headers == {"X-A": "b"}


# -- the responder -------------------------------------------------------------------------------


class Told:
    def __init__(self):
        self.texts = []

    def send(self, text):
        self.texts.append(text)

    async def send_async(self, text):
        self.texts.append(f"async: {text}")

    async def aclose(self):
        self.texts.append("closed")


class Failing:
    def __call__(self):
        raise SecretUnavailable("the source is down")

    async def async_(self):
        return self()


@pytest.fixture
def operations(given):
    return Operations(given("staging"), given("INFO"), given(True))


@pytest.fixture
def told():
    return Told()


def answering(outcome):
    """A handler, and the same as a coroutine, which gives an answer or fails."""

    def handle(_):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def handle_async(call):
        return handle(call)

    return handle, handle_async


@pytest.fixture(params=[False, True], ids=["threads", "coroutines"])
def respond(request):
    def run(responder, outcome, headers=None):
        handle, handle_async = answering(outcome)
        call = Call(headers=headers or {})
        if request.param:
            return asyncio.run(responder.respond_async(handle_async, call))
        return responder.respond(handle, call)

    run.prefix = "async: " if request.param else ""
    return run


def test_a_good_answer_is_a_line_and_no_alert(respond, operations, told, caplog):
    answer = respond(Responder(Service.WEB, operations, told), done("Sent"))
    assert answer.status == 200
    assert caplog.messages == ["PGP_WEB_v1 (staging) answered 200: Sent"]
    assert told.texts == []


def test_a_callers_fault_is_no_alert(respond, operations, told, caplog):
    assert respond(Responder(Service.WEB, operations, told), BadToken("expired")).status == 401
    assert caplog.messages == ["PGP_WEB_v1 (staging) answered 401: BadToken: expired"]
    assert told.texts == []


def test_our_fault_is_an_alert_while_alerting_is_enabled(respond, operations, told, caplog):
    responder = Responder(Service.WEB, operations, told)
    assert respond(responder, Refused("X answered 400")).status == 502
    assert told.texts == [f"{respond.prefix}PGP_WEB_v1 (staging): Refused: X answered 400"]
    operations.alerting.value = False
    assert respond(responder, Refused("X answered 400")).status == 502
    assert len(told.texts) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


@pytest.mark.parametrize("failure", [BadToken("expired"), BadRequest("no token")])
def test_a_task_that_will_never_succeed_is_an_alert(respond, operations, told, caplog, failure):
    responder = Responder(Service.SPLIT1, operations, told)
    respond(responder, failure, {"x-cloudtasks-taskname": "t-1"})
    assert told.texts == [
        f"{respond.prefix}PGP_SPLIT1_v1 (staging): {type(failure).__name__}: {failure}"
    ]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_the_world_cannot_call_as_a_task(respond, operations, told):
    responder = Responder(Service.NP_IPN, operations, told)
    respond(responder, BadToken("expired"), {"x-cloudtasks-taskname": "t-1"})
    assert told.texts == []


def test_without_anybody_to_tell_the_log_has_it(respond, operations, caplog):
    assert respond(Responder(Service.WEB, operations), Unavailable("X is gone")).status == 503
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_settings_that_cannot_be_read_hush_nothing_up(respond, given, told):
    operations = Operations(Failing(), given("INFO"), given(False))
    answer = respond(Responder(Service.WEB, operations, told), done("Sent"))
    assert answer.status == 503
    (text,) = told.texts
    assert "the source is down" in text


def test_of_an_unexpected_failure_only_the_place_is_told(respond, operations, told, caplog):
    responder = Responder(Service.WEB, operations, told)
    assert respond(responder, ZeroDivisionError("CANARY")).status == 500
    (text,) = told.texts
    assert "unexpected ZeroDivisionError at " in text
    assert "test_serving.py:" in text
    assert "CANARY" not in text + caplog.text


def test_a_failure_that_was_never_raised_has_no_place():
    assert described(ZeroDivisionError("CANARY")) == "unexpected ZeroDivisionError"
    assert described(Refused("why")) == "Refused: why"


# -- the frameworks ------------------------------------------------------------------------------


class Echo:
    """Answers with what it was called with."""

    def __init__(self):
        self.closed = 0

    def routes(self):
        return [
            Route("/echo", self.echo, self.echo_async),
            Route("/page", self.page, self.page_async, method="GET"),
        ]

    def echo(self, call):
        return done(
            "Echo",
            query=dict(call.query),
            header=call.headers.get("x-a"),
            sent=json_object(call.body),
        )

    async def echo_async(self, call):
        return self.echo(call)

    def page(self, _):
        return Answer(200, "<p>é</p>", {"Cache-Control": "no-cache"})

    async def page_async(self, call):
        return self.page(call)

    def close(self):
        self.closed += 1

    async def aclose(self):
        self.closed += 1


class Small(Fleet):
    handler = providers.Singleton(Echo)


@pytest.fixture
def secrets():
    values = {"SERVICE_ENVIRONMENT": "staging", "LOG_LEVEL": "INFO", "ALERTING_ENABLED": "true"}
    container = Small(source=Memory(values), settings=providers.Object(Settings()))
    yield container
    container.close()


@pytest.fixture(params=["flask", "fastapi"])
def ask(request, secrets):
    """Asks the application of either framework; gives status, headers and body."""
    if request.param == "flask":
        client = flask_app.create_app(Service.WEB, secrets).test_client()

        def ask(method, path, body=b"", **headers):
            got = client.open(path, method=method, data=body, headers=headers)
            return got.status_code, {k.lower(): v for k, v in got.headers}, got.data

        yield ask
        return
    with TestClient(fastapi_app.create_app(Service.WEB, secrets)) as client:

        def ask(method, path, body=b"", **headers):
            got = client.request(method, path, content=body, headers=headers)
            return got.status_code, dict(got.headers), got.content

        yield ask


def test_a_handler_gets_body_headers_and_query(ask):
    status, _, body = ask("POST", "/echo?a=1&b=2&a=3", b'{"c": 4}', **{"X-A": "b"})
    assert status == 200
    said = json.loads(body)
    assert (said["query"]["b"], said["header"], said["sent"]) == ("2", "b", {"c": 4})


def test_a_text_is_a_page(ask):
    status, headers, body = ask("GET", "/page")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["cache-control"] == "no-cache"
    assert body.decode() == "<p>é</p>"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/echo", 405),
        ("POST", "/page", 405),
        ("PUT", "/echo", 405),
    ],
)
def test_what_comes_to_no_handler_is_refused_in_our_form(ask, method, path, status):
    got, headers, body = ask(method, path)
    assert got == status
    assert json.loads(body) == {"status": "error", "message": HTTPStatus(status).phrase}
    if status == 405:
        assert "allow" in headers


def test_a_body_that_is_too_long_is_refused(ask):
    status, _, body = ask("POST", "/echo", b"x" * (MAX_BODY + 1))
    assert status == 413
    assert json.loads(body) == {"status": "error", "message": HTTPStatus(413).phrase}


def test_health_pages_come_with_it(ask):
    assert ask("GET", "/healthz")[0] == ask("GET", "/readyz")[0] == 200


def test_a_fastapi_application_closes_its_handler_in_its_loop(secrets):
    with TestClient(fastapi_app.create_app(Service.WEB, secrets)):
        assert secrets.handler().closed == 0
    assert secrets.handler().closed == 1


def test_a_fastapi_application_closes_who_is_told(secrets, told):
    secrets.alerts.override(providers.Object(told))
    with TestClient(fastapi_app.create_app(Service.WEB, secrets)):
        assert told.texts == []
    assert told.texts == ["closed"]


def test_an_application_has_a_known_service():
    with pytest.raises(ValueError, match="PGP_NONE_v1"):
        flask_app.create_app("PGP_NONE_v1")


# -- polling -------------------------------------------------------------------------------------


class Updates:
    """A loop that hands on what it is fed, as Telegram's does, until it is stopped."""

    def __init__(self, handle, stop):
        self.handle = handle
        self.stop = stop
        self.fed = queue.Queue()
        self.ended = threading.Event()

    def run(self):
        while not self.stop.is_set():
            self.handle(self.fed.get(timeout=30))
        self.ended.set()


@pytest.fixture
def loops():
    made = []

    def make(*, handle, stop):
        made.append(Updates(handle, stop))
        return made[-1]

    make.made = made
    return make


def test_updates_are_handled_in_a_thread_until_the_end(loops):
    handled = queue.Queue()
    polling = Polling(loops, handled.put)
    polling.start()
    (loop,) = loops.made
    loop.fed.put("one")
    assert handled.get(timeout=30) == "one"
    loop.stop.set()
    loop.fed.put("two")
    polling.stop()
    assert loop.ended.is_set()
    assert handled.get(timeout=30) == "two"


def test_the_end_waits_for_the_update_at_hand(loops):
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def handle(_):
        began.set()
        assert go_on.wait(30)
        ended.set()

    polling = Polling(loops, handle)
    polling.start()
    loops.made[0].fed.put("one")
    assert began.wait(30)
    threading.Timer(0, lambda: loops.made[0].stop.wait(30) and go_on.set()).start()
    polling.stop()
    assert ended.is_set()


def test_the_end_does_not_wait_for_ever(loops, monkeypatch):
    monkeypatch.setattr("pgp_services.serving.polling.PATIENCE", 0.01)
    began, go_on = threading.Event(), threading.Event()

    def handle(_):
        began.set()
        assert go_on.wait(30)

    polling = Polling(loops, handle)
    polling.start()
    loops.made[0].fed.put("one")
    assert began.wait(30)
    polling.stop()
    go_on.set()
    assert loops.made[0].ended.wait(30)


def test_what_was_never_started_is_stopped_already(loops):
    Polling(loops, print).stop()
    assert loops.made == []


# -- registry ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "server", "botcommand", "web"),
    [(None, True, False, False), ("poll", True, True, False), ("off", False, False, False)],
)
def test_who_asks_telegram_for_updates(setting, server, botcommand, web):
    settings = Settings(telegram_updates=setting)
    assert registry.polls(Service.SERVER, settings) is server
    assert registry.polls(Service.BOTCOMMAND, settings) is botcommand
    assert registry.polls(Service.WEB, settings) is web
