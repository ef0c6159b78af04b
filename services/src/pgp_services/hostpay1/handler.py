"""What PGP_HOSTPAY1_v1 does with a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgp_services.clients.changenow import NewExchange
from pgp_services.exchanges import (
    FINISHED,
    UNPAID,
    ExchangeFailed,
    require_alive,
    require_eth,
    require_payable,
)
from pgp_services.failures import BadRequest
from pgp_services.serving.bodies import token_in
from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler, handed_on
from pgp_services.tokens import (
    Accepted,
    ExchangeWatch,
    OpenExchange,
    PaymentMined,
    PaymentOrder,
    PayoutRequest,
    ReleasedPayout,
    StatusReport,
    StatusRequest,
    verify_one_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.changenow import ChangeNowClient
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call

#: Where HOSTPAY2 takes questions, HOSTPAY3 orders, and this service asks itself to look again.
STATUS_PATH = ORDER_PATH = "/"
WATCH_PATH = "/retry-callback-check"

#: Seconds until an exchange is looked at again: doubled each time, up to the second number; and how often
#: that is done, which comes to about two days.
FIRST_PAUSE, LONGEST_PAUSE, MOST_LOOKS = 30, 600, 300


class HostPay1Handler(TaskHandler):
    """Handles payouts, from the request to the exchange's end.

    Args:
        payout_key: The secret TPS_HOSTPAY_SIGNING_KEY.
        secondary_payout_key: The secret TPS_HOSTPAY_SIGNING_KEY_SECONDARY; it verifies, and signs nothing.
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        changenow: Makes exchanges, and tells how they are.
        tasks: Creates tasks.
        itself: This service.
        hostpay2: Asks how an exchange is.
        hostpay3: Pays.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        payout_key: Provided[SecretStr],
        secondary_payout_key: Provided[SecretStr],
        signing_key: Provided[SecretStr],
        changenow: ChangeNowClient,
        tasks: TasksClient,
        itself: Target,
        hostpay2: Target,
        hostpay3: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, changenow, clock=clock)
        self._payout_key = payout_key
        self._secondary_payout_key = secondary_payout_key
        self._signing_key = signing_key
        self._changenow = changenow
        self._itself = itself
        self._hostpay2 = hostpay2
        self._hostpay3 = hostpay3

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route("/", self.begin),
            Route("/status-verified", self.order),
            Route("/payment-completed", self.paid),
            Route(WATCH_PATH, self.look_again),
        ]

    def begin(self, call: Call) -> Answer:
        """A payout: make its exchange, if it has none, and have HOSTPAY2 see how that is.

        A repeat makes another exchange, which nobody pays for, and which expires: the task has its name of
        the payout.
        """
        payout = self._payout(call)
        require_eth(payout.swap_currency)
        exchange = self._exchange(payout)
        request = StatusRequest(**exchange.model_dump(), timestamp=self.now())
        name = f"{payout.payout_id}-status"
        task = self.hand_on(self._hostpay2, name, STATUS_PATH, request, self._signing_key())
        return handed_on("Status asked of HOSTPAY2", task)

    def order(self, call: Call) -> Answer:
        """A report of HOSTPAY2: have an exchange that nobody has paid for paid by HOSTPAY3."""
        key = self._signing_key()
        report = self.claims_in(StatusReport, call, key)
        require_alive(report.status)
        if report.status not in UNPAID:
            # A repeat that comes late: it was paid for.
            return self._watch(report.payout_id, report.exchange_id, report.status, 0)
        order = PaymentOrder(
            **report.model_dump(include=set(OpenExchange.model_fields)),
            round=0,
            timestamp=self.now(),
        )
        name = f"{report.payout_id}-order"
        task = self.hand_on(self._hostpay3, name, ORDER_PATH, order, key)
        return handed_on("Payment ordered of HOSTPAY3", task)

    def paid(self, call: Call) -> Answer:
        """HOSTPAY3 has paid: look whether the exchange is done."""
        payment = self.claims_in(PaymentMined, call, self._signing_key())
        return self._look(payment.payout_id, payment.exchange_id, 0)

    def look_again(self, call: Call) -> Answer:
        """Time to look again whether an exchange is done."""
        watch = self.claims_in(ExchangeWatch, call, self._signing_key())
        return self._look(watch.payout_id, watch.exchange_id, watch.attempt)

    def _payout(self, call: Call) -> PayoutRequest | ReleasedPayout:
        payout_keys = [self._payout_key(), self._secondary_payout_key()]
        accepted: list[Accepted[PayoutRequest | ReleasedPayout]] = [
            Accepted(PayoutRequest, payout_keys),
            Accepted(ReleasedPayout, self._signing_key()),
        ]
        return verify_one_of(accepted, token_in(call.body), self._clock())

    def _exchange(self, payout: PayoutRequest | ReleasedPayout) -> OpenExchange:
        exchange_id, payin_address = self._known_exchange(payout) or self._new_exchange(payout)
        return OpenExchange(
            payout_id=payout.payout_id,
            pay_by=payout.pay_by,
            exchange_id=exchange_id,
            payin_address=payin_address,
            swap_currency=payout.swap_currency,
            amount=payout.amount,
        )

    def _known_exchange(self, payout: PayoutRequest | ReleasedPayout) -> tuple[str, str] | None:
        if isinstance(payout, PayoutRequest):
            return None
        if payout.exchange_id is None and payout.payin_address is None:
            return None
        if payout.exchange_id is None or payout.payin_address is None:
            raise BadRequest("the payout has half of an exchange")
        return payout.exchange_id, payout.payin_address

    def _new_exchange(self, payout: PayoutRequest | ReleasedPayout) -> tuple[str, str]:
        exchange = self._changenow.create_exchange(
            NewExchange(
                from_currency=payout.swap_currency,
                from_network="eth",
                to_currency=payout.payout_currency,
                to_network=payout.payout_network,
                amount=payout.amount,
                address=payout.wallet_address,
            )
        )
        require_payable(exchange)
        return exchange.id, exchange.payin_address

    def _look(self, payout_id: str, exchange_id: str, attempt: int) -> Answer:
        status = self._changenow.status(exchange_id).status
        require_alive(status)
        return self._watch(payout_id, exchange_id, status, attempt)

    def _watch(self, payout_id: str, exchange_id: str, status: str, attempt: int) -> Answer:
        """Look again later, unless the exchange is done."""
        if status == FINISHED:
            return handed_on("The exchange is finished")
        if attempt >= MOST_LOOKS:
            raise ExchangeFailed(f"the exchange is {status} after {attempt} looks")
        delay = pause_before(attempt)
        watch = ExchangeWatch(
            payout_id=payout_id,
            exchange_id=exchange_id,
            attempt=attempt + 1,
            timestamp=self.now(),
        )
        name = f"{payout_id}-watch-{attempt + 1}"
        key = self._signing_key()
        task = self.hand_on(self._itself, name, WATCH_PATH, watch, key, delay=delay)
        return handed_on(f"The exchange is {status}", task)


def pause_before(attempt: int) -> int:
    """Seconds until an exchange is looked at again that was looked at so often."""
    return int(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt, 10)))
