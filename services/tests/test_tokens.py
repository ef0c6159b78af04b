"""Tokens: signed, of one kind, in time, and without floats."""

import base64
import contextlib
import hashlib
import hmac
import json
import traceback
import zlib
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer
from pydantic import SecretStr, ValidationError

from pgp_services import tokens
from pgp_services.failures import BadToken
from pgp_services.tokens import (
    MAX_TOKEN_LENGTH,
    Accepted,
    Claims,
    EstimateAnswer,
    EstimateRequest,
    PayoutRequest,
    plain,
    sign,
    verify,
    verify_one_of,
)

KEY = SecretStr("5f" * 32)
NOW = 1_700_000_000

CLAIMS = {
    "user_id": 12345,
    "closed_channel_id": -1001234567890,
    "wallet_address": "0xAbC0000000000000000000000000000000000001",
    "payout_currency": "xmr",
    "payout_network": "xmr",
    "adjusted_amount": "100.10",
    "swap_currency": "usdt",
    "payout_mode": "instant",
    "actual_eth_amount": "0.000000000000000001",
    "timestamp": NOW,
}


def request_with(**changes):
    return EstimateRequest.model_validate({**CLAIMS, **changes})


def signed(claims, key=KEY, salt="pgp.split1.split2.estimate-request", **options):
    serializer = URLSafeSerializer(
        key.get_secret_value(),
        salt=salt,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256, **options},
    )
    return serializer.dumps(claims)


def refusal(token, now=NOW, kind=EstimateRequest, key=KEY):
    with pytest.raises(BadToken) as caught:
        verify(kind, token, key, now)
    return caught.value


def test_a_token_comes_back_as_it_was_signed():
    claims = request_with()
    assert verify(EstimateRequest, sign(claims, KEY), KEY, NOW) == claims


def test_the_answers_token_comes_back_as_it_was_signed():
    answer = EstimateAnswer(
        **request_with().model_dump(exclude={"adjusted_amount"}),
        from_amount=Decimal("100.10"),
        to_amount_post_fee=Decimal("0.5"),
        deposit_fee=Decimal(0),
        withdrawal_fee=Decimal("0.0001"),
    )
    assert verify(EstimateAnswer, sign(answer, KEY), KEY, NOW) == answer


def test_the_signature_is_hmac_sha256_as_the_module_says():
    token = sign(request_with(), KEY)
    payload, _, signature = token.rpartition(".")
    derived = hmac.digest(b"5f" * 32, b"pgp.split1.split2.estimate-request", "sha256")
    expected = hmac.digest(derived, payload.encode(), "sha256")
    assert base64.urlsafe_b64decode(signature + "=") == expected


def test_amounts_travel_as_strings_of_digits():
    payload = sign(request_with(adjusted_amount="0.00000001"), KEY).split(".")[-2]
    raw = base64.urlsafe_b64decode(payload + "==")
    content = json.loads(zlib.decompress(raw) if raw[:1] == b"x" else raw)
    assert content["adjusted_amount"] == "0.00000001"
    assert content["actual_eth_amount"] == "0.000000000000000001"
    assert plain(Decimal("1E-8")) == "0.00000001"
    assert plain(Decimal("1E+3")) == "1000"


@given(amount=st.decimals("0.000000000000000001", "999999999999", places=18))
@settings(max_examples=50, deadline=None)
def test_no_digit_of_an_amount_is_lost(amount):
    claims = request_with(adjusted_amount=plain(amount))
    assert verify(EstimateRequest, sign(claims, KEY), KEY, NOW).adjusted_amount == amount


@pytest.mark.parametrize(
    "amount",
    [100.1, 1e-8, 7, True, None, "nan", "NaN", "inf", "-Infinity", "-1", "", "1,5", "٣", []],
)
def test_an_amount_that_is_no_decimal_string_is_refused(amount):
    refusal(signed({**CLAIMS, "adjusted_amount": amount}))
    refusal(signed({**CLAIMS, "actual_eth_amount": amount}))


def test_an_amount_with_an_absurd_exponent_is_refused():
    refusal(signed({**CLAIMS, "adjusted_amount": "1e999999"}))
    refusal(signed({**CLAIMS, "adjusted_amount": "1e-999999"}))


def test_nothing_is_swapped_for_nothing():
    refusal(signed({**CLAIMS, "adjusted_amount": "0"}))


