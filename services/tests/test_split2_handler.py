"""What PGP_SPLIT2_v1 does with a request, without any framework."""

import asyncio
import json
import logging
from decimal import Decimal

import grpc
import pytest
from pydantic import SecretStr

from pgp_config import RejectedVersion, SecretUnavailable
from pgp_config.verdicts import Verdicts
from pgp_services.clients.changenow import ChangeNowClient
from pgp_services.clients.cloud_tasks import Target, TasksClient
from pgp_services.clients.retries import RetryPolicy
from pgp_services.fleet import Operations
from pgp_services.lookalikes.http import Fault
from pgp_services.names import Service
from pgp_services.serving.bodies import MAX_BODY
from pgp_services.serving.responder import Responder, described
from pgp_services.serving.routes import Call
from pgp_services.split2.handler import Split2Handler
from pgp_services.tokens import EstimateAnswer, verify

NOW = 1_700_000_000


@pytest.fixture
def body_with(body_with):
    """As SPLIT1 sent it a minute before the handler's clock."""
    return lambda **changes: body_with(**{"timestamp": NOW, **changes})


def handle(handler, body):
    try:
        return handler.responder.respond(handler.estimate, Call(body))
    finally:
        handler.close()


def handle_async(handler, body):
    async def go():
        try:
            return await handler.responder.respond_async(handler.estimate_async, Call(body))
        finally:
            await handler.aclose()

    return asyncio.run(go())


@pytest.fixture(params=[handle, handle_async], ids=["sync", "async"])
def answer_of(request):
    return request.param


@pytest.fixture
def operations(given):
    return Operations(given("staging"), given("DEBUG"), given(True))


@pytest.fixture
def rotating(rotating_key, key):
    return rotating_key(key)


@pytest.fixture
def split1(given):
    return Target(given("split1-responses"), given("https://split1.example"))


@pytest.fixture
def handler(
    given, clock, operations, rotating, signing_key, split1, changenow_server, tasks_server
):
    policy = RetryPolicy(budget=8.0, attempt=3.0, clock=clock)
    handler = Split2Handler(
        signing_key=given(SecretStr(signing_key)),
        changenow=ChangeNowClient(rotating, changenow_server.url, policy),
        tasks=TasksClient(
            given("pgp-live"),
            given("us-central1"),
            service_account="split2@pgp-live.example",
            endpoint=tasks_server.endpoint,
            policy=policy,
        ),
        split1=split1,
        batchprocessor=Target(given("batches"), given("https://batchprocessor.example")),
        clock=lambda: NOW + 60,
    )
    handler.responder = Responder(Service.SPLIT2, operations)
    return handler


def outcome(answer):
    return answer.status, answer.content["status"], dict(answer.headers)


def test_an_estimate_goes_to_split1(answer_of, handler, tasks_server, body_with):
    answer = answer_of(handler, body_with())
    task = tasks_server.tasks[0]
    assert answer.status == 200
    assert set(answer.content) == {"status", "message", "task_id"}
    assert answer.content["status"] == "success"
    assert task.name.endswith(answer.content["task_id"])
    assert (task.queue, task.url) == (
        "split1-responses",
        "https://split1.example/usdt-eth-estimate",
    )
    assert task.service_account == "split2@pgp-live.example"
    assert list(json.loads(task.body)) == ["token"]


def test_the_answer_to_split1_says_what_changenow_said(
    answer_of, handler, tasks_server, body_with, signing_key
):
    answer_of(handler, body_with(payout_mode="threshold"))
    token = json.loads(tasks_server.tasks[0].body)["token"]
    said = verify(EstimateAnswer, token, SecretStr(signing_key), NOW + 60)
    assert said.model_dump() == {
        "user_id": 12345,
        "closed_channel_id": -1001234567890,
        "wallet_address": "0xWALLETCANARY",
        "payout_currency": "xmr",
        "payout_network": "xmr",
        "swap_currency": "usdt",
        "payout_mode": "threshold",
        "actual_eth_amount": Decimal("0.05"),
        "from_amount": Decimal("100.1"),
        "to_amount_post_fee": Decimal("50.05"),
        "deposit_fee": Decimal("0.001"),
        "withdrawal_fee": Decimal("0.0025"),
        "timestamp": NOW,  # the request's, which is the payment's: the clock says a minute more
    }


