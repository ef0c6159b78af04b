"""The listener on a double of Google's client: what fails, what is tried again, what is left behind."""

import contextlib
import logging
import os
import threading

import pytest
from google.api_core.exceptions import AlreadyExists, NotFound, PermissionDenied

from pgp_config import DeclarationError, PubSubListener, SecretEvent, asgi, wsgi
from pgp_config.push import listener as module

TOPIC = "projects/local/topics/secrets"
SECRET = "projects/1/secrets/KEY"


class Stream:
    """What `subscribe` gives: a future that ends when it is cancelled."""

    def __init__(self, name, callback, executor):
        self.name = name
        self.hear = callback
        self.executor = executor
        self._ended = threading.Event()
        self._fault = None

    def result(self):
        assert self._ended.wait(30)
        if self._fault is not None:
            raise self._fault

    def cancel(self):
        self._ended.set()

    def fail(self, fault):
        self._fault = fault
        self._ended.set()


class PubSub:
    """Clients, and what they did."""

    def __init__(self):
        self.log = []
        self.faults = {}
        self.streams = []
        self.requests = []
        self.streaming = threading.Event()

    def __call__(self):
        return Client(self)

    def did(self, what):
        self.log.append(what)
        faults = self.faults.get(what)
        if faults:
            raise faults.pop(0)

    def wait(self):
        assert self.streaming.wait(30)
        self.streaming.clear()
        return self.streams[-1]


class Client:
    def __init__(self, pubsub):
        self.pubsub = pubsub
        pubsub.did("connect")

    def create_subscription(self, request, timeout, retry):
        self.pubsub.requests.append(request)
        self.pubsub.did("create")

    def delete_subscription(self, request, timeout, retry):
        self.pubsub.did("delete")

    def subscribe(self, name, callback, flow_control, scheduler, await_callbacks_on_shutdown):
        assert flow_control.max_duration_per_lease_extension == 10
        self.pubsub.did("subscribe")
        self.pubsub.streams.append(Stream(name, callback, scheduler._executor))
        self.pubsub.streaming.set()
        return self.pubsub.streams[-1]

    def close(self):
        self.pubsub.did("close")


class Message:
    def __init__(self, **attributes):
        self.attributes = attributes
        self.acknowledged = False

    def ack(self):
        self.acknowledged = True


class Hearing:
    def __init__(self):
        self.heard = []

    def announce(self, event):
        self.heard.append(event)


@pytest.fixture
def pubsub(monkeypatch):
    monkeypatch.setattr(module, "SHORTEST_PAUSE", 0.0)
    return PubSub()


@pytest.fixture
def listen(pubsub):
    made = []

    def make(topic=TOPIC, **options):
        made.append(PubSubListener(topic, client_factory=pubsub, **options))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


def test_each_listener_makes_a_subscription_that_expires(listen, pubsub):
    names = set()
    for _ in range(2):
        listener = listen(service="split2")
        listener.start()
        assert pubsub.wait().name == listener.subscription
        assert not listen().is_listening
        assert listener.wait_until_listening(30)
        assert listener.is_listening
        names.add(listener.subscription)
    assert len(names) == 2
    assert all(name.startswith("projects/local/subscriptions/split2-") for name in names)
    request = pubsub.requests[0]
    assert request["topic"] == TOPIC
    assert request["expiration_policy"] == {"ttl": {"seconds": 86_400}}
    assert request["message_retention_duration"] == {"seconds": 600}
    assert "SECRET_VERSION_" in request["filter"]


def test_messages_are_acknowledged_and_told_to_every_container(listen, pubsub, caplog):
    caplog.set_level(logging.INFO, "pgp_config")
    first, second = Hearing(), Hearing()
    listener = listen(containers=(first,))
    listener.start(second)
    listener.start(second)
    stream = pubsub.wait()
    version = f"{SECRET}/versions/3"
    good = Message(eventType="SECRET_VERSION_ADD", secretId=SECRET, versionId=version)
    strange = Message(eventType="canary-kind")
    for message in (good, strange):
        stream.hear(message)
        assert message.acknowledged
    event = SecretEvent("SECRET_VERSION_ADD", "KEY", 3, "1")
    assert first.heard == second.heard == [event]
    assert "Ignored a message" in caplog.text
    assert "canary" not in caplog.text


