"""APScheduler: jobs in threads and in an event loop, also those that a request adds."""

import asyncio
import datetime as dt
import threading

import pytest
from apscheduler.events import EVENT_JOB_ERROR
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from pgp_config import request_scope, scoped

SOON = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class Scheduler:
    def __init__(self, scheduler):
        self._scheduler = scheduler

    def add(self, job):
        # As soon as it can be, however late that is.
        self._scheduler.add_job(job, next_run_time=SOON, misfire_grace_time=None)


@pytest.fixture
def background():
    scheduler = BackgroundScheduler(timezone=dt.UTC)
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


# promises 1 and 2
def test_a_run_in_a_thread_is_one_scope_and_the_next_one_sees_the_rotation(background, stage):
    told, done = [], threading.Semaphore(0)

    @scoped
    def job():
        told.append(stage.twice())
        done.release()

    with request_scope():
        assert stage.secrets.key() == "canary-0"
        for _ in range(2):
            Scheduler(background).add(job)
            assert done.acquire(timeout=30)
    first, second = told
    assert len(set(first)) == len(set(second)) == 1
    assert first != second
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


# promises 1, 2 and 16
async def test_a_run_in_the_loop_is_one_scope_also_where_a_request_added_it(stage):
    await stage.secrets.aload()
    scheduler, told, done = AsyncIOScheduler(timezone=dt.UTC), [], asyncio.Semaphore(0)
    scheduler.start()

    @scoped
    async def job():
        told.append([*await stage.atwice(), stage.blocking()])
        done.release()

    async with request_scope():
        assert await stage.secrets.key.async_() == "canary-0"
        stage.rotate()
        for _ in range(2):
            # The timer copies the request's context, and with it the request's scope.
            Scheduler(scheduler).add(job)
            await done.acquire()
        assert await stage.secrets.key.async_() == "canary-0"
    scheduler.shutdown()
    first, second = told
    assert len(set(first)) == len(set(second)) == 1
    assert "canary-0" not in {*first, *second}
    assert stage.all_closed()


def test_a_job_that_raises_closes_its_scope(background, stage):
    failed = threading.Event()
    background.add_listener(lambda event: failed.set(), EVENT_JOB_ERROR)
    Scheduler(background).add(scoped(stage.fail))
    assert failed.wait(30)
    assert stage.all_closed()
