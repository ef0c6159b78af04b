"""PGP_SERVER_v1: orders, broadcasts and commands of the bot, and the webhooks of those who tell it something."""

import json
import threading
import time
from decimal import Decimal

import grpc
import pytest
from pydantic import SecretStr
from werkzeug.serving import make_server

from pgp_services.bots import LATER, NOT_GOOD
from pgp_services.broadcast.handler import EXECUTE_PATH
from pgp_services.clients.cloud_tasks import TasksUnavailable
from pgp_services.clients.nowpayments import NowPaymentsRefused
from pgp_services.clients.services import ServiceUnavailable
from pgp_services.clients.telegram import TelegramUnavailable, Update
from pgp_services.clients.updates import UpdateLoop
from pgp_services.failures import BadToken
from pgp_services.lookalikes.gateway import Gateway
from pgp_services.lookalikes.http import Fault
from pgp_services.lookalikes.nowpayments import NowPaymentsServer
from pgp_services.lookalikes.routes import Routes
from pgp_services.messages import Broadcast
from pgp_services.names import Service
from pgp_services.orders import Offer, order_of
from pgp_services.server.claims import BroadcastOrder, PayoutNotice, ScheduleOrder
from pgp_services.server.handler import CLOUDFLARE_HEADER, TEXTS
from pgp_services.serving import flask_app
from pgp_services.serving.polling import Polling
from pgp_services.tokens import sign

PAYER = 12345

CONFIDENTIAL = (
    "TPS_HOSTPAY_SIGNING_KEY",
    "TELEGRAM_BOT_API_TOKEN",
    "NOWPAYMENTS_API_KEY",
    "NOWPAYMENTS_IPN_SECRET",
    "CLOUDFLARE_WEBHOOK_SECRET",
    "DATABASE_PASSWORD_SECRET",
)


@pytest.fixture
def nowpayments(fleet_values):
    key, ipn_key = (fleet_values[f"NOWPAYMENTS_{name}"] for name in ("API_KEY", "IPN_SECRET"))
    with NowPaymentsServer(key, ipn_key) as server:
        yield server


@pytest.fixture
def routes():
    return Routes()


@pytest.fixture
def service(asked, telegram_server, nowpayments, routes):
    with Gateway(routes) as gateway:
        client = asked(
            Service.SERVER,
            {
                "telegram_base_url": telegram_server.url,
                "nowpayments_base_url": nowpayments.url,
                "local_gateway": gateway.url,
                "ipn_url": "https://np-ipn.example/",
            },
        )
        client.gateway = gateway
        yield client
        client.container.handler().close()


@pytest.fixture
def take(service):
    """Handles what somebody writes to the bot."""

    def handle(text, number=77):
        update = Update(update_id=number, chat_id=7, user_id=PAYER, text=text)
        return service.container.handler().take(update)

    return handle


@pytest.fixture
def signed(fleet_values):
    """A token signed with TPS_HOSTPAY_SIGNING_KEY, or with another key."""

    def build(kind, key=None, **facts):
        claims = kind(**{"timestamp": int(time.time()), **facts})
        return sign(claims, SecretStr(key or fleet_values["TPS_HOSTPAY_SIGNING_KEY"]))

    return build


@pytest.fixture
def offer(signed):
    def build(key=None, **changes):
        facts = {
            "closed_channel_id": -1001234567890,
            "price_amount": Decimal("9.99"),
            "price_currency": "USD",
            "payout_mode": "threshold",
            "payout_currency": "xmr",
            "payout_network": "xmr",
            "wallet_address": "4AbCdEf",
        }
        return signed(Offer, key, **{**facts, **changes})

    return build


def said(telegram_server):
    return [(message.chat_id, message.text) for message in telegram_server.messages]


# -- orders --------------------------------------------------------------------------------------


