"""Pulls the events of Secret Manager from Pub/Sub: one subscription for each instance.

Pub/Sub delivers a message to one subscriber of each subscription. A push subscription, and a pull
subscription that instances share, therefore tell *one* instance of a rotation and leave the others to
`max_age`. So each listener makes a subscription of its own, which Pub/Sub deletes after a day without
a listener: an instance that is killed leaves nothing behind that someone would have to clean up.

The only module here that imports Google's Pub/Sub client, on `start()`; it brings gRPC.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from pgp_config.errors import DeclarationError
from pgp_config.forking import gate
from pgp_config.push.event import PushRefused, SecretEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.push.endpoint import Announcing

_logger = logging.getLogger("pgp_config")

#: Seconds without a listener after which Pub/Sub deletes its subscription: the least it takes.
EXPIRES = 24 * 3600

#: Seconds for which Pub/Sub keeps a message that was not taken: the least it takes.
RETAINED = 600

#: Seconds after which Pub/Sub sends a message again that went to a connection which broke: the least it takes.
LEASE = 10

#: Seconds before a subscription that failed is tried again: from, and up to.
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

#: Seconds for making a subscription, and for deleting it at the end.
MAKE_TIMEOUT, DELETE_TIMEOUT = 10.0, 3.0

#: Seconds that `close()`, and a fork, wait for the thread at most.
PATIENCE = 15.0

#: What a listener can do something about; Pub/Sub drops the rest at no cost.
FILTER = (
    'hasPrefix(attributes.eventType, "SECRET_VERSION_") OR attributes.eventType = "SECRET_DELETE"'
)

_TOPIC = re.compile(r"projects/([^/]+)/topics/[^/]+")
_SUBSCRIPTION = re.compile(r"projects/[^/]+/subscriptions/[^/]+")


class PubSubListener:
    """Listens to a topic of Secret Manager's events in a thread, and tells containers of them.

    Give it to `install(app, container, push=…)`, which starts it in each serving process; or call
    `start()` and `close()`, never in a parent that forks its workers. What cannot be done now, such as
    to make the subscription, is tried again with a growing pause and logged: a service does not
    fail for want of a push. Google's client reconnects by itself.

    On Cloud Run with request-based billing the CPU is frozen between requests, and the thread with it:
    there messages wait for the next request, and `max_age` is what counts.

    Args:
        topic: `"projects/PROJECT/topics/TOPIC"`: the one that the secrets publish to.
        service: Begins the name of the subscription; by default the Cloud Run service's.
        subscription: `"projects/PROJECT/subscriptions/NAME"`, in place of a topic: one that exists, and
            that nobody else pulls from. It is neither made nor deleted.
        containers: Containers that are told, besides the one that is given to `start()`.
        client_factory: Makes Google's `SubscriberClient`, in each process; by default the one that finds
            credentials, and `PUBSUB_EMULATOR_HOST`, by itself.

    Raises:
        DeclarationError: If an argument cannot be meant so.
    """

    def __init__(
        self,
        topic: str | None = None,
        *,
        service: str | None = None,
        subscription: str | None = None,
        containers: tuple[Announcing, ...] = (),
        client_factory: Callable[[], Any] | None = None,
    ) -> None:
        if (topic is None) == (subscription is None):
            raise DeclarationError(
                "a listener needs a topic or a subscription, and not both",
                remedy="Give the topic that the secrets publish to.",
            )
        self._topic = topic
        self._project = "" if topic is None else _checked(_TOPIC, topic)[1]
        self._given = None if subscription is None else _checked(_SUBSCRIPTION, subscription)[0]
        self._service = _name_part(service or os.environ.get("K_SERVICE") or "pgp-config")
        self._containers = containers
        self._factory = client_factory or _google_client
        if client_factory is None:
            _require_google()
        self._begin_anew()
        gate.register(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._session: _Session | None = None
        self._own: str | None = None
        self._is_wanted = False
        self._forks = 0
        self._listening = threading.Event()

    def __repr__(self) -> str:
        return f"PubSubListener({self._topic or self._given!r})"

    @property
    def subscription(self) -> str | None:
        """The name of the subscription of this process; None before it has one."""
        return self._given or self._own

    @property
    def is_listening(self) -> bool:
        """Whether this process has a subscription, and so hears what is published from now on."""
        return self._listening.is_set()

    def start(self, container: Announcing | None = None) -> None:
        """Listen, in this process, from now on; idempotent, and quick.

        Args:
            container: A container that is told as well.

        """
        if container is not None and container not in self._containers:
            self._containers = (*self._containers, container)
        if self._is_wanted:
            return
        with self._lock:
            if not self._is_wanted:
                self._is_wanted = True
                atexit.register(self.close)
            self._launch_if_wanted()

    def _launch_if_wanted(self) -> None:
        """Not while the process forks, perhaps several times at once."""
        if self._is_wanted and self._thread is None and self._forks == 0:
            self._launch()

    def _launch(self) -> None:
        if self._given is None:
            name = f"{self._service}-{secrets.token_hex(8)}"
            self._own = f"projects/{self._project}/subscriptions/{name}"
        session = self._session = _Session(self)
        self._thread = threading.Thread(target=session.run, name="pgp-config-pubsub", daemon=True)
        self._thread.start()

    def wait_until_listening(self, seconds: float) -> bool:
        """Wait until there is a subscription: a push that is published from then on is heard.

        Args:
            seconds: How long to wait at most.

        Returns:
            Whether there is one.
        """
        return self._listening.wait(seconds)

    def close(self) -> None:
        """Stop listening and delete the subscription, if it was made here; idempotent."""
        with self._lock:
            self._is_wanted = False
        self._stop()
        atexit.unregister(self.close)

    def _stop(self) -> None:
        """End the thread, if there is one."""
        with self._lock:
            session, self._session = self._session, None
            thread, self._thread = self._thread, None
            self._listening.clear()
        if session is not None and thread is not None:
            session.end()
            thread.join(PATIENCE)
            self._own = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- forks -------------------------------------------------------------------------------

    def prepare_fork(self) -> None:
        """In the parent: end the stream, which is a call in flight; gRPC hangs in a child forked then.

        The subscription ends too. gRPC closes a connection later than it says; the child inherits it
        then, and Pub/Sub would go on to send messages there (measured: they came a minute late).
        """
        with self._lock:
            self._forks += 1
        self._stop()

    def resume_after_fork(self) -> None:
        """In the parent: listen again, to a new subscription."""
        with self._lock:
            self._forks -= 1
            self._launch_if_wanted()

    def renew_after_fork(self) -> None:
        """In a child: the parent listens, and the subscription is its own."""
        atexit.unregister(self.close)
        self._begin_anew()

    # -- what is heard -----------------------------------------------------------------------

    def hear(self, message: Any) -> None:  # noqa: ANN401  Google's message has no types
        """Take one message of Pub/Sub: acknowledge it at once, and tell the containers."""
        # Whatever it is, a second delivery would not make it better.
        message.ack()
        try:
            event = SecretEvent.from_attributes(message.attributes)
        except PushRefused as refusal:
            _logger.info("Ignored a message: %s", refusal)
            return
        for container in self._containers:
            try:
                container.announce(event)
            except Exception as fault:  # noqa: BLE001  the others are told all the same
                _logger.warning("A container failed on a push: %s", type(fault).__name__)

    def announce_listening(self, session: _Session) -> None:
        """There is a subscription."""
        if self._session is session:
            self._listening.set()

    def connect(self) -> Any:  # noqa: ANN401  Google's client has no types
        """A client of Google's."""
        return self._factory()

    def make_subscription(self, client: Any) -> str:  # noqa: ANN401  as above
        """The name of the subscription, which is made if it is not there."""
        if self._given is not None:
            return self._given
        request = {
            "name": self._own,
            "topic": self._topic,
            "filter": FILTER,
            "message_retention_duration": {"seconds": RETAINED},
            "expiration_policy": {"ttl": {"seconds": EXPIRES}},
        }
        from google.api_core.exceptions import AlreadyExists  # noqa: PLC0415  an extra

        with contextlib.suppress(AlreadyExists):
            client.create_subscription(request=request, timeout=MAKE_TIMEOUT, retry=None)
        return str(self._own)

    def delete_subscription(self, client: Any) -> None:  # noqa: ANN401  as above
        """Delete it, if it was made here."""
        if self._given is not None or self._own is None:
            return
        try:
            client.delete_subscription(
                request={"subscription": self._own}, timeout=DELETE_TIMEOUT, retry=None
            )
        except Exception as fault:  # noqa: BLE001  whatever Google's client raises
            _logger.info(
                "Could not delete %s (%s): Pub/Sub does in a day", self._own, type(fault).__name__
            )


