"""The way through the window in which the other side has changed its key and the store has not, or the reverse.

A *course* is one call of one request with all its attempts. It is a generator that decides, and
yields what is to be done: an attempt, or a step that a thread waits for and a coroutine awaits. What
requests learn from one another is in `Verdicts`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from contextlib import suppress
from math import inf
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    cast,
)

from pgp_config.errors import (
    BlockingRead,
    DeclarationError,
    RejectedVersion,
    SecretRefused,
    SecretUnavailable,
)
from pgp_config.policy import seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
    from concurrent.futures import Future
    from datetime import timedelta
    from types import TracebackType

    from pgp_config.payload import Versioned
    from pgp_config.verdicts import Verdicts

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")

#: Seconds for all attempts and waits of a call together: a sixth of the 30 s that gunicorn gives a request.
BUDGET = 5.0

#: What says that a key was refused: exception types, or a predicate on the exception.
Refusal: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]"


class Rotating(Protocol[T_co]):
    """What the retry needs of a secret: a `DynamicSecret` has it."""

    @property
    def name(self) -> str:
        """The secret's name."""
        ...

    @property
    def verdicts(self) -> Verdicts:
        """What the other side said of its versions."""
        ...

    def versioned(self) -> Versioned[T_co]:
        """The value that the scope sees, with its version number."""
        ...

    async def versioned_async(self) -> Versioned[T_co]:
        """As `versioned`, from a coroutine."""
        ...

    def refresh(self) -> bool:
        """Ask the source now."""
        ...

    async def arefresh(self) -> bool:
        """As `refresh`, from a coroutine."""
        ...

    def at_version(self, number: int) -> Versioned[T_co]:
        """One version by its number."""
        ...

    async def at_version_async(self, number: int) -> Versioned[T_co]:
        """As `at_version`, from a coroutine."""
        ...

    def catch_up(self) -> bool:
        """Let the scope see the newest version that the process knows."""
        ...


class _Step:
    """Something to wait for, by a thread or by a coroutine; `result` is what it brought.

    Args:
        run: Waits in a thread.
        run_async: Waits in a coroutine.
        tolerant: Whether a secret that is not to be had is a result: None.
    """

    def __init__(
        self,
        run: Callable[[], Any],
        run_async: Callable[[], Awaitable[Any]],
        *,
        tolerant: bool = True,
    ) -> None:
        self.run = run
        self.run_async = run_async
        self.tolerated = (SecretUnavailable, RejectedVersion) if tolerant else ()
        self.result: Any = None

    def do(self) -> None:
        with suppress(*self.tolerated):
            self.result = self.run()

    async def do_async(self) -> None:
        with suppress(*self.tolerated):
            self.result = await self.run_async()


def _waiting(news: Future[None], limit: float, secret: str) -> _Step:
    """Wait for news, up to a limit in seconds."""
    return _Step(lambda: _wait_in_thread(news, limit, secret), lambda: _wait_in_loop(news, limit))


def _wait_in_thread(news: Future[None], limit: float, secret: str) -> None:
    _refuse_to_block(secret)
    with suppress(TimeoutError):
        news.result(limit)


async def _wait_in_loop(news: Future[None], limit: float) -> None:
    landing = asyncio.wrap_future(news)
    try:
        # Not wait_for(): in Python 3.11 it swallows a cancellation that comes with the news.
        await asyncio.wait({landing}, timeout=limit)
    finally:
        landing.cancel()


