"""A chain small enough for a test: real signed transactions, accounts with balances, pending and mined.

It takes transactions by go-ethereum's rules and refuses them in its words (core/txpool, core/state_transition):
signature, chain, nonce, gas, funds, replacement. It runs no code: all accounts are people's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from pgp_services.clients.accounts import Account, TypedTransaction

#: Units of gas that a transfer takes, and that a block has.
TRANSFER_GAS, BLOCK_GAS = 21_000, 30_000_000

#: By how many percent both fees of a transaction have to be higher that takes the place of another.
PRICE_BUMP = 10

GWEI = 10**9


class Refusal(Exception):  # noqa: N818  what a node answers
    """What a node answers in place of a result.

    Args:
        message: go-ethereum's words.
        code: JSON-RPC's code.
    """

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that the chain has taken.

    Attributes:
        hash: Its hash, `0x` and 64 hexadecimal digits.
        sender: Who signed it.
        to: Who is paid.
        nonce: Its number among the sender's.
        value: How much, in wei.
        gas: Units of gas at most.
        max_fee: What a unit may cost, in wei.
        tip: What the miner gets of that, at most.
    """

    hash: str
    sender: str
    to: str
    nonce: int
    value: int
    gas: int
    max_fee: int
    tip: int

    @property
    def cost(self) -> int:
        """What the sender has to have, in wei."""
        return self.value + self.gas * self.max_fee


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block.

    Attributes:
        transaction: The transaction.
        block: The block's number.
        price: What a unit of gas did cost, in wei.
        succeeded: Whether the value was moved; the gas is paid either way.
    """

    transaction: Transaction
    block: int
    price: int
    succeeded: bool = True


class Chain:
    """Accounts, the pool and the blocks; not guarded against threads.

    Args:
        chain_id: Its id.
        base_fee: What each unit of gas burns, in wei.

    Attributes:
        block: The number of the newest block.
        pool: The transactions that wait, by sender and nonce.
        mined: The transactions that are done, by hash, in their order.
        refusing: Accounts that take nothing, as a contract may: transactions to them are undone.
    """

    def __init__(self, chain_id: int = 1, base_fee: int = 10 * GWEI) -> None:
        self.chain_id = chain_id
        self.base_fee = base_fee
        self.tip = GWEI
        self.block = 1
        self.pool: dict[tuple[str, int], Transaction] = {}
        self.mined: dict[str, Mined] = {}
        self.refusing: set[str] = set()
        self._balances: dict[str, int] = {}
        self._nonces: dict[str, int] = {}
        self._final_nonces: dict[str, int] = {}

    def fund(self, address: str, wei: int) -> None:
        """Give an account something, out of nothing."""
        self._balances[_named(address)] = self.balance(address) + wei

    def balance(self, address: str) -> int:
        """What an account has, in wei."""
        return self._balances.get(_named(address), 0)

    def nonce(self, address: str, *, with_pool: bool) -> int:
        """The next nonce of an account; with those that wait, up to the first gap."""
        sender = _named(address)
        nonce = self._nonces.get(sender, 0)
        while with_pool and (sender, nonce) in self.pool:
            nonce += 1
        return nonce

    def final_nonce(self, address: str) -> int:
        """The next nonce of an account, counting finalized blocks only."""
        return self._final_nonces.get(_named(address), 0)

    def finalize(self) -> None:
        """Have all blocks so far finalized."""
        self._final_nonces = dict(self._nonces)

    @staticmethod
    def hash_of(raw: bytes) -> str:
        """The hash of a signed transaction, `0x` and 64 hexadecimal digits."""
        return f"0x{keccak(raw).hex()}"

    def send(self, raw: bytes) -> str:
        """Take a signed transaction.

        Returns:
            Its hash.

        Raises:
            Refusal: If go-ethereum would not take it.
        """
        transaction = self._decoded(raw)
        if transaction in self.pool.values():
            raise Refusal("already known")
        self._require_sound(transaction)
        self._require_place(transaction)
        self.pool[transaction.sender, transaction.nonce] = transaction
        return transaction.hash

    def mine(self) -> list[str]:
        """Make a block of what can be in it; the hashes of its transactions."""
        self.block += 1
        taken = []
        for (sender, nonce), transaction in sorted(self.pool.items(), key=lambda item: item[0]):
            if nonce == self._nonces.get(sender, 0) and transaction.max_fee >= self.base_fee:
                self._include(transaction)
                taken.append(transaction.hash)
        return taken

    def use_nonce(self, address: str) -> None:
        """Have the account's next nonce used by a transaction that nobody here knows of."""
        sender = _named(address)
        nonce = self._nonces.get(sender, 0)
        self._nonces[sender] = nonce + 1
        self.pool.pop((sender, nonce), None)

    def _decoded(self, raw: bytes) -> Transaction:
        try:
            fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
            sender = str(Account.recover_transaction(raw))
        except Exception as error:
            # rlp, eth-account and eth-keys have no common class for what is no transaction.
            raise Refusal("typed transaction too short") from error
        if fields["chainId"] != self.chain_id:
            raise Refusal(
                f"invalid chain id for signer: have {fields['chainId']} want {self.chain_id}"
            )
        return _transaction(raw, sender, fields)

    def _require_sound(self, transaction: Transaction) -> None:
        if transaction.gas > BLOCK_GAS:
            raise Refusal("exceeds block gas limit")
        if transaction.tip > transaction.max_fee:
            raise Refusal("max priority fee per gas higher than max fee per gas")
        if transaction.gas < TRANSFER_GAS:
            raise Refusal("intrinsic gas too low")
        if transaction.tip < 1:
            raise Refusal("transaction underpriced: gas tip cap 0, minimum needed 1")

    def _require_place(self, transaction: Transaction) -> None:
        next_nonce = self._nonces.get(transaction.sender, 0)
        if transaction.nonce < next_nonce:
            raise Refusal(f"nonce too low: next nonce {next_nonce}, tx nonce {transaction.nonce}")
        place = (transaction.sender, transaction.nonce)
        waiting = [t for key, t in self.pool.items() if key[0] == place[0] and key != place]
        cost = transaction.cost + sum(other.cost for other in waiting)
        balance = self.balance(transaction.sender)
        if cost > balance:
            raise Refusal(
                "insufficient funds for gas * price + value: "
                f"balance {balance}, tx cost {cost}, overshot {cost - balance}"
            )
        replaced = self.pool.get(place)
        if replaced is not None and not _is_dearer(transaction, replaced):
            raise Refusal("replacement transaction underpriced")

    def _include(self, transaction: Transaction) -> None:
        price = min(transaction.max_fee, self.base_fee + transaction.tip)
        succeeded = transaction.to not in self.refusing
        self._balances[transaction.sender] -= TRANSFER_GAS * price
        if succeeded:
            self._balances[transaction.sender] -= transaction.value
            self.fund(transaction.to, transaction.value)
        self._nonces[transaction.sender] = transaction.nonce + 1
        del self.pool[transaction.sender, transaction.nonce]
        self.mined[transaction.hash] = Mined(transaction, self.block, price, succeeded)


def _transaction(raw: bytes, sender: str, fields: dict[str, Any]) -> Transaction:
    return Transaction(
        hash=Chain.hash_of(raw),
        sender=sender,
        to=to_checksum_address(fields["to"]),
        nonce=fields["nonce"],
        value=fields["value"],
        gas=fields["gas"],
        max_fee=fields["maxFeePerGas"],
        tip=fields["maxPriorityFeePerGas"],
    )


def _is_dearer(new: Transaction, old: Transaction) -> bool:
    bumped = 100 + PRICE_BUMP
    return new.max_fee * 100 >= old.max_fee * bumped and new.tip * 100 >= old.tip * bumped


def _named(address: str) -> str:
    return to_checksum_address(address)