@pytest.mark.parametrize("rounding", ["0.0000001", "-0.0000001"])
def test_what_is_to_be_swapped_is_what_was_asked_about_to_the_last_digit(
    answer_of, handler, tasks_server, changenow_server, body_with, signing_key, rounding
):
    """ChangeNow's numbers are JavaScript's: what it says of an amount may be more than that."""
    said = {"fromAmount": float(Decimal(1) + Decimal(rounding)), "toAmount": 1}
    fees = {"depositFee": 0, "withdrawalFee": 0}
    changenow_server.fail(Fault(200, body=json.dumps({**said, **fees}).encode()))
    assert answer_of(handler, body_with(swap_currency="eth", adjusted_amount="1")).status == 200
    token = json.loads(tasks_server.tasks[0].body)["token"]
    answer = verify(EstimateAnswer, token, SecretStr(signing_key), NOW + 60)
    assert answer.from_amount == Decimal(1)


def test_a_cause_has_one_answer_whenever_it_is_asked_about(handler, tasks_server, body_with):
    headers = {"x-cloudtasks-taskname": "cause-estimate"}
    try:
        for body in (body_with(), body_with(timestamp=NOW + 1)):
            assert handler.estimate(Call(body, headers)).status == 200
    finally:
        handler.close()
    assert len({task.name for task in tasks_server.tasks}) == 1


def test_changenow_is_asked_what_the_token_says(answer_of, handler, changenow_server, body_with):
    answer_of(handler, body_with(swap_currency="eth", adjusted_amount="0.5"))
    query = changenow_server.seen[0].query
    assert (query["fromCurrency"], query["fromAmount"]) == ("eth", "0.5")
    assert (query["toCurrency"], query["toNetwork"]) == ("xmr", "xmr")


def test_a_repeat_is_dropped(answer_of, handler, tasks_server, changenow_server, body_with):
    first = answer_of(handler, body_with())
    changenow_server.fail(
        Fault(200, b'{"fromAmount":100.1,"toAmount":9,"depositFee":0,"withdrawalFee":0}')
    )
    assert answer_of(handler, body_with()) == first
    assert len(tasks_server.tasks) == 1


def test_an_estimate_for_a_threshold_has_the_batches_looked_through(
    answer_of, handler, tasks_server, body_with
):
    answer = answer_of(handler, body_with(payout_mode="threshold"))
    told, process = tasks_server.tasks
    assert told.name.endswith(answer.content["task_id"])
    assert (process.queue, process.url, process.body) == (
        "batches",
        "https://batchprocessor.example/process",
        b"{}",
    )
    answer_of(handler, body_with(payout_mode="threshold"))
    assert len(tasks_server.tasks) == 2


def test_another_request_is_another_task(answer_of, handler, tasks_server, body_with):
    bodies = [body_with(), body_with(timestamp=NOW + 1), body_with(adjusted_amount="100.11")]
    names = {answer_of(handler, body).content["task_id"] for body in bodies}
    assert len(names) == len(tasks_server.tasks) == 3


def test_equal_requests_for_two_payments_are_two_estimates(handler, tasks_server, body_with):
    """Two payments of one payer in one second have equal tokens, and come as two tasks."""
    body = body_with()
    for name in ("one", "two", "one"):
        handler.responder.respond(handler.estimate, Call(body, {"x-cloudtasks-taskname": name}))
    handler.close()
    assert (len(tasks_server.tasks), tasks_server.dropped) == (2, 1)


def test_a_tasks_name_tells_nothing_of_the_token(answer_of, handler, body_with):
    name = answer_of(handler, body_with()).content["task_id"]
    assert name.isascii()
    assert len(name) < 500
    assert "CANARY" not in name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[1, 2]",
        b'"text"',
        b"null",
        b"[" * 60000,
        b"9" * 60000,
        b"{}",
        b'{"token": null}',
        b'{"token": ""}',
        b'{"token": 7}',
        b'{"token": ["x"]}',
        b'{"Token": "x"}',
    ],
    ids=range(14),
)
def test_400_without_json_or_without_a_token(answer_of, handler, body):
    assert outcome(answer_of(handler, body)) == (400, "error", {})


def test_413_for_more_than_is_read(answer_of, handler):
    assert answer_of(handler, b"{" + b" " * MAX_BODY + b"}").status == 413


@pytest.mark.parametrize(
    "changes", [{"timestamp": NOW - 25 * 3600}, {"timestamp": NOW + 60 + 301}]
)
def test_401_for_a_token_out_of_its_time(answer_of, handler, changes, changenow_server, body_with):
    assert outcome(answer_of(handler, body_with(**changes))) == (401, "error", {})
    assert changenow_server.seen == []


@pytest.mark.parametrize("token", ["x", "a.b.c", "\\ud800", "x" * 60000])
def test_401_for_a_token_that_is_not_ours(answer_of, handler, token, changenow_server):
    assert answer_of(handler, f'{{"token": "{token}"}}'.encode()).status == 401
    assert changenow_server.seen == []


