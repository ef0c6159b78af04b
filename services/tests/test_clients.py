"""What the base promises of every client: each call of each client against its stand-in, from threads and coroutines.

A client is added as cases in `CASES`: one for each call.
"""

import asyncio
import contextvars
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

import httpx
import pytest
from pydantic import SecretStr

from pgp_config import DeclarationError, SecretUnavailable
from pgp_services.clients import base, deadlines, hushed
from pgp_services.clients.base import MAX_ANSWER, in_path
from pgp_services.clients.changenow import ChangeNowClient, NewExchange, Pair
from pgp_services.clients.ethereum import EthereumClient, JsonRpc
from pgp_services.clients.nowpayments import NewInvoice, NowPaymentsClient
from pgp_services.clients.retries import RetryPolicy
from pgp_services.clients.slack import SlackAlerts
from pgp_services.clients.telegram import TelegramClient
from pgp_services.failures import Refused, Unavailable
from pgp_services.lookalikes import (
    ChangeNowServer,
    EthereumServer,
    NowPaymentsServer,
    SlackServer,
    TelegramServer,
)
from pgp_services.lookalikes.http import Fault


@dataclass(frozen=True)
class Case:
    """One call of one client.

    Attributes:
        server: Makes its stand-in, given a key.
        client: Makes the client, given the secret, the base URL and a policy.
        call, call_async: Make the call.
        once: Whether it is not idempotent.
        key_refusals: The statuses by which the other party refuses a key.
        secret: What the secret holds, given the server and a key.
        final: Statuses that end the call at once.
        has_base_url: Whether the client takes a base URL.
    """

    server: type
    client: type
    call: object
    call_async: object
    once: bool = False
    key_refusals: tuple = (401, 403)
    secret: object = lambda _, key: key
    final: tuple = (301, 302, 400, 404, 405, 409, 422, 204)
    has_base_url: bool = True


EXCHANGE = NewExchange("ETH", "eth", "xmr", "xmr", Decimal("1.5"), "4PAYOUT")
INVOICE = NewInvoice(
    price_amount=Decimal("19.99"),
    price_currency="usd",
    order_id="PGP-1|-1001",
    order_description="A channel",
    ipn_callback_url="https://np-ipn.example/",
    success_url="https://success.example",
    cancel_url="https://failure.example",
)
PAIR = Pair("usdt", "xmr", "xmr", Decimal(10))


class Bot(TelegramServer):
    """Its tokens have the form of Telegram's, and hold the suite's keys."""

    def __init__(self, key):
        super().__init__(self.token(key))

    @staticmethod
    def token(key):
        return f"7:{key}"

    def rotate(self, key, **options):
        return super().rotate(self.token(key), **options)


class Node(EthereumClient):
    """Its endpoints are built by a small double of a PerVersion, which it closes."""

    def __init__(self, secret, url, policy):
        JsonRpc(url, SecretStr("refuses a URL of another kind, as the container does"))
        super().__init__(self.rpc, secret, policy)
        self.secret, self.url, self.built = secret, url, {}

    class Rpc:
        def __init__(self, node):
            self.node = node

        def __call__(self):
            key = self.node.secret.value
            return self.node.built.setdefault(key, JsonRpc(self.node.url, key))

        async def async_(self):
            return self()

    @property
    def rpc(self):
        return self.Rpc(self)

    def close(self):
        for rpc in self.built.values():
            rpc.close()

    async def aclose(self):
        for rpc in self.built.values():
            await rpc.connections.aclose()


