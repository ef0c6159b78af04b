"""The Telegram client, from threads and from coroutines, against a local look-alike; and the loop over updates."""

import asyncio
import logging
import secrets
import threading
import traceback

import httpx
import pytest

from pgp_config import DynamicSecret, Freshness, Memory, SecretContainer, SecretUnavailable
from pgp_services.clients.retries import RetryPolicy
from pgp_services.clients.telegram import (
    ChatClosed,
    TelegramClient,
    TelegramRefused,
    TelegramUnavailable,
    Update,
    UpdatesConflict,
)
from pgp_services.clients.updates import UpdateLoop
from pgp_services.lookalikes.http import Fault
from pgp_services.lookalikes.telegram import TelegramServer


@pytest.fixture
def new_token():
    return lambda: f"{secrets.randbelow(10**10)}:{secrets.token_urlsafe(26)[:35]}"


@pytest.fixture
def token(new_token):
    return new_token()


@pytest.fixture
def server(token):
    with TelegramServer(token) as server:
        yield server


@pytest.fixture
def policy(clock):
    return RetryPolicy(budget=8.0, attempt=3.0, clock=clock, chance=lambda: 0.5)


@pytest.fixture
def client_with(server, policy):
    return lambda token, **options: TelegramClient(
        token, **{"base_url": server.url, "policy": policy, **options}
    )


@pytest.fixture
def client(client_with, rotating_key, token):
    return client_with(rotating_key(token))


@pytest.fixture(params=["sync", "async"])
def use(request):
    """Calls a method of a client, or awaits its twin, and closes the connections."""

    def call(client, name, /, *arguments, **options):
        if request.param == "sync":
            try:
                return getattr(client, name)(*arguments, **options)
            finally:
                client.close()

        async def go():
            try:
                return await getattr(client, f"{name}_async")(*arguments, **options)
            finally:
                await client.aclose()

        return asyncio.run(go())

    return call


def seen(server):
    return [(request.version, request.status, request.path) for request in server.seen]


# -- methods ---------------------------------------------------------------------------------


def test_a_message_is_sent(use, client, server):
    number = use(client, "send_message", 7, "Hällo <b>")
    assert number > 0
    (message,) = server.messages
    assert (message.version, message.chat_id, message.text) == (1, 7, "Hällo <b>")
    assert seen(server) == [(1, 200, "/sendMessage")]


def test_an_invite_link_is_made(use, client, server, monkeypatch):
    monkeypatch.setattr("pgp_services.clients.telegram.time.time", lambda: 1000.5)
    link = use(client, "create_invite_link", -100123, expires_in=60)
    (made,) = server.links
    assert link == made.link
    assert link.startswith("https://t.me/+")
    assert (made.chat_id, made.member_limit, made.expire_date) == (-100123, 1, 1060)
    use(client, "create_invite_link", 5, member_limit=3)
    assert (server.links[1].member_limit, server.links[1].expire_date) == (3, None)


def test_a_link_is_revoked(use, client, server):
    link = use(client, "create_invite_link", -100123, name="Payment 5")
    assert server.links[0].name == "Payment 5"
    for _ in range(2):
        use(client, "revoke_invite_link", -100123, link)
    assert server.revoked == [link] * 2
    for chat, other in ((-100123, link + "0"), (5, link)):
        with pytest.raises(TelegramRefused, match="400"):
            use(client, "revoke_invite_link", chat, other)
    server.block(-100123)
    with pytest.raises(ChatClosed):
        use(client, "revoke_invite_link", -100123, link)


def test_a_name_that_is_too_long_is_refused(use, client):
    with pytest.raises(TelegramRefused, match="400"):
        use(client, "create_invite_link", 5, name="x" * 33)


