"""The HTTP endpoint of a push subscription, free of any framework.

`pgp_config.wsgi.PushMiddleware` and `pgp_config.asgi.PushMiddleware` bring requests here. They answer
before the application, its scopes and its own checks: a push is from a machine, and proves itself.

An answer comes after the fetch that the push set off, 2 s later at most: Cloud Run with request-based
billing freezes the CPU once a request is answered. It is 204 whatever came of the fetch: the number is
remembered and fetched with the next read, and a second delivery would find another instance.
"""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pgp_config.errors import DeclarationError
from pgp_config.push.event import MAX_BODY, PushRefused, SecretEvent, too_large
from pgp_config.push.tokens import GoogleTokens, TokenRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pgp_config.cache import Landing

_logger = logging.getLogger("pgp_config")

#: Seconds that an answer waits for the fetch; Pub/Sub waits 10 s for the answer.
PATIENCE = 2.0

#: Seconds between two log lines about refused pushes of one status.
REPEAT_PAUSE = 30.0

#: Seconds after which a sender may try again that could not be verified.
RETRY_AFTER = 10


class Announcing(Protocol):
    """What is told of a push: an instance of a `SecretContainer`."""

    def announce(self, event: SecretEvent) -> Landing:
        """Take note of a change."""
        ...


class Verifier(Protocol):
    """Who says whether a token is good: `GoogleTokens`."""

    def verify(self, token: str) -> None:
        """Check a token; may block.

        Raises:
            PushRefused: If it is not good, or cannot be checked.
        """
        ...


class Answer(NamedTuple):
    """An HTTP answer; in JSON, unless it has no content.

    Attributes:
        status: 204, or the status of a `PushRefused`.
        content: What becomes the JSON object; nothing with a 204.
    """

    status: int
    content: dict[str, object]

    @property
    def headers(self) -> dict[str, str]:
        """Besides the content's type and length."""
        headers = {"Cache-Control": "no-store"}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(RETRY_AFTER)
        return headers


_ACCEPTED = Answer(HTTPStatus.NO_CONTENT, {})


class PushEndpoint:
    """Where Pub/Sub pushes the events of Secret Manager.

    A push subscription reaches one instance of the service only. For several instances use one
    `PubSubListener` each, or let `max_age` do the rest.

    Args:
        path: Where it is; give it to the subscription's `--push-endpoint`, with the service's address.
        audience: As for `GoogleTokens`.
        service_account: As for `GoogleTokens`.
        verifier: Checks tokens in place of `GoogleTokens(audience=…, service_account=…)`; such as one with
            `behind_cloud_run_iam=True`.
        containers: Containers that hear of pushes besides the one that is installed.
        clock: Monotonic seconds, for the log; a test gives its own.

    Raises:
        DeclarationError: If an argument cannot be meant so, or google-auth is not installed.
    """

    def __init__(
        self,
        path: str = "/pubsub/secrets",
        *,
        audience: str = "",
        service_account: str = "",
        verifier: Verifier | None = None,
        containers: tuple[Announcing, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(path, str) or not path.startswith("/") or path.endswith("/"):
            raise DeclarationError(
                f"path={path!r} is no place for a push endpoint",
                remedy="Give a path such as '/pubsub/secrets'.",
            )
        self.path = path
        self._verifier = verifier or GoogleTokens(
            audience=audience, service_account=service_account
        )
        self._containers = containers
        self._clock = clock
        self._told: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"PushEndpoint({self.path!r})"

    def answer(
        self, container: Announcing, headers: Mapping[str, str], read: Callable[[int], bytes]
    ) -> Answer:
        """Answer one POST.

        Args:
            container: The container that is installed.
            headers: The request's headers, by name in lower case.
            read: Gives the body, as many bytes at most.
        """
        try:
            self._verify(headers)
            landings = self._tell(container, headers, read(MAX_BODY + 1))
        except PushRefused as refusal:
            return self._refused(refusal)
        until = time.monotonic() + PATIENCE
        for landing in landings:
            landing.wait(max(0.0, until - time.monotonic()))
        return _ACCEPTED

    async def answer_async(
        self,
        container: Announcing,
        headers: Mapping[str, str],
        read: Callable[[int], Awaitable[bytes]],
    ) -> Answer:
        """As `answer`, for a coroutine."""
        try:
            # In a thread: certificates may have to be fetched.
            await asyncio.to_thread(self._verify, headers)
            landings = self._tell(container, headers, await read(MAX_BODY + 1))
        except PushRefused as refusal:
            return self._refused(refusal)
        await asyncio.gather(*(landing.wait_async(PATIENCE) for landing in landings))
        return _ACCEPTED

    def _verify(self, headers: Mapping[str, str]) -> None:
        length = headers.get("content-length", "")
        if length.isdecimal() and (len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY):
            raise too_large()
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenRefused(
                "a push has no token",
                remedy="Give the subscription --push-auth-service-account.",
            )
        self._verifier.verify(token.strip())

    def _tell(
        self, container: Announcing, headers: Mapping[str, str], body: bytes
    ) -> list[Landing]:
        event = SecretEvent.from_push(headers, body)
        return [told.announce(event) for told in (container, *self._containers)]

    def _refused(self, refusal: PushRefused) -> Answer:
        now = self._clock()
        if now >= self._told.get(refusal.status, -inf) + REPEAT_PAUSE:
            self._told[refusal.status] = now
            _logger.warning("Refused a push with %d: %s", refusal.status, refusal)
        return Answer(refusal.status, {"error": HTTPStatus(refusal.status).phrase.lower()})
