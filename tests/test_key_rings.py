"""Promise 18: the current and the previous version of a key, for a grace, and in every library's order."""

import asyncio
import base64
import contextvars
import copy
import hashlib
import hmac
import json
import logging
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Annotated

import google_crc32c
import jwt
import pytest
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from dependency_injector import providers
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import Field, HttpUrl, SecretBytes, SecretStr

from pgp_config import (
    BlockingRead,
    DeclarationError,
    DynamicSecret,
    Freshness,
    KeyRing,
    Keys,
    RejectedVersion,
    ReloadPolicy,
    SecretContainer,
    SecretDisabled,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
    request_scope,
)
from pgp_config.cache import REMEMBERED_LOOKS, Known
from pgp_config.events import Reloaded, VersionRejected
from pgp_config.redaction import RedactionFilter, redact
from pgp_config.secret import Payload
from pgp_config_flask import KeyRingSessionInterface

NAME = "RING_KEY"
DOWN = SecretUnavailable("the source is down", remedy="Wait.")
DISABLED = SecretDisabled("is disabled", remedy="Enable it.")
GONE = SecretNotFound("is gone", remedy="Add it.")


class Ring(SecretContainer):
    keys = KeyRing(NAME, grace=100)


def numbers(keys):
    return keys.version, keys.previous_version


def texts(keys):
    return [key.decode() for key in keys.newest_first()]


@pytest.fixture
def ring(source, make):
    """A ring whose process was started on version 2."""
    source.add(NAME, "key-1")
    source.add(NAME, "key-2")
    secrets = make(Ring)
    secrets.load()
    return secrets


def settle(secrets):
    for entry in secrets._cache._entries.values():
        for flight in [entry.flight, *entry.looks.values()]:
            if flight is not None:
                flight.outcome.result(10)


def later(secrets, clock, seconds=6):
    """What a request sees some time later."""
    clock.advance(seconds)
    settle(secrets)
    with request_scope():
        return secrets.keys()


# -- which versions --------------------------------------------------------------------------


# promise 18
def test_the_current_and_the_version_before_it_by_number(ring, source):
    keys = ring.keys()
    assert (keys.current.get_secret_value(), keys.previous.get_secret_value()) == (
        "key-2",
        "key-1",
    )
    assert numbers(keys) == (2, 1)
    assert source.calls == [(NAME, "latest"), (NAME, 1)]


# promise 18
def test_the_first_version_has_none_before_it_and_no_call_is_made_for_one(source, make):
    source.add(NAME, "key-1")
    keys = make(Ring).keys()
    assert (keys.previous, keys.previous_version) == (None, None)
    assert source.calls == [(NAME, "latest")]


# promise 18
@pytest.mark.parametrize("state", [DISABLED, GONE])
def test_a_previous_version_out_of_use_is_left_out_and_no_other_looked_for(source, make, state):
    for number in (1, 2, 3):
        source.add(NAME, f"key-{number}")
    source.fail(NAME, state, version=2)
    assert numbers(make(Ring).keys()) == (3, None)
    assert source.calls == [(NAME, "latest"), (NAME, 2)]


# promise 18
def test_a_rotation_is_seen_with_what_it_replaced(ring, source, clock, events):
    source.add(NAME, "key-3")
    assert texts(later(ring, clock)) == ["key-3", "key-2"]
    assert source.calls[-2:] == [(NAME, "latest"), (NAME, 2)]
    assert [(e.old_version, e.version) for e in events.of(Reloaded)] == [(2, 3)]


# promise 18
def test_the_version_before_counts_also_where_this_process_served_an_older_one(
    ring, source, clock
):
    source.add(NAME, "key-3")
    source.add(NAME, "key-4")
    assert texts(later(ring, clock)) == ["key-4", "key-3"]


# promise 18
def test_what_is_out_of_reach_does_not_fail_the_current_version(source, make, clock):
    source.add(NAME, "key-1")
    source.add(NAME, "key-2")
    source.fail(NAME, DOWN, version=1)
    secrets = make(Ring)
    assert numbers(secrets.keys()) == (2, None)
    assert secrets.status()[0].state == "ok"
    source.fail(NAME, None, version=1)
    assert numbers(later(secrets, clock)) == (2, 1)


