"""PGP_BROADCAST_v1: the same to many chats, and what became of each."""

import time

import jwt
import pytest
from pydantic import SecretStr

from pgp_services.broadcast.handler import NOBODY_KNOWN, WRITING
from pgp_services.jwts import issue
from pgp_services.lookalikes.http import Fault, as_json
from pgp_services.messages import MAX_CHATS
from pgp_services.names import Service

EXECUTE, TRIGGER = "/api/broadcast/execute", "/api/broadcast/trigger"  # the table's


@pytest.fixture
def service(asked, telegram_server):
    return asked(Service.BROADCAST, {"telegram_base_url": telegram_server.url})


@pytest.fixture
def bearer(fleet_values):
    key = SecretStr(fleet_values["JWT_SECRET_KEY"])

    def build(use="access", now=None):
        token = issue("owner@channels.example", use, key, now or time.time())
        return {"Authorization": f"Bearer {token}"}

    return build


def body(*chats, **changes):
    return {"chat_ids": list(chats or (1, 2, 3)), "text": "News", **changes}


def outcomes(got):
    return {told["chat_id"]: told["outcome"] for told in got.json["outcomes"]}


def test_every_chat_gets_the_text_and_the_bots_link(service, telegram_server):
    got = service.post(EXECUTE, json=body())
    assert (got.status_code, got.json["message"]) == (200, "3 of 3 messages sent")
    assert outcomes(got) == dict.fromkeys((1, 2, 3), "sent")
    assert {m.text for m in telegram_server.messages} == {"News\n\nhttps://t.me/pgp_test_bot"}


def test_another_bots_name_is_in_the_next_broadcast(service, telegram_server):
    service.source.add("TELEGRAM_BOT_USERNAME", "green_bot")
    service.post(EXECUTE, json=body(1))
    assert telegram_server.messages[0].text.endswith("https://t.me/green_bot")


def test_one_chat_that_refuses_keeps_none_of_the_others_waiting(service, telegram_server):
    telegram_server.block(2)
    got = service.post(EXECUTE, json=body())
    assert outcomes(got) == {1: "sent", 2: "refused", 3: "sent"}
    assert got.json["sent"] == 2


def test_a_message_that_may_have_been_taken_is_said_to_be_so(service, telegram_server):
    telegram_server.fail(Fault(0))
    assert outcomes(service.post(EXECUTE, json=body(1, 2))) == {1: "unknown", 2: "sent"}


@pytest.fixture
def told(asked, telegram_server, slack_server, key, monkeypatch):
    """The service with a webhook; who is told of what fails."""
    monkeypatch.setenv("SLACK_WEBHOOK_URL", slack_server.webhook(key))
    settings = {"telegram_base_url": telegram_server.url, "alerts_source": "env:"}
    service = asked(Service.BROADCAST, settings)
    yield service
    service.container.alerts().close()


@pytest.mark.parametrize("fault", [Fault(0), Fault(500), Fault(503)])
def test_telegram_that_is_down_is_an_alert_though_nobody_is_written_to_twice(
    told, telegram_server, slack_server, caplog, fault
):
    """Old fault: a 200 that nobody heard of, and by which Cloud Tasks was done."""
    telegram_server.fail(*[fault] * 3)
    got = told.post(EXECUTE, json=body())
    assert (got.status_code, set(outcomes(got).values())) == (200, {"unknown"})
    assert slack_server.messages == [f"PGP_BROADCAST_v1 (staging): {NOBODY_KNOWN}"]
    assert "3 of 3 messages may have been taken, none surely" in caplog.text
    assert len(telegram_server.seen) == 3


def test_every_broadcast_of_an_outage_is_one_alert_a_minute(told, telegram_server, slack_server):
    telegram_server.fail(*[Fault(0)] * 5)
    for chats in [(1,), (2,), (3, 4, 5)]:
        told.post(EXECUTE, json=body(*chats))
    assert len(slack_server.messages) == 1


def test_a_chat_that_refuses_does_not_hush_the_alert(told, telegram_server, slack_server):
    telegram_server.block(2)
    telegram_server.fail(Fault(0))
    assert outcomes(told.post(EXECUTE, json=body(1, 2))) == {1: "unknown", 2: "refused"}
    assert len(slack_server.messages) == 1


def test_one_message_that_was_sent_shows_that_telegram_works(told, telegram_server, slack_server):
    telegram_server.fail(Fault(0))
    assert outcomes(told.post(EXECUTE, json=body(1, 2))) == {1: "unknown", 2: "sent"}
    assert slack_server.messages == []


def test_503_where_telegram_is_not_there_at_all(asked, unused_port):
    service = asked(Service.BROADCAST, {"telegram_base_url": f"http://127.0.0.1:{unused_port}"})
    assert service.post(EXECUTE, json=body(1)).status_code == 503


