"""Our deadline, retry and errors around Google's client, driven by a client that fails on demand.

Over REST the same promises are driven by answers of HTTP: test_google_rest.py.
"""

import base64
import contextlib
import functools
import gc
import logging
import os
import random
import subprocess
import sys
import traceback
import types
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import google.auth
import grpc
import pytest
import tenacity
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud.secretmanager_v1 import AccessSecretVersionResponse
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)

from pgp_config import (
    DeclarationError,
    RejectedVersion,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)
from pgp_config.emulator import SecretManagerEmulator
from pgp_config.secret import Decoder
from pgp_config.sources import GoogleSecretManager, retries
from pgp_config.sources.google import manager, over_grpc

NAME = "projects/4711/secrets/KEY/versions/7"
TRANSPORTS = "google.cloud.secretmanager_v1.services.secret_manager_service.transports"


class FakeTime:
    """Seconds pass only in a sleep and in an attempt."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class FakeClient:
    """Answers from a script: an exception, a response, or (seconds that it takes, one of these)."""

    def __init__(self, *script, clock=None):
        self.script = list(script)
        self.requests = []
        self.timeouts = []
        self.closed = 0
        self.transport = self
        self._clock = clock

    def access_secret_version(self, *, request, retry, timeout):
        assert retry is None, "Google's own retry blocks for 52 s"
        self.requests.append(request["name"])
        self.timeouts.append(timeout)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, tuple):
            seconds, step = step
            self._clock.now += min(seconds, timeout)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self):
        self.closed += 1


def answer(data=b"canary", name=NAME, **fields):
    return AccessSecretVersionResponse(name=name, payload={"data": data, **fields})


def source_of(*script, clock=None, **options):
    client = FakeClient(*script, clock=clock)
    return GoogleSecretManager("p", client_factory=lambda: client, **options), client


@pytest.fixture
def clock(monkeypatch):
    fake = FakeTime()
    for module in (tenacity, tenacity.nap, retries):
        monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    return fake


def client_of(**options):
    """What a source connects with."""
    return over_grpc.connect(
        **{"location": None, "endpoint": None, "credentials": None, **options}
    )


def no_credentials(*_, **__):
    raise auth.DefaultCredentialsError("Your default credentials were not found.")


# -- what is asked and answered ------------------------------------------------------------------


def test_the_version_comes_from_the_answers_name_and_the_checksum_with_it():
    source, client = source_of(answer(data_crc32c=11))
    payload = source.fetch("KEY")
    assert (payload.data, payload.version, payload.crc32c) == (b"canary", 7, 11)
    assert client.requests == ["projects/p/secrets/KEY/versions/latest"]


def test_a_checksum_that_did_not_come_is_none_and_one_that_is_0_is_checked():
    assert source_of(answer())[0].fetch("KEY").crc32c is None
    corrupt = source_of(answer(data_crc32c=0))[0].fetch("KEY")
    assert corrupt.crc32c == 0
    with pytest.raises(RejectedVersion, match="crc32c"):
        Decoder(str).decode(corrupt)


def test_a_regional_secret_is_asked_for_under_its_location():
    source, client = source_of(answer(), location="europe-west1")
    source.fetch("KEY", 7)
    assert client.requests == ["projects/p/locations/europe-west1/secrets/KEY/versions/7"]


@pytest.mark.parametrize("name", ["a.b", "a b", "ä", "projects/p/secrets/KEY", "x" * 256, 7, None])
def test_a_name_that_secret_manager_cannot_have_is_not_asked_for(name):
    source, client = source_of(answer())
    with pytest.raises(SecretNotFound, match="cannot be named"):
        source.fetch(name)
    assert client.requests == []


def test_an_answer_without_a_version_number_is_not_shown():
    source, _ = source_of(answer(name="projects/4711/secrets/KEY/versions/no-number"))
    with pytest.raises(SecretUnavailable, match="ValueError") as caught:
        source.fetch("KEY")
    assert b"canary" not in held_by(caught.value)


# -- the budget (promise 8) ----------------------------------------------------------------------

RETRIED = [
    exceptions.ServiceUnavailable,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.TooManyRequests,
    exceptions.GatewayTimeout,
]


@pytest.mark.parametrize("kind", RETRIED)
def test_what_may_pass_is_tried_again(kind, clock):
    source, client = source_of(kind("down"), kind("down"), answer())
    assert source.fetch("KEY").version == 7
    assert len(client.requests) == 3
    assert clock.slept == [0.2, 0.4]


@pytest.mark.parametrize(
    "kind",
    [
        exceptions.NotFound,
        exceptions.PermissionDenied,
        exceptions.Forbidden,
        exceptions.FailedPrecondition,
        exceptions.InvalidArgument,
        exceptions.BadRequest,
        exceptions.Unauthenticated,
        exceptions.Aborted,
        exceptions.Conflict,
        exceptions.Cancelled,
        exceptions.Unknown,
        ValueError,
    ],
)
def test_what_will_not_pass_is_asked_once(kind, clock):
    source, client = source_of(kind("no"))
    with pytest.raises(SecretUnavailable):
        source.fetch("KEY")
    assert len(client.requests) == 1
    assert clock.slept == []


def test_an_attempt_has_a_second_and_the_last_one_what_is_left(clock):
    source, client = source_of((9, exceptions.DeadlineExceeded("late")), clock=clock)
    with pytest.raises(SourceTimeout, match=r"did not answer within 2 s \(project p\)"):
        source.fetch("KEY")
    assert client.timeouts == [1.0, pytest.approx(0.8)]
    assert clock.now == 1002.0


def test_a_fetch_ends_before_its_budget_where_no_attempt_is_worth_it_any_more(clock):
    source, client = source_of((0.1, exceptions.ServiceUnavailable("down")), clock=clock)
    with pytest.raises(SecretUnavailable):
        source.fetch("KEY")
    assert clock.now <= 1002.0
    assert clock.slept == [0.2, 0.4, 0.8]
    assert client.timeouts == [1.0, 1.0, 1.0, pytest.approx(0.3)]


def test_the_timeouts_can_be_given_in_seconds_or_as_timedelta(clock):
    late = (9, exceptions.DeadlineExceeded("late"))
    source, client = source_of(
        late, clock=clock, attempt_timeout=timedelta(milliseconds=300), total_timeout=0.9
    )
    with pytest.raises(SourceTimeout, match=r"within 0\.9 s"):
        source.fetch("KEY")
    assert client.timeouts == [0.3, 0.3]


def test_an_attempt_is_never_given_less_than_nothing(clock):
    source, client = source_of(answer(), attempt_timeout=0.01, total_timeout=0.01)
    source.fetch("KEY")
    assert client.timeouts == [0.01]


def test_the_pauses_are_jittered(monkeypatch, clock):
    shares = iter([0.5, 0.25])
    monkeypatch.setattr(random, "uniform", lambda least, most: least + next(shares) * most)
    source, _ = source_of(
        exceptions.ServiceUnavailable("x"), exceptions.InternalServerError("x"), answer()
    )
    source.fetch("KEY")
    assert clock.slept == [pytest.approx(0.1), pytest.approx(0.1)]


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "says", "remedy"),
    [
        (exceptions.NotFound("x"), SecretNotFound, "or has no version", "Create it"),
        (exceptions.PermissionDenied("x"), SecretForbidden, "may not read", "secretAccessor"),
        (exceptions.Forbidden("x"), SecretForbidden, "may not read", "secretAccessor"),
        (exceptions.FailedPrecondition("x"), SecretDisabled, "disabled or destroyed", "Enable"),
        (
            exceptions.BadRequest("GET https://x: Secret Version [x] is in DESTROYED state."),
            SecretDisabled,
            "disabled or destroyed",
            "Enable",
        ),
        (exceptions.BadRequest("x"), SecretUnavailable, "invalid", "Correct the project"),
        (exceptions.InvalidArgument("x"), SecretUnavailable, "invalid", "Correct the project"),
        (exceptions.Unauthenticated("x"), SecretForbidden, "credentials", "application-default"),
        (exceptions.Unauthorized("x"), SecretForbidden, "credentials", "application-default"),
        (exceptions.DeadlineExceeded("x"), SourceTimeout, "within 2 s", "status.cloud"),
        (exceptions.GatewayTimeout("x"), SourceTimeout, "within 2 s", "status.cloud"),
        (exceptions.ResourceExhausted("x"), SecretUnavailable, "quota", "90,000 accesses"),
        (exceptions.TooManyRequests("x"), SecretUnavailable, "quota", "90,000 accesses"),
        (exceptions.ServiceUnavailable("x"), SecretUnavailable, "UNAVAILABLE", "status.cloud"),
        (exceptions.InternalServerError("x"), SecretUnavailable, "INTERNAL", "status.cloud"),
        (exceptions.Conflict("x"), SecretUnavailable, "Conflict", "status.cloud"),
        (exceptions.Aborted("x"), SecretUnavailable, "ABORTED", "status.cloud"),
        (OSError("x"), SecretUnavailable, "OSError", "status.cloud"),
        (auth.DefaultCredentialsError("x"), SecretForbidden, "no Google cred", "auth application"),
        (auth.RefreshError("x"), SecretForbidden, "refused the cred", "auth application-default"),
        (auth.RefreshError("x", retryable=True), SecretUnavailable, "token server", "network"),
        (auth.TransportError("x"), SecretUnavailable, "token server", "network"),
        (
            exceptions.ServiceUnavailable(
                "Getting metadata from plugin failed with error: ('invalid_grant: Bad Request',)"
            ),
            SecretForbidden,
            "refused the credentials",
            "auth application-default",
        ),
        (
            exceptions.ServiceUnavailable(
                "Getting metadata from plugin failed with error: Max retries exceeded"
            ),
            SecretUnavailable,
            "token server could not be reached",
            "network",
        ),
    ],
)
def test_googles_errors_become_ours(fault, kind, says, remedy, clock):
    source, _ = source_of(fault)
    with pytest.raises(kind) as caught:
        source.fetch("KEY")
    assert type(caught.value) is kind
    assert caught.value.secret == "KEY"
    assert says in caught.value.happened
    assert remedy in caught.value.remedy
    assert isinstance(caught.value.__cause__, type(fault))
    assert str(caught.value.__cause__) == str(fault)


def test_an_error_says_where_it_looked():
    source, _ = source_of(exceptions.NotFound("x"), location="europe-west1")
    with pytest.raises(
        SecretNotFound, match="project p, location europe-west1, or has no version 9"
    ):
        source.fetch("KEY", 9)


# promise 15
def test_a_cause_is_left_without_frames_and_without_its_request(clock):
    response = types.SimpleNamespace(request={"authorization": "Bearer token-4711"})
    inner = RuntimeError("rpc")
    fault = exceptions.Forbidden("no", response=response)
    fault.__cause__ = fault.__context__ = inner
    source, _ = source_of(fault)
    with pytest.raises(SecretForbidden) as caught:
        source.fetch("KEY")
    cause = caught.value.__cause__
    assert (cause.__traceback__, cause.__cause__, cause.__context__) == (None, None, None)
    assert cause.response is None
    assert caught.value.__context__ in (None, cause)
    assert b"token" not in held_by(caught.value)


# promise 15
@pytest.mark.parametrize("kind", [exceptions.ServiceUnavailable, exceptions.NotFound])
def test_no_frame_of_an_error_is_googles(kind, clock):
    source, _ = source_of(kind("x"))
    with pytest.raises(SecretUnavailable) as caught:
        source.fetch("KEY")
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames][1:] == ["fetch"]


def held_by(error):
    """All that the frames and the attributes of an error and of its causes show, as bytes."""
    inner = error.with_traceback(error.__traceback__.tb_next)
    report = traceback.TracebackException.from_exception(inner, capture_locals=True)
    return "".join(
        [*report.format(), *map(repr, vars(error.__cause__ or error).values())]
    ).encode()


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(vars(record))


@pytest.fixture
def kept(monkeypatch):
    """Keeps what a logger of Google's transports says at DEBUG."""

    def keep(transport):
        logger, handler = logging.getLogger(f"{TRANSPORTS}.{transport}"), Kept()
        monkeypatch.setattr(logger, "handlers", [handler])
        monkeypatch.setattr(logger, "propagate", False)
        monkeypatch.setattr(logger, "level", logging.DEBUG)
        logger.manager._clear_cache()
        return logger, handler.records

    yield keep
    monkeypatch.undo()
    logging.getLogger().manager._clear_cache()


