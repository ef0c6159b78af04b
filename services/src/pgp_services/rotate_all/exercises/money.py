"""What the services are asked that move money: payments, estimates, payouts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pgp_services.causes import digest
from pgp_services.names import Service
from pgp_services.rotate_all.exercises.craft import PAYOUT, SUCCESS, WALLET, Exercise, Request
from pgp_services.tokens import (
    AccumulationRequest,
    BatchDue,
    BatchPayout,
    ClientSwap,
    EstimateAnswer,
    EstimateRequest,
    ExchangeWatch,
    PaymentOrder,
    PayoutRequest,
    Release,
    ReservedPayment,
    SplitRequest,
    StatusReport,
    StatusRequest,
    SuccessClaims,
    SwapDue,
    sign,
)

if TYPE_CHECKING:
    from typing import Any

    from pgp_services.rotate_all.exercises.craft import Craft

# -- ORCHESTRATOR, SPLIT1, SPLIT2 ----------------------------------------------------------------


def _payment(craft: Craft, **changes: object) -> dict[str, Any]:
    return craft.identity(payment_id=f"p-{craft.number}", amount="1", **changes)


def _received(craft: Craft) -> Request:
    claims = SuccessClaims.model_validate(_payment(craft))
    return Request("/process-validated-payment", craft.token(claims))


def _received_for_later(craft: Craft) -> Request:
    claims = SuccessClaims.model_validate(_payment(craft, payout_mode="threshold"))
    return Request("/process-validated-payment", craft.token(claims))


def _split(craft: Craft) -> Request:
    return Request("/", craft.token(SplitRequest.model_validate(_payment(craft))))


def _estimated(craft: Craft) -> Request:
    claims = EstimateAnswer.model_validate(
        craft.identity(
            from_amount="0.9", to_amount_post_fee="0.45", deposit_fee="0", withdrawal_fee="0"
        )
    )
    return Request("/usdt-eth-estimate", craft.token(claims))


def _swap(craft: Craft) -> Request:
    claims = ClientSwap.model_validate(craft.identity(swap_id=f"s-{craft.number}", eth_amount="1"))
    return Request("/eth-client-swap", craft.token(claims))


def _batch(craft: Craft) -> dict[str, Any]:
    return craft.identity(batch_id=f"b-{craft.number}", amount="1")


def _batch_payout(craft: Craft) -> Request:
    return Request("/batch-payout", craft.token(BatchPayout.model_validate(_batch(craft))))


def _estimate(craft: Craft) -> Request:
    """A threshold has SPLIT2 wake BATCHPROCESSOR too."""
    claims = EstimateRequest.model_validate(
        craft.identity(adjusted_amount="0.97", payout_mode="threshold")
    )
    return Request("/", craft.token(claims))


# -- ACCUMULATOR, BATCHPROCESSOR, MICROBATCHPROCESSOR --------------------------------------------


def _accumulate(craft: Craft) -> Request:
    claims = AccumulationRequest.model_validate(_payment(craft, payout_mode="threshold"))
    return Request("/", craft.token(claims))


def _release(craft: Craft) -> Request:
    release = sign(Release.model_validate(_batch(craft)), craft.value)
    return Request("/", json.dumps({"release": release}).encode())


def _due(craft: Craft) -> Request:
    due = sign(BatchDue.model_validate(_batch(craft)), craft.value)
    return Request("/process", json.dumps({"due": [due]}).encode())


def _swap_due(craft: Craft) -> Request:
    claims = SwapDue.model_validate(
        {
            "batch_id": f"m-{craft.number}",
            "amount": "1",
            "wallet_address": WALLET,
            "timestamp": craft.now,
        }
    )
    return Request("/check-threshold", craft.token(claims))


# -- HOSTPAY1, HOSTPAY2, HOSTPAY3 ----------------------------------------------------------------


def _payout(craft: Craft) -> Request:
    claims = PayoutRequest.model_validate(
        {
            "payout_id": digest("exercise", craft.number),
            "amount": "1",
            "pay_by": craft.now + 3600,
            "wallet_address": WALLET,
            "payout_currency": "xmr",
            "payout_network": "xmr",
            "swap_currency": "eth",
            "timestamp": craft.now,
        }
    )
    return Request("/", craft.token(claims))


def _open_exchange(craft: Craft, **changes: object) -> dict[str, Any]:
    return {
        "payout_id": digest("exercise", craft.number),
        "pay_by": craft.now + 3600,
        "exchange_id": craft.exchange(),
        "payin_address": WALLET,
        "swap_currency": "eth",
        "amount": "0.001",
        "timestamp": craft.now,
        **changes,
    }


def _status(craft: Craft) -> Request:
    return Request("/", craft.token(StatusRequest.model_validate(_open_exchange(craft))))


def _status_verified(craft: Craft) -> Request:
    claims = StatusReport.model_validate(_open_exchange(craft, status="waiting"))
    return Request("/status-verified", craft.token(claims))


def _look_again(craft: Craft) -> Request:
    claims = ExchangeWatch.model_validate(
        {
            "payout_id": digest("exercise", craft.number),
            "exchange_id": craft.exchange(),
            "attempt": 0,
            "timestamp": craft.now,
        }
    )
    return Request("/retry-callback-check", craft.token(claims))


def _order(craft: Craft) -> Request:
    return Request("/", craft.token(PaymentOrder.model_validate(_open_exchange(craft, round=0))))


def _pay(craft: Craft) -> Request:
    """A payment with the wallet's next nonce."""
    return Request("/", craft.token(_reserved(craft, craft.nonce())))


