"""Promise 15: a canary goes everywhere a value goes, and is seen nowhere."""

import copy
import dataclasses
import io
import json
import logging
import pickle
import sys
import traceback
from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, SecretStr
from rich.console import Console
from rich.traceback import Traceback
from sentry_sdk.serializer import serialize

from pgp_config import (
    Directory,
    DynamicSecret,
    Environment,
    KeyRing,
    LoggingObserver,
    Memory,
    PgpConfigError,
    SecretContainer,
    StaticSecret,
    request_scope,
)
from pgp_config.health import liveness, readiness
from pgp_config.scopes import current_scope
from pgp_config.secret import Decoder, Payload

CANARY = "canary-7f3a-91bd-e6c2"


def leaks(text):
    """Whether a text holds the canary or a telling part of it."""
    return any(CANARY[start : start + 6] in text for start in range(len(CANARY) - 5))


class Login(BaseModel):
    user: str
    password: SecretStr


def tell(value):
    raise ValueError(f"not good: {value}")


class Service(SecretContainer):
    key = DynamicSecret("SECRECY_KEY")
    login = DynamicSecret("SECRECY_LOGIN", Login)
    limit = DynamicSecret("SECRECY_LIMIT", int)
    judged = DynamicSecret("SECRECY_JUDGED", Annotated[str, AfterValidator(tell)])
    fixed = StaticSecret("SECRECY_SIGNING_KEY")


@pytest.fixture
def secrets(source, make, events):
    source.add("SECRECY_KEY", CANARY)
    source.add("SECRECY_LOGIN", json.dumps({"user": "u", "password": CANARY}))
    source.add("SECRECY_LIMIT", "7")
    source.add("SECRECY_SIGNING_KEY", CANARY)
    return make(Service, observers=[events, LoggingObserver()])


@pytest.fixture
def everything_logged(caplog):
    with caplog.at_level(logging.DEBUG):
        yield caplog
    told = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert not leaks(told)


def live_through_it(secrets, source, clock):
    """All that happens to a secret: loaded, read, rotated, rejected, stale, overridden."""
    for read in (secrets.key, secrets.login, secrets.limit, secrets.fixed):
        read()
    source.add("SECRECY_KEY", f"{CANARY}-2")
    source.add("SECRECY_LIMIT", CANARY)
    clock.advance(6)
    with request_scope():
        secrets.key()
        secrets.limit()
    source.fail("SECRECY_KEY", RuntimeError(CANARY))
    clock.advance(6)
    with request_scope(), secrets.fixed.override(f"{CANARY}-3"):
        secrets.key(), secrets.fixed()


# promise 15
def test_logs_and_events_hold_no_value(secrets, source, clock, events, everything_logged):
    live_through_it(secrets, source, clock)
    kinds = {type(event).__name__ for event in events}
    assert kinds >= {"Loaded", "Reloaded", "VersionRejected", "FetchFailed", "ServedStale"}
    facts = [{**dataclasses.asdict(event), "error": ""} for event in events]
    assert not leaks(repr(events) + json.dumps(facts) + "".join(map(str, events)))
    for event in events:
        assert not leaks(str(getattr(event, "error", "")))


# promise 15
def test_no_object_shows_a_value(secrets, source, clock):
    live_through_it(secrets, source, clock)
    with request_scope(values={"SECRECY_KEY": CANARY}):
        secrets.key()
        cache = secrets._cache
        objects = [
            secrets,
            secrets.key,
            secrets.key.provider,
            secrets.key.provided,
            secrets.key(),
            secrets.login(),
            secrets.fixed(),
            current_scope(),
            request_scope(values={"SECRECY_KEY": CANARY}),
            cache,
            *cache.generation.items(),
            *cache._entries.items(),
            secrets.status(),
            secrets.check(),
            Payload(CANARY.encode(), 1),
            Decoder(SecretStr),
            Memory({"SECRECY_KEY": CANARY}),
            Environment(environ={"SECRECY_KEY": CANARY}),
            Directory("/run/secrets"),
        ]
        for thing in objects:
            assert not leaks(f"{thing} {thing!r} {thing!s} {thing:}")


# promise 15: as Sentry's SDK makes text of the locals of a frame
def test_who_looks_into_every_mapping_finds_no_value_in_a_scope(make, source):
    class Binary(SecretContainer):
        key = DynamicSecret("SECRECY_KEY", bytes)
        ring = KeyRing("SECRECY_RING", bytes)

    source.add("SECRECY_KEY", CANARY)
    source.add("SECRECY_RING", CANARY)
    secrets = make(Binary)
    with request_scope(values={"SECRECY_RING": CANARY}) as scope:
        assert leaks(repr([secrets.key(), secrets.ring().current]))
        shown = serialize({"scope": scope, "read": (secrets.key, scope)}, is_vars=True)
        assert not leaks(repr(shown) + repr([*scope.items(), *scope.values()]))


