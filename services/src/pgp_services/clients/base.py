"""The HTTP base of all clients: a key for each attempt, answers as values, retries within a budget.

```
call ── Call (decides) ──▶ attempts ── a key each ──▶ addressed() ── send ──▶ judge() ──▶ Outcome ──▶ value or failure
```
The key is read from its provider for every attempt and travels on that request only. A refused key
makes the client look for a newer version once (`rotation_retry_context`, where the secret can be
refreshed); a key that did not change is not tried again, unless the client is told to try the version
before it or to wait. What HTTP says becomes an `Outcome` before anything is raised, so that no error
carries a request, a URL or an answer, nor a frame whose locals hold them; nor does a log record
(`hushed`). Threads and coroutines differ in the send only.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, aclosing, closing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, Self, TypeAlias, TypeVar, cast
from urllib.parse import quote

import httpx

from pgp_config import DeclarationError, rotation_retry_context
from pgp_services.clients import deadlines
from pgp_services.clients.connections import HttpConnections
from pgp_services.clients.hushed import hushed, hushed_context, install
from pgp_services.clients.outcomes import Body, M, Outcome, Reply, bare, without_answer
from pgp_services.clients.retries import (
    SHORTEST_ATTEMPT,
    Course,
    RetryPolicy,
    retrying,
    retrying_async,
)
from pgp_services.failures import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from pydantic import SecretStr

    from pgp_config import Rotating
    from pgp_services.failures import Unavailable
    from pgp_services.provided import Provided

logger = logging.getLogger("pgp_services.clients")

K = TypeVar("K")
K_co = TypeVar("K_co", covariant=True)

#: What a client takes in place of a key; where it can be refreshed, a refused one is.
Key: TypeAlias = "Rotating[K] | Provided[K]"

#: The 503 of a call from which on it is not believed that a request which must have one effect had none.
_OUTAGES = 2

#: Bytes of an answer that are read, where the request says nothing else.
MAX_ANSWER = 65536


@dataclass(frozen=True, slots=True)
class Party:
    """Who is asked, and how it is told that it failed.

    Attributes:
        name: Its name, for texts.
        refused: The failure if it refuses, or answers nonsense.
        unavailable: The failure if it does not answer within the budget.
        key_refusals: The statuses by which it refuses a key, and nothing else.
    """

    name: str
    refused: type[Refused]
    unavailable: type[Unavailable]
    key_refusals: frozenset[int] = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Ask(Generic[M]):
    """One request, without its key.

    Attributes:
        what: What is asked, in one or two fixed words, for the log.
        method: GET or POST.
        path: The path below the base URL, beginning with a slash; without what a client adds of a key.
        answer: What a good answer says.
        query: The query.
        body: Sent as `application/json`, if it is given.
        once: Whether a second request would have a second effect. Such a one is sent again only where
            the first surely had none: no connection, 429, a refused key; and once after a 503 that says
            by `Retry-After` that it comes from who was asked. Never after a time-out or a lost connection.
        longest: Bytes of the answer that are read, at most.
        fits: Whether a good answer is one to what was asked.
    """

    what: str
    method: str
    path: str
    answer: type[M]
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    once: bool = False
    longest: int = MAX_ANSWER
    fits: Callable[[M], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Addressed:
    """Where an attempt goes, its key included; it is in no frame that raises.

    Attributes:
        url: The URL.
        headers: The headers of this client.
    """

    url: httpx.URL = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Call(Course, Generic[M]):
    """One request with all its attempts: everything that is decided, whoever sends it.

    Args:
        party: Who is asked.
        ask: What is asked.
        policy: The bounds of the call.

    Attributes:
        ask: What is asked.
        sending: Whether the attempt has got so far that something may have been sent.
    """

    def __init__(self, party: Party, ask: Ask[M], policy: RetryPolicy) -> None:
        super().__init__(policy)
        self.ask = ask
        self.sending = False
        self._party = party
        self._key_was_refused = False
        self._looks_for_key = True
        self._outages = 0

    def begin(self) -> None:
        """An attempt begins. If a key was refused in one before it, none is looked for again."""
        self._looks_for_key = not self._key_was_refused

    def refuses_key(self, error: Exception) -> bool:
        """Whether to look for another key."""
        if not isinstance(error, Refused) or not error.of_key:
            return False
        self._key_was_refused = True
        return self._looks_for_key

    def check_budget(self) -> None:
        """See that there is time for an attempt with another key.

        Raises:
            Unavailable: If there is none.
        """
        if self._key_was_refused and self.left() < SHORTEST_ATTEMPT:
            raise self._party.unavailable(
                f"{self._party.name} refuses a key that has been replaced"
            )

    def deadline(self) -> deadlines.Deadline:
        """When the attempt that begins now is over."""
        return deadlines.Deadline(self.clock() + self.attempt_limit(), self.clock)

    def body(self) -> Body:
        """Takes the answer of the attempt that begins now."""
        return Body(self.ask.longest, self.attempt_limit(), self.clock)

    def conclude(self, outcome: Outcome[M]) -> M:
        """What one attempt brought.

        Raises:
            Refused: If the same call would fail again.
            Unavailable: If the other party does not answer; `passing` says whether to go on.
        """
        party, trouble = self._party, outcome.trouble
        logger.debug("%s, %s: %s", party.name, self.ask.what, trouble or f"{outcome.status}")
        if outcome.value is not None:
            return outcome.value
        if outcome.refused is None and outcome.status in party.key_refusals:
            raise party.refused(trouble, of_key=True)
        in_doubt = self.ask.once and not self._had_no_effect(outcome)
        if in_doubt:
            trouble += "; it may have had its effect"
        if not outcome.passing:
            raise (outcome.refused or party.refused)(trouble)
        raise party.unavailable(trouble, retry_after=outcome.retry_after, passing=not in_doubt)

    def _had_no_effect(self, outcome: Outcome[M]) -> bool:
        """Whether a request surely had none; a second 503 is not believed."""
        self._outages += outcome.status == httpx.codes.SERVICE_UNAVAILABLE
        return outcome.without_effect and self._outages < _OUTAGES


class HttpClient(ABC, Generic[K]):
    """Base of the clients; usable from threads and from coroutines.

    A client says by `addressed` where its key travels and, if statuses do not tell all, by `judge` what
    an answer means.

    Args:
        key: The secret, not its value.
        base: The base URL, of `base_of`; None is one that was refused. A client whose secret is the
            whole URL gives its `home`.
        policy: The bounds of one call with all its attempts.
        previous_key: Whether a refused key makes it try the version before, where the store may be
            ahead of the other party. The fleet's rule is a newer version only, once.
        key_patience: Seconds to wait for a key that is accepted, 0 or more, within the policy's
            budget. The fleet's rule is 0: Cloud Tasks calls again.

    Attributes:
        party: Who is asked.

    Raises:
        DeclarationError: If the base URL is of another kind.
    """

    party: ClassVar[Party]

    def __init__(
        self,
        key: Key[K],
        base: httpx.URL | None,
        policy: RetryPolicy,
        *,
        previous_key: bool = False,
        key_patience: float = 0.0,
    ) -> None:
        if base is None:
            raise DeclarationError(
                f"the base URL of {self.party.name} is not https and a host",
                remedy="Leave it out, or give https://HOST, or http://127.0.0.1:PORT for a local "
                "stand-in. A key goes into the secret, never into the URL.",
            )
        install()
        self._key = key
        self._base = base
        self._policy = policy
        self._previous_key = previous_key
        self._key_patience = key_patience
        self._connections = HttpConnections()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @abstractmethod
    def addressed(self, ask: Ask[M], key: K) -> Addressed:
        """Where a request goes, and its headers, with this key."""

    def connections(self, key: K) -> HttpConnections:  # noqa: ARG002  for those whose key holds them
        """Whose connections an attempt with this key uses: the client's own."""
        return self._connections

    def judge(self, ask: Ask[M], reply: Reply) -> Outcome[M]:
        """What an answer means: by default its JSON as the model, or its status."""
        outcome = reply.read(ask.answer)
        if outcome.value is None or ask.fits(outcome.value):
            return outcome
        return Outcome(outcome.status, f"{self.party.name}'s answer is not to what was asked")

    def at(self, path: str) -> httpx.URL:
        """A path below the base URL."""
        return self._base.copy_with(raw_path=path.encode("ascii"))

    def call(self, ask: Ask[M], policy: RetryPolicy | None = None) -> M:
        """Ask, and give the answer.

        Args:
            ask: What is asked.
            policy: The bounds of this call, if they are not the client's.

        Raises:
            Refused: The party's own, if it refuses the request or the key, or answers nonsense.
            Unavailable: The party's own, if it does not answer within the budget.
            PgpConfigError: If there is no key.
        """
        call = Call(self.party, ask, policy or self._policy)
        return retrying(call.pause_after, self._attempt, call)

    async def call_async(self, ask: Ask[M], policy: RetryPolicy | None = None) -> M:
        """As `call`, from a coroutine."""
        call = Call(self.party, ask, policy or self._policy)
        return await retrying_async(call.pause_after, self._attempt_async, call)

    def close(self) -> None:
        """Close the connections of this process; the next use opens new ones."""
        self._connections.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next use opens new ones."""
        await self._connections.aclose()

    def _attempt(self, call: Call[M]) -> M:
        for attempt in self.with_keys(call):
            with attempt as key:
                call.check_budget()
                value = call.conclude(self._send(call, key))
        return value

    async def _attempt_async(self, call: Call[M]) -> M:
        async for attempt in self.with_keys(call):
            with attempt as key:
                call.check_budget()
                value = call.conclude(await self._send_async(call, key))
        return value

    def with_keys(self, call: Call[M]) -> Attempts[K]:
        """The attempts of a call until a key is accepted, each with a key."""
        call.begin()
        if not hasattr(self._key, "refresh"):
            return _OneAttempt(self._key)
        return rotation_retry_context(
            cast("Rotating[K]", self._key),
            on=call.refuses_key,
            budget=min(self._key_patience, call.left()),
            previous=self._previous_key,
        )

    def _send(self, call: Call[M], key: K) -> Outcome[M]:
        call.sending = False
        try:
            return hushed_context().run(self._exchange, call, key)
        except BaseException as fault:  # noqa: BLE001  its text and frames may hold the key
            ended = self._ended(call, fault)
        if isinstance(ended, Outcome):
            return ended
        raise ended

    async def _send_async(self, call: Call[M], key: K) -> Outcome[M]:
        call.sending = False
        try:
            with hushed():
                return await self._exchange_async(call, key)
        except BaseException as fault:  # noqa: BLE001  as above
            ended = self._ended(call, fault)
        if isinstance(ended, Outcome):
            return ended
        raise ended

    def _ended(self, call: Call[M], fault: BaseException) -> Outcome[M] | BaseException:
        if isinstance(fault, Exception):
            return without_answer(self.party.name, fault, sending=call.sending)
        return bare(fault)

    def _exchange(self, call: Call[M], key: K) -> Outcome[M]:
        # Only ever in a context of its own: it is not set back.
        deadlines.current.set(call.deadline())
        place = self.addressed(call.ask, key)
        client, body = self.connections(key).to(place.url), call.body()
        request = _request(client, call, place)
        call.sending = True
        with closing(client.send(request, stream=True)) as response:
            for chunk in response.iter_raw():
                body.take(chunk)
        return self.judge(call.ask, body.reply(self.party.name, response))

    async def _exchange_async(self, call: Call[M], key: K) -> Outcome[M]:
        place, body = self.addressed(call.ask, key), call.body()
        async with asyncio.timeout(call.attempt_limit()):
            client = await self.connections(key).to_async(place.url)
            request = _request(client, call, place)
            call.sending = True
            async with aclosing(await client.send(request, stream=True)) as response:
                async for chunk in response.aiter_raw():
                    body.take(chunk)
        return self.judge(call.ask, body.reply(self.party.name, response))


def in_path(key: SecretStr) -> str:
    """A key as a part of a path: what would end the part is escaped."""
    return quote(key.get_secret_value(), safe=":")


def split(limit: float) -> httpx.Timeout:
    """An attempt's time over its steps: httpx bounds each of them, not their sum."""
    return httpx.Timeout(limit * 2 / 3, connect=limit / 3, pool=limit / 3)


