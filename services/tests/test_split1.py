"""PGP_SPLIT1_v1: the fee, the estimates, and what HOSTPAY1 is told to pay."""

import logging
import time
from decimal import Decimal

import grpc
import pytest

from pgp_services.causes import digest_of
from pgp_services.names import Service
from pgp_services.serving.routes import Call
from pgp_services.tokens import (
    PAY_WITHIN,
    BatchPayout,
    ClientSwap,
    EstimateAnswer,
    EstimateRequest,
    PayoutRequest,
    SplitRequest,
)

IDENTITY = {
    "user_id": 12345,
    "closed_channel_id": -1001234567890,
    "wallet_address": "0xWALLETCANARY",
    "payout_currency": "xmr",
    "payout_network": "xmr",
    "swap_currency": "usdt",
    "payout_mode": "instant",
    "actual_eth_amount": "0.05",
}
SUCCESS, TPS = "SUCCESS_URL_SIGNING_KEY", "TPS_HOSTPAY_SIGNING_KEY"


def built(kind, more, changes):
    claims = {**IDENTITY, **more, "timestamp": int(time.time()), **changes}
    return kind.model_validate(claims)


def payment(**changes):
    return built(SplitRequest, {"payment_id": "5077125051", "amount": "100.10"}, changes)


def estimate(**changes):
    more = {
        "from_amount": "96.5965",
        "to_amount_post_fee": "0.5",
        "deposit_fee": "0",
        "withdrawal_fee": "0.1",
    }
    return built(EstimateAnswer, more, changes)


def swap(**changes):
    more = {"swap_id": "swap-1", "eth_amount": "0.0123", "swap_currency": "eth"}
    return built(ClientSwap, more, changes)


def batch(**changes):
    return built(BatchPayout, {"batch_id": "batch-1", "amount": "1234.5"}, changes)


ROUTES = {
    "/": (payment, SUCCESS),
    "/usdt-eth-estimate": (estimate, SUCCESS),
    "/eth-client-swap": (swap, SUCCESS),
    "/batch-payout": (batch, TPS),
}


@pytest.fixture
def split1(start):
    return start(Service.SPLIT1)


def test_a_payment_is_estimated_without_the_fee(split1, tasks_server, claims_of):
    status, content, _ = split1.send("/", payment(), SUCCESS)
    task = tasks_server.tasks[0]
    assert (status, content["status"]) == (200, "success")
    assert [task.name.rpartition("/")[2]] == content["task_ids"]
    assert (task.queue, task.url) == ("pgp-split2-swap-queue", "https://split2.example/")
    asked = claims_of(task, EstimateRequest, split1.values[SUCCESS])
    assert asked.adjusted_amount == Decimal("97.097")
    assert asked.model_dump(include=set(IDENTITY)) == {
        **IDENTITY,
        "actual_eth_amount": Decimal("0.05"),
    }


def test_the_fee_is_that_of_the_request(split1, tasks_server, claims_of):
    split1.source.add("TP_FLAT_FEE", "10")
    split1.send("/", payment(swap_currency="eth", amount="0.0000000000000000019"), SUCCESS)
    asked = claims_of(tasks_server.tasks[0], EstimateRequest, split1.values[SUCCESS])
    assert asked.adjusted_amount == Decimal("0.000000000000000001")


def test_a_payment_of_which_nothing_is_left_is_refused(split1, tasks_server):
    split1.source.add("TP_FLAT_FEE", "100")
    assert split1.send("/", payment(), SUCCESS)[0] == 502
    assert tasks_server.tasks == []


def test_a_payment_to_be_paid_out_later_is_none_of_its(split1, tasks_server):
    later = payment().model_copy(update={"payout_mode": "threshold"})
    assert split1.send("/", later, SUCCESS)[0] == 401
    assert tasks_server.tasks == []


def test_an_estimate_becomes_a_payout(split1, tasks_server, claims_of):
    answer = estimate(from_amount="96.59650012")
    status, content, _ = split1.send("/usdt-eth-estimate", answer, SUCCESS)
    task = tasks_server.tasks[0]
    assert (status, content["task_ids"]) == (200, [task.name.rpartition("/")[2]])
    assert (task.queue, task.url) == (
        "pgp-hostpay-trigger-queue",
        "https://hostpay1.example/",
    )
    payout = claims_of(task, PayoutRequest, split1.values[TPS])
    assert payout.model_dump(exclude={"timestamp"}) == {
        "payout_id": digest_of(answer, Call()),
        "wallet_address": "0xWALLETCANARY",
        "payout_currency": "xmr",
        "payout_network": "xmr",
        "swap_currency": "usdt",
        "amount": Decimal("96.5965"),
        "pay_by": answer.timestamp + PAY_WITHIN,
    }


