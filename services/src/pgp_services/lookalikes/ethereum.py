"""A local stand-in for an Ethereum provider: JSON-RPC over a small chain, for the current key only.

The key is in the path, as the providers have it: `POST /v2/<key>`. Errors are go-ethereum's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pgp_services.lookalikes.chain import TRANSFER_GAS, Chain, Mined, Refusal
from pgp_services.lookalikes.http import Fault, Incoming, LocalServer, as_json

if TYPE_CHECKING:
    from collections.abc import Callable

_ADDRESS, _HASH, _DATA = (
    re.compile(pattern)
    for pattern in ("0x[0-9a-fA-F]{40}", "0x[0-9a-fA-F]{64}", "0x([0-9a-f]{2})*")
)


class EthereumServer(LocalServer):
    """Serves a chain.

    Args:
        key: The provider's key that is accepted first; its version is 1.
        port: The port; 0 for a free one.
        chain: The chain; one of the main network's id by default.
        mines_at_once: Whether a transaction is in a block as soon as it is taken, or when `mine` is called.

    Attributes:
        chain: The chain; change it by the methods here while requests come.
        methods: The JSON-RPC methods that were called so far.
        sent: The hashes of the transactions that were sent so far, repeats and refused ones included.
    """

    def __init__(
        self,
        key: str,
        port: int = 0,
        *,
        chain: Chain | None = None,
        mines_at_once: bool = False,
    ) -> None:
        super().__init__(key, port)
        self.chain = chain or Chain()
        self.methods: list[str] = []
        self.sent: list[str] = []
        self._mines_at_once = mines_at_once
        self._refusals: list[Refusal] = []
        self._lost: list[Fault] = []

    # -- what it is told ---------------------------------------------------------------------

    def fund(self, address: str, wei: int) -> None:
        """Give an account something."""
        with self._lock:
            self.chain.fund(address, wei)

    def balance(self, address: str) -> int:
        """What an account has, in wei."""
        with self._lock:
            return self.chain.balance(address)

    def mine(self) -> list[str]:
        """Make a block; the hashes of its transactions."""
        with self._lock:
            return self.chain.mine()

    def finalize(self) -> None:
        """Have all blocks so far finalized."""
        with self._lock:
            self.chain.finalize()

    def use_nonce(self, address: str) -> None:
        """Have an account's next nonce used by a transaction from elsewhere."""
        with self._lock:
            self.chain.use_nonce(address)

    def refuse(self, message: str, code: int = -32000) -> None:
        """Answer the next request with an error of JSON-RPC."""
        with self._lock:
            self._refusals.append(Refusal(message, code))

    def lose_answer(self, *, hangs: bool = False) -> None:
        """Take the next transaction, and give no answer.

        Args:
            hangs: Whether the caller waits for it until `release()`, or the connection is closed.
        """
        with self._lock:
            self._lost.append(Fault(status=0, hangs=hangs))

    # -- answering ---------------------------------------------------------------------------

    def parted(self, request: Incoming) -> tuple[str, str]:
        """The key is in the path."""
        return request.path.removeprefix("/v2/"), "/v2/"

    def judge(self, request: Incoming, path: str, *, accepted: bool) -> Fault:  # noqa: ARG002  there is one path
        """The result of a method, or what is wrong."""
        if not request.path.startswith("/v2/"):
            return as_json(404, {})
        if not accepted:
            return _error(None, Refusal("Must be authenticated!", -32600), 401)
        call = request.content()
        if not isinstance(call, dict):
            return _error(None, Refusal("parse error", -32700))
        number, method, params = call.get("id"), call.get("method"), call.get("params")
        if call.get("jsonrpc") != "2.0" or not isinstance(params, list):
            return _error(number, Refusal("invalid request", -32600))
        return self._called(number, str(method), params)

    def _called(self, number: Any, method: str, params: list[Any]) -> Fault:  # noqa: ANN401  JSON
        self.methods.append(method)
        try:
            result = self._result(method, params)
        except Refusal as refusal:
            return _error(number, refusal)
        except (TypeError, ValueError):
            return _error(number, Refusal("invalid argument", -32602))
        if method == "eth_sendRawTransaction" and self._lost:
            return self._lost.pop(0)
        return as_json(200, {"jsonrpc": "2.0", "id": number, "result": result})

    def _result(self, method: str, params: list[Any]) -> Any:  # noqa: ANN401  JSON
        if self._refusals:
            raise self._refusals.pop(0)
        found = self._table().get(method)
        if found is None:
            raise Refusal(f"the method {method} does not exist/is not available", -32601)
        return found(*params)

    def _table(self) -> dict[str, Callable[..., Any]]:
        chain = self.chain
        return {
            "eth_chainId": lambda: hex(chain.chain_id),
            "eth_blockNumber": lambda: hex(chain.block),
            "eth_getBalance": lambda address, _: hex(chain.balance(_like(_ADDRESS, address))),
            "eth_getTransactionCount": self._count,
            "eth_maxPriorityFeePerGas": lambda: hex(chain.tip),
            "eth_getBlockByNumber": self._block,
            "eth_estimateGas": self._estimate,
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionReceipt": self._receipt,
        }

    def _count(self, address: str, block: str) -> str:
        sender = _like(_ADDRESS, address)
        if block == "finalized":
            return hex(self.chain.final_nonce(sender))
        return hex(self.chain.nonce(sender, with_pool=block == "pending"))

    def _block(self, block: str, full: bool) -> dict[str, Any]:
        if block != "latest" or full:
            raise Refusal("this stand-in knows the newest block only, without its transactions")
        return {"number": hex(self.chain.block), "baseFeePerGas": hex(self.chain.base_fee)}

    def _estimate(self, transfer: dict[str, str]) -> str:
        sender, _ = _like(_ADDRESS, transfer["from"]), _like(_ADDRESS, transfer["to"])
        if int(transfer["value"], 16) > self.chain.balance(sender):
            raise Refusal("insufficient funds for transfer")
        return hex(TRANSFER_GAS)

    def _send(self, raw: str) -> str:
        data = bytes.fromhex(_like(_DATA, raw)[2:])
        self.sent.append(self.chain.hash_of(data))
        taken = self.chain.send(data)
        if self._mines_at_once:
            self.chain.mine()
        return taken

    def _receipt(self, transaction: str) -> dict[str, Any] | None:
        mined = self.chain.mined.get(_like(_HASH, transaction).lower())
        return None if mined is None else _receipt_of(mined)


def _like(pattern: re.Pattern[str], text: object) -> str:
    if not isinstance(text, str) or pattern.fullmatch(text) is None:
        raise ValueError("not what the method takes")
    return text


def _receipt_of(mined: Mined) -> dict[str, Any]:
    return {
        "transactionHash": mined.transaction.hash,
        "blockNumber": hex(mined.block),
        "from": mined.transaction.sender.lower(),
        "to": mined.transaction.to.lower(),
        "gasUsed": hex(TRANSFER_GAS),
        "effectiveGasPrice": hex(mined.price),
        "type": "0x2",
        "status": hex(mined.succeeded),
    }


def _error(number: Any, refusal: Refusal, status: int = 200) -> Fault:  # noqa: ANN401  JSON
    error = {"code": refusal.code, "message": refusal.message}
    return as_json(status, {"jsonrpc": "2.0", "id": number, "error": error})
