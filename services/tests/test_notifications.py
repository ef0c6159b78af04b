"""PGP_NOTIFICATIONS_v1: writes to people, with the token of the moment."""

import pytest

from pgp_services.lookalikes.http import Fault
from pgp_services.names import Service


@pytest.fixture
def service(asked, telegram_server):
    return asked(Service.NOTIFICATIONS, {"telegram_base_url": telegram_server.url})


def send(service, **changes):
    return service.post("/send-notification", json={"chat_id": 7, "text": "Hello", **changes})


def test_a_message_is_sent(service, telegram_server):
    got = send(service)
    assert got.status_code == 200
    assert got.json["message_id"] > 0
    assert [(m.chat_id, m.text) for m in telegram_server.messages] == [(7, "Hello")]


@pytest.mark.parametrize(
    "changes",
    [
        {"chat_id": "7"},
        {"chat_id": None},
        {"chat_id": 2**52 + 1},
        {"chat_id": -(2**63)},
        {"text": ""},
        {"text": " \n"},
        {"text": "x" * 4097},
        {"more": 1},
    ],
)
def test_400_for_anything_else(service, telegram_server, changes):
    got = send(service, **changes)
    assert got.status_code == 400
    assert got.json["fields"] == list(changes)
    assert telegram_server.messages == []


def test_who_has_blocked_the_bot_is_left_alone(service, telegram_server, caplog):
    """Old fault: a 502, and Cloud Tasks tried again and again."""
    caplog.set_level("INFO")
    telegram_server.block(7)
    got = send(service)
    assert (got.status_code, got.json["status"]) == (200, "not delivered")
    assert sum("Not delivered" in message for message in caplog.messages) == 1
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


def test_502_for_a_chat_that_is_not_there(service, telegram_server):
    telegram_server.lose_chat(7)
    assert send(service).status_code == 502


def test_503_when_telegram_wants_to_be_left_alone(service, telegram_server):
    telegram_server.flood(30)
    got = send(service)
    assert (got.status_code, got.headers["Retry-After"]) == (503, "30")


def test_a_rotated_token_is_used_by_the_request_that_meets_the_refusal(
    service, telegram_server, new_key
):
    newer = f"77:{new_key()[:35]}"
    telegram_server.rotate(newer, lambda: service.source.add("TELEGRAM_BOT_API_TOKEN", newer))
    assert send(service).status_code == 200
    assert telegram_server.messages[-1].version == 2


def test_no_answer_and_no_log_shows_the_token(service, telegram_server, fleet_values, caplog):
    caplog.set_level("DEBUG")
    telegram_server.fail(Fault(500, b"ANSWERCANARY"))
    shown = send(service).text + send(service, text="").text + caplog.text
    assert fleet_values["TELEGRAM_BOT_API_TOKEN"] not in shown
    assert "ANSWERCANARY" not in shown


async def test_every_secret_is_used_and_the_end_is_clean(service):
    assert service.container.check() == []
    await service.container.handler().aclose()
