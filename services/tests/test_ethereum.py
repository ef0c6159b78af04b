"""The Ethereum client, from threads and from coroutines, against a small chain that checks real transactions."""

import asyncio
import json
import logging
import secrets
import traceback
from functools import partial

import httpx
import pytest
from pydantic import SecretStr

from pgp_config import (
    BuildError,
    DeclarationError,
    DynamicSecret,
    Freshness,
    Memory,
    PerVersion,
    SecretContainer,
    SecretUnavailable,
    request_scope,
)
from pgp_services.clients.accounts import Account
from pgp_services.clients.ethereum import (
    EthereumClient,
    EthereumRefused,
    EthereumUnavailable,
    Fees,
    InsufficientFunds,
    JsonRpc,
    KnownTransaction,
    NonceTooLow,
    ReplacementUnderpriced,
    Underpriced,
)
from pgp_services.clients.retries import RetryPolicy
from pgp_services.clients.wallet import Transfer, Wallet
from pgp_services.lookalikes.chain import GWEI, Chain
from pgp_services.lookalikes.ethereum import EthereumServer
from pgp_services.lookalikes.http import Fault

ETHER = 10**18
TO = "0x09616C3d61b3331fc4109a9E41a8BDB7d9776609"
FEES = Fees(30 * GWEI, 2 * GWEI)


@pytest.fixture
def new_rpc_key():
    return lambda: secrets.token_urlsafe(24)


@pytest.fixture
def rpc_key(new_rpc_key):
    return new_rpc_key()


@pytest.fixture
def server(rpc_key):
    with EthereumServer(rpc_key) as server:
        yield server


@pytest.fixture
def policy(clock):
    return RetryPolicy(budget=8.0, attempt=3.0, clock=clock, chance=lambda: 0.5)


class Rpc:
    """What a PerVersion does, for one key that a double has: built anew when it changes."""

    def __init__(self, url, rotating):
        self.url = url
        self.rotating = rotating
        self.built = {}

    def __call__(self):
        key = self.rotating.value
        if key not in self.built:
            self.built[key] = JsonRpc(self.url, key)
        return self.built[key]

    async def async_(self):
        return self()


@pytest.fixture
def client_with(server, policy):
    made = []

    def make(rotating, **options):
        rpc = Rpc(server.url, rotating)
        made.append(rpc)
        return EthereumClient(rpc, rotating, **{"policy": policy, **options})

    yield make
    for rpc in made:
        for built in rpc.built.values():
            built.close()


@pytest.fixture
def client(client_with, rotating_key, rpc_key):
    return client_with(rotating_key(rpc_key))


@pytest.fixture
def wallet(given, key, server):
    wallet = Wallet(given(SecretStr(key)))
    server.fund(wallet.address(), 10 * ETHER)
    return wallet


@pytest.fixture
def signed(wallet):
    def sign(**changes):
        numbers = {"chain_id": 1, "nonce": 0, "to": TO, "value_wei": ETHER, "gas": 21_000}
        return wallet.sign(Transfer(**{**numbers, "fees": FEES, **changes}))

    return sign


@pytest.fixture(params=["sync", "async"])
def use(request):
    """Calls a method of a client, or awaits its twin, and closes its endpoint's connections."""

    def call(client, name, *arguments, **options):
        if request.param == "sync":
            try:
                return getattr(client, name)(*arguments, **options)
            finally:
                client._rpc().close()

        async def go():
            try:
                return await getattr(client, f"{name}_async")(*arguments, **options)
            finally:
                for rpc in getattr(client._rpc, "built", {}).values():
                    await rpc.connections.aclose()

        return asyncio.run(go())

    return call


# -- a payment -------------------------------------------------------------------------------