# promise 18
def test_what_this_process_holds_stands_in_for_what_is_out_of_reach(ring, source, clock):
    source.add(NAME, "key-3")
    source.fail(NAME, DOWN, version=2)
    assert texts(later(ring, clock)) == ["key-3", "key-2"]
    assert texts(later(ring, clock)) == ["key-3", "key-2"]
    known = ring._cache.current(ring.keys._spec)
    assert known.overlap.previous.overlap is None, "a chain of all versions would stay"


# promise 18
def test_it_stands_in_for_max_stale_and_no_longer(source, make, clock):
    class Short(SecretContainer):
        keys = KeyRing(NAME, grace=1000, freshness=Freshness(5, 50))

    source.add(NAME, "key-1")
    source.add(NAME, "key-2")
    secrets = make(Short)
    assert numbers(secrets.keys()) == (2, 1)
    source.fail(NAME, DOWN, version=1)
    for _ in range(8):
        assert numbers(later(secrets, clock)) == (2, 1)
    assert numbers(later(secrets, clock)) == (2, None)


# promise 18
def test_another_version_than_the_one_before_does_not_stand_in(ring, source, clock):
    source.add(NAME, "key-3")
    source.add(NAME, "key-4")
    source.fail(NAME, DOWN, version=3)
    assert numbers(later(ring, clock)) == (4, None)


# promise 18
def test_a_slow_previous_version_is_not_waited_for(ring, source, clock):
    source.add(NAME, "key-3")
    source.add(NAME, "key-4")
    ring._cache.budget = 0
    fetch, entered, released = source.fetch, threading.Event(), threading.Event()

    def slow(name, version="latest"):
        if version == 3:
            entered.set()
            assert released.wait(10)
        return fetch(name, version)

    source.fetch = slow
    clock.advance(4.5)
    ring.keys()  # refreshes in the background
    assert entered.wait(10)
    (entry,) = ring._cache._entries.values()
    flight = entry.flight
    if flight is not None:
        flight.outcome.result(10)
    with request_scope():
        assert numbers(ring.keys()) == (4, None)
    released.set()
    settle(ring)
    ring._cache.budget = 2
    assert numbers(later(ring, clock)) == (4, 3)


# promise 18
def test_disabling_the_previous_version_takes_it_out_within_max_age(ring, source, clock):
    source.fail(NAME, DISABLED, version=1)
    assert numbers(later(ring, clock, 5.001)) == (2, None)
    source.fail(NAME, None, version=1)
    assert numbers(later(ring, clock, 5.001)) == (2, 1)


# promise 18
@pytest.mark.parametrize("value", ["  ", b"\xff", "-----BEGIN PRIVATE KEY-----"])
def test_a_previous_version_that_may_not_be_served_is_left_out_with_an_event(
    source, make, clock, events, value
):
    source.add(NAME, value)
    source.add(NAME, "key-2")
    secrets = make(Ring)
    assert numbers(secrets.keys()) == (2, None)
    assert numbers(later(secrets, clock)) == (2, None)
    (rejected,) = events.of(VersionRejected)
    assert (rejected.secret, rejected.version) == (NAME, 1)
    assert source.calls.count((NAME, 1)) == 1, "it is asked for again"


# promise 18
def test_one_that_was_damaged_on_its_way_is_asked_for_again(source, make, clock, events):
    source.put(NAME, Payload(b"key-1", 1, 1))
    source.add(NAME, "key-2")
    secrets = make(Ring)
    assert numbers(secrets.keys()) == (2, None)
    source.put(NAME, Payload(b"key-1", 1, google_crc32c.value(b"key-1")))
    assert numbers(later(secrets, clock)) == (2, 1)
    assert len(events.of(VersionRejected)) == 1


# -- the grace -------------------------------------------------------------------------------


# promise 18
def test_after_the_grace_no_call_is_spent_on_it(ring, source, clock):
    assert numbers(later(ring, clock, 99)) == (2, 1)
    assert numbers(later(ring, clock, 6)) == (2, None)
    before = source.calls.count((NAME, 1))
    later(ring, clock, 6)
    assert source.calls.count((NAME, 1)) == before


# promise 18
def test_the_grace_ends_in_an_outage_too(ring, source, clock):
    source.fail(NAME, DOWN)
    assert numbers(later(ring, clock, 99.9)) == (2, 1)
    assert numbers(later(ring, clock, 0.2)) == (2, None)


