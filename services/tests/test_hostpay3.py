"""PGP_HOSTPAY3_v1 pays once: whatever is repeated, lost, taken, or waits."""

import itertools
import json
import logging
import time

import grpc
import pytest
from eth_account import Account
from pydantic import SecretStr

from pgp_config import DeclarationError, DynamicSecret
from pgp_services.failures import BadRequest
from pgp_services.hostpay3.container import HostPay3
from pgp_services.hostpay3.endpoint import KeyedRpc
from pgp_services.hostpay3.handler import PLENTY_OF_GAS
from pgp_services.hostpay3.transactions import (
    LOOKS_PER_RAISE,
    MOST_LOOKS,
    MOST_RAISES,
    is_raise,
    pause_after,
    raises_at,
    transfer_of,
    transfers_of,
)
from pgp_services.lookalikes.chain import GWEI, Refusal
from pgp_services.lookalikes.ethereum import EthereumServer
from pgp_services.lookalikes.http import Fault
from pgp_services.names import LEDGER_QUEUE, Service
from pgp_services.settings import Settings
from pgp_services.tokens import (
    PAY_WITHIN,
    PaymentMined,
    PaymentOrder,
    ReservedPayment,
    StatusReport,
    sign,
)

SUCCESS, WALLET_KEY = "SUCCESS_URL_SIGNING_KEY", "HOST_WALLET_PRIVATE_KEY"
PAYIN = "0x" + "ab" * 20
ETHER = 10**18
WEI = 48_500_000_000_000_001


def order(**changes):
    now = int(time.time())
    return PaymentOrder.model_validate(
        {
            "payout_id": "0a" * 32,
            "pay_by": now + PAY_WITHIN,
            "exchange_id": "abc123",
            "payin_address": PAYIN,
            "swap_currency": "eth",
            "amount": "0.048500000000000001",
            "round": 0,
            "timestamp": now,
            **changes,
        }
    )


@pytest.fixture
def sender(fleet_values):
    return Account.from_key(fleet_values[WALLET_KEY]).address


@pytest.fixture
def chain(fleet_values, sender):
    with EthereumServer(fleet_values["ETHEREUM_RPC_URL_API"]) as server:
        server.fund(sender, ETHER)
        yield server


@pytest.fixture
def hostpay3(start, chain, tasks_server, claims_of):
    """The service; `step` is a delivery of a task, by default of the newest one."""
    service = start(Service.HOSTPAY3, ethereum_base_url=chain.url)

    def step(task=None):
        newest = tasks_server.tasks[-1] if task is None else task
        assert newest.url == "https://hostpay3.example/"
        return service.post("/", newest.body)

    def reserved(task=None):
        newest = tasks_server.tasks[-1] if task is None else task
        return claims_of(newest, ReservedPayment, service.values[SUCCESS])

    def reserve(**changes):
        assert service.send("/", order(**changes), SUCCESS)[0] == 200
        return tasks_server.tasks[-1]

    service.step, service.reserved, service.reserve = step, reserved, reserve
    return service


def paid(chain, to=PAYIN):
    """What has arrived."""
    return chain.balance(to)


def mine_finally(chain):
    chain.mine()
    chain.finalize()


# -- the good case ---------------------------------------------------------------------------


def test_an_order_reserves_a_nonce_and_sends_nothing(hostpay3, chain, tasks_server, sender):
    claims = order()
    before = int(time.time())
    status, content, _ = hostpay3.send("/", claims, SUCCESS)
    task = tasks_server.tasks[0]
    assert (status, content["task_ids"]) == (200, [task.name.rpartition("/")[2]])
    assert (task.queue, task.url) == (LEDGER_QUEUE, "https://hostpay3.example/")
    said = hostpay3.reserved()
    assert said.queue == "pgp-hostpay3-queue"
    assert (said.chain_id, said.nonce, said.gas, said.sender) == (1, 0, 21_000, sender)
    mark = 0x0A0A0A
    assert (said.max_fee_per_gas, said.max_priority_fee_per_gas) == (21 * GWEI + mark, GWEI + mark)
    assert (said.round, said.look) == (0, 0)
    assert said.pay_by >= before + PAY_WITHIN
    assert (said.payout_id, said.amount) == (claims.payout_id, claims.amount)
    assert chain.sent == []