# promise 15
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_googles_log_of_calls_at_debug_withholds_payloads(transport, kept):
    client_of(endpoint="127.0.0.1:1").close()
    logger, records = kept(transport)
    secret = {"response": {"payload": "canary"}, "httpResponse": {"payload": "canary"}}
    logger.debug("Received response", extra=secret)
    secret = {
        "request": {"payload": "canary"},
        "httpRequest": {"body": "canary"},
        "rpcName": "Add",
    }
    logger.debug("Sending request", extra=secret)
    assert "canary" not in str(records)
    assert records[0]["response"] == records[1]["request"] == "withheld by pgp_config"
    assert records[1]["rpcName"] == "Add"


# promise 15
@pytest.mark.parametrize("by_factory", [True, False])
def test_the_log_of_a_real_answer_at_debug_has_no_value(by_factory, kept):
    with SecretManagerEmulator("p") as emulator:
        emulator.add("KEY", "canary")
        client = client_of(endpoint=emulator.endpoint).google
        options = {"endpoint": emulator.endpoint}
        if by_factory:
            options = {"client_factory": lambda: client}
        source = GoogleSecretManager("p", **options)
        _, records = kept("grpc")
        source.fetch("KEY")
        source.close()
    shown = str(records)
    assert ("Received response" in shown) == by_factory
    assert "canary" not in shown
    assert base64.b64encode(b"canary").decode() not in shown