def test_a_payment_from_beginning_to_end(use, client, wallet, server):
    address = wallet.address()
    assert use(client, "chain_id") == 1
    assert use(client, "balance", address) == 10 * ETHER
    nonce = use(client, "transaction_count", address)
    fees = use(client, "fees")
    assert fees == Fees(2 * 10 * GWEI + GWEI, GWEI)
    gas = use(client, "estimate_gas", address, TO, ETHER)
    signed = wallet.sign(Transfer(1, nonce, TO, ETHER, gas, fees))
    assert use(client, "send_raw", signed.raw) == signed.hash
    assert use(client, "receipt", signed.hash) is None
    assert use(client, "transaction_count", address) == 1
    assert use(client, "transaction_count", address, "latest") == 0
    assert server.mine() == [signed.hash]
    receipt = use(client, "receipt", signed.hash.upper().replace("0X", "0x"))
    assert (receipt.hash, receipt.succeeded, receipt.gas_used) == (signed.hash, True, 21_000)
    assert receipt.block_number == 2
    assert use(client, "transaction_count", address, "latest") == 1
    assert server.balance(TO) == ETHER
    assert server.balance(address) == 9 * ETHER - 21_000 * 11 * GWEI


def test_a_chain_may_mine_at_once(use, rpc_key, rotating_key, given, key):
    wallet = Wallet(given(SecretStr(key)))
    with EthereumServer(rpc_key, chain=Chain(11155111), mines_at_once=True) as server:
        server.fund(wallet.address(), ETHER)
        rotating = rotating_key(rpc_key)
        client = EthereumClient(Rpc(server.url, rotating), rotating)
        signed = wallet.sign(Transfer(11155111, 0, TO, 5, 21_000, FEES))
        use(client, "send_raw", signed.raw)
        assert use(client, "receipt", signed.hash).succeeded


# -- what a node refuses ---------------------------------------------------------------------


def test_the_same_transaction_again_is_known(use, client, signed, server):
    use(client, "send_raw", signed().raw)
    with pytest.raises(KnownTransaction) as caught:
        use(client, "send_raw", signed().raw)
    assert caught.value.status == 502
    assert not caught.value.of_key
    assert len(server.chain.pool) == 1


def test_a_mined_one_has_used_its_nonce(use, client, signed, server):
    use(client, "send_raw", signed().raw)
    server.mine()
    with pytest.raises(NonceTooLow):
        use(client, "send_raw", signed().raw)
    assert use(client, "receipt", signed().hash).succeeded


def test_a_nonce_may_be_used_by_another(use, client, signed, wallet, server):
    server.use_nonce(wallet.address())
    with pytest.raises(NonceTooLow):
        use(client, "send_raw", signed().raw)
    assert use(client, "receipt", signed().hash) is None


def test_another_with_the_same_nonce_has_to_pay_more(use, client, signed, server):
    use(client, "send_raw", signed().raw)
    with pytest.raises(ReplacementUnderpriced):
        use(client, "send_raw", signed(value_wei=5).raw)
    use(client, "send_raw", signed(fees=Fees(33 * GWEI, 3 * GWEI)).raw)
    assert len(server.mine()) == 1


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"value_wei": 11 * ETHER}, InsufficientFunds),
        ({"chain_id": 5}, EthereumRefused),
        ({"gas": 30_000_001}, EthereumRefused),
        ({"fees": Fees(GWEI, 0)}, Underpriced),
    ],
    ids=str,
)
def test_what_a_node_does_not_take(use, client, signed, server, changes, kind):
    with pytest.raises(EthereumRefused) as caught:
        use(client, "send_raw", signed(**changes).raw)
    assert type(caught.value) is kind
    assert server.chain.pool == {}


@pytest.mark.parametrize("raw", [b"", b"\2", b"\2\xc0", b"nonsense"])
def test_what_is_no_transaction_is_refused(use, client, raw):
    with pytest.raises(EthereumRefused):
        use(client, "send_raw", raw)


def test_what_waits_counts_against_the_funds(use, client, signed):
    use(client, "send_raw", signed(value_wei=6 * ETHER).raw)
    with pytest.raises(InsufficientFunds):
        use(client, "send_raw", signed(value_wei=6 * ETHER, nonce=1).raw)


def test_too_little_for_a_transfer_is_told_by_the_estimate(use, client, wallet):
    with pytest.raises(InsufficientFunds):
        use(client, "estimate_gas", wallet.address(), TO, 11 * ETHER)