def test_the_end_deletes_the_subscription_once(listen, pubsub):
    listener = listen()
    listener.close()  # it was never started
    listener.start()
    pubsub.wait()
    listener.close()
    listener.close()
    assert pubsub.log == ["connect", "create", "subscribe", "delete", "close"]
    assert not listener.wait_until_listening(0)
    assert listener.subscription is None


def test_it_can_be_started_again(listen, pubsub):
    names = []
    for _ in range(2):
        with listen() as listener:
            pubsub.wait()
            names.append(listener.subscription)
    listener.start()
    pubsub.wait()
    assert len({*names, listener.subscription}) == 3


def test_a_subscription_that_exists_is_neither_made_nor_deleted(listen, pubsub):
    name = "projects/local/subscriptions/mine"
    listener = listen(None, subscription=name)
    assert listener.subscription == name
    listener.start()
    assert pubsub.wait().name == name
    listener.close()
    assert pubsub.log == ["connect", "subscribe", "close"]


# promise 19: a service does not fail for want of a push
@pytest.mark.parametrize("what", ["connect", "create", "subscribe"])
def test_what_cannot_be_done_is_tried_again(what, listen, pubsub, caplog):
    pubsub.faults[what] = [PermissionDenied("canary-address"), OSError("canary-address")]
    listener = listen()
    listener.start()
    pubsub.wait()
    assert listener.wait_until_listening(30)
    assert caplog.text.count("Cannot listen to projects/local/subscriptions/") == 2
    assert "PermissionDenied" in caplog.text
    assert "canary" not in caplog.text
    assert len([t for t in threading.enumerate() if "heard" in t.name]) <= 1


def test_a_subscription_that_vanished_is_made_again(listen, pubsub):
    listener = listen()
    listener.start()
    stream = pubsub.wait()
    stream.fail(NotFound("it expired"))
    assert pubsub.wait().name == stream.name
    assert pubsub.log == [
        "connect",
        "create",
        "subscribe",
        "close",
        "connect",
        "create",
        "subscribe",
    ]


def test_a_stream_that_ends_by_itself_is_opened_again(listen, pubsub):
    pubsub.faults["create"] = [AlreadyExists("from before")]
    listener = listen()
    listener.start()
    pubsub.wait().cancel()
    assert pubsub.wait()


def test_a_failure_at_the_end_is_no_failure(listen, pubsub, caplog):
    caplog.set_level(logging.INFO, "pgp_config")
    listener = listen()
    listener.start()
    stream = pubsub.wait()
    assert listener.wait_until_listening(30)
    pubsub.faults["delete"] = [OSError("canary-address")]
    original = stream.cancel
    stream.cancel = lambda: stream.fail(OSError("canary-address"))
    listener.close()
    assert original
    assert "Pub/Sub does in a day" in caplog.text
    assert "Cannot listen" not in caplog.text
    assert "canary" not in caplog.text


def test_an_end_while_it_is_subscribing_is_not_missed(listen, pubsub):
    entered, released = threading.Event(), threading.Event()
    inner = pubsub.did

    def did(what):
        inner(what)
        if what == "subscribe":
            entered.set()
            assert released.wait(30)

    pubsub.did = did
    listener = listen()
    listener.start()
    assert entered.wait(30)
    closing = threading.Thread(target=listener.close)
    session = listener._session
    closing.start()
    assert session._ending.wait(30)
    released.set()
    closing.join(30)
    assert pubsub.log[-2:] == ["delete", "close"]
    assert not listener.wait_until_listening(0)


