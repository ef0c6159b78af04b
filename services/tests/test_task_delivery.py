"""The stand-in for Cloud Tasks delivers as Google does, and keeps queues by Google's rules."""

import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf import field_mask_pb2

from pgp_services.lookalikes import CloudTasksServer
from pgp_services.lookalikes.cloud_tasks import rules
from pgp_services.lookalikes.cloud_tasks.delivery import identity_of
from pgp_services.lookalikes.http import Fault, LocalServer
from pgp_services.lookalikes.routes import Routes

HOME = "projects/pgp-test/locations/us-central1"
QUEUE = f"{HOME}/queues/split1"
ACCOUNT = "split2@pgp-test.iam.gserviceaccount.com"


class Worker(LocalServer):
    """A service that takes tasks: 200, unless told otherwise."""

    def __init__(self):
        super().__init__("no key")
        self.came = []
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Semaphore(0)

    def parted(self, request):
        return "no key", request.path

    def answer_to(self, request):
        with self._lock:
            self.came.append(request)
        self.arrived.release()
        self.gate.wait(30)
        return super().answer_to(request)

    def judge(self, request, path, *, accepted):
        return Fault(200)


class Wall:
    """Seconds since 1970, which pass when told."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def worker():
    with Worker() as worker:
        yield worker
        worker.gate.set()


@pytest.fixture
def routes(worker):
    return Routes({"split1.example": worker.url})


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def start(routes):
    """Starts a server that delivers, and a client of Google's for it."""
    ended = []

    def make(**options):
        server = CloudTasksServer(**{"routes": routes, "longest_pause": 0.01, **options})
        server.__enter__()
        channel = grpc.insecure_channel(server.endpoint)
        client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        ended.append((server, channel))
        return server, client

    yield make
    for server, channel in ended:
        channel.close()
        server.__exit__()


def task(name="", path="/usdt-eth-estimate", host="split1.example", **changes):
    call = {
        "url": f"https://{host}{path}",
        "headers": {"Content-Type": "application/json", "Host": "ignored", "X-Own": "kept"},
        "body": b'{"n": 1}',
        "oidc_token": {"service_account_email": ACCOUNT, "audience": f"https://{host}"},
    }
    call.update(changes.pop("call", {}))
    return tasks_v2.Task(
        name=f"{QUEUE}/tasks/{name}" if name else "", http_request=call, **changes
    )


def refused(call):
    with pytest.raises(GoogleAPICallError) as caught:
        call()
    return caught.value.grpc_status_code.name, caught.value.message


def statuses(server):
    return [delivery.status for delivery in server.deliveries]


# -- delivery --------------------------------------------------------------------------------


def test_a_task_is_delivered_with_the_documented_headers(start, worker):
    server, client = start()
    client.create_task(parent=QUEUE, task=task("a1"))
    server.wait_until_idle()
    (came,) = worker.came
    assert (came.method, came.path, came.body) == ("POST", "/usdt-eth-estimate", b'{"n": 1}')
    headers = dict(came.headers)
    eta = float(headers.pop("x-cloudtasks-tasketa"))
    assert abs(eta - time.time()) < 60
    claims = identity_of({"Authorization": headers.pop("authorization")})
    assert headers == {
        "host": "split1.example",
        "content-type": "application/json",
        "content-length": "8",
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": "Google-Cloud-Tasks",
        "x-own": "kept",
        "x-cloudtasks-queuename": "split1",
        "x-cloudtasks-taskname": "a1",
        "x-cloudtasks-taskretrycount": "0",
        "x-cloudtasks-taskexecutioncount": "0",
    }
    assert (claims["aud"], claims["email"]) == ("https://split1.example", ACCOUNT)
    assert claims["email_verified"] is True
    assert claims["exp"] - claims["iat"] == 3600
    (delivery,) = server.deliveries
    assert (delivery.status, delivery.is_done, delivery.retry_count) == (200, True, 0)
    assert (delivery.queue, delivery.is_duplicate) == ("split1", False)


