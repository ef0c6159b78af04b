"""The ChangeNow client, from threads and from coroutines, against a local look-alike."""

import asyncio
import dataclasses
import http
import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from email.utils import format_datetime
from itertools import chain, repeat

import httpx
import pytest
import stamina
from pydantic import SecretStr

from pgp_services.clients.base import MAX_ANSWER, split
from pgp_services.clients.changenow import (
    POLICY,
    ChangeNowClient,
    ChangeNowRefused,
    ChangeNowUnavailable,
    NewExchange,
    Pair,
)
from pgp_services.clients.outcomes import Body, seconds
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import BadRequest
from pgp_services.lookalikes.changenow import COURSE
from pgp_services.lookalikes.http import Fault

PAIR = Pair("USDT", "xmr", "XMR", Decimal("100.10"))
NEW = NewExchange("ETH", "ETH", "XMR", "xmr", Decimal("1.50"), "4PAYOUT")
GOOD = b'{"fromAmount":1,"toAmount":2,"depositFee":0,"withdrawalFee":0.1}'


def ask(client, pair=PAIR):
    try:
        return client.estimate(pair)
    finally:
        client.close()


def ask_async(client, pair=PAIR):
    async def go():
        try:
            return await client.estimate_async(pair)
        finally:
            await client.aclose()

    return asyncio.run(go())


@pytest.fixture(params=[ask, ask_async], ids=["sync", "async"])
def estimate(request):
    return request.param


@pytest.fixture
def policy(clock):
    return RetryPolicy(budget=8.0, attempt=3.0, clock=clock, chance=lambda: 0.5)


@pytest.fixture
def client_with(changenow_server, policy):
    return lambda key, **options: ChangeNowClient(
        key, **{"base_url": changenow_server.url, "policy": policy, **options}
    )


@pytest.fixture
def good_key(rotating_key, key):
    return rotating_key(key)


def versions(server):
    return [(seen.version, seen.status) for seen in server.seen]


# -- the answer ------------------------------------------------------------------------------


def test_an_estimate_is_exact_decimals(estimate, client_with, good_key):
    answer = estimate(client_with(good_key))
    assert answer.from_amount == Decimal("100.1")
    assert answer.to_amount == Decimal("50.05")
    assert answer.deposit_fee == Decimal("0.001")
    assert answer.withdrawal_fee == Decimal("0.0025")


def test_the_query_is_changenows(estimate, client_with, good_key, changenow_server):
    estimate(client_with(good_key))
    assert changenow_server.seen[0].query == {
        "fromCurrency": "usdt",
        "toCurrency": "xmr",
        "fromNetwork": "eth",
        "toNetwork": "xmr",
        "fromAmount": "100.10",
        "flow": "standard",
        "type": "direct",
    }


def test_many_digits_are_kept(estimate, client_with, good_key, changenow_server):
    body = b'{"fromAmount":100.1,"toAmount":0.123456789012345678901234567890,"depositFee":1e-7,"withdrawalFee":0}'
    changenow_server.fail(Fault(200, body))
    answer = estimate(client_with(good_key))
    assert str(answer.to_amount) == "0.123456789012345678901234567890"
    assert answer.deposit_fee == Decimal("0.0000001")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"[" * 60000,
        b"\xff",
        b'{"fromAmount":1,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":null,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":NaN,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":"nan","depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":Infinity,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":-2,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":0,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":true,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":1e999999,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":1e99999999999999999999,"depositFee":0,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":2,"withdrawalFee":0}',
        b'{"fromAmount":1,"toAmount":2,"depositFee":0}',
        b'{"toAmount":2,"depositFee":0,"withdrawalFee":0}',
        GOOD + b" " * MAX_ANSWER,
    ],
    ids=range(20),
)
def test_an_unusable_estimate_is_refused(estimate, client_with, good_key, changenow_server, body):
    changenow_server.fail(Fault(200, body))
    with pytest.raises(ChangeNowRefused):
        estimate(client_with(good_key))
    assert len(changenow_server.seen) == 1


# -- retries ---------------------------------------------------------------------------------


def test_the_budget_ends_the_attempts(
    estimate, client_with, rotating_key, key, changenow_server, clock
):
    slow = rotating_key(key, on_read=lambda: setattr(clock, "now", clock.now + 3))
    changenow_server.fail(*[Fault(503)] * 20)
    with pytest.raises(ChangeNowUnavailable):
        estimate(client_with(slow))
    assert len(changenow_server.seen) == 3


