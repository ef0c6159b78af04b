"""PGP_HOSTPAY1_v1: a payout from its request to the end of its exchange."""

import json
import time
from decimal import Decimal

import grpc
import pytest

from pgp_config import DeclarationError, DynamicSecret
from pgp_services.hostpay1.container import HostPay1
from pgp_services.hostpay1.handler import MOST_LOOKS, pause_before
from pgp_services.lookalikes.http import Fault, as_json
from pgp_services.names import Service
from pgp_services.tokens import (
    ExchangeWatch,
    PaymentMined,
    PaymentOrder,
    PayoutRequest,
    ReleasedPayout,
    StatusReport,
    StatusRequest,
)

SUCCESS, TPS = "SUCCESS_URL_SIGNING_KEY", "TPS_HOSTPAY_SIGNING_KEY"
SECONDARY = "TPS_HOSTPAY_SIGNING_KEY_SECONDARY"
PAYOUT_ID, PAY_BY = "0a" * 32, int(time.time()) + 3000
PAYIN = "0x" + "ab" * 20


def built(kind, claims, changes):
    common = {"payout_id": PAYOUT_ID, "timestamp": int(time.time())}
    return kind.model_validate({**common, **claims, **changes})


def payout(kind=PayoutRequest, **changes):
    claims = {
        "wallet_address": "0xWALLETCANARY",
        "payout_currency": "xmr",
        "payout_network": "xmr",
        "swap_currency": "eth",
        "amount": "0.0485",
        "pay_by": PAY_BY,
    }
    return built(kind, claims, changes)


def released(**changes):
    claims = {"exchange_id": "abc123", "payin_address": PAYIN}
    return payout(ReleasedPayout, **{**claims, **changes})


def report(**changes):
    claims = {
        "pay_by": PAY_BY,
        "exchange_id": "abc123",
        "payin_address": PAYIN,
        "swap_currency": "eth",
        "amount": "0.0485",
        "status": "waiting",
    }
    return built(StatusReport, claims, changes)


def mined(**changes):
    return built(PaymentMined, {"exchange_id": "abc123", "tx_hash": "0x" + "12" * 32}, changes)


def watch(**changes):
    return built(ExchangeWatch, {"exchange_id": "abc123", "attempt": 1}, changes)


ROUTES = {
    "/": (payout, TPS),
    "/status-verified": (report, SUCCESS),
    "/payment-completed": (mined, SUCCESS),
    "/retry-callback-check": (watch, SUCCESS),
}


@pytest.fixture
def changenow(changenow_server):
    changenow_server.exchanges["abc123"] = {
        "id": "abc123",
        "status": "confirming",
        **dict.fromkeys(("payinHash", "payoutHash", "amountFrom", "amountTo")),
    }
    return changenow_server


@pytest.fixture
def hostpay1(start, changenow):
    return start(Service.HOSTPAY1, changenow_base_url=changenow.url)


def exchanges_made(changenow):
    return [seen for seen in changenow.seen if seen.method == "POST"]


def test_a_payout_gets_an_exchange_whose_status_hostpay2_asks_for(
    hostpay1, changenow, tasks_server, claims_of
):
    status, content, _ = hostpay1.send("/", payout(), TPS)
    task = tasks_server.tasks[0]
    assert (status, content["task_ids"]) == (200, [task.name.rpartition("/")[2]])
    assert (task.queue, task.url) == ("pgp-hostpay2-queue", "https://hostpay2.example/")
    asked = json.loads(exchanges_made(changenow)[0].body)
    assert (asked["fromCurrency"], asked["fromNetwork"]) == ("eth", "eth")
    assert (asked["toCurrency"], asked["toNetwork"]) == ("xmr", "xmr")
    assert (asked["fromAmount"], asked["address"]) == ("0.0485", "0xWALLETCANARY")
    exchange = list(changenow.exchanges.values())[1]
    request = claims_of(task, StatusRequest, hostpay1.values[SUCCESS])
    assert request.model_dump(exclude={"timestamp"}) == {
        "payout_id": PAYOUT_ID,
        "pay_by": PAY_BY,
        "exchange_id": exchange["id"],
        "payin_address": exchange["payinAddress"],
        "swap_currency": "eth",
        "amount": Decimal("0.0485"),
    }


def test_what_accumulator_releases_gets_an_exchange_too(hostpay1, changenow, tasks_server):
    claims = released(exchange_id=None, payin_address=None)
    assert hostpay1.send("/", claims, SUCCESS)[0] == 200
    assert len(exchanges_made(changenow)) == len(tasks_server.tasks) == 1


def test_an_exchange_that_there_is_already_is_used(hostpay1, changenow, tasks_server, claims_of):
    assert hostpay1.send("/", released(), SUCCESS)[0] == 200
    request = claims_of(tasks_server.tasks[0], StatusRequest, hostpay1.values[SUCCESS])
    assert (request.exchange_id, request.payin_address) == ("abc123", PAYIN)
    assert exchanges_made(changenow) == []


