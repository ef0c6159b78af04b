"""The four services that hold the key to somebody's money: each loads it once, and keeps it until it is restarted."""

import time

import pytest
from dependency_injector import providers
from pydantic import SecretStr

from pgp_config import DeclarationError, DynamicSecret, Memory
from pgp_services import registry
from pgp_services.catalogue import CRITICAL, secrets_of
from pgp_services.names import Service
from pgp_services.rotate_all import statics
from pgp_services.rotate_all.rounds import Rotations
from pgp_services.settings import Settings
from pgp_services.stage.local_fleet import LocalFleet

four = pytest.mark.parametrize("service", CRITICAL, ids=lambda service: service.short)

ACCESS = "AccessSecretVersion"


@pytest.fixture(scope="module")
def fleet():
    """All of the four, each in processes of its own; no test changes what the others see."""
    with LocalFleet(list(CRITICAL), max_age=0.2, hosts="noted") as fleet:
        yield fleet


@pytest.fixture
def rotations(fleet):
    return Rotations(fleet)


def asked(fleet, service):
    """When a service asked the local Secret Manager for its static key."""
    name = CRITICAL[service].name
    return [
        call.at
        for call in fleet.manager.calls.log()
        if (call.method, call.secret) == (ACCESS, name) and call.caller.startswith(service)
    ]


def test_they_are_four():
    assert {service.short: row.name for service, row in CRITICAL.items()} == {
        "ORCHESTRATOR": "SUCCESS_URL_SIGNING_KEY",
        "HOSTPAY1": "TPS_HOSTPAY_SIGNING_KEY",
        "HOSTPAY3": "HOST_WALLET_PRIVATE_KEY",
        "SERVER": "TPS_HOSTPAY_SIGNING_KEY",
    }


@four
def test_the_key_is_loaded_once_and_never_asked_for_while_requests_are_served(
    service, fleet, rotations
):
    before = asked(fleet, service)
    began = time.monotonic()
    dynamic = fleet.manager.calls.count(ACCESS, "LOG_LEVEL", caller=service)
    while fleet.manager.calls.count(ACCESS, "LOG_LEVEL", caller=service) < dynamic + 5:
        rotations.work(service)  # for as long as its dynamic secrets are looked after
    assert {done.status for done in rotations.effects(service).done} == {200}
    assert asked(fleet, service) == before
    assert len(before) == 1  # of its one worker, at start-up; the parent process reads no secret
    assert before[0] < began


@four
def test_the_key_changes_with_a_restart_and_not_before(service):
    name = CRITICAL[service].name
    with LocalFleet([service], max_age=0.2, hosts="noted") as fleet:
        rotations = Rotations(fleet)
        fleet.rotate(name)
        rotated = time.monotonic()
        dynamic = fleet.manager.calls.count(ACCESS, "LOG_LEVEL", caller=service)
        while fleet.manager.calls.count(ACCESS, "LOG_LEVEL", caller=service) < dynamic + 5:
            rotations.work(service)
        rotations.probe(service)
        kept = kept_by(service, fleet, rotations, rotated)
        assert kept.is_kept, kept.shown
        assert kept.is_seen
        assert len(asked(fleet, service)) == 1

        fleet.restart(service)
        restarted = time.monotonic()
        rotations = Rotations(fleet)
        rotations.probe(service)
        changed = kept_by(service, fleet, rotations, restarted)
        assert changed.is_seen
        assert not any(changed.shown.values()), changed.shown
        assert len(asked(fleet, service)) == 2


def kept_by(service, fleet, rotations, since):
    name = CRITICAL[service].name
    effects, ready = rotations.effects(service), fleet.versions(service)[name]
    return statics.kept(name, service, effects, fleet.values, since=since, ready=ready)


@four
def test_the_key_cannot_be_declared_dynamic(service):
    container, name = registry.container_of(service), CRITICAL[service].name
    for bases in ((container,), container.__mro__[1:2]):
        with pytest.raises(DeclarationError) as caught:
            type(
                "Changed",
                bases,
                {
                    "reload_policy": container.reload_policy,
                    name.lower(): DynamicSecret(name, SecretStr),
                },
            )
        assert name in str(caught.value)


@four
def test_the_key_cannot_be_overridden_by_a_dynamic_one(service):
    key = getattr(registry.container_of(service), CRITICAL[service].name.lower())
    with pytest.raises(DeclarationError):
        key.override(DynamicSecret("CHANGENOW_API_KEY", SecretStr))
    settings = providers.Object(
        Settings(service_account="none", google_project="none", google_region="none")
    )
    secrets = registry.container_of(service)(source=Memory({}), settings=settings)
    with pytest.raises(DeclarationError):
        getattr(secrets, CRITICAL[service].name.lower()).override(
            DynamicSecret("CHANGENOW_API_KEY", SecretStr)
        )
    secrets.close()


def test_each_may_read_the_key_and_no_other_key_of_the_four():
    names = {row.name for row in CRITICAL.values()}
    for service, row in CRITICAL.items():
        mine = {each.name for each in secrets_of(service)} & names
        assert row.name in mine
        assert ("HOST_WALLET_PRIVATE_KEY" in mine) == (service is Service.HOSTPAY3)