def test_a_task_without_an_identity_or_body_is_a_plain_call(start, worker):
    server, client = start()
    call = {"oidc_token": None, "body": b"", "http_method": "GET"}
    client.create_task(parent=QUEUE, task=task(path="?x=1", call=call))
    server.wait_until_idle()
    (came,) = worker.came
    assert (came.method, came.path, came.query) == ("GET", "/", {"x": "1"})
    assert identity_of(came.headers) == {}


def test_an_identity_without_an_audience_is_for_the_url(start, worker):
    server, client = start()
    call = {"oidc_token": {"service_account_email": ACCOUNT}}
    client.create_task(parent=QUEUE, task=task(call=call))
    server.wait_until_idle()
    headers = {"Authorization": worker.came[0].headers["authorization"]}
    assert identity_of(headers)["aud"] == "https://split1.example/usdt-eth-estimate"


def test_what_fails_is_delivered_again_until_it_is_taken(start, worker):
    server, client = start()
    worker.fail(Fault(500), Fault(0), Fault(404))
    client.create_task(parent=QUEUE, task=task("a1"))
    server.wait_until_idle()
    assert statuses(server) == [500, 0, 404, 200]
    assert [d.trouble for d in server.deliveries][1] == "RemoteDisconnected"
    seen = [
        (
            came.headers["x-cloudtasks-taskretrycount"],
            came.headers["x-cloudtasks-taskexecutioncount"],
            came.headers.get("x-cloudtasks-taskpreviousresponse"),
        )
        for came in worker.came
    ]
    assert seen == [("0", "0", None), ("1", "1", "500"), ("2", "1", None), ("3", "2", "404")]
    assert list(client.list_tasks(parent=QUEUE)) == []


def test_a_host_without_a_route_is_tried_again(start, worker, routes):
    server, client = start()
    client.create_task(parent=QUEUE, task=task("a1", host="elsewhere.example"))
    with server._store.changed:
        assert server._store.changed.wait_for(lambda: server.deliveries, 30)
    assert server.deliveries[0].trouble == "no route"
    routes.add("https://elsewhere.example/any", worker.url)
    server.wait_until_idle()
    assert server.deliveries[-1].is_done
    routes.remove("elsewhere.example")
    assert routes.port_of("elsewhere.example") is None
    assert "elsewhere" not in repr(routes)


def test_a_route_ends_at_a_port():
    with pytest.raises(ValueError, match="PORT"):
        Routes({"a.example": "http://127.0.0.1"})


def test_a_port_where_nobody_listens_is_a_failure_like_others(start, routes, unused_port):
    server, client = start()
    routes.add("split1.example", f"http://127.0.0.1:{unused_port}")
    client.create_task(parent=QUEUE, task=task("a1"))
    with server._store.changed:
        assert server._store.changed.wait_for(lambda: server.deliveries, 30)
    assert server.deliveries[0].trouble == "ConnectionRefusedError"


def test_without_routes_nothing_is_delivered(worker):
    with CloudTasksServer() as server:
        channel = grpc.insecure_channel(server.endpoint)
        client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        client.create_task(parent=QUEUE, task=task("a1"))
        channel.close()
    assert (worker.came, server.deliveries) == ([], [])


def test_tasks_that_nobody_delivers_are_on_their_way_for_ever(start):
    server, client = start(routes=None)
    client.create_task(parent=QUEUE, task=task("a1"))
    with pytest.raises(TimeoutError, match=r"\{'split1': 1\}"):
        server.wait_until_idle(0.01)


def test_one_queue_delivers_one_at_a_time_where_it_is_told_so(start, worker):
    server, client = start(max_concurrent={"split1": 1})
    worker.gate.clear()
    for name in ("a1", "b2", "c3"):
        client.create_task(parent=QUEUE, task=task(name))
    other = f"{HOME}/queues/other"
    client.create_task(parent=other, task=task(path="/other"))
    assert worker.arrived.acquire(timeout=30)
    assert worker.arrived.acquire(timeout=30)
    assert {came.path for came in worker.came} == {"/usdt-eth-estimate", "/other"}
    worker.gate.set()
    server.wait_until_idle()
    own = [d for d in server.deliveries if d.queue == "split1"]
    assert [d.task.rpartition("/")[2] for d in own] == ["a1", "b2", "c3"]
    assert all(before.ended <= after.began for before, after in itertools.pairwise(own))


