"""PGP_INVITE_v1: one link for one payer, on ORCHESTRATOR's word only."""

import time

import pytest
from pydantic import SecretStr

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
