"""PGP_HOSTPAY2_v1: what ChangeNow says of an exchange goes to HOSTPAY1."""

import time
from decimal import Decimal

import grpc
import pytest

from pgp_services.lookalikes.http import Fault
from pgp_services.names import Service
from pgp_services.tokens import OpenExchange, PaymentOrder, StatusReport, StatusRequest

SUCCESS = "SUCCESS_URL_SIGNING_KEY"


def request(kind=StatusRequest, **changes):
    return kind.model_validate(
        {
            "payout_id": "0a" * 32,
            "pay_by": int(time.time()) + 3600,
            "exchange_id": "abc123",
            "payin_address": "0x" + "ab" * 20,
            "swap_currency": "eth",
            "amount": "0.0485",
            "timestamp": int(time.time()),
            **changes,
        }
    )


@pytest.fixture
def changenow(changenow_server):
    changenow_server.exchanges["abc123"] = {
        "id": "abc123",
        "status": "waiting",
        **dict.fromkeys(("payinHash", "payoutHash", "amountFrom", "amountTo")),
    }
    return changenow_server


@pytest.fixture
def hostpay2(start, changenow):
    return start(Service.HOSTPAY2, changenow_base_url=changenow.url)


@pytest.mark.parametrize("word", ["waiting", "exchanging", "finished", "failed"])
def test_what_changenow_says_goes_to_hostpay1(hostpay2, changenow, tasks_server, claims_of, word):
    changenow.exchanges["abc123"]["status"] = word
    asked = request()
    status, content, _ = hostpay2.send("/", asked, SUCCESS)
    task = tasks_server.tasks[0]
    assert (status, content["task_ids"]) == (200, [task.name.rpartition("/")[2]])
    assert (task.queue, task.url) == (
        "pgp-hostpay1-response-queue",
        "https://hostpay1.example/status-verified",
    )
    report = claims_of(task, StatusReport, hostpay2.values[SUCCESS])
    assert report.status == word
    assert report.amount == Decimal("0.0485")
    shared = set(OpenExchange.model_fields)
    assert report.model_dump(include=shared) == asked.model_dump(include=shared)


def test_a_repeat_is_dropped_whatever_changenow_says_then(hostpay2, changenow, tasks_server):
    changenow.moves_on = True
    hostpay2.send("/", request(), SUCCESS)
    assert hostpay2.send("/", request(), SUCCESS)[0] == 200
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 1)
    hostpay2.send("/", request(payout_id="0b" * 32), SUCCESS)
    assert len(tasks_server.tasks) == 2


def test_401_for_a_token_that_is_not_for_it(hostpay2, changenow, tasks_server, new_key):
    now = int(time.time())
    hostpay2.values["ANOTHER"] = new_key()
    for timestamp in (now - 25 * 3600, now + 3600):
        assert hostpay2.send("/", request(timestamp=timestamp), SUCCESS)[0] == 401
    assert hostpay2.send("/", request(), "ANOTHER")[0] == 401
    assert hostpay2.send("/", request(PaymentOrder, round=0), SUCCESS)[0] == 401
    assert (tasks_server.tasks, changenow.seen) == ([], [])


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"token": 7}'])
def test_400_without_json_or_token(hostpay2, body):
    assert hostpay2.post("/", body)[0] == 400


def test_502_when_changenow_refuses(hostpay2, tasks_server):
    assert hostpay2.send("/", request(exchange_id="unknown"), SUCCESS)[0] == 502
    assert tasks_server.tasks == []


def test_503_when_changenow_is_unavailable(hostpay2, changenow):
    changenow.fail(Fault(429, headers={"Retry-After": "60"}))
    status, _, headers = hostpay2.send("/", request(), SUCCESS)
    assert (status, headers["Retry-After"]) == (503, "60")


def test_503_when_cloud_tasks_is_unavailable(hostpay2, tasks_server):
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    assert hostpay2.send("/", request(), SUCCESS)[0] == 503


@pytest.mark.parametrize(
    "name", ["CHANGENOW_API_KEY", "PGP_HOSTPAY1_URL", "PGP_HOSTPAY1_RESPONSE_QUEUE"]
)
def test_503_when_a_secret_is_unavailable(hostpay2, tasks_server, name):
    hostpay2.source.failing.add(name)
    status, _, headers = hostpay2.send("/", request(), SUCCESS)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert tasks_server.tasks == []
