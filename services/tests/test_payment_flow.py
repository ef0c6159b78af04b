"""The money flow between the real applications: a payment in, one transaction out, and nothing twice.

Each service is a process of its own on one local Secret Manager; Cloud Tasks, ChangeNow and Ethereum are the
local stand-ins.
"""

import json
import time
from collections import Counter
from decimal import Decimal
from itertools import count

import grpc
import pytest
from pydantic import SecretStr

from pgp_services.lookalikes.http import Fault
from pgp_services.names import LEDGER_QUEUE, Service
from pgp_services.stage.local_fleet import LocalFleet
from pgp_services.tokens import (
    AccumulationRequest,
    BatchDue,
    Release,
    SplitRequest,
    SwapDue,
    SwapExecuted,
    sign,
)

SERVICES = (
    Service.ORCHESTRATOR,
    Service.SPLIT1,
    Service.SPLIT2,
    Service.ACCUMULATOR,
    Service.BATCHPROCESSOR,
    Service.MICROBATCHPROCESSOR,
    Service.HOSTPAY1,
    Service.HOSTPAY2,
    Service.HOSTPAY3,
)
SUCCESS = "SUCCESS_URL_SIGNING_KEY"
IDENTITY = {
    "user_id": 12345,
    "closed_channel_id": -1001234567890,
    "wallet_address": "4WALLETCANARY",
    "payout_currency": "xmr",
    "payout_network": "xmr",
    "swap_currency": "eth",
    "payout_mode": "instant",
    "actual_eth_amount": "0.05",
}
#: 0.05 ETH without the fee of 3 %, in wei.
PAID = 48_500_000_000_000_000

#: The tasks of a payment from SPLIT1's estimate on: the way of the money.
WAY = [
    ("split2-swap", "split2", "/"),
    ("split1-response", "split1", "/usdt-eth-estimate"),
    ("hostpay-trigger", "hostpay1", "/"),
    ("hostpay2", "hostpay2", "/"),
    ("hostpay1-response", "hostpay1", "/status-verified"),
    ("hostpay3", "hostpay3", "/"),
    (LEDGER_QUEUE, "hostpay3", "/"),
    ("hostpay3", "hostpay3", "/"),
    ("hostpay1-response", "hostpay1", "/payment-completed"),
]

_numbers = count(1)


def stop_of(task):
    host, _, path = task.url.removeprefix("https://").partition("/")
    return task.queue.removesuffix("-blue"), host.partition("-")[0], f"/{path}"