# promise 15
def test_no_object_takes_a_value_into_a_pickle(secrets, source, clock):
    live_through_it(secrets, source, clock)
    with request_scope():
        for thing in (
            secrets.key,
            secrets.key(),
            secrets.fixed(),
            current_scope(),
            Payload(CANARY.encode(), 1),
            Memory({"SECRECY_KEY": CANARY}),
        ):
            with pytest.raises(TypeError):
                pickle.dumps(thing)
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(secrets)
        for thing in (secrets.key, secrets.key()):
            assert not leaks(repr(copy.deepcopy(thing)))


# promise 15
def test_health_pages_hold_no_value(secrets, source, clock):
    live_through_it(secrets, source, clock)
    for page in (liveness, readiness):
        answer = page(secrets)
        assert not leaks(json.dumps(answer.content) + str(answer))


def failing_paths(secrets, source, clock):
    """Every way in which a value meets an error."""

    def version(name, data, **options):
        def attempt():
            source.put(name, Payload(data, 1, **options))
            getattr(secrets, name.removeprefix("SECRECY_").lower())()

        return attempt

    def given(name, value):
        def attempt():
            with request_scope(values={name: value}):
                getattr(secrets, name.removeprefix("SECRECY_").lower())()

        return attempt

    data = CANARY.encode()
    return {
        "wrong type": version("SECRECY_LIMIT", data),
        "validator that tells": version("SECRECY_JUDGED", data),
        "checksum": version("SECRECY_KEY", data, crc32c=1),
        "not UTF-8": version("SECRECY_KEY", b"\xff" + data),
        "key material": version("SECRECY_KEY", b"-----BEGIN PRIVATE KEY-----" + data),
        "model": version("SECRECY_LOGIN", b'{"password": {"x": "' + data + b'"}}'),
        "not JSON": version("SECRECY_LOGIN", b"{" + data),
        "bad value of a scope": given("SECRECY_LIMIT", CANARY),
        "bad object of a scope": given("SECRECY_LIMIT", [CANARY]),
        "bad override": lambda: secrets.limit.override(CANARY),
        "a source that tells": lambda: (
            source.fail("SECRECY_KEY", RuntimeError(CANARY)),
            secrets.key(),
        ),
    }


PATHS = list(failing_paths(None, None, None))


def own_frames_only(error):
    """Shorten a traceback to the library's frames: the test's own hold the canary, of course."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals["__name__"].startswith("pgp_config."):
            frames.append(trace)
        trace = trace.tb_next
    for frame, following in zip(frames, [*frames[1:], None], strict=True):
        frame.tb_next = following
    return error.with_traceback(frames[0])


# promise 15
@pytest.mark.parametrize("path", PATHS)
def test_no_error_and_no_traceback_with_locals_holds_a_value(make, source, clock, path):
    secrets = make(Service)
    attempt = failing_paths(secrets, source, clock)[path]
    if path.startswith("bad override"):
        source.add("SECRECY_LIMIT", "7")
    with pytest.raises(PgpConfigError) as caught:
        attempt()
    error = own_frames_only(caught.value)
    chain = [error, error.__cause__, error.__context__]
    assert not leaks("".join(f"{link} {link!r}" for link in chain))
    locals_shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    assert "self = <" in locals_shown or "self = " in locals_shown
    assert not leaks(without_the_callers_own(locals_shown))
    out = io.StringIO()
    shown = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    Console(file=out, width=200).print(shown)
    assert not leaks(without_the_callers_own(out.getvalue()))


def without_the_callers_own(text):
    """`override(value)` and `given(value)` are called with the value: it is their caller's own local."""
    return "\n".join(
        line
        for line in text.splitlines()
        if not line.strip(" │").startswith(("provider = ", "value = "))
    )


# promise 15
def test_an_uncaught_error_prints_no_value(secrets, source, clock, capsys):
    source.add("SECRECY_LIMIT", CANARY)
    source.fail("SECRECY_KEY", RuntimeError(CANARY))
    for read in (secrets.limit, secrets.key):
        clock.advance(6)
        try:
            read()
        except PgpConfigError:
            sys.excepthook(*sys.exc_info())
    assert not leaks(capsys.readouterr().err)