class _Session:
    """One thread's listening, until its end; it begins again where it is broken off."""

    def __init__(self, listener: PubSubListener) -> None:
        self._listener = listener
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._stream: Any = None

    def run(self) -> None:
        """Listen."""
        pause = SHORTEST_PAUSE
        while not self._ending.is_set():
            try:
                self._listen()
                pause = SHORTEST_PAUSE
            except Exception as fault:  # noqa: BLE001  whatever Google's client raises; it may show addresses
                if self._ending.is_set():
                    return
                _logger.warning(
                    "Cannot listen to %s (%s): tried again in %g s; max_age holds meanwhile",
                    self._listener.subscription,
                    type(fault).__name__,
                    pause,
                )
            self._ending.wait(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _listen(self) -> None:
        from google.cloud.pubsub_v1 import types  # type: ignore[import-untyped]  # it has no types  # noqa: PLC0415  an extra
        from google.cloud.pubsub_v1.subscriber import (  # type: ignore[import-untyped]  # as above  # noqa: PLC0415  as above
            scheduler,
        )

        client = self._listener.connect()
        # One thread: messages are heard in the order in which they come.
        executor = ThreadPoolExecutor(1, "pgp-config-pubsub-heard")
        try:
            name = self._listener.make_subscription(client)
            stream = client.subscribe(
                name,
                self._listener.hear,
                flow_control=types.FlowControl(max_duration_per_lease_extension=LEASE),
                scheduler=scheduler.ThreadScheduler(executor),
                await_callbacks_on_shutdown=True,
            )
            self._follow(stream, name)
        finally:
            if self._ending.is_set():
                self._listener.delete_subscription(client)
            client.close()
            executor.shutdown()

    def _follow(self, stream: Any, name: str) -> None:  # noqa: ANN401  as above
        """Wait for the end of a stream: ours, or one that Google's client cannot mend."""
        with self._lock:
            self._stream = stream
            is_ending = self._ending.is_set()
        if is_ending:
            stream.cancel()
        self._listener.announce_listening(self)
        _logger.info("Listening to %s", name)
        try:
            stream.result()
        finally:
            with self._lock:
                self._stream = None

    def end(self) -> None:
        """Stop, from another thread; the thread ends soon after."""
        with self._lock:
            self._ending.set()
            stream = self._stream
        if stream is not None:
            stream.cancel()


def _checked(pattern: re.Pattern[str], name: object) -> re.Match[str]:
    match = pattern.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise DeclarationError(
            f"{name!r} is no full resource name",
            remedy="Give 'projects/PROJECT/topics/TOPIC', or 'projects/PROJECT/subscriptions/NAME'.",
        )
    return match


def _name_part(service: str) -> str:
    """The beginning of a subscription's name: a letter first, 200 characters at most."""
    part = re.sub(r"[^A-Za-z0-9-]", "-", service)[:200]
    # Pub/Sub refuses names that begin with "goog".
    return part if part[0].isalpha() and not part.startswith("goog") else f"s-{part}"


def _require_google() -> None:
    # Looked for when the service starts, and not imported: a request would be the first to be told.
    with contextlib.suppress(ModuleNotFoundError):
        if find_spec("google.cloud.pubsub_v1") is not None:
            return
    raise DeclarationError(
        "a listener needs Google's Pub/Sub client",
        remedy="Install it: pip install 'pgp-config[pubsub]'.",
    )


def _google_client() -> Any:  # noqa: ANN401  Google's client has no types
    from google.cloud import pubsub_v1  # noqa: PLC0415  an extra

    return pubsub_v1.SubscriberClient()
