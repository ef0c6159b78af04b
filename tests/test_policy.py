"""Freshness and ReloadPolicy: what they accept, and what they say of what they refuse."""

from datetime import timedelta

import pytest

from pgp_config import EVERY_REQUEST, DeclarationError, Freshness, ReloadPolicy
from pgp_config.policy import PROTECTED_NAMES


def test_the_defaults_are_five_seconds_and_one_hour():
    assert (Freshness().max_age, Freshness().max_stale) == (5.0, 3600.0)
    assert EVERY_REQUEST.max_age == 0


def test_durations_may_be_timedeltas_and_are_normalised_to_seconds():
    assert Freshness(timedelta(minutes=1), timedelta(hours=2)) == Freshness(60, 7200)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), timedelta(days=-1), "5", True])
def test_a_duration_that_is_none_is_refused(wrong):
    with pytest.raises(DeclarationError, match="Give seconds as a number, or a timedelta"):
        Freshness(max_age=wrong)


def test_max_stale_cannot_be_shorter_than_max_age():
    with pytest.raises(DeclarationError, match="Raise max_stale"):
        Freshness(max_age=10, max_stale=5)


def test_the_environment_sets_the_default_max_age():
    assert Freshness.from_environ({}) == Freshness()
    assert Freshness.from_environ({"PGP_CONFIG_MAX_AGE": "0.5"}).max_age == 0.5
    assert Freshness.from_environ({"PGP_CONFIG_MAX_AGE": "7200"}).max_stale == 7200


@pytest.mark.parametrize("wrong", ["", "soon", "-1", "nan", "inf"])
def test_a_max_age_in_the_environment_that_is_none_is_refused(wrong):
    with pytest.raises(DeclarationError, match="PGP_CONFIG_MAX_AGE"):
        Freshness.from_environ({"PGP_CONFIG_MAX_AGE": wrong})


# promise 13
@pytest.mark.parametrize(
    "name",
    [
        "HOST_WALLET_PRIVATE_KEY",
        "SUCCESS_URL_SIGNING_KEY",
        "DATABASE_PASSWORD_SECRET",
        "WALLET_MNEMONIC",
        "SEED_PHRASE_2",
        "JWT_SECRET_KEY",
        "host_wallet_private_key",
    ],
)
def test_the_default_policy_protects_what_signs_pays_and_logs_in(name):
    fault = ReloadPolicy().fault_of(name)
    assert fault is not None
    assert name in str(fault)
    assert "StaticSecret" in str(fault)


def test_other_names_may_be_dynamic():
    assert ReloadPolicy().fault_of("CHANGENOW_API_KEY") is None


def test_an_exception_is_by_name_and_needs_a_reason():
    name = "SUCCESS_URL_SIGNING_KEY_SECONDARY"
    assert ReloadPolicy(exceptions={name: "verifies, never signs"}).fault_of(name) is None
    for reason in ("", "  ", None):
        with pytest.raises(DeclarationError, match=name):
            ReloadPolicy(exceptions={name: reason})


def test_more_globs_can_be_protected():
    policy = ReloadPolicy((*PROTECTED_NAMES, "treasury_*"))
    assert policy.fault_of("TREASURY_LIMIT") is not None
    assert policy.fault_of("HOST_WALLET_PRIVATE_KEY") is not None


def test_one_string_in_place_of_a_tuple_is_refused():
    with pytest.raises(DeclarationError, match="tuple of globs"):
        ReloadPolicy("*KEY*")
