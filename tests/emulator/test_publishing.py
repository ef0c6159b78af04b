"""The local Secret Manager publishes what Secret Manager publishes, and never a payload."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from google.auth import jwt
from google.protobuf import duration_pb2

from pgp_config import DeclarationError
from pgp_config.emulator import Notice, PushUrl, SecretManagerEmulator, Topic, publishing
from pgp_config.emulator.messages import Secret

TOPIC = "projects/local/topics/secrets"
OTHER = "projects/local/topics/others"
SECRET = "projects/local/secrets/KEY"


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def inbox():
    return queue.Queue()


@pytest.fixture
def manager(clock, inbox):
    with SecretManagerEmulator(topics=[TOPIC], clock=clock) as emulator:
        emulator.publish_to(inbox.put)
        yield emulator


def received(inbox, number):
    return [inbox.get(timeout=30) for _ in range(number)]


def kinds(inbox, number):
    return [notice.attributes["eventType"] for notice in received(inbox, number)]


def update(manager, *paths, **fields):
    manager.store.update_secret(Secret(name=SECRET, **fields), list(paths))


def test_a_version_that_is_added_is_published_with_its_metadata(manager, inbox):
    manager.add("KEY", "canary")
    configured, created, added = received(inbox, 3)
    assert configured == Notice(TOPIC, {"eventType": "TOPIC_CONFIGURED"}, b"")
    assert created.attributes == {
        "eventType": "SECRET_CREATE",
        "dataFormat": "JSON_API_V1",
        "secretId": SECRET,
        "timestamp": "2027-01-15T08:00:00+00:00",
    }
    assert added.topic == TOPIC
    assert added.attributes["eventType"] == "SECRET_VERSION_ADD"
    assert added.attributes["versionId"] == f"{SECRET}/versions/1"
    data = json.loads(added.data)
    assert (data["name"], data["state"]) == (f"{SECRET}/versions/1", "ENABLED")
    assert "canary" not in repr((configured, created, added))


def test_each_change_has_its_kind(manager, inbox):
    manager.add("KEY", "canary")
    manager.disable("KEY", 1)
    manager.enable("KEY", 1)
    manager.destroy("KEY", 1)
    update(manager, "labels", labels={"a": "b"})
    manager.store.delete_secret(SECRET, "")
    notices = received(inbox, 8)
    assert [notice.attributes["eventType"].removeprefix("SECRET_") for notice in notices] == [
        "TOPIC_CONFIGURED",
        "CREATE",
        "VERSION_ADD",
        "VERSION_DISABLE",
        "VERSION_ENABLE",
        "VERSION_DESTROY",
        "UPDATE",
        "DELETE",
    ]
    assert notices[-1].attributes["deleteType"] == "REQUESTED"


def test_every_topic_of_the_secret_gets_it_and_topics_that_are_set_are_tried(manager, inbox):
    manager.create("KEY")
    received(inbox, 2)
    update(manager, "topics", topics=[{"name": TOPIC}, {"name": OTHER}])
    notices = received(inbox, 4)
    assert [(notice.topic, notice.attributes["eventType"]) for notice in notices] == [
        (TOPIC, "TOPIC_CONFIGURED"),
        (OTHER, "TOPIC_CONFIGURED"),
        (TOPIC, "SECRET_UPDATE"),
        (OTHER, "SECRET_UPDATE"),
    ]


def test_a_secret_without_topics_says_nothing(inbox):
    with SecretManagerEmulator() as manager:
        manager.publish_to(inbox.put)
        manager.add("KEY", "canary")
    assert inbox.empty()


def test_destruction_that_is_put_off_is_told_of_twice(manager, inbox, clock):
    manager.add("KEY", "canary")
    update(manager, "version_destroy_ttl", version_destroy_ttl={"seconds": 86_400})
    manager.destroy("KEY", 1)
    clock.now += 86_401
    manager.store.get_version(f"{SECRET}/versions/1")
    assert kinds(inbox, 6)[-2:] == ["SECRET_VERSION_DESTROY_SCHEDULED", "SECRET_VERSION_DESTROY"]


def test_a_secret_that_expires_says_so(manager, inbox, clock):
    manager.create("KEY")
    update(manager, "ttl", ttl=duration_pb2.Duration(seconds=60))
    clock.now += 61
    manager.store.list_secrets("projects/local", 0, "", "")
    notice = received(inbox, 4)[-1]
    assert notice.attributes["eventType"] == "SECRET_DELETE"
    assert notice.attributes["deleteType"] == "EXPIRATION"


@pytest.mark.parametrize(("period", "reminders"), [(3600, 2), (0, 1)])
def test_a_rotation_that_is_due_is_told_of(period, reminders, manager, inbox, clock):
    manager.create("KEY")
    rotation = {"next_rotation_time": {"seconds": int(clock.now) + 3600}}
    if period:
        rotation["rotation_period"] = {"seconds": period}
    update(manager, "rotation", rotation=rotation)
    received(inbox, 3)
    for _ in range(2):
        manager.store.get_secret(SECRET)
        clock.now += 3601
    for _ in range(2):
        manager.store.get_secret(SECRET)
        clock.now += 3601
    expected = ["SECRET_ROTATE"] * reminders
    assert kinds(inbox, reminders) == expected


def test_duplicates_can_be_asked_for(inbox):
    with SecretManagerEmulator(topics=[TOPIC]) as manager:
        manager.publish_to(inbox.put, times=2)
        manager.create("KEY")
        assert kinds(inbox, 4) == ["TOPIC_CONFIGURED"] * 2 + ["SECRET_CREATE"] * 2


def test_a_caller_does_not_wait_for_the_delivery():
    entered, released = threading.Event(), threading.Event()

    def deliver(_):
        entered.set()
        assert released.wait(30)

    with SecretManagerEmulator(topics=[TOPIC]) as manager:
        manager.publish_to(deliver)
        manager.add("KEY", "canary")
        assert entered.wait(30)
        assert manager.add("KEY", "canary") == 2
        released.set()


def test_a_delivery_that_fails_is_tried_again(manager, monkeypatch, caplog):
    monkeypatch.setattr(publishing, "PAUSE", 0.0)
    tried, done = [], threading.Event()

    def deliver(notice):
        tried.append(notice.attributes["eventType"])
        if len(tried) < 3:
            raise OSError("canary-address")
        done.set()

    manager.publish_to(deliver)
    manager.create("KEY")
    assert done.wait(30)
    manager.stop()
    assert tried == ["TOPIC_CONFIGURED"] * 3 + ["SECRET_CREATE"]
    assert not caplog.records


def test_a_delivery_that_goes_on_failing_is_logged_and_the_next_one_tried(
    manager, monkeypatch, caplog
):
    monkeypatch.setattr(publishing, "PAUSE", 0.0)
    tried, done = [], threading.Event()

    def deliver(notice):
        tried.append(notice)
        if len(tried) == publishing.ATTEMPTS + 1:
            done.set()
        raise OSError("canary-address")

    manager.publish_to(deliver)
    manager.create("KEY")
    assert done.wait(30)
    manager.stop()
    assert "Could not deliver TOPIC_CONFIGURED: OSError" in caplog.text
    assert "canary" not in caplog.text


def test_a_stop_does_not_wait_for_another_try_and_a_start_delivers_again(manager, inbox):
    failed = threading.Event()
    fails = [True]

    def deliver(notice):
        failed.set()
        if fails:
            raise OSError
        inbox.put(notice)

    manager._outbox._targets.clear()
    manager.publish_to(deliver)
    manager.create("KEY")
    assert failed.wait(30)
    manager.stop()
    assert not [t for t in threading.enumerate() if "outbox" in t.name]
    fails.clear()
    manager.start()
    manager.add("KEY", "canary")
    assert kinds(inbox, 1) == ["SECRET_VERSION_ADD"]


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.server.inbox.put((self.path, self.headers, json.loads(self.rfile.read(length))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver(inbox):
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    server.inbox = inbox
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/pubsub/secrets"
    server.shutdown()
    thread.join(30)
    server.server_close()


@pytest.mark.parametrize("signs", [True, False])
def test_a_push_is_wrapped_and_signed_as_pubsub_does(signs, receiver, inbox):
    with SecretManagerEmulator(topics=[TOPIC]) as manager:
        manager.publish_to(PushUrl(receiver, signer=manager.signer if signs else None))
        manager.create("KEY")
        path, headers, body = received(inbox, 2)[1]
        assert path == "/pubsub/secrets"
        assert body["message"]["attributes"]["eventType"] == "SECRET_CREATE"
        assert body["subscription"] == "projects/local/subscriptions/local"
        assert ("Authorization" in headers) is signs
        if signs:
            token = headers["Authorization"].removeprefix("Bearer ")
            claims = jwt.decode(token, certs=manager.signer.certificates(), audience=receiver)
            assert claims["email"] == "push@local.iam.gserviceaccount.com"


def test_the_signer_shows_no_key(secret_manager):
    secret_manager.signer.token("a")
    assert repr(secret_manager.signer) == "<TokenSigner with 1 keys>"


def test_without_googles_client_pubsub_is_refused(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "google.pubsub_v1", None)
    with pytest.raises(DeclarationError, match=r"pip install 'pgp-config\[pubsub\]'"):
        Topic("127.0.0.1:1")