def test_an_order_becomes_an_invoice_whose_url_the_payer_gets(
    take, offer, nowpayments, telegram_server
):
    assert take(f"/pay {offer()}").message == "Invoice sent"
    ((number, invoice),) = nowpayments.invoices.items()
    assert str(invoice["price_amount"]) == "9.99"
    assert invoice["price_currency"] == "usd"
    assert invoice["ipn_callback_url"] == "https://np-ipn.example/"
    assert invoice["success_url"] == "https://t.me/pgp_test_bot?start=paid"
    assert invoice["cancel_url"] == "https://t.me/pgp_test_bot?start=cancelled"
    order = order_of(invoice["order_id"])
    assert (order.user_id, order.number, order.wallet_address) == (PAYER, 77, "4AbCdEf")
    assert (order.price_amount, order.price_currency) == (Decimal("9.99"), "usd")
    assert abs(order.time - time.time()) < 60
    assert (order.payout_mode, order.closed_channel_id) == ("threshold", -1001234567890)
    url = f"https://nowpayments.io/payment/?iid={number}"
    assert said(telegram_server) == [(7, f"Please pay here: {url}")]


def test_nobody_orders_what_nobody_offered(take, offer, new_key, nowpayments, telegram_server):
    for token in ("", "CANARY", offer(new_key()), offer(timestamp=1)):
        with pytest.raises(BadToken):
            take(f"/pay {token}")
    assert nowpayments.invoices == {}
    assert {text for _, text in said(telegram_server)} == {NOT_GOOD}


def test_where_nowpayments_settings_say_where_ipns_go(asked, offer, nowpayments, telegram_server):
    service = asked(
        Service.SERVER,
        {"telegram_base_url": telegram_server.url, "nowpayments_base_url": nowpayments.url},
    )
    update = Update(update_id=1, chat_id=7, user_id=PAYER, text=f"/pay {offer()}")
    assert service.container.handler().take(update).status == 200
    assert "ipn_callback_url" not in next(iter(nowpayments.invoices.values()))


def test_a_rotated_key_makes_the_invoice_that_meets_the_refusal(
    take, service, offer, nowpayments, new_key
):
    newer = new_key()
    nowpayments.rotate(newer, lambda: service.source.add("NOWPAYMENTS_API_KEY", newer))
    assert take(f"/pay {offer()}").status == 200
    assert len(nowpayments.invoices) == 1


def test_who_ordered_in_vain_is_told(take, offer, nowpayments, telegram_server):
    nowpayments.fail(Fault(400, b"ANSWERCANARY"))
    with pytest.raises(NowPaymentsRefused):
        take(f"/pay {offer()}")
    assert said(telegram_server) == [(7, LATER)]


# -- broadcasts ----------------------------------------------------------------------------------


def test_a_broadcast_goes_to_broadcast(take, signed, tasks_server, telegram_server):
    token = signed(BroadcastOrder, chat_ids=[1, 2, 1], text="News")
    assert take(f"/broadcast {token}").message == "Broadcast ordered"
    assert tasks_server.count() == {
        ("pgp-broadcast-queue", f"https://broadcast.example{EXECUTE_PATH}"): 2
    }
    # One chat each: of a task with more, BROADCAST may do a part, and nobody hears of the rest.
    chats = [Broadcast.model_validate_json(task.body).chat_ids for task in tasks_server.tasks]
    assert chats == [[1], [2]]
    name = tasks_server.tasks[0].name
    assert name.startswith("projects/pgp-test/locations/us-central1/")
    assert said(telegram_server) == [(7, "Your broadcast is on its way.")]


def test_a_later_broadcast_goes_to_the_scheduler(take, signed, tasks_server, telegram_server):
    token = signed(ScheduleOrder, chat_ids=[1], text="News", at=2_000_000_000)
    assert take(f"/schedule {token}").message == "Broadcast scheduled"
    (task,) = tasks_server.tasks
    assert (task.queue, task.url) == ("pgp-scheduler-queue", "https://scheduler.example/schedule")
    assert json.loads(task.body) == {"chat_ids": [1], "text": "News", "at": 2_000_000_000}
    assert said(telegram_server) == [(7, "Your broadcast has been scheduled.")]