class Flow:
    """What has happened in a fleet since the test began."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.number = f"test-{next(_numbers)}"
        self.known = (
            len(fleet.tasks.tasks),
            set(fleet.changenow.exchanges),
            set(fleet.ethereum.chain.mined),
            len(fleet.tasks.deliveries),
        )

    def payment(self, **changes):
        return {**IDENTITY, "payment_id": self.number, "amount": "0.05", **changes}

    def batch(self, **changes):
        return {**IDENTITY, "batch_id": self.number, "amount": "0.0485", **changes}

    def told(self):
        """What NP_IPN says of a payment."""
        return {"payment": self.payment(), "received_at": int(time.time())}

    def signed(self, kind, claims):
        said = kind.model_validate({**claims, "timestamp": int(time.time())})
        return sign(said, SecretStr(self.fleet.values.of(SUCCESS)))

    def send(self, service, path, content):
        return self.fleet.call(service, path, json.dumps(content).encode())

    def settle(self):
        """Until nothing is left to be done: what waits for a time need not wait; exchanges that were paid for end."""
        while True:
            self.fleet.tasks.wait_until_idle(120)
            self.fleet.ethereum.finalize()
            for exchange in self.exchanges():
                if self.fleet.ethereum.balance(exchange["payinAddress"]):
                    self.fleet.changenow.move(exchange["id"], self.after(exchange["status"]))
            if not self.fleet.tasks.run_delayed_now():
                return

    @staticmethod
    def after(status):
        """Not at once: HOSTPAY1 has to look a second time."""
        return {"waiting": "confirming", "confirming": "finished"}.get(status, status)

    def tasks(self):
        return self.fleet.tasks.tasks[self.known[0] :]

    def way(self):
        """The queue, the host and the path of each task; how often HOSTPAY1 looks again is left out."""
        stops = [stop_of(task) for task in self.tasks()]
        return [stop for stop in stops if stop[2] != "/retry-callback-check"]

    def exchanges(self):
        every = self.fleet.changenow.exchanges
        return [exchange for number, exchange in every.items() if number not in self.known[1]]

    def mined(self):
        every = self.fleet.ethereum.chain.mined
        return [done.transaction for number, done in every.items() if number not in self.known[2]]

    def finished(self):
        return [exchange for exchange in self.exchanges() if exchange["status"] == "finished"]

    def statuses(self):
        return Counter(
            delivery.status for delivery in self.fleet.tasks.deliveries[self.known[3] :]
        )

    def assert_paid_once(self, wei=PAID):
        """One transaction of the sum, to the one exchange that is finished."""
        [transaction], [exchange] = self.mined(), self.finished()
        assert transaction.value == wei
        assert transaction.to.lower() == exchange["payinAddress"]
        assert transaction.sender == self.fleet.wallet()
        assert self.fleet.ethereum.balance(exchange["payinAddress"]) == wei


@pytest.fixture(scope="module")
def fleet():
    with LocalFleet(SERVICES) as fleet:
        yield fleet


@pytest.fixture
def flow(fleet):
    return Flow(fleet)


def test_a_payment_becomes_one_transaction_and_its_exchange_finishes(flow):
    token = flow.signed(SplitRequest, flow.payment())
    assert flow.send(Service.SPLIT1, "/", {"token": token}).status == 200
    flow.settle()
    assert flow.way() == WAY
    assert set(flow.statuses()) == {200}
    [exchange] = flow.exchanges()
    assert exchange["payoutAddress"] == "4WALLETCANARY"
    assert Decimal(str(exchange["fromAmount"])) == Decimal("0.0485")
    flow.assert_paid_once()


def test_a_payment_that_came_in_goes_all_the_way(flow):
    told = flow.told()
    reply = flow.send(Service.ORCHESTRATOR, "/process-validated-payment", told)
    assert reply.status == 200
    assert len(reply.content()["task_ids"]) == 2
    flow.settle()
    assert flow.way() == [
        ("invite", "invite", "/"),
        ("split1-estimate", "split1", "/"),
        *WAY,
    ]
    flow.assert_paid_once()


def test_nothing_is_done_twice_when_every_task_is_delivered_twice(flow):
    for _ in range(3 * len(WAY)):
        flow.fleet.tasks.deliver_twice()
    told = flow.told()
    for _ in range(2):
        assert flow.send(Service.ORCHESTRATOR, "/process-validated-payment", told).is_ok
    flow.settle()
    assert flow.way()[2:] == WAY
    assert flow.statuses() == {200: 2 * len(flow.tasks())}
    flow.assert_paid_once()


def test_nothing_is_done_twice_when_services_fail_now_and_then(flow):
    """Every peer breaks down again and again; what was begun is gone on with, and repeated deliveries besides."""
    busy = Fault(429, headers={"Retry-After": "60"})
    for _ in range(len(WAY)):
        flow.fleet.tasks.deliver_twice()
    flow.fleet.changenow.fail(busy, busy)
    flow.fleet.ethereum.fail(*[busy] * 3)
    flow.fleet.ethereum.lose_answer()
    token = flow.signed(SplitRequest, flow.payment())
    assert flow.send(Service.SPLIT1, "/", {"token": token}).is_ok
    flow.fleet.tasks.fail(*[grpc.StatusCode.PERMISSION_DENIED] * 4)
    flow.settle()
    assert flow.way() == WAY
    assert flow.statuses()[503] >= 5
    assert set(flow.statuses()) == {200, 503}
    flow.assert_paid_once()


def test_two_payments_at_once_are_two_transactions(flow):
    other = Flow(flow.fleet)
    for each in (flow, other):
        token = each.signed(SplitRequest, each.payment())
        assert each.send(Service.SPLIT1, "/", {"token": token}).is_ok
    flow.settle()
    paid = {transaction.to.lower(): transaction.value for transaction in flow.mined()}
    finished = {exchange["payinAddress"] for exchange in flow.finished()}
    assert paid == dict.fromkeys(finished, PAID)
    assert len(flow.mined()) == len(finished) == 2


def test_a_payment_for_a_threshold_is_valued_and_not_paid(flow):
    token = flow.signed(AccumulationRequest, flow.payment(payout_mode="threshold"))
    assert flow.send(Service.ACCUMULATOR, "/", {"token": token}).is_ok
    flow.settle()
    assert flow.way() == [
        ("split2-swap", "split2", "/"),
        ("split1-response", "split1", "/usdt-eth-estimate"),
        ("batchprocessor", "batchprocessor", "/process"),
    ]
    assert (flow.exchanges(), flow.mined()) == ([], [])


def test_what_is_due_is_paid_in_a_batch(flow):
    due = [flow.signed(BatchDue, flow.batch(payout_mode="threshold"))]
    assert flow.send(Service.BATCHPROCESSOR, "/process", {"due": due}).is_ok
    flow.settle()
    assert flow.way() == [("split1-estimate", "split1", "/batch-payout"), *WAY]
    flow.assert_paid_once()


def test_what_is_released_is_paid_without_an_estimate(flow):
    release = flow.signed(Release, flow.batch(payout_mode="threshold"))
    assert flow.send(Service.ACCUMULATOR, "/", {"release": release}).is_ok
    flow.settle()
    assert flow.way() == WAY[2:]
    flow.assert_paid_once()


def test_what_accumulated_is_swapped_for_usdt(flow):
    swap = {"batch_id": flow.number, "amount": "0.0485", "wallet_address": flow.fleet.wallet()}
    token = flow.signed(SwapDue, swap)
    assert flow.send(Service.MICROBATCHPROCESSOR, "/check-threshold", {"token": token}).is_ok
    flow.settle()
    assert flow.way() == WAY[2:]
    flow.assert_paid_once()
    [exchange] = flow.exchanges()
    assert (exchange["toCurrency"], exchange["payoutAddress"]) == ("usdt", flow.fleet.wallet())
    claims = {"batch_id": flow.number, "exchange_id": exchange["id"]}
    token = flow.signed(SwapExecuted, claims)
    reply = flow.send(Service.MICROBATCHPROCESSOR, "/swap-executed", {"token": token})
    assert reply.content()["message"] == "The swap is finished"
    flow.settle()
    assert stop_of(flow.tasks()[-1]) == ("hostpay-trigger", "hostpay1", "/retry-callback-check")
    flow.assert_paid_once()


def test_no_service_logged_a_key_a_token_or_a_wallet(flow):
    token = flow.signed(SplitRequest, flow.payment())
    assert flow.send(Service.SPLIT1, "/", {"token": token}).is_ok
    flow.settle()
    tokens = [json.loads(task.body).get("token") for task in flow.tasks()]
    logs = "".join(flow.fleet.log_of(service) for service in SERVICES)
    keys = [SUCCESS, "TPS_HOSTPAY_SIGNING_KEY", "HOST_WALLET_PRIVATE_KEY", "CHANGENOW_API_KEY"]
    canaries = [*tokens, token, *map(flow.fleet.values.of, keys), "WALLETCANARY"]
    canaries.append(flow.fleet.values.of("ETHEREUM_RPC_URL_API"))
    assert [where for where, canary in enumerate(canaries) if canary and canary in logs] == []