def test_json_constants_that_are_no_numbers_are_refused():
    refusal(signed({**CLAIMS, "adjusted_amount": float("nan")}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", "12345"),
        ("user_id", True),
        ("user_id", 1.0),
        ("closed_channel_id", None),
        ("wallet_address", ""),
        ("wallet_address", "0x1 0x2"),
        ("wallet_address", "x" * 129),
        ("payout_currency", "x/../y"),
        ("payout_network", "eth&type=reverse"),
        ("swap_currency", "btc"),
        ("payout_mode", "later"),
        ("timestamp", str(NOW)),
        ("surplus", 1),
    ],
)
def test_claims_that_do_not_fit_are_refused(field, value):
    refusal(signed({**CLAIMS, field: value}))


@pytest.mark.parametrize("field", sorted(CLAIMS))
def test_a_missing_claim_is_refused_and_named_by_no_default(field):
    refusal(signed({name: value for name, value in CLAIMS.items() if name != field}))


def test_a_token_that_is_no_object_is_refused():
    refusal(signed([1, 2]))


@pytest.mark.parametrize("age", [0, 24 * 3600, -5 * 60])
def test_a_token_is_valid_from_5_minutes_ahead_to_24_hours_back(age):
    assert verify(EstimateRequest, sign(request_with(), KEY), KEY, NOW + age)


def test_an_expired_token_is_refused():
    assert "expired" in str(refusal(sign(request_with(), KEY), NOW + 24 * 3600 + 1))


def test_a_token_from_the_future_is_refused():
    assert "future" in str(refusal(sign(request_with(), KEY), NOW - 5 * 60 - 1))


def test_another_key_another_purpose_and_another_digest_are_refused():
    refusal(sign(request_with(), SecretStr("aa" * 32)))
    refusal(signed(CLAIMS, salt="pgp.split2.split1.estimate-answer"))
    refusal(signed(CLAIMS, digest_method=hashlib.sha1))
    refusal(sign(request_with(), KEY), kind=EstimateAnswer)


@pytest.mark.parametrize(
    "token", ["", ".", "a.b", "..", "\ud800.x", "é.x", "x" * (MAX_TOKEN_LENGTH + 1)]
)
def test_garbage_is_refused(token):
    refusal(token)


@pytest.mark.parametrize("index", [0, 1, 10, -1, -2, -20])
def test_a_changed_character_is_refused(index):
    token = list(sign(request_with(), KEY))
    token[index] = "A" if token[index] != "A" else "Q"
    refusal("".join(token))


def test_deep_and_undeflatable_payloads_are_refused():
    def resigned(payload):
        derived = hmac.digest(
            KEY.get_secret_value().encode(), b"pgp.split1.split2.estimate-request", "sha256"
        )
        tag = base64.urlsafe_b64encode(hmac.digest(derived, payload, "sha256")).rstrip(b"=")
        return (payload + b"." + tag).decode()

    deep = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=")
    refusal(resigned(deep))
    refusal(resigned(b"." + base64.urlsafe_b64encode(b"not deflated").rstrip(b"=")))
    refusal(resigned(base64.urlsafe_b64encode(b"\xff\xfe").rstrip(b"=")))


def test_a_refusal_holds_neither_the_token_nor_the_key_nor_a_cause():
    wallet = "0xCANARYCANARYCANARY"
    token = signed({**CLAIMS, "wallet_address": wallet, "user_id": "bad"})
    for bad in (token, token[:-1] + ("A" if token[-1] != "A" else "Q")):
        error = refusal(bad)
        shown = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
        # The frame of this test's own helper holds them; those of the package do not.
        frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
        inside = "".join(str(f.locals) for f in frames if "pgp_services" in f.filename)
        assert error.__cause__ is None
        assert error.__context__ is None
        assert bad not in str(error)
        assert bad not in inside
        assert wallet not in inside + str(error)
        assert KEY.get_secret_value() not in shown


def test_models_do_not_show_what_they_refuse():
    with pytest.raises(ValidationError) as caught:
        request_with(wallet_address="0xCANARY CANARY")
    assert "CANARY" not in str(caught.value)


# -- the money flow's kinds ------------------------------------------------------------------

OTHER, ANOTHER = SecretStr("aa" * 32), SecretStr("bb" * 32)


def payout_with(**changes):
    claims = {
        "payout_id": "0a" * 32,
        "wallet_address": "0xWALLET",
        "payout_currency": "xmr",
        "payout_network": "xmr",
        "swap_currency": "eth",
        "amount": "0.1",
        "pay_by": NOW,
        "timestamp": NOW,
    }
    return PayoutRequest.model_validate({**claims, **changes})