def test_a_token_broadcasts_once_and_for_one_thing(take, signed, tasks_server):
    token = signed(BroadcastOrder, chat_ids=[1], text="News")
    for number in range(3):
        take(f"/broadcast {token}", number)
    assert len(tasks_server.tasks) == 1
    with pytest.raises(BadToken):
        take(f"/schedule {token}")


def test_who_may_not_broadcast_does_not(take, signed, new_key, tasks_server):
    for kind, more in ((BroadcastOrder, {}), (ScheduleOrder, {"at": 1})):
        token = signed(kind, new_key(), chat_ids=[1], text="News", **more)
        command = "schedule" if more else "broadcast"
        with pytest.raises(BadToken):
            take(f"/{command} {token}")
    assert tasks_server.tasks == []


def test_switched_queues_and_urls_are_used_by_the_next_broadcast(
    take, service, signed, tasks_server
):
    for name in ("PGP_BROADCAST", "PGP_SCHEDULER"):
        service.source.add(f"{name}_URL", "https://green.example")
        service.source.add(f"{name}_QUEUE", "green")
    take(f"/broadcast {signed(BroadcastOrder, chat_ids=[1], text='News')}")
    take(f"/schedule {signed(ScheduleOrder, chat_ids=[1], text='News', at=5)}")
    assert {queue for queue, _ in tasks_server.count()} == {"green"}