# promise 18
def test_the_grace_counts_from_when_this_process_saw_the_rotation(ring, source, clock):
    clock.advance(1000)
    source.add(NAME, "key-3")
    assert numbers(later(ring, clock, 500)) == (3, 2)
    assert numbers(later(ring, clock, 99)) == (3, 2)
    assert numbers(later(ring, clock, 1.001)) == (3, None)


# promise 18
def test_no_grace_is_no_previous_version(source, make):
    class Bare(SecretContainer):
        keys = KeyRing(NAME, grace=timedelta(0))

    source.add(NAME, "key-1")
    source.add(NAME, "key-2")
    assert numbers(make(Bare).keys()) == (2, None)
    assert source.calls == [(NAME, "latest")]


def roll_back(source, version):
    source.fail(NAME, DISABLED, version)
    source.fail(NAME, DISABLED, "latest")


# promise 18
def test_a_rollback_goes_on_with_the_overlap_that_it_returns_to(ring, source, clock):
    source.add(NAME, "key-3")
    assert numbers(later(ring, clock, 50)) == (3, 2)
    roll_back(source, 3)
    assert numbers(later(ring, clock)) == (2, 1), "version 1 was in use for 44 s more"
    assert numbers(later(ring, clock, 38)) == (2, 1)
    assert numbers(later(ring, clock, 7)) == (2, None)


# promise 18
def test_a_rollback_does_not_revive_a_version_whose_overlap_was_over(ring, source, clock):
    source.add(NAME, "key-3")
    later(ring, clock, 101)
    roll_back(source, 3)
    assert numbers(later(ring, clock)) == (2, None)


# promise 18
def test_a_rollback_to_a_version_never_seen_is_as_old_as_the_process(source, make, clock):
    for number in (1, 2, 3):
        source.add(NAME, f"key-{number}")
    secrets = make(Ring)
    secrets.load()
    clock.advance(60)
    roll_back(source, 3)
    assert numbers(later(secrets, clock)) == (2, 1)
    assert numbers(later(secrets, clock, 35)) == (2, None)


# promise 18
def test_going_up_again_after_a_rollback_is_a_rotation(ring, source, clock):
    source.add(NAME, "key-3")
    later(ring, clock)
    roll_back(source, 3)
    later(ring, clock, 200)
    source.fail(NAME, None, 3)
    source.fail(NAME, None, "latest")
    assert numbers(later(ring, clock)) == (3, 2), "what 2 signed lately still verifies"


# promise 18, for every feed
FEEDS = {}


def feed(sign):
    """A pair of functions: what signs, and what verifies."""

    def with_verify(verify):
        FEEDS[sign.__name__] = sign, verify

    return with_verify


def hmac_feed(keys):
    return keys.sign("m")


feed(hmac_feed)(lambda keys, signature: keys.verify("m", signature))


def stripe_feed(keys):
    return keys.sign("1000.m").hex()


feed(stripe_feed)(
    lambda keys, signature: keys.verify_timestamped("m", f"t=1000,v1={signature}", now=1000)
)


def jwt_feed(keys):
    return jwt.encode({"sub": "u"}, **keys.jwt_encoding())


@feed(jwt_feed)
def verify_jwt(keys, token):
    try:
        jwt.decode(token, **keys.jwt_decoding(jwt.get_unverified_header(token)))
    except jwt.InvalidSignatureError:
        return False
    return True


def itsdangerous_feed(keys):
    return URLSafeSerializer(keys.oldest_first()).dumps("m")


@feed(itsdangerous_feed)
def verify_itsdangerous(keys, token):
    return URLSafeSerializer(keys.oldest_first()).loads_unsafe(token)[0]


def fernet_feed(keys):
    return MultiFernet([Fernet(key) for key in keys.newest_first()]).encrypt(b"m")


@feed(fernet_feed)
def verify_fernet(keys, token):
    try:
        MultiFernet([Fernet(key) for key in keys.newest_first()]).decrypt(token)
    except InvalidToken:
        return False
    return True


def flask_serializer(keys):
    app = Flask("service")
    app.config.update(keys.flask_config())
    return SecureCookieSessionInterface().get_signing_serializer(app)