def test_half_an_exchange_is_none(hostpay1, tasks_server):
    for field in ("exchange_id", "payin_address"):
        assert hostpay1.send("/", released(**{field: None}), SUCCESS)[0] == 400
    assert tasks_server.tasks == []


def test_502_for_a_currency_that_the_wallet_does_not_pay_before_there_is_an_exchange(
    hostpay1, changenow, tasks_server, caplog
):
    assert hostpay1.send("/", payout(swap_currency="usdt", amount="100"), TPS)[0] == 502
    assert "NotPaidInEth" in caplog.text
    assert (exchanges_made(changenow), tasks_server.tasks) == ([], [])


def test_a_payout_that_is_told_of_twice_goes_on_once(hostpay1, changenow, tasks_server, claims_of):
    first = hostpay1.send("/", payout(), TPS)
    assert hostpay1.send("/", payout(timestamp=int(time.time()) - 60), TPS)[:2] == first[:2]
    assert len(exchanges_made(changenow)) == 2
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 1)


def test_an_exchange_that_waits_is_paid_for_by_hostpay3(hostpay1, tasks_server, claims_of):
    status, content, _ = hostpay1.send("/status-verified", report(), SUCCESS)
    task = tasks_server.tasks[0]
    assert (status, content["task_ids"]) == (200, [task.name.rpartition("/")[2]])
    assert (task.queue, task.url) == ("pgp-hostpay3-queue", "https://hostpay3.example/")
    order = claims_of(task, PaymentOrder, hostpay1.values[SUCCESS])
    assert order.model_dump(exclude={"timestamp"}) == {
        "payout_id": PAYOUT_ID,
        "pay_by": PAY_BY,
        "exchange_id": "abc123",
        "payin_address": PAYIN,
        "swap_currency": "eth",
        "amount": Decimal("0.0485"),
        "round": 0,
    }


def test_one_payment_is_ordered_for_a_payout(hostpay1, tasks_server):
    hostpay1.send("/status-verified", report(), SUCCESS)
    hostpay1.send("/status-verified", report(timestamp=int(time.time()) - 60), SUCCESS)
    hostpay1.send("/status-verified", report(exchange_id="another"), SUCCESS)
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 2)


def test_an_exchange_that_was_paid_for_is_not_paid_for_again(hostpay1, tasks_server):
    hostpay1.send("/status-verified", report(status="confirming"), SUCCESS)
    assert [task.url for task in tasks_server.tasks] == [
        "https://hostpay1.example/retry-callback-check"
    ]
    status, content, _ = hostpay1.send("/status-verified", report(status="finished"), SUCCESS)
    assert (status, content["task_ids"], len(tasks_server.tasks)) == (200, [], 1)


@pytest.mark.parametrize("word", ["failed", "refunded", "expired"])
def test_502_for_an_exchange_that_failed(hostpay1, changenow, tasks_server, word):
    changenow.exchanges["abc123"]["status"] = word
    assert hostpay1.send("/status-verified", report(status=word), SUCCESS)[0] == 502
    assert hostpay1.send("/payment-completed", mined(), SUCCESS)[0] == 502
    assert hostpay1.send("/retry-callback-check", watch(), SUCCESS)[0] == 502
    assert tasks_server.tasks == []


@pytest.mark.parametrize(
    ("path", "claims", "attempt", "delay"),
    [
        ("/payment-completed", mined(), 1, 30),
        ("/retry-callback-check", watch(), 2, 60),
        ("/retry-callback-check", watch(attempt=9), 10, 600),
    ],
)
def test_an_exchange_is_looked_at_again_later(
    hostpay1, tasks_server, claims_of, path, claims, attempt, delay
):
    before = time.time()
    status, content, _ = hostpay1.send(path, claims, SUCCESS)
    task = tasks_server.tasks[0]
    assert (status, content["message"]) == (200, "The exchange is confirming")
    assert (task.queue, task.url) == (
        "pgp-hostpay1-response-queue",
        "https://hostpay1.example/retry-callback-check",
    )
    assert task.schedule_time >= before + delay
    said = claims_of(task, ExchangeWatch, hostpay1.values[SUCCESS])
    assert (said.payout_id, said.exchange_id, said.attempt) == (PAYOUT_ID, "abc123", attempt)


@pytest.mark.parametrize("path", ["/payment-completed", "/retry-callback-check"])
def test_an_exchange_that_is_finished_is_done_with(hostpay1, changenow, tasks_server, path):
    changenow.exchanges["abc123"]["status"] = "finished"
    make, key = ROUTES[path]
    status, content, _ = hostpay1.send(path, make(), key)
    assert (status, content["message"]) == (200, "The exchange is finished")
    assert (content["task_ids"], tasks_server.tasks) == ([], [])


@pytest.mark.parametrize("path", ["/payment-completed", "/retry-callback-check"])
def test_a_look_that_is_asked_for_twice_is_followed_by_one(hostpay1, tasks_server, path):
    make, key = ROUTES[path]
    hostpay1.send(path, make(), key)
    hostpay1.send(path, make(), key)
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 1)


