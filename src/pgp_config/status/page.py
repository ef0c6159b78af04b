"""The status page as HTTP: where it is, who may see it, and what is answered; free of any framework."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import time
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from pgp_config.errors import DeclarationError, PgpConfigError
from pgp_config.policy import seconds
from pgp_config.status.access import Challenge
from pgp_config.status.rendering import Rendering
from pgp_config.status.snapshot import Status
from pgp_config.status.wording import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgp_config.status.access import Auth, StatusRequest, Verdict
    from pgp_config.status.journal import Journal

_logger = logging.getLogger("pgp_config")

#: Seconds between two lines that say what is wrong with an auth callable: anybody can cause them.
REPEAT_PAUSE = 30.0

#: Seconds between two questions of an open page.
DEFAULT_EVERY = 3.0

#: Digits of `after=` at most.
_LONGEST_NUMBER = 15

#: With each answer: it is nobody's to keep, to frame, to embed or to guess the type of.
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

#: Of what is no page: nothing in it is ever run, loaded or framed.
_CLOSED_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Answer(NamedTuple):
    """An HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: All of them, by name.
        body: What follows; a server sends none of it after HEAD.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class StatusPage:
    """A page that shows what a container's secrets are doing, and the same as JSON; never a value.

    Give it to `install(app, container, status=…)`, or to the plain `StatusMiddleware`. It is served to GET
    and HEAD at its path, the JSON at `data` under it, outside of any scope and of the application.

    Args:
        auth: Asked of each request. It is given a `StatusRequest`, and returns `True` to let it in; `False` to
            have the application answer as if there was no page; or a `Challenge`, which is a 401. Whatever
            else it returns, or raises, is `False`, and logged. `SecretAuth` is one that is ready to use. In
            an ASGI application it may be a coroutine function; one that is none runs in a thread there.
        path: Where the page is.
        every: Seconds between two questions of an open page, more than 0. While nothing answers it grows to 60.

    Raises:
        DeclarationError: If an argument cannot be meant so.
    """

    def __init__(
        self, auth: Auth, *, path: str = "/_secrets", every: float = DEFAULT_EVERY
    ) -> None:
        if not callable(auth):
            raise DeclarationError(
                f"auth= was given a {type(auth).__name__}",
                remedy="Give a function of the request, or SecretAuth(secrets.status_token).",
            )
        if not isinstance(path, str) or not path.startswith("/") or path.endswith("/"):
            raise DeclarationError(
                f"path={path!r} is no place for a status page",
                remedy="Give a path such as '/_secrets'.",
            )
        if not seconds(every, what="every"):
            raise DeclarationError("every is 0", remedy="Give the seconds between two questions.")
        self.path = path
        self._every = every
        self._rendering = Rendering()
        self._auth: Callable[[StatusRequest], Any] = auth
        self._pages = {path: self._page, f"{path}/": self._page, f"{path}/data": self._data}
        self._container: object = None
        self._status: Status | None = None
        self._warned_at = -inf

    def __repr__(self) -> str:
        return f"StatusPage({self.path!r})"

    @property
    def paths(self) -> list[str]:
        """Where it answers."""
        return list(self._pages)

    @property
    def is_async(self) -> bool:
        """Whether the auth callable is a coroutine function."""
        called = getattr(self._auth, "__call__", None)  # noqa: B004  not whether, but which
        return inspect.iscoroutinefunction(self._auth) or inspect.iscoroutinefunction(called)

    def require_plain_auth(self) -> None:
        """Check that a WSGI application can ask the auth callable.

        Raises:
            DeclarationError: If it is a coroutine function.
        """
        if self.is_async:
            raise DeclarationError(
                "auth= is a coroutine function, which a WSGI application cannot wait for",
                remedy="Give a plain function.",
            )

    def attach(
        self, container: object, *, push: object = None, journal: Journal | None = None
    ) -> None:
        """Watch a container from now on; the same one again does nothing.

        Args:
            container: An instance of a `SecretContainer`.
            push: What tells it of changes, if anything does.
            journal: As for `Status`.

        Raises:
            DeclarationError: If it is none, or another one is shown already.
        """
        if self._status is not None:
            if container is self._container:
                return
            raise DeclarationError(
                "a StatusPage shows one container",
                remedy="Make a StatusPage for each, at a path of its own.",
            )
        self._status = Status(container, push=push, journal=journal)
        self._container = container

    def serves(self, method: object, path: object) -> bool:
        """Whether a request is for the page; its auth callable has not been asked yet."""
        return path in self._pages and method in {"GET", "HEAD"}

    def answer(self, request: StatusRequest) -> Answer | None:
        """Answer one request that the page `serves`; None where the application is to."""
        try:
            verdict = self._auth(request)
        except Exception as error:  # noqa: BLE001  whatever it raises refuses
            verdict = self._broken(error)
        if inspect.iscoroutine(verdict):
            verdict.close()  # it would warn that nobody awaited it
        return self._answer(verdict, request)

    async def answer_async(self, request: StatusRequest) -> Answer | None:
        """As `answer`, for a coroutine."""
        try:
            if self.is_async:
                verdict = await self._auth(request)
            else:
                # In a thread: it may read a secret that has to be fetched, or a file.
                verdict = await asyncio.to_thread(self._auth, request)
                verdict = await verdict if inspect.isawaitable(verdict) else verdict
        except Exception as error:  # noqa: BLE001  as above
            verdict = self._broken(error)
        return self._answer(verdict, request)

    def _broken(self, error: Exception) -> Verdict:
        # The text of an error that is not ours may hold anything.
        told = str(error) if isinstance(error, PgpConfigError) else type(error).__name__
        self._warn("raised", told)
        return False

    def _warn(self, did: str, what: str) -> None:
        now = time.monotonic()
        if now >= self._warned_at + REPEAT_PAUSE:
            self._warned_at = now
            _logger.warning("Refused to show %s: its auth callable %s %s", self.path, did, what)

    def _answer(self, verdict: Verdict, request: StatusRequest) -> Answer | None:
        # Not any truth: a response that refuses, or a coroutine, would let everybody in.
        if verdict is True:
            return self._pages[request.path](request)
        if isinstance(verdict, Challenge):
            return _challenged(verdict)
        if verdict is not False:
            self._warn(
                "returned", f"a {type(verdict).__name__}, and neither a bool nor a Challenge"
            )
        return None

    def _data(self, request: StatusRequest) -> Answer:
        status, query = self._watching(), parse_qs(request.query)
        try:
            document = status.snapshot(_known(query, status.instance))
        except ValueError:
            return _json({"error": "after= is no number"}, HTTPStatus.BAD_REQUEST)
        if "shown" in query:
            document["shown"] = words_of(document)
        return _json(document)

    def _page(self, request: StatusRequest) -> Answer:
        words = words_of(self._watching().snapshot())
        reloads = "refresh" in parse_qs(request.query)
        text = self._rendering.page(words, every=self._every, reloads=reloads)
        return _sent(
            # A name that the operating system gave may be no text.
            HTTPStatus.OK,
            text.encode(errors="backslashreplace"),
            "text/html; charset=utf-8",
            self._rendering.policy,
        )

    def _watching(self) -> Status:
        if self._status is None:
            raise DeclarationError(
                "the status page shows no container",
                remedy="Give it to install(app, container, status=…), or call attach(container).",
            )
        return self._status


def _known(query: Mapping[str, list[str]], instance: str) -> int:
    """The number of the last event of this process that the asker has, by one pair for each process it knows.

    Without an instance it is taken for this one's; of another's number nothing follows.

    Raises:
        ValueError: If a number is none.
    """
    numbers = [_number(text) for text in query.get("after", [])]
    instances = query.get("instance")
    if instances is None:
        return max(numbers, default=0)
    return dict(zip(instances, numbers, strict=False)).get(instance, 0)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise ValueError(text)
    return int(text)


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return _sent(status, json.dumps(content).encode(), "application/json", _CLOSED_POLICY)


def _challenged(challenge: Challenge) -> Answer:
    answer = _sent(
        HTTPStatus.UNAUTHORIZED, b"Unauthorized\n", "text/plain; charset=utf-8", _CLOSED_POLICY
    )
    return answer._replace(headers={**answer.headers, "WWW-Authenticate": challenge.scheme})


def _sent(status: HTTPStatus, body: bytes, kind: str, policy: str) -> Answer:
    headers = {
        **_HEADERS,
        "Content-Security-Policy": policy,
        "Content-Type": kind,
        "Content-Length": str(len(body)),
    }
    return Answer(status, headers, body)