def test_a_payment_is_sent_once_and_looked_after_until_it_is_mined(
    hostpay3, chain, tasks_server, claims_of
):
    hostpay3.reserve()
    before = time.time()
    status, content, _ = hostpay3.step()
    assert (status, content["message"]) == (200, "The payment is under way")
    assert tasks_server.tasks[-1].schedule_time >= before + pause_after(0)
    hostpay3.step()
    assert len(chain.sent) == 1
    chain.mine()
    status, content, _ = hostpay3.step()
    assert (status, content["message"]) == (200, "The payment is mined")
    task = tasks_server.tasks[-1]
    assert (task.queue, task.url) == (
        "pgp-hostpay1-response-queue",
        "https://hostpay1.example/payment-completed",
    )
    mined = claims_of(task, PaymentMined, hostpay3.values[SUCCESS])
    assert (mined.payout_id, mined.exchange_id) == ("0a" * 32, "abc123")
    assert mined.tx_hash == chain.sent[0]
    assert paid(chain) == WEI


def test_a_contract_gets_more_gas_than_it_takes_now(hostpay3, monkeypatch):
    ethereum = hostpay3.secrets.ethereum()
    monkeypatch.setattr(ethereum, "estimate_gas", lambda *_: 40_000)
    hostpay3.reserve()
    assert hostpay3.reserved().gas == 48_000


# -- repeats ---------------------------------------------------------------------------------


def test_an_order_that_comes_twice_reserves_one_nonce(hostpay3, chain, tasks_server, sender):
    first = hostpay3.reserve()
    chain.use_nonce(sender)
    assert hostpay3.send("/", order(), SUCCESS)[0] == 200
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 1)
    assert hostpay3.reserved(first).nonce == 0


def test_each_step_may_be_delivered_any_number_of_times(hostpay3, chain, tasks_server):
    steps = [hostpay3.reserve()]
    for _ in range(3):
        hostpay3.step(steps[-1])
        steps.append(tasks_server.tasks[-1])
        for step in steps[:-1]:
            hostpay3.step(step)
    assert len(tasks_server.tasks) == len(steps)
    assert len(set(chain.sent)) == 1
    mine_finally(chain)
    for step in [*steps, *steps]:
        assert hostpay3.step(step)[1]["message"] == "The payment is mined"
    assert [task.url for task in tasks_server.tasks[len(steps) :]] == [
        "https://hostpay1.example/payment-completed"
    ]
    chain.mine()
    assert paid(chain) == WEI


def test_two_payouts_are_two_payments(hostpay3, chain):
    first = hostpay3.reserve()
    hostpay3.step(first)
    second = hostpay3.reserve(payout_id="0b" * 32)
    hostpay3.step(second)
    assert [hostpay3.reserved(task).nonce for task in (first, second)] == [0, 1]
    chain.mine()
    assert paid(chain) == 2 * WEI


def test_an_order_reserves_once_though_its_queue_is_replaced_and_brought_back(
    hostpay3, chain, tasks_server, sender
):
    """Each queue knows the names of its own tasks only: the order comes through both, and is paid once."""
    first = hostpay3.reserve()
    hostpay3.step(first)
    chain.mine()
    for queue in ("hostpay3-green", "pgp-hostpay3-queue"):
        hostpay3.source.add("PGP_HOSTPAY3_QUEUE", queue)
        assert hostpay3.send("/", order(), SUCCESS)[0] == 200
    assert [task.queue for task in tasks_server.tasks] == [LEDGER_QUEUE, "pgp-hostpay3-queue"]
    assert (paid(chain), tasks_server.dropped) == (WEI, 2)


def test_a_payment_stays_in_its_queue_and_another_begins_in_the_new_one(
    hostpay3, chain, tasks_server, sender
):
    step = hostpay3.reserve()
    hostpay3.source.add("PGP_HOSTPAY3_QUEUE", "hostpay3-green")
    hostpay3.step(step)
    look = tasks_server.tasks[-1]
    chain.use_nonce(sender)
    mine_finally(chain)
    hostpay3.step(look)
    again = tasks_server.tasks[-1]
    assert [task.queue for task in (look, again)] == ["pgp-hostpay3-queue"] * 2
    hostpay3.step(again)
    assert tasks_server.tasks[-1].queue == LEDGER_QUEUE
    hostpay3.reserve(payout_id="0b" * 32)
    hostpay3.step()
    assert tasks_server.tasks[-1].queue == "hostpay3-green"