def flask_feed(keys):
    return flask_serializer(keys).dumps({"user": 1})


@feed(flask_feed)
def verify_flask(keys, cookie):
    try:
        flask_serializer(keys).loads(cookie)
    except BadSignature:
        return False
    return True


def flask_interface_feed(keys):
    return KeyRingSessionInterface(providers_of(keys)).get_signing_serializer(None).dumps({"u": 1})


@feed(flask_interface_feed)
def verify_flask_interface(keys, cookie):
    try:
        KeyRingSessionInterface(providers_of(keys)).get_signing_serializer(None).loads(cookie)
    except BadSignature:
        return False
    return True


def providers_of(keys):
    ring = KeyRing(NAME)
    ring.override(providers.Object(keys))
    return ring


def new_key(number):
    return base64.urlsafe_b64encode(hashlib.sha256(b"%d" % number).digest()).decode()


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    grace=st.integers(1, 10_000),
    waits=st.lists(st.integers(0, 6_000), min_size=1, max_size=5),
    more_rotations=st.booleans(),
)
def test_what_was_signed_before_a_rotation_verifies_within_the_grace_and_not_past_it(
    source, make, clock, feed, grace, waits, more_rotations
):
    sign, verify = feed

    class Fresh(SecretContainer):
        keys = KeyRing(NAME, grace=grace)

    source._versions.clear()
    source.add(NAME, new_key(1))
    secrets = make(Fresh)
    token = sign(secrets.keys())
    source.add(NAME, new_key(2))
    secrets.keys.refresh()
    passed = 0
    for wait in waits:
        clock.advance(wait)
        passed += wait
        with request_scope():
            assert verify(secrets.keys(), token) is (passed < grace)
            newer = sign(secrets.keys())
            assert verify(secrets.keys(), newer)
    if more_rotations:
        source.add(NAME, new_key(3))
        secrets.keys.refresh()
        with request_scope():
            assert not verify(secrets.keys(), token), "two rotations ago"
            assert verify(secrets.keys(), newer)
    secrets.close()


# -- as a dynamic secret ---------------------------------------------------------------------


# promises 1 and 18
def test_the_keys_of_a_scope_are_fixed_and_a_refresh_moves_on(ring, source, clock):
    with request_scope():
        keys = ring.keys()
        source.add(NAME, "key-3")
        clock.advance(200)
        assert ring.keys() is keys
        assert ring.keys.version() == 2
        assert ring.keys.refresh()
        assert numbers(ring.keys()) == (3, 2)
        assert ring.keys.version() == 3


# promises 1 and 18
async def test_coroutines_read_and_refresh_it(ring, source):
    source.add(NAME, "key-3")
    async with request_scope():
        assert numbers(await ring.keys.async_()) == (2, 1)
        assert await ring.keys.arefresh()
        assert numbers(await ring.keys.async_()) == (3, 2)


def test_a_test_gives_one_key_a_pair_or_keys(ring):
    with request_scope(values={NAME: "k"}):
        assert (texts(ring.keys()), numbers(ring.keys())) == (["k"], (1, None))
        assert ring.keys.version() is None
        assert not ring.keys.refresh()
    with request_scope(values={NAME: ("k-new", "k-old")}):
        assert (texts(ring.keys()), numbers(ring.keys())) == (["k-new", "k-old"], (2, 1))
    with ring.keys.override(("k-new", SecretStr("k-old"))):
        assert texts(ring.keys()) == ["k-new", "k-old"]
    given = Keys(SecretStr("k"), 7)
    with ring.keys.override(given):
        assert ring.keys() is given
    assert numbers(ring.keys()) == (2, 1)


def test_a_bad_value_is_no_key(ring):
    with pytest.raises(RejectedVersion), request_scope(values={NAME: "  "}):
        ring.keys()
    with pytest.raises(RejectedVersion, match=rf"{NAME} in .*the value given is a tuple of 3\."):
        ring.keys.override(("canary", "canary", "canary"))