def test_the_budget_is_shorter_than_a_requests_own_limit():
    gunicorns_default, read, reads, task = 30.0, 2.0, 5, 4.0
    refresh = read
    assert POLICY.budget + refresh + reads * read + task < gunicorns_default


def test_retry_after_is_kept_within_the_budget(estimate, client_with, good_key, changenow_server):
    changenow_server.fail(Fault(429, headers={"Retry-After": "2"}))
    assert estimate(client_with(good_key)).to_amount == Decimal("50.05")


def test_retry_after_in_all_its_forms():
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < seconds(format_datetime(soon, usegmt=True)) <= 100
    assert 90 < seconds(soon.strftime("%a, %d %b %Y %H:%M:%S")) <= 100
    assert seconds(format_datetime(soon - timedelta(days=1))) == 0
    assert seconds("9" * 5000) == 999_999_999
    assert seconds("Mon, 01 Jan 2024 00:00:00 +99999999999999999999") is None
    assert [seconds(text) for text in (None, "soon", "-1", "nan", "", "٣")] == [None] * 6


def test_an_answer_that_trickles_in_ends_with_the_attempt(clock):
    answer = Body(100, 3.0, clock)
    answer.take(b"{")
    clock.now += 3
    with pytest.raises(TimeoutError):
        answer.take(b"}")


# -- the key ---------------------------------------------------------------------------------


def test_a_new_key_that_is_refused_too_ends_the_call(
    estimate, client_with, rotating_key, key, new_key, changenow_server
):
    rotating = rotating_key(key, after_refresh=new_key())
    changenow_server.revoke()
    with pytest.raises(ChangeNowRefused, match="401"):
        estimate(client_with(rotating))
    assert versions(changenow_server) == [(1, 401), (0, 401)]
    assert rotating.refreshes == 1


def test_a_key_that_changes_with_the_budget_spent_is_unavailable(
    estimate, client_with, rotating_key, key, new_key, changenow_server, clock
):
    pauses = chain([0.0], repeat(7.97))  # the attempt with the old key has its time
    rotating = rotating_key(
        key,
        after_refresh=new_key(),
        on_read=lambda: setattr(clock, "now", clock.now + next(pauses)),
    )
    changenow_server.revoke()
    with pytest.raises(ChangeNowUnavailable, match="replaced"):
        estimate(client_with(rotating))


def test_a_key_is_looked_for_once_in_a_call_whatever_came_between(
    estimate, client_with, rotating_key, key, new_key, changenow_server
):
    newer = new_key()
    rotating = rotating_key(key, after_refresh=newer)
    changenow_server.rotate(newer)
    changenow_server.fail(Fault(401), Fault(503), Fault(401))
    with pytest.raises(ChangeNowRefused, match="401"):
        estimate(client_with(rotating))
    assert versions(changenow_server) == [(1, 401), (2, 503), (2, 401)]
    assert rotating.refreshes == 1


def test_the_version_before_is_tried_where_the_client_is_told_so(
    estimate, client_with, rotating_key, key, new_key, changenow_server
):
    ahead = rotating_key(new_key(), before=key)
    with pytest.raises(ChangeNowRefused):
        estimate(client_with(ahead))
    assert versions(changenow_server) == [(0, 401)]
    estimate(client_with(rotating_key(new_key(), before=key), previous_key=True))
    assert versions(changenow_server)[1:] == [(0, 401), (1, 200)]


def test_a_new_key_is_waited_for_where_the_client_is_told_so(
    estimate, client_with, rotating_key, key, new_key, changenow_server, monkeypatch
):
    monkeypatch.setattr("pgp_config.verdicts.SHORTEST_LOOK", 0.0)
    newer = new_key()

    class Late(rotating_key):
        def refresh(self):
            self.after_refresh = newer if self.refreshes == 2 else None
            return super().refresh()

    changenow_server.rotate(newer)
    late = Late(key)
    changenow_server.fail(Fault(401))
    assert estimate(client_with(late, key_patience=5)).to_amount == Decimal("50.05")
    assert late.refreshes == 3


