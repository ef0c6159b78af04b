"""The Cloud Tasks client, from threads and from coroutines, against a local look-alike."""

import asyncio
import json
import time
import traceback
from collections import Counter

import google.auth
import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import tasks_v2

from pgp_config import DeclarationError
from pgp_services.clients.cloud_tasks import POLICY, NewTask, Target, TasksClient, TasksUnavailable
from pgp_services.clients.retries import RetryPolicy
from pgp_services.lookalikes import CloudTasksServer

ACCOUNT = "split2@pgp-live.iam.gserviceaccount.com"
HOME = "projects/pgp-live/locations/us-central1"
TASK = NewTask("0af1-split2", "/usdt-eth-estimate", {"token": "t", "n": 1})


def create(client, target, task=TASK):
    try:
        return client.create(target, task)
    finally:
        client.close()


def create_async(client, target, task=TASK):
    async def go():
        try:
            return await client.create_async(target, task)
        finally:
            await client.aclose()

    return asyncio.run(go())


@pytest.fixture(params=[create, create_async], ids=["sync", "async"])
def make(request):
    return request.param


@pytest.fixture
def client_with(given, clock):
    def build(**options):
        policy = RetryPolicy(budget=4.0, attempt=1.5, clock=clock, chance=lambda: 0.5)
        return TasksClient(
            given("pgp-live"),
            given("us-central1"),
            **{"service_account": ACCOUNT, "policy": policy, **options},
        )

    return build


@pytest.fixture
def client(client_with, tasks_server):
    return client_with(endpoint=tasks_server.endpoint)


@pytest.fixture
def split1(given):
    return Target(given("pgp-split1-responses"), given("https://split1.example"))


def test_a_task_is_what_google_delivers(make, client, split1, tasks_server):
    assert make(client, split1) == "0af1-split2"
    task = tasks_server.tasks[0]
    assert task.queue == "pgp-split1-responses"
    assert task.name == f"{HOME}/queues/pgp-split1-responses/tasks/0af1-split2"
    assert task.url == "https://split1.example/usdt-eth-estimate"
    assert task.headers == {"Content-Type": "application/json"}
    assert json.loads(task.body) == {"token": "t", "n": 1}
    assert task.service_account == ACCOUNT
    assert task.audience == "https://split1.example"


def test_a_delayed_task_has_its_time_and_others_have_none(make, client, split1, tasks_server):
    before = time.time()
    make(client, split1, NewTask("later", "/p", {}, delay=90.5))
    make(client, split1, TASK)
    later, at_once = tasks_server.tasks
    assert before + 90.5 <= later.schedule_time + 1e-5
    assert later.schedule_time <= time.time() + 90.5
    assert at_once.schedule_time is None


@pytest.mark.parametrize("delay", [-1, 30 * 86400 + 1, float("nan"), float("inf")])
def test_a_delay_out_of_bounds_is_a_fault_of_the_program(delay):
    with pytest.raises(ValueError, match="30 days"):
        NewTask("id", "/p", {}, delay)


def test_a_repeat_is_dropped_and_is_a_success(make, client, split1, tasks_server):
    make(client, split1)
    assert make(client, split1) == "0af1-split2"
    assert len(tasks_server.tasks) == 1
    assert tasks_server.dropped == 1


def test_queue_and_url_are_read_at_each_call(make, client, split1, tasks_server):
    make(client, split1)
    split1.queue.value = "pgp-other-queue"
    split1.base_url.value = "https://other.example"
    make(client, split1)
    assert tasks_server.count() == {
        ("pgp-split1-responses", "https://split1.example/usdt-eth-estimate"): 1,
        ("pgp-other-queue", "https://other.example/usdt-eth-estimate"): 1,
    }


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    ],
)
def test_what_may_pass_is_tried_again(make, client, split1, tasks_server, code):
    tasks_server.fail(code, code)
    make(client, split1)
    assert len(tasks_server.tasks) == 1


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
    ],
)
def test_what_does_not_pass_is_not_tried_again(make, client, split1, tasks_server, code):
    tasks_server.fail(code)
    with pytest.raises(TasksUnavailable, match=code.name):
        make(client, split1)
    assert tasks_server.tasks == []


