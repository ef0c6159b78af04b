"""Static secrets at a version that the deployment names, whatever the newest is."""

import pytest

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    KeyRing,
    SecretContainer,
    SecretDisabled,
    SecretNotFound,
    StartupError,
    StaticSecret,
)


class Service(SecretContainer):
    key = DynamicSecret("PINNED_KEY", str)
    ring = KeyRing("PINNED_RING")
    fixed = StaticSecret("PINNED_SIGNING_KEY", str)
    other = StaticSecret("PINNED_OTHER", str)


@pytest.fixture
def filled(source):
    for name in ("PINNED_KEY", "PINNED_RING", "PINNED_SIGNING_KEY", "PINNED_OTHER"):
        source.add(name, f"{name}-1")
        source.add(name, f"{name}-2")
    return source


def test_a_pinned_secret_is_loaded_at_its_version_and_the_others_at_the_newest(filled, make):
    secrets = make(Service, pinned={"PINNED_SIGNING_KEY": 1})
    secrets.load()
    assert (secrets.fixed(), secrets.fixed.version()) == ("PINNED_SIGNING_KEY-1", 1)
    assert (secrets.other(), secrets.key()) == ("PINNED_OTHER-2", "PINNED_KEY-2")
    assert ("PINNED_SIGNING_KEY", "latest") not in filled.calls


async def test_also_from_a_coroutine(filled, make):
    secrets = make(Service, pinned={"PINNED_SIGNING_KEY": 1})
    await secrets.aload()
    assert secrets.fixed.version() == 1


def test_the_environment_says_so_for_a_process(filled, make, monkeypatch):
    monkeypatch.setenv("PGP_CONFIG_PINNED", " PINNED_SIGNING_KEY=1 ,PINNED_OTHER=2")
    secrets = make(Service)
    secrets.load()
    assert (secrets.fixed.version(), secrets.other.version()) == (1, 2)
    # A second container of the process has pins of its own.
    second = make(Service, pinned={})
    second.load()
    assert second.fixed.version() == 2


@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_variable_pins_nothing(filled, make, monkeypatch, nothing):
    monkeypatch.setenv("PGP_CONFIG_PINNED", nothing)
    secrets = make(Service)
    secrets.load()
    assert secrets.fixed.version() == 2


@pytest.mark.parametrize(
    "text", ["CANARY", "CANARY=0", "CANARY=latest", "CANARY=1,CANARY=2", "CANARY=1,", "=1"]
)
def test_a_malformed_variable_is_refused_and_not_shown(source, make, monkeypatch, text):
    monkeypatch.setenv("PGP_CONFIG_PINNED", text)
    with pytest.raises(DeclarationError, match="PGP_CONFIG_PINNED is no list") as raised:
        make(Service)
    assert "CANARY" not in str(raised.value)


def test_every_wrong_pin_is_named_at_once(source, make):
    wrong = {"PINNED_KEY": 1, "PINNED_RING": 1, "PINNED_SIGNIG_KEY": 1, "PINNED_OTHER": 0}
    with pytest.raises(DeclarationError) as raised:
        make(Service, pinned=wrong)
    told = str(raised.value)
    assert "4 faults" in told
    assert "PINNED_KEY" in told
    assert "PINNED_RING" in told
    assert "is dynamic: its rotations would never be seen" in told
    assert "PINNED_SIGNIG_KEY" in told
    assert "does not declare it" in told
    assert "no version number" in told


@pytest.mark.parametrize("number", [True, "1", 1.0, -1])
def test_a_number_is_a_number(source, make, number):
    with pytest.raises(DeclarationError, match="no version number"):
        make(Service, pinned={"PINNED_OTHER": number})


def test_no_other_version_takes_the_place_of_a_pinned_one(filled, make):
    filled.fail(
        "PINNED_SIGNING_KEY", SecretDisabled("is disabled", remedy="Enable it."), version=1
    )
    secrets = make(Service, pinned={"PINNED_SIGNING_KEY": 1})
    with pytest.raises(StartupError) as raised:
        secrets.load()
    assert [type(fault) for fault in raised.value.faults] == [SecretDisabled]


def test_a_version_that_does_not_exist_is_told_at_start_up(filled, make):
    secrets = make(Service, pinned={"PINNED_SIGNING_KEY": 9})
    with pytest.raises(StartupError) as raised:
        secrets.load()
    assert [type(fault) for fault in raised.value.faults] == [SecretNotFound]