class HeadersSeen(grpc.GenericRpcHandler):
    """A server that notes the headers of each call."""

    def __init__(self):
        self.calls = []

    def service(self, details):
        def answered(_request, _context):
            return AccessSecretVersionResponse.serialize(answer())

        self.calls.append((details.method, sorted(details.invocation_metadata)))
        return grpc.unary_unary_rpc_method_handler(answered)


def test_an_access_sends_the_headers_that_googles_client_sends():
    seen = HeadersSeen()
    server = grpc.server(ThreadPoolExecutor(1), handlers=[seen])
    endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    source, client = (
        GoogleSecretManager("p", endpoint=endpoint),
        client_of(endpoint=endpoint).google,
    )
    source.fetch("KEY")
    client.access_secret_version(name="projects/p/secrets/KEY/versions/latest")
    source.close()
    client.transport.close()
    server.stop(None).wait()
    ours, googles = seen.calls
    assert ours == googles
    assert any(name == "x-goog-request-params" for name, _ in ours[1])


# -- the client of a process ---------------------------------------------------------------------


def test_threads_share_one_client():
    made = []

    def factory():
        made.append(FakeClient(answer()))
        return made[-1]

    source = GoogleSecretManager("p", client_factory=factory)
    start = Barrier(8)

    def fetch(_):
        start.wait(30)
        return source.fetch("KEY").version

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(fetch, range(8))) == {7}
    assert len(made) == 1


