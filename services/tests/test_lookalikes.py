"""The stand-ins behave as what they stand in for, as far as the fleet can tell."""

import grpc
import httpx
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from pgp_services.lookalikes import ChangeNowServer, CloudTasksServer
from pgp_services.lookalikes.changenow import PATH
from pgp_services.lookalikes.http import Fault

QUERY = {
    "fromCurrency": "usdt",
    "toCurrency": "xmr",
    "fromNetwork": "eth",
    "toNetwork": "xmr",
    "fromAmount": "10",
    "flow": "standard",
    "type": "direct",
}
PARENT = "projects/p/locations/us-central1/queues/q"


@pytest.fixture
def get(changenow_server):
    with httpx.Client(base_url=changenow_server.url, trust_env=False) as client:
        yield lambda key, path=PATH, query=QUERY: client.get(
            path, params=query, headers={"x-changenow-api-key": key}
        )


def test_changenow_accepts_the_current_key_only(changenow_server, get, key, new_key):
    newer = new_key()
    assert get(key).json()["toAmount"] == 5.0
    assert changenow_server.rotate(newer) == 2
    assert [get(key).status_code, get(newer).status_code] == [401, 200]
    assert get("unheard of").status_code == 401
    changenow_server.revoke()
    assert get(newer).status_code == 401
    assert changenow_server.requests_by_version() == {0: 1, 1: 2, 2: 2}


def test_a_stand_in_has_a_door_for_each_of_those_who_call_it(key):
    server = ChangeNowServer(key)
    early = server.door("SPLIT2")
    with server:
        late = server.door("HOSTPAY1")
        assert server.door("SPLIT2") == early
        for url in (late, server.url, early):
            headers = {"x-changenow-api-key": key}
            assert httpx.get(url + PATH, params=QUERY, headers=headers, trust_env=False).is_success
    assert [seen.door for seen in server.seen] == ["HOSTPAY1", "", "SPLIT2"]


def test_changenow_judges_no_request_while_it_rotates(changenow_server, get, key, new_key):
    stored = []
    changenow_server.rotate(new_key(), lambda: stored.append(changenow_server._lock.locked()))
    assert stored == [True]
    assert (changenow_server.accepts(1), changenow_server.accepts(2)) == (False, True)
    get(key)
    get(key)
    first, second = changenow_server.seen
    assert first.at <= second.at


def test_changenow_says_what_is_wrong(get, key):
    assert get(key, "/v1/elsewhere").status_code == 404
    assert get(key, query={**QUERY, "fromAmount": ""}).status_code == 400
    assert get(key, query={**QUERY, "fromAmount": "much"}).status_code == 400


def test_changenow_fails_as_told(changenow_server, get, key):
    changenow_server.fail(Fault(429, b"slow", {"Retry-After": "3"}), Fault(0))
    limited = get(key)
    assert (limited.status_code, limited.text, limited.headers["retry-after"]) == (
        429,
        "slow",
        "3",
    )
    with pytest.raises(httpx.RemoteProtocolError):
        get(key)
    assert get(key).status_code == 200


def test_changenow_does_not_show_its_keys(changenow_server, get, key, capsys):
    get(key)
    shown = repr(changenow_server) + repr(changenow_server.seen) + "".join(capsys.readouterr())
    assert key not in shown
    assert "key version 1" in shown


def test_a_stand_in_records_what_was_posted(changenow_server, key):
    with httpx.Client(base_url=changenow_server.url, trust_env=False) as client:
        answer = client.post("/v2/exchange", content=b"{", headers={"x-changenow-api-key": key})
    assert answer.status_code == 400
    seen = changenow_server.seen[0]
    assert (seen.method, seen.path, seen.body, seen.version) == ("POST", "/v2/exchange", b"{", 1)


def test_a_stand_in_accepts_old_keys_where_it_is_told_so(changenow_server, get, key, new_key):
    changenow_server.rotate(new_key(), overlap=True)
    assert get(key).status_code == 200
    changenow_server.rotate(new_key())
    assert get(key).status_code == 401
    changenow_server.reinstate()
    assert get(key).status_code == 200


def test_changenow_can_have_a_given_port(unused_port_number, key):
    with ChangeNowServer(key, unused_port_number) as server:
        assert server.url.endswith(f":{unused_port_number}")


@pytest.fixture
def unused_port_number(key):
    with ChangeNowServer(key) as server:
        return int(server.url.rpartition(":")[2])


def google_client(server):
    channel = grpc.insecure_channel(server.endpoint)
    return tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))


@pytest.fixture
def server():
    with CloudTasksServer(queues=["q"]) as server:
        yield server


@pytest.fixture
def client(server):
    with google_client(server) as client:
        yield client


def task(name="", url="https://split1.example/x", body=b""):
    return tasks_v2.Task(name=name, http_request=tasks_v2.HttpRequest(url=url, body=body))


def refused(call):
    with pytest.raises(GoogleAPICallError) as caught:
        call()
    return caught.value.grpc_status_code


def test_cloud_tasks_names_what_has_no_name(server, client):
    made = client.create_task(parent=PARENT, task=task())
    assert made.name.removeprefix(f"{PARENT}/tasks/").isdecimal()
    assert server.tasks[0].url == "https://split1.example/x"
    assert repr(server) == f"<CloudTasksServer at {server.endpoint}, 1 tasks>"


def test_cloud_tasks_drops_a_repeat(server, client):
    named = task(f"{PARENT}/tasks/a")
    client.create_task(parent=PARENT, task=named)
    repeat = lambda: client.create_task(parent=PARENT, task=named)  # noqa: E731  short
    assert refused(repeat) is grpc.StatusCode.ALREADY_EXISTS
    assert (len(server.tasks), server.dropped) == (1, 1)


@pytest.mark.parametrize(
    ("parent", "bad", "code"),
    [
        (PARENT + "2", task(), grpc.StatusCode.NOT_FOUND),
        ("q", task(), grpc.StatusCode.INVALID_ARGUMENT),
        (PARENT, task(url=""), grpc.StatusCode.INVALID_ARGUMENT),
        (PARENT, task(f"{PARENT}2/tasks/a"), grpc.StatusCode.INVALID_ARGUMENT),
        (PARENT, task(body=b"x" * 102_400), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_cloud_tasks_refuses_what_google_refuses(server, client, parent, bad, code):
    assert refused(lambda: client.create_task(parent=parent, task=bad)) is code
    assert server.tasks == []


def test_cloud_tasks_knows_its_queues(client):
    assert client.get_queue(name=PARENT).state is tasks_v2.Queue.State.RUNNING
    assert refused(lambda: client.get_queue(name=PARENT + "2")) is grpc.StatusCode.NOT_FOUND


def test_cloud_tasks_fails_as_told(server, client):
    server.fail(grpc.StatusCode.UNAVAILABLE)
    assert (
        refused(lambda: client.get_queue(name=PARENT, retry=None)) is grpc.StatusCode.UNAVAILABLE
    )
    assert client.get_queue(name=PARENT).name == PARENT