def test_a_refused_token_is_no_matter_of_the_chats(service, telegram_server, new_key):
    """Old fault: a 200, and nobody had got anything."""
    service.source.add("TELEGRAM_BOT_API_TOKEN", f"1:{new_key()[:35]}")
    assert service.post(EXECUTE, json=body()).status_code == 502
    assert (len(telegram_server.seen), telegram_server.messages) == (1, [])


def test_a_token_that_is_refused_in_between_leaves_the_rest(service, telegram_server, caplog):
    telegram_server.fail(as_json(200, {"ok": True, "result": {"message_id": 1}}), Fault(401))
    got = service.post(EXECUTE, json=body(1, 2, 3, 4))
    assert (got.status_code, got.json["unsent"]) == (200, [2, 3, 4])
    assert "3 of 4 chats are left over: ask for them again" in caplog.text
    assert len(telegram_server.seen) == 2


def test_503_when_nobody_got_it_and_only_some_refused(service, telegram_server):
    """Old fault: a 200, by which Cloud Tasks was done."""
    telegram_server.block(3)
    telegram_server.flood(300, times=2)
    got = service.post(EXECUTE, json=body())
    assert (got.status_code, got.headers["Retry-After"]) == (503, "300")
    assert telegram_server.messages == []


def test_a_chat_that_is_named_twice_is_written_to_once(service, telegram_server):
    assert service.post(EXECUTE, json=body(1, 1)).json["sent"] == 1
    assert len(telegram_server.messages) == 1


def test_503_when_the_time_is_over_before_the_first(service, monkeypatch):
    ticks = iter([0.0, WRITING])
    monkeypatch.setattr(service.container.handler(), "_clock", lambda: next(ticks))
    assert service.post(EXECUTE, json=body(1)).status_code == 503


def test_503_when_nobody_got_it_so_that_it_can_be_repeated(service, telegram_server):
    telegram_server.flood(300, times=2)
    got = service.post(EXECUTE, json=body(1, 2))
    assert got.status_code == 503
    assert telegram_server.messages == []
    assert service.post(EXECUTE, json=body(1, 2)).status_code == 200


def test_what_does_not_fit_into_the_time_is_left_and_said(service, clock, monkeypatch):
    handler = service.container.handler()
    monkeypatch.setattr(handler, "_clock", clock)
    send = handler._telegram.send_message

    def slow(*message):
        clock.now += WRITING
        return send(*message)

    monkeypatch.setattr(handler._telegram, "send_message", slow)
    assert outcomes(service.post(EXECUTE, json=body())) == {1: "sent", 2: "unsent", 3: "unsent"}


@pytest.mark.parametrize("path", [EXECUTE, TRIGGER])
@pytest.mark.parametrize(
    "changes",
    [
        {"chat_ids": []},
        {"chat_ids": list(range(MAX_CHATS + 1))},
        {"chat_ids": ["1"]},
        {"chat_ids": [1, 2**52 + 1]},
        {"chat_ids": [-(2**52) - 1]},
        {"text": ""},
        {"text": "x" * 4001},
        {"more": 1},
    ],
)
def test_400_for_anything_else(service, telegram_server, bearer, path, changes):
    assert service.post(path, json=body(**changes), headers=bearer()).status_code == 400
    assert telegram_server.messages == []


def test_who_is_logged_in_may_trigger_it(service, bearer):
    assert service.post(TRIGGER, json=body(), headers=bearer()).status_code == 200


def test_401_for_who_is_not(service, bearer, fleet_values, telegram_server):
    key = fleet_values["JWT_SECRET_KEY"]
    endless = jwt.encode({"sub": "a"}, key, "HS256")
    other = jwt.encode({"sub": "a", "exp": 2**31}, key, "HS512")
    for headers in (
        {},
        bearer("refresh"),
        bearer(now=1),
        {"Authorization": f"Bearer {endless}"},
        {"Authorization": f"Bearer {other}"},
    ):
        got = service.post(TRIGGER, json=body(), headers=headers)
        assert (got.status_code, got.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert telegram_server.messages == []


def test_no_answer_and_no_log_shows_a_secret(service, bearer, fleet_values, caplog):
    caplog.set_level("DEBUG")
    shown = service.post(TRIGGER, json=body(), headers=bearer()).text + caplog.text
    for name in ("JWT_SECRET_KEY", "TELEGRAM_BOT_API_TOKEN"):
        assert fleet_values[name] not in shown


async def test_every_secret_is_used_and_the_end_is_clean(service):
    assert service.container.check() == []
    await service.container.handler().aclose()
