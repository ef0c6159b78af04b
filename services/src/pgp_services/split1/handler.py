"""What PGP_SPLIT1_v1 does with a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

from pgp_services.causes import digest, digest_of
from pgp_services.failures import Refused
from pgp_services.money import after_fee, cut
from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler, handed_on
from pgp_services.tokens import (
    PAY_WITHIN,
    BatchPayout,
    ClientSwap,
    EstimateAnswer,
    EstimateRequest,
    Identity,
    PayoutRequest,
    SplitRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from pydantic import SecretStr

    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

    Asked: TypeAlias = SplitRequest | ClientSwap | BatchPayout

#: Where SPLIT2 takes requests for estimates, and HOSTPAY1 those for payouts.
ESTIMATE_PATH = PAYOUT_PATH = "/"


class MoreThanCameIn(Refused):
    """What would be paid out is more than what came in."""


class Split1Handler(TaskHandler):
    """Handles payments, estimates, swaps asked for anew, and batches.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        payout_key: The secret TPS_HOSTPAY_SIGNING_KEY.
        flat_fee: The secret TP_FLAT_FEE, in percent.
        tasks: Creates tasks.
        split2: Where estimates are asked for.
        split2_anew: The same service, through the queue of what is asked anew.
        hostpay1: Where payouts go.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        payout_key: Provided[SecretStr],
        flat_fee: Provided[Decimal],
        tasks: TasksClient,
        split2: Target,
        split2_anew: Target,
        hostpay1: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, clock=clock)
        self._signing_key = signing_key
        self._payout_key = payout_key
        self._flat_fee = flat_fee
        self._split2 = split2
        self._split2_anew = split2_anew
        self._hostpay1 = hostpay1

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route("/", self.split),
            Route("/usdt-eth-estimate", self.estimated),
            Route("/eth-client-swap", self.swap),
            Route("/batch-payout", self.batch),
        ]

    def split(self, call: Call) -> Answer:
        """A payment: take the fee off, and ask what the rest is worth."""
        payment = self.claims_in(SplitRequest, call, self._signing_key())
        self.require_on_time(payment.timestamp)
        amount = after_fee(payment.amount, self._flat_fee(), payment.swap_currency)
        cause = digest("payment", payment.payment_id)
        return self._ask(self._split2, payment, amount, cause)

    def estimated(self, call: Call) -> Answer:
        """An estimate of SPLIT2: have it paid out, unless it only counts towards a threshold."""
        estimate = self.claims_in(EstimateAnswer, call, self._signing_key())
        if estimate.payout_mode == "threshold":
            return handed_on("Estimate counts towards a threshold")
        self.require_on_time(estimate.timestamp)
        payout = payout_of(estimate, digest_of(estimate, call), self.now())
        name = f"{payout.payout_id}-payout"
        task = self.hand_on(self._hostpay1, name, PAYOUT_PATH, payout, self._payout_key())
        return handed_on("Payout sent to HOSTPAY1", task)

    def swap(self, call: Call) -> Answer:
        """A swap whose estimate is to be asked for anew; its fee is taken off already."""
        swap = self.claims_in(ClientSwap, call, self._signing_key())
        self.require_on_time(swap.timestamp)
        amount = cut(swap.eth_amount, "eth")
        return self._ask(self._split2_anew, swap, amount, digest("client-swap", swap.swap_id))

    def batch(self, call: Call) -> Answer:
        """A batch of BATCHPROCESSOR: ask what it is worth; its fee is taken off already."""
        batch = self.claims_in(BatchPayout, call, self._payout_key())
        self.require_on_time(batch.timestamp)
        amount = cut(batch.amount, batch.swap_currency)
        return self._ask(self._split2, batch, amount, digest("batch", batch.batch_id))

    def _ask(self, split2: Target, whose: Asked, amount: Decimal, cause: str) -> Answer:
        """Ask SPLIT2; what it answers is paid out, counted from the time of what is asked for."""
        identity = whose.model_dump(include=set(Identity.model_fields))
        request = EstimateRequest(
            **{**identity, "payout_mode": "instant"},
            adjusted_amount=amount,
            timestamp=whose.timestamp,
        )
        name = f"{cause}-estimate"
        task = self.hand_on(split2, name, ESTIMATE_PATH, request, self._signing_key())
        return handed_on("Estimate asked of SPLIT2", task)


def amount_of(estimate: EstimateAnswer) -> Decimal:
    """What is paid out: what would be swapped, cut to whole units; in ETH never more than came in.

    Raises:
        BadRequest: If that is nothing.
        MoreThanCameIn: If it is ETH, and more than came in.
    """
    amount = cut(estimate.from_amount, estimate.swap_currency)
    if estimate.swap_currency == "eth" and amount > estimate.actual_eth_amount:
        raise MoreThanCameIn("the estimate is for more than what came in")
    return amount


def payout_of(estimate: EstimateAnswer, payout_id: str, now: int) -> PayoutRequest:
    """What HOSTPAY1 is told to pay.

    Raises:
        BadRequest: As `amount_of`.
        MoreThanCameIn: As `amount_of`.
    """
    return PayoutRequest(
        payout_id=payout_id,
        wallet_address=estimate.wallet_address,
        payout_currency=estimate.payout_currency,
        payout_network=estimate.payout_network,
        swap_currency=estimate.swap_currency,
        amount=amount_of(estimate),
        pay_by=estimate.timestamp + PAY_WITHIN,
        timestamp=now,
    )