def test_every_attempt_reads_the_key_anew(
    estimate, client_with, rotating_key, key, new_key, changenow_server
):
    """Old fault: the value of the request was kept through the retry loop."""
    newer = new_key()
    rotating = rotating_key(key)
    attempts = []

    def rotate_before_the_second():
        attempts.append(1)
        if len(attempts) == 2:
            changenow_server.rotate(newer)
            rotating.value = SecretStr(newer)

    rotating.on_read = rotate_before_the_second
    changenow_server.fail(Fault(503))
    estimate(client_with(rotating))
    assert versions(changenow_server) == [(1, 503), (2, 200)]
    assert rotating.refreshes == 0


def test_the_key_is_on_the_request_and_not_on_the_session(
    client_with, good_key, key, changenow_server
):
    """Old fault: the API key stood on a session that all threads share."""
    client = client_with(good_key)
    client.estimate(PAIR)
    shared = client._connections.to(httpx.URL(changenow_server.url))
    assert key not in str(shared.headers.raw)
    assert "x-changenow-api-key" not in shared.headers
    client.close()


def test_threads_with_different_keys_do_not_mix_them(
    client_with, rotating_key, new_key, changenow_server
):
    keys = {f"thread-{number}": new_key() for number in range(4)}
    version = {name: changenow_server.rotate(key) for name, key in keys.items()}
    changenow_server._accepted = set(version.values())

    class ByThread(rotating_key):
        def __call__(self):
            return SecretStr(keys[threading.current_thread().name])

    client = client_with(ByThread("unused"))
    threads = [
        threading.Thread(
            name=name, target=lambda: [client.estimate(PAIR) for _ in range(5)], daemon=True
        )
        for name in keys
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    client.close()
    assert changenow_server.requests_by_version() == dict.fromkeys(version.values(), 5)


# -- the base URL ----------------------------------------------------------------------------


def test_the_real_api_is_the_default(good_key):
    client = ChangeNowClient(good_key)
    assert str(client.at("/v2/x")) == "https://api.changenow.io/v2/x"
    assert repr(client) == "<ChangeNowClient>"


# -- concurrency -----------------------------------------------------------------------------


async def test_the_loop_is_free_while_changenow_is_slow(client_with, good_key, changenow_server):
    changenow_server.fail(Fault(hangs=True))
    client = client_with(good_key)
    reached = asyncio.Event()
    good_key.on_read = reached.set
    asked = asyncio.create_task(client.estimate_async(PAIR))
    await reached.wait()
    assert not asked.done()
    changenow_server.release()
    assert (await asked).to_amount == Decimal("50.05")
    await client.aclose()


async def test_a_cancelled_estimate_is_cancelled(client_with, good_key, changenow_server):
    changenow_server.fail(Fault(hangs=True))
    client = client_with(good_key)
    reached = asyncio.Event()
    good_key.on_read = reached.set
    asked = asyncio.create_task(client.estimate_async(PAIR))
    await reached.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await client.aclose()


def test_stamina_repeats_as_the_course_says(client_with, good_key, changenow_server):
    """The pauses that stamina gets are the course's, not its own."""
    pauses = []
    hook = lambda details: pauses.append(details.retry_num)  # noqa: E731  short
    stamina.instrumentation.set_on_retry_hooks([hook])
    try:
        changenow_server.fail(Fault(503), Fault(503))
        ask(client_with(good_key))
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert pauses == [1, 2]


def test_connecting_and_reading_share_an_attempts_time():
    parts = split(3.0)
    assert parts.connect + parts.read == 3.0
    assert parts.pool == 1.0


def test_statuses_are_those_of_http():
    assert httpx.codes.OK == http.HTTPStatus.OK


# -- exchanges -------------------------------------------------------------------------------


@pytest.fixture(params=["sync", "async"])
def exchanges(request, client_with, good_key):
    """`create` and `status`, by threads or by coroutines."""
    client = client_with(good_key)

    def waiting(method):
        async def go(asked):
            try:
                return await method(asked)
            finally:
                await client.aclose()

        return lambda asked: asyncio.run(go(asked))

    if request.param == "sync":
        yield client.create_exchange, client.status
    else:
        yield waiting(client.create_exchange_async), waiting(client.status_async)
    client.close()


def test_an_exchange_from_its_making_to_its_payout(exchanges, changenow_server):
    create, status = exchanges
    made = create(NEW)
    assert (made.payout_address, made.from_amount) == ("4PAYOUT", Decimal("1.5"))
    assert made.to_amount == Decimal("0.75")
    assert made.payin_address.startswith("0x")
    assert made.payin_extra_id is None
    assert json.loads(changenow_server.seen[0].body) == {
        "fromCurrency": "eth",
        "fromNetwork": "eth",
        "toCurrency": "xmr",
        "toNetwork": "xmr",
        "fromAmount": "1.50",
        "address": "4PAYOUT",
        "flow": "standard",
        "type": "direct",
    }
    changenow_server.moves_on = True
    told = [status(made.id) for _ in range(6)]
    assert [one.status for one in told] == [*COURSE, "finished"]
    assert [one.is_finished for one in told] == [False] * 4 + [True] * 2
    assert not any(one.is_failed for one in told)
    assert (told[0].payin_hash, told[0].amount_from, told[0].payout_hash) == (None,) * 3
    assert told[1].payin_hash.startswith("0x")
    assert (told[4].amount_from, told[4].amount_to) == (Decimal("1.5"), Decimal("0.75"))
    assert told[4].payout_hash.startswith("0x")


@pytest.mark.parametrize("status", ["failed", "refunded", "expired"])
def test_an_exchange_that_will_never_pay_out(exchanges, changenow_server, status):
    create, ask_status = exchanges
    made = create(NEW)
    changenow_server.move(made.id, status)
    told = ask_status(made.id)
    assert (told.status, told.is_failed, told.is_finished) == (status, True, False)


@pytest.mark.parametrize("status", ["new", "verifying"])
def test_an_exchange_that_is_under_way(exchanges, changenow_server, status):
    create, ask_status = exchanges
    made = create(NEW)
    changenow_server.move(made.id, status)
    told = ask_status(made.id)
    assert not told.is_failed
    assert not told.is_finished


def test_no_such_exchange(exchanges):
    with pytest.raises(ChangeNowRefused, match="404"):
        exchanges[1]("unknown")


@pytest.mark.parametrize(
    "amount",
    [
        1.5,
        1,
        True,
        "1.5",
        None,
        Decimal(0),
        Decimal(-1),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1e30"),
        Decimal("1e-31"),
        Decimal("1." + "1" * 31),
        Decimal("1e999999"),
    ],
    ids=str,
)
@pytest.mark.parametrize("asked", [NEW, PAIR], ids=["exchange", "estimate"])
def test_an_amount_that_is_none_is_not_asked_for(asked, amount):
    with pytest.raises(BadRequest, match="amount") as caught:
        dataclasses.replace(asked, amount=amount)
    assert caught.value.fields == ("amount",)


@pytest.mark.parametrize(
    "text", ["", "two words", "line\nbreak", "é", "x" * 129, None, 5], ids=str
)
@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (NEW, "from_currency"),
        (NEW, "from_network"),
        (NEW, "to_currency"),
        (NEW, "to_network"),
        (NEW, "address"),
        (PAIR, "from_currency"),
        (PAIR, "to_currency"),
        (PAIR, "to_network"),
    ],
)
def test_what_is_no_name_is_not_asked_for(asked, name, text):
    with pytest.raises(BadRequest) as caught:
        dataclasses.replace(asked, **{name: text})
    assert caught.value.fields == (name,)


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("123456789012345678901234567890.123456789012345678901234567891", None),
        ("1E+29", "1" + "0" * 29),
        ("1e-30", "0." + "0" * 29 + "1"),
        ("1.50", "1.50"),
    ],
    ids=range(4),
)
def test_an_amount_loses_no_digit(amount, written):
    with localcontext(prec=3):
        asked = dataclasses.replace(NEW, amount=Decimal(amount))
        told = json.loads(asked.body())["fromAmount"]
        assert told == (written or amount)
        assert dataclasses.replace(PAIR, amount=Decimal(amount)).query()["fromAmount"] == told
    assert Decimal(told) == Decimal(amount)