def test_an_outage_of_cloud_tasks_is_told(take, signed, tasks_server, telegram_server):
    tasks_server.fail(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(TasksUnavailable):
        take(f"/broadcast {signed(BroadcastOrder, chat_ids=[1], text='News')}")
    assert said(telegram_server) == [(7, LATER)]


# -- other commands ------------------------------------------------------------------------------


@pytest.fixture
def botcommand(asked, telegram_server, routes):
    """The real one, behind the gateway."""
    client = asked(Service.BOTCOMMAND, {"telegram_base_url": telegram_server.url})
    app = flask_app.create_app(Service.BOTCOMMAND, client.container)
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    routes.add("https://botcommand.example", f"http://127.0.0.1:{server.port}")
    yield client
    server.shutdown()
    thread.join(30)
    server.server_close()


@pytest.mark.usefixtures("botcommand")
def test_other_commands_go_to_botcommand(take, service, telegram_server, tasks_server):
    assert take("/help").message == "Forwarded to BOTCOMMAND"
    token = f"abc.{'s' * 43}"
    assert take(f"/claim {token}").message == "Forwarded to BOTCOMMAND"
    assert [(p.host, p.path, p.status) for p in service.gateway.passed] == [
        ("botcommand.example", "/update", 200)
    ] * 2
    assert len(telegram_server.messages) == 2
    assert json.loads(tasks_server.tasks[0].body) == {"token": token}


@pytest.mark.usefixtures("botcommand")
def test_a_switched_url_is_used_by_the_next_command(take, service, routes):
    routes.add("https://green.example", f"http://127.0.0.1:{routes.port_of('botcommand.example')}")
    service.source.add("PGP_BOTCOMMAND_URL", "https://green.example")
    take("/help")
    assert [p.host for p in service.gateway.passed] == ["green.example"]


def test_an_outage_of_botcommand_is_told(take, telegram_server):
    with pytest.raises(ServiceUnavailable):
        take("/help")
    assert said(telegram_server) == [(7, LATER)]


@pytest.mark.parametrize("text", ["hello", "/help@OtherBot", None, ""])
def test_what_is_no_command_of_ours_is_left_alone(take, service, telegram_server, text):
    assert take(text).message == "Nothing to do"
    assert service.gateway.passed == []
    assert telegram_server.seen == []


def test_the_loop_brings_updates_to_it(service, offer, nowpayments, telegram_server):
    handler = service.container.handler()
    polling = Polling(service.container.updates, handler.take)
    telegram_server.receive(f"/pay {offer()}", chat_id=7, user_id=PAYER)
    polling.start()
    assert telegram_server.wait_for(lambda: telegram_server.messages)
    polling._stop.set()
    telegram_server.receive("/help")  # ends the poll, and is for the next process
    polling.stop()
    assert not polling._thread.is_alive()
    assert len(nowpayments.invoices) == 1
    assert isinstance(service.container.updates(handle=print, stop=threading.Event()), UpdateLoop)


# -- webhooks ------------------------------------------------------------------------------------


@pytest.fixture
def tell(service, nowpayments, take, offer):
    """An IPN of NOWPayments, of a real order."""
    take(f"/pay {offer()}")
    (invoice,) = nowpayments.invoices.values()

    def post(version=None, **changes):
        payment = {"payment_id": 5, "order_id": invoice["order_id"], **changes}
        told = nowpayments.ipn(payment, version)
        return service.post("/webhooks/nowpayments", data=told.body, headers=told.headers)

    return post


@pytest.mark.parametrize("status", TEXTS)
def test_a_payer_is_told_of_what_did_not_go_well(tell, telegram_server, status):
    got = tell(payment_status=status)
    assert (got.status_code, got.json["message"]) == (200, f"Payer told: {status}")
    assert said(telegram_server)[-1] == (PAYER, TEXTS[status])


def test_a_payer_who_has_blocked_the_bot_is_left_alone(tell, telegram_server):
    telegram_server.block(PAYER)
    got = tell(payment_status="expired")
    assert (got.status_code, got.json["status"]) == (200, "not delivered")


@pytest.mark.parametrize(
    "changes",
    [
        {"payment_status": "finished"},
        {"payment_status": "waiting"},
        {"payment_status": "failed", "order_id": "somebody else's"},
    ],
)
def test_of_anything_else_nobody_is_told(tell, telegram_server, changes):
    before = len(telegram_server.messages)
    got = tell(**changes)
    assert (got.status_code, got.json["message"]) == (200, "Nothing to do")
    assert len(telegram_server.messages) == before


def test_both_ipn_keys_verify_during_a_rotation(tell, service, nowpayments, new_key):
    newer = new_key()
    nowpayments.rotate_ipn_key(newer)
    service.source.add("NOWPAYMENTS_IPN_SECRET", newer)
    assert [tell(v, payment_status="waiting").status_code for v in (1, 2)] == [200, 200]


def test_401_for_an_ipn_of_somebody_else(service, tell):
    assert service.post("/webhooks/nowpayments", data=b"{}").status_code == 401
    assert tell(payment_status="x y").status_code == 400


@pytest.mark.parametrize(
    ("notice", "told"),
    [
        ({"alert_type": "http_alert_origin_error", "text": "CANARY", "ts": 1}, "origin_error"),
        ({"text": "CANARY"}, "of no type"),
    ],
)
def test_cloudflares_alerts_are_noted(service, fleet_values, caplog, notice, told):
    headers = {CLOUDFLARE_HEADER: fleet_values["CLOUDFLARE_WEBHOOK_SECRET"]}
    assert service.post("/webhooks/cloudflare", json=notice, headers=headers).status_code == 200
    assert told in caplog.text
    assert "CANARY" not in caplog.text


def test_401_without_cloudflares_secret(service, fleet_values):
    secret = fleet_values["CLOUDFLARE_WEBHOOK_SECRET"]
    for given in (None, "", secret[:-1], f"{secret}x", "ü"):
        headers = {} if given is None else {CLOUDFLARE_HEADER: given}
        assert service.post("/webhooks/cloudflare", json={}, headers=headers).status_code == 401
    wrong = {"alert_type": "NOT ONE"}
    headers = {CLOUDFLARE_HEADER: secret}
    assert service.post("/webhooks/cloudflare", json=wrong, headers=headers).status_code == 400


def test_a_rotated_cloudflare_secret_counts_from_the_next_request(service, fleet_values, new_key):
    newer, older = new_key(), fleet_values["CLOUDFLARE_WEBHOOK_SECRET"]
    service.source.add("CLOUDFLARE_WEBHOOK_SECRET", newer)

    def status(secret):
        headers = {CLOUDFLARE_HEADER: secret}
        return service.post("/webhooks/cloudflare", json={}, headers=headers).status_code

    assert (status(newer), status(older)) == (200, 401)


@pytest.fixture
def notice(signed):
    def build(key=None, **changes):
        facts = {"payout_id": "p1", "user_id": 9, "amount": Decimal("1.50"), "currency": "xmr"}
        return signed(PayoutNotice, key, **{**facts, **changes})

    return build


def test_a_payer_is_told_of_a_payout(service, notice, telegram_server):
    got = service.post("/webhooks/payout", json={"token": notice()})
    assert got.status_code == 200
    assert said(telegram_server) == [(9, "1.50 XMR has been paid out.")]


def test_a_payer_who_has_blocked_the_bot_hears_of_no_payout(service, notice, telegram_server):
    telegram_server.block(9)
    got = service.post("/webhooks/payout", json={"token": notice()})
    assert (got.status_code, got.json["status"]) == (200, "not delivered")


def test_401_for_a_payout_of_somebody_else(service, notice, new_key, offer):
    for token in (notice(new_key()), notice(timestamp=1), offer(), "a.b"):
        got = service.post("/webhooks/payout", json={"token": token})
        assert got.status_code == 401
    assert service.post("/webhooks/payout", json={}).status_code == 400


def test_503_while_telegram_does_not_answer(service, notice, telegram_server):
    telegram_server.fail(Fault(0))
    got = service.post("/webhooks/payout", json={"token": notice()})
    assert got.status_code == 503
    assert got.headers["Retry-After"] == "5"


# -- all of it -----------------------------------------------------------------------------------


def test_no_answer_and_no_log_shows_a_secret(service, take, offer, notice, fleet_values, caplog):
    caplog.set_level("DEBUG")
    shown = [take(f"/pay {offer()}").message]
    shown += [service.post("/webhooks/payout", json={"token": notice()}).text]
    shown += [service.post("/webhooks/cloudflare", json={}).text, caplog.text]
    shown += [repr(service.container.handler()), repr(service.container.bot())]
    for name in CONFIDENTIAL:
        assert fleet_values[name] not in "".join(shown)


def test_no_frame_of_a_failure_holds_a_secret_or_a_token(
    take, offer, new_key, nowpayments, tasks_server, signed, fleet_values, shown_by
):
    good, bad = offer(), offer(new_key())
    broadcast = signed(BroadcastOrder, chat_ids=[1], text="News")
    nowpayments.fail(Fault(400))
    tasks_server.fail(grpc.StatusCode.NOT_FOUND)
    attempts = {
        f"/pay {bad}": BadToken,
        f"/pay {good}": NowPaymentsRefused,
        f"/broadcast {broadcast}": TasksUnavailable,
        f"/claim {bad}": ServiceUnavailable,
    }
    for text, failure in attempts.items():
        with pytest.raises(failure) as caught:
            take(text)
        shown = shown_by(caught.value)
        for canary in (good, bad, broadcast, *map(fleet_values.get, CONFIDENTIAL)):
            assert canary not in shown


def test_an_apology_that_fails_changes_nothing(take, telegram_server):
    telegram_server.fail(*[Fault(0)] * 2)
    with pytest.raises((ServiceUnavailable, TelegramUnavailable)):
        take("/help")


async def test_every_secret_is_used_and_the_end_is_clean(service):
    assert service.container.check() == []
    await service.container.handler().aclose()