@pytest.mark.parametrize(
    "fault", [Fault(400), Fault(403), Fault(200, b"<html>"), Fault(200, b"{}")]
)
def test_502_when_changenow_refuses_or_answers_nonsense(
    answer_of, handler, fault, changenow_server, tasks_server, body_with
):
    changenow_server.fail(fault)
    assert outcome(answer_of(handler, body_with())) == (502, "error", {})
    assert tasks_server.tasks == []


def test_503_when_changenow_is_unavailable(answer_of, handler, changenow_server, body_with):
    changenow_server.fail(Fault(429, headers={"Retry-After": "60"}))
    assert outcome(answer_of(handler, body_with())) == (503, "error", {"Retry-After": "60"})


def test_the_time_that_is_handed_on_has_a_bound(answer_of, handler, changenow_server, body_with):
    changenow_server.fail(Fault(503, headers={"Retry-After": "99999999"}))
    assert answer_of(handler, body_with()).headers == {"Retry-After": "300"}


def test_503_when_cloud_tasks_is_unavailable(answer_of, handler, tasks_server, body_with):
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    assert outcome(answer_of(handler, body_with())) == (503, "error", {"Retry-After": "5"})


class Failing:
    name = "FAILING"

    def __init__(self, error):
        self.error = error
        self.verdicts = Verdicts()

    def __call__(self):
        raise self.error

    async def async_(self):
        raise self.error

    def refresh(self):
        raise self.error

    async def arefresh(self):
        raise self.error

    versioned, versioned_async = __call__, async_


@pytest.mark.parametrize("error", [SecretUnavailable("down"), RejectedVersion("bad")])
@pytest.mark.parametrize("place", ["signing key", "api key", "queue", "settings"])
def test_503_when_a_secret_is_unavailable(
    answer_of, handler, place, error, monkeypatch, caplog, body_with, signing_key
):
    failing = Failing(error)
    if place == "signing key":
        monkeypatch.setattr(handler, "_signing_key", failing)
    elif place == "api key":
        monkeypatch.setattr(handler._changenow, "_key", failing)
    elif place == "queue":
        monkeypatch.setattr(handler, "_split1", Target(failing, failing))
    else:
        handler.responder = Responder(Service.SPLIT2, Operations(failing, failing, failing))
    assert outcome(answer_of(handler, body_with())) == (503, "error", {"Retry-After": "5"})
    assert type(error).__name__ in caplog.text


def test_500_for_a_fault_of_ours_without_its_text(
    answer_of, handler, monkeypatch, caplog, body_with
):
    def fail(*_):
        raise ZeroDivisionError("CANARY")

    monkeypatch.setattr(handler, "_clock", fail)
    answer = answer_of(handler, body_with())
    assert outcome(answer) == (500, "error", {})
    assert "unexpected ZeroDivisionError at " in caplog.text
    assert "test_split2_handler.py" in caplog.text
    assert "CANARY" not in caplog.text + str(answer)


def test_a_revoked_key_is_replaced_within_the_request(
    answer_of, handler, rotating, new_key, changenow_server, body_with
):
    rotating.after_refresh = new_key()
    changenow_server.rotate(rotating.after_refresh)
    assert answer_of(handler, body_with()).status == 200
    assert [seen.version for seen in changenow_server.seen] == [1, 2]


def test_the_log_follows_the_settings(answer_of, handler, operations, caplog, body_with):
    operations.log_level.value = "INFO"
    answer_of(handler, body_with())
    assert "PGP_SPLIT2_v1 (staging) answered 200: Estimate sent to SPLIT1" in caplog.messages
    operations.alerting.value = False
    operations.log_level.value = "ERROR"
    caplog.clear()
    answer_of(handler, b"")
    assert caplog.messages == []


@pytest.mark.parametrize(
    "failure",
    [
        None,
        Fault(400, b"ANSWERCANARY"),
        Fault(503, b"ANSWERCANARY", {"Retry-After": "99"}),
        Fault(200, b"ANSWERCANARY"),
    ],
    ids=["none", "400", "503", "nonsense"],
)
def test_nothing_of_token_key_or_answer_is_logged_or_told(
    answer_of, handler, failure, key, changenow_server, caplog, body_with, signing_key
):
    caplog.set_level(logging.DEBUG)
    if failure is not None:
        changenow_server.fail(failure)
    body = body_with()
    answer = answer_of(handler, body)
    ours = [record for record in caplog.records if record.name.startswith("pgp")]
    assert ours
    told = str(answer) + caplog.text
    token = json.loads(body)["token"]
    for canary in (key, token, signing_key, "WALLETCANARY", "ANSWERCANARY"):
        assert canary not in told


def test_a_failure_of_ours_can_be_described_without_a_traceback():
    assert described(ValueError("CANARY")) == "unexpected ValueError"