def test_a_failed_client_is_made_anew_by_the_next_fetch():
    outcomes = [ValueError("first"), FakeClient(answer())]

    def factory():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    source = GoogleSecretManager("p", client_factory=factory)
    with pytest.raises(SecretUnavailable, match="ValueError"):
        source.fetch("KEY")
    assert source.fetch("KEY").version == 7


def test_whoever_waited_for_a_client_shares_its_failure():
    source = GoogleSecretManager("p", client_factory=pytest.fail)
    source._connection = Future()
    source._connection.set_result(DeclarationError("no", remedy="Do."))
    raised = []
    for name in ("ONE", "TWO"):
        with pytest.raises(DeclarationError, match=f"{name}: no") as caught:
            source.fetch(name)
        raised.append(caught.value)
    assert raised[0] is not raised[1]


def test_a_client_that_takes_too_long_is_not_waited_for():
    source = GoogleSecretManager(
        "p", client_factory=pytest.fail, attempt_timeout=0.001, total_timeout=0.001
    )
    source._connection = Future()
    with pytest.raises(SourceTimeout, match="still looking for credentials") as caught:
        source.fetch("KEY")
    assert "gcloud auth application-default login" in caught.value.remedy


def test_an_interrupt_while_the_client_is_made_strands_nobody():
    source = GoogleSecretManager("p", client_factory=functools.partial(next, iter(())))
    connections = []

    def interrupted():
        connections.append(source._connection)
        raise KeyboardInterrupt

    source._make_client = interrupted
    with pytest.raises(KeyboardInterrupt):
        source.fetch("KEY")
    assert isinstance(connections[0].result(0), SecretUnavailable)
    assert source._connection is None