def test_updates_come_and_are_confirmed_by_asking_for_later_ones(use, client, server):
    first = server.receive("/start", chat_id=5, user_id=6)
    second = server.receive("hello")
    updates = use(client, "get_updates", None, 0)
    assert [update.update_id for update in updates] == [first, second]
    assert updates[0] == Update(update_id=first, chat_id=5, user_id=6, text="/start")
    assert [update.update_id for update in use(client, "get_updates", second, 0)] == [second]
    assert server.unconfirmed() == 1
    assert use(client, "get_updates", second + 1, 0) == []
    assert server.unconfirmed() == 0


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"message": {"chat": {"id": 1}, "new_chat_title": "x"}}, (1, None, None)),
        (
            {"callback_query": {"from": {"id": 2}, "data": "d", "message": {"chat": {"id": 1}}}},
            (1, 2, "d"),
        ),
        ({"callback_query": {"from": {"id": 2}}}, (None, 2, None)),
        ({"message": {"chat": {"id": True}, "from": 5, "text": ["x"]}}, (None, None, None)),
        ({"poll": {"id": "1"}, "unheard_of": []}, (None, None, None)),
        ({"message": "nonsense"}, (None, None, None)),
        ({}, (None, None, None)),
        ({"message": {"chat": {"id": -(2**52)}, "from": {"id": 2**52}}}, (-(2**52), 2**52, None)),
        ({"message": {"chat": {"id": -(2**52) - 1}, "from": {"id": 2**52 + 1}}}, (None,) * 3),
    ],
    ids=range(9),
)
def test_an_odd_update_is_an_update_all_the_same(use, client, server, content, expected):
    """One that could not be read would come again for ever."""
    number = server.add_update(content)
    (update,) = use(client, "get_updates", None, 0)
    assert update.update_id == number
    assert (update.chat_id, update.user_id, update.text) == expected


def test_a_poll_waits_for_an_update(use, client, server):
    arrives = threading.Thread(
        target=lambda: server.wait_for(lambda: server.polls == 1) and server.receive("now")
    )
    arrives.start()
    (update,) = use(client, "get_updates", None, 30)
    arrives.join()
    assert update.text == "now"


def test_a_poll_has_the_time_that_telegram_holds_it(client, monkeypatch):
    asked = []
    monkeypatch.setattr(client, "call", lambda ask, policy: asked.append(policy) or _NOTHING)
    client.get_updates(None, 50)
    (policy,) = asked
    assert policy.attempt * 2 / 3 >= 55
    assert policy.retries == 0


class _NOTHING:
    result = ()


# -- failures --------------------------------------------------------------------------------


def test_the_chat_that_blocked_the_bot_is_no_matter_of_the_token(
    use, client_with, server, token, rotating_key
):
    rotating = rotating_key(token)
    server.block(7)
    with pytest.raises(ChatClosed, match="403") as caught:
        use(client_with(rotating), "send_message", 7, "x")
    assert caught.value.status == 502
    assert rotating.refreshes == 0


def test_a_chat_that_is_not_there_is_refused(use, client, server):
    server.lose_chat(7)
    for method, *rest in (("send_message", "x"), ("create_invite_link",)):
        with pytest.raises(TelegramRefused, match="400"):
            use(client, method, 7, *rest)


@pytest.mark.parametrize("text", ["", "x" * 4097], ids=["empty", "long"])
def test_a_text_that_telegram_does_not_take_is_refused(use, client, text):
    with pytest.raises(TelegramRefused, match="400"):
        use(client, "send_message", 7, text)


def test_a_flood_is_waited_for_as_long_as_the_body_says(use, client, server):
    server.flood(2)
    use(client, "send_message", 7, "x")
    assert len(server.messages) == 1
    server.flood(120)
    with pytest.raises(TelegramUnavailable) as caught:
        use(client, "send_message", 7, "x")
    assert caught.value.retry_after == 120
    assert len(server.messages) == 1


@pytest.mark.parametrize(
    "body", [b"", b"[", b'{"parameters": {"retry_after": -1}}', b'{"parameters": {}}']
)
def test_a_flood_without_a_number_goes_by_the_header(use, client, server, body):
    server.fail(Fault(429, body, {"Retry-After": "77"}))
    with pytest.raises(TelegramUnavailable) as caught:
        use(client, "send_message", 7, "x")
    assert caught.value.retry_after == 77


def test_who_polls_beside_another_is_told_so(use, client, server, token):
    def interrupt():
        server.wait_for(lambda: server.polls == 1)
        url = f"{server.url}/bot{token}/getUpdates"
        httpx.post(url, json={"timeout": 0}, trust_env=False)

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(UpdatesConflict) as caught:
        use(client, "get_updates", None, 30)
    other.join()
    assert caught.value.__context__ is None


@pytest.mark.parametrize("status", [500, 0])
@pytest.mark.parametrize(
    ("method", "arguments"), [("send_message", (7, "x")), ("create_invite_link", (7,))]
)
def test_what_may_have_been_done_is_not_done_again(use, client, server, method, arguments, status):
    server.fail(Fault(status))
    with pytest.raises(TelegramUnavailable) as caught:
        use(client, method, *arguments)
    assert len(server.seen) == 1
    assert not caught.value.passing