def test_a_task_is_delivered_twice_when_told(start, worker):
    server, client = start()
    server.deliver_twice(lambda task: task.name.endswith("b2"))
    for name in ("a1", "b2"):
        client.create_task(parent=QUEUE, task=task(name))
        server.wait_until_idle()
    seen = [(d.task.rpartition("/")[2], d.is_duplicate) for d in server.deliveries]
    assert seen == [("a1", False), ("b2", False), ("b2", True)]
    server.deliver_twice()
    client.create_task(parent=QUEUE, task=task("c3"))
    server.wait_until_idle()
    assert [d.is_duplicate for d in server.deliveries[3:]] == [False, True]


def test_a_delayed_task_waits_for_its_time(start, worker, wall):
    server, client = start(clock=wall)
    due = datetime.fromtimestamp(wall.now + 60, UTC)
    client.create_task(parent=QUEUE, task=task("later", schedule_time=due))
    client.create_task(parent=QUEUE, task=task("past", schedule_time=due - timedelta(hours=1)))
    server.wait_until_idle()
    assert [came.headers["x-cloudtasks-taskname"] for came in worker.came] == ["past"]
    assert server.tasks[0].schedule_time == wall.now + 60
    assert server.tasks[1].schedule_time is None
    wall.now += 60
    server.look()
    server.wait_until_idle()
    assert worker.came[1].headers["x-cloudtasks-tasketa"] == f"{wall.now:.6f}"


def test_delayed_tasks_run_at_once_when_told(start, worker, wall):
    server, client = start(clock=wall)
    due = datetime.fromtimestamp(wall.now + 60, UTC)
    client.create_task(parent=QUEUE, task=task("later", schedule_time=due))
    assert server.run_delayed_now() == 1
    server.wait_until_idle()
    assert len(worker.came) == 1
    assert server.run_delayed_now() == 0


def test_a_task_is_given_up_after_its_attempts(start, worker):
    server, client = start()
    retries = tasks_v2.RetryConfig(max_attempts=3)
    client.create_queue(parent=HOME, queue=tasks_v2.Queue(name=QUEUE, retry_config=retries))
    worker.fail(*[Fault(500)] * 5)
    client.create_task(parent=QUEUE, task=task("a1"))
    server.wait_until_idle()
    assert statuses(server) == [500] * 3
    assert refused(lambda: client.create_task(parent=QUEUE, task=task("a1")))[0] == (
        "ALREADY_EXISTS"
    )


def test_both_limits_have_to_be_reached(start, worker, wall):
    server, client = start(clock=wall)
    retries = tasks_v2.RetryConfig(max_attempts=1, max_retry_duration=timedelta(seconds=10))
    client.create_queue(parent=HOME, queue=tasks_v2.Queue(name=QUEUE, retry_config=retries))
    worker.fail(*[Fault(500)] * 5)
    client.create_task(parent=QUEUE, task=task("a1"))
    with server._store.changed:
        assert server._store.changed.wait_for(lambda: len(server.deliveries) == 1, 30)
    wall.now += 10
    server.look()
    server.wait_until_idle()
    assert statuses(server) == [500] * 2


def test_a_worker_that_hangs_is_left_after_its_limit(start, worker):
    server, client = start(worker_limit=0.05)
    worker.fail(Fault(hangs=True))
    client.create_task(parent=QUEUE, task=task("a1"))
    server.wait_until_idle()
    troubles = [delivery.trouble for delivery in server.deliveries]
    assert (troubles[0], troubles[-1]) == ("TimeoutError", "")


def test_stopping_does_not_wait_for_a_worker_that_hangs(worker, routes):
    with CloudTasksServer(routes=routes) as server:
        worker.fail(Fault(hangs=True))
        channel = grpc.insecure_channel(server.endpoint)
        client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        client.create_task(parent=QUEUE, task=task("a1"))
        assert worker.arrived.acquire(timeout=30)
        channel.close()
    assert [d.status for d in server.deliveries] == [0]