@pytest.mark.parametrize(
    "change",
    [
        {"fromAmount": 100.2},
        {"fromAmount": 100.099},
        {"fromCurrency": "usdc"},
        {"toCurrency": "btc"},
        {"fromNetwork": "bsc"},
        {"toNetwork": "eth"},
        {"toNetwork": ""},
    ],
    ids=str,
)
def test_an_estimate_of_something_else_is_refused(
    estimate, client_with, good_key, changenow_server, change
):
    told = {**json.loads(GOOD), "fromAmount": 100.1, **change}
    changenow_server.fail(Fault(200, json.dumps(told).encode()))
    with pytest.raises(ChangeNowRefused, match="not to what was asked"):
        estimate(client_with(good_key))
    assert len(changenow_server.seen) == 1


def test_an_estimate_may_be_rounded_and_written_in_capitals(
    estimate, client_with, good_key, changenow_server
):
    names = {"fromCurrency": "USDT", "fromNetwork": "ETH", "toCurrency": "XMR", "toNetwork": None}
    told = {**json.loads(GOOD), "fromAmount": 100.10000001, **names}
    changenow_server.fail(Fault(200, json.dumps(told).encode()))
    assert estimate(client_with(good_key)).from_currency == "USDT"


@pytest.mark.parametrize("change", [{"address": ""}, {"fromAmount": "much"}], ids=str)
def test_the_stand_in_takes_no_half_an_exchange(exchanges, monkeypatch, change):
    body = json.dumps({**json.loads(NEW.body()), **change}).encode()
    monkeypatch.setattr(NewExchange, "body", lambda _: body)
    with pytest.raises(ChangeNowRefused, match="400"):
        exchanges[0](NEW)


