"""The wallet signs real transactions, the same each time, and its key is nowhere to be seen."""

import asyncio
import hashlib
import hmac
import logging
import subprocess
import sys
import traceback

import pytest
from hexbytes import HexBytes
from pydantic import SecretStr

from pgp_config import SecretUnavailable
from pgp_services.clients.accounts import Account, TypedTransaction
from pgp_services.clients.ethereum import Fees
from pgp_services.clients.wallet import (
    Signed,
    Transfer,
    TransferRefused,
    Wallet,
    WalletUnusable,
)

#: The order of secp256k1.
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TO = "0x09616C3d61b3331fc4109a9E41a8BDB7d9776609"
FEES = Fees(30_000_000_000, 1_000_000_000)


def transfer(**changes):
    numbers = {"chain_id": 1, "nonce": 7, "to": TO, "value_wei": 10**18, "gas": 21_000}
    return Transfer(**{**numbers, "fees": FEES, **changes})


@pytest.fixture(params=["sync", "async"])
def use(request):
    """Calls a method of the wallet, or awaits its twin."""

    def call(wallet, name, *arguments):
        if request.param == "sync":
            return getattr(wallet, name)(*arguments)
        return asyncio.run(getattr(wallet, f"{name}_async")(*arguments))

    return call


@pytest.fixture
def wallet(given, key):
    return Wallet(given(SecretStr(key)))


def shown_by(error):
    """All that a log with locals could show of an exception, and of those that hang on it."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [f"{frame.locals}" for frame in trace.stack if "/tests/" not in frame.filename]
    return "".join([*trace.format_exception_only(), *frames, repr(error), repr(error.args)])


# -- signatures ------------------------------------------------------------------------------


def test_a_signed_transfer_is_what_the_chain_decodes(use, wallet, key):
    signed = use(wallet, "sign", transfer())
    assert Account.recover_transaction(signed.raw) == use(wallet, "address")
    decoded = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()
    assert {name: decoded[name] for name in ("type", "chainId", "nonce", "value", "gas")} == {
        "type": 2,
        "chainId": 1,
        "nonce": 7,
        "value": 10**18,
        "gas": 21_000,
    }
    assert "0x" + decoded["to"].hex() == TO.lower()
    assert (decoded["maxFeePerGas"], decoded["maxPriorityFeePerGas"]) == (3 * 10**10, 10**9)
    assert use(wallet, "address") == Account.from_key(key).address


def test_the_published_key_has_its_published_address(use, given):
    """The example of eth-account's and web3's documentation."""
    known = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
    assert use(Wallet(given(SecretStr(known))), "address") == (
        "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
    )


def test_the_same_transfer_has_the_same_signature_each_time(use, wallet, given, key):
    first = use(wallet, "sign", transfer())
    assert use(wallet, "sign", transfer()) == first
    assert use(Wallet(given(SecretStr(key.upper()))), "sign", transfer()) == first
    assert use(wallet, "sign", transfer(nonce=8)) != first


def nonce_of_rfc_6979(key, digest):
    """Section 3.2 with HMAC-SHA256, written out."""
    v, k = b"\1" * 32, b"\0" * 32
    for between in (b"\0", b"\1"):
        k = hmac.digest(k, v + between + key + digest, hashlib.sha256)
        v = hmac.digest(k, v, hashlib.sha256)
    return int.from_bytes(hmac.digest(k, v, hashlib.sha256))


def test_the_signatures_number_is_that_of_rfc_6979(wallet, key):
    """No other source of chance: a repeated payment is the very same transaction."""
    raw = wallet.sign(transfer()).raw
    decoded = TypedTransaction.from_bytes(HexBytes(raw))
    digest, (_, r, s) = decoded.hash(), decoded.transaction.vrs()
    used = (int.from_bytes(digest) + r * int(key, 16)) * pow(s, -1, ORDER) % ORDER
    expected = nonce_of_rfc_6979(bytes.fromhex(key), digest)
    assert used in (expected, ORDER - expected)  # the lower s of the two is taken


def test_threads_may_share_it(wallet):
    async def many():
        return await asyncio.gather(*(wallet.sign_async(transfer(nonce=n % 2)) for n in range(8)))

    assert len(set(asyncio.run(many()))) == 2


def test_the_key_is_read_at_each_use_and_not_before(use, given, key):
    provider = given(SecretStr(key))
    wallet = Wallet(provider)
    assert provider.reads == 0
    use(wallet, "sign", transfer())
    use(wallet, "sign", transfer())
    assert provider.reads == 2


# -- transfers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    [
        "",
        "0x",
        TO[2:],
        TO + "00",
        TO[:-1] + "8",  # mixed case, and its checksum is wrong
        TO.lower().replace("0x", "0X"),
        "vitalik.eth",
    ],
)
def test_a_recipient_that_is_no_address_is_refused(to):
    with pytest.raises(TransferRefused, match="recipient") as caught:
        transfer(to=to)
    assert caught.value.status == 502


def test_an_address_in_one_case_has_no_checksum(wallet):
    assert wallet.sign(transfer(to=TO.lower())) == wallet.sign(transfer())


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 0},
        {"nonce": -1},
        {"nonce": 2**64 - 1},
        {"value_wei": -1},
        {"value_wei": 2**256},
        {"gas": 20_999},
        {"gas": 2**64},
        {"fees": Fees(1, 2)},
        {"fees": Fees(1, -1)},
        {"fees": Fees(2**256, 1)},
    ],
    ids=str,
)
def test_a_number_out_of_bounds_is_refused(changes):
    with pytest.raises(TransferRefused, match="number"):
        transfer(**changes)


# -- the key ---------------------------------------------------------------------------------

#: Made of a test's own key: none of them is one.
BROKEN = {
    "prefixed": lambda key: "0x" + key,
    "short": lambda key: key[:-1],
    "long": lambda key: key + "a",
    "line": lambda key: key + "\n",
    "no hex": lambda key: key[:-1] + "g",
    "other digits": lambda key: key[:-1] + "٣",
    "empty": lambda key: "",
}


@pytest.mark.parametrize("method", ["sign", "address"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_key_that_is_not_64_hex_is_an_error_without_the_value(use, given, key, broken, method):
    wallet = Wallet(given(SecretStr(BROKEN[broken](key))))
    with pytest.raises(WalletUnusable, match="64 hexadecimal") as caught:
        use(wallet, method, *([transfer()] if method == "sign" else []))
    assert caught.value.status == 503
    assert not caught.value.passing
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert key[:-1] not in shown_by(caught.value)


@pytest.mark.parametrize("method", ["sign", "address"])
@pytest.mark.parametrize("number", [0, ORDER, 2**256 - 1])
def test_a_number_that_is_no_private_key_is_an_error_without_it(use, given, number, method):
    """eth-keys' own exceptions quote it."""
    wallet = Wallet(given(SecretStr(f"{number:064x}")))
    with pytest.raises(WalletUnusable) as caught:
        use(wallet, method, *([transfer()] if method == "sign" else []))
    shown = shown_by(caught.value)
    assert f"{number:064x}"[8:] not in shown
    assert caught.value.__context__ is None