# -- lost answers ----------------------------------------------------------------------------


def test_after_a_lost_answer_the_very_same_transaction_is_known(hostpay3, chain):
    step = hostpay3.reserve()
    for _ in range(60):
        chain.lose_answer()
    hostpay3.step(step)
    assert hostpay3.step(step)[0] == 200
    chain.mine()
    assert len(set(chain.sent)) == 1
    assert paid(chain) == WEI


def test_503_while_the_node_does_not_answer_and_nothing_is_sent_twice(hostpay3, chain):
    step = hostpay3.reserve()
    chain.fail(*[Fault(429, headers={"Retry-After": "60"})] * 2)
    status, _, headers = hostpay3.step(step)
    assert (status, headers["Retry-After"]) == (503, "60")
    hostpay3.step(step)
    hostpay3.step(step)
    chain.mine()
    assert paid(chain) == WEI


def test_a_payment_that_was_mined_before_its_answer_came_is_found(hostpay3, chain):
    step = hostpay3.reserve()
    hostpay3.step(step)
    chain.mine()
    assert hostpay3.step(step)[1]["message"] == "The payment is mined"
    assert len(chain.sent) == 1


def test_a_nonce_that_is_used_between_the_count_and_the_payment(hostpay3, chain, monkeypatch):
    """The node says "nonce too low", and the next look finds out whose it is."""
    step = hostpay3.reserve()
    hostpay3.step(step)
    chain.mine()
    ethereum = hostpay3.secrets.ethereum()
    with monkeypatch.context() as late:
        late.setattr(ethereum, "transaction_count", lambda *_: 0)
        assert hostpay3.step(step)[1]["message"] == "The payment is under way"
    assert hostpay3.step(step)[1]["message"] == "The payment is mined"
    assert (len(chain.sent), paid(chain)) == (2, WEI)


# -- a nonce that another has ----------------------------------------------------------------


def test_of_two_payouts_that_reserved_one_nonce_both_are_paid_once(hostpay3, chain, tasks_server):
    first, second = hostpay3.reserve(), hostpay3.reserve(payout_id="0b" * 32)
    assert [hostpay3.reserved(task).nonce for task in (first, second)] == [0, 0]
    hostpay3.step(first)
    hostpay3.step(second)
    chain.mine()
    waits = tasks_server.tasks[-1]
    status, content, _ = hostpay3.step(waits)
    assert (status, content["message"]) == (200, "The payment is under way")
    chain.finalize()
    status, content, _ = hostpay3.step(waits)
    assert content["message"] == "The nonce was used by another transaction"
    for repeat in (waits, second):
        hostpay3.step(repeat)
    hostpay3.step()
    assert hostpay3.reserved().nonce == 1
    assert hostpay3.reserved().round == 1
    hostpay3.step()
    mine_finally(chain)
    assert hostpay3.step()[1]["message"] == "The payment is mined"
    assert hostpay3.step(first)[1]["message"] == "The payment is mined"
    assert paid(chain) == 2 * WEI


def test_a_nonce_that_was_used_from_elsewhere_is_replaced_once_that_is_final(
    hostpay3, chain, tasks_server, sender
):
    step = hostpay3.reserve()
    chain.use_nonce(sender)
    hostpay3.step(step)
    assert hostpay3.step()[1]["message"] == "The payment is under way"
    chain.finalize()
    hostpay3.step()
    round_one = tasks_server.tasks[-1]
    for repeat in (step, *tasks_server.tasks[1:-1]):
        hostpay3.step(repeat)
    assert tasks_server.tasks[-1] is round_one
    hostpay3.step(round_one)
    hostpay3.step(round_one)
    hostpay3.step()
    mine_finally(chain)
    assert paid(chain) == WEI
    assert hostpay3.step()[1]["message"] == "The payment is mined"
    assert paid(chain) == WEI


def test_a_payment_whose_place_another_one_takes_in_the_pool_is_not_lost(hostpay3, chain):
    """One of two payouts pays more, and pushes the other out: both are paid in the end."""
    first = hostpay3.reserve()
    hostpay3.step(first)
    chain.chain.base_fee *= 2
    chain.chain.tip *= 2
    chain.chain.pool.clear()
    second = hostpay3.reserve(payout_id="0b" * 32)
    hostpay3.step(first)
    chain.chain.pool.clear()
    hostpay3.step(second)
    assert hostpay3.reserved(second).nonce == hostpay3.reserved(first).nonce == 0
    mine_finally(chain)
    assert hostpay3.step(first)[1]["message"] == "The nonce was used by another transaction"
    hostpay3.step()
    hostpay3.step()
    mine_finally(chain)
    assert hostpay3.step()[1]["message"] == "The payment is mined"
    assert paid(chain) == 2 * WEI


