"""An Ethereum node over JSON-RPC: what a payment needs, with the endpoint that is current at each attempt.

The endpoint (`JsonRpc`) is built from the provider's URL and the key by a `PerVersion`, and replaced by it when
one of them rotates. A key that is refused is looked up anew once; the attempt after that goes to the
endpoint that was built from the new one.
"""

from __future__ import annotations

import itertools
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias, TypeVar, cast

import httpx
from eth_utils.crypto import keccak
from pydantic import (
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from pgp_config import DeclarationError
from pgp_services.clients.base import Addressed, Ask, HttpClient, Party, in_path
from pgp_services.clients.connections import HttpConnections, base_of
from pgp_services.clients.outcomes import Outcome
from pgp_services.clients.retries import RetryPolicy
from pgp_services.failures import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pydantic import SecretStr

    from pgp_services.clients.base import Attempts, Call, Key
    from pgp_services.clients.outcomes import M, Reply
    from pgp_services.provided import Provided

#: The provider whose key ETHEREUM_RPC_URL_API is.
API = "https://eth-mainnet.g.alchemy.com"

#: Bounds of one call. A payment makes some four, and has a task's time.
POLICY = RetryPolicy(budget=8.0, attempt=3.0)

#: Base fees that a payment can bear. A block raises the base fee by an eighth at most (EIP-1559): with twice
#: the present one it stays includible through five full blocks.
HEADROOM = 2


class EthereumRefused(Refused):
    """The node refuses the request or the key, or answers nonsense."""


class KnownTransaction(EthereumRefused):
    """The node has that very transaction already, and it is not mined yet: it was sent before."""


class NonceTooLow(EthereumRefused):
    """A transaction with that nonce is mined: this one, if it has a receipt, or another."""


class ReplacementUnderpriced(EthereumRefused):
    """Another transaction with that nonce waits, and this one does not pay enough more to take its place."""


class Underpriced(EthereumRefused):
    """The transaction pays less than the node takes."""


class InsufficientFunds(EthereumRefused):
    """The wallet has less than the payment and its fees."""


class EthereumUnavailable(Unavailable):
    """The node does not answer within the budget, or its provider's limit is reached."""


def _quantity(text: object) -> int:
    if not isinstance(text, str) or _QUANTITY.fullmatch(text) is None:
        raise PydanticCustomError("quantity", "Not a hexadecimal quantity")
    return int(text, 16)


#: As the execution API writes a number: no leading zeros, 256 bits at most.
_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
Quantity = Annotated[int, BeforeValidator(_quantity)]

#: Up to which block is counted, as the execution API names it.
Block: TypeAlias = Literal["pending", "latest", "finalized"]

Hash = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{64}$", to_lower=True)]


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction pays for each unit of gas, in wei, 0 or more (EIP-1559).

    Attributes:
        max_fee_per_gas: At most, base fee and priority fee together.
        max_priority_fee_per_gas: To who includes it; no more than `max_fee_per_gas`.
    """

    max_fee_per_gas: int
    max_priority_fee_per_gas: int


class Receipt(BaseModel):
    """What became of a transaction that is mined.

    Attributes:
        hash: The transaction's hash.
        block_number: The block that it is in.
        gas_used: Units of gas that it took.
        status: 1 if it did what it was to do, 0 if it was undone; the fees are paid either way.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    hash: Annotated[Hash, Field(alias="transactionHash")]
    block_number: Annotated[Quantity, Field(alias="blockNumber")]
    gas_used: Annotated[Quantity, Field(alias="gasUsed")]
    status: Annotated[Quantity, Field(le=1)]

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was to do."""
        return self.status == 1


class _Answer(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    jsonrpc: Literal["2.0"]
    id: int


class _Number(_Answer):
    result: Quantity


class _BaseFee(_Answer):
    base_fee: Annotated[Quantity, Field(alias=AliasPath("result", "baseFeePerGas"))]


class _Sent(_Answer):
    result: Hash


class _Receipt(_Answer):
    result: Receipt | None


class _Error(BaseModel):
    code: int
    message: str


class _Failed(BaseModel):
    id: int | None = None  # null where the node did not get so far as to read it
    error: _Error


A = TypeVar("A", bound=_Answer)


class JsonRpc:
    """An endpoint, with the key in its path: `POST {base_url}/v2/{key}`. Built by a `PerVersion`.

    Args:
        base_url: `https://` and a host; plain http for a local server on the loopback only.
        key: The provider's key.

    Raises:
        DeclarationError: If the base URL is of another kind.
    """

    def __init__(self, base_url: str, key: SecretStr) -> None:
        base = base_of(base_url)
        del base_url  # it may hold a password, and a traceback's locals are logged
        if base is None:
            raise DeclarationError(
                "the base URL of Ethereum is not https and a host",
                remedy="Give https://HOST, or http://127.0.0.1:PORT for a local stand-in. The key goes "
                "into the secret, never into the URL.",
            )
        self._base = base
        self._key = key
        self.connections = HttpConnections()

    def __repr__(self) -> str:
        return "<JsonRpc>"

    def address(self) -> httpx.URL:
        """Where requests go."""
        return self._base.copy_with(raw_path=f"/v2/{in_path(self._key)}".encode("ascii"))

    def close(self) -> None:
        """Close its connections; those of event loops there, soon."""
        self.connections.close_all()


class EthereumClient(HttpClient[JsonRpc]):
    """A node; usable from threads and from coroutines.

    Every request of it may be made twice: the same transaction sent again is known, or its nonce is used. It
    has no connections of its own: whoever builds the endpoints closes them.

    Args:
        rpc: Gives the endpoint, as a `PerVersion` of `JsonRpc` does.
        secret: The secret with the key that the endpoint is built from: where it can be refreshed, a refused
            one is.
        policy: The bounds of one call with all its attempts.
    """

    party = Party("Ethereum", EthereumRefused, EthereumUnavailable)

    def __init__(
        self,
        rpc: Provided[JsonRpc],
        secret: Key[SecretStr],
        policy: RetryPolicy = POLICY,
    ) -> None:
        # The base looks for keys, and `with_keys` puts endpoints in their place, whose base URL is their own.
        super().__init__(cast("Key[JsonRpc]", secret), httpx.URL(API), policy)
        self._rpc = rpc
        self._ids = itertools.count(1)

    # -- what the base asks ------------------------------------------------------------------

    def with_keys(self, call: Call[M]) -> Attempts[JsonRpc]:
        """Attempts as the key's versions allow, each with the endpoint of the version that the scope sees."""
        return _Endpoints(super().with_keys(call), self._rpc)

    def addressed(self, ask: Ask[M], key: JsonRpc) -> Addressed:  # noqa: ARG002  one address for all
        """The endpoint's address."""
        return Addressed(key.address())

    def connections(self, key: JsonRpc) -> HttpConnections:
        """The endpoint's own: they end with it."""
        return key.connections

    def judge(self, ask: Ask[M], reply: Reply) -> Outcome[M]:
        """A node says in the body what is wrong, mostly under the status 200."""
        failed = _failed(reply)
        if failed is None:
            return super().judge(ask, reply)
        if failed.id not in (None, json.loads(ask.body or b"{}").get("id")):
            return Outcome(reply.status, "Ethereum's answer is not to what was asked")
        return _meaning(reply.status, failed.error)

    # -- calls -------------------------------------------------------------------------------

    def chain_id(self) -> int:
        """The chain's id.

        Raises:
            EthereumRefused: If the node refuses the request or the key, or answers nonsense.
            EthereumUnavailable: If it does not answer within the budget.
            PgpConfigError: If there is no key.
        """
        return self.call(self._number("eth_chainId")).result

    async def chain_id_async(self) -> int:
        """As `chain_id`, from a coroutine."""
        return (await self.call_async(self._number("eth_chainId"))).result

    def transaction_count(self, address: str, block: Block = "pending") -> int:
        """How many transactions an account has sent: the next one's nonce.

        Args:
            address: The account.
            block: Which count: also those that are not mined yet, those of the newest block, or those that
                no reorganisation of the chain can undo.

        Raises:
            EthereumRefused: As `chain_id`.
            EthereumUnavailable: As `chain_id`.
            PgpConfigError: As `chain_id`.
        """
        return self.call(self._number("eth_getTransactionCount", address, block)).result

    async def transaction_count_async(self, address: str, block: Block = "pending") -> int:
        """As `transaction_count`, from a coroutine."""
        asked = self._number("eth_getTransactionCount", address, block)
        return (await self.call_async(asked)).result

    def balance(self, address: str) -> int:
        """What an account has, in wei.

        Raises:
            EthereumRefused: As `chain_id`.
            EthereumUnavailable: As `chain_id`.
            PgpConfigError: As `chain_id`.
        """
        return self.call(self._number("eth_getBalance", address, "latest")).result

    async def balance_async(self, address: str) -> int:
        """As `balance`, from a coroutine."""
        return (await self.call_async(self._number("eth_getBalance", address, "latest"))).result

    def fees(self) -> Fees:
        """What a transaction should pay now: the node's tip, and twice the base fee of the newest block.

        Raises:
            EthereumRefused: As `chain_id`.
            EthereumUnavailable: As `chain_id`.
            PgpConfigError: As `chain_id`.
        """
        tip = self.call(self._number("eth_maxPriorityFeePerGas")).result
        return _fees(tip, self.call(self._newest()).base_fee)

    async def fees_async(self) -> Fees:
        """As `fees`, from a coroutine."""
        tip = (await self.call_async(self._number("eth_maxPriorityFeePerGas"))).result
        return _fees(tip, (await self.call_async(self._newest())).base_fee)

    def estimate_gas(self, sender: str, to: str, value_wei: int) -> int:
        """Units of gas that a transfer takes.

        Args:
            sender: Who pays.
            to: Who is paid.
            value_wei: How much, 0 or more.

        Raises:
            InsufficientFunds: If the sender has less than that.
            EthereumRefused: As `chain_id`; or if the transfer would be undone.
            EthereumUnavailable: As `chain_id`.
            PgpConfigError: As `chain_id`.
        """
        return self.call(self._estimate(sender, to, value_wei)).result

    async def estimate_gas_async(self, sender: str, to: str, value_wei: int) -> int:
        """As `estimate_gas`, from a coroutine."""
        return (await self.call_async(self._estimate(sender, to, value_wei))).result

    def send_raw(self, raw: bytes) -> str:
        """Send a signed transaction; it is not mined yet when this returns.

        After a time-out the same bytes are sent again: the node then knows the transaction.

        Args:
            raw: The transaction, as `Wallet.sign` gives it.

        Returns:
            Its hash.

        Raises:
            KnownTransaction: If it was sent before, here or elsewhere, and is not mined yet.
            NonceTooLow: If a transaction with its nonce is mined: look for its receipt.
            ReplacementUnderpriced: If another with its nonce waits.
            Underpriced: If it pays too little.
            InsufficientFunds: If the wallet has too little.
            EthereumRefused: As `chain_id`.
            EthereumUnavailable: As `chain_id`; it may have been sent nevertheless.
            PgpConfigError: As `chain_id`.
        """
        return self.call(self._sending(raw)).result

    async def send_raw_async(self, raw: bytes) -> str:
        """As `send_raw`, from a coroutine."""
        return (await self.call_async(self._sending(raw))).result

    def receipt(self, transaction: str) -> Receipt | None:
        """What became of a transaction; None while it is not mined, and if nobody knows it.

        Args:
            transaction: Its hash.

        Raises:
            EthereumRefused: As `chain_id`.
            EthereumUnavailable: As `chain_id`.
            PgpConfigError: As `chain_id`.
        """
        return self.call(self._receipt(transaction)).result

    async def receipt_async(self, transaction: str) -> Receipt | None:
        """As `receipt`, from a coroutine."""
        return (await self.call_async(self._receipt(transaction))).result

    # -- requests ----------------------------------------------------------------------------

    def _ask(self, model: type[A], method: str, *params: object) -> Ask[A]:
        number = next(self._ids)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        return Ask(
            method,
            "POST",
            "/",
            model,
            body=json.dumps(body).encode(),
            fits=lambda answer: answer.id == number,
        )

    def _number(self, method: str, *params: object) -> Ask[_Number]:
        return self._ask(_Number, method, *params)

    def _newest(self) -> Ask[_BaseFee]:
        # False: without its transactions.
        return self._ask(_BaseFee, "eth_getBlockByNumber", "latest", False)

    def _estimate(self, sender: str, to: str, value_wei: int) -> Ask[_Number]:
        transfer = {"from": sender, "to": to, "value": hex(value_wei)}
        return self._number("eth_estimateGas", transfer)

    def _sending(self, raw: bytes) -> Ask[_Sent]:
        asked = self._ask(_Sent, "eth_sendRawTransaction", f"0x{raw.hex()}")
        expected = f"0x{keccak(raw).hex()}"
        return replace(asked, fits=lambda it: asked.fits(it) and it.result == expected)

    def _receipt(self, transaction: str) -> Ask[_Receipt]:
        asked = self._ask(_Receipt, "eth_getTransactionReceipt", transaction)
        wanted = transaction.lower()
        return replace(
            asked,
            fits=lambda it: asked.fits(it) and (it.result is None or it.result.hash == wanted),
        )


def _fees(tip: int, base_fee: int) -> Fees:
    return Fees(max_fee_per_gas=HEADROOM * base_fee + tip, max_priority_fee_per_gas=tip)


class _Endpoints:
    """Attempts with an endpoint each, for `for` and for `async for`.

    Args:
        attempts: Attempts with the key, which is not used: the endpoint has it.
        rpc: Gives the endpoint.
    """

    def __init__(self, attempts: Attempts[JsonRpc], rpc: Provided[JsonRpc]) -> None:
        self._attempts = attempts
        self._rpc = rpc

    def __iter__(self) -> Self:
        self._found = iter(self._attempts)
        return self

    def __aiter__(self) -> Self:
        self._found_later = aiter(self._attempts)
        return self

    def __next__(self) -> _Endpoint:
        attempt = next(self._found)
        with ExitStack() as ending:
            ending.enter_context(attempt)
            return _Endpoint(self._rpc(), ending.pop_all)

    async def __anext__(self) -> _Endpoint:
        attempt = await anext(self._found_later)
        with ExitStack() as ending:
            ending.enter_context(attempt)
            return _Endpoint(await self._rpc.async_(), ending.pop_all)


class _Endpoint:
    """An attempt that has begun, with its endpoint: `with attempt as rpc:`.

    Args:
        rpc: The endpoint.
        take: Gives what ends the attempt, which is this object's from then on.
    """

    def __init__(self, rpc: JsonRpc, take: Callable[[], ExitStack]) -> None:
        self._rpc = rpc
        self._ending = take()

    def __enter__(self) -> JsonRpc:
        return self._rpc

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return self._ending.__exit__(kind, error, trace) is True


# -- what a node says is wrong -------------------------------------------------------------------

#: By a part of the message: go-ethereum's words (core/txpool/errors.go, core/error.go), which the providers
#: hand on, then those of Nethermind and Besu. The first that is found counts.
_REFUSALS: tuple[tuple[str, type[EthereumRefused]], ...] = (
    ("already known", KnownTransaction),
    ("alreadyknown", KnownTransaction),
    ("known transaction", KnownTransaction),
    ("nonce too low", NonceTooLow),
    ("oldnonce", NonceTooLow),
    ("replacement transaction underpriced", ReplacementUnderpriced),
    ("underpriced", Underpriced),
    ("insufficient funds", InsufficientFunds),
)

#: Resource unavailable, limit exceeded, internal error (EIP-1474); Alchemy's own for the limit.
_PASSING = frozenset({-32002, -32005, -32603, 429})


def _failed(reply: Reply) -> _Failed | None:
    """What a node says is wrong, if it says so."""
    if reply.status not in (httpx.codes.OK, httpx.codes.BAD_REQUEST):
        return None
    try:
        return _Failed.model_validate(reply.content())
    except (ValidationError, ValueError, RecursionError, ArithmeticError):
        return None


def _meaning(status: int, failed: _Error) -> Outcome[M]:
    """What an error means; its text is told by our words for it, for it may quote anything."""
    if failed.code in _PASSING or "limit exceeded" in failed.message.lower():
        return Outcome(status, f"Ethereum cannot answer ({failed.code})", passing=True)
    said = failed.message.lower()
    kind = next((kind for part, kind in _REFUSALS if part in said), EthereumRefused)
    return Outcome(status, f"Ethereum refused ({kind.__name__}, {failed.code})", refused=kind)
