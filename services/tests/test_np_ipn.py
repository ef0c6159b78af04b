"""PGP_NP_IPN_v1: a finished payment goes on, once, and only on NOWPayments' word."""

import json
import time
from decimal import Decimal

import grpc
import pytest
from pydantic import ValidationError

from pgp_services.clients.nowpayments import SIGNATURE
from pgp_services.failures import BadRequest
from pgp_services.lookalikes.nowpayments import NowPaymentsServer
from pgp_services.names import Service
from pgp_services.np_ipn.handler import MAX_ORDER_AGE
from pgp_services.orchestrator.handler import Received
from pgp_services.orders import Offer, Order, order_of, ordered, reference

ORDER = Order(
    number=77,
    time=int(time.time()),
    user_id=12345,
    closed_channel_id=-1001234567890,
    price_amount=Decimal("9.99"),
    price_currency="usd",
    payout_mode="instant",
    payout_currency="xmr",
    payout_network="xmr",
    wallet_address="4AbC.dEf~CANARY",
)


@pytest.fixture
def service(asked):
    return asked(Service.NP_IPN)


@pytest.fixture
def nowpayments(fleet_values):
    with NowPaymentsServer("unused", fleet_values["NOWPAYMENTS_IPN_SECRET"]) as server:
        yield server


def ipn(**changes):
    return {
        "payment_id": 5077125051,
        "payment_status": "finished",
        "order_id": reference(ORDER),
        "parent_payment_id": None,
        "price_amount": Decimal("9.99"),
        "price_currency": "usd",
        "pay_amount": Decimal("0.0125"),
        "actually_paid": Decimal("0.0125"),
        "outcome_amount": Decimal("0.0123456789"),
        "outcome_currency": "eth",
        "fee": {"currency": "eth", "depositFee": 0},
        **changes,
    }


@pytest.fixture
def tell(service, nowpayments):
    def tell(version=None, **changes):
        told = nowpayments.ipn(ipn(**changes), version)
        return service.post("/", data=told.body, headers=told.headers)

    return tell


def test_a_finished_payment_is_processed_and_its_payer_is_told(tell, tasks_server):
    got = tell()
    assert got.status_code == 200
    assert len(got.json["task_ids"]) == 2
    assert tasks_server.count() == {
        (
            "pgp-orchestrator-queue",
            "https://orchestrator.example/process-validated-payment",
        ): 1,
        ("pgp-notification-queue", "https://notification.example/send-notification"): 1,
    }
    by_url = {task.url: json.loads(task.body) for task in tasks_server.tasks}
    told = Received.model_validate(
        by_url["https://orchestrator.example/process-validated-payment"]
    )
    received = told.payment
    assert abs(told.received_at - time.time()) < 60
    assert received.payment_id == "5077125051"
    assert received.amount == received.actual_eth_amount == Decimal("0.0123456789")
    assert (received.user_id, received.closed_channel_id) == (12345, -1001234567890)
    assert (received.swap_currency, received.wallet_address) == ("eth", "4AbC.dEf~CANARY")
    message = by_url["https://notification.example/send-notification"]
    assert message["chat_id"] == 12345
    assert "5077125051" in message["text"]


def test_a_repeat_is_dropped(tell, tasks_server):
    assert [tell().status_code for _ in range(3)] == [200] * 3
    assert len(tasks_server.tasks) == 2


def test_503_while_cloud_tasks_is_down_so_that_nowpayments_tells_again(
    asked, nowpayments, unused_port
):
    service = asked(Service.NP_IPN, {"cloud_tasks_endpoint": f"127.0.0.1:{unused_port}"})
    told = nowpayments.ipn(ipn())
    got = service.post("/", data=told.body, headers=told.headers)
    assert (got.status_code, got.headers["Retry-After"]) == (503, "5")


def test_what_was_handed_on_before_an_outage_is_not_handed_on_again(
    tell, service, tasks_server, monkeypatch
):
    create, made = service.container.tasks().create, []

    def once(*task):
        if made:
            tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
        made.append(create(*task))
        return made[-1]

    with monkeypatch.context() as outage:
        outage.setattr(service.container.tasks(), "create", once)
        got = tell()
    assert (got.status_code, got.headers["Retry-After"]) == (503, "5")
    assert len(tasks_server.tasks) == 1
    assert tell().status_code == 200
    assert (len(tasks_server.tasks), tasks_server.dropped) == (2, 1)