# -- a payment that waits --------------------------------------------------------------------


def looks_until(hostpay3, look):
    while hostpay3.reserved().look < look:
        assert hostpay3.step()[0] == 200


def test_a_payment_that_waits_too_long_pays_more_under_the_same_nonce(
    hostpay3, chain, tasks_server
):
    hostpay3.reserve()
    chain.chain.base_fee = 24 * GWEI
    looks_until(hostpay3, LOOKS_PER_RAISE)
    assert (chain.mine(), len(set(chain.sent))) == ([], 1)
    hostpay3.step()
    assert len(set(chain.sent)) == 2
    assert len(chain.chain.pool) == 1
    assert chain.mine() == [chain.sent[-1]]
    assert hostpay3.step()[1]["message"] == "The payment is mined"
    assert paid(chain) == WEI


def test_whichever_of_its_transactions_is_mined_every_look_finds_it(hostpay3, chain, tasks_server):
    """A repeat of an early look must not take the nonce for lost because a later one paid more."""
    first = hostpay3.reserve()
    chain.chain.base_fee = 24 * GWEI
    looks_until(hostpay3, LOOKS_PER_RAISE + 1)
    mine_finally(chain)
    assert hostpay3.step(first)[1]["message"] == "The payment is mined"
    assert paid(chain) == WEI


def test_a_payment_that_the_pool_forgot_is_sent_again(hostpay3, chain):
    hostpay3.reserve()
    hostpay3.step()
    chain.chain.pool.clear()
    hostpay3.step()
    assert len(set(chain.sent)) == 1
    chain.mine()
    assert paid(chain) == WEI


def test_a_payment_that_pays_too_little_for_the_node_waits_for_a_raise(
    hostpay3, chain, monkeypatch
):
    hostpay3.reserve()

    def refuse(_):
        raise Refusal("transaction underpriced")

    with monkeypatch.context() as dear:
        dear.setattr(chain.chain, "send", refuse)
        looks_until(hostpay3, LOOKS_PER_RAISE)
    assert chain.mine() == []
    hostpay3.step()
    chain.mine()
    assert paid(chain) == WEI


def test_fees_rise_by_what_nodes_ask_for_and_to_a_bound(hostpay3):
    hostpay3.reserve()
    payment = hostpay3.reserved()
    fees = [transfer_of(payment, raises).fees for raises in range(MOST_RAISES + 1)]
    for lower, higher in itertools.pairwise(fees):
        assert higher.max_fee_per_gas * 100 >= lower.max_fee_per_gas * 110
        assert higher.max_priority_fee_per_gas * 100 >= lower.max_priority_fee_per_gas * 110
    assert fees[-1].max_fee_per_gas < 2.5 * fees[0].max_fee_per_gas
    assert len(set(transfers_of(payment))) == MOST_RAISES + 1
    raised = [look for look in range(MOST_LOOKS) if is_raise(look)]
    assert raised == [LOOKS_PER_RAISE * n for n in range(1, MOST_RAISES + 1)]
    assert raises_at(MOST_LOOKS) == MOST_RAISES
    assert sum(pause_after(look) for look in range(MOST_LOOKS)) > 24 * 3600 - 2000


def test_503_and_an_alert_when_a_payment_waits_for_a_day(hostpay3, chain, tasks_server, caplog):
    hostpay3.reserve()
    waiting = hostpay3.reserved().model_copy(update={"look": MOST_LOOKS})
    assert hostpay3.send("/", waiting, SUCCESS)[0] == 503
    assert "StillPending" in caplog.text
    assert len(tasks_server.tasks) == 1


# -- funds -----------------------------------------------------------------------------------


def test_a_payment_waits_for_funds_with_an_alert_and_without_a_loop(
    hostpay3, chain, tasks_server, sender, caplog
):
    chain.fund(sender, -ETHER)
    hostpay3.reserve()
    assert hostpay3.reserved().gas == PLENTY_OF_GAS
    status, _, headers = hostpay3.step()
    assert (status, headers["Retry-After"]) == (503, "300")
    assert [r.levelname for r in caplog.records if "OutOfFunds" in r.getMessage()] == ["ERROR"]
    assert len(tasks_server.tasks) == 1
    chain.fund(sender, ETHER)
    assert hostpay3.step()[0] == 200
    chain.mine()
    assert paid(chain) == WEI