CASES = {
    "ChangeNow estimate": Case(
        ChangeNowServer,
        ChangeNowClient,
        lambda client: client.estimate(PAIR),
        lambda client: client.estimate_async(PAIR),
    ),
    "ChangeNow exchange": Case(
        ChangeNowServer,
        ChangeNowClient,
        lambda client: client.create_exchange(EXCHANGE),
        lambda client: client.create_exchange_async(EXCHANGE),
        once=True,
    ),
    "ChangeNow status": Case(
        lambda key: with_exchange(ChangeNowServer(key)),
        ChangeNowClient,
        lambda client: client.status("made"),
        lambda client: client.status_async("made"),
    ),
    "NOWPayments invoice": Case(
        lambda key: NowPaymentsServer(key, "unused"),
        NowPaymentsClient,
        lambda client: client.create_invoice(INVOICE),
        lambda client: client.create_invoice_async(INVOICE),
        once=True,
    ),
    "Slack alert": Case(
        SlackServer,
        lambda secret, _, policy: SlackAlerts(secret, policy),
        lambda client: client.alert("down"),
        lambda client: client.alert_async("down"),
        once=True,
        key_refusals=(403, 404, 410),
        secret=lambda server, key: server.webhook(key),
        final=(301, 302, 400, 401, 405, 409, 422, 204),
        has_base_url=False,
    ),
    "Telegram message": Case(
        Bot,
        TelegramClient,
        lambda client: client.send_message(7, "x"),
        lambda client: client.send_message_async(7, "x"),
        once=True,
        key_refusals=(401, 404),
        secret=lambda _, key: Bot.token(key),
        final=(301, 302, 400, 403, 405, 422, 204),
    ),
    "Telegram invite link": Case(
        Bot,
        TelegramClient,
        lambda client: client.create_invite_link(7),
        lambda client: client.create_invite_link_async(7),
        once=True,
        key_refusals=(401, 404),
        secret=lambda _, key: Bot.token(key),
        final=(301, 302, 400, 403, 405, 422, 204),
    ),
    "Ethereum count": Case(
        EthereumServer,
        Node,
        lambda client: client.transaction_count("0x" + "1" * 40),
        lambda client: client.transaction_count_async("0x" + "1" * 40),
    ),
    "Ethereum receipt": Case(
        EthereumServer,
        Node,
        lambda client: client.receipt("0x" + "0" * 64),
        lambda client: client.receipt_async("0x" + "0" * 64),
    ),
}


def with_exchange(server):
    server.exchanges["made"] = {"id": "made", "status": "waiting"}
    return server


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture
def once(case):
    if not case.once:
        pytest.skip("idempotent")


@pytest.fixture
def repeatable(case):
    if case.once:
        pytest.skip("not idempotent")


@pytest.fixture
def server(case, key):
    with case.server(key) as server:
        yield server


@pytest.fixture
def secret(case, server, rotating_key, key):
    """A provider of what the case's secret holds, for a key."""

    def make(key=key, after_refresh=None, **options):
        newer = None if after_refresh is None else case.secret(server, after_refresh)
        return rotating_key(case.secret(server, key), after_refresh=newer, **options)

    return make


@pytest.fixture
def client_with(case, server, clock):
    policy = RetryPolicy(budget=8.0, attempt=3.0, clock=clock, chance=lambda: 0.5)
    return lambda secret, policy=policy: case.client(secret, server.url, policy)


def ask(case, client):
    try:
        return case.call(client)
    finally:
        client.close()


def ask_async(case, client):
    async def go():
        try:
            return await case.call_async(client)
        finally:
            await client.aclose()

    return asyncio.run(go())


@pytest.fixture(params=[ask, ask_async], ids=["sync", "async"])
def call(request, case):
    return lambda client: request.param(case, client)


def seen(server):
    return [(request.version, request.status) for request in server.seen]


# -- answers ---------------------------------------------------------------------------------


def test_a_good_answer(call, client_with, secret, server):
    call(client_with(secret()))
    assert [version for version, _ in seen(server)] == [1]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b"{}", b"[" * 60000, b"\xff", b"NaN"], ids=range(8)
)
@pytest.mark.parametrize("status", [200, 201])
def test_nonsense_is_refused_at_once(call, client_with, secret, server, status, body):
    server.fail(Fault(status, body))
    with pytest.raises(Refused):
        call(client_with(secret()))
    assert len(server.seen) == 1


def test_an_answer_that_is_too_long_is_refused(call, client_with, secret, server):
    server.fail(Fault(200, b" " * (MAX_ANSWER + 1)))
    with pytest.raises(Refused, match="TooLong"):
        call(client_with(secret()))
    assert len(server.seen) == 1


def test_an_answer_may_be_as_long_as_the_bound(call, client_with, secret, server):
    server.fail(Fault(200, b" " * MAX_ANSWER))
    with pytest.raises(Refused, match="answer is not"):
        call(client_with(secret()))


def test_other_answers_are_final(call, client_with, secret, server, case):
    for status in case.final:
        server.fail(Fault(status, headers={"Location": "/elsewhere"}))
        with pytest.raises(Refused, match=str(status)) as caught:
            call(client_with(secret()))
        assert not caught.value.of_key
    assert len(server.seen) == len(case.final)


# -- retries ---------------------------------------------------------------------------------


def test_what_surely_had_no_effect_is_tried_again(call, client_with, secret, server):
    server.fail(Fault(429), Fault(429))
    call(client_with(secret()))
    assert [status for _, status in seen(server)[:2]] == [429, 429]
    assert len(server.seen) == 3


#: From who was asked: a proxy that has lost a request does not say when to come back.
UNAVAILABLE = Fault(503, headers={"Retry-After": "1"})