@pytest.mark.parametrize(
    ("message", "code", "kind"),
    [
        ("already known", -32000, KnownTransaction),
        ("ALREADY_EXISTS: already known", -32000, KnownTransaction),
        ("AlreadyKnown", -32010, KnownTransaction),
        ("Known transaction", -32000, KnownTransaction),
        ("nonce too low: next nonce 5, tx nonce 4", -32000, NonceTooLow),
        ("OldNonce", -32010, NonceTooLow),
        ("replacement transaction underpriced", -32000, ReplacementUnderpriced),
        ("transaction underpriced: tip needed 1", -32000, Underpriced),
        ("insufficient funds for gas * price + value", -32000, InsufficientFunds),
        ("execution reverted", 3, EthereumRefused),
        ("invalid params", -32602, EthereumRefused),
    ],
)
def test_a_nodes_words_have_their_types(use, client, signed, server, message, code, kind):
    server.refuse(message, code)
    with pytest.raises(EthereumRefused) as caught:
        use(client, "send_raw", signed().raw)
    assert type(caught.value) is kind
    assert str(caught.value) == f"Ethereum refused ({kind.__name__}, {code})"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("limit exceeded", -32005),
        ("daily limit exceeded", -32000),
        ("resource unavailable", -32002),
        ("internal error", -32603),
        ("compute units per second", 429),
    ],
)
def test_a_limit_and_a_bad_moment_pass(use, client, server, message, code):
    server.refuse(message, code)
    assert use(client, "chain_id") == 1
    assert len(server.seen) == 2


def test_a_limit_that_does_not_pass_is_unavailable(
    use, client_with, rotating_key, rpc_key, server, clock
):
    slow = rotating_key(rpc_key, on_read=lambda: setattr(clock, "now", clock.now + 3))
    for _ in range(9):
        server.refuse("limit exceeded", -32005)
    with pytest.raises(EthereumUnavailable, match="-32005"):
        use(client_with(slow), "chain_id")


def test_an_error_under_400_is_read_too(use, client, server):
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "nonce too low"}}
    server.fail(Fault(400, json.dumps(body).encode()))
    with pytest.raises(NonceTooLow):
        use(client, "chain_id")


# -- outages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [False, True], ids=["closed", "hangs"])
def test_a_lost_answer_ends_with_a_known_transaction_and_one_payment(
    use, client_with, rotating_key, rpc_key, signed, server, hangs
):
    policy = RetryPolicy(budget=8.0, attempt=0.3 if hangs else 3.0)
    server.lose_answer(hangs=hangs)
    with pytest.raises(KnownTransaction):
        use(client_with(rotating_key(rpc_key), policy=policy), "send_raw", signed().raw)
    assert len(server.sent) > 1
    assert set(server.sent) == {signed().hash}
    assert server.mine() == [signed().hash]
    assert server.balance(TO) == ETHER


@pytest.mark.parametrize("status", [429, 500, 502, 503, 0])
def test_what_may_pass_is_tried_again(use, client, server, status):
    server.fail(Fault(status), Fault(status))
    assert use(client, "chain_id") == 1


# -- nonsense --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":2,"result":"0x1"}',
        b'{"jsonrpc":"1.0","id":1,"result":"0x1"}',
        b'{"id":1,"result":"0x1"}',
        b'{"jsonrpc":"2.0","id":1,"result":"1"}',
        b'{"jsonrpc":"2.0","id":1,"result":1}',
        b'{"jsonrpc":"2.0","id":1,"result":"0x"}',
        b'{"jsonrpc":"2.0","id":1,"result":"0x01"}',
        b'{"jsonrpc":"2.0","id":1,"result":"0xg"}',
        b'{"jsonrpc":"2.0","id":1,"result":"-0x1"}',
        b'{"jsonrpc":"2.0","id":1,"result":"0x1\\n"}',
        b'{"jsonrpc":"2.0","id":1,"result":null}',
        b'{"jsonrpc":"2.0","id":1,"result":"0x1' + b"0" * 64 + b'"}',
        b'{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"already known"}}',
        b'{"jsonrpc":"2.0","id":1,"error":"CANARY"}',
    ],
    ids=range(17),
)
def test_nonsense_is_refused_at_once(use, client, server, body):
    server.fail(Fault(200, body))
    with pytest.raises(EthereumRefused) as caught:
        use(client, "chain_id")
    assert type(caught.value) is EthereumRefused
    assert "CANARY" not in str(caught.value)
    assert len(server.seen) == 1


