"""Freshness and ReloadPolicy: what they accept, and what they say of what they refuse."""

from datetime import timedelta

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    Freshness,
    ReloadPolicy,
    SecretContainer,
    StaticSecret,
)
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


def test_the_environment_sets_the_default_max_stale():
    bounds = Freshness.from_environ({"PGP_CONFIG_MAX_AGE": "1", "PGP_CONFIG_MAX_STALE": "30"})
    assert bounds == Freshness(1, 30)
    assert Freshness.from_environ({"PGP_CONFIG_MAX_STALE": "60"}) == Freshness(max_stale=60)
    with pytest.raises(DeclarationError, match="is shorter than max_age"):
        Freshness.from_environ({"PGP_CONFIG_MAX_AGE": "5", "PGP_CONFIG_MAX_STALE": "1"})


@pytest.mark.parametrize("wrong", ["", "soon", "-1", "nan", "inf"])
@pytest.mark.parametrize("variable", ["PGP_CONFIG_MAX_AGE", "PGP_CONFIG_MAX_STALE"])
def test_a_duration_in_the_environment_that_is_none_is_refused(variable, wrong):
    with pytest.raises(DeclarationError, match=variable):
        Freshness.from_environ({variable: wrong})


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


def test_a_name_stays_protected_where_an_exception_lets_it_be_dynamic():
    policy = ReloadPolicy(exceptions={"Reset_Password": "it opens a test account"})
    assert policy.fault_of("Reset_Password") is None
    assert policy.protects("Reset_Password")
    assert not policy.protects("LOG_LEVEL")


def test_one_string_in_place_of_a_tuple_is_refused():
    with pytest.raises(DeclarationError, match="tuple of globs"):
        ReloadPolicy("*KEY*")


def test_a_policy_may_list_the_names_that_can_be_declared():
    policy = ReloadPolicy(allowed={"API_KEY": "dynamic", "DATABASE_NAME": "static"})
    assert policy.fault_of("API_KEY") is None
    assert policy.fault_of("DATABASE_NAME", dynamic=False) is None
    assert "allows it as static only" in str(policy.fault_of("DATABASE_NAME"))
    assert "StaticSecret" in str(policy.fault_of("DATABASE_NAME"))
    assert "none of the 2 names" in str(policy.fault_of("OTHER", dynamic=False))


def test_a_list_does_not_lift_the_protection_of_a_name():
    listed = {"WALLET_PRIVATE_KEY": "dynamic"}
    assert "protected" in str(ReloadPolicy(allowed=listed).fault_of("WALLET_PRIVATE_KEY"))
    excepted = ReloadPolicy(allowed=listed, exceptions={"WALLET_PRIVATE_KEY": "a test network's"})
    assert excepted.fault_of("WALLET_PRIVATE_KEY") is None


def test_a_container_that_declares_what_its_policy_does_not_list_is_not_made():
    attributes = {
        "reload_policy": ReloadPolicy(allowed={"API_KEY": "dynamic"}),
        "api_key": StaticSecret("API_KEY"),
        "other": DynamicSecret("OTHER"),
    }
    with pytest.raises(DeclarationError) as caught:
        type("Careless", (SecretContainer,), attributes)
    assert "API_KEY" in str(caught.value)
    assert "OTHER" in str(caught.value)


def test_a_list_with_another_class_is_refused():
    with pytest.raises(DeclarationError, match="API_KEY"):
        ReloadPolicy(allowed={"API_KEY": "sometimes"})
