"""What PGP_ACCUMULATOR_v1 does with a request."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from pgp_services.causes import digest
from pgp_services.money import after_fee, cut
from pgp_services.serving.bodies import json_object
from pgp_services.serving.routes import Call, Route
from pgp_services.task_handler import TaskHandler, handed_on
from pgp_services.tokens import (
    PAY_WITHIN,
    AccumulationRequest,
    EstimateRequest,
    Identity,
    Release,
    ReleasedPayout,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from pydantic import SecretStr

    from pgp_services.clients.cloud_tasks import Target, TasksClient
    from pgp_services.provided import Provided
    from pgp_services.serving.answers import Answer

#: Where SPLIT2 takes requests for estimates, and HOSTPAY1 those for payouts.
ESTIMATE_PATH = PAYOUT_PATH = "/"


class AccumulatorHandler(TaskHandler):
    """Handles `POST /`: a payment that is paid out later, or the release of what was accumulated.

    Args:
        signing_key: The secret SUCCESS_URL_SIGNING_KEY.
        flat_fee: The secret TP_FLAT_FEE, in percent.
        tasks: Creates tasks.
        split2: Where estimates are asked for.
        hostpay1: Where payouts go.
        clock: Unix time in seconds; a test gives its own.
    """

    def __init__(
        self,
        *,
        signing_key: Provided[SecretStr],
        flat_fee: Provided[Decimal],
        tasks: TasksClient,
        split2: Target,
        hostpay1: Target,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tasks, clock=clock)
        self._signing_key = signing_key
        self._flat_fee = flat_fee
        self._split2 = split2
        self._hostpay1 = hostpay1

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route("/", self.accumulate_or_release)]

    def accumulate_or_release(self, call: Call) -> Answer:
        """A body with `release` releases, any other has a payment's `token`."""
        return self.release(call) if "release" in json_object(call.body) else self.accumulate(call)

    def accumulate(self, call: Call) -> Answer:
        """A payment: take the fee off, and ask what the rest is worth; nothing is paid out."""
        key = self._signing_key()
        payment = self.claims_in(AccumulationRequest, call, key)
        self.require_on_time(payment.timestamp)
        amount = after_fee(payment.amount, self._flat_fee(), payment.swap_currency)
        request = valuation_of(payment, amount)
        name = f"{digest('payment', payment.payment_id)}-valuation"
        task = self.hand_on(self._split2, name, ESTIMATE_PATH, request, key)
        return handed_on("Valuation asked of SPLIT2", task)

    def release(self, call: Call) -> Answer:
        """What was accumulated is to be paid out; its fee is taken off already."""
        key = self._signing_key()
        # The same rules as for a token under its usual name.
        renamed = Call(json.dumps({"token": json_object(call.body)["release"]}).encode())
        release = self.claims_in(Release, renamed, key)
        self.require_on_time(release.timestamp)
        payout = payout_of(release, self.now())
        name = f"{payout.payout_id}-payout"
        task = self.hand_on(self._hostpay1, name, PAYOUT_PATH, payout, key)
        return handed_on("Payout sent to HOSTPAY1", task)


def valuation_of(payment: AccumulationRequest, amount: Decimal) -> EstimateRequest:
    """What SPLIT2 is asked: what ETH is worth in USDT; what USDT is worth where it will be paid out."""
    identity = payment.model_dump(include=set(Identity.model_fields))
    if payment.swap_currency == "eth":
        identity.update(payout_currency="usdt", payout_network="eth")
    return EstimateRequest(**identity, adjusted_amount=amount, timestamp=payment.timestamp)


def payout_of(release: Release, now: int) -> ReleasedPayout:
    """What HOSTPAY1 is told to pay.

    Raises:
        BadRequest: If that is less than a unit.
    """
    return ReleasedPayout(
        payout_id=digest("release", release.batch_id),
        wallet_address=release.wallet_address,
        payout_currency=release.payout_currency,
        payout_network=release.payout_network,
        swap_currency=release.swap_currency,
        amount=cut(release.amount, release.swap_currency),
        pay_by=release.timestamp + PAY_WITHIN,
        exchange_id=None,
        payin_address=None,
        timestamp=now,
    )
