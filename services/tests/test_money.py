"""Amounts: exact, in whole units, and never rounded up."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgp_services.failures import BadRequest
from pgp_services.money import DIGITS, NothingLeft, after_fee, cut, units

AMOUNTS = st.decimals("1", "1e29", places=18)
FEES = st.decimals("0", "99.99", places=6)


@pytest.mark.parametrize(
    ("amount", "fee", "currency", "left"),
    [
        ("100.10", "3.5", "usdt", "96.596500"),
        ("0.000001", "0", "usdt", "0.000001"),
        ("1", "33.333333", "usdt", "0.666666"),
        ("0.1", "3", "eth", "0.097"),
        ("1.000000000000000001", "50", "eth", "0.5"),
        ("123456789012345678901234567.89", "0.1", "usdt", "123333332223333333222333333.322110"),
    ],
)
def test_a_fee_is_taken_off_exactly(amount, fee, currency, left):
    assert after_fee(Decimal(amount), Decimal(fee), currency) == Decimal(left)


@given(amount=AMOUNTS, fee=FEES, currency=st.sampled_from(sorted(DIGITS)))
@settings(max_examples=100, deadline=None)
def test_what_is_left_and_the_fee_are_never_more_than_came_in(amount, fee, currency):
    left = after_fee(amount, fee, currency)
    with localcontext(prec=200):
        exact = amount * (100 - fee) / 100
        assert exact - Decimal(10) ** -DIGITS[currency] < left <= exact
    assert -left.as_tuple().exponent <= DIGITS[currency]


@pytest.mark.parametrize(
    ("amount", "fee", "currency"),
    [("100", "100", "usdt"), ("0.0000009", "0", "usdt"), ("0.000001", "1", "usdt")],
)
def test_less_than_a_unit_is_nothing(amount, fee, currency):
    with pytest.raises(NothingLeft):
        after_fee(Decimal(amount), Decimal(fee), currency)


def test_less_than_a_unit_is_not_cut():
    with pytest.raises(BadRequest) as caught:
        cut(Decimal("0.0000009"), "usdt")
    assert caught.value.fields == ("amount",)


def test_amounts_are_cut_down():
    assert cut(Decimal("0.1234569"), "usdt") == Decimal("0.123456")
    assert cut(Decimal("0.1234567890123456789"), "eth") == Decimal("0.123456789012345678")


def test_an_amount_in_units_is_the_same_amount():
    assert units(Decimal("1.5"), "eth") == 1_500_000_000_000_000_000
    assert units(Decimal("1.5"), "usdt") == 1_500_000
    with pytest.raises(BadRequest):
        units(Decimal("0.0000001"), "usdt")