# -- refusals --------------------------------------------------------------------------------


def test_an_order_that_comes_too_late_is_not_paid_and_is_told_of(
    hostpay3, chain, tasks_server, caplog
):
    late = order(pay_by=int(time.time()) - 1)
    assert hostpay3.send("/", late, SUCCESS)[0] == 502
    assert "TooLate" in caplog.text
    assert (tasks_server.tasks, chain.sent) == ([], [])


def late_look(hostpay3, **changes):
    """A repeat of a look, hours later."""
    past = {"pay_by": int(time.time()) - 1, **changes}
    return hostpay3.reserved().model_copy(update=past)


def test_a_look_that_comes_too_late_begins_no_round(hostpay3, chain, tasks_server, sender):
    hostpay3.reserve()
    late = late_look(hostpay3)
    chain.use_nonce(sender)
    chain.finalize()
    assert hostpay3.send("/", late, SUCCESS)[0] == 502
    assert len(tasks_server.tasks) == 1


def test_nor_do_the_looks_that_follow_it(hostpay3, chain, tasks_server):
    hostpay3.reserve()
    late = late_look(hostpay3)
    assert hostpay3.send("/", late, SUCCESS)[0] == 200
    assert hostpay3.reserved().pay_by == late.pay_by
    chain.mine()
    assert hostpay3.step()[1]["message"] == "The payment is mined"


def test_looks_that_are_on_time_give_their_successors_more(hostpay3):
    hostpay3.reserve()
    soon = late_look(hostpay3, pay_by=int(time.time()) + 5)
    hostpay3.send("/", soon, SUCCESS)
    assert hostpay3.reserved().pay_by > soon.pay_by


def test_a_payment_of_another_wallet_is_refused(hostpay3, chain, tasks_server):
    hostpay3.reserve()
    other = hostpay3.reserved().model_copy(update={"sender": PAYIN})
    assert hostpay3.send("/", other, SUCCESS)[0] == 502
    assert (len(tasks_server.tasks), chain.sent) == (1, [])


def test_a_payment_on_another_chain_is_refused(hostpay3, chain, tasks_server):
    step = hostpay3.reserve()
    chain.chain.chain_id = 5
    assert hostpay3.step(step)[0] == 502
    assert (len(tasks_server.tasks), chain.sent) == (1, [])


def test_a_payment_that_is_undone_is_told_of_and_not_paid_again(
    hostpay3, chain, tasks_server, caplog
):
    to = Account.create().address
    chain.chain.refusing.add(to)
    step = hostpay3.reserve(payin_address=to)
    hostpay3.step(step)
    mine_finally(chain)
    for _ in range(2):
        assert hostpay3.step(step)[0] == 502
    assert "PaymentFailed" in caplog.text
    assert len(chain.sent) == 1
    assert "hostpay1" not in "".join(task.url for task in tasks_server.tasks)


def test_502_for_a_currency_that_the_wallet_does_not_pay(hostpay3, tasks_server):
    assert hostpay3.send("/", order(swap_currency="usdt", amount="1"), SUCCESS)[0] == 502
    assert tasks_server.tasks == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"amount": "0.0000000000000000001"}, 400),
        ({"payin_address": "0x" + "ab" * 19}, 502),
        ({"payin_address": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"}, 502),
    ],
)
def test_what_no_chain_would_take_gets_no_nonce(hostpay3, tasks_server, changes, status):
    assert hostpay3.send("/", order(**changes), SUCCESS)[0] == status
    assert tasks_server.tasks == []


def test_502_when_the_node_refuses(hostpay3, chain, tasks_server):
    chain.refuse("who are you")
    assert hostpay3.send("/", order(), SUCCESS)[0] == 502
    assert tasks_server.tasks == []


