"""Promise 19 with the real parts: Google's Pub/Sub emulator, its client, and the local Secret Manager.

`max_age` is an hour wherever only a push can explain what a request sees.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pgp_config import (
    DynamicSecret,
    Freshness,
    GoogleSecretManager,
    PubSubListener,
    SecretContainer,
    request_scope,
)
from pgp_config.emulator import SecretManagerEmulator, Topic
from pgp_config.events import Announced, Reloaded

pytestmark = pytest.mark.pubsub_emulator

HOUR = Freshness(max_age=3600)


class One(SecretContainer):
    key = DynamicSecret("PUBSUB_KEY", str)


class Seen:
    """An observer that can be waited for."""

    def __init__(self):
        self.events = []
        self._changed = threading.Condition()

    def __call__(self, event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, kind, number=1, **fields):
        def found():
            of_kind = [event for event in self.events if isinstance(event, kind)]
            return [e for e in of_kind if all(getattr(e, n) == v for n, v in fields.items())]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= number, 60), self.events
            return found()


@pytest.fixture
def manager(pubsub, topic):
    with SecretManagerEmulator(topics=[topic]) as emulator:
        emulator.publish_to(Topic(pubsub))
        emulator.add("PUBSUB_KEY", "v1")
        yield emulator


class Instance:
    """One process of a service, as far as Secret Manager and Pub/Sub can tell."""

    def __init__(self, manager, topic, **options):
        self.seen = Seen()
        self.source = GoogleSecretManager("local", endpoint=manager.endpoint)
        options = {"freshness": HOUR, **options}
        self.secrets = One(source=self.source, observers=[self.seen], **options)
        self.secrets.load()
        self.listener = PubSubListener(topic, service="instance")

    def listen(self):
        self.listener.start(self.secrets)
        assert self.listener.wait_until_listening(60)

    def read(self):
        with request_scope():
            return self.secrets.key()

    def close(self):
        self.listener.close()
        self.secrets.close()


@pytest.fixture
def start(manager, topic):
    started = []

    def one(**options):
        started.append(Instance(manager, topic, **options))
        return started[-1]

    yield one
    for instance in started:
        instance.close()


# promise 19
def test_every_instance_serves_a_rotation_with_its_next_request(manager, start):
    instances = [start(), start()]
    for instance in instances:
        instance.listen()
        assert instance.read() == "v1"
    manager.calls.reset()
    manager.lag("PUBSUB_KEY", 1)  # `latest` lags: it is the number that was fetched
    manager.add("PUBSUB_KEY", "v2")
    for instance in instances:
        instance.seen.wait_for(Reloaded, version=2)
        assert instance.read() == "v2"
    assert manager.calls.count("AccessSecretVersion") == 2


def test_a_rollback_is_heard_too(manager, start):
    manager.add("PUBSUB_KEY", "v2")
    instance = start()
    instance.listen()
    assert instance.read() == "v2"
    manager.disable("PUBSUB_KEY", 2)
    instance.seen.wait_for(Reloaded, version=1)
    assert instance.read() == "v1"
    manager.enable("PUBSUB_KEY", 2)
    instance.seen.wait_for(Reloaded, version=2)
    assert instance.read() == "v2"


# promise 19
def test_a_push_that_is_lost_is_made_good_by_max_age(manager, start, clock):
    instance = start(freshness=Freshness(max_age=60), clock=clock)
    instance.listen()
    instance.listener.close()
    manager.add("PUBSUB_KEY", "v2")
    clock.advance(30)
    assert instance.read() == "v1"
    clock.advance(31)
    assert instance.read() == "v2"


def test_duplicates_and_reordering_on_the_wire(manager, start, topic):
    from google.cloud import pubsub_v1

    manager.add("PUBSUB_KEY", "v2")
    manager.add("PUBSUB_KEY", "v3")
    manager.lag("PUBSUB_KEY", 1)
    instance = start()
    assert instance.read() == "v1"
    instance.listen()
    manager.calls.reset()
    secret = "projects/123456/secrets/PUBSUB_KEY"
    with pubsub_v1.PublisherClient() as publisher:
        for number in (3, 2, 3, 3, 1):
            publisher.publish(
                topic,
                b"",
                eventType="SECRET_VERSION_ADD",
                secretId=secret,
                versionId=f"{secret}/versions/{number}",
            ).result(60)
        publisher.publish(topic, b"canary", who="knows").result(60)
        publisher.publish(topic, b"", eventType="TOPIC_CONFIGURED").result(60)
        instance.seen.wait_for(Reloaded, version=3)
        instance.seen.wait_for(Announced, 5)
    assert instance.read() == "v3"
    # 2 may have come first: Pub/Sub promises no order.
    assert manager.calls.count("AccessSecretVersion") <= 2


def test_a_closed_listener_leaves_no_subscription_behind(manager, start, topic):
    from google.cloud import pubsub_v1

    instance = start()
    instance.listen()
    with pubsub_v1.PublisherClient() as publisher:
        listed = list(publisher.list_topic_subscriptions(request={"topic": topic}, timeout=60))
        assert listed == [instance.listener.subscription]
        with pubsub_v1.SubscriberClient() as subscriber:
            made = subscriber.get_subscription(
                request={"subscription": instance.listener.subscription}, timeout=60
            )
        assert made.message_retention_duration.total_seconds() == 600
        instance.listener.close()
        assert not list(publisher.list_topic_subscriptions(request={"topic": topic}, timeout=60))


def test_a_subscription_that_is_deleted_meanwhile_is_made_again(manager, start):
    from google.cloud import pubsub_v1

    instance = start()
    instance.listen()
    with pubsub_v1.SubscriberClient() as subscriber:
        name = instance.listener.subscription
        subscriber.delete_subscription(request={"subscription": name}, timeout=60)
        deadline = time.monotonic() + 60
        while not _exists(subscriber, name):
            assert time.monotonic() < deadline
    manager.add("PUBSUB_KEY", "v2")
    instance.seen.wait_for(Reloaded, version=2)


def _exists(subscriber, name):
    from google.api_core.exceptions import NotFound

    try:
        subscriber.get_subscription(request={"subscription": name}, timeout=60)
    except NotFound:
        return False
    return True


#: A server's parent process that listens, although it should not, and its child.
FORKING = """
import os, sys, threading
from pgp_config import (
    DynamicSecret, Freshness, GoogleSecretManager, PubSubListener, SecretContainer, request_scope
)
from pgp_config.events import Reloaded