def test_other_types_of_keys(source, make):
    class Binary(SecretContainer):
        raw = KeyRing(NAME, bytes)
        wrapped = KeyRing(NAME, SecretBytes)
        long = KeyRing(NAME, Annotated[SecretStr, Field(min_length=5)])

    source.add(NAME, "key-1")
    source.add(NAME, "key-2")
    secrets = make(Binary)
    assert secrets.raw().previous == b"key-1"
    signatures = {secrets.raw().sign("m"), secrets.wrapped().sign("m"), secrets.long().sign("m")}
    assert len(signatures) == 1
    source.add(NAME, "k")
    secrets.long.refresh()
    assert numbers(secrets.long()) == (2, 1)


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (lambda: KeyRing(""), "has no name"),
        (lambda: KeyRing(NAME, HttpUrl), "is a key ring of HttpUrl"),
        (lambda: KeyRing(NAME, Annotated[str, Field(min_length=3)]), "is a key ring of str"),
        (lambda: KeyRing(NAME, grace=-1), f"{NAME}: grace is -1"),
        (lambda: KeyRing(NAME, grace="24h"), "grace is a str"),
    ],
)
def test_a_wrong_declaration_says_so(declare, text):
    with pytest.raises(DeclarationError, match=text):
        declare()


# promises 13 and 18
def test_a_signing_key_needs_its_reason(source, make):
    with pytest.raises(DeclarationError, match="protected by the glob"):

        class Refused(SecretContainer):
            keys = KeyRing("RING_SIGNING_KEY")

    class Allowed(SecretContainer):
        reload_policy = ReloadPolicy(exceptions={"RING_SIGNING_KEY": "rotated with an overlap"})
        keys = KeyRing("RING_SIGNING_KEY")

    source.add("RING_SIGNING_KEY", "key-1")
    assert make(Allowed).keys().version == 1


def test_it_is_in_the_status_and_in_the_findings(ring):
    (row,) = ring.status()
    assert (row.name, row.kind, row.state, row.version) == (NAME, "dynamic", "ok", 2)
    assert [finding.name for finding in ring.check()] == [NAME]
    ring.keys()
    assert ring.check() == []


def test_it_arrives_in_other_providers_as_itself(source, make):
    class Wired(SecretContainer):
        keys = KeyRing(NAME)
        held = providers.Singleton(list, providers.List(keys))

    source.add(NAME, "key-1")
    secrets = make(Wired)
    assert secrets.held() == [secrets.keys]
    assert copy.deepcopy(secrets.keys)().version == 1


# promises 5 and 18
def test_a_refresh_costs_two_calls_within_the_grace_and_one_after_it(ring, source, clock):
    before = len(source.calls)
    later(ring, clock)
    assert len(source.calls) == before + 2
    later(ring, clock, 200)
    assert len(source.calls) == before + 3
    assert source.most_in_flight(NAME) == 1


# -- signatures ------------------------------------------------------------------------------

PAIR = Keys(SecretStr("k" * 32), 7, SecretStr("p" * 32), 6)


def mac(key, message, digest="sha256"):
    return hmac.digest(key.encode() * 32, message, digest)


def test_signing_is_hmac_with_the_current_key():
    assert PAIR.sign(b"m") == PAIR.sign("m") == mac("k", b"m")
    assert PAIR.sign("m", "sha512") == mac("k", b"m", "sha512")


@pytest.mark.parametrize("key", ["k", "p"])
def test_both_keys_verify_bytes_and_digits(key):
    signature = mac(key, b"m")
    assert PAIR.verify("m", signature)
    assert PAIR.verify(b"m", signature.hex())
    assert PAIR.verify(bytearray(b"m"), signature.hex().upper())
    assert not PAIR.verify("another", signature)
    assert not PAIR.verify("m", signature, "sha512")


@pytest.mark.parametrize("signature", [None, "", b"", "zz", "ß", "00", mac("x", b"m"), b"\0" * 32])
def test_what_is_no_signature_is_false(signature):
    assert not PAIR.verify("m", signature)