def test_the_lost_race_for_the_start_costs_nothing(listen, pubsub):
    listener = listen()
    lock = listener._lock

    class Overtaken:
        def __enter__(self):
            listener._lock = lock
            listener.start()
            lock.acquire()

        def __exit__(self, *_):
            lock.release()

    listener._lock = Overtaken()
    listener.start()
    pubsub.wait()
    assert len(pubsub.streams) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_over_a_fork_the_parent_listens_on_and_the_child_does_not(listen, pubsub):
    listener = listen()
    listener.start()
    name = pubsub.wait().name
    assert listener.wait_until_listening(30)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        streams = len(pubsub.streams)
        told = [listener.subscription is None, listener._thread is None, streams]
        listener.start()
        pubsub.wait()
        told.append(listener.subscription != name)
        listener.close()
        os.write(writing, repr(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "[True, True, 1, True]"
    os.waitpid(child, 0)
    # Another one: the child may hold the connection to the first.
    assert pubsub.wait().name == listener.subscription != name
    begun = ["connect", "create", "subscribe"]
    assert pubsub.log == [*begun, "delete", "close", *begun]


def test_it_listens_again_after_the_last_of_several_forks_and_not_before(listen, pubsub):
    listener = listen()
    listener.start()
    pubsub.wait()
    listener.prepare_fork()
    listener.prepare_fork()
    listener.start()  # as each request does
    listener.resume_after_fork()
    assert listener._thread is None
    listener.resume_after_fork()
    assert pubsub.wait()


def test_a_child_begins_anew(listen, pubsub):
    listener = listen()
    listener.renew_after_fork()
    assert (listener.subscription, listener._thread) == (None, None)
    listener.start()
    assert pubsub.wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_starts_no_listener(listen):
    listener = listen()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        os._exit(0)
    os.waitpid(child, 0)
    assert listener._thread is None


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"topic": "secrets"},
        {"topic": 7},
        {"topic": TOPIC, "subscription": "projects/p/subscriptions/s"},
        {"subscription": "s"},
    ],
)
def test_arguments_that_name_nothing_are_refused(wrong):
    with pytest.raises(DeclarationError):
        PubSubListener(**wrong)


@pytest.mark.parametrize(
    ("service", "begins"),
    [("pgp_split2", "pgp-split2-"), ("googly", "s-googly-"), ("7", "s-7-"), (None, "pgp-config-")],
)
def test_the_subscriptions_name_is_one_that_pubsub_takes(service, begins, listen, pubsub):
    listener = listen(service=service)
    listener.start()
    pubsub.wait()
    assert listener.subscription.startswith(f"projects/local/subscriptions/{begins}")


def test_on_cloud_run_it_is_named_after_the_service(listen, pubsub, monkeypatch):
    monkeypatch.setenv("K_SERVICE", "split2")
    listener = listen()
    listener.start()
    pubsub.wait()
    assert "/subscriptions/split2-" in listener.subscription


def test_a_container_that_fails_stops_nothing(listen, pubsub, caplog):
    class Failing:
        def announce(self, event):
            raise OSError("canary-address")

    second = Hearing()
    listener = listen(containers=(Failing(), second))
    listener.start()
    pubsub.wait().hear(Message(eventType="SECRET_UPDATE"))
    assert second.heard == [SecretEvent("SECRET_UPDATE")]
    assert "A container failed on a push: OSError" in caplog.text
    assert "canary" not in caplog.text


def test_a_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "google.cloud.pubsub_v1", None)
    with pytest.raises(DeclarationError, match=r"pip install 'pgp-config\[pubsub\]'"):
        PubSubListener(TOPIC).start()


def test_it_says_what_it_listens_to(listen):
    assert repr(listen()) == f"PubSubListener({TOPIC!r})"


class One(Hearing):
    """A container, as far as the middleware is concerned."""


def test_under_wsgi_it_is_started_with_the_first_request(listen, pubsub):
    listener, container = listen(), One()
    app = wsgi.PushMiddleware(lambda environ, start: [b"served"], container, listener)
    assert not pubsub.log
    for _ in range(2):
        assert app({}, None) == [b"served"]
    pubsub.wait()
    assert listener._containers == (container,)
    assert pubsub.log == ["connect", "create", "subscribe"]


@pytest.mark.parametrize("fails", [False, True])
async def test_under_asgi_it_lives_as_long_as_the_application(fails, listen, pubsub):
    listener, seen = listen(), []

    async def inner(scope, receive, send):
        seen.append(listener._thread is not None)
        if fails:
            raise ZeroDivisionError

    app = asgi.PushMiddleware(inner, One(), listener)
    with contextlib.suppress(ZeroDivisionError):
        await app({"type": "lifespan"}, None, None)
    assert listener._thread is None
    with contextlib.suppress(ZeroDivisionError):
        await app({"type": "http"}, None, None)
    assert listener._thread is not None
    assert seen == [True, True]