@pytest.mark.usefixtures("once")
def test_what_is_unavailable_and_says_until_when_is_asked_once_more(
    call, client_with, secret, server
):
    server.fail(UNAVAILABLE)
    call(client_with(secret()))
    assert [status == 503 for _, status in seen(server)] == [True, False]


@pytest.mark.usefixtures("once")
def test_a_second_time_unavailable_is_not_believed(call, client_with, secret, server):
    server.fail(UNAVAILABLE, UNAVAILABLE)
    with pytest.raises(Unavailable, match="it may have had its effect") as caught:
        call(client_with(secret()))
    assert not caught.value.passing
    assert caught.value.retry_after == 1
    assert len(server.seen) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 0])
@pytest.mark.usefixtures("repeatable")
def test_what_may_pass_is_tried_again(call, client_with, secret, server, status):
    server.fail(Fault(status))
    call(client_with(secret()))
    assert len(server.seen) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 0])
@pytest.mark.usefixtures("once")
def test_what_may_have_had_its_effect_is_not_done_twice(call, client_with, secret, server, status):
    server.fail(Fault(status))
    with pytest.raises(Unavailable, match="it may have had its effect") as caught:
        call(client_with(secret()))
    assert not caught.value.passing
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "fault", [Fault(200, b"{}"), Fault(200, b"<html>"), Fault(201, b" " * (MAX_ANSWER + 1))]
)
@pytest.mark.usefixtures("once")
def test_an_unusable_answer_may_come_after_the_effect(call, client_with, secret, server, fault):
    server.fail(fault)
    with pytest.raises(Refused, match="it may have had its effect"):
        call(client_with(secret()))
    assert len(server.seen) == 1


@pytest.mark.usefixtures("once")
def test_so_may_another_status_of_success(call, client_with, secret, server):
    server.fail(Fault(202), Fault(206))
    for status in (202, 206):
        with pytest.raises(Refused, match=f"{status}; it may have had its effect"):
            call(client_with(secret()))


@pytest.mark.usefixtures("once")
def test_so_may_a_fault_of_ours(call, client_with, secret, server, monkeypatch):
    def broken(*_):
        raise RuntimeError

    monkeypatch.setattr("pgp_services.clients.outcomes.Body.take", broken)
    with pytest.raises(Refused, match="it may have had its effect"):
        call(client_with(secret()))


def test_what_was_never_sent_had_no_effect(call, client_with, secret, monkeypatch):
    def broken(*_):
        raise RuntimeError

    monkeypatch.setattr("pgp_services.clients.base._request", broken)
    with pytest.raises(Refused) as caught:
        call(client_with(secret()))
    assert "effect" not in str(caught.value)


def test_what_is_refused_had_no_effect(call, client_with, secret, server, case):
    statuses = [status for status in case.final if status != 204]
    for status in statuses:
        server.fail(Fault(status))
        with pytest.raises(Refused) as caught:
            call(client_with(secret()))
        assert "effect" not in str(caught.value)


def test_a_time_out(call, client_with, secret, server, case, clock):
    server.fail(Fault(hangs=True))
    client = client_with(secret(), RetryPolicy(budget=8.0, attempt=0.1, clock=clock))
    if not case.once:
        call(client)
        return
    with pytest.raises(Unavailable, match="it may have had its effect"):
        call(client)
    server.release()


def test_nobody_listening_is_tried_again(call, case, clock, rotating_key, unused_port, key):
    url = f"http://127.0.0.1:{unused_port}"
    waiting = rotating_key(key if case.has_base_url else f"{url}/services/{key}")
    policy = RetryPolicy(budget=8.0, attempt=3.0, retries=2, clock=clock)
    with pytest.raises(Unavailable, match=r"\(ConnectError\)$"):
        call(case.client(waiting, url, policy))
    assert waiting.reads == 3


def test_retry_after_past_the_budget_is_handed_on(call, client_with, secret, server):
    server.fail(Fault(429, headers={"Retry-After": "120"}))
    with pytest.raises(Unavailable) as caught:
        call(client_with(secret()))
    assert caught.value.retry_after == 120
    assert len(server.seen) == 1


def test_retry_after_that_no_date_can_be_is_none(call, client_with, secret, server):
    never = "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"
    server.fail(Fault(429, headers={"Retry-After": never}))
    call(client_with(secret()))
    assert len(server.seen) == 2


# -- keys ------------------------------------------------------------------------------------