def test_pauses_grow_as_google_documents():
    """The example in google.cloud.tasks.v2.RetryConfig.max_doublings."""
    retries = tasks_v2.RetryConfig(
        min_backoff=timedelta(seconds=10), max_backoff=timedelta(seconds=300), max_doublings=3
    )
    pauses = [rules.pause_after(failures, retries) for failures in range(1, 9)]
    assert pauses == [10, 20, 40, 80, 160, 240, 300, 300]
    assert rules.pause_after(5000, rules.DEFAULT_RETRIES) == 3600


@pytest.mark.parametrize(("asked", "pause"), [("7", 7), ("9999", 20), ("soon", 0.1)])
def test_a_worker_is_asked_again_after_the_time_that_it_names(start, worker, wall, asked, pause):
    server, client = start(clock=wall, longest_pause=20.0)
    worker.fail(Fault(503, headers={"Retry-After": asked}))
    client.create_task(parent=QUEUE, task=task("a1"))
    with server._store.changed:
        assert server._store.changed.wait_for(lambda: server.deliveries, 30)
        assert server._store.next_due() == pytest.approx(pause)
    wall.now += pause
    server.look()
    server.wait_until_idle()
    assert statuses(server) == [503, 200]


# -- queues ----------------------------------------------------------------------------------


def test_a_queue_lives_its_life(start, worker, wall):
    server, client = start(queues=[], clock=wall)
    assert refused(lambda: client.get_queue(name=QUEUE)) == ("NOT_FOUND", "Queue does not exist.")
    made = client.create_queue(parent=HOME, queue=tasks_v2.Queue(name=QUEUE))
    assert made.state == tasks_v2.Queue.State.RUNNING
    assert made.rate_limits.max_concurrent_dispatches == 1000
    assert made.retry_config.max_attempts == 100
    again = lambda: client.create_queue(parent=HOME, queue=tasks_v2.Queue(name=QUEUE))  # noqa: E731  short
    assert refused(again) == ("ALREADY_EXISTS", "Queue already exists")

    assert client.pause_queue(name=QUEUE).state == tasks_v2.Queue.State.PAUSED
    client.create_task(parent=QUEUE, task=task("a1"))
    server.wait_until_idle()
    assert worker.came == []
    assert [t.name for t in client.list_tasks(parent=QUEUE)] == [f"{QUEUE}/tasks/a1"]
    assert client.resume_queue(name=QUEUE).state == tasks_v2.Queue.State.RUNNING
    server.wait_until_idle()
    assert len(worker.came) == 1

    client.pause_queue(name=QUEUE)
    client.create_task(parent=QUEUE, task=task("b2"))
    client.delete_queue(name=QUEUE)
    assert refused(lambda: client.list_tasks(parent=QUEUE))[0] == "FAILED_PRECONDITION"
    code, said = refused(lambda: client.create_task(parent=QUEUE, task=task("c3")))
    assert (code, "existed recently" in said) == ("FAILED_PRECONDITION", True)
    assert refused(again)[1].endswith("existed too recently.")
    wall.now += 3 * 86400
    assert refused(lambda: client.get_queue(name=QUEUE))[0] == "NOT_FOUND"
    again()
    assert list(client.list_tasks(parent=QUEUE)) == []


def test_deleting_a_queue_in_the_middle_of_a_delivery_ends_its_task(start, worker):
    server, client = start()
    worker.gate.clear()
    worker.fail(Fault(500))
    client.create_task(parent=QUEUE, task=task("a1"))
    assert worker.arrived.acquire(timeout=30)
    client.delete_queue(name=QUEUE)
    worker.gate.set()
    with server._store.changed:
        assert server._store.changed.wait_for(lambda: server.deliveries, 30)
    server.wait_until_idle()
    assert statuses(server) == [500]


@pytest.mark.parametrize("status", [200, 500])
def test_a_purge_in_the_middle_of_a_delivery_ends_its_task(start, worker, status):
    server, client = start()
    worker.gate.clear()
    worker.fail(Fault(status))
    client.create_task(parent=QUEUE, task=task("a1"))
    assert worker.arrived.acquire(timeout=30)
    assert client.purge_queue(name=QUEUE).purge_time
    worker.gate.set()
    with server._store.changed:
        assert server._store.changed.wait_for(lambda: server.deliveries, 30)
    server.wait_until_idle()
    assert statuses(server) == [status]


