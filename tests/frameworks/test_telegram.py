"""python-telegram-bot: updates through an application's own queue, without Telegram."""

import asyncio
import contextlib

import pytest
from telegram import Update
from telegram.ext import Application, TypeHandler
from telegram.request import BaseRequest

from pgp_config import DeclarationError, StartupError, scoped
from pgp_config.integrations.telegram import ScopeProcessor
from pgp_config.scopes import open_scope

ME = b'{"ok": true, "result": {"id": 1, "is_bot": true, "first_name": "bot", "username": "bot"}}'


class Telegram(BaseRequest):
    """Answers in Telegram's place."""

    read_timeout = 1.0

    async def initialize(self):
        pass

    async def shutdown(self):
        pass

    async def do_request(self, *args, **kwargs):
        return 200, ME


def application(secrets, *, concurrent=1):
    return (
        Application.builder()
        .token("1:token")
        .request(Telegram())
        .get_updates_request(Telegram())
        .updater(None)
        .job_queue(None)
        .concurrent_updates(ScopeProcessor(secrets, concurrent))
        .build()
    )


@contextlib.asynccontextmanager
async def running(app):
    async with app:
        await app.start()
        yield app
        await app.stop()


async def handle(app, *numbers):
    for number in numbers:
        await app.update_queue.put(Update(number))
    await app.update_queue.join()


# promises 1 and 2
async def test_an_update_is_one_scope_for_all_groups_and_the_next_one_sees_the_rotation(stage):
    app, told = application(stage.secrets), []

    async def one(update, context):
        told.append(await stage.atwice())

    async def other(update, context):
        told[-1].append(await stage.aread())
        raise KeyError("the-handler")

    async def on_error(update, context):
        told[-1] += [await stage.aread(), type(context.error).__name__]

    app.add_handler(TypeHandler(Update, one))
    app.add_handler(TypeHandler(Update, other), group=1)
    app.add_error_handler(on_error)
    async with running(app):
        # One task handles both, as there are no concurrent updates.
        await handle(app, 1, 2)
    first, second = told
    assert first == ["canary-0"] * 5 + ["KeyError"]
    assert len(set(second[:-1])) == 1
    assert "canary-0" not in second
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


# promise 2
async def test_concurrent_updates_are_independent(stage):
    app, told = application(stage.secrets, concurrent=2), {}
    entered, released = asyncio.Event(), asyncio.Event()

    async def on_update(update, context):
        told[update.update_id] = [await stage.aread()]
        if update.update_id == 1:
            entered.set()
            await released.wait()
        else:
            released.set()
        told[update.update_id].append(await stage.aread())

    app.add_handler(TypeHandler(Update, on_update))
    async with running(app):
        await app.update_queue.put(Update(1))
        await entered.wait()
        stage.rotate()
        await handle(app, 2)
    assert told[1] == ["canary-0"] * 2
    assert "canary-0" not in told[2]


# promise 3
async def test_a_handler_that_does_not_block_has_a_scope_of_its_own(stage):
    app, told, done = application(stage.secrets), [], asyncio.Event()

    @scoped
    async def on_update(update, context):
        told.extend(await stage.atwice())
        done.set()

    app.add_handler(TypeHandler(Update, on_update, block=False))
    async with running(app):
        await handle(app, 1)
        await done.wait()
    assert set(told) == {"canary-0"}
    assert stage.all_closed()


# promise 16
async def test_a_read_that_would_block_the_loop_names_the_await_form(stage):
    app, told = application(stage.secrets), []

    async def on_update(update, context):
        told.append(stage.blocking())

    app.add_handler(TypeHandler(Update, on_update))
    async with running(app):
        await handle(app, 1)
    assert "Write: await secrets.framework_key.async_()" in told[0]


# promises 11 and 12
async def test_loaded_when_the_application_starts_and_closed_when_it_ends(stage, source):
    async with running(application(stage.secrets)):
        assert (stage.secrets.fixed(), open_scope()) == ("fixed-0", None)
        assert source.closed == 0
    assert source.closed == 1


async def test_a_start_that_fails_tells_every_fault_at_once(stage, source):
    stage.break_start()
    with pytest.raises(StartupError) as failed:
        await application(stage.secrets).initialize()
    assert all(fault in str(failed.value) for fault in stage.faults)
    assert source.closed == 1


def test_something_else_in_place_of_a_container_is_refused():
    with pytest.raises(DeclarationError, match="a dict was given"):
        ScopeProcessor({})
