"""PGP_ORCHESTRATOR_v1: the payer is let in, and the payment goes where it is paid out."""

import time
from decimal import Decimal

import grpc
import pytest
from pydantic import SecretStr

from pgp_config import DeclarationError, DynamicSecret
from pgp_services.names import Service
from pgp_services.orchestrator.container import Orchestrator
from pgp_services.tokens import (
    PAY_WITHIN,
    AccumulationRequest,
    InviteRequest,
    SplitRequest,
    SuccessClaims,
    sign,
)

PATH = "/process-validated-payment"
SUCCESS, SECONDARY = "SUCCESS_URL_SIGNING_KEY", "SUCCESS_URL_SIGNING_KEY_SECONDARY"
PAYMENT = {
    "payment_id": "5077125051",
    "user_id": 12345,
    "closed_channel_id": -1001234567890,
    "wallet_address": "0xWALLETCANARY",
    "payout_currency": "xmr",
    "payout_network": "xmr",
    "swap_currency": "usdt",
    "payout_mode": "instant",
    "actual_eth_amount": "0.05",
    "amount": "100.10",
}


def success(kind=SuccessClaims, **changes):
    return kind.model_validate({**PAYMENT, "timestamp": int(time.time()), **changes})


@pytest.fixture
def orchestrator(start):
    service = start(Service.ORCHESTRATOR)

    def tell(received_at=None, **changes):
        at = int(time.time()) if received_at is None else received_at
        return service.post(PATH, {"payment": {**PAYMENT, **changes}, "received_at": at})

    service.tell = tell
    return service


@pytest.mark.parametrize("told_by", ["NP_IPN", "BOTCOMMAND"])
@pytest.mark.parametrize(
    ("mode", "kind", "queue", "url"),
    [
        ("instant", SplitRequest, "pgp-split1-estimate-queue", "https://split1.example/"),
        (
            "threshold",
            AccumulationRequest,
            "pgp-accumulator-queue",
            "https://accumulator.example/",
        ),
    ],
)
def test_a_payment_lets_its_payer_in_and_is_handed_on(
    orchestrator, tasks_server, claims_of, told_by, mode, kind, queue, url
):
    if told_by == "NP_IPN":
        status, content, _ = orchestrator.tell(payout_mode=mode)
    else:
        status, content, _ = orchestrator.send(PATH, success(payout_mode=mode), SUCCESS)
    invited, paid = tasks_server.tasks
    key = orchestrator.values[SUCCESS]
    assert status == 200
    assert [task.name.rpartition("/")[2] for task in (invited, paid)] == content["task_ids"]
    assert (invited.queue, invited.url) == ("pgp-invite-queue", "https://invite.example/")
    assert claims_of(invited, InviteRequest, key).model_dump(exclude={"timestamp"}) == {
        "payment_id": "5077125051",
        "user_id": 12345,
        "closed_channel_id": -1001234567890,
    }
    assert (paid.queue, paid.url) == (queue, url)
    assert claims_of(paid, kind, key).model_dump(exclude={"timestamp"}) == {
        **PAYMENT,
        "payout_mode": mode,
        "actual_eth_amount": Decimal("0.05"),
        "amount": Decimal("100.10"),
    }


def test_a_payment_that_is_told_of_twice_is_handed_on_once(orchestrator, tasks_server):
    first = orchestrator.tell()
    assert orchestrator.tell()[:2] == first[:2]
    assert orchestrator.send(PATH, success(), SUCCESS)[:2] == first[:2]
    assert (len(tasks_server.tasks), tasks_server.dropped) == (2, 4)


@pytest.mark.parametrize(
    ("mode", "kind"), [("instant", SplitRequest), ("threshold", AccumulationRequest)]
)
def test_a_payment_goes_on_with_the_time_of_its_cause(
    orchestrator, tasks_server, claims_of, mode, kind
):
    begun_at = int(time.time()) - PAY_WITHIN + 60
    orchestrator.tell(begun_at, payout_mode=mode)
    claims = success(payout_mode=mode, payment_id="2", timestamp=begun_at)
    orchestrator.send(PATH, claims, SUCCESS)
    for task in tasks_server.tasks[1::2]:
        assert claims_of(task, kind, orchestrator.values[SUCCESS]).timestamp == begun_at


def test_502_for_a_payment_that_came_in_too_long_ago(orchestrator, tasks_server):
    """A repeat whose names are forgotten would be a second payout."""
    late = int(time.time()) - PAY_WITHIN - 1
    assert orchestrator.tell(late)[0] == 502
    assert orchestrator.send(PATH, success(timestamp=late), SUCCESS)[0] == 502
    assert tasks_server.tasks == []


def test_another_payment_is_another(orchestrator, tasks_server):
    orchestrator.tell()
    orchestrator.tell(payment_id="5077125052")
    assert len({task.name for task in tasks_server.tasks}) == 4


def test_the_secondary_key_verifies_and_never_signs(orchestrator, tasks_server, claims_of):
    """Old fault: a key that was replaced had every token of the day refused."""
    assert orchestrator.send(PATH, success(), SECONDARY)[0] == 200
    for task, kind in zip(tasks_server.tasks, (InviteRequest, SplitRequest), strict=True):
        assert claims_of(task, kind, orchestrator.values[SUCCESS])