def _request(
    client: httpx.Client | httpx.AsyncClient, call: Call[M], place: Addressed
) -> httpx.Request:
    ask = call.ask
    headers = {"accept-encoding": "identity", **place.headers}
    if ask.body is not None:
        headers["content-type"] = "application/json"
    return client.build_request(
        ask.method,
        place.url,
        params=ask.query or None,
        content=ask.body,
        headers=headers,
        timeout=split(call.attempt_limit()),
    )


class Attempts(Protocol[K_co]):
    """Attempts with keys, for `for` and for `async for`."""

    def __iter__(self) -> Iterator[AbstractContextManager[K_co]]: ...

    def __aiter__(self) -> AsyncIterator[AbstractContextManager[K_co]]: ...


class _OneAttempt(Generic[K]):
    """The one attempt of a key that does not rotate.

    No generator: one that is left half-way waits for the garbage collector to say so.

    Args:
        key: The secret.
    """

    def __init__(self, key: Provided[K]) -> None:
        self._keys = [key]

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> AbstractContextManager[K]:
        if not self._keys:
            raise StopIteration
        return nullcontext(self._keys.pop()())

    async def __anext__(self) -> AbstractContextManager[K]:
        if not self._keys:
            raise StopAsyncIteration
        return nullcontext(await self._keys.pop().async_())
