"""What PGP_NP_IPN_v1 does with what NOWPayments tells of payments."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pgp_services.causes import digest
from pgp_services.clients.cloud_tasks import NewTask
from pgp_services.clients.nowpayments import SIGNATURE, verify_ipn
from pgp_services.failures import BadRequest, Refused
from pgp_services.money import cut
from pgp_services.orders import Ipn, order_of
from pgp_services.serving.answers import done
from pgp_services.serving.bodies import validated
from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler, handed_on
from pgp_services.tokens import Payment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import SecretStr

    from pgp_config import Keys
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.orders import Order
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call
    from pgp_services.tokens import Currency

#: Where ORCHESTRATOR takes payments, and NOTIFICATIONS messages.
PROCESS_PATH, NOTIFICATION_PATH = "/process-validated-payment", "/send-notification"

#: What the fleet pays out from, by NOWPayments' names.
_CURRENCIES: Mapping[str, Currency] = {"eth": "eth", "usdterc20": "usdt"}


#: Seconds after an order until which its payment is handed on; as long as an offer is good, which is 24 h. An IPN
#: is genuine for as long as its key is, and what was handed on is known by the names of tasks, which Cloud Tasks
#: keeps for a day at most: without a bound a copy of an old IPN would let somebody in again, and pay out again.
MAX_ORDER_AGE = 24 * 3600

#: The statuses of a payment by which money has come in.
_CAME_IN = frozenset({"finished", "partially_paid"})

_PAYMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)


class UnusablePaymentError(Refused):
    """A payment came in, and cannot be handed on: somebody must look at it."""


class NpIpnHandler(TaskHandler):
    """Handles `POST /`; used from threads.

    Args:
        ipn_keys: The secret NOWPAYMENTS_IPN_SECRET, its current and its previous version.
        tasks: Creates tasks.
        orchestrator: Where payments go.
        notifications: Where messages to payers go.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        ipn_keys: Provided[Keys[SecretStr]],
        tasks: TasksClient,
        orchestrator: Target,
        notifications: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, clock=clock)
        self._ipn_keys = ipn_keys
        self._orchestrator = orchestrator
        self._notifications = notifications

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/", self.take)]

    def take(self, call: Call) -> Answer:
        """Have a finished payment processed, and its payer told; of any other status take note.

        NOWPayments repeats an IPN until it is answered well; a payment's tasks are named by its id. Money that
        came in and cannot be handed on is a failure of ours, never the caller's: somebody has to look.

        Raises:
            ServiceFailure: If the IPN is not NOWPayments', or cannot be handed on.
            PgpConfigError: If a secret has no usable value.
        """
        content = verify_ipn(call.body, call.headers.get(SIGNATURE), self._ipn_keys())
        ipn = ipn_in(content)
        if ipn.parent_payment_id is not None and ipn.payment_status in _CAME_IN:
            raise UnusablePaymentError(f"payment {ipn.payment_id} is a repeated deposit")
        if ipn.payment_status != "finished":
            return done(f"Payment is {ipn.payment_status}")
        payment = payment_of(ipn, self._clock())
        tasks = [process_task(payment, self.now()), notification_task(payment)]
        targets = (self._orchestrator, self._notifications)
        made = [self._tasks.create(*pair) for pair in zip(targets, tasks, strict=True)]
        return handed_on("Payment handed on", *made)


def ipn_in(content: Mapping[str, object]) -> Ipn:
    """What a genuine IPN says.

    Raises:
        UnusablePaymentError: If a payment has come in, and the IPN is of another form.
        BadRequest: If any other is.
    """
    try:
        return validated(Ipn, content)
    except BadRequest as fault:
        if content.get("payment_status") not in _CAME_IN:
            raise
        fields = ", ".join(fault.fields)
    said = content.get("payment_id")
    name = said if isinstance(said, int | str) and _PAYMENT_ID.fullmatch(str(said)) else "of no id"
    raise UnusablePaymentError(f"payment {name} came in and is of no use: wrong fields: {fields}")


def payment_of(ipn: Ipn, now: float) -> Payment:
    """The payment that a finished IPN tells of.

    Args:
        ipn: The IPN.
        now: Unix time in seconds.

    Raises:
        UnusablePaymentError: If it is of no order of ours or of an old one, less than its price, or in a currency
            that is not paid out from.
    """
    try:
        found: Payment | str = _payment(ipn, now)
    except (BadRequest, ValidationError):
        found = "no order of ours, or nothing came of it"
    if isinstance(found, str):
        raise UnusablePaymentError(f"payment {ipn.payment_id} came in and is of no use: {found}")
    return found


def _payment(ipn: Ipn, now: float) -> Payment | str:
    order, currency = order_of(ipn.order_id), _CURRENCIES.get((ipn.outcome_currency or "").lower())
    if now - order.time > MAX_ORDER_AGE:
        return "its order is too old"
    if not _is_paid_for(order, ipn):
        return "it is not the order's price, or not all of it was paid"
    if currency is None:
        return "its currency is not paid out from"
    amount = cut(ipn.outcome_amount or Decimal(0), currency)
    return Payment(
        **order.model_dump(exclude={"number", "time", "price_amount", "price_currency"}),
        payment_id=ipn.payment_id,
        swap_currency=currency,
        amount=amount,
        actual_eth_amount=amount if currency == "eth" else Decimal(0),
    )


def _is_paid_for(order: Order, ipn: Ipn) -> bool:
    """Whether the price is the order's, and the IPN says that all of it was paid."""
    if (ipn.price_amount, (ipn.price_currency or "").lower()) != (
        order.price_amount,
        order.price_currency,
    ):
        return False
    # NOWPayments documents both in a finished IPN: without them nobody knows that all of it was paid.
    if ipn.pay_amount is None or ipn.actually_paid is None:
        return False
    return ipn.actually_paid >= ipn.pay_amount


def process_task(payment: Payment, now: int) -> NewTask:
    """The call that has ORCHESTRATOR process a payment; what is paid out for it is counted from now on."""
    name = f"{digest('payment', payment.payment_id)}-process"
    told = {"payment": payment.model_dump(mode="json"), "received_at": now}
    return NewTask(name, PROCESS_PATH, told)


def notification_task(payment: Payment) -> NewTask:
    """The call that has NOTIFICATIONS tell the payer."""
    name = f"{digest('payment', payment.payment_id)}-received"
    text = f"Your payment {payment.payment_id} has been received."
    return NewTask(name, NOTIFICATION_PATH, {"chat_id": payment.user_id, "text": text})