def test_closing_ends_the_client_and_the_next_fetch_makes_another():
    made = []

    def factory():
        made.append(FakeClient(answer()))
        return made[-1]

    source = GoogleSecretManager("p", client_factory=factory)
    source.close()
    source.fetch("KEY")
    source.close()
    source.close()
    source.fetch("KEY")
    assert [client.closed for client in made] == [1, 0]


def test_closing_while_the_client_is_made_closes_it_then():
    source, client = source_of(answer())
    make = source._make_client

    def close_meanwhile():
        source.close()
        return make()

    source._make_client = close_meanwhile
    source.fetch("KEY")
    assert client.closed == 1
    assert source._connection is None


def test_closing_while_a_client_cannot_be_made_closes_nothing():
    source = GoogleSecretManager("p")

    def close_and_fail():
        source.close()
        raise ValueError

    source._make_client = close_and_fail
    with pytest.raises(SecretUnavailable):
        source.fetch("KEY")


# promise 16
def test_a_child_leaves_the_inherited_client_alone_and_alive(monkeypatch):
    monkeypatch.setattr(manager, "_inherited", [])
    source, client = source_of(answer())
    source.renew_after_fork()
    assert manager._inherited == []
    source.fetch("KEY")
    source.renew_after_fork()
    source.close()
    assert client.closed == 0
    assert [kept.result().google for kept in manager._inherited] == [client]
    gc.collect()
    assert source.fetch("KEY").version == 7


# -- Google's own client -------------------------------------------------------------------------


@pytest.fixture
def channels(monkeypatch):
    """The arguments of every channel that Google's transport creates; nothing is connected."""
    created = []
    create = SecretManagerServiceGrpcTransport.create_channel

    def record(host, **options):
        created.append((host, options))
        return create(host, **options)

    monkeypatch.setattr(SecretManagerServiceGrpcTransport, "create_channel", record)
    return created


@pytest.mark.parametrize(
    ("location", "host"),
    [
        (None, "secretmanager.googleapis.com:443"),
        ("europe-west1", "secretmanager.europe-west1.rep.googleapis.com:443"),
    ],
)
def test_the_client_connects_to_the_global_or_the_regional_endpoint(location, host, channels):
    credentials = AnonymousCredentials()
    client = client_of(location=location, credentials=credentials, user_agent="split2/1.4")
    assert client.google.transport.host == host
    client.close()
    [(connected, options)] = channels
    assert connected == host
    assert options["credentials"] is credentials
    assert ("grpc.max_reconnect_backoff_ms", 1000) in options["options"]
    assert ("grpc.max_receive_message_length", -1) in options["options"]
    assert ("grpc.primary_user_agent", "split2/1.4") in options["options"]


def test_a_project_is_asked_about_over_a_channel_of_its_own(channels):
    credentials = AnonymousCredentials()
    client = client_of(credentials=credentials)
    first = client._to_projects()
    assert client._to_projects() is first
    client.close()
    assert [host for host, _ in channels] == [
        "secretmanager.googleapis.com:443",
        "cloudresourcemanager.googleapis.com",
    ]
    assert channels[1][1]["credentials"] is credentials


def test_a_local_server_is_reached_without_encryption_and_credentials(monkeypatch):
    created = []
    insecure = grpc.insecure_channel

    def record(target, options):
        created.append((target, dict(options)))
        return insecure(target, options)

    monkeypatch.setattr(grpc, "insecure_channel", record)
    monkeypatch.setattr(google.auth, "default", no_credentials)
    client_of(endpoint="localhost:8085").close()
    [(target, options)] = created
    assert target == "localhost:8085"
    assert options["grpc.enable_http_proxy"] == 0
    assert options["grpc.max_reconnect_backoff_ms"] == 1000


def test_missing_credentials_are_no_outage(monkeypatch):
    monkeypatch.setattr(google.auth, "default", no_credentials)
    with pytest.raises(SecretForbidden, match="no Google credentials were found") as caught:
        GoogleSecretManager("p").fetch("KEY")
    assert isinstance(caught.value.__cause__, auth.DefaultCredentialsError)