def test_purging_empties_a_queue(start):
    _server, client = start(routes=None)
    client.create_task(parent=QUEUE, task=task("a1"))
    client.purge_queue(name=QUEUE)
    assert list(client.list_tasks(parent=QUEUE)) == []
    assert refused(lambda: client.create_task(parent=QUEUE, task=task("a1")))[0] == (
        "ALREADY_EXISTS"
    )


def test_a_name_rests_for_a_day(start, worker, wall):
    server, client = start(clock=wall)
    client.create_task(parent=QUEUE, task=task("a1"))
    server.wait_until_idle()
    code, said = refused(lambda: client.create_task(parent=QUEUE, task=task("a1")))
    assert (code, "existed too recently" in said) == ("ALREADY_EXISTS", True)
    assert server.dropped == 1
    wall.now += 86400
    client.create_task(parent=QUEUE, task=task("a1"))
    server.wait_until_idle()
    assert len(worker.came) == 2


def test_an_update_changes_what_its_mask_names(start):
    _, client = start(max_concurrent={"split1": 3})
    queue = tasks_v2.Queue(
        name=QUEUE,
        rate_limits={"max_concurrent_dispatches": 1, "max_dispatches_per_second": 5},
        retry_config={"max_attempts": 7},
        state=tasks_v2.Queue.State.PAUSED,
    )
    assert client.get_queue(name=QUEUE).rate_limits.max_concurrent_dispatches == 3
    masked = client.update_queue(
        queue=queue,
        update_mask=field_mask_pb2.FieldMask(
            paths=["rate_limits.max_concurrent_dispatches", "state"]
        ),
    )
    assert masked.rate_limits.max_concurrent_dispatches == 1
    assert masked.rate_limits.max_dispatches_per_second == 500
    assert (masked.retry_config.max_attempts, masked.state.name) == (100, "RUNNING")
    whole = client.update_queue(queue=queue)
    assert whole.rate_limits.max_dispatches_per_second == 5
    assert (whole.retry_config.max_attempts, whole.state.name) == (7, "RUNNING")
    wrong = field_mask_pb2.FieldMask(paths=["colour"])
    assert refused(lambda: client.update_queue(queue=queue, update_mask=wrong))[0] == (
        "INVALID_ARGUMENT"
    )


def test_an_update_creates_a_queue_that_is_not_there(start):
    _, client = start(queues=[])
    client.update_queue(queue=tasks_v2.Queue(name=QUEUE))
    assert client.get_queue(name=QUEUE).name == QUEUE


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limits": {"max_concurrent_dispatches": 5001}},
        {"rate_limits": {"max_dispatches_per_second": 501}},
        {"rate_limits": {"max_dispatches_per_second": -1}},
        {"retry_config": {"max_attempts": -2}},
        {"retry_config": {"max_doublings": -1}},
        {"retry_config": {"min_backoff": timedelta(hours=2)}},
    ],
    ids=str,
)
def test_settings_out_of_bounds_are_refused(start, settings):
    _, client = start()
    queue = tasks_v2.Queue(name=QUEUE, **settings)
    assert refused(lambda: client.update_queue(queue=queue))[0] == "INVALID_ARGUMENT"


def test_queues_are_listed_by_page_and_state(start):
    _, client = start()
    names = [f"{HOME}/queues/{name}" for name in ("a", "b", "c")]
    for name in names:
        client.create_queue(parent=HOME, queue=tasks_v2.Queue(name=name))
    client.create_queue(parent=f"{HOME}2", queue=tasks_v2.Queue(name=f"{HOME}2/queues/elsewhere"))
    client.pause_queue(name=names[1])
    listed = lambda **asked: [  # noqa: E731  short
        queue.name for queue in client.list_queues(request={"parent": HOME, **asked})
    ]
    assert listed(page_size=2) == names
    assert listed(filter="state: PAUSED") == [names[1]]
    assert listed(filter='state != "PAUSED"') == [names[0], names[2]]
    assert refused(lambda: listed(filter="name=a"))[0] == "INVALID_ARGUMENT"
    assert refused(lambda: listed(page_token="x"))[0] == "INVALID_ARGUMENT"
    assert refused(lambda: listed(page_size=-1))[0] == "INVALID_ARGUMENT"