MADE = {
    "id": "made",
    "payinAddress": "0xpayin",
    "payoutAddress": "4PAYOUT",
    "fromAmount": 1.5,
    "toAmount": 3,
}


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": 5},
        {"id": "with blank"},
        {"id": "with.point"},
        {"payinAddress": None},
        {"payinAddress": ""},
        {"payoutAddress": "line\nbreak"},
        {"fromAmount": 0},
        {"fromAmount": "much"},
        {"fromAmount": True},
        {"toAmount": -1},
        {"toAmount": None},
    ],
    ids=range(12),
)
def test_an_unusable_exchange_is_refused(exchanges, changenow_server, change):
    changenow_server.fail(Fault(200, json.dumps({**MADE, **change}).encode()))
    with pytest.raises(ChangeNowRefused, match="unusable"):
        exchanges[0](NEW)


@pytest.mark.parametrize(
    "change",
    [
        {"payoutAddress": "4OTHER"},
        {"fromAmount": 1.6},
        {"fromAmount": 1.4999},
        {"fromCurrency": "btc"},
        {"fromNetwork": "bsc"},
        {"toCurrency": "doge"},
        {"toNetwork": "eth"},
    ],
    ids=str,
)
def test_an_exchange_to_another_address_or_of_another_amount_is_refused(
    exchanges, changenow_server, change
):
    changenow_server.fail(Fault(200, json.dumps({**MADE, **change}).encode()))
    with pytest.raises(ChangeNowRefused, match="not to what was asked"):
        exchanges[0](NEW)


def test_ethereums_addresses_may_differ_in_case_and_amounts_be_rounded(
    exchanges, changenow_server
):
    new = dataclasses.replace(NEW, address="0xABcd", amount=Decimal("1.500000012345678901"))
    made = {**MADE, "payoutAddress": "0xabCD", "fromAmount": 1.50000001}
    changenow_server.fail(Fault(200, json.dumps(made).encode()))
    assert exchanges[0](new).payout_address == "0xabCD"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "hold"},
        {"status": None},
        {"amountFrom": "nan"},
        {"payinHash": 5},
        {"payinHash": ""},
        {"payoutHash": "<script>\n"},
        {"payoutHash": "\0"},
        {"payoutHash": "x" * 129},
    ],
    ids=str,
)
def test_an_unusable_status_is_refused(exchanges, changenow_server, change):
    told = {"id": "made", "status": "waiting", **change}
    changenow_server.fail(Fault(200, json.dumps(told).encode()))
    with pytest.raises(ChangeNowRefused, match="unusable"):
        exchanges[1]("made")


def test_the_status_of_another_exchange_is_refused(exchanges, changenow_server):
    changenow_server.fail(Fault(200, b'{"id": "other", "status": "finished"}'))
    with pytest.raises(ChangeNowRefused, match="not to what was asked"):
        exchanges[1]("made")


def test_an_exchange_id_is_escaped(exchanges, changenow_server):
    with pytest.raises(ChangeNowRefused, match="404"):
        exchanges[1]("a&b=c#d")
    assert changenow_server.seen[0].query == {"id": "a&b=c#d"}