@pytest.mark.parametrize(
    ("transport", "module", "extra"),
    [
        ("grpc", "grpc", "google"),
        ("grpc", "google.cloud.secretmanager_v1", "google"),
        ("grpc", "tenacity", "google"),
        ("rest", "requests", "google-rest"),
        ("rest", "google.auth", "google-rest"),
        ("rest", "tenacity", "google-rest"),
    ],
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    monkeypatch, transport, module, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    package = sys.modules["pgp_config.sources.google"]
    for home, part in (
        (sys.modules["pgp_config.sources"], "retries"),
        (package, "over_grpc"),
        (package, "over_rest"),
    ):
        monkeypatch.delitem(sys.modules, f"{home.__name__}.{part}", raising=False)
        monkeypatch.delattr(home, part, raising=False)
    source = GoogleSecretManager("p", endpoint="127.0.0.1:1", transport=transport)
    with pytest.raises(DeclarationError, match="cannot be imported") as caught:
        source.fetch("KEY")
    assert module in caught.value.happened
    assert f"pip install 'pgp-config[{extra}]'" in caught.value.remedy


def test_a_warning_that_is_an_error_is_named_as_such(monkeypatch):
    def warn(**_):
        raise FutureWarning("this Python ends")

    monkeypatch.setattr(over_grpc, "connect", warn)
    with pytest.raises(DeclarationError, match=r"give a FutureWarning.*Let it pass") as caught:
        GoogleSecretManager("p", endpoint="127.0.0.1:1").fetch("KEY")
    assert caught.value.__cause__ is None


def test_a_library_that_is_broken_without_a_name_is_told_too():
    def factory():
        raise ImportError("libstdc++.so.6: cannot open shared object file")

    with pytest.raises(DeclarationError, match="no module named") as caught:
        GoogleSecretManager("p", client_factory=factory).fetch("KEY")
    assert "libstdc++" in str(caught.value.__cause__)


def test_the_grpcio_that_hangs_after_a_fork_is_refused(monkeypatch):
    monkeypatch.setattr(grpc, "__version__", "1.78.1")
    with pytest.raises(DeclarationError, match=r"KEY: grpcio 1\.78\.1 is installed") as caught:
        GoogleSecretManager("p", endpoint="127.0.0.1:1").fetch("KEY")
    assert "pip install" in caught.value.remedy


# promise 16
@pytest.mark.parametrize(("patched", "calls"), [(True, 1), (False, 0)])
def test_grpc_waits_in_gevents_way_where_sockets_are_patched(monkeypatch, patched, calls):
    called = []
    monkey = types.SimpleNamespace(is_module_patched=lambda name: name == "socket" and patched)
    adapter = types.SimpleNamespace(init_gevent=lambda: called.append(1))
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    monkeypatch.setitem(sys.modules, "grpc.experimental.gevent", adapter)
    client_of(endpoint="127.0.0.1:1").close()
    assert len(called) == calls


# promise 16
def test_under_gevent_a_fork_finds_no_connection_and_no_thread_of_grpc(monkeypatch):
    joined = []
    pool = types.SimpleNamespace(join=lambda: joined.append(1))
    gevent = types.SimpleNamespace(
        Timeout=lambda *_: contextlib.nullcontext(),
        get_hub=lambda: types.SimpleNamespace(threadpool=pool),
    )
    monkey = types.SimpleNamespace(is_module_patched=lambda name: name == "threading")
    monkeypatch.setitem(sys.modules, "gevent", gevent)
    source = GoogleSecretManager("p", endpoint="127.0.0.1:1")
    source.connect()
    source.prepare_fork()
    assert source._connection is not None
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    source.prepare_fork()
    source.prepare_fork()
    assert source._connection is None
    assert joined == [1]


# promise 16
def test_under_gevent_a_fork_ends_a_connection_over_rest_too(monkeypatch):
    monkey = types.SimpleNamespace(is_module_patched=lambda name: name == "threading")
    source = GoogleSecretManager("p", endpoint="127.0.0.1:1", transport="rest")
    source.connect()
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    source.prepare_fork()
    assert source._connection is None


# promise 16
@pytest.mark.parametrize(("support", "refused"), [("0", True), ("False", True), ("1", False), (None, False)])  # fmt: skip
def test_a_child_is_refused_where_grpc_was_used_before_and_told_that_nobody_forks(
    monkeypatch, support, refused
):
    monkeypatch.setitem(over_grpc._first_user, "pid", os.getppid())
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT", raising=False)
    if support is not None:
        monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", support)
    source = GoogleSecretManager("p", endpoint="127.0.0.1:1")
    if refused:
        with pytest.raises(DeclarationError, match="Unset the variable, load secrets after"):
            source.connect()
    else:
        source.connect()
    source.close()


def test_googles_libraries_are_not_imported_before_the_first_fetch():
    program = (
        "import sys\n"
        "before = {*sys.modules}\n"  # a namespace's .pth file imports google
        "from pgp_config.sources import GoogleSecretManager, source_from_url\n"
        "GoogleSecretManager('p', location='europe-west1'); source_from_url('gsm://p')\n"
        "GoogleSecretManager('p', transport='rest')\n"
        "heavy = {'google', 'grpc', 'requests', 'tenacity', 'urllib3'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in {*sys.modules} - before}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


# -- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("project", ["", " ", "projects/p", "a/b", "p\n", None, 4711, "p?x"])
def test_a_project_is_its_id_or_number(project):
    with pytest.raises(DeclarationError, match="Give the project's id or number alone"):
        GoogleSecretManager(project)


@pytest.mark.parametrize("location", ["", "Europe", "a/b", "a.b", 7])
def test_a_location_is_a_locations_name(location):
    with pytest.raises(DeclarationError, match="'europe-west1', or None"):
        GoogleSecretManager("p", location=location)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:http",
        "10.0.0.1:80",
        "0.0.0.0:80",
        "secretmanager.googleapis.com:443",
        "localhost.example:80",
        "http://127.0.0.1:80",
        "::1:8o",
        7,
    ],
)
def test_an_endpoint_is_on_this_machine(endpoint):
    with pytest.raises(DeclarationError, match=r"give '127\.0\.0\.1:PORT'"):
        GoogleSecretManager("p", endpoint=endpoint)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:80", "127.8.8.8:1", "localhost:80", "[::1]:80"])
