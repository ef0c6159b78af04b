"""What PGP_HOSTPAY3_v1 does with a request: it pays for an exchange, and never twice.

Cloud Tasks delivers at least once, answers get lost, and there is no row of a database to look at. So a
payment is made in steps, each a task to itself whose token says all that the step needs:

```
PaymentOrder ──reserve──▶ ReservedPayment ──look──▶ ReservedPayment (look + 1, later) ──▶ … ──▶ PaymentMined
      ▲                                        │
      └──────────── round + 1 ◀────────────────┘  the nonce is used for good, and by none of ours
```

*Reserve* reads the wallet's next nonce and the fees, and sends nothing. *Look* signs and sends what the token
says, and nothing else; then it looks whether it is mined. This never pays twice, because

1. An order is reserved once. The task that carries the nonce is named by the payout and the round: of two that
   were made, with two nonces, Cloud Tasks keeps the first. It does so in each queue for itself, and queues are
   replaced while repeats are on their way: so this one task goes through a queue that never is (`LEDGER_QUEUE`),
   whatever PGP_HOSTPAY3_QUEUE is, was or will be, in whichever instance, and however often the order came.
   The steps after it stay in the queue that the token names, PGP_HOSTPAY3_QUEUE when it was reserved: a
   payment has one line of them. Names last as long as Cloud Tasks remembers them; so no order is reserved, and
   no round begun, after `pay_by`, an hour (`PAY_WITHIN`) from the first cause, and then from the step before: it
   is refused, and somebody is told. Tokens that are on time extend it for their successor, one that is late hands
   it on as it is: a second line of looks, from a repeat that came hours late, can end a payment, but begin none.
2. A repeated look sends the very same bytes: the signature is deterministic (RFC 6979), and nonce, gas, fees
   and chain are in the token. After a lost answer the node says "already known", or "nonce too low".
3. Higher fees, for a payment that waits too long, have the same nonce: the chain mines one transaction of a
   nonce. They follow from the first by arithmetic (`transactions`), so that each look knows all of them, and
   finds the receipt whichever was mined.
4. A round is lost only when the nonce is used in a finalized block, and none of its transactions has a
   receipt. The count is asked before the receipts. Until then it waits, however sure it seems: of two payouts
   that reserved one nonce, one is mined, and the other begins its next round some 13 minutes later.
5. The token names the wallet and the chain. With another key, or a node of another chain, the count and
   the receipts would say nothing of this payment: it is refused, and somebody is told.

6. Two payouts never share a transaction, though they reserved one nonce, and pay the same to one address: a few
   wei of the fees are the payout's own (`mark_of`).

It rests on: one queue of the name `LEDGER_QUEUE` in the project and the region of the tasks, which is never deleted
while a payment may come again; names that are remembered for an hour after their task has ended; a node that is not behind by
all the blocks to the last finalized one when it is asked for a receipt; and on finality itself. It does not
rest on how many tasks the queue delivers at a time; one at a time, though, makes it rare that two payouts
reserve one nonce, which costs the later one its 13 minutes.

What it cannot do alone: two different payouts for one payment are two payments. Their ids come from what
caused them (`causes`): from the ids of payments and batches, and from the names of tasks, which are made of these. They
are the same for a repeat whichever queue it comes through, and whatever was estimated meanwhile. And `pay_by` is counted
from the first cause, whose time all tokens carry on, so that a repeat that comes when names are forgotten comes too late.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgp_services.causes import digest
from pgp_services.clients.cloud_tasks import Target
from pgp_services.clients.ethereum import (
    InsufficientFunds,
    KnownTransaction,
    NonceTooLow,
    ReplacementUnderpriced,
    Underpriced,
)
from pgp_services.clients.wallet import TRANSFER_GAS
from pgp_services.exchanges import require_eth
from pgp_services.failures import Refused, Unavailable
from pgp_services.hostpay3.transactions import (
    MOST_LOOKS,
    is_raise,
    pause_after,
    raises_at,
    transfer_of,
    transfers_of,
)
from pgp_services.money import units
from pgp_services.provided import Constant
from pgp_services.serving.bodies import token_in
from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler, TooLate, handed_on
from pgp_services.tokens import (
    PAY_WITHIN,
    Accepted,
    OpenExchange,
    PaymentMined,
    PaymentOrder,
    ReservedPayment,
    verify_one_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.cloud_tasks import TasksClient
    from pgp_services.clients.ethereum import EthereumClient, Receipt
    from pgp_services.clients.wallet import Wallet
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Where this service takes its own tasks, and HOSTPAY1 what was paid.
OWN_PATH = "/"
MINED_PATH = "/payment-completed"

#: Units of gas for a payment whose need a node does not tell while the wallet has too little for it: plenty
#: for a transfer to a contract that hands it on. What is not used is not paid.
PLENTY_OF_GAS = 100_000

#: Seconds over which payouts that lost their nonce at the same moment try again, so that they do not meet
#: again; and seconds after which to come back when the wallet has too little.
SPREAD, UNTIL_FUNDED = 60, 300


class NotOurs(Refused):
    """The payment was begun with another wallet, or on another chain."""


class PaymentFailed(Refused):
    """The payment is mined and was undone: nothing was paid but fees, and somebody has to look."""


class OutOfFunds(Unavailable):
    """The wallet has less than the payment and its fees."""


class StillPending(Unavailable):
    """The payment has been waiting for a day."""


class HostPay3Handler(TaskHandler):
    """Handles `POST /`: an order of HOSTPAY1, or a step of its own.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        ethereum: The chain.
        wallet: Pays.
        tasks: Creates tasks.
        itself: This service, through the queue that is its own now.
        ledger: This service, through the one queue in which orders are reserved, always.
        hostpay1: Told of payments that are mined.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        ethereum: EthereumClient,
        wallet: Wallet,
        tasks: TasksClient,
        itself: Target,
        ledger: Target,
        hostpay1: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, ethereum, clock=clock)
        self._signing_key = signing_key
        self._ethereum = ethereum
        self._wallet = wallet
        self._itself = itself
        self._ledger = ledger
        self._hostpay1 = hostpay1

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route(OWN_PATH, self.pay)]

    def pay(self, call: Call) -> Answer:
        """The next step of a payment, by the token's kind."""
        key = self._signing_key()
        accepted: list[Accepted[PaymentOrder | ReservedPayment]] = [
            Accepted(PaymentOrder, key),
            Accepted(ReservedPayment, key),
        ]
        step = verify_one_of(accepted, token_in(call.body), self._clock())
        require_eth(step.swap_currency)
        return self._reserve(step) if isinstance(step, PaymentOrder) else self._look(step)

    # -- reserve -----------------------------------------------------------------------------

    def _reserve(self, order: PaymentOrder) -> Answer:
        if self.now() > order.pay_by:
            raise TooLate("a payment is ordered too late: look whether it was paid")
        payment = self._reserved(order)
        transfer_of(payment, 0)  # what no chain would take is refused before it has a nonce
        task = self._to_itself(self._ledger, payment, f"pay-{payment.round}")
        return handed_on("A nonce is reserved", task)

    def _reserved(self, order: PaymentOrder) -> ReservedPayment:
        sender, fees, mark = self._wallet.address(), self._ethereum.fees(), mark_of(order)
        return ReservedPayment(
            **order.model_dump(include=set(OpenExchange.model_fields) - {"pay_by"}),
            pay_by=self.now() + PAY_WITHIN,
            round=order.round,
            queue=self._itself.queue(),
            look=0,
            sender=sender,
            chain_id=self._ethereum.chain_id(),
            nonce=self._ethereum.transaction_count(sender, "pending"),
            gas=self._gas(sender, order),
            max_fee_per_gas=fees.max_fee_per_gas + mark,
            max_priority_fee_per_gas=fees.max_priority_fee_per_gas + mark,
            timestamp=self.now(),
        )

    def _gas(self, sender: str, order: PaymentOrder) -> int:
        """Units of gas; a fifth more than a contract takes now, for it may take more then."""
        value = units(order.amount, "eth")
        try:
            needed = self._ethereum.estimate_gas(sender, order.payin_address, value)
        except InsufficientFunds:
            return PLENTY_OF_GAS  # it is told of when the payment is sent
        return needed if needed <= TRANSFER_GAS else needed + needed // 5

    # -- look --------------------------------------------------------------------------------

    def _look(self, payment: ReservedPayment) -> Answer:
        self._require_ours(payment)
        if self._ethereum.transaction_count(payment.sender, "latest") <= payment.nonce:
            self._send(payment)
            return self._look_again(payment)
        # In this order: a receipt that is missing after the count was finalized will never be there.
        is_final = self._ethereum.transaction_count(payment.sender, "finalized") > payment.nonce
        receipt = self._receipt(payment)
        if receipt is not None:
            return self._tell(payment, receipt)
        return self._begin_round(payment) if is_final else self._look_again(payment)

    def _require_ours(self, payment: ReservedPayment) -> None:
        if self._wallet.address() != payment.sender:
            raise NotOurs("the wallet was replaced while a payment was under way")
        if self._ethereum.chain_id() != payment.chain_id:
            raise NotOurs("the node is of another chain than a payment that is under way")

    def _send(self, payment: ReservedPayment) -> None:
        """Send the transaction of this look, unless one with its nonce waits and it is not yet to be replaced."""
        waiting = self._ethereum.transaction_count(payment.sender, "pending") > payment.nonce
        if waiting and not is_raise(payment.look):
            return
        signed = self._wallet.sign(transfer_of(payment, raises_at(payment.look)))
        try:
            self._ethereum.send_raw(signed.raw)
        except (KnownTransaction, NonceTooLow, ReplacementUnderpriced, Underpriced):
            return  # sent before; or the next look tells who has the nonce; or higher fees follow
        except InsufficientFunds:
            trouble = OutOfFunds("the wallet has too little", retry_after=UNTIL_FUNDED)
        else:
            return
        raise trouble

    def _receipt(self, payment: ReservedPayment) -> Receipt | None:
        """The receipt of whichever of the payment's transactions was mined."""
        for transfer in transfers_of(payment):
            receipt = self._ethereum.receipt(self._wallet.sign(transfer).hash)
            if receipt is not None:
                return receipt
        return None

    def _tell(self, payment: ReservedPayment, receipt: Receipt) -> Answer:
        if not receipt.succeeded:
            raise PaymentFailed("a payment is mined and was undone")
        mined = PaymentMined(
            payout_id=payment.payout_id,
            exchange_id=payment.exchange_id,
            tx_hash=receipt.hash,
            timestamp=self.now(),
        )
        name = f"{payment.payout_id}-mined"
        task = self.hand_on(self._hostpay1, name, MINED_PATH, mined, self._signing_key())
        return handed_on("The payment is mined", task)

    def _look_again(self, payment: ReservedPayment) -> Answer:
        if payment.look >= MOST_LOOKS:
            raise StillPending("a payment has been waiting for a day")
        delay, now = pause_after(payment.look), self.now()
        on_time = now <= payment.pay_by
        changes = {
            "look": payment.look + 1,
            "pay_by": now + delay + PAY_WITHIN if on_time else payment.pay_by,
            "timestamp": now,
        }
        name = f"look-{payment.round}-{payment.look + 1}"
        step = payment.model_copy(update=changes)
        task = self._to_itself(self._queue_of(payment), step, name, delay)
        return handed_on("The payment is under way", task)

    def _begin_round(self, payment: ReservedPayment) -> Answer:
        if self.now() > payment.pay_by:
            raise TooLate("a payment lost its nonce too long ago: look whether it was paid")
        number = payment.round + 1
        delay = int(digest(payment.payout_id, number)[:8], 16) % SPREAD
        order = PaymentOrder(
            **payment.model_dump(include=set(OpenExchange.model_fields) - {"pay_by"}),
            pay_by=self.now() + delay + PAY_WITHIN,
            round=number,
            timestamp=self.now(),
        )
        task = self._to_itself(self._queue_of(payment), order, f"order-{number}", delay)
        return handed_on("The nonce was used by another transaction", task)

    def _queue_of(self, payment: ReservedPayment) -> Target:
        """This service, through the queue in which the payment's steps have been since it was reserved."""
        return Target(Constant(payment.queue), self._itself.base_url)

    def _to_itself(
        self,
        target: Target,
        step: PaymentOrder | ReservedPayment,
        what: str,
        delay: float = 0.0,
    ) -> str:
        key = self._signing_key()
        name = f"{step.payout_id}-{what}"
        return self.hand_on(target, name, OWN_PATH, step, key, delay=delay)


def mark_of(order: PaymentOrder) -> int:
    """Wei that are added to the fees for a unit of gas: a sixtieth of a gwei at most."""
    return int(order.payout_id[:6], 16)