def test_an_outage_is_unavailable_within_the_budget(make, client_with, split1, clock, unused_port):
    class Passing:
        """Three seconds at each look: the second attempt is past the budget."""

        def __call__(self):
            clock.now += 3
            return clock.now

    client = client_with(
        endpoint=f"127.0.0.1:{unused_port}",
        policy=RetryPolicy(budget=4.0, attempt=1.5, clock=Passing()),
    )
    with pytest.raises(TasksUnavailable) as caught:
        make(client, split1)
    assert caught.value.__context__ is None
    assert caught.value.status == 503


def test_a_server_that_never_answers_is_unavailable(make, client_with, split1, unused_port, clock):
    def passes():
        clock.now += 1
        return clock.now

    policy = RetryPolicy(budget=4.0, attempt=0.2, clock=passes)
    with CloudTasksServer() as server:
        server.hang()
        client = client_with(endpoint=server.endpoint, policy=policy)
        with pytest.raises(TasksUnavailable, match="DEADLINE_EXCEEDED"):
            make(client, split1)


def test_the_deadline_is_ours_and_not_the_librarys():
    assert POLICY.budget == 4.0
    assert POLICY.attempt < POLICY.budget


def test_no_failure_quotes_the_request(make, client, split1, tasks_server):
    tasks_server.fail(grpc.StatusCode.INVALID_ARGUMENT)
    task = NewTask("id", "/p", {"token": "CANARY-TOKEN"})
    with pytest.raises(TasksUnavailable) as caught:
        make(client, split1, task)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "CANARY" not in "".join(trace.format())
    assert "as told" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint", ["cloudtasks.example:443", "10.0.0.1:80", "127.0.0.1", "127.0.0.1:", ""]
)
def test_a_plain_endpoint_is_on_this_machine(client_with, endpoint):
    with pytest.raises(DeclarationError, match="port of this machine"):
        client_with(endpoint=endpoint)


def test_a_client_says_whom_it_calls(client_with, client, tasks_server):
    assert repr(client) == f"<TasksClient of {tasks_server.endpoint}>"
    assert repr(client_with()) == "<TasksClient of Google>"


def test_without_credentials_it_is_unavailable(make, client_with, split1, monkeypatch):
    def no_credentials(*_, **__):
        raise DefaultCredentialsError("CANARY: no credentials at /a/path")

    monkeypatch.setattr(google.auth, "default", no_credentials)
    with pytest.raises(TasksUnavailable, match="DefaultCredentialsError") as caught:
        make(client_with(), split1)
    assert "CANARY" not in str(caught.value)


async def test_credentials_are_not_looked_for_in_the_loops_thread(client_with, monkeypatch):
    def found(*_, **__):
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return AnonymousCredentials(), None

    monkeypatch.setattr(google.auth, "default", found)
    client = client_with()
    assert isinstance(await client._async_clients(), tasks_v2.CloudTasksAsyncClient)
    await client.aclose()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_process_connects_anew(client, split1, in_child):
    client.create(split1, TASK)
    client._clients._make = lambda: (
        "a channel of its own"
    )  # gRPC itself is left alone in the child
    assert in_child(client._clients) == "a channel of its own"
    assert isinstance(client._clients(), tasks_v2.CloudTasksClient)
    client.close()


async def test_many_at_once_from_one_loop(client, split1, tasks_server):
    tasks = [NewTask(f"id-{number % 10}", "/p", {}) for number in range(50)]
    await asyncio.gather(*(client.create_async(split1, task) for task in tasks))
    await client.aclose()
    assert Counter(tasks_server.count().values()) == {10: 1}
    assert tasks_server.dropped == 40