def test_a_message_that_timed_out_is_not_sent_again(use, client_with, server, rotating_key, token):
    server.fail(Fault(hangs=True))
    policy = RetryPolicy(budget=8.0, attempt=0.1)
    with pytest.raises(TelegramUnavailable):
        use(client_with(rotating_key(token), policy=policy), "send_message", 7, "x")
    assert server.messages == []


def test_what_surely_was_not_done_is_tried_again(use, client, server):
    server.fail(Fault(429), Fault(503, headers={"Retry-After": "1"}))
    use(client, "send_message", 7, "x")
    assert len(server.messages) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"ok": false, "result": {"message_id": 1}}',
        b'{"ok": true}',
        b'{"ok": true, "result": {"message_id": "CANARY"}}',
    ],
    ids=range(5),
)
def test_nonsense_is_refused(use, client, server, body):
    server.fail(Fault(200, body))
    with pytest.raises(TelegramRefused) as caught:
        use(client, "send_message", 7, "x")
    assert "CANARY" not in str(caught.value)


def test_a_link_that_is_none_is_refused(use, client, server):
    server.fail(Fault(200, b'{"ok": true, "result": {"invite_link": "javascript:alert(1)"}}'))
    with pytest.raises(TelegramRefused):
        use(client, "create_invite_link", 7)


# -- the token -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("send_message", (7, "x")), ("create_invite_link", (7,)), ("get_updates", (None, 0))],
)
def test_a_replaced_token_is_looked_up_once(
    use, client_with, server, rotating_key, token, new_token, method, arguments
):
    newer = new_token()
    rotating = rotating_key(token, after_refresh=newer)
    server.rotate(newer)
    use(client_with(rotating), method, *arguments)
    assert [(version, status) for version, status, _ in seen(server)] == [(1, 401), (2, 200)]
    assert rotating.refreshes == 1


def test_a_token_that_could_be_none_is_looked_up_too(
    use, client_with, server, rotating_key, token
):
    rotating = rotating_key("no/token?#", after_refresh=token)
    use(client_with(rotating), "send_message", 7, "x")
    assert [status for _, status, _ in seen(server)] == [404, 200]


def test_a_revoked_token_is_refused(use, client_with, server, rotating_key, token):
    rotating = rotating_key(token)
    server.revoke()
    with pytest.raises(TelegramRefused, match="401"):
        use(client_with(rotating), "send_message", 7, "x")
    assert rotating.refreshes == 1


def test_a_secret_that_does_not_rotate_will_do(use, client_with, given, token):
    from pydantic import SecretStr

    use(client_with(given(SecretStr(token))), "send_message", 7, "x")


def everything_shown_by(error):
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [f"{frame.locals}" for frame in trace.stack if "/tests/" not in frame.filename]
    return "".join([*trace.format_exception_only(), *frames, repr(error), repr(error.args)])


@pytest.mark.parametrize(
    "fault",
    [
        Fault(401),
        Fault(403),
        Fault(404),
        Fault(409),
        Fault(500),
        Fault(200, b"CANARYBODY"),
        Fault(0),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("method", "arguments"), [("send_message", (7, "x")), ("get_updates", (None, 0))]
)
def test_no_failure_shows_the_token_the_url_or_the_answer(
    use, client, server, token, fault, method, arguments, caplog
):
    for name in ("", "httpx", "httpcore", "httpcore.connection", "httpcore.http11", "asyncio"):
        caplog.set_level(logging.DEBUG, name or None)
    server.fail(Fault(fault.status, b"CANARYBODY", {"X-Canary": "CANARYHEADER"}))
    with pytest.raises((TelegramRefused, TelegramUnavailable)) as caught:
        use(client, method, *arguments)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    records = str([vars(record) for record in caplog.records]) + caplog.text
    shown = everything_shown_by(caught.value) + records + repr(client) + repr(vars(client))
    for canary in (token, token.partition(":")[2], "CANARY", "sendMessage?"):
        assert canary not in shown


def test_no_log_line_of_a_success_shows_the_token(use, client, token, caplog):
    for name in ("", "httpx", "httpcore.connection", "httpcore.http11"):
        caplog.set_level(logging.DEBUG, name or None)
    use(client, "send_message", 7, "x")
    assert caplog.records
    assert token not in caplog.text + str([vars(record) for record in caplog.records])


def test_an_update_does_not_show_its_text():
    assert "TOKEN" not in repr(Update(update_id=1, text="/claim TOKEN"))


# -- the loop --------------------------------------------------------------------------------


class Bot(SecretContainer):
    token = DynamicSecret("TELEGRAM_BOT_API_TOKEN")
    fee = DynamicSecret("TP_FLAT_FEE", str)


@pytest.fixture
def store(token):
    return Memory({"TELEGRAM_BOT_API_TOKEN": token, "TP_FLAT_FEE": "3"})


@pytest.fixture
def bot(store):
    bot = Bot(source=store, freshness=Freshness(max_age=3600))
    bot.load()
    yield bot
    bot.close()


class Running:
    """A loop in a thread, which is stopped at the end."""

    def __init__(self, telegram, handle, **options):
        self.stop = threading.Event()
        self.loop = UpdateLoop(telegram, handle, stop=self.stop, **options)
        self.thread = threading.Thread(target=self.loop.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


class Inbox:
    """What was handled, and a way to wait for it."""

    def __init__(self):
        self.updates = []
        self.changed = threading.Condition()

    def __call__(self, update):
        with self.changed:
            self.updates.append(update)
            self.changed.notify_all()

    def wait_for(self, number):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.updates) >= number, 30)
        return [update.text for update in self.updates]


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def telegram(bot, server):
    client = TelegramClient(bot.token, server.url)
    yield client
    client.close()


