"""Clients with connections: one a process, one a loop."""

import asyncio
import gc
import os
import socket
import ssl
import warnings
from contextlib import closing
from contextvars import ContextVar

import httpx
import pytest

from pgp_services.clients.connections import HttpConnections, PerLoop, PerProcess, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "api.changenow.io", "", None, "localhost.evil.example"]
)
def test_other_machines(host):
    assert not is_loopback(host)


@pytest.fixture
def closed():
    return []


def test_one_is_made_and_kept(closed):
    held = PerProcess(object, closed.append)
    one = held()
    assert held() is one
    held.close()
    held.close()
    assert closed == [one]
    assert held() is not one


def test_of_two_that_are_made_at_once_one_is_closed(closed):
    def make_while_another_thread_does():
        if not held._made:
            held._made[os.getpid()] = "first"
            return "second"
        raise AssertionError

    held = PerProcess(make_while_another_thread_does, closed.append)
    assert held() == "first"
    assert closed == ["second"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_makes_its_own_and_leaves_its_parents_alone(closed, in_child):
    held = PerProcess(os.getpid, closed.append)
    mine = held()
    said = in_child(
        lambda: f"{held() != mine} {len(held._made)} {held._parents == [mine]} {closed}"
    )
    assert said == "True 1 True []"
    assert held() == mine


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_is_not_warned_of_its_parents_sockets(in_child):
    held = PerProcess(socket.socket, socket.socket.close)
    held()

    def use():
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            held()
            gc.collect()
            return [str(warning.message) for warning in found]

    assert in_child(use) == "[]"
    held.close()


def test_what_another_process_made_is_kept_and_not_used(closed):
    held = PerProcess(object, closed.append)
    held._made[-1] = "a parent's"
    held()
    assert list(held._made) == [os.getpid()]
    assert held._parents == ["a parent's"]
    held.close()
    assert "a parent's" not in closed


def test_what_another_thread_set_aside_meanwhile_is_not_set_aside_again(closed):
    class Emptied(dict):
        def pop(self, *_):
            raise KeyError

    held = PerProcess(object, closed.append)
    held._made = Emptied({-1: "a parent's"})
    held()
    assert held._parents == []


async def make():
    return object()


def test_each_loop_has_its_own():
    ended = []

    async def end(made):
        ended.append(made)

    held = PerLoop(make, end)

    async def use():
        one = await held()
        assert await held() is one
        return one

    async def use_and_close():
        one = await use()
        await held.aclose()
        await held.aclose()
        return one

    left_open = asyncio.run(use())
    closed_one = asyncio.run(use_and_close())
    assert left_open is not closed_one
    assert ended == [closed_one]
    asyncio.run(use())
    assert len(held._made) == 1


class Making:
    """Makes one as soon as it is told to, and counts."""

    def __init__(self):
        self.begun = 0
        self.may = asyncio.Event()
        self.reached = asyncio.Event()
        self.closed = []
        self.was_closed = asyncio.Event()
        self.failure = None

    async def __call__(self):
        self.begun += 1
        self.reached.set()
        await self.may.wait()
        if self.failure is not None:
            raise self.failure
        return object()

    async def close(self, made):
        self.closed.append(made)
        self.was_closed.set()


@pytest.fixture
async def making():
    return Making()


@pytest.fixture
async def held(making):
    return PerLoop(making, making.close)


async def test_all_who_come_first_get_the_same_which_is_made_once(making, held):
    asked = [asyncio.create_task(held()) for _ in range(40)]
    await making.reached.wait()
    making.may.set()
    assert len(set(await asyncio.gather(*asked))) == 1
    assert making.begun == 1
    assert not making.closed


async def test_who_is_cancelled_leaves_the_making_to_the_others(making, held):
    first, second = asyncio.create_task(held()), asyncio.create_task(held())
    await making.reached.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    making.may.set()
    assert await second is await held()
    assert making.begun == 1


async def test_what_could_not_be_made_is_made_anew(making, held):
    making.failure = OSError("no such file")
    making.may.set()
    with pytest.raises(OSError, match="no such file"):
        await asyncio.gather(held(), held())
    making.failure = None
    assert await held() is not None
    assert making.begun == 2


async def test_what_is_being_made_is_closed_when_it_is_there(making, held):
    asked = asyncio.create_task(held())
    await making.reached.wait()
    closing_it = asyncio.create_task(held.aclose())
    making.may.set()
    await closing_it
    assert making.closed == [await asked]
    assert held._made == {}


async def test_what_is_being_made_is_closed_soon(making, held):
    asked = asyncio.create_task(held())
    await making.reached.wait()
    held.close_soon()
    making.may.set()
    made = await asked
    await making.was_closed.wait()
    assert making.closed == [made]


async def test_what_was_never_made_is_not_closed(making, held):
    making.failure = OSError()
    asked = asyncio.create_task(held())
    await making.reached.wait()
    closing_it = asyncio.create_task(held.aclose())
    making.may.set()
    await asyncio.wait({asked, closing_it})
    assert isinstance(asked.exception(), OSError)
    assert closing_it.exception() is None
    assert making.closed == []


def test_loops_that_ended_while_one_was_made_are_forgotten():
    held = PerLoop(make, make)

    class Ended:
        def is_closed(self):
            return True

        def call_soon_threadsafe(self, *_):
            raise RuntimeError("Event loop is closed")

    held._making[Ended()] = None
    held.close_soon()
    asyncio.run(held())
    assert held._making == {}


async def test_what_is_made_knows_nothing_of_the_request_that_came_first(making):
    of_request = ContextVar("of_request", default=None)
    of_request.set("a request's")
    seen = []

    async def look():
        seen.append(of_request.get())
        return object()

    await PerLoop(look, making.close)()
    assert seen == [None]


# -- clients over HTTP -----------------------------------------------------------------------


@pytest.fixture
def contexts(monkeypatch):
    """The contexts with certificate authorities that were made."""
    made = []
    create = ssl.create_default_context

    def counted(*args, **options):
        made.append(create(*args, **options))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    return made


def test_for_the_loopback_no_certificate_authorities_are_read(contexts):
    async def use(connections):
        await connections.to_async(httpx.URL("http://127.0.0.1:1"))
        await connections.aclose()

    with closing(HttpConnections()) as connections:
        connections.to(httpx.URL("http://127.0.0.1:1"))
        asyncio.run(use(connections))
    assert contexts == []


async def test_many_first_uses_in_a_loop_read_them_once(contexts):
    connections = HttpConnections()
    url = httpx.URL("https://api.example")
    clients = await asyncio.gather(*(connections.to_async(url) for _ in range(20)))
    assert len(set(clients)) == 1
    assert len(contexts) == 1
    assert contexts[0].verify_mode == ssl.CERT_REQUIRED
    await connections.aclose()


def test_what_is_not_the_loopbacks_is_verified(contexts):
    with closing(HttpConnections()) as connections:
        connections.to(httpx.URL("https://api.example"))
    (context,) = contexts
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