def test_wrong_arguments_are_errors_that_show_no_key():
    for call in (
        lambda: PAIR.sign("m", "sha0"),
        lambda: PAIR.sign(5),
        lambda: PAIR.verify("m", 5),
        lambda: PAIR.verify(None, b""),
        lambda: PAIR.jwt_encoding("RS256"),
        lambda: PAIR.jwt_decoding({}, "none"),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            call()
        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown = "".join(trace.format()).replace('"k" * 32', "").replace('"p" * 32', "")
        assert "kkk" not in shown
        assert "ppp" not in shown


def test_all_keys_are_compared_whichever_fits(monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or real(a, b))
    PAIR.verify("m", PAIR.sign("m"))
    assert len(compared) == 2


def test_nowpayments_signs_the_sorted_json():
    body = {"payment_id": 5, "order_id": "o", "fee": {"depositFee": 1}}
    message = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert PAIR.verify(message, mac("p", message.encode(), "sha512").hex(), "sha512")


def test_github_signs_the_body():
    header = f"sha256={mac('p', b'body').hex()}"
    assert PAIR.verify(b"body", header.removeprefix("sha256="))


def stripe(key, moment, body=b"body"):
    return f"t={moment},v1={mac(key, b'%d.' % moment + body).hex()},v0=00"


@pytest.mark.parametrize("key", ["k", "p"])
def test_stripe_signs_the_time_and_the_body(key):
    assert PAIR.verify_timestamped(b"body", stripe(key, 1000), now=1300)
    assert PAIR.verify_timestamped(
        "body", f"{stripe('x', 1000)}, {stripe(key, 1000)[7:]}", now=700
    )
    assert not PAIR.verify_timestamped(b"body", stripe(key, 1000), now=1301)
    assert not PAIR.verify_timestamped(b"body", stripe(key, 1000), now=699)
    assert not PAIR.verify_timestamped(b"other", stripe(key, 1000), now=1000)
    assert not PAIR.verify_timestamped(b"body", stripe(key, 1000)), "1970 is long ago"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=1000",
        "v1=00",
        "t=x,v1=00",
        "t=1000,t=1000,v1=00",
        "t=٣,v1=00",
        "t=" + "9" * 99,
    ],
)
def test_a_header_that_is_none_of_stripes_is_false(header):
    assert not PAIR.verify_timestamped("body", header, now=1000)


# -- feeds -----------------------------------------------------------------------------------


def test_feeds_are_in_the_order_that_each_library_wants():
    current, previous = b"k" * 32, b"p" * 32
    assert PAIR.newest_first() == [current, previous]
    assert PAIR.oldest_first() == [previous, current]
    assert PAIR.flask_config() == {"SECRET_KEY": current, "SECRET_KEY_FALLBACKS": [previous]}
    assert PAIR.by_kid() == {"v7": current, "v6": previous}
    alone = Keys(b"k", 1)
    assert alone.newest_first() == alone.oldest_first() == [b"k"]
    assert alone.flask_config() == {"SECRET_KEY": b"k", "SECRET_KEY_FALLBACKS": []}
    assert alone.by_kid() == {"v1": b"k"}


@pytest.mark.parametrize("kid", [None, "v5", "v07", "", 7, ["v7"], {}])
def test_a_token_that_names_no_key_of_the_ring_is_forged(kid):
    headers = {} if kid is None else {"kid": kid}
    assert PAIR.jwt_decoding(headers)["key"] not in (b"", *PAIR.newest_first())
    token = jwt.encode({}, b"k" * 32, headers={"kid": "v5"})
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, **PAIR.jwt_decoding(headers))


def test_the_algorithm_is_pinned():
    token = jwt.encode({}, None, algorithm="none", headers={"kid": "v7"})
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(token, **PAIR.jwt_decoding(jwt.get_unverified_header(token)))
    longer = Keys(SecretStr("k" * 64), 7)
    token = jwt.encode({"sub": "u"}, **longer.jwt_encoding("HS512"))
    header = jwt.get_unverified_header(token)
    assert header["kid"] == "v7"
    assert jwt.decode(token, **longer.jwt_decoding(header, "HS512")) == {"sub": "u"}
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(token, **longer.jwt_decoding(header))


# -- secrecy ---------------------------------------------------------------------------------

CANARIES = ["canary-current-83c1", "canary-previous-19fe"]


@pytest.fixture
def canaries(source, make):
    source.add(NAME, CANARIES[1])
    source.add(NAME, CANARIES[0])
    return make(Ring)


