"""Promise 16 in a crowd: no deadlock, no lost wake-up, nothing left locked, whatever interrupts what."""

import asyncio
import contextlib
import contextvars
import gc
import linecache
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    Memory,
    SecretContainer,
    SecretUnavailable,
    StaticSecret,
    request_scope,
)
from pgp_config import cache as cache_module

#: Lines of the engine that one read that has to fetch goes through, at least; more fail no test.
LINES = 40


class Crowd(SecretContainer):
    key = DynamicSecret("CROWD_KEY", str)
    strict = DynamicSecret("CROWD_STRICT", str, freshness=EVERY_REQUEST)
    fixed = StaticSecret("CROWD_FIXED", str)


@pytest.fixture
def crowd(source, make):
    for name in ("CROWD_KEY", "CROWD_STRICT", "CROWD_FIXED"):
        source.add(name, "v1")
    secrets = make(Crowd)
    secrets.load()
    return secrets


@contextlib.contextmanager
def switching_fast():
    """Threads take turns after 1 µs instead of 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


# -- interrupted anywhere ------------------------------------------------------------------------


class Interrupted(BaseException):
    """As KeyboardInterrupt, or gunicorn's SystemExit of a worker that takes too long."""


def at_line(number, act):
    """A trace function that acts once, before the n-th line of the engine is run."""
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_filename != cache_module.__file__:
            return None
        if event == "line" and not is_with(frame.f_lineno):
            lines += 1
            if lines == number:
                sys.settrace(None)
                act()
        return trace

    return trace


def is_with(line):
    """Whether a line takes a lock, and gives it back: CPython lets no signal in between the two halves.

    A trace function does get in, after the block and before the lock is given back.
    """
    return linecache.getline(cache_module.__file__, line).lstrip().startswith("with ")


def read_with(trace, read):
    """Read in a thread of its own, which is traced; the value, or the interruption."""

    def work():
        sys.settrace(trace)
        try:
            return contextvars.Context().run(read)
        except Interrupted as interruption:
            return interruption
        finally:
            sys.settrace(None)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(30)


@pytest.mark.parametrize("name", ["key", "strict"])
def test_a_thread_that_is_interrupted_anywhere_leaves_nothing_locked(crowd, source, clock, name):
    def interrupt():
        raise Interrupted

    read = getattr(crowd, name)
    interruptions = 0
    for line in range(1, LINES + 20):
        clock.advance(6)
        outcome = read_with(at_line(line, interrupt), read)
        interruptions += isinstance(outcome, Interrupted)
        clock.advance(6)
        source.add(read.name, f"v{line + 1}")
        assert read_with(None, read) == f"v{line + 1}"
        assert [row.state for row in crowd.status()] == ["ok"] * 3
    assert interruptions >= LINES