def test_equal_estimates_for_two_payments_are_two_payouts(split1, tasks_server):
    """Two payments of one payer in one second have equal tokens, and come as two tasks."""
    answer = estimate()
    for name in ("one", "two", "one"):
        headers = {"X-CloudTasks-TaskName": name}
        assert split1.send("/usdt-eth-estimate", answer, SUCCESS, headers=headers)[0] == 200
    assert (len(tasks_server.tasks), tasks_server.dropped) == (2, 1)


def test_an_estimate_for_a_threshold_is_not_paid_out(split1, tasks_server):
    answer = estimate(payout_mode="threshold")
    status, content, _ = split1.send("/usdt-eth-estimate", answer, SUCCESS)
    assert (status, content["task_ids"], tasks_server.tasks) == (200, [], [])


def test_never_more_eth_is_paid_out_than_came_in(split1, tasks_server):
    answer = estimate(swap_currency="eth", from_amount="0.050001")
    assert split1.send("/usdt-eth-estimate", answer, SUCCESS)[0] == 502
    assert tasks_server.tasks == []


def test_all_that_came_in_may_be_paid_out_and_not_a_wei_more(split1, tasks_server, claims_of):
    answer = estimate(swap_currency="eth", from_amount="0.050000000000000001")
    assert split1.send("/usdt-eth-estimate", answer, SUCCESS)[0] == 502
    split1.send("/usdt-eth-estimate", estimate(swap_currency="eth", from_amount="0.05"), SUCCESS)
    payout = claims_of(tasks_server.tasks[0], PayoutRequest, split1.values[TPS])
    assert payout.amount == Decimal("0.05")


def test_a_cause_is_one_payout_whenever_and_however_it_is_estimated(
    split1, tasks_server, claims_of
):
    """Through two queues the same cause comes as two tasks of one name, which Cloud Tasks does not tell apart."""
    headers = {"X-CloudTasks-TaskName": "cause-split2-estimate"}
    now = int(time.time())
    for changes in ({}, {"timestamp": now - 60}, {"to_amount_post_fee": "0.5"}):
        split1.send("/usdt-eth-estimate", estimate(**changes), SUCCESS, headers=headers)
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 2)


@pytest.mark.parametrize("path", ROUTES)
def test_502_and_an_alert_for_what_was_caused_too_long_ago(split1, tasks_server, path, caplog):
    make, key = ROUTES[path]
    late = make(timestamp=int(time.time()) - PAY_WITHIN - 1)
    assert split1.send(path, late, key)[0] == 502
    assert "TooLate" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.ERROR
    assert tasks_server.tasks == []


@pytest.mark.parametrize("path", ["/", "/eth-client-swap", "/batch-payout"])
def test_an_estimate_is_asked_for_with_the_time_of_its_cause(
    split1, tasks_server, claims_of, path
):
    make, key = ROUTES[path]
    cause = make(timestamp=int(time.time()) - PAY_WITHIN + 60)
    split1.send(path, cause, key)
    asked = claims_of(tasks_server.tasks[0], EstimateRequest, split1.values[SUCCESS])
    assert asked.timestamp == cause.timestamp


def test_an_old_estimate_for_a_threshold_moves_nothing_and_is_no_fault(split1):
    old = estimate(payout_mode="threshold", timestamp=int(time.time()) - 2 * PAY_WITHIN)
    assert split1.send("/usdt-eth-estimate", old, SUCCESS)[0] == 200


def test_a_swap_is_asked_for_anew_through_the_other_queue(split1, tasks_server, claims_of):
    split1.send("/eth-client-swap", swap(payout_mode="threshold"), SUCCESS)
    task = tasks_server.tasks[0]
    assert (task.queue, task.url) == ("pgp-split2-response-queue", "https://split2.example/")
    asked = claims_of(task, EstimateRequest, split1.values[SUCCESS])
    assert (asked.adjusted_amount, asked.payout_mode) == (Decimal("0.0123"), "instant")


def test_a_batch_is_estimated_to_be_paid_out_now_and_without_a_second_fee(
    split1, tasks_server, claims_of
):
    split1.send("/batch-payout", batch(payout_mode="threshold"), TPS)
    task = tasks_server.tasks[0]
    assert (task.queue, task.url) == ("pgp-split2-swap-queue", "https://split2.example/")
    asked = claims_of(task, EstimateRequest, split1.values[SUCCESS])
    assert (asked.adjusted_amount, asked.payout_mode) == (Decimal("1234.5"), "instant")