def _mined(craft: Craft) -> Request:
    """The payment before: all that the chain knows of it is the same."""
    return Request("/", craft.token(_reserved(craft, craft.nonce() - 1)))


def _reserved(craft: Craft, nonce: int) -> ReservedPayment:
    facts = _open_exchange(
        craft,
        round=0,
        queue="exercises",  # no version of HOSTPAY3's: that it stays there is no evidence of one
        look=0,
        sender=craft.wallet(),
        chain_id=1,
        nonce=nonce,
        gas=21_000,
        max_fee_per_gas=10**11,
        max_priority_fee_per_gas=10**9,
    )
    return ReservedPayment.model_validate(facts)


MONEY: dict[Service, list[Exercise]] = {
    Service.SPLIT2: [Exercise("estimate", _estimate, signed=SUCCESS)],
    Service.ORCHESTRATOR: [
        Exercise("payment", _received, signed=SUCCESS),
        Exercise("payment for later", _received_for_later, proof=f"{SUCCESS}_SECONDARY"),
    ],
    Service.HOSTPAY1: [
        Exercise("payout", _payout, signed=PAYOUT),
        Exercise("payout, secondary key", _payout, proof=f"{PAYOUT}_SECONDARY"),
        Exercise("status verified", _status_verified, signed=SUCCESS),
        Exercise("look again", _look_again, signed=SUCCESS),
    ],
    Service.HOSTPAY3: [
        Exercise("order", _order, signed=SUCCESS),
        Exercise("payment", _pay, signed=SUCCESS),
        Exercise("payment that is mined", _mined, signed=SUCCESS),
    ],
    Service.SPLIT1: [
        Exercise("payment", _split, signed=SUCCESS),
        Exercise("estimate", _estimated, signed=SUCCESS),
        Exercise("swap", _swap, signed=SUCCESS),
        Exercise("batch", _batch_payout, signed=PAYOUT),
    ],
    Service.HOSTPAY2: [Exercise("status", _status, signed=SUCCESS)],
    Service.ACCUMULATOR: [
        Exercise("payment", _accumulate, signed=SUCCESS),
        Exercise("release", _release, signed=SUCCESS),
    ],
    Service.BATCHPROCESSOR: [Exercise("batch", _due, signed=SUCCESS)],
    Service.MICROBATCHPROCESSOR: [Exercise("swap", _swap_due, signed=SUCCESS)],
}