def answering(result):
    return Fault(200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())


@pytest.mark.parametrize("result", ["0x" + "0" * 64, "0x1", None])
def test_another_transactions_hash_is_no_answer(use, client, signed, server, result):
    server.fail(answering(result))
    with pytest.raises(EthereumRefused):
        use(client, "send_raw", signed().raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"transactionHash": "0x" + "1" * 64},
        {"status": "0x2"},
        {"blockNumber": None},
        {"gasUsed": "21000"},
    ],
    ids=str,
)
def test_a_receipt_of_another_or_of_nothing_is_no_answer(use, client, signed, server, changes):
    receipt = {
        "transactionHash": signed().hash,
        "blockNumber": "0x1",
        "gasUsed": "0x5208",
        "status": "0x1",
    }
    server.fail(answering({**receipt, **changes}))
    with pytest.raises(EthereumRefused):
        use(client, "receipt", signed().hash)


def test_a_transaction_that_was_undone_has_not_succeeded(use, client, signed, server):
    receipt = {"transactionHash": signed().hash, "blockNumber": "0x1", "gasUsed": "0x5208"}
    server.fail(answering({**receipt, "status": "0x0"}))
    assert not use(client, "receipt", signed().hash).succeeded


# -- the key ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_replaced_key_is_looked_up_once_and_the_rebuilt_endpoint_used(
    use, client_with, rotating_key, rpc_key, new_rpc_key, server, status
):
    newer = new_rpc_key()
    rotating = rotating_key(rpc_key, after_refresh=newer)
    server.rotate(newer)
    if status == 403:
        server.fail(Fault(403))
    assert use(client_with(rotating), "chain_id") == 1
    assert [(s.version, s.status) for s in server.seen] == [(1, status), (2, 200)]
    assert rotating.refreshes == 1


def test_a_refused_key_that_did_not_change_is_not_tried_again(
    use, client_with, rotating_key, rpc_key, server
):
    rotating = rotating_key(rpc_key)
    server.revoke()
    with pytest.raises(EthereumRefused, match="401"):
        use(client_with(rotating), "chain_id")
    assert (len(server.seen), rotating.refreshes) == (1, 1)


def test_no_endpoint_is_no_request(use, rotating_key, rpc_key, server):
    class Missing:
        def __call__(self):
            raise SecretUnavailable("the source is down", secret="ETHEREUM_RPC_URL_API")

        async def async_(self):
            return self()

    rotating = rotating_key(rpc_key)
    client = EthereumClient(Missing(), rotating)
    with pytest.raises(SecretUnavailable):
        client.chain_id()
    with pytest.raises(SecretUnavailable):
        asyncio.run(client.chain_id_async())
    assert server.seen == []
    # The attempt that came to nothing does not keep others from theirs.
    working = EthereumClient(Rpc(server.url, rotating), rotating)
    assert use(working, "chain_id") == 1


def json_rpc(base_url, key):
    return JsonRpc(base_url, key)


class Payments(SecretContainer):
    key = DynamicSecret("ETHEREUM_RPC_URL_API")
    url = DynamicSecret("RPC_URL", str)
    rpc = PerVersion(json_rpc, url, key=key)


@pytest.fixture
def store(server, rpc_key):
    return Memory({"ETHEREUM_RPC_URL_API": rpc_key, "RPC_URL": server.url})


@pytest.fixture
def payments(store):
    payments = Payments(source=store, freshness=Freshness(max_age=3600))
    payments.load()
    yield payments
    payments.close()


def closed(rpc):
    return not any(clients._made for clients in rpc.connections._clients.values())