def test_the_secondary_key_is_the_newest_of_each_request(orchestrator, new_key):
    orchestrator.values["NEXT"] = new_key()
    assert orchestrator.send(PATH, success(), "NEXT")[0] == 401
    orchestrator.source.add(SECONDARY, orchestrator.values["NEXT"])
    assert orchestrator.send(PATH, success(), "NEXT")[0] == 200
    assert orchestrator.send(PATH, success(), SECONDARY)[0] == 401


def test_401_for_a_token_that_is_not_for_it(orchestrator, tasks_server, new_key):
    now = int(time.time())
    orchestrator.values["ANOTHER"] = new_key()
    for timestamp in (now - 25 * 3600, now + 3600):
        assert orchestrator.send(PATH, success(timestamp=timestamp), SUCCESS)[0] == 401
    assert orchestrator.send(PATH, success(), "ANOTHER")[0] == 401
    assert orchestrator.send(PATH, success(SplitRequest), SUCCESS)[0] == 401
    assert orchestrator.post(PATH, {"token": "x.y"})[0] == 401
    assert tasks_server.tasks == []


def test_a_bad_claim_that_comes_as_a_task_is_not_repeated(orchestrator, tasks_server, caplog):
    """Old fault: whatever a user claimed was delivered again and again, and each time an error."""
    caplog.set_level("INFO")
    headers = {"X-CloudTasks-TaskName": "claim"}
    status, content, _ = orchestrator.post(PATH, {"token": "x.y"}, headers)
    assert (status, content["status"]) == (200, "refused")
    assert sum("The claim is refused" in message for message in caplog.messages) == 1
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
    assert orchestrator.post(PATH, {"payment": {}}, headers)[0] == 400
    assert tasks_server.tasks == []


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"{}", b'{"token": 7}', b'{"token": null}', b'{"payment": []}'],
)
def test_400_without_json_or_a_payment(orchestrator, body):
    assert orchestrator.post(PATH, body)[0] == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 100.1),
        ("amount", "nan"),
        ("amount", "0"),
        ("amount", "-1"),
        ("actual_eth_amount", 1),
        ("payment_id", 5077125051),
        ("payment_id", "a/b"),
        ("user_id", "12345"),
        ("user_id", 2**52 + 1),
        ("closed_channel_id", -(2**52) - 1),
        ("user_id", True),
        ("payout_mode", "later"),
        ("swap_currency", "btc"),
        ("wallet_address", ""),
    ],
)
def test_400_for_a_payment_with_a_wrong_field_which_is_named(
    orchestrator, tasks_server, field, value
):
    status, content, _ = orchestrator.tell(**{field: value})
    assert (status, content["fields"]) == (400, [f"payment.{field}"])
    assert tasks_server.tasks == []


def test_400_for_a_payment_with_a_field_too_many_or_too_few(orchestrator):
    assert orchestrator.tell(more=1)[0] == 400
    now = int(time.time())
    assert orchestrator.post(PATH, {"payment": PAYMENT, "received_at": now, "more": 1})[0] == 400
    assert orchestrator.post(PATH, {"payment": PAYMENT})[0] == 400
    without = {name: value for name, value in PAYMENT.items() if name != "payment_id"}
    assert orchestrator.post(PATH, {"payment": without, "received_at": now})[0] == 400


def test_503_when_cloud_tasks_is_unavailable_and_nothing_is_done_twice(orchestrator, tasks_server):
    tasks_server.fail(grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.PERMISSION_DENIED)
    status, _, headers = orchestrator.tell()
    assert (status, headers["Retry-After"]) == (503, "5")
    assert orchestrator.tell()[0] == 200
    assert len(tasks_server.tasks) == 2


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("PGP_INVITE_URL", "instant"),
        ("PGP_INVITE_QUEUE", "instant"),
        ("PGP_SPLIT1_URL", "instant"),
        ("PGP_SPLIT1_ESTIMATE_QUEUE", "instant"),
        ("PGP_ACCUMULATOR_URL", "threshold"),
        ("PGP_ACCUMULATOR_QUEUE", "threshold"),
    ],
)
def test_503_when_a_secret_is_unavailable(orchestrator, name, mode):
    orchestrator.source.failing.add(name)
    status, _, headers = orchestrator.tell(payout_mode=mode)
    assert (status, headers["Retry-After"]) == (503, "5")


def test_503_for_a_token_while_the_secondary_key_is_unavailable(orchestrator):
    orchestrator.source.failing.add(SECONDARY)
    assert orchestrator.send(PATH, success(), SUCCESS)[0] == 503
    assert orchestrator.tell()[0] == 200


def test_its_key_cannot_be_made_dynamic():
    with pytest.raises(DeclarationError, match=SUCCESS):
        type("Careless", (Orchestrator,), {"success_url_signing_key": DynamicSecret(SUCCESS)})


def test_its_key_stays_as_it_was_until_a_restart(orchestrator, tasks_server, claims_of, new_key):
    before = orchestrator.values[SUCCESS]
    orchestrator.source.add(SUCCESS, new_key())
    orchestrator.source.asked.clear()
    assert orchestrator.send(PATH, success(), SUCCESS)[0] == 200
    assert claims_of(tasks_server.tasks[0], InviteRequest, before)
    assert SUCCESS not in orchestrator.source.asked


def test_tokens_of_the_success_url_are_short_enough_for_a_message(orchestrator):
    token = sign(success(), SecretStr(orchestrator.values[SUCCESS]))
    assert len(token) < 4096
