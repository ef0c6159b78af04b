"""Objects that are built from secrets: which one is current, who uses each, when each is closed.

One state machine under one lock. What the user wrote (factory, probe, close) is never called while
it is held, and never in an event loop's thread unless it belongs to that loop. Terms:

- A *combination* is the versions of all secrets of one object, as one reader sees them.
- A *line* is the objects of one event loop, or those of the process that belong to none.
- A *lease* is one use of an object; a retired object is closed when its last lease is given back.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from pgp_config.cache import tick
from pgp_config.errors import BuildError
from pgp_config.events import BuildFailed, Built, CloseFailed, Rebuilt
from pgp_config.facts import Record, fact
from pgp_config.forking import gate, threads_are_greenlets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgp_config.cache import Cache, Known
    from pgp_config.events import Event

T = TypeVar("T")

#: Seconds for which the end of a container waits for each build or close that is under way.
CLOSE_PATIENCE = 5.0

#: What closes an object, if its declaration does not say: the first that it has.
CLOSERS, ASYNC_CLOSERS = ("close", "dispose"), ("aclose", "close", "dispose")

#: What a child inherited: closing or freeing it would end the parent's connections.
_inherited: list[object] = []


@fact
class Combination(Record):
    """The versions of all secrets of an object, as one reader sees them.

    Attributes:
        versions: What tells one combination from another: for each secret the number of its version,
            or what stands for a value that a test gave.
        ticks: For each secret the logical time at which the source confirmed it, and the version's number: one
            that a push brought is as confirmed as the one before it. (0, 0) for a given one.
        values: The values; never shown.
        is_given: Whether a test gave one of them.
        knowns: What holds the versions in use, for as long as an object that is built from them is open.
    """

    versions: tuple[object, ...]
    ticks: tuple[tuple[int, int], ...]
    values: tuple[Any, ...] = field(repr=False)
    is_given: bool = False
    knowns: tuple[Known[Any], ...] = field(default=(), repr=False)

    def is_newer_than(self, other: Instance[Any]) -> bool:
        """Whether each secret that differs was confirmed later here; the numbers say nothing else.

        A rollback is newer with a lower number. A scope that took one secret from its pin and fetched
        another can see one that is newer beside one that is older: that is not newer.
        """
        pairs = zip(self.versions, other.versions, self.ticks, other.ticks, strict=True)
        later = [mine > its for version, its_version, mine, its in pairs if version != its_version]
        return bool(later) and all(later)


@fact
class Recipe(Record, Generic[T]):
    """How an object is built, tried and closed.

    Attributes:
        factory: Called with the values.
        keywords: For each value the keyword that it is passed by, or None.
        close: Called with an object that is no longer used; "auto" for the object's own method.
        probe: Called with a new object; raises, or returns False, if it cannot be used.
        is_async: Whether the factory is awaited, and the object belongs to an event loop.
    """

    factory: Callable[..., Any] = field(repr=False)
    keywords: tuple[str | None, ...]
    close: Callable[[T], object] | Literal["auto"] | None = field(repr=False)
    probe: Callable[[T], object] | None = field(repr=False)
    is_async: bool

    def call(self, values: Sequence[Any]) -> Any:  # noqa: ANN401  an object, or what is awaited for one
        """Call the factory."""
        given = list(zip(self.keywords, values, strict=True))
        positional = [value for keyword, value in given if keyword is None]
        named = {keyword: value for keyword, value in given if keyword is not None}
        return self.factory(*positional, **named)

    def closer(self, made: T) -> Callable[[], object] | None:
        """What closes this object, or None."""
        close = self.close
        if close is None:
            return None
        if close != "auto":
            return lambda: close(made)
        names = ASYNC_CLOSERS if self.is_async else CLOSERS
        methods = (getattr(made, name, None) for name in names)
        return next((method for method in methods if callable(method)), None)

    def refusal(self, made: T) -> str | None:
        """Why an object that a synchronous factory gave cannot be kept."""
        if inspect.iscoroutine(made):
            made.close()
            return "a synchronous factory gave a coroutine, write it as `async def`"
        if self.close != "auto":
            return None
        closer = self.closer(made)
        if inspect.iscoroutinefunction(closer) or (closer is None and hasattr(made, "aclose")):
            # It belongs to an event loop, and nobody would know to which.
            return "what is closed in an event loop needs an `async def` factory, or close=None"
        return None


class Instance(Generic[T]):
    """An object that was built.

    Attributes:
        made: The object.
        versions: The combination that it was built from.
        ticks: When that was last confirmed; as in a `Combination`.
        knowns: As in a `Combination`; none once it is closed.
        line: Where it belongs.
        order: Logical time at which it was built.
        users: Leases that are out.
        retired: Whether it is closed with its last lease: another one took its place.
        closed: Whether its end has begun; it is not leased any more.
    """

    __slots__ = (
        "closed",
        "knowns",
        "line",
        "made",
        "order",
        "retired",
        "ticks",
        "users",
        "versions",
    )

    def __init__(self, made: T, combination: Combination, line: _Line[T]) -> None:
        self.made = made
        self.versions = combination.versions
        self.ticks = combination.ticks
        self.knowns = combination.knowns
        self.line = line
        self.order = tick()
        self.users = 0
        self.retired = combination.is_given
        self.closed = False

    def confirm(self, combination: Combination) -> None:
        """Note that the source has confirmed what it was built from."""
        self.ticks = tuple(map(max, self.ticks, combination.ticks))


class Build(Generic[T]):
    """The making of one object, and all who wait for it.

    Attributes:
        combination: What it is built from.
        line: Where it belongs.
        is_overdue: Whether readers no longer wait for it.
        has_begun: Whether somebody makes it.
        outcome: The object, or why there is none.
        process: The id of the process that it began in: under gevent a child has it too.
    """

    __slots__ = ("combination", "has_begun", "is_overdue", "line", "outcome", "process")

    def __init__(self, combination: Combination, line: _Line[T]) -> None:
        self.combination = combination
        self.line = line
        self.is_overdue = False
        self.has_begun = False
        self.process = os.getpid()
        self.outcome: Future[Instance[T] | BuildError] = Future()
        # A running future cannot be cancelled: one waiter's cancellation leaves the others alone.
        self.outcome.set_running_or_notify_cancel()


@dataclass(slots=True, eq=False, repr=False)
class _Failure:
    """A combination that could not be built, and when it is tried again."""

    versions: tuple[object, ...]
    error: BuildError
    count: int
    retry_at: float


@dataclass(slots=True, eq=False, repr=False)
class _Line(Generic[T]):
    """The objects of one event loop, or of the process; guarded by the registry's lock."""

    loop: asyncio.AbstractEventLoop | None
    current: Instance[T] | None = None
    open: dict[tuple[object, ...], Instance[T]] = field(default_factory=dict)
    builds: dict[tuple[object, ...], Build[T]] = field(default_factory=dict)
    failure: _Failure | None = None

    def failure_of(self, combination: Combination) -> _Failure | None:
        """The failure of this very combination; that of another says nothing of it."""
        failure = self.failure
        return None if failure is None or failure.versions != combination.versions else failure