def test_every_kind_has_a_salt_of_its_own():
    kinds = [kind.kind for kind in all_kinds()]
    assert len(kinds) == len(set(kinds)) >= 17


def all_kinds(base=Claims):
    for kind in base.__subclasses__():
        if "kind" in vars(kind):
            yield kind
        yield from all_kinds(kind)


def test_a_token_verifies_with_either_of_two_keys():
    """Old fault: whoever replaced a key refused every token of the day."""
    for key in (KEY, OTHER):
        token = sign(payout_with(), key)
        for keys in ([KEY, OTHER], [OTHER, KEY], (OTHER, KEY, ANOTHER)):
            assert verify(PayoutRequest, token, keys, NOW) == payout_with()
    refusal(sign(payout_with(), ANOTHER), kind=PayoutRequest, key=[KEY, OTHER])
    refusal(sign(payout_with(), KEY), kind=PayoutRequest, key=[])


def test_two_keys_do_not_make_two_kinds_one():
    refusal(sign(request_with(), OTHER), kind=PayoutRequest, key=[KEY, OTHER])


@pytest.mark.parametrize("signer", [KEY, OTHER, ANOTHER])
def test_the_work_is_the_same_whichever_key_fits(monkeypatch, signer):
    tried = []
    real = tokens._fits

    def counted(serializer, token):
        tried.append(serializer)
        return real(serializer, token)

    monkeypatch.setattr(tokens, "_fits", counted)
    token = sign(payout_with(), signer)
    with contextlib.suppress(BadToken):
        verify(PayoutRequest, token, [KEY, OTHER], NOW)
    assert len(tried) == 2


def test_the_times_hold_for_each_key():
    for key in (KEY, OTHER):
        token = sign(payout_with(), key)
        assert "expired" in str(
            refusal(token, NOW + 24 * 3600 + 1, kind=PayoutRequest, key=[KEY, OTHER])
        )
        assert "future" in str(refusal(token, NOW - 301, kind=PayoutRequest, key=[KEY, OTHER]))


def one_of(token, now=NOW):
    accepted = [Accepted(PayoutRequest, [KEY, OTHER]), Accepted(EstimateRequest, ANOTHER)]
    return verify_one_of(accepted, token, now)


def test_a_token_may_be_of_several_kinds_each_with_its_own_keys():
    assert one_of(sign(payout_with(), OTHER)) == payout_with()
    assert one_of(sign(request_with(), ANOTHER)) == request_with()
    for wrong in (sign(payout_with(), ANOTHER), sign(request_with(), KEY), "x.y"):
        with pytest.raises(BadToken, match="not signed by us"):
            one_of(wrong)


@pytest.mark.parametrize("field", ["user_id", "closed_channel_id"])
def test_a_telegram_id_has_at_most_52_significant_bits(field):
    for good in (2**52, -(2**52)):
        token = signed({**CLAIMS, field: good})
        assert getattr(verify(EstimateRequest, token, KEY, NOW), field) == good
    for bad, why in ((2**52 + 1, "less_than_equal"), (-(2**52) - 1, "greater_than_equal")):
        assert f"claims are malformed ({why})" in str(refusal(signed({**CLAIMS, field: bad})))


def test_a_kind_whose_signature_fits_says_what_is_wrong_with_the_claims():
    token = signed({**CLAIMS, "user_id": "x"}, key=ANOTHER)
    with pytest.raises(BadToken, match=r"claims are malformed \(int_type\)"):
        one_of(token)
    with pytest.raises(BadToken, match="expired"):
        one_of(sign(request_with(), ANOTHER), NOW + 24 * 3600 + 1)


def test_a_refusal_of_several_kinds_holds_neither_the_token_nor_a_key():
    token = sign(request_with(wallet_address="0xCANARYCANARYCANARY"), KEY)
    with pytest.raises(BadToken) as caught:
        one_of(token)
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    inside = "".join(
        str(frame.locals) for frame in trace.stack if "pgp_services" in frame.filename
    )
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert token not in inside
    for key in (KEY, OTHER, ANOTHER):
        assert key.get_secret_value() not in inside


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payout_id", "0a"),
        ("payout_id", "0A" * 32),
        ("amount", "0"),
        ("amount", 0.1),
        ("pay_by", "soon"),
        ("swap_currency", "btc"),
        ("surplus", 1),
    ],
)
def test_a_payouts_claims_are_strict(field, value):
    claims = payout_with().model_dump(mode="json")
    token = signed({**claims, field: value}, salt=f"pgp.{PayoutRequest.kind}")
    refusal(token, kind=PayoutRequest)
