"""PGP_BATCHPROCESSOR_v1: what is due goes to SPLIT1, signed with the other key."""

import time
from decimal import Decimal

import grpc
import pytest
from pydantic import SecretStr

from pgp_services.batchprocessor.handler import MOST
from pgp_services.names import Service
from pgp_services.tokens import PAY_WITHIN, BatchDue, BatchPayout, Release, sign

SUCCESS, TPS = "SUCCESS_URL_SIGNING_KEY", "TPS_HOSTPAY_SIGNING_KEY"


def due(kind=BatchDue, **changes):
    return kind.model_validate(
        {
            "user_id": 12345,
            "closed_channel_id": -1001234567890,
            "wallet_address": "0xWALLETCANARY",
            "payout_currency": "xmr",
            "payout_network": "xmr",
            "swap_currency": "usdt",
            "payout_mode": "threshold",
            "actual_eth_amount": "0.5",
            "batch_id": "batch-1",
            "amount": "1234.5",
            "timestamp": int(time.time()),
            **changes,
        }
    )


@pytest.fixture
def processor(start):
    service = start(Service.BATCHPROCESSOR)

    def process(*batches, key=SUCCESS):
        tokens = [sign(batch, SecretStr(service.values[key])) for batch in batches]
        return service.post("/process", {"due": tokens})

    service.process = process
    return service


def test_what_is_due_goes_to_split1(processor, tasks_server, claims_of):
    status, content, _ = processor.process(due(), due(batch_id="batch-2", amount="0.1"))
    assert status == 200
    assert [task.name.rpartition("/")[2] for task in tasks_server.tasks] == content["task_ids"]
    first, second = tasks_server.tasks
    assert (first.queue, first.url) == (
        "pgp-split1-estimate-queue",
        "https://split1.example/batch-payout",
    )
    said = claims_of(first, BatchPayout, processor.values[TPS])
    assert said.model_dump(exclude={"timestamp"}) == due().model_dump(exclude={"timestamp"})
    assert claims_of(second, BatchPayout, processor.values[TPS]).amount == Decimal("0.1")


def test_a_batch_goes_on_with_the_time_of_its_cause(processor, tasks_server, claims_of):
    batch = due(timestamp=int(time.time()) - PAY_WITHIN + 60)
    processor.process(batch)
    said = claims_of(tasks_server.tasks[0], BatchPayout, processor.values[TPS])
    assert said.timestamp == batch.timestamp


def test_502_where_one_was_due_too_long_ago_before_anything_is_sent(processor, tasks_server):
    late = due(batch_id="batch-2", timestamp=int(time.time()) - PAY_WITHIN - 1)
    assert processor.process(due(), late)[0] == 502
    assert tasks_server.tasks == []


@pytest.mark.parametrize("body", [b"{}", b'{"due": []}'])
def test_nothing_is_due_when_it_is_only_woken(processor, tasks_server, body):
    status, content, _ = processor.post("/process", body)
    assert (status, content["task_ids"], tasks_server.tasks) == (200, [], [])


def test_a_repeat_is_dropped(processor, tasks_server):
    first = processor.process(due())
    assert processor.process(due(timestamp=int(time.time()) - 60))[:2] == first[:2]
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 1)


def test_a_bad_token_stops_all_before_anything_is_sent(processor, tasks_server):
    late = due(batch_id="batch-2", timestamp=int(time.time()) - 25 * 3600)
    assert processor.process(due(), late)[0] == 401
    assert tasks_server.tasks == []


def test_401_for_a_token_that_is_not_for_it(processor, tasks_server, new_key):
    processor.values["ANOTHER"] = new_key()
    assert processor.process(due(timestamp=int(time.time()) + 3600))[0] == 401
    assert processor.process(due(), key="ANOTHER")[0] == 401
    assert processor.process(due(), key=TPS)[0] == 401
    assert processor.process(due(Release))[0] == 401
    assert processor.post("/process", {"due": ["x.y"]})[0] == 401
    assert tasks_server.tasks == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"due": 7}',
        b'{"due": [7]}',
        b'{"due": [""]}',
        b'{"due": null}',
        b'{"token": "x"}',
        b'{"due": [' + b",".join([b'"x"'] * (MOST + 1)) + b"]}",
    ],
)
def test_400_for_a_body_of_another_kind(processor, body):
    assert processor.post("/process", body)[0] == 400


def test_503_when_cloud_tasks_is_unavailable_and_the_rest_follows(processor, tasks_server):
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    batches = (due(), due(batch_id="batch-2"))
    status, _, headers = processor.process(*batches)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert processor.process(*batches)[0] == 200
    assert len(tasks_server.tasks) == 2


@pytest.mark.parametrize("name", ["PGP_SPLIT1_ESTIMATE_QUEUE", "PGP_SPLIT1_URL"])
def test_503_when_a_secret_is_unavailable(processor, name):
    processor.source.failing.add(name)
    status, _, headers = processor.process(due())
    assert (status, headers["Retry-After"]) == (503, "5")
