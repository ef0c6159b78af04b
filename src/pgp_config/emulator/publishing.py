"""Publishes what changed, as Secret Manager does: to Pub/Sub's emulator, or straight to a push URL.

A secret's changes are published to the topics that it has. They are delivered by a thread of its own, in
their order, so that no caller waits for it; a delivery that fails is tried again, and logged in the end.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc  # type: ignore[import-untyped]  # grpcio has no types
import requests
from google.protobuf.json_format import MessageToJson

from pgp_config.emulator.signing import SERVICE_ACCOUNT
from pgp_config.errors import DeclarationError

if TYPE_CHECKING:
    from pgp_config.emulator.signing import TokenSigner

_logger = logging.getLogger("pgp_config.emulator")

#: How often a delivery is tried, and the seconds after the first failure; twice as many each time.
ATTEMPTS, PAUSE = 4, 0.25

#: Seconds that one attempt may take.
TIMEOUT = 5.0

#: Seconds that `stop()` waits for what is still to be delivered.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one topic.

    Attributes:
        topic: The topic's full name.
        attributes: Those of the message.
        data: The metadata of the secret or version, in JSON; never a payload.
    """

    topic: str
    attributes: dict[str, str]
    data: bytes


Target: TypeAlias = Callable[[Notice], None]
"""Delivers one message, or raises."""


def notices(kind: str, secret: Any, version: Any, now: float, **more: str) -> list[Notice]:  # noqa: ANN401  protobuf messages have no types
    """The messages of one event, one for each topic of the secret.

    Args:
        kind: Secret Manager's word for it.
        secret: The secret's metadata.
        version: The version's metadata, or None.
        now: Seconds of Unix time.
        more: Further attributes.
    """
    attributes = {
        "eventType": kind,
        "dataFormat": "JSON_API_V1",
        "secretId": secret.name,
        "timestamp": datetime.fromtimestamp(now, UTC).isoformat(),
        **({} if version is None else {"versionId": version.name}),
        **more,
    }
    data = MessageToJson(secret if version is None else version).encode()
    return [Notice(topic.name, attributes, data) for topic in secret.topics]


def trial_notices(secret: Any) -> list[Notice]:  # noqa: ANN401  as above
    """The messages with which Secret Manager tries topics that are configured: a kind and nothing else."""
    attributes = {"eventType": "TOPIC_CONFIGURED"}
    return [Notice(topic.name, attributes, b"") for topic in secret.topics]


class Outbox:
    """Messages that are to be delivered, and the thread that does."""

    def __init__(self) -> None:
        self._targets: list[tuple[Target, int]] = []
        self._waiting: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def add(self, target: Target, times: int) -> None:
        """Deliver to this target from now on.

        Args:
            target: It delivers one message.
            times: How often each message is delivered; Pub/Sub's duplicates.
        """
        self._targets.append((target, times))

    def put(self, messages: list[Notice]) -> None:
        """Have messages delivered; returns at once."""
        if not self._targets or not messages:
            return
        for message in messages:
            self._waiting.put(message)
        with self._lock:
            if self._thread is None:
                self._stopping.clear()
                self._thread = threading.Thread(
                    target=self._deliver_all, name="secret-manager-emulator-outbox", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Deliver what is waiting, without trying again, and end the thread; idempotent."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._waiting.put(None)
            thread.join(PATIENCE)

    def _deliver_all(self) -> None:
        while (message := self._waiting.get()) is not None:
            for target, times in self._targets:
                for _ in range(times):
                    self._deliver(target, message)

    def _deliver(self, target: Target, message: Notice) -> None:
        failure: str | None = ""
        attempts = 0
        while failure is not None and attempts < ATTEMPTS:
            if attempts and self._stopping.wait(PAUSE * 2 ** (attempts - 1)):
                break
            failure = _failure_of(target, message)
            attempts += 1
        if failure is not None:
            kind = message.attributes["eventType"]
            _logger.warning("Could not deliver %s: %s", kind, failure)


def _failure_of(target: Target, message: Notice) -> str | None:
    try:
        target(message)
    except Exception as fault:  # noqa: BLE001  requests and gRPC raise theirs
        return type(fault).__name__
    return None


class Topic:
    """A target: the topics of a Pub/Sub emulator, which are made where they are missing.

    Args:
        host: Such as "127.0.0.1:8085"; what `PUBSUB_EMULATOR_HOST` says.

    Raises:
        DeclarationError: If Google's Pub/Sub client is not installed.
    """

    def __init__(self, host: str) -> None:
        try:
            from google.pubsub_v1 import (  # noqa: PLC0415  an extra
                PublisherClient,
            )
            from google.pubsub_v1.services.publisher.transports import (  # noqa: PLC0415  as above
                PublisherGrpcTransport,
            )
        except ImportError:
            raise DeclarationError(
                "publishing to Pub/Sub needs Google's client",
                remedy="Install it: pip install 'pgp-config[pubsub]'.",
            ) from None
        transport = PublisherGrpcTransport(channel=grpc.insecure_channel(host))
        self._client: Any = PublisherClient(transport=transport)
        self._made: set[str] = set()

    def __call__(self, notice: Notice) -> None:
        """Publish one message."""
        self._make(notice.topic)
        message = {"data": notice.data, "attributes": notice.attributes}
        self._client.publish(topic=notice.topic, messages=[message], timeout=TIMEOUT, retry=None)

    def _make(self, topic: str) -> None:
        from google.api_core.exceptions import AlreadyExists  # noqa: PLC0415  an extra

        if topic not in self._made:
            with contextlib.suppress(AlreadyExists):
                self._client.create_topic(name=topic, timeout=TIMEOUT, retry=None)
            self._made.add(topic)


class PushUrl:
    """A target: a push endpoint, as a push subscription to every topic reaches it.

    Args:
        url: The endpoint.
        signer: Signs the token of each push; without one there is none.
        audience: The token's audience; by default the URL, as in Pub/Sub.
        service_account: The token's service account.
    """

    def __init__(
        self,
        url: str,
        *,
        signer: TokenSigner | None,
        audience: str | None = None,
        service_account: str = SERVICE_ACCOUNT,
    ) -> None:
        self._url = url
        self._signer = signer
        self._audience = audience or url
        self._account = service_account

    def __call__(self, notice: Notice) -> None:
        """Push one message."""
        message = {
            "attributes": notice.attributes,
            "data": base64.b64encode(notice.data).decode(),
            "messageId": str(uuid.uuid4().int >> 64),
            "publishTime": datetime.now(UTC).isoformat(),
        }
        project = notice.topic.partition("/topics/")[0]
        body = {"message": message, "subscription": f"{project}/subscriptions/local"}
        headers = {"Content-Type": "application/json"}
        if self._signer is not None:
            token = self._signer.token(self._audience, self._account)
            headers["Authorization"] = f"Bearer {token}"
        with requests.Session() as session:
            session.trust_env = False  # no proxy on the way to this machine
            answer = session.post(
                self._url, data=json.dumps(body), headers=headers, timeout=TIMEOUT
            )
        answer.raise_for_status()
