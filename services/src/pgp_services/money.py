"""Amounts of money: exact, in units that a chain can move, and always rounded down.

An amount is cut to whole units of its currency (18 digits after the point for ETH, 6 for USDT, as their
contracts have them), never rounded up: what is paid out and the fee together are never more than what
came in, and what is left of a unit is paid to nobody.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from pgp_services.failures import BadRequest, Refused

if TYPE_CHECKING:
    from pgp_services.tokens import Currency

#: Digits after the point that a currency has.
DIGITS: dict[Currency, int] = {"eth": 18, "usdt": 6}


class NothingLeft(Refused):
    """The fee takes all that came in: nothing can be paid out, and somebody has to look at the fee."""


def after_fee(amount: Decimal, percent: Decimal, currency: Currency) -> Decimal:
    """What is left of an amount when a fee is taken off.

    Args:
        amount: How much, 0 or more.
        percent: The fee, 0 to 100.
        currency: In what; the result has no more digits than it has, and is rounded down.

    Raises:
        NothingLeft: If that is less than a unit.
    """
    left = _amount(Fraction(amount) * (100 - Fraction(percent)) / 100, currency)
    if left is None:
        raise NothingLeft("the fee leaves less than can be paid out")
    return left


def cut(amount: Decimal, currency: Currency) -> Decimal:
    """An amount in whole units, rounded down.

    Raises:
        BadRequest: If nothing is left.
    """
    whole = _amount(Fraction(amount), currency)
    if whole is None:
        raise BadRequest("the amount is less than can be paid out", fields=["amount"])
    return whole


def units(amount: Decimal, currency: Currency) -> int:
    """An amount in units: wei for ETH.

    Raises:
        BadRequest: If it is no whole number of them.
    """
    exact = Fraction(amount) * Fraction(10 ** DIGITS[currency])
    if exact.denominator != 1:
        raise BadRequest(f"the amount has more digits than {currency} has", fields=["amount"])
    return exact.numerator


def _amount(exact: Fraction, currency: Currency) -> Decimal | None:
    """In whole units; None for less than one."""
    digits = DIGITS[currency]
    whole = int(exact * 10**digits)
    # From text: arithmetic on Decimals rounds to the context's 28 digits.
    return Decimal(f"{whole}e-{digits}") if whole else None