def test_dollars_that_came_in_are_no_eth(tell, tasks_server):
    assert (
        tell(outcome_currency="USDTERC20", outcome_amount=Decimal("9.1234567")).status_code == 200
    )
    payment = json.loads(tasks_server.tasks[0].body)["payment"]
    assert payment["amount"] == "9.123456"  # the seventh digit is nobody's
    assert payment["actual_eth_amount"] == "0"
    assert payment["swap_currency"] == "usdt"


@pytest.mark.parametrize(
    "status", ["waiting", "confirming", "partially_paid", "failed", "expired"]
)
def test_other_statuses_are_noted(tell, tasks_server, status, caplog):
    assert tell(payment_status=status).status_code == 200
    assert f"Payment is {status}" in caplog.text
    assert tasks_server.tasks == []


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": "somebody else's"},
        {"order_id": None},
        {"outcome_currency": "doge"},
        {"outcome_currency": None},
        {"outcome_amount": None},
        {"outcome_amount": 0},
        {"outcome_amount": Decimal("1e-19")},
        # Old fault: these were quiet 400s.
        {"order_id": 42},
        {"outcome_amount": -1},
        {"outcome_amount": "x"},
        {"outcome_amount": Decimal("1e-40")},
        {"outcome_currency": 5},
        {"price_amount": "x"},
        # Old fault: nobody looked at what was paid.
        {"price_amount": Decimal("9.98")},
        {"price_amount": None},
        {"price_currency": "xmr"},
        {"price_currency": None},
        {"actually_paid": Decimal("0.0124")},
        # Old fault: what did not say how much was paid was taken for all of it.
        {"actually_paid": None},
        {"pay_amount": None},
        {"actually_paid": None, "pay_amount": None},
        {"order_id": reference(ORDER.model_copy(update={"time": 0}))},
        {"order_id": reference(ORDER.model_copy(update={"price_amount": Decimal(10)}))},
    ],
)
def test_money_that_came_in_and_cannot_be_used_is_an_alert(tell, tasks_server, changes, caplog):
    got = tell(**changes)
    assert got.status_code == 502
    assert "payment 5077125051 came in and is of no use" in caplog.text
    assert "ERROR" in [record.levelname for record in caplog.records]
    assert tasks_server.tasks == []


@pytest.mark.parametrize("status", ["finished", "partially_paid"])
def test_a_repeated_deposit_is_an_alert_and_goes_nowhere(tell, tasks_server, status, caplog):
    """Old fault: dust that was sent to a used address let in again."""
    assert tell().status_code == 200
    got = tell(payment_id=6, parent_payment_id=5077125051, payment_status=status)
    assert got.status_code == 502
    assert "payment 6 is a repeated deposit" in caplog.text
    assert "ERROR" in [record.levelname for record in caplog.records]
    assert len(tasks_server.tasks) == 2
    assert tell(payment_id=6, parent_payment_id=1, payment_status="waiting").status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"price_amount": "9.990", "price_currency": "USD"},
        {"actually_paid": 1},
        {"actually_paid": "0.01250"},
    ],
)
def test_the_price_and_the_payment_are_compared_as_numbers(tell, changes):
    assert tell(**changes).status_code == 200


def test_an_order_is_good_for_a_day(service, tell, monkeypatch):
    monkeypatch.setattr(service.container.handler(), "_clock", lambda: ORDER.time + MAX_ORDER_AGE)
    assert tell().status_code == 200
    later = ORDER.time + MAX_ORDER_AGE + 1
    monkeypatch.setattr(service.container.handler(), "_clock", lambda: later)
    assert tell().status_code == 502


@pytest.mark.parametrize("payment_id", [None, "a\nb", 1.5])
def test_a_payment_without_a_name_is_an_alert_too(tell, payment_id, caplog):
    assert tell(payment_id=payment_id).status_code == 502
    assert "payment of no id came in and is of no use: wrong fields: payment_id" in caplog.text


@pytest.mark.parametrize(
    "changes", [{"payment_status": None}, {"payment_status": "a b"}, {"payment_status": 5}]
)
def test_400_for_an_ipn_of_another_form(tell, changes):
    assert tell(**changes).status_code == 400