def test_an_exchange_is_not_looked_at_for_ever(hostpay1, tasks_server):
    assert hostpay1.send("/retry-callback-check", watch(attempt=MOST_LOOKS), SUCCESS)[0] == 502
    assert tasks_server.tasks == []
    assert sum(pause_before(attempt) for attempt in range(MOST_LOOKS)) > 24 * 3600


def test_502_for_an_exchange_that_a_transfer_does_not_pay_for(hostpay1, changenow, tasks_server):
    made = {
        "id": "x1",
        "fromAmount": 0.0485,
        "toAmount": 1,
        "payinAddress": PAYIN,
        "payoutAddress": "0xWALLETCANARY",
        "payinExtraId": "1234",
    }
    changenow.fail(as_json(200, made))
    assert hostpay1.send("/", payout(), TPS)[0] == 502
    assert tasks_server.tasks == []


def test_the_secondary_key_verifies_payouts_and_nothing_else(hostpay1, tasks_server, claims_of):
    assert hostpay1.send("/", payout(), SECONDARY)[0] == 200
    assert claims_of(tasks_server.tasks[0], StatusRequest, hostpay1.values[SUCCESS])
    assert hostpay1.send("/", released(), SECONDARY)[0] == 401
    for path in ROUTES.keys() - {"/"}:
        assert hostpay1.send(path, ROUTES[path][0](), SECONDARY)[0] == 401


def test_the_secondary_key_is_the_newest_of_each_request(hostpay1, new_key):
    hostpay1.values["NEXT"] = new_key()
    assert hostpay1.send("/", payout(), "NEXT")[0] == 401
    hostpay1.source.add(SECONDARY, hostpay1.values["NEXT"])
    assert hostpay1.send("/", payout(), "NEXT")[0] == 200


@pytest.mark.parametrize("path", ROUTES)
def test_401_for_a_token_that_is_not_for_it(hostpay1, changenow, tasks_server, new_key, path):
    make, key = ROUTES[path]
    now = int(time.time())
    hostpay1.values["ANOTHER"] = new_key()
    for timestamp in (now - 25 * 3600, now + 3600):
        assert hostpay1.send(path, make(timestamp=timestamp), key)[0] == 401
    wrong = TPS if key == SUCCESS else SUCCESS
    for other_key in ("ANOTHER", wrong):
        assert hostpay1.send(path, make(), other_key)[0] == 401
    for another in ROUTES.keys() - {path}:
        kind, its_key = ROUTES[another]
        assert hostpay1.send(path, kind(), its_key)[0] == 401
    assert hostpay1.post(path, {"token": "x.y"})[0] == 401
    assert (tasks_server.tasks, changenow.seen) == ([], [])


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"token": 7}'])
def test_400_without_json_or_token(hostpay1, path, body):
    assert hostpay1.post(path, body)[0] == 400


@pytest.mark.parametrize("path", ["/", "/payment-completed", "/retry-callback-check"])
@pytest.mark.parametrize(
    ("fault", "status"), [(Fault(400), 502), (Fault(200, b"<html>"), 502), (Fault(429), 503)]
)
def test_502_and_503_when_changenow_fails(hostpay1, changenow, tasks_server, path, fault, status):
    make, key = ROUTES[path]
    changenow.fail(*[fault] * 60)
    assert hostpay1.send(path, make(), key)[0] == status
    assert tasks_server.tasks == []


@pytest.mark.parametrize("path", ROUTES)
def test_503_when_cloud_tasks_is_unavailable(hostpay1, tasks_server, path):
    make, key = ROUTES[path]
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    status, _, headers = hostpay1.send(path, make(), key)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert hostpay1.send(path, make(), key)[0] == 200
    assert len(tasks_server.tasks) == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "CHANGENOW_API_KEY"),
        ("/", "PGP_HOSTPAY2_QUEUE"),
        ("/", "PGP_HOSTPAY2_URL"),
        ("/", SECONDARY),
        ("/status-verified", "PGP_HOSTPAY3_QUEUE"),
        ("/status-verified", "PGP_HOSTPAY3_URL"),
        ("/payment-completed", "PGP_HOSTPAY1_RESPONSE_QUEUE"),
        ("/payment-completed", "PGP_HOSTPAY1_URL"),
    ],
)
def test_503_when_a_secret_is_unavailable(hostpay1, tasks_server, path, name):
    make, key = ROUTES[path]
    hostpay1.source.failing.add(name)
    status, _, headers = hostpay1.send(path, make(), key)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert tasks_server.tasks == []


def test_its_key_cannot_be_made_dynamic():
    with pytest.raises(DeclarationError, match=TPS):
        type("Careless", (HostPay1,), {"tps_hostpay_signing_key": DynamicSecret(TPS)})


def test_its_key_stays_as_it_was_until_a_restart(hostpay1, new_key):
    hostpay1.values["NEXT"] = new_key()
    hostpay1.source.add(TPS, hostpay1.values["NEXT"])
    hostpay1.source.asked.clear()
    assert hostpay1.send("/", payout(), TPS)[0] == 200
    assert hostpay1.send("/", payout(), "NEXT")[0] == 401
    assert TPS not in hostpay1.source.asked