# -- tasks -----------------------------------------------------------------------------------


def test_tasks_are_shown_without_their_bodies_unless_asked(start):
    _, client = start(routes=None)
    shown = client.create_task(parent=QUEUE, task=task("a1"))
    assert (shown.http_request.body, shown.view.name) == (b"", "BASIC")
    name = f"{QUEUE}/tasks/a1"
    full = client.get_task(request={"name": name, "response_view": "FULL"})
    assert (full.http_request.body, full.view.name) == (b'{"n": 1}', "FULL")
    assert full.dispatch_deadline == timedelta(minutes=10)
    listed = list(client.list_tasks(request={"parent": QUEUE, "response_view": "FULL"}))
    assert listed == [full]


def test_a_task_is_deleted_once(start):
    _, client = start(routes=None)
    client.create_task(parent=QUEUE, task=task("a1"))
    client.delete_task(name=f"{QUEUE}/tasks/a1")
    gone = lambda: client.delete_task(name=f"{QUEUE}/tasks/a1")  # noqa: E731  short
    assert refused(gone) == ("NOT_FOUND", "The task does not exist.")


def test_a_task_is_run_by_hand_though_its_queue_is_paused(start, worker):
    server, client = start()
    client.pause_queue(name=QUEUE)
    client.create_task(parent=QUEUE, task=task("a1"))
    client.create_task(parent=QUEUE, task=task("b2"))
    client.run_task(name=f"{QUEUE}/tasks/b2")
    server.wait_until_idle()
    assert [came.headers["x-cloudtasks-taskname"] for came in worker.came] == ["b2"]


@pytest.mark.parametrize(
    ("parent", "changes"),
    [
        ("nonsense", {}),
        (HOME, {}),
        (f"{HOME}/queues/under_score", {}),
        (QUEUE, {"name": "a.b"}),
        (QUEUE, {"name": "a" * 501}),
        (QUEUE, {"call": {"url": "ftp://split1.example"}}),
        (QUEUE, {"call": {"url": "https://split1.example/" + "x" * 2083}}),
        (QUEUE, {"call": {"http_method": "GET"}}),
        (QUEUE, {"schedule_time": datetime.now(UTC) + timedelta(days=31)}),
        (QUEUE, {"dispatch_deadline": timedelta(seconds=14)}),
        (QUEUE, {"dispatch_deadline": timedelta(minutes=31)}),
    ],
    ids=range(11),
)
def test_what_google_refuses_is_refused(start, parent, changes):
    server, client = start()
    assert refused(lambda: client.create_task(parent=parent, task=task(**changes)))[0] == (
        "INVALID_ARGUMENT"
    )
    assert server.tasks == []


def test_a_queue_is_of_its_own_location(start):
    _, client = start()
    of = lambda parent: client.create_queue(parent=parent, queue=tasks_v2.Queue(name=QUEUE))  # noqa: E731  short
    assert refused(lambda: of(f"{HOME}2"))[0] == "INVALID_ARGUMENT"
    assert refused(lambda: of("projects/p"))[0] == "INVALID_ARGUMENT"


# -- REST ------------------------------------------------------------------------------------


@pytest.fixture
def rest(start):
    server, _ = start(queues=[])
    with httpx.Client(base_url=server.rest_url, trust_env=False) as client:
        yield client


