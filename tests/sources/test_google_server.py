"""Either transport against a local Secret Manager, over a real connection."""

import random
import re
from urllib.parse import urlencode

import pytest

from pgp_config import (
    RejectedVersion,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)
from pgp_config.emulator import SecretManagerEmulator
from pgp_config.secret import Decoder
from pgp_config.sources import GoogleSecretManager, source_from_url
from pgp_config.sources.google import administration


@pytest.fixture
def emulator():
    with SecretManagerEmulator("local") as emulator:
        emulator.add("KEY", "canary")
        yield emulator


@pytest.fixture(params=["grpc", "rest"])
def address(request, emulator):
    """The options that lead to the emulator."""
    endpoint = emulator.endpoint if request.param == "grpc" else emulator.rest_endpoint
    return {"endpoint": endpoint, "transport": request.param}


@pytest.fixture
def connect(address, monkeypatch):
    """Sources on the emulator, closed after the test; their pauses before a retry last 0 s."""
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)
    made = []

    def make(**options):
        made.append(GoogleSecretManager("local", **address, **options))
        return made[-1]

    yield make
    for source in made:
        source.close()


def test_a_fetch_is_one_access_and_never_a_list(emulator, connect):
    source = connect()
    for _ in range(3):
        assert source.fetch("KEY").data == b"canary"
    assert {call.method for call in emulator.calls.log()} == {"AccessSecretVersion"}
    assert emulator.calls.count(secret="KEY") == 3


# promise 8
@pytest.mark.parametrize(
    "code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED"]
)
def test_what_may_pass_is_tried_again(code, emulator, connect):
    emulator.inject(code, times=2)
    assert connect().fetch("KEY").version == 1
    assert emulator.calls.count() == 3


# promise 8
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NOT_FOUND", SecretNotFound),
        ("PERMISSION_DENIED", SecretForbidden),
        ("UNAUTHENTICATED", SecretForbidden),
        ("INVALID_ARGUMENT", SecretUnavailable),
        ("DATA_LOSS", SecretUnavailable),
    ],
)
def test_what_will_not_pass_is_asked_once(code, kind, emulator, connect):
    emulator.inject(code)
    with pytest.raises(kind) as caught:
        connect().fetch("KEY")
    assert type(caught.value) is kind
    assert emulator.calls.count() == 1


# promise 8
def test_a_server_that_does_not_answer_is_given_up_in_time(emulator, connect):
    source = connect(attempt_timeout=0.05, total_timeout=0.1)
    connect().fetch("KEY")
    hold = emulator.hold("KEY")
    with pytest.raises(SourceTimeout, match=r"KEY: Secret Manager did not answer within 0\.1 s"):
        source.fetch("KEY")
    hold.release()


def test_a_stopped_server_is_an_outage_and_a_restarted_one_is_found_again(emulator, connect):
    source = connect(total_timeout=30)  # gRPC's own pause between connections grows to two minutes
    source.fetch("KEY")
    emulator.stop()
    with pytest.raises(SecretUnavailable, match="UNAVAILABLE") as caught:
        connect(attempt_timeout=0.1, total_timeout=0.1).fetch("KEY")
    assert type(caught.value) is SecretUnavailable
    emulator.start()
    assert source.fetch("KEY").data == b"canary"


def test_a_damaged_checksum_is_handed_on_for_the_decoder_to_refuse(emulator, connect):
    emulator.corrupt("KEY")
    payload = connect().fetch("KEY")
    with pytest.raises(RejectedVersion, match="does not match its crc32c") as caught:
        Decoder(str).decode(payload)
    assert "canary" not in str(caught.value)


def test_a_lagging_latest_says_its_own_number(emulator, connect):
    source = connect()
    emulator.add("KEY", "canary-2")
    emulator.lag("KEY", 1)
    assert source.fetch("KEY").version == 1
    assert source.fetch("KEY", 2).data == b"canary-2"


def test_a_global_secret_is_none_of_a_location(emulator, connect):
    with pytest.raises(SecretNotFound, match="location europe-west1"):
        connect(location="europe-west1").fetch("KEY")


def test_a_disabled_newest_version_is_told_with_its_number(emulator, connect):
    emulator.add("KEY", "canary")
    emulator.disable("KEY", 2)
    source = connect()
    with pytest.raises(SecretDisabled, match=r"^KEY: the newest version, 2, is disabled or "):
        source.fetch("KEY")
    with pytest.raises(SecretDisabled, match=r"^KEY: version 2 is disabled or "):
        source.fetch("KEY", 2)


def test_a_local_server_that_is_not_there_is_named_and_google_is_not(
    emulator, connect, address, monkeypatch
):
    monkeypatch.setattr(administration, "TOTAL_TIMEOUT", 0.1)
    source = connect(attempt_timeout=0.1, total_timeout=0.1)
    emulator.stop()
    endpoint = re.escape(address["endpoint"])
    told = f"Look whether the local Secret Manager runs at {endpoint}: start it"
    with pytest.raises(SecretUnavailable, match=told) as caught:
        source.fetch("KEY")
    assert "google.com" not in str(caught.value)
    with pytest.raises(SecretUnavailable, match=told):
        source.administration().describe("KEY")


def test_a_secret_without_a_version_is_not_found(emulator, connect):
    emulator.create("EMPTY")
    with pytest.raises(SecretNotFound, match="EMPTY: does not exist"):
        connect().fetch("EMPTY")


def test_a_proxy_of_the_environment_is_not_asked_for_a_local_server(connect, monkeypatch):
    for variable in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert connect().fetch("KEY").data == b"canary"


def test_the_source_says_who_asks(emulator, connect):
    connect(user_agent="PGP_SPLIT2_v1").fetch("KEY")
    connect().fetch("KEY")
    named, unnamed = (call.caller for call in emulator.calls.log())
    assert named == f"PGP_SPLIT2_v1 {unnamed}"
    assert emulator.calls.count("AccessSecretVersion", "KEY", caller="PGP_SPLIT2_v1") == 1
    assert emulator.calls.by_secret(caller="PGP_SPLIT2_v1") == {"KEY": 1}


def test_a_url_leads_there(address):
    source = source_from_url(f"gsm://local?{urlencode(address)}")
    assert source.fetch("KEY").data == b"canary"
    source.close()
