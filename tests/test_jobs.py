"""`@scoped`: one call of whatever kind of function, one scope."""

import asyncio
import contextlib
import functools
import inspect
import pickle

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    SecretContainer,
    request_scope,
    scoped,
)
from pgp_config.scopes import open_scope


class Service(SecretContainer):
    key = DynamicSecret("JOB_KEY", str, freshness=EVERY_REQUEST)


@pytest.fixture
def secrets(source, make):
    source.add("JOB_KEY", "k1")
    return make(Service)


# promise 1
def test_a_call_is_a_scope_and_the_next_one_sees_the_rotation(secrets, source):
    @scoped
    def job(new, *, more=""):
        first = secrets.key()
        source.add("JOB_KEY", new)
        return first + secrets.key() + more

    assert job("k2", more="!") == "k1k1!"
    assert job("k3") == "k2k2"


async def test_a_coroutine_is_a_scope_in_all_its_tasks_and_threads(secrets, source):
    @scoped
    async def job():
        first = await secrets.key.async_()
        source.add("JOB_KEY", "k2")
        return [
            first,
            *await asyncio.gather(secrets.key.async_(), asyncio.to_thread(secrets.key)),
        ]

    assert await job() == ["k1"] * 3
    assert set(await job()) == {"k2"}


# promise 2
def test_the_scope_of_the_caller_is_not_used(secrets, source):
    with request_scope():
        assert secrets.key() == "k1"
        source.add("JOB_KEY", "k2")
        assert scoped(secrets.key)() == "k2"
        assert secrets.key() == "k1"


def test_a_tests_values_reach_the_job(secrets):
    with request_scope(values={"JOB_KEY": "given"}):
        assert scoped(secrets.key)() == "given"


def reading(secrets, source):
    @scoped
    def lines():
        yield secrets.key()
        source.add("JOB_KEY", "k2")
        yield secrets.key()

    return lines


# promise 1
def test_the_steps_of_a_generator_are_in_one_scope_and_its_caller_is_not(secrets, source):
    lines = reading(secrets, source)()
    assert next(lines) == "k1"
    assert open_scope() is None
    assert (next(lines), secrets.key()) == ("k1", "k2")
    assert list(lines) == []
    assert list(reading(secrets, source)()) == ["k2", "k2"]


def test_two_generators_at_once_are_independent(secrets, source):
    one, two = reading(secrets, source)(), reading(secrets, source)()
    assert (next(one), next(one), next(two), next(one, None)) == ("k1", "k1", "k2", None)
    assert next(two) == "k2"


@pytest.mark.parametrize("end", ["close", "drop", "throw", "finish"])
def test_however_a_generator_ends_its_scope_is_closed(end):
    seen, ended = [], []

    @scoped
    def steps():
        seen.append(open_scope())
        try:
            yield
        finally:
            ended.append(open_scope())

    running = steps()
    next(running)
    assert not seen[0].closed
    if end == "close":
        running.close()
    elif end == "throw":
        with pytest.raises(KeyError):
            running.throw(KeyError("k"))
    elif end == "finish":
        assert next(running, "end") == "end"
    del running
    assert seen[0].closed
    assert ended == seen


def test_a_generator_gets_what_is_sent_and_thrown_and_returns():
    @scoped
    def echo():
        told = yield "first"
        try:
            yield told
        except KeyError:
            return "caught"

    running = echo()
    assert (next(running), running.send("told")) == ("first", "told")
    with pytest.raises(StopIteration) as end:
        running.throw(KeyError("k"))
    assert end.value.value == "caught"


def test_a_context_manager_can_be_made_of_it(secrets, source):
    @contextlib.contextmanager
    @scoped
    def managed():
        try:
            yield secrets.key()
        except KeyError:
            source.add("JOB_KEY", "k2")

    with managed() as key:
        assert key == "k1"
        raise KeyError
    with managed() as key:
        assert key == "k2"


# promise 1
async def test_the_steps_of_an_asynchronous_generator_are_in_one_scope(secrets, source):
    @scoped
    async def lines():
        yield await secrets.key.async_()
        source.add("JOB_KEY", "k2")
        yield await asyncio.create_task(secrets.key.async_())
        yield await asyncio.to_thread(secrets.key)

    running = lines()
    assert await anext(running) == "k1"
    assert open_scope() is None
    assert [await anext(running), await secrets.key.async_(), await anext(running)] == [
        "k1",
        "k2",
        "k1",
    ]
    assert [line async for line in running] == []
    assert [line async for line in lines()] == ["k2"] * 3


@pytest.mark.parametrize("end", ["aclose", "athrow", "cancel"])
async def test_however_an_asynchronous_generator_ends_its_scope_is_closed(end):
    seen, entered = [], asyncio.Event()

    @scoped
    async def steps():
        seen.append(open_scope())
        try:
            yield
            entered.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(seen.append, "ended")

    running = steps()
    await anext(running)
    if end == "aclose":
        await running.aclose()
    elif end == "athrow":
        with pytest.raises(KeyError):
            await running.athrow(KeyError("k"))
    else:
        waiting = asyncio.ensure_future(anext(running))
        await entered.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert seen[0].closed
    assert seen[1:] == ["ended"]


async def test_an_asynchronous_generator_gets_what_is_sent_and_thrown():
    @scoped
    async def echo():
        told = yield "first"
        try:
            yield told
        except KeyError:
            yield "caught"

    running = echo()
    assert [await anext(running), await running.asend("told"), await running.athrow(KeyError)] == [
        "first",
        "told",
        "caught",
    ]
    await running.aclose()


def test_a_job_that_raises_closes_its_scope():
    seen = []

    @scoped
    def job():
        seen.append(open_scope())
        raise KeyError("k")

    with pytest.raises(KeyError):
        job()
    assert seen[0].closed


class Job:
    async def __call__(self):
        return open_scope()


async def test_objects_and_partial_coroutines_are_known_as_such():
    async def job(seen):
        seen.append(open_scope())

    seen = []
    await scoped(functools.partial(job, seen))()
    assert seen[0].closed
    assert (await scoped(Job())()).closed


async def coroutine():
    return 1


async def asynchronous_generator():
    yield 1


@pytest.mark.parametrize(
    "late", [coroutine, asynchronous_generator, lambda: (each for each in ())]
)
def test_what_would_run_outside_the_scope_is_refused(late):
    with pytest.raises(DeclarationError, match=r"that runs after the scope.*Decorate") as refused:
        scoped(lambda: late())()  # noqa: PLW0108  the lambda is the mistake
    assert "lambda" in str(refused.value)


@scoped
def of_a_module(number: int) -> int:
    """Its text."""
    return number


def test_the_functions_name_text_and_signature_stay():
    assert pickle.loads(pickle.dumps(of_a_module)) is of_a_module
    assert of_a_module.__doc__ == "Its text."
    assert str(inspect.signature(of_a_module)) == "(number: int) -> int"
    assert inspect.iscoroutinefunction(scoped(coroutine))
    assert inspect.isasyncgenfunction(scoped(asynchronous_generator))
