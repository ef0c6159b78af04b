"""What PGP_MICROBATCHPROCESSOR_v1 does with a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgp_services.causes import digest
from pgp_services.clients.changenow import NewExchange
from pgp_services.exchanges import require_alive, require_payable
from pgp_services.money import cut
from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler, handed_on
from pgp_services.tokens import (
    PAY_WITHIN,
    ExchangeWatch,
    ReleasedPayout,
    SwapDue,
    SwapExecuted,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from pydantic import SecretStr

    from pgp_services.clients.changenow import ChangeNowClient, Exchange
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Where HOSTPAY1 takes payouts, and looks after exchanges.
PAYOUT_PATH = "/"
WATCH_PATH = "/retry-callback-check"


class MicroBatchProcessorHandler(TaskHandler):
    """Handles swaps of accumulated ETH for USDT.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        changenow: Makes the exchanges.
        tasks: Creates tasks.
        hostpay1: Where payouts go.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        changenow: ChangeNowClient,
        tasks: TasksClient,
        hostpay1: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, changenow, clock=clock)
        self._signing_key = signing_key
        self._changenow = changenow
        self._hostpay1 = hostpay1

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route("/check-threshold", self.begin_swap),
            Route("/swap-executed", self.look_after_swap),
        ]

    def begin_swap(self, call: Call) -> Answer:
        """Make an exchange, and have it paid for.

        A repeat makes another one, which nobody pays for, and which expires: the task has its name of the
        batch.
        """
        key = self._signing_key()
        due = self.claims_in(SwapDue, call, key)
        self.require_on_time(due.timestamp)
        amount = cut(due.amount, "eth")
        exchange = self._changenow.create_exchange(exchange_for(due, amount))
        require_payable(exchange)
        payout = payout_of(due, amount, exchange, self.now())
        name = f"{payout.payout_id}-payout"
        task = self.hand_on(self._hostpay1, name, PAYOUT_PATH, payout, key)
        return handed_on("Swap sent to HOSTPAY1", task)

    def look_after_swap(self, call: Call) -> Answer:
        """An exchange is said to be done: unless it failed, HOSTPAY1 looks after it until it is."""
        key = self._signing_key()
        swap = self.claims_in(SwapExecuted, call, key)
        status = self._changenow.status(swap.exchange_id).status
        require_alive(status)
        watch = ExchangeWatch(
            payout_id=digest("swap", swap.batch_id),
            exchange_id=swap.exchange_id,
            attempt=0,
            timestamp=self.now(),
        )
        name = f"{digest('swap-executed', swap.batch_id, swap.exchange_id, status)}-watch"
        task = self.hand_on(self._hostpay1, name, WATCH_PATH, watch, key)
        return handed_on(f"The swap is {status}", task)


def exchange_for(due: SwapDue, amount: Decimal) -> NewExchange:
    """What ChangeNow is asked to make."""
    return NewExchange(
        from_currency="eth",
        from_network="eth",
        to_currency="usdt",
        to_network="eth",
        amount=amount,
        address=due.wallet_address,
    )


def payout_of(due: SwapDue, amount: Decimal, exchange: Exchange, now: int) -> ReleasedPayout:
    """What HOSTPAY1 is told to pay."""
    return ReleasedPayout(
        payout_id=digest("swap", due.batch_id),
        wallet_address=due.wallet_address,
        payout_currency="usdt",
        payout_network="eth",
        swap_currency="eth",
        amount=amount,
        pay_by=due.timestamp + PAY_WITHIN,
        exchange_id=exchange.id,
        payin_address=exchange.payin_address,
        timestamp=now,
    )