def test_a_replaced_key_is_looked_up_once(call, client_with, secret, server, case, new_key):
    for number, status in enumerate(case.key_refusals):
        newer = new_key()
        rotating = secret(new_key(), after_refresh=newer)
        server.rotate(newer)
        server.fail(Fault(status))
        call(client_with(rotating))
        assert seen(server)[2 * number] == (0, status)
        assert seen(server)[2 * number + 1][0] == number + 2
        assert rotating.refreshes == 1


def test_a_refused_key_that_did_not_change_is_not_tried_again(
    call, client_with, secret, server, case
):
    for status in case.key_refusals:
        server.fail(Fault(status))
        rotating = secret()
        with pytest.raises(Refused, match=str(status)) as caught:
            call(client_with(rotating))
        assert caught.value.of_key
        assert rotating.refreshes == 1
    assert len(server.seen) == len(case.key_refusals)


def test_a_key_that_cannot_be_refreshed_is_tried_once(
    call, client_with, server, case, given, key, new_key
):
    constant = given(SecretStr(case.secret(server, key)))
    call(client_with(constant))
    server.rotate(new_key())
    with pytest.raises(Refused) as caught:
        call(client_with(constant))
    assert caught.value.of_key
    assert len(server.seen) == 2


def test_no_cookie_is_kept(call, client_with, secret, server, case, new_key, monkeypatch):
    """Neither for the next key nor for the same one."""
    came, parted = [], server.parted

    def record(request):
        came.append(request.headers)
        return parted(request)

    monkeypatch.setattr(server, "parted", record)
    newer = new_key()
    rotating = secret(new_key(), after_refresh=newer)
    server.rotate(newer)
    given = {"Set-Cookie": "session=CANARY; Path=/"}
    server.fail(Fault(429, headers=given), Fault(case.key_refusals[0], headers=given))
    call(client_with(rotating))
    assert len(came) >= 3
    assert not [headers for headers in came if "cookie" in headers]


def test_no_key_is_no_request(call, client_with, secret, server):
    def fail():
        raise SecretUnavailable("the source is down", secret="CANARY")

    with pytest.raises(SecretUnavailable):
        call(client_with(secret(on_read=fail)))
    assert server.seen == []


# -- secrecy ---------------------------------------------------------------------------------


def echoing(status, secret):
    """An answer that says everything: a careless server, or a proxy."""
    return Fault(status, f"CANARYBODY {secret}".encode(), {"Location": secret, "X-Key": secret})


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 503, 0])
def test_no_failure_shows_key_url_or_answer(
    call, client_with, secret, server, case, key, clock, status, shown_by
):
    def wait():
        clock.now += 5

    held = case.secret(server, key)
    server.fail(*[echoing(status, held)] * 3)
    with pytest.raises((Refused, Unavailable)) as caught:
        call(client_with(secret(on_read=wait)))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    shown = shown_by(caught.value)
    assert not [canary for canary in (key, "CANARYBODY", server.url) if canary in shown]


@pytest.mark.parametrize("broken", ["line\nbreak", "ключ", "nul\0", "/../../x"])
def test_a_key_that_cannot_travel_is_not_shown(
    call, client_with, secret, broken, caplog, shown_by
):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Refused) as caught:
        call(client_with(secret(broken)))
    assert broken not in shown_by(caught.value)
    assert broken not in caplog.text
    assert repr(broken).strip("'") not in caplog.text


def test_no_log_line_of_any_library_holds_the_key(
    call, client_with, secret, server, case, key, caplog
):
    caplog.set_level(logging.DEBUG)
    for name in hushed.LOGGERS:
        caplog.set_level(logging.DEBUG, name)
    server.fail(echoing(429, case.secret(server, key)))
    call(client_with(secret()))
    assert "answered 429" in caplog.text
    assert key not in caplog.text
    assert key not in str([vars(record) for record in caplog.records])


def test_a_client_does_not_show_its_key(call, client_with, secret, key):
    client = client_with(secret())
    call(client)
    assert key not in repr(client) + str(vars(client))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example",
        "https://user:CANARYPASSWORD@api.example",
        "https://",
        "https://api.example/v2",
        "https://api.example?key=CANARY",
        "https://api.example#CANARY",
        "ftp://127.0.0.1",
        "http://[::1",
        "",
        None,
    ],
)
def test_a_base_url_that_would_show_the_key_is_refused(case, secret, url, shown_by):
    if not case.has_base_url:
        pytest.skip("its URL is the secret")
    with pytest.raises(DeclarationError) as caught:
        case.client(secret(), url, RetryPolicy(budget=1.0, attempt=1.0))
    assert "CANARY" not in shown_by(caught.value)