# promises 15 and 18
def test_keys_show_no_value_and_are_not_pickled(canaries):
    with request_scope():
        keys = canaries.keys()
        known = canaries._cache.current(canaries.keys._spec)
        shown = f"{keys} {keys!r} {keys:} {canaries.keys.versioned()!r} {known!r} {canaries!r}"
        assert repr(keys) == "<Keys version 2, previous 1>"
        assert not any(canary in shown for canary in CANARIES)
        for thing in (keys, canaries.keys.versioned()):
            with pytest.raises(TypeError):
                pickle.dumps(thing)
        assert copy.copy(keys) is copy.deepcopy(keys) is keys
    with pytest.raises(AttributeError):
        keys.current = "x"


# promises 15 and 18
def test_the_redaction_knows_both_keys(canaries):
    canaries.keys()
    record = logging.LogRecord("x", logging.INFO, "x", 1, " ".join(CANARIES), None, None)
    RedactionFilter().filter(record)
    assert record.msg == f"[{NAME}] [{NAME}]"
    assert redact(CANARIES[1]) == f"[{NAME}]"


# -- one version by its number ---------------------------------------------------------------


class Plain(SecretContainer):
    key = DynamicSecret(NAME, str)


@pytest.fixture
def plain(source, make):
    for number in (1, 2, 3):
        source.add(NAME, f"key-{number}")
    secrets = make(Plain)
    secrets.load()
    return secrets


def test_a_version_by_number_is_fetched_once_within_max_age_and_changes_nothing(
    plain, source, clock
):
    with request_scope():
        for _ in range(3):
            found = plain.key.at_version(1)
            assert (found.value, found.number) == ("key-1", 1)
        assert plain.key() == "key-3"
    assert source.calls.count((NAME, 1)) == 1
    clock.advance(5.001)
    source.fail(NAME, DISABLED, version=1)
    with pytest.raises(SecretDisabled, match=f"{NAME} in Plain: is disabled"):
        plain.key.at_version(1)
    source.fail(NAME, None, version=1)
    assert plain.key.at_version(1).value == "key-1", "a failure is not remembered"


async def test_who_asks_for_a_version_at_once_shares_a_fetch(plain, source):
    hold = source.hold(NAME)
    first = asyncio.create_task(plain.key.at_version_async(1))
    await asyncio.to_thread(hold.entered.wait, 10)
    second = asyncio.create_task(plain.key.at_version_async(1))
    third = asyncio.create_task(asyncio.to_thread(plain.key.at_version, 1))
    second.cancel()
    await asyncio.wait([second])
    hold.release()
    assert (await first).value == (await third).value == "key-1"
    assert source.calls.count((NAME, 1)) == 1


async def test_a_version_by_number_waits_for_the_budget_and_blocks_no_loop(plain, source):
    with pytest.raises(BlockingRead, match="at_version_async"):
        plain.key.at_version(1)
    plain._cache.budget = 0
    hold = source.hold(NAME)
    with pytest.raises(SourceTimeout):
        await plain.key.at_version_async(2)
    hold.release()


def test_a_thread_waits_for_the_budget(plain, source):
    plain._cache.budget = 0
    hold = source.hold(NAME)
    with pytest.raises(SourceTimeout):
        plain.key.at_version(2)
    hold.release()


def test_a_rejected_version_is_not_asked_for_again(source, make, events):
    class Limit(SecretContainer):
        limit = DynamicSecret(NAME, int)

    source.add(NAME, "one")
    source.add(NAME, "2")
    secrets = make(Limit)
    for _ in range(2):
        with pytest.raises(RejectedVersion, match="version 1"):
            secrets.limit.at_version(1)
    assert source.calls.count((NAME, 1)) == 1
    assert len(events.of(VersionRejected)) == 1


def test_there_is_none_before_the_first_and_none_in_a_closed_container(plain, source):
    with pytest.raises(SecretNotFound):
        plain.key.at_version(0)
    plain.close()
    with pytest.raises(SecretUnavailable, match="closed"):
        plain.key.at_version(1)
    assert source.calls == [(NAME, "latest")]


def test_few_versions_are_remembered(plain, source):
    for number in range(4, 12):
        source.add(NAME, f"key-{number}")
    for number in range(1, 12):
        plain.key.at_version(number)
    (entry,) = plain._cache._entries.values()
    assert len(entry.looks) == REMEMBERED_LOOKS


def test_closing_ends_the_wait_for_a_version(plain, source):
    hold = source.hold(NAME)
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(plain.key.at_version, 1)
        assert hold.entered.wait(10)
        closing = pool.submit(plain.close)
        with pytest.raises(SecretUnavailable, match="closed"):
            asked.result(10)
        hold.release()
        closing.result(10)


