"""Clients with connections: one a process, one a loop."""

import asyncio
import os

import pytest

from pgp_services.clients.connections import PerLoop, PerProcess, is_loopback


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
def test_a_child_makes_its_own_and_drops_its_parents(closed, in_child):
    held = PerProcess(os.getpid, closed.append)
    mine = held()
    said = in_child(lambda: f"{held() != mine} {len(held._made)} {closed}")
    assert said == "True 1 []"
    assert held() == mine


def test_what_another_process_made_is_dropped_and_not_closed(closed):
    held = PerProcess(object, closed.append)
    held._made[-1] = "a parent's"
    held()
    assert list(held._made) == [os.getpid()]
    assert closed == []


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


async def test_of_two_tasks_that_come_first_both_get_the_same():
    ended = []

    async def end(made):
        ended.append(made)

    async def slowly():
        await asyncio.sleep(0)
        return object()

    held = PerLoop(slowly, end)
    one, other = await asyncio.gather(held(), held())
    assert one is other
    assert len(ended) == 1