def test_401_without_nowpayments_signature(service, nowpayments, new_key):
    with NowPaymentsServer("unused", new_key()) as other:
        forged = other.ipn(ipn())
    for headers in ({}, {SIGNATURE: ""}, forged.headers):
        assert service.post("/", data=forged.body, headers=headers).status_code == 401
    assert service.post("/", data=b"nonsense").status_code == 401
    changed = nowpayments.ipn(ipn())
    body = changed.body.replace(b"12345", b"54321")
    assert service.post("/", data=body, headers=changed.headers).status_code == 401


def test_both_keys_verify_during_a_rotation(tell, service, nowpayments, new_key):
    newer = new_key()
    nowpayments.rotate_ipn_key(newer)
    service.source.add("NOWPAYMENTS_IPN_SECRET", newer)
    assert tell(version=1, payment_status="waiting").status_code == 200
    assert tell(version=2, payment_status="waiting").status_code == 200


def test_switched_queues_and_urls_are_used_by_the_next_payment(tell, service, tasks_server):
    for name in ("PGP_ORCHESTRATOR", "PGP_NOTIFICATION"):
        service.source.add(f"{name}_URL", "https://green.example")
        service.source.add(f"{name}_QUEUE", "green")
    tell()
    assert {queue for queue, _ in tasks_server.count()} == {"green"}


def test_no_answer_and_no_log_shows_a_key(tell, service, fleet_values, caplog):
    caplog.set_level("DEBUG")
    shown = tell().text + service.post("/", data=b"{}").text + caplog.text
    for canary in (fleet_values["NOWPAYMENTS_IPN_SECRET"], "CANARY"):
        assert canary not in shown


async def test_every_secret_is_used_and_the_end_is_clean(service):
    assert service.container.check() == []
    await service.container.handler().aclose()


# -- orders --------------------------------------------------------------------------------------


def test_an_order_survives_nowpayments():
    assert order_of(reference(ORDER)) == ORDER
    longest = ORDER.model_copy(update={"wallet_address": "4" * 106})
    assert len(reference(longest)) < 255


@pytest.mark.parametrize("price", ["9.99", "10", "1E+5", "0.000000000000001", "10.00"])
def test_a_price_survives_nowpayments(price):
    order = ORDER.model_copy(update={"price_amount": Decimal(price)})
    assert order_of(reference(order)).price_amount == Decimal(price)


def test_an_order_is_an_offer_that_somebody_took():
    offer = Offer(
        **{
            **ORDER.model_dump(exclude={"number", "user_id", "time"}),
            "price_currency": "USD",
            "timestamp": 1,
        }
    )
    assert ordered(offer, 12345, 77, ORDER.time) == ORDER
    with pytest.raises(ValidationError):
        Offer(**{**offer.model_dump(), "price_amount": Decimal(0)})


@pytest.mark.parametrize(
    "order_id",
    [
        "",
        None,
        "pgp2.1.2.3",
        "pgp1.77.12345.-100.instant.xmr.xmr.wallet",
        "pgp3.77.1700000000.12345.-100.999e-2.usd.instant.xmr.xmr.wallet",
        "pgp2.77.1700000000.12345.-100.999e-2.usd.later.xmr.xmr.wallet",
        "pgp2.77.1700000000.12345.-100.999e-2.usd.instant.x-r.xmr.wallet",
        f"pgp2.77.1700000000.{2**52 + 1}.-100.999e-2.usd.instant.xmr.xmr.wallet",
        f"pgp2.77.1700000000.12345.-{2**52 + 1}.999e-2.usd.instant.xmr.xmr.wallet",
        "pgp2.77.1700000000.-12345.-100.999e-2.usd.instant.xmr.xmr.wallet",
        "pgp2.77.1700000000.12345.-100.999e-2.usd.instant.xmr.xmr.two words",
        "pgp2.77.1700000000.12345.-100.0e0.usd.instant.xmr.xmr.wallet",
        "pgp2.77.1700000000.12345.-100.9.99.usd.instant.xmr.xmr.wallet",
        "pgp2.٣.1700000000.12345.-100.999e-2.usd.instant.xmr.xmr.wallet",
    ],
)
def test_what_is_no_order_of_ours_is_refused(order_id):
    with pytest.raises(BadRequest, match="none of ours"):
        order_of(order_id)