def test_each_update_is_handled_once_and_in_order(server, telegram, inbox):
    for number in range(3):
        server.receive(f"before {number}")
    with Running(telegram, inbox, held=1):
        inbox.wait_for(3)
        server.wait_for(lambda: server.polls)
        for number in range(3):
            server.receive(f"after {number}")
        texts = inbox.wait_for(6)
    assert texts == [f"{when} {number}" for when in ("before", "after") for number in range(3)]
    assert server.unconfirmed() == 0
    assert len(inbox.updates) == 6


def test_a_handler_that_fails_is_reported_and_does_not_stop_the_loop(
    server, telegram, inbox, caplog
):
    def handle(update):
        if update.text == "CANARY":
            raise ValueError(update.text)
        inbox(update)

    number = server.receive("CANARY")
    server.receive("fine")
    with Running(telegram, handle, held=1):
        assert inbox.wait_for(1) == ["fine"]
    (record,) = [record for record in caplog.records if record.name == "pgp_services.updates"]
    assert record.getMessage() == f"update {number} failed: ValueError"
    assert record.levelno == logging.ERROR
    assert record.exc_info is None
    assert "CANARY" not in caplog.text
    assert server.unconfirmed() == 0


def test_each_update_has_a_scope_of_its_own(server, telegram, bot, store):
    fees, rotated = [], threading.Event()

    def handle(update):
        before = bot.fee()
        if update.text == "first":
            store.add("TP_FLAT_FEE", "4")
            rotated.set()
        fees.append((update.text, before, bot.fee()))
        if update.text == "first":
            bot.fee.refresh()

    server.receive("first")
    server.receive("second")
    running = Running(telegram, handle, held=1)
    with running:
        assert rotated.wait(30)
        server.wait_for(lambda: server.polls)
    assert fees == [("first", "3", "3"), ("second", "4", "4")]


def test_a_token_that_rotates_while_a_poll_waits_is_taken_up(
    server, telegram, inbox, store, new_token
):
    newer = new_token()
    with Running(telegram, inbox, held=30) as running:
        assert server.wait_for(lambda: server.polls == 1)
        server.rotate(newer, lambda: store.add("TELEGRAM_BOT_API_TOKEN", newer))
        assert server.wait_for(lambda: server.polls == 2)  # without a pause, and without a restart
        server.receive("after the rotation")
        assert inbox.wait_for(1) == ["after the rotation"]
        running.stop.set()
        server.receive("the last poll ends")
    assert [(v, s) for v, s, _ in seen(server)][:2] == [(1, 401), (2, 200)]


def test_a_rotated_token_is_taken_up_between_polls(server, inbox, store, new_token):
    """Both are accepted: nothing but the store says that there is a newer one."""
    newer = new_token()
    bot = Bot(source=store, freshness=Freshness(max_age=0))
    bot.load()
    telegram = TelegramClient(bot.token, server.url)
    with Running(telegram, inbox, held=30) as running:
        assert server.wait_for(lambda: server.polls == 1)
        server.rotate(newer, lambda: store.add("TELEGRAM_BOT_API_TOKEN", newer), overlap=True)
        server.receive("x")
        inbox.wait_for(1)
        assert server.wait_for(lambda: server.polls == 2)
        server.receive("y")
        inbox.wait_for(2)
        running.stop.set()
        server.receive("z")
    assert [version for version, _, _ in seen(server)][:2] == [1, 2]
    telegram.close()
    bot.close()


