"""What probes are told, and what is not told."""

import json

import pytest

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    Freshness,
    SecretContainer,
    SecretForbidden,
    SecretUnavailable,
    StaticSecret,
)
from pgp_config.health import (
    liveness,
    paths_of,
    readiness,
    refuse_non_container,
    refuse_taken,
    unavailable,
)
from pgp_config.status.snapshot import state_of

CANARY = "canary-0451-value"


class Service(SecretContainer):
    key = DynamicSecret("HEALTH_KEY", freshness=Freshness(max_age=5, max_stale=60))
    fixed = StaticSecret("HEALTH_FIXED")


@pytest.fixture
def secrets(source, make):
    source.add("HEALTH_KEY", CANARY)
    source.add("HEALTH_FIXED", CANARY)
    return make(Service)


@pytest.fixture
def loaded(secrets):
    secrets.load()
    return secrets


def test_a_loaded_service_is_alive_and_ready(loaded, clock):
    clock.advance(1.23456)
    secrets = [
        {"name": "HEALTH_FIXED", "kind": "static", "state": "ok", "version": 1},
        {"name": "HEALTH_KEY", "kind": "dynamic", "state": "ok", "version": 1},
    ]
    secrets = [{**row, "age_seconds": 1.235} for row in secrets]
    assert liveness(loaded) == (200, {"status": "alive", "secrets": secrets})
    assert readiness(loaded) == (200, {"status": "ready", "secrets": secrets})


def test_a_service_that_was_not_loaded_is_alive_and_not_ready(secrets, source):
    status, content = readiness(secrets)
    assert (status, content["status"]) == (503, "not ready")
    assert [(row["version"], row["age_seconds"]) for row in content["secrets"]] == [
        (None, None)
    ] * 2
    assert liveness(secrets).status == 200
    assert source.calls == []


def fail_once(secrets, source, clock):
    """Have one refresh fail, and say nothing more."""
    source.fail("HEALTH_KEY", SecretForbidden("the cause-canary", remedy="Grant it."))
    clock.advance(6)
    secrets.key()


# promise 9
def test_a_stale_secret_is_ready_until_max_stale(loaded, source, clock):
    fail_once(loaded, source, clock)
    assert readiness(loaded).status == 200
    assert readiness(loaded).content["secrets"][1]["state"] == "stale"
    clock.advance(61)
    assert readiness(loaded).status == 503
    assert readiness(loaded).content["secrets"][1]["state"] == "missing"
    assert liveness(loaded).status == 200


def test_states_are_those_of_the_status_page_where_somebody_should_do_something(
    loaded, source, clock
):
    def states():
        pages = (liveness(loaded), readiness(loaded))
        assert [page.status for page in pages] == [200, 200]
        rows = [page.content["secrets"][1]["state"] for page in pages]
        (row,) = (row for row in loaded.status() if row.name == "HEALTH_KEY")
        return {*rows, state_of(row)}

    source.add("HEALTH_KEY", "")
    clock.advance(6)
    loaded.key()
    assert states() == {"rejected"}
    source.add("HEALTH_KEY", "k-3")
    loaded.key.refresh()
    source.fail("HEALTH_KEY", SecretForbidden("no", remedy="Grant it."))
    loaded.key.refresh()
    assert states() == {"failing"}
    clock.advance(6)
    assert states() == {"stale"}


def test_a_closed_container_is_not_ready(loaded):
    loaded.close()
    assert readiness(loaded).status == 503


# promise 15
def test_neither_values_nor_causes_are_told(loaded, source, clock):
    fail_once(loaded, source, clock)
    text = json.dumps([liveness(loaded), readiness(loaded)])
    assert CANARY not in text
    assert "cause-canary" not in text


def test_answers_are_not_cached_and_a_503_says_when_to_try_again(loaded):
    assert liveness(loaded).headers == {"Cache-Control": "no-store"}
    loaded.close()
    assert readiness(loaded).headers == {"Cache-Control": "no-store", "Retry-After": "2"}


def test_an_unusable_secrets_cause_is_logged_and_not_told(caplog):
    answer = unavailable(SecretUnavailable("the cause", remedy="Mend it.", secret="HEALTH_KEY"))
    assert answer == (503, {"error": "temporarily unavailable"})
    assert "HEALTH_KEY: the cause. Mend it. (pgp-config explain " in caplog.text


def test_where_the_pages_are():
    assert paths_of(False) is None
    assert paths_of(True) == ("", "/healthz", "/readyz")
    assert paths_of("/internal") == ("/internal", "/internal/healthz", "/internal/readyz")


@pytest.mark.parametrize("place", ["internal", "/internal/", "/", "", None, 1])
def test_a_place_that_is_none_is_refused(place):
    with pytest.raises(DeclarationError, match=r"no place for the health pages.*'/internal'"):
        paths_of(place)


def test_a_place_that_is_taken_is_refused():
    refuse_taken(None, ["/healthz"])
    refuse_taken(paths_of("/internal"), ["/healthz", "/internal"])
    with pytest.raises(DeclarationError, match="has a page at /readyz already"):
        refuse_taken(paths_of(True), ["/", "/readyz"])


def test_a_container_is_told_from_what_is_none(secrets):
    refuse_non_container(secrets)
    for other in (Service, None, "secrets", secrets.key):
        with pytest.raises(DeclarationError, match="in place of a container"):
            refuse_non_container(other)
