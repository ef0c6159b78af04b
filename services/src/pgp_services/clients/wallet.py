"""The wallet that pays: signs EIP-1559 transfers with a key that stays with its provider.

The key is read for each signature and is kept nowhere. eth-account's own exceptions can quote it, and
their frames hold it: whatever ends a signature is replaced before it leaves this module.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from eth_utils.address import to_checksum_address

from pgp_config import PgpConfigError
from pgp_services.clients.accounts import Account
from pgp_services.clients.outcomes import bare
from pgp_services.failures import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.ethereum import Fees
    from pgp_services.provided import Provided

T = TypeVar("T")

#: Gas of a plain transfer to an account without code; no transaction takes less.
TRANSFER_GAS = 21_000

#: The first number that a nonce cannot be (EIP-2681), and the first that no word of the chain holds.
_NONCES, _WORDS = 2**64 - 1, 2**256

_KEY = re.compile(r"[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class TransferRefused(Refused):
    """A transfer that no chain would take: its recipient or a number is out of bounds."""


class WalletUnusable(Unavailable):
    """The wallet's key is no private key; another attempt would end the same way."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A payment in the chain's own currency.

    Attributes:
        chain_id: The chain, 1 or more: on no other is the signature valid.
        nonce: How many transactions the wallet has sent before, 0 or more.
        to: The recipient, `0x` and 40 hexadecimal digits; if in mixed case, with EIP-55's checksum.
        value_wei: How much, 0 or more.
        gas: Units of gas at most, 21,000 or more.
        fees: What each of them costs.

    Raises:
        TransferRefused: If one of them is out of bounds.
    """

    chain_id: int
    nonce: int
    to: str
    value_wei: int
    gas: int
    fees: Fees

    def __post_init__(self) -> None:
        if not is_address(self.to):
            raise TransferRefused("the recipient is no Ethereum address")
        sound = (
            0 < self.chain_id < _WORDS
            and 0 <= self.nonce < _NONCES
            and 0 <= self.value_wei < _WORDS
            and TRANSFER_GAS <= self.gas < 2**64
            and 0 <= self.fees.max_priority_fee_per_gas <= self.fees.max_fee_per_gas < _WORDS
        )
        if not sound:
            raise TransferRefused("a number of the transfer is out of bounds")

    def as_transaction(self) -> dict[str, int | str]:
        """As eth-account takes it."""
        return {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "to": to_checksum_address(self.to),
            "value": self.value_wei,
            "gas": self.gas,
            "maxFeePerGas": self.fees.max_fee_per_gas,
            "maxPriorityFeePerGas": self.fees.max_priority_fee_per_gas,
        }


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction; whoever has it can send it, once.

    Attributes:
        raw: What a node takes.
        hash: What the chain will know it by, `0x` and 64 hexadecimal digits.
    """

    raw: bytes
    hash: str


def is_address(text: str) -> bool:
    """Whether a text is an address; in mixed case its checksum has to be right (EIP-55)."""
    # eth_utils' own is_address lets a wrong checksum pass.
    return _ADDRESS.fullmatch(text) is not None and (
        text[2:] in (text[2:].lower(), text[2:].upper()) or text == to_checksum_address(text)
    )


class Wallet:
    """An account on Ethereum; usable from threads and from coroutines.

    Args:
        private_key: The secret with its key, 64 hexadecimal digits; not its value.
    """

    def __init__(self, private_key: Provided[SecretStr]) -> None:
        self._private_key = private_key

    def __repr__(self) -> str:
        return "<Wallet>"

    def address(self) -> str:
        """Its address, with EIP-55's checksum.

        Raises:
            WalletUnusable: If the key is no private key.
            PgpConfigError: If there is no key.
        """
        return self._with_key(_address)

    async def address_async(self) -> str:
        """As `address`, from a coroutine."""
        return await asyncio.to_thread(self.address)

    def sign(self, transfer: Transfer) -> Signed:
        """Sign a transfer; the same one gives the same bytes each time (RFC 6979).

        Raises:
            WalletUnusable: If the key is no private key.
            PgpConfigError: If there is no key.
        """
        transaction = transfer.as_transaction()
        return self._with_key(lambda key: _sign(transaction, key))

    async def sign_async(self, transfer: Transfer) -> Signed:
        """As `sign`, from a coroutine: a signature takes some milliseconds, which a thread spends."""
        return await asyncio.to_thread(self.sign, transfer)

    def _with_key(self, use: Callable[[str], T]) -> T:
        """What `use` makes of the key; no exception that saw the key comes out of here.

        That holds for SystemExit too, which gunicorn raises wherever a worker happens to be.
        """
        try:
            return use(_checked(self._private_key()))
        except PgpConfigError:  # the provider's own: it has no value, and ours is not read yet
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, its text or frames hold the key
            reason, interruption = _reason(error), None
        except BaseException as error:  # noqa: BLE001  as above
            reason, interruption = "", bare(error)
        if interruption is not None:
            raise interruption
        raise WalletUnusable(f"the wallet's key cannot sign ({reason})", passing=False)


class _NoKeyError(Exception):
    """The secret is not 64 hexadecimal digits."""


def _reason(fault: Exception) -> str:
    known = isinstance(fault, _NoKeyError)
    return "it is not 64 hexadecimal digits" if known else type(fault).__name__


def _checked(secret: SecretStr) -> str:
    key = secret.get_secret_value()
    if _KEY.fullmatch(key) is None:
        raise _NoKeyError
    return key


def _address(key: str) -> str:
    return str(Account.from_key(key).address)


def _sign(transaction: dict[str, int | str], key: str) -> Signed:
    signed = Account.sign_transaction(transaction, key)
    return Signed(bytes(signed.raw_transaction), "0x" + signed.hash.hex())
