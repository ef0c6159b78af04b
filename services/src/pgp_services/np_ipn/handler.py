"""What PGP_NP_IPN_v1 does with what NOWPayments tells of payments."""

from __future__ import annotations

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
    from collections.abc import Mapping

    from pydantic import SecretStr

    from pgp_config import Keys
    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer
    from pgp_services.serving.routes import Call
    from pgp_services.tokens import Currency

#: Where ORCHESTRATOR takes payments, and NOTIFICATIONS messages.
PROCESS_PATH, NOTIFICATION_PATH = "/process-validated-payment", "/send-notification"

#: What the fleet pays out from, by NOWPayments' names.
_CURRENCIES: Mapping[str, Currency] = {"eth": "eth", "usdterc20": "usdt"}


class UnusablePaymentError(Refused):
    """A payment came in, and cannot be handed on: somebody must look at it."""


class NpIpnHandler(TaskHandler):
    """Handles `POST /`; used from threads.

    Args:
        ipn_keys: The secret NOWPAYMENTS_IPN_SECRET, its current and its previous version.
        tasks: Creates tasks.
        orchestrator: Where payments go.
        notifications: Where messages to payers go.
    """

    def __init__(
        self,
        *,
        ipn_keys: Provided[Keys[SecretStr]],
        tasks: TasksClient,
        orchestrator: Target,
        notifications: Target,
    ) -> None:
        super().__init__(tasks)
        self._ipn_keys = ipn_keys
        self._orchestrator = orchestrator
        self._notifications = notifications

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/", self.take)]

    def take(self, call: Call) -> Answer:
        """Have a finished payment processed, and its payer told; of any other status take note.

        NOWPayments repeats an IPN until it is answered well; a payment's tasks are named by its id.

        Raises:
            ServiceFailure: If the IPN is not NOWPayments', or cannot be handed on.
            PgpConfigError: If a secret has no usable value.
        """
        content = verify_ipn(call.body, call.headers.get(SIGNATURE), self._ipn_keys())
        ipn = validated(Ipn, content)
        if ipn.payment_status != "finished":
            return done(f"Payment is {ipn.payment_status}")
        payment = payment_of(ipn)
        tasks = [process_task(payment, self.now()), notification_task(payment)]
        targets = (self._orchestrator, self._notifications)
        made = [self._tasks.create(*pair) for pair in zip(targets, tasks, strict=True)]
        return handed_on("Payment handed on", *made)


def payment_of(ipn: Ipn) -> Payment:
    """The payment that a finished IPN tells of.

    Raises:
        UnusablePaymentError: If it is of no order of ours, or in a currency that is not paid out from.
    """
    currency = _CURRENCIES.get((ipn.outcome_currency or "").lower())
    try:
        payment = None if currency is None else _payment(ipn, currency)
    except (BadRequest, ValidationError):
        payment = None
    if payment is None:
        raise UnusablePaymentError(f"payment {ipn.payment_id} came in and is of no use")
    return payment


def _payment(ipn: Ipn, currency: Currency) -> Payment:
    order = order_of(ipn.order_id)
    amount = cut(ipn.outcome_amount or Decimal(0), currency)
    return Payment(
        **order.model_dump(exclude={"number"}),
        payment_id=ipn.payment_id,
        swap_currency=currency,
        amount=amount,
        actual_eth_amount=amount if currency == "eth" else Decimal(0),
    )


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