def test_rest_is_the_same_in_json(rest):
    parent = {"name": QUEUE, "rateLimits": {"maxConcurrentDispatches": 2}}
    made = rest.post(f"v2/{HOME}/queues", json=parent)
    assert made.status_code == 200
    assert made.json()["rateLimits"]["maxConcurrentDispatches"] == 2
    patched = rest.patch(
        f"v2/{QUEUE}?updateMask=rate_limits.max_concurrent_dispatches",
        json={"rateLimits": {"maxConcurrentDispatches": 4}},
    )
    assert patched.json()["rateLimits"]["maxConcurrentDispatches"] == 4
    assert rest.get(f"v2/{HOME}/queues?pageSize=1").json()["queues"][0]["name"] == QUEUE
    assert rest.post(f"v2/{QUEUE}:pause", json={}).json()["state"] == "PAUSED"
    created = rest.post(
        f"v2/{QUEUE}/tasks",
        json={
            "task": {
                "name": f"{QUEUE}/tasks/a1",
                "httpRequest": {"url": "https://split1.example/", "body": "e30="},
            }
        },
    )
    assert created.json()["view"] == "BASIC"
    full = rest.get(f"v2/{QUEUE}/tasks/a1?responseView=FULL&alt=json").json()
    assert full["httpRequest"]["body"] == "e30="
    assert rest.delete(f"v2/{QUEUE}/tasks/a1").json() == {}
    assert rest.delete(f"v2/{QUEUE}").json() == {}


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "said"),
    [
        ("GET", f"v2/{QUEUE}", b"", 404, "NOT_FOUND"),
        ("GET", "v2/projects/p", b"", 404, "NOT_FOUND"),
        ("PATCH", f"v2/{QUEUE}/tasks/a", b"{}", 404, "NOT_FOUND"),
        ("POST", f"v2/{HOME}/queues", b"[]", 400, "INVALID_ARGUMENT"),
        ("POST", f"v2/{HOME}/queues", b"{", 400, "INVALID_ARGUMENT"),
        ("POST", f"v2/{HOME}/queues", b'{"CANARY": 1}', 400, "INVALID_ARGUMENT"),
        ("POST", f"v2/{HOME}/queues", b" " * 300_000, 400, "INVALID_ARGUMENT"),
    ],
    ids=range(7),
)
def test_rest_says_what_is_wrong(rest, verb, path, body, status, said):
    answer = rest.request(verb, path, content=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (status, status, said)
    assert "CANARY" not in answer.text


# -- gcloud ----------------------------------------------------------------------------------


@pytest.fixture
def gcloud(start, tmp_path):
    """Runs `gcloud tasks …`; its output, or with `fails=True` its errors."""
    program = shutil.which("gcloud")
    if program is None and "CI" not in os.environ:
        pytest.skip("the Google Cloud CLI (gcloud) is not installed")
    assert program, "CI has to have the Google Cloud CLI: this is its only test"
    server, client = start(queues=[], routes=None)
    environ = {
        **os.environ,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDTASKS": server.rest_url,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": "pgp-test",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "NO_PROXY": "127.0.0.1",
    }

    def run(*arguments, fails=False):
        ran = subprocess.run(
            [program, "tasks", *arguments, "--location=us-central1"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (ran.returncode != 0) == fails, ran.stderr
        return ran.stderr if fails else ran.stdout

    run.client = client
    return run


def test_gcloud_moves_a_queue_through_its_life(gcloud):
    """What the runbook of a queue's migration does: create, update, drain, delete."""
    gcloud("queues", "create", "split1", "--max-concurrent-dispatches=1", "--max-attempts=5")
    gcloud("queues", "update", "split1", "--max-dispatches-per-second=10")
    queue = json.loads(gcloud("queues", "describe", "split1", "--format=json"))
    assert queue["name"] == QUEUE
    assert queue["rateLimits"]["maxConcurrentDispatches"] == 1
    assert queue["rateLimits"]["maxDispatchesPerSecond"] == 10
    assert queue["retryConfig"]["maxAttempts"] == 5

    gcloud("queues", "pause", "split1")
    gcloud.client.create_task(parent=QUEUE, task=task("a1"))
    listed = json.loads(gcloud("list", "--queue=split1", "--format=json"))
    assert [entry["name"] for entry in listed] == [f"{QUEUE}/tasks/a1"]
    states = json.loads(gcloud("queues", "list", "--format=json(name.basename(),state)"))
    assert states == [{"name": "split1", "state": "PAUSED"}]
    gcloud("queues", "resume", "split1")
    gcloud("queues", "purge", "split1")
    assert json.loads(gcloud("list", "--queue=split1", "--format=json")) == []
    gcloud("queues", "delete", "split1")
    said = gcloud("queues", "create", "split1", fails=True)
    assert "FAILED_PRECONDITION" in said
    assert "existed too recently" in said