def test_a_version_that_lands_in_a_closing_container_is_not_given(plain, source):
    """As where a signal handler closes it while the look is being sent."""
    hold = source.hold(NAME)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(plain.key.at_version, 1)
        assert hold.entered.wait(10)
        plain._cache.closed = True
        hold.release()
        with pytest.raises(SecretUnavailable, match="closed"):
            asked.result(10)
        plain._cache.closed = False


@pytest.mark.parametrize("closes", [False, True])
def test_where_no_thread_can_be_started_a_version_is_not_to_be_had(plain, monkeypatch, closes):
    (entry,) = plain._cache._entries.values()

    class Ended:
        def submit(self, *_):
            if closes:
                plain.close()
            raise RuntimeError("cannot schedule new futures after shutdown")

        def shutdown(self, **_):
            pass

    plain._cache._executor.shutdown()
    plain._cache._executor = Ended()
    with pytest.raises(SecretUnavailable, match="closed" if closes else "no thread can be"):
        plain.key.at_version(1)
    assert entry.looks == {}


def test_a_look_that_is_interrupted_is_forgotten(plain):
    class Interrupted:
        def submit(self, *_):
            raise KeyboardInterrupt

        def shutdown(self, **_):
            pass

    plain._cache._executor.shutdown()
    plain._cache._executor = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        plain.key.at_version(1)
    (entry,) = plain._cache._entries.values()
    assert entry.looks == {}


def test_whatever_a_source_raises_is_an_error_without_a_value(plain, source):
    source.fail(NAME, RuntimeError("canary"), version=1)
    with pytest.raises(SecretUnavailable, match="failed with RuntimeError") as caught:
        plain.key.at_version(1)
    assert "canary" not in str(caught.value)


# promise 16
def test_a_look_under_way_does_not_cross_a_fork(plain, source):
    plain.key.at_version(2)
    hold = source.hold(NAME)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(plain.key.at_version, 1)
        assert hold.entered.wait(10)
        (entry,) = plain._cache._entries.values()
        before, lock, executor = dict(entry.looks), plain._cache._lock, plain._cache._executor
        plain._cache.renew_after_fork()
        assert list(entry.looks) == [2]
        entry.looks.update(before)
        plain._cache._lock, plain._cache._executor = lock, executor
        hold.release()
        assert asked.result(10).value == "key-1"


def test_a_version_comes_with_its_number_as_one(plain, source, clock):
    def read():
        return plain.key.versioned()

    assert contextvars.Context().run(read).number == 3
    with request_scope(values={NAME: "k"}):
        assert (read().value, read().number) == ("k", None)
        assert not plain.key.catch_up()
    with plain.key.override("k"), request_scope():
        assert (read().value, read().number) == ("k", None)
    with request_scope():
        plain.key()
        source.add(NAME, "key-4")
        clock.advance(6)
        contextvars.Context().run(plain.key)
        assert read().number == 3
        assert plain.key.catch_up()
        assert (read().value, read().number) == ("key-4", 4)
        assert not plain.key.catch_up()
    assert not plain.key.catch_up(), "there is no scope"


async def test_coroutines_get_it_as_one_too(plain):
    async with request_scope():
        assert (await plain.key.versioned_async()).number == 3


def test_a_scope_that_has_read_nothing_begins_with_what_the_process_knows(plain):
    with request_scope():
        assert not plain.key.catch_up()
        assert plain.key.version() == 3


def test_known_versions_show_no_value(plain):
    found = plain._cache.fetch_version(plain.key._spec, 1)
    assert isinstance(found, Known)
    assert "key-1" not in repr(found) + repr(plain.key.at_version(1))


def test_an_overlap_holds_no_version_in_the_sense_of_uptake(source, make, clock):
    """Disabling the old version is what ends the overlap: nobody is to wait for the one with the other."""
    source.add(NAME, "k1")
    secrets = make(Ring)
    secrets.load()
    source.add(NAME, "k2")
    clock.advance(6)
    with request_scope():
        assert secrets.keys().previous_version == 1
    assert [use.in_use for use in secrets._cache.uses()] == [(2,)]