def test_a_fetch_that_is_interrupted_while_it_is_handed_over_is_not_waited_for(
    crowd, source, clock, monkeypatch
):
    def interrupted(*_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(crowd._cache._executor, "submit", interrupted)
    clock.advance(6)
    with pytest.raises(KeyboardInterrupt):
        crowd.key()
    source.add("CROWD_KEY", "v2")
    assert crowd.key() == "v2"


def test_closing_while_a_fetch_is_handed_over_is_a_clear_error(crowd, clock, monkeypatch):
    def closed(*_):
        crowd.close()
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(crowd._cache._executor, "submit", closed)
    clock.advance(6)
    with pytest.raises(SecretUnavailable, match="was closed"):
        crowd.key()


def test_a_read_from_a_signal_handler_gets_its_value_wherever_it_interrupts(crowd, clock):
    """In CPython a handler runs between two instructions of the main thread, which may hold a lock."""
    crowd._cache.budget = 0.01  # what the interrupted thread holds back is not waited for
    for line in range(1, LINES):
        clock.advance(6)
        seen = []
        read_with(at_line(line, lambda seen=seen: seen.append(crowd.key())), crowd.key)
        assert seen == ["v1"]
    crowd._cache.budget = 30
    clock.advance(600)
    assert crowd.key() == "v1"


@pytest.mark.parametrize("line", range(1, LINES, 3))
def test_closing_in_a_signal_handler_ends_the_read_that_it_interrupts(crowd, source, clock, line):
    clock.advance(6)

    def read():
        with contextlib.suppress(SecretUnavailable):
            return crowd.key()
        return "closed"

    assert read_with(at_line(line, crowd.close), read) in ("v1", "closed")
    assert source.closed == 1
    with pytest.raises(SecretUnavailable, match="was closed"):
        crowd.key()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signals")
def test_ctrl_c_ends_a_wait_and_the_next_read_has_its_value(crowd, source, clock):
    clock.advance(6)
    hold = source.hold("CROWD_KEY")
    main = threading.main_thread().ident

    def press():
        assert hold.entered.wait(30)
        signal.pthread_kill(main, signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        pressed = pool.submit(press)
        with pytest.raises(KeyboardInterrupt):
            crowd.key()
        pressed.result(30)
    source.add("CROWD_KEY", "v2")
    hold.release()
    clock.advance(6)
    assert crowd.key() == "v2"


# -- waiters -------------------------------------------------------------------------------------


async def test_of_a_thousand_waiters_any_half_can_be_cancelled(crowd, source, clock):
    clock.advance(6)
    source.add("CROWD_KEY", "v2")
    hold = source.hold("CROWD_KEY")
    waiters = [asyncio.create_task(crowd.key.async_()) for _ in range(1000)]
    await asyncio.to_thread(hold.entered.wait, 30)
    for waiter in waiters[::2]:
        waiter.cancel()
    hold.release()
    outcomes = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert outcomes[1::2] == ["v2"] * 500
    assert source.count("CROWD_KEY") == 2


async def test_however_many_coroutines_wait_a_landing_wakes_their_loop_once(
    crowd, source, clock, monkeypatch
):
    clock.advance(6)
    hold = source.hold("CROWD_KEY")
    waiters = [asyncio.create_task(crowd.key.async_()) for _ in range(100)]
    await asyncio.to_thread(hold.entered.wait, 30)
    loop, calls = asyncio.get_running_loop(), []
    call_in = loop.call_soon_threadsafe

    def counted(callback, *arguments, **options):
        calls.append(getattr(callback, "__qualname__", ""))
        return call_in(callback, *arguments, **options)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    hold.release()
    assert await asyncio.gather(*waiters) == ["v1"] * 100
    assert calls.count("_Bell._ring") == 1
    assert not [name for name in calls if "Future" in name]


def test_coroutines_of_several_loops_wait_for_one_flight(crowd, source, clock):
    clock.advance(6)
    hold = source.hold("CROWD_KEY")
    barrier = threading.Barrier(4)

    async def read():
        waiters = [asyncio.create_task(crowd.key.async_()) for _ in range(5)]
        await asyncio.sleep(0)  # all of them wait now
        barrier.wait(30)
        return await asyncio.gather(*waiters)

    with ThreadPoolExecutor(3) as pool:
        loops = [pool.submit(asyncio.run, read()) for _ in range(3)]
        barrier.wait(30)
        hold.release()
        assert [loop.result(30) for loop in loops] == [["v1"] * 5] * 3
    assert source.count("CROWD_KEY") == 2


async def test_a_cancellation_that_comes_with_the_outcome_is_not_swallowed(crowd, source, clock):
    clock.advance(6)
    hold = source.hold("CROWD_KEY")
    waiter = asyncio.create_task(crowd.key.async_())
    await asyncio.to_thread(hold.entered.wait, 30)
    flight = crowd._cache._entries[crowd.key._spec].flight
    hold.release()
    flight.outcome.result(
        30
    )  # the loop is told, and cannot act on it before the next line has run
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter


def test_a_loop_that_ends_before_its_fetch_disturbs_nobody(crowd, source, clock, caplog):
    clock.advance(6)
    source.add("CROWD_KEY", "v2")
    hold = source.hold("CROWD_KEY")

    async def leave():
        waiter = asyncio.create_task(crowd.key.async_())
        await asyncio.to_thread(hold.entered.wait, 30)
        assert not waiter.done()

    asyncio.run(leave())
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(asyncio.run, crowd.key.async_())
        hold.release()
        assert other.result(30) == "v2"
    gc.collect()
    assert caplog.records == []


def test_readers_of_two_loops_and_of_threads_share_one_fetch(crowd, source, clock):
    clock.advance(6)
    hold = source.hold("CROWD_KEY")
    with ThreadPoolExecutor(6) as pool:
        reads = [pool.submit(asyncio.run, crowd.key.async_()) for _ in range(3)]
        reads += [pool.submit(crowd.key) for _ in range(3)]
        assert hold.entered.wait(30)
        hold.release()
        assert {read.result(30) for read in reads} == {"v1"}
    assert source.count("CROWD_KEY") == 2


def test_closing_from_many_threads_while_others_read_ends_all_of_them(crowd, source):
    ready = threading.Barrier(17)

    def read():
        ready.wait(30)
        while True:
            with request_scope():
                assert crowd.strict() == "v1"

    def close():
        ready.wait(30)
        crowd.close()

    with ThreadPoolExecutor(20) as pool:
        readers = [pool.submit(read) for _ in range(12)]
        closers = [pool.submit(close) for _ in range(4)]
        ready.wait(30)
        for closer in closers:
            closer.result(30)
        for reader in readers:
            with pytest.raises(SecretUnavailable, match=r"CROWD_STRICT in Crowd: .* was closed"):
                reader.result(30)
    assert source.closed == 1


# -- a crowd -------------------------------------------------------------------------------------


async def test_a_thousand_scopes_at_once_on_one_loop_see_one_version_each(make):
    source = Memory({"CROWD_KEY": "0", "CROWD_STRICT": "0", "CROWD_FIXED": "0"})
    secrets = make(Crowd, source=source)
    await secrets.aload()
    opened = asyncio.Barrier(1000)

    async def request(number):
        async with request_scope():
            first = await secrets.strict.async_()
            await opened.wait()
            if number % 100 == 0:
                source.add("CROWD_STRICT", str(number))
            await asyncio.sleep(0)
            again = await asyncio.gather(secrets.strict.async_(), secrets.strict.async_())
            return {first, secrets.strict(), *again}

    seen = await asyncio.gather(*(request(number) for number in range(1000)))
    assert seen == [{"0"}] * 1000
    newest = source.fetch("CROWD_STRICT")
    assert newest.version == 11
    assert await secrets.strict.async_() == newest.data.decode()


class Overriding:
    """Overrides a secret and takes that back, again and again, for as long as it is open."""

    def __init__(self, secret):
        self.times = 0
        self._secret = secret
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._over.is_set():
            with self._secret.override("override"):
                self.times += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def test_64_threads_that_switch_every_microsecond_while_overrides_come_and_go(make):
    source = Memory({"CROWD_KEY": "1", "CROWD_STRICT": "1", "CROWD_FIXED": "1"})
    secrets = make(Crowd, source=source)
    secrets.load()
    threads, scopes = 64, 100
    ready = threading.Barrier(threads)

    def serve(thread):
        ready.wait(30)
        for number in range(scopes):
            if number % 5 == 0:
                source.add("CROWD_STRICT", f"{thread}-{number}")
            with request_scope():
                assert len({secrets.strict(), secrets.strict(), secrets.strict()}) == 1
                assert secrets.key() in ("1", "override")
                assert secrets.fixed() == "1"

    with (
        switching_fast(),
        Overriding(secrets.key) as overriding,
        ThreadPoolExecutor(threads) as pool,
    ):
        for served in [pool.submit(serve, thread) for thread in range(threads)]:
            served.result(120)
    assert overriding.times > 0
    assert secrets.key() == "1"
