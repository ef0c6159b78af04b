"""Amounts of money: exact, in units that a chain can move, and always rounded down.

An amount is cut to whole units of its currency (18 digits after the point for ETH, 6 for USDT, as their
contracts have them), never rounded up: what is paid out and the fee together are never more than what
came in, and what is left of a unit is paid to nobody.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from pgp_services.failures import BadRequest

if TYPE_CHECKING:
    from pgp_services.tokens import Currency

#: Digits after the point that a currency has.
DIGITS: dict[Currency, int] = {"eth": 18, "usdt": 6}


def after_fee(amount: Decimal, percent: Decimal, currency: Currency) -> Decimal:
    """What is left of an amount when a fee is taken off.

    Args:
        amount: How much, 0 or more.
        percent: The fee, 0 to 100.
        currency: In what; the result has no more digits than it has, and is rounded down.

    Raises:
        BadRequest: If nothing is left.
    """
    return _amount(Fraction(amount) * (100 - Fraction(percent)) / 100, currency)


def cut(amount: Decimal, currency: Currency) -> Decimal:
    """An amount in whole units, rounded down.

    Raises:
        BadRequest: If nothing is left.
    """
    return _amount(Fraction(amount), currency)


def units(amount: Decimal, currency: Currency) -> int:
    """An amount in units: wei for ETH.

    Raises:
        BadRequest: If it is no whole number of them.
    """
    exact = Fraction(amount) * Fraction(10 ** DIGITS[currency])
    if exact.denominator != 1:
        raise BadRequest(f"the amount has more digits than {currency} has", fields=["amount"])
    return exact.numerator


def _amount(exact: Fraction, currency: Currency) -> Decimal:
    digits = DIGITS[currency]
    whole = int(exact * 10**digits)
    if not whole:
        raise BadRequest("the amount is less than can be paid out", fields=["amount"])
    # From text: arithmetic on Decimals rounds to the context's 28 digits.
    return Decimal(f"{whole}e-{digits}")
