"""PGP_INVITE_v1: one link for one payer, on ORCHESTRATOR's word only."""

import time

import pytest
from pydantic import SecretStr

from pgp_services.invite import handler as invite
from pgp_services.lookalikes.http import Fault
from pgp_services.names import Service
from pgp_services.tokens import InviteRequest, sign

CHANNEL = -1001234567890


@pytest.fixture
def service(asked, telegram_server):
    return asked(Service.INVITE, {"telegram_base_url": telegram_server.url})


@pytest.fixture
def token(signing_key):
    def build(key=signing_key, **changes):
        facts = {
            "payment_id": "5077125051",
            "user_id": 12345,
            "closed_channel_id": CHANNEL,
            "timestamp": int(time.time()),
        }
        return sign(InviteRequest(**{**facts, **changes}), SecretStr(key))

    return build


def test_a_payer_gets_a_link_for_one(service, telegram_server, token):
    got = service.post("/", json={"token": token()})
    assert got.status_code == 200
    (link,) = telegram_server.links
    assert (link.chat_id, link.member_limit) == (CHANNEL, 1)
    assert 0 < link.expire_date - time.time() <= 24 * 3600
    (message,) = telegram_server.messages
    assert message.chat_id == 12345
    assert message.text.endswith(link.link)
    assert link.link not in got.text
    assert link.name == "Payment 5077125051"
    assert telegram_server.revoked == []


def test_a_name_is_as_long_as_telegram_takes_it(service, telegram_server, token):
    assert service.post("/", json={"token": token(payment_id="p" * 100)}).status_code == 200
    assert telegram_server.links[0].name == "Payment " + "p" * 24


def test_a_repeat_makes_no_second_link(service, telegram_server, token):
    answers = [service.post("/", json={"token": token()}).json["message"] for _ in range(2)]
    assert answers == ["Invited", "Invited already"]
    assert service.post("/", json={"token": token(payment_id="2")}).json["message"] == "Invited"
    assert (len(telegram_server.links), len(telegram_server.messages)) == (2, 2)


def test_what_is_remembered_is_bounded(service, telegram_server, token, monkeypatch):
    monkeypatch.setattr(invite, "MAX_REMEMBERED", 1)
    for payment in ("1", "2", "2", "1"):
        service.post("/", json={"token": token(payment_id=payment)})
    assert len(telegram_server.links) == 3


def test_a_payer_who_has_blocked_the_bot_gets_no_link(service, telegram_server, token, caplog):
    """Old fault: each delivery was a 502, and left a link that was good."""
    telegram_server.block(12345)
    got = service.post("/", json={"token": token()})
    assert (got.status_code, got.json["status"]) == (200, "not delivered")
    assert [link.link for link in telegram_server.links] == telegram_server.revoked
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


@pytest.mark.parametrize("status", [400, 500])
def test_a_link_that_was_not_sent_is_revoked_and_a_repeat_makes_another(
    service, telegram_server, token, monkeypatch, status
):
    telegram = service.container.handler()._telegram
    send = telegram.send_message

    def failing(*message):
        telegram_server.fail(Fault(status))
        return send(*message)

    monkeypatch.setattr(telegram, "send_message", failing)
    assert service.post("/", json={"token": token()}).status_code in (502, 503)
    monkeypatch.undo()
    assert service.post("/", json={"token": token()}).status_code == 200
    first, second = (link.link for link in telegram_server.links)
    assert telegram_server.revoked == [first]
    assert telegram_server.messages[-1].text.endswith(second)


def test_a_revocation_that_fails_too_changes_nothing(service, telegram_server, token, monkeypatch):
    telegram = service.container.handler()._telegram
    send = telegram.send_message

    def failing(*message):
        telegram_server.fail(Fault(400), Fault(400))
        return send(*message)

    monkeypatch.setattr(telegram, "send_message", failing)
    assert service.post("/", json={"token": token()}).status_code == 502
    assert telegram_server.revoked == []


def test_502_where_the_bot_was_removed_from_the_channel(service, token, telegram_server):
    """That is not the payer's doing."""
    telegram_server.block(CHANNEL)
    assert service.post("/", json={"token": token()}).status_code == 502


@pytest.mark.parametrize("body", [{}, {"token": 5}, []])
def test_400_without_a_token(service, body):
    assert service.post("/", json=body).status_code == 400


def test_401_for_a_token_that_is_not_good(service, token, new_key, telegram_server):
    for bad in (token(new_key()), token(timestamp=1), "a.b"):
        assert service.post("/", json={"token": bad}).status_code == 401
    assert telegram_server.links == []


def test_502_where_the_bot_is_no_administrator(service, token, telegram_server):
    telegram_server.lose_chat(CHANNEL)
    assert service.post("/", json={"token": token()}).status_code == 502
    assert telegram_server.messages == []


def test_no_answer_and_no_log_shows_a_secret(service, token, fleet_values, caplog, signing_key):
    caplog.set_level("DEBUG")
    shown = service.post("/", json={"token": token()}).text + caplog.text
    assert signing_key not in shown
    assert fleet_values["TELEGRAM_BOT_API_TOKEN"] not in shown


async def test_every_secret_is_used_and_the_end_is_clean(service):
    assert service.container.check() == []
    await service.container.handler().aclose()
