"""What services conclude from ChangeNow's exchanges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_services.failures import Refused

if TYPE_CHECKING:
    from pgp_services.clients.changenow import Exchange
    from pgp_services.tokens import Currency

#: Words for an exchange that nobody has paid for.
UNPAID = frozenset({"new", "waiting"})

#: The word for one that has paid out, and those for one that never will.
FINISHED = "finished"
FAILED = frozenset({"failed", "refunded", "expired"})


class NotPaidInEth(Refused):
    """The host wallet pays in ETH only, and this is in another currency: somebody has to look."""


class ExchangeFailed(Refused):
    """The exchange has ended without a payout, or cannot be paid for: somebody has to look."""


def require_eth(currency: Currency) -> None:
    """See that the host wallet pays in a currency.

    Raises:
        NotPaidInEth: If it does not.
    """
    if currency != "eth":
        raise NotPaidInEth(f"the host wallet pays in ETH only, and not in {currency}")


def require_payable(exchange: Exchange) -> None:
    """See that a plain transfer pays for an exchange.

    Raises:
        ExchangeFailed: If the transfer would have to say something besides.
    """
    if exchange.payin_extra_id is not None:
        raise ExchangeFailed("the exchange asks for an extra id, which Ethereum has none of")


def require_alive(status: str) -> None:
    """See that an exchange has not failed.

    Raises:
        ExchangeFailed: If it has.
    """
    if status in FAILED:
        raise ExchangeFailed(f"the exchange is {status}")
