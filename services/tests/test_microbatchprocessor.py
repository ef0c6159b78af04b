"""PGP_MICROBATCHPROCESSOR_v1: swaps of accumulated ETH, and whether they are done."""

import json
import time
from decimal import Decimal

import grpc
import pytest

from pgp_services.causes import digest
from pgp_services.lookalikes.http import Fault, as_json
from pgp_services.names import Service
from pgp_services.tokens import PAY_WITHIN, ExchangeWatch, ReleasedPayout, SwapDue, SwapExecuted

SUCCESS = "SUCCESS_URL_SIGNING_KEY"
WALLET = "0x" + "cd" * 20


def due(**changes):
    more = {"batch_id": "batch-1", "amount": "0.5", "wallet_address": WALLET}
    return SwapDue.model_validate({**more, "timestamp": int(time.time()), **changes})


def executed(**changes):
    more = {"batch_id": "batch-1", "exchange_id": "abc123"}
    return SwapExecuted.model_validate({**more, "timestamp": int(time.time()), **changes})


ROUTES = {"/check-threshold": due, "/swap-executed": executed}


@pytest.fixture
def changenow(changenow_server):
    changenow_server.exchanges["abc123"] = {
        "id": "abc123",
        "status": "finished",
        **dict.fromkeys(("payinHash", "payoutHash", "amountFrom", "amountTo")),
    }
    return changenow_server


@pytest.fixture
def processor(start, changenow):
    return start(Service.MICROBATCHPROCESSOR, changenow_base_url=changenow.url)


def test_what_is_due_is_swapped_and_hostpay1_pays(processor, changenow, tasks_server, claims_of):
    claims = due(amount="0.1234567890123456789")
    status, content, _ = processor.send("/check-threshold", claims, SUCCESS)
    task = tasks_server.tasks[0]
    asked = json.loads(changenow.seen[0].body)
    assert (status, content["task_ids"]) == (200, [task.name.rpartition("/")[2]])
    assert (task.queue, task.url) == ("pgp-hostpay-trigger-queue", "https://hostpay1.example/")
    assert (asked["fromCurrency"], asked["toCurrency"]) == ("eth", "usdt")
    assert (asked["fromAmount"], asked["address"]) == ("0.123456789012345678", WALLET)
    payout = claims_of(task, ReleasedPayout, processor.values[SUCCESS])
    exchange = list(changenow.exchanges.values())[1]
    assert payout.payout_id == digest("swap", "batch-1")
    assert payout.amount == Decimal("0.123456789012345678")
    assert payout.pay_by == claims.timestamp + PAY_WITHIN
    assert (payout.exchange_id, payout.payin_address) == (
        exchange["id"],
        exchange["payinAddress"],
    )


@pytest.mark.parametrize("word", ["waiting", "exchanging", "finished"])
def test_hostpay1_looks_after_what_is_said_to_be_done(
    processor, changenow, tasks_server, claims_of, word
):
    changenow.exchanges["abc123"]["status"] = word
    status, content, _ = processor.send("/swap-executed", executed(), SUCCESS)
    task = tasks_server.tasks[0]
    assert (status, content["message"]) == (200, f"The swap is {word}")
    assert (task.queue, task.url) == (
        "pgp-hostpay-trigger-queue",
        "https://hostpay1.example/retry-callback-check",
    )
    watch = claims_of(task, ExchangeWatch, processor.values[SUCCESS])
    assert (watch.exchange_id, watch.attempt) == ("abc123", 0)


@pytest.mark.parametrize("word", ["failed", "refunded", "expired"])
def test_502_for_a_swap_that_failed(processor, changenow, tasks_server, word):
    changenow.exchanges["abc123"]["status"] = word
    assert processor.send("/swap-executed", executed(), SUCCESS)[0] == 502
    assert tasks_server.tasks == []


def test_502_for_an_exchange_that_a_transfer_does_not_pay_for(processor, changenow, tasks_server):
    made = {
        "id": "x1",
        "fromAmount": 0.5,
        "toAmount": 900,
        "payinAddress": "0x" + "ab" * 20,
        "payoutAddress": WALLET,
        "payinExtraId": "1234",
    }
    changenow.fail(as_json(200, made))
    assert processor.send("/check-threshold", due(), SUCCESS)[0] == 502
    assert tasks_server.tasks == []


def test_502_for_a_swap_that_was_due_too_long_ago(processor, changenow, tasks_server):
    late = due(timestamp=int(time.time()) - PAY_WITHIN - 1)
    assert processor.send("/check-threshold", late, SUCCESS)[0] == 502
    assert tasks_server.tasks == []


@pytest.mark.parametrize("path", ROUTES)
def test_a_repeat_is_dropped(processor, tasks_server, path):
    first = processor.send(path, ROUTES[path](), SUCCESS)
    again = ROUTES[path](timestamp=int(time.time()) - 60)
    assert processor.send(path, again, SUCCESS)[:2] == first[:2]
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 1)
    assert processor.send(path, ROUTES[path](batch_id="batch-2"), SUCCESS)[:2] != first[:2]


@pytest.mark.parametrize("path", ROUTES)
def test_401_for_a_token_that_is_not_for_it(processor, changenow, tasks_server, new_key, path):
    make, now = ROUTES[path], int(time.time())
    processor.values["ANOTHER"] = new_key()
    for timestamp in (now - 25 * 3600, now + 3600):
        assert processor.send(path, make(timestamp=timestamp), SUCCESS)[0] == 401
    assert processor.send(path, make(), "ANOTHER")[0] == 401
    other = next(kind for another, kind in ROUTES.items() if another != path)
    assert processor.send(path, other(), SUCCESS)[0] == 401
    assert (tasks_server.tasks, changenow.seen) == ([], [])


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"token": 7}'])
def test_400_without_json_or_token(processor, path, body):
    assert processor.post(path, body)[0] == 400


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("fault", "status"), [(Fault(400), 502), (Fault(200, b"<html>"), 502), (Fault(429), 503)]
)
def test_502_and_503_when_changenow_fails(processor, changenow, tasks_server, path, fault, status):
    changenow.fail(*[fault] * 60)
    assert processor.send(path, ROUTES[path](), SUCCESS)[0] == status
    assert tasks_server.tasks == []


@pytest.mark.parametrize("path", ROUTES)
def test_503_when_cloud_tasks_is_unavailable(processor, tasks_server, path):
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    assert processor.send(path, ROUTES[path](), SUCCESS)[0] == 503


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "name", ["CHANGENOW_API_KEY", "PGP_HOSTPAY1_URL", "PGP_HOSTPAY_TRIGGER_QUEUE"]
)
def test_503_when_a_secret_is_unavailable(processor, tasks_server, path, name):
    processor.source.failing.add(name)
    status, _, headers = processor.send(path, ROUTES[path](), SUCCESS)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert tasks_server.tasks == []