def test_the_endpoint_is_rebuilt_when_its_key_rotates(payments, store, server, new_rpc_key):
    client, newer = EthereumClient(payments.rpc, payments.key), new_rpc_key()
    with request_scope():
        old = payments.rpc()
        assert client.chain_id() == 1
        server.rotate(newer, lambda: store.add("ETHEREUM_RPC_URL_API", newer))
        assert client.chain_id() == 1  # 401, a look, and the endpoint of the new key
        assert payments.rpc() is not old
        assert not closed(old)  # this scope has used it
    payments.close()  # waits for what is being closed
    assert closed(old)
    assert server.requests_by_version() == {1: 2, 2: 1}


def test_the_endpoint_is_rebuilt_when_its_url_rotates(payments, store, server, rpc_key):
    client = EthereumClient(payments.rpc, payments.key)
    with EthereumServer(rpc_key, chain=Chain(2)) as elsewhere:
        with request_scope():
            assert client.chain_id() == 1
            old = payments.rpc()
            with request_scope():
                store.add("RPC_URL", elsewhere.url)
                payments.url.refresh()
                assert client.chain_id() == 2
            assert client.chain_id() == 1  # one endpoint a scope
        payments.close()
        assert closed(old)


def test_an_old_endpoint_is_not_closed_under_a_request_in_flight(
    payments, store, server, new_rpc_key
):
    client, newer = EthereumClient(payments.rpc, payments.key), new_rpc_key()
    with request_scope():
        old = payments.rpc()
        client.chain_id()
        with request_scope():
            server.rotate(newer, lambda: store.add("ETHEREUM_RPC_URL_API", newer), overlap=True)
            payments.key.refresh()
            client.chain_id()
        assert not closed(old)
        assert client.chain_id() == 1
        assert payments.rpc() is old


async def test_the_connections_of_a_loop_are_closed_there(server, rpc_key, rotating_key):
    rotating = rotating_key(rpc_key)
    rpc = Rpc(server.url, rotating)
    assert await EthereumClient(rpc, rotating).chain_id_async() == 1
    local = rpc().connections._async_clients[True]
    (connection,) = local._made.values()
    await asyncio.to_thread(rpc().close)  # as the thread does that ends an object's last use
    await asyncio.gather(*local._closing)
    assert connection.is_closed
    assert local._made == {}


def test_a_loop_that_is_over_is_left_alone(server, rpc_key, rotating_key):
    rotating = rotating_key(rpc_key)
    rpc = Rpc(server.url, rotating)
    client = EthereumClient(rpc, rotating)

    async def go():
        await client.chain_id_async()
        local = rpc().connections._async_clients[True]._made
        (connection,) = local.values()
        await connection.aclose()

    asyncio.run(go())
    rpc().close()


def test_a_base_url_of_another_kind_is_refused(rpc_key):
    for url in ("http://eth.example", "https://user:CANARY@eth.example", "https://eth.example/v2"):
        with pytest.raises(DeclarationError) as caught:
            JsonRpc(url, SecretStr(rpc_key))
        assert "CANARY" not in everything_shown_by(caught.value)


def test_a_base_url_from_the_settings_is_bound_beforehand(server, rpc_key):
    class Fixed(SecretContainer):
        key = DynamicSecret("ETHEREUM_RPC_URL_API")
        rpc = PerVersion(partial(JsonRpc, server.url), key=key)
        broken = PerVersion(partial(JsonRpc, "http://eth.example"), key=key)

    fixed = Fixed(source=Memory({"ETHEREUM_RPC_URL_API": rpc_key}))
    fixed.load()
    with request_scope():
        assert EthereumClient(fixed.rpc, fixed.key).chain_id() == 1
        with pytest.raises(BuildError):
            EthereumClient(fixed.broken, fixed.key).chain_id()
    fixed.close()


# -- secrecy ---------------------------------------------------------------------------------


def everything_shown_by(error):
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [f"{frame.locals}" for frame in trace.stack if "/tests/" not in frame.filename]
    return "".join([*trace.format_exception_only(), *frames, repr(error), repr(error.args)])


