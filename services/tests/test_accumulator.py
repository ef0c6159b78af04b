"""PGP_ACCUMULATOR_v1: the fee, the valuation, and what is released."""

import time
from decimal import Decimal

import grpc
import pytest

from pgp_services.causes import digest
from pgp_services.names import Service
from pgp_services.tokens import (
    PAY_WITHIN,
    AccumulationRequest,
    EstimateRequest,
    Release,
    ReleasedPayout,
    SplitRequest,
)

IDENTITY = {
    "user_id": 12345,
    "closed_channel_id": -1001234567890,
    "wallet_address": "0xWALLETCANARY",
    "payout_currency": "xmr",
    "payout_network": "xmr",
    "swap_currency": "eth",
    "payout_mode": "threshold",
    "actual_eth_amount": "0.05",
}
SUCCESS = "SUCCESS_URL_SIGNING_KEY"


def payment(**changes):
    more = {"payment_id": "5077125051", "amount": "0.05", "timestamp": int(time.time())}
    return AccumulationRequest.model_validate({**IDENTITY, **more, **changes})


def release(**changes):
    more = {"batch_id": "batch-1", "amount": "0.1", "timestamp": int(time.time())}
    return Release.model_validate({**IDENTITY, **more, **changes})


SENT = {"token": payment, "release": release}


@pytest.fixture
def accumulator(start):
    return start(Service.ACCUMULATOR)


@pytest.mark.parametrize(
    ("currency", "amount", "left", "asked_in"),
    [("eth", "0.05", "0.0485", "usdt"), ("usdt", "100.10", "97.097", "xmr")],
)
def test_a_payment_is_valued_without_the_fee(
    accumulator, tasks_server, claims_of, currency, amount, left, asked_in
):
    claims = payment(swap_currency=currency, amount=amount)
    status, content, _ = accumulator.send("/", claims, SUCCESS)
    task = tasks_server.tasks[0]
    assert (status, content["task_ids"]) == (200, [task.name.rpartition("/")[2]])
    assert (task.queue, task.url) == ("pgp-split2-swap-queue", "https://split2.example/")
    asked = claims_of(task, EstimateRequest, accumulator.values[SUCCESS])
    assert asked.adjusted_amount == Decimal(left)
    assert (asked.payout_mode, asked.payout_currency) == ("threshold", asked_in)


def test_a_release_is_paid_out_without_a_second_fee(accumulator, tasks_server, claims_of):
    claims = release(amount="0.1234567890123456789")
    status, _, _ = accumulator.send("/", claims, SUCCESS, "release")
    task = tasks_server.tasks[0]
    assert status == 200
    assert (task.queue, task.url) == ("pgp-hostpay-trigger-queue", "https://hostpay1.example/")
    payout = claims_of(task, ReleasedPayout, accumulator.values[SUCCESS])
    assert payout.model_dump(exclude={"timestamp"}) == {
        "payout_id": digest("release", "batch-1"),
        "wallet_address": "0xWALLETCANARY",
        "payout_currency": "xmr",
        "payout_network": "xmr",
        "swap_currency": "eth",
        "amount": Decimal("0.123456789012345678"),
        "pay_by": claims.timestamp + PAY_WITHIN,
        "exchange_id": None,
        "payin_address": None,
    }


@pytest.mark.parametrize("field", SENT)
def test_a_repeat_is_dropped(accumulator, tasks_server, field):
    first = accumulator.send("/", SENT[field](), SUCCESS, field)
    again = SENT[field](timestamp=int(time.time()) - 60)
    assert accumulator.send("/", again, SUCCESS, field)[:2] == first[:2]
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 1)


def test_another_payment_and_another_batch_are_other_tasks(accumulator, tasks_server):
    accumulator.send("/", payment(), SUCCESS)
    accumulator.send("/", payment(payment_id="5077125052"), SUCCESS)
    accumulator.send("/", release(), SUCCESS, "release")
    accumulator.send("/", release(batch_id="batch-2"), SUCCESS, "release")
    assert len({task.name for task in tasks_server.tasks}) == 4


@pytest.mark.parametrize("field", SENT)
def test_401_for_a_token_that_is_not_for_it(accumulator, tasks_server, new_key, field):
    make, now = SENT[field], int(time.time())
    accumulator.values["ANOTHER"] = new_key()
    split = SplitRequest(**payment().model_dump(exclude={"payout_mode"}), payout_mode="instant")
    assert accumulator.send("/", make(timestamp=now - 25 * 3600), SUCCESS, field)[0] == 401
    assert accumulator.send("/", make(timestamp=now + 3600), SUCCESS, field)[0] == 401
    assert accumulator.send("/", make(), "ANOTHER", field)[0] == 401
    assert accumulator.send("/", split, SUCCESS, field)[0] == 401
    for other in SENT.keys() - {field}:
        assert accumulator.send("/", SENT[other](), SUCCESS, field)[0] == 401
    assert accumulator.post("/", {field: "x.y"})[0] == 401
    assert tasks_server.tasks == []


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"{}", b'{"token": 7}', b'{"release": 7}', b'{"release": ""}'],
)
def test_400_without_json_or_token(accumulator, body):
    assert accumulator.post("/", body)[0] == 400


@pytest.mark.parametrize(("field", "status"), [("token", 502), ("release", 400)])
def test_where_nothing_is_left_nothing_is_done(accumulator, tasks_server, field, status):
    claims = SENT[field](swap_currency="usdt", amount="0.0000001")
    assert accumulator.send("/", claims, SUCCESS, field)[0] == status
    assert tasks_server.tasks == []


@pytest.mark.parametrize("field", SENT)
def test_502_for_what_was_caused_too_long_ago(accumulator, tasks_server, field):
    late = SENT[field](timestamp=int(time.time()) - PAY_WITHIN - 1)
    assert accumulator.send("/", late, SUCCESS, field)[0] == 502
    assert tasks_server.tasks == []


def test_a_valuation_is_asked_for_with_the_time_of_its_cause(accumulator, tasks_server, claims_of):
    cause = payment(timestamp=int(time.time()) - PAY_WITHIN + 60)
    accumulator.send("/", cause, SUCCESS)
    asked = claims_of(tasks_server.tasks[0], EstimateRequest, accumulator.values[SUCCESS])
    assert asked.timestamp == cause.timestamp


@pytest.mark.parametrize("field", SENT)
def test_503_when_cloud_tasks_is_unavailable(accumulator, tasks_server, field):
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    status, _, headers = accumulator.send("/", SENT[field](), SUCCESS, field)
    assert (status, headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("token", "TP_FLAT_FEE"),
        ("token", "PGP_SPLIT2_URL"),
        ("token", "PGP_SPLIT2_SWAP_QUEUE"),
        ("release", "PGP_HOSTPAY1_URL"),
        ("release", "PGP_HOSTPAY_TRIGGER_QUEUE"),
    ],
)
def test_503_when_a_secret_is_unavailable(accumulator, tasks_server, field, name):
    accumulator.source.failing.add(name)
    status, _, headers = accumulator.send("/", SENT[field](), SUCCESS, field)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert tasks_server.tasks == []