class Pauses:
    """Takes the place of `stop`: notes the pauses, which do not pass; is set after so many."""

    def __init__(self, most):
        self.most = most
        self.waits = []

    def is_set(self):
        return len(self.waits) >= self.most

    def wait(self, seconds):
        self.waits.append(seconds)


class Failing:
    """A client whose polls end as told, and then bring nothing."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.polls = []

    def get_updates(self, offset, timeout):
        self.polls.append((offset, timeout))
        end = self.ends.pop(0) if self.ends else []
        if isinstance(end, Exception):
            raise end
        return end


def test_polls_that_fail_are_made_again_after_growing_pauses(caplog):
    ends = [
        TelegramUnavailable("an outage"),
        UpdatesConflict("another polls"),
        TelegramRefused("401"),
        SecretUnavailable("the source is down", secret="TELEGRAM_BOT_API_TOKEN"),
        RuntimeError("CANARY"),
        [Update(update_id=5)],
        TelegramUnavailable("an outage"),
        TelegramUnavailable("flooded", retry_after=99.0),
    ]
    stop, handled = Pauses(7), []
    telegram = Failing(*ends)
    UpdateLoop(telegram, handled.append, stop=stop, held=5, chance=lambda: 0.0).run()
    assert stop.waits == [1, 2, 4, 8, 16, 1, 99]
    assert [update.update_id for update in handled] == [5]
    # The last one confirms the update.
    assert telegram.polls == [(None, 5)] * 6 + [(6, 5)] * 2 + [(6, 0)]
    assert "CANARY" not in caplog.text
    assert "RuntimeError" in caplog.text
    assert "UpdatesConflict: another polls" in caplog.text


def test_a_pause_ends_when_the_loop_is_stopped():
    failed = threading.Event()

    class Down:
        def get_updates(self, offset, timeout):
            failed.set()
            raise TelegramUnavailable("an outage", retry_after=10_000)

    with Running(Down(), None):
        assert failed.wait(30)


def test_stopping_in_the_middle_leaves_the_rest_for_the_next_process(server, telegram, inbox):
    first = Inbox()
    running = Running(telegram, lambda update: (first(update), running.stop.set()), held=1)
    server.receive("a")
    server.receive("b")
    with running:
        first.wait_for(1)
    assert [update.text for update in first.updates] == ["a"]
    assert server.unconfirmed() == 1
    with Running(telegram, inbox, held=1):
        assert inbox.wait_for(1) == ["b"]


def test_a_loop_that_is_stopped_before_it_begins_asks_nothing():
    telegram, stop = Failing(), threading.Event()
    stop.set()
    UpdateLoop(telegram, None, stop=stop).run()
    assert telegram.polls == []


# -- the stand-in ----------------------------------------------------------------------------


def test_the_stand_in_knows_what_is_no_method(server, token):
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert client.post(f"/bot{token}/getMe").status_code == 404
        assert client.post(f"/{token}/sendMessage").status_code == 404
        answer = client.post(
            f"/bot{token}/createChatInviteLink", json={"chat_id": 1, "member_limit": 0}
        )
        assert answer.json()["description"] == "Bad Request: member_limit is invalid"
        assert client.post(f"/bot{token}/sendMessage", content=b"[]").status_code == 400


def test_a_poll_that_waits_is_told_that_its_token_is_no_more(use, client, server):
    revoke = threading.Thread(
        target=lambda: server.wait_for(lambda: server.polls == 1) and server.revoke()
    )
    revoke.start()
    with pytest.raises(TelegramRefused, match="401"):
        use(client, "get_updates", None, 30)
    revoke.join()


def test_a_poll_that_waits_ends_with_the_server(token, rotating_key):
    with TelegramServer(token) as server:
        client = TelegramClient(rotating_key(token), server.url)
        polling = threading.Thread(target=client.get_updates, args=(None, 30))
        polling.start()
        assert server.wait_for(lambda: server.polls == 1)
    polling.join(30)
    assert not polling.is_alive()
    client.close()