async def test_a_cancelled_call_is_cancelled_and_shows_nothing(
    client_with, secret, case, key, shown_by, monkeypatch
):
    sending = asyncio.Event()

    async def send(self, request, **options):
        sending.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(httpx.AsyncClient, "send", send)
    client = client_with(secret())
    asked = asyncio.create_task(case.call_async(client))
    await sending.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await asked
    await client.aclose()
    assert key not in shown_by(caught.value)
    assert "<Request(" not in shown_by(caught.value)


def test_an_interrupt_shows_nothing(client_with, secret, server, case, key, shown_by, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(httpx.Client, "send", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        ask(case, client_with(secret()))
    assert key not in shown_by(caught.value)
    assert caught.value.__context__ is None


def test_a_fault_of_ours_shows_nothing(call, client_with, secret, key, shown_by, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError(key)

    monkeypatch.setattr("pgp_services.clients.base._request", broken)
    with pytest.raises(Refused, match="RuntimeError") as caught:
        call(client_with(secret()))
    assert key not in shown_by(caught.value)


# -- the silence around our requests ---------------------------------------------------------


def test_a_programs_own_requests_are_logged_as_before(client_with, secret, server, caplog):
    caplog.set_level(logging.DEBUG)
    client_with(secret())
    with httpx.Client(trust_env=False) as theirs:
        theirs.get(f"{server.url}/theirs")
    assert "/theirs" in caplog.text
    with hushed.hushed(), httpx.Client(trust_env=False) as ours:
        ours.get(f"{server.url}/ours")
    assert "/ours" not in caplog.text


class Interrupted(BaseException):
    """What a signal's handler raises: SystemExit of a gunicorn worker that takes too long."""


#: Lines of these modules that one call goes through, at least; more fail no test.
LINES = 60


def interrupted_at(number):
    """A trace function that raises before the n-th line of ours is run."""
    ours = {base.__file__, deadlines.__file__, hushed.__file__}
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_filename not in ours:
            return None
        if event == "line":
            lines += 1
            if lines == number:
                sys.settrace(None)
                raise Interrupted
        return trace

    return trace


def traced(trace, work):
    """In a thread of its own: how it ended, and whether its loggers are still silenced."""

    def run():
        sys.settrace(trace)
        try:
            work()
        except BaseException as ended:  # noqa: BLE001  it is looked at
            return ended
        finally:
            sys.settrace(None)
            left.append(hushed._hushed.get())
        return None

    left = []
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(contextvars.Context().run, run).result(30)
    return ended, left


@pytest.mark.parametrize("case", ["ChangeNow estimate", "Slack alert"], indirect=True)
@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning"
)  # of what is interrupted while it connects
def test_a_call_that_is_interrupted_anywhere_leaves_no_logger_silent(
    client_with, secret, server, case, key, shown_by
):
    client, held = client_with(secret()), case.secret(server, key)
    interruptions = 0
    for line in range(1, LINES + 40):
        ended, left = traced(interrupted_at(line), lambda: case.call(client))
        assert left == [False]
        if isinstance(ended, Interrupted):
            interruptions += 1
            assert held not in shown_by(ended)
    assert interruptions >= LINES
    client.close()


def test_a_silence_may_end_in_another_context():
    """As that of a coroutine does which its loop has left half-way, when it is collected."""
    silence = hushed.hushed()
    contextvars.copy_context().run(silence.__enter__)
    silence.__exit__(None, None, None)
    assert not hushed._hushed.get()


def test_every_logger_of_httpx_and_httpcore_is_silenced(client_with, secret, call):
    call(client_with(secret()))
    loggers = {
        module.logger.name
        for name, module in sys.modules.items()
        if name.partition(".")[0] in {"httpx", "httpcore"} and hasattr(module, "logger")
    }
    assert loggers >= {"httpx", "httpcore.http11"}
    assert loggers <= set(hushed.LOGGERS)


def test_a_key_in_a_path_does_not_end_it():
    assert in_path(SecretStr("123:AA-b_c")) == "123:AA-b_c"
    assert in_path(SecretStr("a/b?c#d é")) == "a%2Fb%3Fc%23d%20%C3%A9"


def test_a_proxy_of_the_environment_is_not_for_the_loopback(
    call, client_with, secret, server, monkeypatch, unused_port
):
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    with httpx.Client() as theirs, pytest.raises(httpx.ConnectError):
        theirs.get(server.url)  # which shows that the variable counts
    call(client_with(secret()))
    assert server.seen


def test_every_request_is_json(call, client_with, secret, server):
    call(client_with(secret()))
    request = server.seen[0]
    assert request.method == "GET" or isinstance(json.loads(request.body), dict)