def _refuse_to_block(secret: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingRead(
        "a retry has to wait for another version, and would block the running event loop",
        remedy="Write `async for attempt in rotation_retry_context(…)`, or decorate a coroutine.",
        secret=secret,
    )


class Attempt(Generic[T]):
    """One attempt with one version: `with attempt as key:`, also in a coroutine.

    Attributes:
        number: The version's number; None for a value that a test gave.
    """

    def __init__(self, course: _Course[T], versioned: Versioned[T]) -> None:
        self._course = course
        self._versioned = versioned
        self.number = versioned.number
        self.began = course.verdicts.clock()

    def __repr__(self) -> str:
        return f"<Attempt with {self._course.secret.name} version {self.number}>"

    @property
    def value(self) -> T:
        """The value to try; it may differ from what the scope sees."""
        return self._versioned.value

    def __enter__(self) -> T:
        return self._versioned.value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return self._course.conclude(self, error)


class _Course(Generic[T]):
    """One call with all its attempts: what to do next.

    Args:
        secret: The secret.
        policy: The bounds of the call.
    """

    def __init__(self, secret: Rotating[T], policy: rotation_retry_context[T]) -> None:
        self.secret = secret
        self.verdicts = secret.verdicts
        self._policy = policy
        self._end = self.verdicts.clock() + policy.budget
        self._tried: set[int] = set()
        self._refused: set[int] = set()
        self._missing: set[int] = set()
        self._seen: Versioned[T] | None = None
        self._looked = False
        self._done = False
        self._original: Exception | None = None

    # -- what became of an attempt -----------------------------------------------------------

    def conclude(self, attempt: Attempt[T], error: BaseException | None) -> bool:
        """Note how an attempt ended; whether its exception is kept back, for there may be another."""
        if error is None:
            self._accept(attempt)
            return False
        refuses = False
        try:
            refuses = isinstance(error, Exception) and self._policy.refuses(error)
        finally:
            if not refuses:
                self.verdicts.release(self)
        if refuses:
            self._refuse(attempt, cast("Exception", error))
        return refuses

    def _accept(self, attempt: Attempt[T]) -> None:
        if attempt.number is not None:
            self.verdicts.accepted(self, attempt.number, attempt.began, self._refused)

    def _refuse(self, attempt: Attempt[T], error: Exception) -> None:
        self._done = False
        self._original = error if self._original is None else self._original
        if attempt.number is not None:
            self._refused.add(attempt.number)
            rests = self._policy.budget > 0  # without one, each call makes its first attempt
            self.verdicts.refused(self, attempt.number, attempt.began, rests=rests)

    # -- what to do next ---------------------------------------------------------------------

    def steps(self) -> Generator[_Step | Attempt[T], None, None]:
        """Attempts, and what is to be waited for between them.

        Raises:
            Exception: The first refusal of this call, when no attempt is left.
            SecretRefused: In its place, if there was no attempt: others were refused lately.
        """
        try:
            while not self._done:
                found = yield from self._find()
                if found is None:
                    raise self._failure()
                if found.number is not None:
                    self._tried.add(found.number)
                self._done = True  # unless it is refused
                yield Attempt(self, found)
        finally:
            self.verdicts.release(self)

    def _find(self) -> Generator[_Step, None, Versioned[T] | None]:
        """A version that is worth an attempt; None if this call has tried what it can."""
        seen = yield from self._see()
        while seen.number is not None:
            # Taken first: what becomes known after it wakes this call up.
            news = self.verdicts.news()
            number = self._choice(seen.number)
            if number == seen.number:
                return seen
            if number is not None:
                found = yield from self._fetch(number)
                if found is not None:
                    return found
            elif (yield from self._look_further(seen.number, news)):
                seen = yield from self._see()
            else:
                return None
        return None if self._original is not None else seen

    def _choice(self, newest: int) -> int | None:
        policy, closed = self._policy, self._tried | self._missing
        if policy.budget == 0 and newest not in closed:
            return newest  # there is no time to wait for what others find out
        number = self.verdicts.choose(self, newest, closed, favours=policy.previous)
        if number is not None or not (policy.previous and self._looked):
            return number
        before = newest - 1
        if before < 1 or before in closed or self.verdicts.due_in(before) < inf:
            return None
        return before

    def _see(self) -> Generator[_Step, None, Versioned[T]]:
        """What the scope sees; where that was refused, what the process knows."""
        secret, known = self.secret, self._seen is not None
        read = _Step(secret.versioned, secret.versioned_async, tolerant=known)
        yield read
        seen = cast("Versioned[T]", read.result or self._seen)
        if seen.number is not None and self._is_refused(seen.number):
            secret.catch_up()
            yield read
            seen = read.result or seen
        self._seen = seen
        return seen

    def _is_refused(self, number: int) -> bool:
        return number in self._refused or self.verdicts.is_refused(number)

    def _fetch(self, number: int) -> Generator[_Step, None, Versioned[T] | None]:
        secret = self.secret
        fetched = _Step(lambda: secret.at_version(number), lambda: secret.at_version_async(number))
        yield fetched
        if fetched.result is None:
            self._missing.add(number)
        found: Versioned[T] | None = fetched.result
        return found

    def _look_further(self, newest: int, news: Future[None]) -> Generator[_Step, None, bool]:
        """Wait for others' news, or look at the source; whether there was time for it."""
        wait = self._time_to_look(newest)
        if wait is None:
            return False
        if wait > 0:
            yield _waiting(news, wait, self.secret.name)
            return True
        self.verdicts.note_look()
        yield _Step(self.secret.refresh, self.secret.arefresh)
        self._looked = True
        self._missing.clear()
        return True

    def _time_to_look(self, newest: int) -> float | None:
        """Seconds to wait for news, 0 to look at the source now, or None to give up."""
        if self._policy.budget == 0:
            return None if self._looked else 0
        left = self._end - self.verdicts.clock()
        if left <= 0:
            return None
        pause = self.verdicts.lead(self, left)
        wait = left if pause is None else pause
        if newest not in self._tried:
            wait = min(wait, self.verdicts.due_in(newest))
        return None if pause is not None and wait >= left else wait

    def _failure(self) -> Exception:
        # Forgotten here: its traceback leads to frames that hold this course.
        original, self._original = self._original, None
        return (
            original
            if original is not None
            else SecretRefused(
                "the other side refused it lately, and no other version is to be had",
                remedy="Add the version that it accepts; until then it is tried again now and then.",
                secret=self.secret.name,
                container=self.verdicts.container,
            )
        )


class rotation_retry_context(Generic[T]):  # noqa: N801  used as `for attempt in rotation_retry_context(…)`
    """Attempts with a secret's versions until the other side accepts one.

    Each iteration is a call of its own. The first attempt is with the version that the scope sees.
    Where the other side refuses it: `refresh()`, and the new version, with which the scope goes on;
    then the version before it by number, for the store may be ahead of the other side; then a pause,
    and another look, until the budget is spent. Then the first refusal is raised. A version is tried
    once in a call.

    All requests of the process share what they learn: while one looks for the version that is
    accepted, the others wait for it, each within its budget. A refused version is tried again by one
    request at a time, after 1 s, 2 s, 4 s … 60 s. Where an older version is accepted, requests start
    with that one, until the newest is. A request that could make no attempt within its budget
    because every version was refused lately raises `SecretRefused`.

    Args:
        secret: The secret, not its value.
        on: What says that the key was refused: exception types, or a function of the exception. Name
            the refusal of a key only: what else is refused would rest the key for all requests.
        budget: Seconds (or timedelta) for all attempts and waits together, 0 or more. An attempt that
            runs is not interrupted. 0 waits for nobody: one `refresh()` a call, and every call makes
            its first attempt.
        previous: Whether an older version may be tried.

    Raises:
        DeclarationError: If an argument is of another kind.
    """

    def __init__(
        self,
        secret: Rotating[T],
        *,
        on: Refusal,
        budget: float | timedelta = BUDGET,
        previous: bool = True,
    ) -> None:
        if not hasattr(secret, "versioned"):
            raise DeclarationError(
                f"rotation_retry was given a {type(secret).__name__} in place of a secret",
                remedy="Give the DynamicSecret itself: rotation_retry(secrets.api_key, on=…).",
            )
        self._secret = secret
        self.refuses = _predicate_of(on)
        self.budget = seconds(budget, what="budget")
        self.previous = previous

    def __repr__(self) -> str:
        return f"<rotation_retry_context of {self._secret.name}>"

    def __iter__(self) -> Iterator[Attempt[T]]:
        return _Attempts(_Course(self._secret, self))

    def __aiter__(self) -> AsyncIterator[Attempt[T]]:
        return _Attempts(_Course(self._secret, self))


class _Attempts(Generic[T]):
    """The attempts of one call, for `for` and for `async for`.

    No generator: one that is left half-way waits for the garbage collector to say so.
    """

    def __init__(self, course: _Course[T]) -> None:
        self._steps = course.steps()

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> Attempt[T]:
        try:
            for step in self._steps:
                if isinstance(step, Attempt):
                    return step
                step.do()
        except BaseException:
            self._steps.close()
            raise
        raise StopIteration

    async def __anext__(self) -> Attempt[T]:
        try:
            for step in self._steps:
                if isinstance(step, Attempt):
                    return step
                await step.do_async()
        except BaseException:
            self._steps.close()
            raise
        raise StopAsyncIteration


def rotation_retry(
    secret: Rotating[T],
    *,
    on: Refusal,
    budget: float | timedelta = BUDGET,
    previous: bool = True,
) -> Callable[[Callable[Concatenate[T, P], R]], Callable[P, R]]:
    """As `rotation_retry_context`, for a function or a coroutine function whose first argument is the value.

    Args:
        secret: The secret, not its value.
        on: As there.
        budget: As there.
        previous: As there.

    Raises:
        DeclarationError: If an argument is of another kind, or the function is a generator.
    """
    attempts = rotation_retry_context(secret, on=on, budget=budget, previous=previous)
    return lambda function: _retrying(attempts, function)


def _retrying(
    attempts: rotation_retry_context[T], function: Callable[Concatenate[T, P], Any]
) -> Callable[P, Any]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(
            f"{function.__qualname__} is a generator: calling it makes no attempt",
            remedy="Use rotation_retry_context inside of it.",
        )

    # The value is in no local variable: a traceback may show those.
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401  what the function returns
        result = None
        for attempt in attempts:
            with attempt:
                result = function(attempt.value, *args, **kwargs)
        return result

    @functools.wraps(function)
    async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401  as above
        result = None
        async for attempt in attempts:
            with attempt:
                result = await function(attempt.value, *args, **kwargs)
        return result

    return call_async if inspect.iscoroutinefunction(function) else call


def _predicate_of(on: Refusal) -> Callable[[Exception], bool]:
    kinds = on if isinstance(on, tuple) else (on,)
    if kinds and all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return lambda error: isinstance(error, cast("tuple[type[Exception], ...]", kinds))
    if callable(on) and not isinstance(on, type):
        return on
    raise DeclarationError(
        f"rotation_retry(on={on!r}) says nothing of a refusal",
        remedy="Give an exception type, a tuple of them, or a function of the exception.",
    )