@pytest.mark.parametrize(
    "fault",
    [Fault(401), Fault(404), Fault(500), Fault(200), Fault(0)],
    ids=["401", "404", "500", "200", "0"],
)
def test_no_failure_shows_the_key_the_url_or_the_answer(
    use, client, server, rpc_key, fault, caplog
):
    for name in ("", "httpx", "httpcore.connection", "httpcore.http11", "asyncio"):
        caplog.set_level(logging.DEBUG, name or None)
    server.fail(*[Fault(fault.status, b"CANARYBODY", {"X-Canary": "CANARYHEADER"})] * 60)
    with pytest.raises((EthereumRefused, EthereumUnavailable)) as caught:
        use(client, "chain_id")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    records = str([vars(record) for record in caplog.records]) + caplog.text
    rpc = client._rpc()
    shown = everything_shown_by(caught.value) + records + repr(client) + repr(vars(client))
    for canary in (rpc_key, "CANARY", "/v2/"):
        assert canary not in shown + repr(rpc) + repr(vars(rpc))


def test_no_log_line_of_a_success_shows_the_key(use, client, rpc_key, caplog):
    for name in ("", "httpx", "httpcore.connection", "httpcore.http11"):
        caplog.set_level(logging.DEBUG, name or None)
    use(client, "chain_id")
    assert caplog.records
    assert rpc_key not in caplog.text + str([vars(record) for record in caplog.records])


# -- the stand-in ----------------------------------------------------------------------------


@pytest.fixture
def call(server, rpc_key):
    with httpx.Client(base_url=server.url, trust_env=False) as http:

        def post(method, *params, path=f"/v2/{rpc_key}", **changes):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params, **changes}
            return http.post(path, json=body).json()

        yield post


def test_the_stand_in_speaks_json_rpc(call, server, rpc_key):
    assert call("eth_blockNumber")["result"] == "0x1"
    errors = [
        call("eth_call")["error"]["code"],
        call("eth_getBalance", "0x1", "latest")["error"]["code"],
        call("eth_getBalance")["error"]["code"],
        call("eth_getBalance", 5, "latest")["error"]["code"],
        call("eth_getBlockByNumber", "0x1", False)["error"]["code"],
        call("eth_chainId", jsonrpc="1.0")["error"]["code"],
        call("eth_chainId", path="/v2/unheard-of")["error"]["code"],
    ]
    assert errors == [-32601, -32602, -32602, -32602, -32000, -32600, -32600]
    assert call("eth_chainId", path="/v3/x") == {}
    url = f"{server.url}/v2/{rpc_key}"
    assert httpx.post(url, content=b"[", trust_env=False).json()["error"]["code"] == -32700


def test_a_gap_in_the_nonces_waits_for_what_fills_it(signed, server, wallet):
    server.chain.send(signed(nonce=1).raw)
    assert server.chain.nonce(wallet.address(), with_pool=True) == 0
    assert server.mine() == []
    server.chain.send(signed().raw)
    assert server.chain.nonce(wallet.address(), with_pool=True) == 2
    assert server.mine() == [signed().hash, signed(nonce=1).hash]


def test_who_pays_less_than_the_base_fee_waits(signed, server):
    server.chain.send(signed(fees=Fees(9 * GWEI, GWEI)).raw)
    assert server.mine() == []
    server.chain.base_fee = 8 * GWEI
    assert len(server.mine()) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gas": 20_999}, "intrinsic gas too low"),
        ({"maxPriorityFeePerGas": 31 * GWEI}, "max priority fee per gas higher"),
    ],
    ids=str,
)
def test_the_chain_refuses_what_our_wallet_would_not_sign(server, key, changes, said):
    transaction = {
        "type": 2,
        "chainId": 1,
        "nonce": 0,
        "to": TO,
        "value": 1,
        "gas": 21_000,
        "maxFeePerGas": 30 * GWEI,
        "maxPriorityFeePerGas": GWEI,
    }
    raw = bytes(Account.sign_transaction({**transaction, **changes}, key).raw_transaction)
    with pytest.raises(Exception, match=said):
        server.chain.send(raw)