class Registry(Generic[T]):
    """The objects of one `PerVersion` in one container.

    Args:
        recipe: How they are made.
        secrets: The names of their secrets.
        name: The provider's name, for events and errors.
        cache: Of the container; gives the clock, the budget, the pauses and the observers.
    """

    def __init__(self, recipe: Recipe[T], secrets: Sequence[str], name: str, cache: Cache) -> None:
        self.recipe = recipe
        self.name = name
        self.closed = False
        self._secrets = tuple(secrets)
        self._cache = cache
        self._lines: dict[asyncio.AbstractEventLoop | None, _Line[T]] = {}
        self._left: list[Instance[T]] = []
        self._begin_afresh()
        gate.register(self)

    def __repr__(self) -> str:
        return f"<Registry of {self.name}>"

    def _begin_afresh(self) -> None:
        # Re-entrant, as the cache's: a signal handler may read, or close, in a thread that holds it.
        self._lock = threading.RLock()
        self._threads: set[threading.Thread] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- leases ------------------------------------------------------------------------------

    def lease(self, combination: Combination, refuse_to_wait: Callable[[], None]) -> Instance[T]:
        """The object for a combination, or the one in service; to be given back.

        Args:
            combination: What the reader sees.
            refuse_to_wait: Raises if the reader may not wait.

        Raises:
            BuildError: If it cannot be built and there is no older one.
        """
        while True:
            step = self._begin(combination, None, waits=not _runs_a_loop())
            if isinstance(step, Instance):
                return step
            refuse_to_wait()
            outcome: Instance[T] | BuildError
            try:
                outcome = step.outcome.result(self._cache.budget)
            except TimeoutError:
                outcome = self._give_up(step)
            leased = self._end(step, outcome)
            if leased is not None:
                return leased

    async def lease_async(self, combination: Combination) -> Instance[T]:
        """As `lease`, from a coroutine."""
        loop = asyncio.get_running_loop() if self.recipe.is_async else None
        while True:
            step = self._begin(combination, loop, waits=True)
            if isinstance(step, Instance):
                return step
            outcome: Instance[T] | BuildError
            landing = asyncio.wrap_future(step.outcome)
            try:
                # Not wait_for(): in Python 3.11 it swallows a cancellation that comes with the outcome.
                await asyncio.wait({landing}, timeout=self._cache.budget)
                outcome = landing.result() if landing.done() else self._give_up(step)
            finally:
                landing.cancel()  # else a loop that has ended would be told
            leased = self._end(step, outcome)
            if leased is not None:
                return leased

    def give_back(self, instance: Instance[T]) -> None:
        """End one lease."""
        with self._lock:
            instance.users -= 1
            is_due = self._retire_if_unused(instance)
        if is_due:
            self._dispose(instance)

    def _begin(
        self, combination: Combination, loop: asyncio.AbstractEventLoop | None, *, waits: bool
    ) -> Instance[T] | Build[T]:
        """An object, leased, or the build to wait for; starts it where nobody has."""
        news: list[Event] = []
        retired: Instance[T] | None = None
        if loop not in self._lines:
            self._forget_closed_loops()
        with self._lock:
            if self.closed:
                raise self._closed_error()
            line = self._lines.setdefault(loop, _Line(loop))
            step, starts = self._decide(line, combination, waits=waits)
            if isinstance(step, Instance):
                retired = self._promote(step, combination, news)
                step.users += 1
        if starts is not None:
            self._start(starts)
        self._follow(news, retired)
        return step

    def _decide(
        self, line: _Line[T], combination: Combination, *, waits: bool
    ) -> tuple[Instance[T] | Build[T], Build[T] | None]:
        """What the reader gets, and the build that is to be started."""
        exact = line.open.get(combination.versions)
        if exact is not None:
            return exact, None
        current = None if combination.is_given else line.current
        if current is not None and not combination.is_newer_than(current):
            return current, None
        build, starts = line.builds.get(combination.versions), None
        failure = line.failure_of(combination)
        # Nobody waits for what has failed, unless there is nothing else.
        if failure is not None and self._is_paused(failure):
            if current is None:
                raise failure.error.located()
            return current, None
        if build is None:
            build = starts = line.builds[combination.versions] = Build(combination, line)
        if current is not None and (failure is not None or not waits):
            return current, starts
        return build, starts

    def _is_paused(self, failure: _Failure | None) -> bool:
        return failure is not None and self._cache.clock() < failure.retry_at

    def _promote(
        self, instance: Instance[T], combination: Combination, news: list[Event]
    ) -> Instance[T] | None:
        """Make an object the current one if what it is for is newer; gives the one to close."""
        line = instance.line
        if instance.versions != combination.versions or combination.is_given:
            return None
        current = line.current
        if current is not instance and current is not None:
            if not combination.is_newer_than(current):
                return None
            news.append(self._rebuilt(current, instance))
        elif current is None:
            news.append(self._first(instance))
        instance.confirm(combination)
        line.current, instance.retired = instance, False
        if current is None or current is instance:
            return None
        current.retired = True
        return current if self._retire_if_unused(current) else None

    def _retire_if_unused(self, instance: Instance[T]) -> bool:
        """Take an object out if its end has come; it is then closed by whoever asked, unlocked."""
        if instance.users or not instance.retired or instance.closed:
            return False
        instance.closed = True
        instance.line.open.pop(instance.versions, None)
        return True

    def _end(self, build: Build[T], outcome: Instance[T] | BuildError) -> Instance[T] | None:
        """What a reader gets after a build: leased; None if it is to look again."""
        with self._lock:
            current = None if build.combination.is_given else build.line.current
            instance = outcome if isinstance(outcome, Instance) else current
            if instance is not None and not instance.closed:
                instance.users += 1
                return instance
        if isinstance(outcome, BuildError):
            raise outcome.located()
        return None

    def _give_up(self, build: Build[T]) -> BuildError:
        """Count a build that is overdue as a failure: the next readers do not wait for it."""
        error, news = self._build_error("it is overdue"), []
        with self._lock:
            if not build.has_begun:  # a signal came before it was: the next reader starts another
                build.line.builds.pop(build.combination.versions, None)
            # Of all who waited for it, the first one counts it.
            failure = build.line.failure_of(build.combination)
            if not build.outcome.done() and not self._is_paused(failure):
                build.is_overdue = True
                news = self._refuse(build, error, "overdue")
        self._follow(news, None)
        return error

    # -- builds ------------------------------------------------------------------------------

    def _start(self, build: Build[T]) -> None:
        loop = build.line.loop
        if loop is None:
            self._start_thread(build)
            return
        # In an empty context: the object outlives the request that is the first to need it.
        self._keep(loop.create_task(self._make_async(build), context=Context()))

    def _start_thread(self, build: Build[T]) -> None:
        try:
            self._in_thread("build", lambda: self._make(build))
        except RuntimeError:
            self._land(build, None, "no thread can be started")

    def _in_thread(self, what: str, work: Callable[[], None]) -> None:
        name = f"pgp-config-{what}-{self.name}"
        # A daemon: a factory that hangs must not keep the process from ending.
        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._lock:  # who waits for it sees it when it is started, and not before
            thread.start()
            self._threads = {thread, *(other for other in self._threads if other.is_alive())}

    def _make(self, build: Build[T]) -> None:
        """Call the factory and the probe; runs in a thread of its own."""
        build.has_begun = True
        instance, reason = None, None
        try:
            made = self.recipe.call(build.combination.values)
            reason = self.recipe.refusal(made)
            if reason is None:
                instance = Instance(made, build.combination, build.line)
                reason = self._verdict(made)
        except BaseException as fault:  # noqa: BLE001  whatever it is, its readers must be told
            reason = type(fault).__name__
        unused = self._land(build, instance, reason)
        if unused is not None:
            self._close_now(unused)

    def _verdict(self, made: T) -> str | None:
        said = None if self.recipe.probe is None else self.recipe.probe(made)
        if inspect.iscoroutine(said):
            said.close()
            return "an asynchronous probe needs an `async def` factory"
        return "probe" if said is False else None

    async def _make_async(self, build: Build[T]) -> None:
        """As `_make`, in the event loop that the object will belong to."""
        build.has_begun = True
        instance, reason = None, None
        try:
            made = await self.recipe.call(build.combination.values)
            instance = Instance(made, build.combination, build.line)
            reason = await self._verdict_async(made)
        except BaseException as fault:
            reason = type(fault).__name__
            if not isinstance(fault, Exception):
                raise
        finally:
            unused = self._land(build, instance, reason)
            if unused is not None:
                await self._close_async(unused)

    async def _verdict_async(self, made: T) -> str | None:
        said = None if self.recipe.probe is None else self.recipe.probe(made)
        return "probe" if (await said if inspect.isawaitable(said) else said) is False else None

    def _land(
        self, build: Build[T], instance: Instance[T] | None, reason: str | None
    ) -> Instance[T] | None:
        """Put a new object in service, or note why there is none; gives one that is to be closed."""
        if build.process != os.getpid():
            _inherited.append(instance)
            return None
        news: list[Event] = []
        retired: Instance[T] | None = None
        unused = instance
        with self._lock:
            versions, line = build.combination.versions, build.line
            is_wanted = line.builds.get(versions) is build
            outcome: Instance[T] | BuildError
            if is_wanted:
                del line.builds[versions]
            if instance is None or reason is not None:
                outcome = self._build_error(reason or "")
                if is_wanted and not build.is_overdue:
                    news = self._refuse(build, outcome, reason or "")
            elif not is_wanted:  # closed meanwhile, or given up before it began
                outcome = self._build_error("nobody waits for it any more")
            else:
                outcome, unused = instance, None
                retired = self._enter(build, instance, news)
        try:
            self._follow(news, retired)
        finally:
            _settle(build, outcome)
        return unused

    def _enter(
        self, build: Build[T], instance: Instance[T], news: list[Event]
    ) -> Instance[T] | None:
        line = build.line
        line.open[instance.versions] = instance
        if line.failure_of(build.combination) is not None:
            line.failure = None
        retired = self._promote(instance, build.combination, news)
        if line.current is instance or build.combination.is_given:
            return retired
        # Overtaken by a newer one; those who wait for it look again.
        instance.retired = True
        return instance if self._retire_if_unused(instance) else None

    def _refuse(self, build: Build[T], error: BuildError, reason: str) -> list[Event]:
        """Count a failure; it is tried again after a pause."""
        if build.combination.is_given:
            return []
        before = build.line.failure_of(build.combination)
        count = 0 if before is None else before.count
        pause = self._cache.pause(count)
        versions, retry_at = build.combination.versions, self._cache.clock() + pause
        build.line.failure = _Failure(versions, error, count + 1, retry_at)
        where = self._cache.container, ", ".join(self._secrets), self.name
        return [BuildFailed(*where, self._numbers(versions), reason, pause)]

    # -- ends --------------------------------------------------------------------------------

    def _dispose(self, instance: Instance[T]) -> None:
        """Close an object that nobody uses any more; the caller does not wait for it."""
        if instance.line.loop is not None:
            self._close_in_loop(instance, instance.line.loop)
            return
        try:
            self._in_thread("close", lambda: self._close_now(instance))
        except RuntimeError:  # the interpreter ends, or has no thread left
            self._close_now(instance)

    def _close_now(self, instance: Instance[T]) -> None:
        reason = None
        try:
            close = self.recipe.closer(instance.made)
            said = None if close is None else close()
            if inspect.iscoroutine(said):
                said.close()
                reason = "its close is a coroutine"
        except Exception as fault:  # noqa: BLE001  one that fails stops none of the others
            reason = type(fault).__name__
        self._note_close(instance, reason)

    async def _close_async(self, instance: Instance[T]) -> None:
        reason = None
        try:
            close = self.recipe.closer(instance.made)
            said = None if close is None else close()
            if inspect.isawaitable(said):
                await said
        except Exception as fault:  # noqa: BLE001  as above
            reason = type(fault).__name__
        except asyncio.CancelledError as fault:
            self._note_close(instance, type(fault).__name__)
            raise
        self._note_close(instance, reason)

    def _close_in_loop(
        self, instance: Instance[T], loop: asyncio.AbstractEventLoop
    ) -> Future[None] | None:
        """Have an object closed in the loop that built it; None if that has ended."""
        done: Future[None] = Future()

        def start() -> None:
            task = loop.create_task(self._close_async(instance), context=Context())
            self._keep(task)
            task.add_done_callback(lambda _: done.set_result(None))

        try:
            # Not a coroutine: one that a loop drops unawaited is a warning.
            loop.call_soon_threadsafe(start)
        except RuntimeError:
            self._note_close(instance, "its event loop has ended")
            return None
        return done

    def _keep(self, task: asyncio.Task[None]) -> None:
        """A loop holds its tasks weakly."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget_closed_loops(self) -> None:
        with self._lock:
            ended = [loop for loop in self._lines if loop is not None and loop.is_closed()]
            lines = [self._lines.pop(loop) for loop in ended]
            lost = [instance for line in lines for instance in line.open.values()]
            for instance in lost:
                instance.closed = True
        for instance in lost:
            self._note_close(instance, "its event loop has ended")

    def shut(self) -> None:
        """Build nothing any more; what is open is left to be closed one by one; idempotent."""
        with self._lock:
            self.closed = True
            lines, self._lines = list(self._lines.values()), {}
            builds = [build for line in lines for build in line.builds.values()]
            for line in lines:
                for instance in line.open.values():
                    instance.closed = True
                    self._left.append(instance)
                line.open.clear()
                line.builds.clear()
        for build in builds:
            _settle(build, self._closed_error())

    @property
    def left(self) -> tuple[Instance[T], ...]:
        """What is left to be closed after `shut`."""
        return tuple(self._left)

    def take(self, instance: Instance[T]) -> bool:
        """Whether the caller is the one to close it; another thread may end the container too."""
        with self._lock:
            is_left = instance in self._left
            if is_left:
                self._left.remove(instance)
            return is_left

    def finish(self, instance: Instance[T]) -> None:
        """Close one, and wait for it, unless it is closed in the loop that runs in this thread."""
        loop = instance.line.loop
        if loop is None:
            self._close_now(instance)
        elif not loop.is_closed() and not loop.is_running():
            self._note_close(instance, "its event loop does not run")
        else:
            done = self._close_in_loop(instance, loop)
            if done is not None and loop is not _running_loop():
                self._await_close(instance, done)

    def _await_close(self, instance: Instance[T], done: Future[None]) -> None:
        try:
            done.result(CLOSE_PATIENCE)
        except TimeoutError:
            self._note_close(instance, "overdue")

    async def finish_async(self, instance: Instance[T]) -> None:
        """As `finish`, from a coroutine; also for one of the running loop."""
        if instance.line.loop is not asyncio.get_running_loop():
            await asyncio.to_thread(self.finish, instance)
            return
        try:
            await asyncio.wait_for(self._close_async(instance), CLOSE_PATIENCE)
        except TimeoutError:
            return  # it was cancelled, and told so

    def settle(self) -> None:
        """Wait for the builds and closes that are under way in threads."""
        waited = {threading.current_thread()}
        while threads := self._running() - waited:
            for thread in threads:
                thread.join(CLOSE_PATIENCE)
            waited |= threads  # a build that ends may have begun a close

    def _running(self) -> set[threading.Thread]:
        with self._lock:
            return set(self._threads)

    async def settle_async(self) -> None:
        """Wait for those that are under way in this loop, and in threads."""
        loop, me = asyncio.get_running_loop(), asyncio.current_task()
        # One round, so that closes which were handed to this loop become tasks.
        await asyncio.sleep(0)
        mine = [task for task in self._tasks if task.get_loop() is loop and task is not me]
        if mine:
            await asyncio.wait(mine, timeout=CLOSE_PATIENCE)
        await asyncio.to_thread(self.settle)

    def prepare_fork(self) -> None:
        """Under gevent wait for builds and closes: their threads are greenlets, and a child has them too."""
        if threads_are_greenlets():
            self.settle()

    def renew_after_fork(self) -> None:
        """In a child: build anew, and neither use, close nor free what the parent goes on using."""
        _inherited.append((self._lines, self._left, self._tasks, self._threads))
        for line in self._lines.values():
            for instance in line.open.values():
                instance.closed, instance.knowns = True, ()
            _inherited.append(dict(line.builds))
            line.builds.clear()
        self._lines, self._left = {}, []
        self._begin_afresh()

    # -- texts -------------------------------------------------------------------------------

    def _numbers(self, versions: Iterable[object]) -> dict[str, int]:
        # A key ring's version is a pair: its number, and that of the key before it.
        firsts = (each[0] if isinstance(each, tuple) else each for each in versions)
        pairs = zip(self._secrets, firsts, strict=True)
        return {name: version for name, version in pairs if isinstance(version, int)}

    def _first(self, instance: Instance[T]) -> Event:
        where = self._cache.container, ", ".join(self._secrets), self.name
        return Built(*where, self._numbers(instance.versions))

    def _rebuilt(self, old: Instance[T], new: Instance[T]) -> Event:
        where = self._cache.container, ", ".join(self._secrets), self.name
        return Rebuilt(*where, self._numbers(old.versions), self._numbers(new.versions))

    def _note_close(self, instance: Instance[T], reason: str | None) -> None:
        instance.knowns = ()  # what it was built from is not in use any more
        if reason is not None:
            where = self._cache.container, ", ".join(self._secrets), self.name
            self._cache.tell(CloseFailed(*where, self._numbers(instance.versions), reason))

    def _follow(self, news: Iterable[Event], retired: Instance[T] | None) -> None:
        """What follows a decision, without the lock."""
        for event in news:
            self._cache.tell(event)
        if retired is not None:
            self._dispose(retired)

    def _build_error(self, reason: str) -> BuildError:
        return BuildError(
            f"{self.name} could not be built: {reason}",
            remedy="The text of that error may hold a value and is not shown: call the factory with "
            "test values to see it.",
            secret=", ".join(self._secrets),
            container=self._cache.container,
        )

    def _closed_error(self) -> BuildError:
        return BuildError(
            f"{self.name} could not be built: the container was closed",
            remedy="Use it before close(), or make a new container.",
            container=self._cache.container,
        )


def _settle(build: Build[T], outcome: Instance[T] | BuildError) -> None:
    # The end of the container may have been quicker.
    with suppress(InvalidStateError):
        build.outcome.set_result(outcome)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _runs_a_loop() -> bool:
    return _running_loop() is not None


def close_all(registries: Sequence[Registry[Any]]) -> None:
    """Close every object, the one that was built last first; idempotent.

    One that fails stops none of the others. Those of an event loop are closed in it: if that is the
    one that runs in this thread, soon; `aclose_all` waits for them.
    """
    for registry in registries:
        registry.shut()
    while (last := _last_left(registries)) is not None:
        if last.registry.take(last.instance):
            last.registry.finish(last.instance)
    for registry in registries:
        registry.settle()


async def aclose_all(registries: Sequence[Registry[Any]]) -> None:
    """As `close_all`, from a coroutine; waits for all of them."""
    for registry in registries:
        registry.shut()
    while (last := _last_left(registries)) is not None:
        if last.registry.take(last.instance):
            await last.registry.finish_async(last.instance)
    for registry in registries:
        await registry.settle_async()


class _Left(NamedTuple):
    """An object that is left to be closed, and whose it is."""

    registry: Registry[Any]
    instance: Instance[Any]


def _last_left(registries: Sequence[Registry[Any]]) -> _Left | None:
    """The one that was built last; one at a time, so that who is interrupted leaves the others."""
    left = [_Left(registry, instance) for registry in registries for instance in registry.left]
    return max(left, key=lambda each: each.instance.order, default=None)