class One(SecretContainer):
    key = DynamicSecret("PUBSUB_KEY", str, freshness=Freshness(max_age=3600))

def observe(event):
    if isinstance(event, Reloaded):
        reloaded.set()

reloaded = threading.Event()
source = GoogleSecretManager("local", endpoint=sys.argv[1])
secrets = One(source=source, observers=[observe])
secrets.load()
listener = PubSubListener(sys.argv[2])
listener.start(secrets)
assert listener.wait_until_listening(60)
child = os.fork()
if child == 0:
    assert listener.subscription is None
    listener.start(secrets)
who = "parent" if child else "child"
assert listener.wait_until_listening(60)
os.write(1, f"{who} listens\\n".encode())
assert reloaded.wait(60)
with request_scope():
    os.write(1, f"{who} serves {secrets.key()}\\n".encode())
listener.close()
secrets.close()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_that_listens_can_fork(manager, topic):
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKING, manager.endpoint, topic],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        listening = {program.stdout.readline(), program.stdout.readline()}
        assert listening == {"parent listens\n", "child listens\n"}
        manager.add("PUBSUB_KEY", "v2")
        serving = {program.stdout.readline(), program.stdout.readline()}
        assert serving == {"parent serves v2\n", "child serves v2\n"}
        assert program.wait(60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        program.stdout.close()