@pytest.mark.parametrize(
    ("path", "again"),
    [
        ("/", {"timestamp": int(time.time()) - 60}),
        ("/usdt-eth-estimate", {}),
        ("/eth-client-swap", {"timestamp": int(time.time()) - 60}),
        ("/batch-payout", {"timestamp": int(time.time()) - 60}),
    ],
)
def test_a_repeat_is_dropped(split1, tasks_server, path, again):
    make, key = ROUTES[path]
    claims = make()
    first = split1.send(path, claims, key)
    assert split1.send(path, claims.model_copy(update=again), key)[:2] == first[:2]
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 1)


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/", {"payment_id": "5077125052"}),
        ("/usdt-eth-estimate", {"from_amount": "96.59"}),
        ("/eth-client-swap", {"swap_id": "swap-2"}),
        ("/batch-payout", {"batch_id": "batch-2"}),
    ],
)
def test_another_cause_is_another_task(split1, tasks_server, path, other):
    make, key = ROUTES[path]
    split1.send(path, make(), key)
    split1.send(path, make(**other), key)
    assert len({task.name for task in tasks_server.tasks}) == 2


@pytest.mark.parametrize("path", ROUTES)
def test_401_for_a_token_that_is_not_for_it(split1, tasks_server, new_key, path):
    make, key = ROUTES[path]
    now = int(time.time())
    assert split1.send(path, make(timestamp=now - 25 * 3600), key)[0] == 401
    assert split1.send(path, make(timestamp=now + 3600), key)[0] == 401
    split1.values["ANOTHER"] = new_key()
    assert split1.send(path, make(), "ANOTHER")[0] == 401
    for another in ROUTES.keys() - {path}:
        kind, its_key = ROUTES[another]
        assert split1.send(path, kind(), its_key)[0] == 401
    assert split1.post(path, {"token": "x.y"})[0] == 401
    assert tasks_server.tasks == []


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"token": 7}'])
def test_400_without_json_or_token(split1, path, body):
    assert split1.post(path, body)[0] == 400


@pytest.mark.parametrize("path", ROUTES)
def test_503_when_cloud_tasks_is_unavailable(split1, tasks_server, path):
    make, key = ROUTES[path]
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    status, _, headers = split1.send(path, make(), key)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert split1.send(path, make(), key)[0] == 200


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "TP_FLAT_FEE"),
        ("/", "PGP_SPLIT2_SWAP_QUEUE"),
        ("/usdt-eth-estimate", "PGP_HOSTPAY1_URL"),
        ("/usdt-eth-estimate", "PGP_HOSTPAY_TRIGGER_QUEUE"),
        ("/eth-client-swap", "PGP_SPLIT2_RESPONSE_QUEUE"),
        ("/batch-payout", "PGP_SPLIT2_URL"),
    ],
)
def test_503_when_a_secret_is_unavailable(split1, tasks_server, path, name):
    make, key = ROUTES[path]
    split1.source.failing.add(name)
    status, content, headers = split1.send(path, make(), key)
    assert (status, content["status"], headers["Retry-After"]) == (503, "error", "5")
    assert tasks_server.tasks == []


def test_a_payment_whose_queue_is_replaced_between_two_deliveries_is_one_payout(
    split1, start, tasks_server, changenow_server
):
    """The new queue knows no names: SPLIT2 is asked twice, and the payout is the same."""
    split2 = start(Service.SPLIT2, changenow_base_url=changenow_server.url)

    def deliver(service, path, task):
        headers = {"X-CloudTasks-TaskName": task.name.rpartition("/")[2]}
        assert service.post(path, task.body, headers)[0] == 200

    for queue in ("one", "two"):
        split1.source.add("PGP_SPLIT2_SWAP_QUEUE", queue)
        split2.source.add("PGP_SPLIT1_RESPONSE_QUEUE", queue)
        sent = payment(timestamp=int(time.time()) - (queue == "one"))
        assert split1.send("/", sent, SUCCESS)[0] == 200
        deliver(split2, "/", next(t for t in reversed(tasks_server.tasks) if t.queue == queue))
        answered = [t for t in tasks_server.tasks if t.url.endswith("/usdt-eth-estimate")]
        deliver(split1, "/usdt-eth-estimate", answered[-1])
    payouts = [t for t in tasks_server.tasks if t.url == "https://hostpay1.example/"]
    assert (len(answered), len(payouts), tasks_server.dropped) == (2, 1, 1)
