"""What PGP_ORCHESTRATOR_v1 does with a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgp_services.causes import TASK_NAME, digest
from pgp_services.failures import BadToken
from pgp_services.serving.answers import Answer
from pgp_services.serving.bodies import json_object, model_in
from pgp_services.serving.routes import Route
from pgp_services.task_handler import TaskHandler, TooLate, handed_on
from pgp_services.tokens import (
    AccumulationRequest,
    Facts,
    InviteRequest,
    Payment,
    SplitRequest,
    SuccessClaims,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.routes import Call

#: Where INVITE takes payers, and SPLIT1 and ACCUMULATOR payments.
INVITE_PATH = PAYMENT_PATH = "/"


class Received(Facts):
    """What NP_IPN says of a payment.

    Attributes:
        payment: The payment.
        received_at: When NP_IPN was first told of it, in whole seconds of Unix time.
    """

    payment: Payment
    received_at: int


class OrchestratorHandler(TaskHandler):
    """Handles `POST /process-validated-payment`, of NP_IPN and of BOTCOMMAND.

    A payment is known by its id: told of twice, by the one or by both, it is handed on once.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        secondary_key: The secret SUCCESS_URL_SIGNING_KEY_SECONDARY; it verifies, and signs nothing.
        tasks: Creates tasks.
        invite: Where payers go.
        split1: Where payments go that are paid out at once.
        accumulator: Where those go that are paid out later.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        secondary_key: Provided[SecretStr],
        tasks: TasksClient,
        invite: Target,
        split1: Target,
        accumulator: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, clock=clock)
        self._signing_key = signing_key
        self._secondary_key = secondary_key
        self._invite = invite
        self._split1 = split1
        self._accumulator = accumulator

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/process-validated-payment", self.process)]

    def process(self, call: Call) -> Answer:
        """Let the payer in, and hand the payment on: the money is the last that is moved.

        A token that is not good, or too late, is done with where it comes as a task: BOTCOMMAND hands on whatever users claim, which
        would be delivered again and again, and tell people each time. A payment does not hang on it: NP_IPN tells
        of it too.

        Raises:
            ServiceFailure: If the request is of another form or its token not good, or Cloud Tasks does not answer.
            PgpConfigError: If a secret has no usable value.
        """
        try:
            payment, begun_at = self._payment(call)
        except (BadToken, TooLate) as failure:
            if TASK_NAME not in call.headers:
                raise
            return Answer(
                200, {"status": "refused", "message": f"The claim is refused: {failure.reason}"}
            )
        self.require_on_time(begun_at)
        tasks = [self._let_in(payment), self._hand_payment_on(payment, begun_at)]
        return handed_on("Payment handed on", *tasks)

    def _payment(self, call: Call) -> tuple[Payment, int]:
        """The payment, of NP_IPN as it stands (Cloud Run lets nobody else call), or of a payer's token; and its time."""
        if "token" not in json_object(call.body):
            received = model_in(Received, call.body)
            return received.payment, received.received_at
        keys = [self._signing_key(), self._secondary_key()]
        claims = self.claims_in(SuccessClaims, call, keys)
        self.require_on_time(claims.timestamp)
        return claims, claims.timestamp

    def _let_in(self, payment: Payment) -> str:
        request = InviteRequest(
            payment_id=payment.payment_id,
            user_id=payment.user_id,
            closed_channel_id=payment.closed_channel_id,
            timestamp=self.now(),
        )
        name = f"{digest('payment', payment.payment_id)}-invite"
        return self.hand_on(self._invite, name, INVITE_PATH, request, self._signing_key())

    def _hand_payment_on(self, payment: Payment, begun_at: int) -> str:
        instant = payment.payout_mode == "instant"
        kind, target = (
            (SplitRequest, self._split1) if instant else (AccumulationRequest, self._accumulator)
        )
        facts = payment.model_dump(include=set(Payment.model_fields))
        name = f"{digest('payment', payment.payment_id)}-payment"
        claims = kind(**facts, timestamp=begun_at)
        return self.hand_on(target, name, PAYMENT_PATH, claims, self._signing_key())