@pytest.mark.parametrize("ended", [SystemExit(1), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_who_interrupts_a_signature_does_not_take_the_key_along(wallet, key, monkeypatch, ended):
    def interrupted(transaction, private_key):
        try:
            int(f"no number: {private_key}")
        except ValueError:
            raise ended  # noqa: B904  as a signal would

    monkeypatch.setattr(Account, "sign_transaction", interrupted)
    with pytest.raises(type(ended)) as caught:
        wallet.sign(transfer())
    assert caught.value is ended
    assert caught.value.__context__ is None
    assert key not in shown_by(caught.value)
    assert not [f for f in traceback.extract_tb(ended.__traceback__) if f.name == "interrupted"]


def test_what_the_library_says_of_a_key_does_not_come_out(wallet, key, monkeypatch):
    def fails(transaction, private_key):
        raise ValueError(f"bad key {private_key}")

    monkeypatch.setattr(Account, "sign_transaction", fails)
    with pytest.raises(WalletUnusable, match="ValueError") as caught:
        wallet.sign(transfer())
    assert caught.value.__context__ is None
    assert key not in shown_by(caught.value)


def test_a_secret_that_is_not_there_is_said_by_its_provider(use):
    class Missing:
        def __call__(self):
            raise SecretUnavailable("the source is down", secret="HOST_WALLET_PRIVATE_KEY")

    with pytest.raises(SecretUnavailable):
        use(Wallet(Missing()), "sign", transfer())


def test_neither_wallet_nor_logs_show_the_key(use, wallet, key, caplog):
    caplog.set_level(logging.DEBUG)
    signed = use(wallet, "sign", transfer())
    assert isinstance(signed, Signed)
    assert repr(wallet) == "<Wallet>"
    assert key not in repr(vars(wallet)) + repr(signed) + caplog.text


def test_the_recursion_limit_of_the_process_stays_as_it_was():
    """With 100,000 levels a deeply nested body would end the process, in place of the request."""
    program = (
        "import sys; before = sys.getrecursionlimit(); import pgp_services.clients.wallet;"
        "import pgp_services.lookalikes; print(before == sys.getrecursionlimit())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "True\n"
    assert sys.getrecursionlimit() < 10_000