def test_401_for_a_token_that_is_not_for_it(hostpay3, chain, tasks_server, new_key):
    now = int(time.time())
    hostpay3.values["ANOTHER"] = new_key()
    for timestamp in (now - 25 * 3600, now + 3600):
        assert hostpay3.send("/", order(timestamp=timestamp), SUCCESS)[0] == 401
    assert hostpay3.send("/", order(), "ANOTHER")[0] == 401
    report = StatusReport(**order().model_dump(exclude={"round"}), status="waiting")
    assert hostpay3.send("/", report, SUCCESS)[0] == 401
    assert hostpay3.post("/", {"token": "x.y"})[0] == 401
    assert (tasks_server.tasks, chain.seen) == ([], [])


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"token": 7}'])
def test_400_without_json_or_token(hostpay3, body):
    assert hostpay3.post("/", body)[0] == 400


def test_503_when_cloud_tasks_is_unavailable(hostpay3, tasks_server):
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    assert hostpay3.send("/", order(), SUCCESS)[0] == 503
    hostpay3.reserve()
    tasks_server.fail(grpc.StatusCode.PERMISSION_DENIED)
    assert hostpay3.step()[0] == 503


@pytest.mark.parametrize(
    "name", ["ETHEREUM_RPC_URL_API", "PGP_HOSTPAY3_QUEUE", "PGP_HOSTPAY3_URL"]
)
def test_503_when_a_secret_is_unavailable(hostpay3, tasks_server, name):
    hostpay3.source.failing.add(name)
    status, _, headers = hostpay3.send("/", order(), SUCCESS)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert tasks_server.tasks == []


@pytest.mark.parametrize("name", ["PGP_HOSTPAY1_URL", "PGP_HOSTPAY1_RESPONSE_QUEUE"])
def test_503_when_hostpay1_cannot_be_told(hostpay3, chain, tasks_server, name):
    step = hostpay3.reserve()
    hostpay3.step(step)
    chain.mine()
    hostpay3.source.failing.add(name)
    assert hostpay3.step(step)[0] == 503
    assert (len(chain.sent), paid(chain)) == (1, WEI)


# -- keys ------------------------------------------------------------------------------------


def test_the_endpoint_follows_its_key(hostpay3, chain):
    hostpay3.reserve()
    fresh = SecretStr("k" * 32).get_secret_value()
    hostpay3.source.add("ETHEREUM_RPC_URL_API", fresh)
    chain.rotate(fresh)
    assert hostpay3.step()[0] == 200
    assert set(chain.requests_by_version()) == {1, 2}


def test_the_wallets_key_cannot_be_made_dynamic():
    with pytest.raises(DeclarationError, match=WALLET_KEY):
        type("Careless", (HostPay3,), {"host_wallet_private_key": DynamicSecret(WALLET_KEY)})


def test_the_wallets_key_is_loaded_once_and_stays_until_a_restart(hostpay3, chain, new_key):
    hostpay3.source.add(WALLET_KEY, new_key())
    hostpay3.source.asked.clear()
    hostpay3.reserve()
    hostpay3.step()
    chain.mine()
    assert paid(chain) == WEI
    assert WALLET_KEY not in hostpay3.source.asked


def test_no_key_is_logged_or_told(hostpay3, chain, caplog):
    caplog.set_level(logging.DEBUG)
    step = hostpay3.reserve()
    chain.refuse("boom")
    answers = [hostpay3.step(step), hostpay3.step(step)]
    told = caplog.text + json.dumps([answer[1] for answer in answers])
    token = sign(order(), SecretStr(hostpay3.values[SUCCESS]))
    for name in (WALLET_KEY, SUCCESS, "ETHEREUM_RPC_URL_API"):
        assert hostpay3.values[name] not in told
    assert token not in told
    assert json.loads(step.body)["token"] not in told


def test_a_bad_url_of_the_node_stops_the_start(start):
    with pytest.raises(DeclarationError, match="Ethereum"):
        start(Service.HOSTPAY3, ethereum_base_url="http://eth.example")


async def test_the_endpoint_is_given_to_coroutines_too(given):
    from pgp_services.hostpay3.endpoint import Endpoint

    keyed = KeyedRpc(SecretStr("k" * 32))
    endpoint = Endpoint(given(keyed), Settings().ethereum_base_url)
    assert await endpoint.async_() is endpoint() is keyed.at(Settings().ethereum_base_url)
    keyed.close()


def test_an_amount_with_more_digits_than_wei_is_refused(hostpay3):
    hostpay3.reserve()
    payment = hostpay3.reserved().model_copy(update={"amount": order().amount / 10**6})
    with pytest.raises(BadRequest, match="digits"):
        transfer_of(payment, 0)