def test_these_are_on_this_machine(endpoint):
    assert endpoint in repr(GoogleSecretManager("p", endpoint=endpoint))


@pytest.mark.parametrize(
    ("attempt", "total"), [(0, 1), (2, 1), (timedelta(0), 1), (-1, 1), (1, float("inf")), ("1", 2)]
)
def test_timeouts_are_durations_and_an_attempt_fits_in_the_whole(attempt, total):
    with pytest.raises(DeclarationError, match=r"attempt_timeout|total_timeout"):
        GoogleSecretManager("p", attempt_timeout=attempt, total_timeout=total)


GIVEN = {
    "endpoint": "127.0.0.1:1",
    "credentials": AnonymousCredentials(),
    "client_factory": FakeClient,
}


def test_a_factory_decides_its_transport_itself():
    with pytest.raises(DeclarationError, match="client_factory and transport='rest'") as caught:
        GoogleSecretManager("p", client_factory=FakeClient, transport="rest")
    assert "Leave the transport out" in caught.value.remedy


def test_a_factorys_client_names_itself():
    with pytest.raises(DeclarationError, match="client_factory and a user_agent") as caught:
        GoogleSecretManager("p", client_factory=FakeClient, user_agent="split2")
    assert "name itself" in caught.value.remedy


@pytest.mark.parametrize("transport", ["", "REST", "http", None])
def test_a_transport_is_one_of_two(transport):
    with pytest.raises(DeclarationError, match="transport='grpc' or transport='rest'"):
        GoogleSecretManager("p", transport=transport)


@pytest.mark.parametrize("left_out", GIVEN)
def test_what_would_be_ignored_is_refused(left_out):
    options = {name: value for name, value in GIVEN.items() if name != left_out}
    with pytest.raises(DeclarationError, match="was given two of"):
        GoogleSecretManager("p", **options)


def test_it_shows_where_it_looks_and_no_credentials():
    source = GoogleSecretManager("p", credentials=AnonymousCredentials())
    assert repr(source) == "GoogleSecretManager('p')"


def test_connecting_makes_the_client_before_any_fetch():
    made = []

    def factory():
        made.append(1)
        return object()

    source = GoogleSecretManager("pgp-live", client_factory=factory)
    source.connect()
    source.connect()
    assert made == [1]


def test_connecting_without_credentials_says_so():
    def factory():
        raise auth.DefaultCredentialsError("none were found")

    source = GoogleSecretManager("pgp-live", client_factory=factory)
    with pytest.raises(SecretForbidden, match="gcloud auth application-default login"):
        source.connect()
