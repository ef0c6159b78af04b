"""The transactions of a reserved payment: all that there can ever be of them, by its token alone.

One nonce has one payment, with a few fees: the first, and higher ones for when it waits too long. Each is
signed deterministically, and so its hash is known from the token, whoever has it and whenever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.clients.ethereum import Fees
from pgp_services.clients.wallet import Transfer
from pgp_services.money import units

if TYPE_CHECKING:
    from pgp_services.tokens import ReservedPayment

#: How often fees are raised, and after how many looks each time.
MOST_RAISES, LOOKS_PER_RAISE = 4, 5

#: Seconds until a payment is looked at again: doubled each time, up to the second number; and how often
#: that is done, which comes to about a day.
FIRST_PAUSE, LONGEST_PAUSE, MOST_LOOKS = 15, 300, 300


def raises_at(look: int) -> int:
    """How often fees have been raised at a look."""
    return min(MOST_RAISES, look // LOOKS_PER_RAISE)


def is_raise(look: int) -> bool:
    """Whether a look is the first with higher fees."""
    return look > 0 and raises_at(look) > raises_at(look - 1)


def pause_after(look: int) -> int:
    """Seconds until the next look."""
    return int(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(look, 10)))


def transfer_of(payment: ReservedPayment, raises: int) -> Transfer:
    """The transaction whose fees have been raised so often.

    Raises:
        BadRequest: If the amount is no whole number of wei.
        TransferRefused: If no chain would take it.
    """
    return Transfer(
        chain_id=payment.chain_id,
        nonce=payment.nonce,
        to=payment.payin_address,
        value_wei=units(payment.amount, "eth"),
        gas=payment.gas,
        fees=Fees(
            max_fee_per_gas=_raised(payment.max_fee_per_gas, raises),
            max_priority_fee_per_gas=_raised(payment.max_priority_fee_per_gas, raises),
        ),
    )


def transfers_of(payment: ReservedPayment) -> list[Transfer]:
    """Every transaction that there can be, the one of its look first."""
    now = raises_at(payment.look)
    others = [raises for raises in range(MOST_RAISES + 1) if raises != now]
    return [transfer_of(payment, raises) for raises in (now, *others)]


def _raised(fee: int, raises: int) -> int:
    """A fee, a quarter higher each time: nodes replace a transaction for a tenth more, and 1 wei of it."""
    return int(fee * 5**raises // 4**raises) + raises
