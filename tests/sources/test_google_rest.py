"""Secret Manager without gRPC: what is asked over HTTP, and what each answer, fault and token becomes."""

import base64
import contextlib
import io
import json
import logging
import random
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import google.auth
import pytest
import requests
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials, Credentials, Scoped

from pgp_config import (
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)
from pgp_config.sources import GoogleSecretManager, retries
from pgp_config.sources.google import over_rest
from pgp_config.sources.google.over_rest import RestClient

NAME = "projects/4711/secrets/KEY/versions/7"
TOKEN = "canary-token"


def ok(data=b"canary", name=NAME, **payload):
    encoded = base64.b64encode(data).decode()
    return 200, json.dumps({"name": name, "payload": {"data": encoded, **payload}}).encode()


def refusal(code, status=None, message="no"):
    error = {"code": code, "message": message}
    return code, json.dumps({"error": {**error, "status": status} if status else error}).encode()


def response_of(code, body):
    response = requests.Response()
    response.status_code, response.raw = code, io.BytesIO(body)
    return response


class FakeSession(requests.Session):
    """Answers from a script: an exception, or a code and a body."""

    def __init__(self, *script):
        super().__init__()
        self.script = list(script)
        self.urls = []

    def request(self, verb, url, *, data, headers, timeout, stream, allow_redirects):
        assert (verb, data, headers) == ("GET", None, None)
        assert stream
        assert not allow_redirects
        self.urls.append(url)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return response_of(*step)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)


#: More than any machine needs: what is tested here does not depend on time.
AMPLE = {"attempt_timeout": 30, "total_timeout": 30}


@pytest.fixture
def once(monkeypatch):
    """Has the first attempt be the last: no time is left that is worth another."""
    monkeypatch.setattr(retries, "LEAST_ATTEMPT", 30)


def source_on(session, **options):
    source = GoogleSecretManager("p", transport="rest", **{**AMPLE, **options})
    source._make_client = lambda: RestClient(session, "https://manager.test")
    return source


def source_of(*script, **options):
    session = FakeSession(*script)
    return source_on(session, **options), session


def held_by(error):
    """All that the frames and the attributes of an error and of its cause show."""
    inner = error.with_traceback(error.__traceback__.tb_next)
    report = traceback.TracebackException.from_exception(inner, capture_locals=True)
    cause = error.__cause__
    return "".join([*report.format(), *map(repr, vars(cause).values()), *map(repr, cause.args)])


# -- what is asked and answered ------------------------------------------------------------------


def test_the_version_comes_from_the_answers_name_and_the_checksum_with_it():
    source, session = source_of(ok(dataCrc32c="11"))
    payload = source.fetch("KEY")
    assert (payload.data, payload.version, payload.crc32c) == (b"canary", 7, 11)
    assert session.urls == [
        "https://manager.test/v1/projects/p/secrets/KEY/versions/latest:access"
    ]


def test_a_checksum_that_did_not_come_is_none_and_one_that_is_0_is_kept():
    assert source_of(ok())[0].fetch("KEY").crc32c is None
    assert source_of(ok(dataCrc32c="0"))[0].fetch("KEY").crc32c == 0


def test_a_regional_secret_is_asked_for_under_its_location():
    source, session = source_of(ok(), location="europe-west1")
    source.fetch("KEY", 7)
    assert session.urls[0].endswith(
        "/projects/p/locations/europe-west1/secrets/KEY/versions/7:access"
    )


def test_an_empty_payload_is_one():
    assert (
        source_of((200, f'{{"name": "{NAME}", "payload": {{}}}}'.encode()))[0].fetch("KEY").data
        == b""
    )


DAMAGED = [
    b"",
    b"canary",
    b'{"canary": ',
    b'["canary"]',
    b'"canary"',
    b'{"payload": {"data": "Y2FuYXJ5"}}',
    b'{"name": "projects/p/secrets/KEY/versions/1", "payload": "canary"}',
    ok(name="projects/4711/secrets/KEY/versions/canary")[1],
    ok(dataCrc32c="canary")[1],
    ok()[1].replace(b"Y2FuYXJ5", b"Y2FuY"),
    ok()[1].replace(b"Y2FuYXJ5", b"!Y2FuYXJ5"),
    b"\xff\xfecanary",
]


@pytest.mark.parametrize("body", DAMAGED)
def test_an_answer_that_is_none_is_asked_for_again(body):
    source, session = source_of((200, body), (200, body), ok())
    assert source.fetch("KEY").version == 7
    assert len(session.urls) == 3


# promise 15
@pytest.mark.parametrize("body", DAMAGED)
def test_an_answer_that_is_none_is_not_shown(body, once):
    source, _ = source_of((200, body))
    with pytest.raises(SecretUnavailable, match="INTERNAL") as caught:
        source.fetch("KEY")
    shown = held_by(caught.value)
    assert "none of Secret Manager's" in shown
    assert "canary" not in shown
    assert "Y2FuY" not in shown


def test_an_answer_that_does_not_end_is_not_read_to_its_end(monkeypatch, once):
    monkeypatch.setattr(over_rest, "MOST_BYTES", 40)
    source, _ = source_of((200, b"x" * 41))
    with pytest.raises(SecretUnavailable) as caught:
        source.fetch("KEY")
    assert "more than 40 bytes" in str(caught.value.__cause__)


# -- faults (promise 8) --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        refusal(503, "UNAVAILABLE"),
        refusal(504, "DEADLINE_EXCEEDED"),
        refusal(500, "INTERNAL"),
        refusal(429, "RESOURCE_EXHAUSTED"),
        refusal(429),
        (502, b"<html>Bad Gateway</html>"),
        (500, b""),
        (503, b"[]"),
        (504, b'{"error": "late"}'),
        requests.ConnectTimeout("x"),
        requests.ReadTimeout("x"),
        requests.ConnectionError("x"),
        requests.exceptions.SSLError("x"),
        requests.exceptions.ChunkedEncodingError("x"),
        auth.TransportError("x"),
        auth.RefreshError("x", retryable=True),
        auth.RefreshError(auth.TransportError("x")),
    ],
)
def test_what_may_pass_is_tried_again(fault):
    source, session = source_of(fault, fault, ok())
    assert source.fetch("KEY").version == 7
    assert len(session.urls) == 3


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (refusal(404, "NOT_FOUND"), SecretNotFound, "or has no version"),
        (refusal(404), SecretNotFound, "or has no version"),
        (refusal(403, "PERMISSION_DENIED"), SecretForbidden, "may not read"),
        (refusal(403), SecretForbidden, "may not read"),
        (refusal(401, "UNAUTHENTICATED"), SecretForbidden, "credentials"),
        (refusal(401), SecretForbidden, "credentials"),
        (refusal(400, "FAILED_PRECONDITION"), SecretDisabled, "disabled or destroyed"),
        (refusal(400, "INVALID_ARGUMENT"), SecretUnavailable, "invalid"),
        (refusal(400), SecretUnavailable, "invalid"),
        (refusal(409, "ABORTED"), SecretUnavailable, "ABORTED"),
        (refusal(500, "DATA_LOSS"), SecretUnavailable, "DATA_LOSS"),
        (refusal(500, 7), SecretUnavailable, "(7)"),
        ((302, b""), SecretUnavailable, "HTTP 302"),
        ((204, b""), SecretUnavailable, "HTTP 204"),
        (auth.DefaultCredentialsError("x"), SecretForbidden, "no Google credentials"),
        (auth.RefreshError("invalid_grant: Bad Request"), SecretForbidden, "refused the cred"),
        (auth.RefreshError(), SecretForbidden, "refused the credentials"),
        (ValueError("x"), SecretUnavailable, "ValueError"),
    ],
)
def test_what_will_not_pass_is_asked_once_and_explained(fault, kind, says):
    source, session = source_of(fault)
    with pytest.raises(kind) as caught:
        source.fetch("KEY")
    assert type(caught.value) is kind
    assert caught.value.secret == "KEY"
    assert caught.value.remedy
    assert says in caught.value.happened
    assert len(session.urls) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (requests.ReadTimeout("late"), SourceTimeout, "did not answer within 30 s"),
        (requests.ConnectTimeout("late"), SourceTimeout, "did not answer within 30 s"),
        (requests.ConnectionError("refused"), SecretUnavailable, "UNAVAILABLE"),
        (auth.TransportError("x"), SecretUnavailable, "token server could not be reached"),
        (auth.RefreshError(auth.TransportError("x")), SecretUnavailable, "token server could"),
        (refusal(429, "RESOURCE_EXHAUSTED"), SecretUnavailable, "quota"),
    ],
)
def test_what_does_not_pass_in_time_is_explained_by_the_last_attempt(fault, kind, says, once):
    source, _ = source_of(fault)
    with pytest.raises(kind) as caught:
        source.fetch("KEY")
    assert type(caught.value) is kind
    assert says in caught.value.happened


# promise 15
@pytest.mark.parametrize("kind", [requests.ConnectionError, requests.exceptions.InvalidHeader])
def test_a_cause_has_the_text_of_what_failed_and_not_the_request(kind, once):
    request = requests.Request("GET", "https://x", {"authorization": f"Bearer {TOKEN}"}).prepare()
    fault = kind("no route", request=request)
    source, _ = source_of(fault)
    with pytest.raises(SecretUnavailable) as caught:
        source.fetch("KEY")
    cause = caught.value.__cause__
    assert str(cause) == f"UNAVAILABLE: {kind.__name__}: no route"
    assert (cause.__traceback__, cause.__cause__, cause.__context__) == (None, None, None)
    assert "canary" not in held_by(caught.value)


# promise 15
def test_the_cause_of_a_token_that_could_not_be_had_does_not_hold_the_request_for_it(once):
    inner = requests.ConnectionError("no route", request=TOKEN)
    for fault in (auth.TransportError(inner), auth.RefreshError("invalid_grant", {"id": TOKEN})):
        source, _ = source_of(fault)
        with pytest.raises(SecretUnavailable) as caught:
            source.fetch("KEY")
        assert str(caught.value.__cause__) in ("no route", "invalid_grant")
        assert "canary" not in held_by(caught.value)


# promise 15
def test_no_frame_of_an_error_is_of_the_session():
    source, _ = source_of(refusal(404))
    with pytest.raises(SecretNotFound) as caught:
        source.fetch("KEY")
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames][1:] == ["fetch"]


# -- the time an attempt may take ----------------------------------------------------------------


class StuckSession(FakeSession):
    """Does not answer before it is released, whatever its time-out."""

    def __init__(self, *script):
        super().__init__(*script)
        self.released = threading.Event()

    def request(self, verb, url, **options):
        response = super().request(verb, url, **options)
        assert self.released.wait(30)
        return response


@pytest.fixture
def stuck():
    session = StuckSession(ok())
    yield session
    session.released.set()


# promise 8
def test_an_attempt_ends_in_time_also_where_the_time_out_of_requests_does_not(stuck):
    source = source_on(stuck, attempt_timeout=0.05, total_timeout=0.05)
    with pytest.raises(SourceTimeout, match=r"within 0\.05 s"):
        source.fetch("KEY")


def test_attempts_that_were_given_up_do_not_pile_up(stuck, monkeypatch):
    monkeypatch.setattr(over_rest, "MOST_ATTEMPTS", 1)
    source = source_on(stuck, attempt_timeout=0.05, total_timeout=0.05)
    for _ in range(3):
        with pytest.raises(SourceTimeout):
            source.fetch("KEY")
    stuck.released.set()
    free = source._client()._attempts._free
    assert free.acquire(timeout=30)
    assert len(stuck.urls) == 1
    free.release()
    assert source.fetch("KEY").version == 7


def test_a_thread_that_cannot_start_is_an_outage_and_takes_no_place(monkeypatch):
    monkeypatch.setattr(over_rest, "MOST_ATTEMPTS", 1)
    source, _ = source_of(ok())
    source.connect()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(SecretUnavailable, match="RuntimeError"):
            source.fetch("KEY")
    assert source.fetch("KEY").version == 7


def no_thread(_):
    raise RuntimeError("can't start new thread")


# -- the session ---------------------------------------------------------------------------------


class Token(Credentials, Scoped):
    """Credentials with a token, that need no server for it unless they are told to fail."""

    def __init__(self, fault=None, scopes=None):
        super().__init__()
        self._fault, self._scopes, self._default_scopes = fault, scopes, None

    requires_scopes = property(lambda self: self._default_scopes is None)

    def with_scopes(self, scopes, default_scopes=None):
        made = Token(self._fault, scopes)
        made._default_scopes = default_scopes
        return made

    def refresh(self, request):
        if self._fault is not None:
            raise self._fault
        self.token = TOKEN


@pytest.fixture
def sent(monkeypatch):
    """The requests that leave a session, each answered at once."""
    requests_sent = []

    def send(session, request, **_):
        requests_sent.append(request)
        return response_of(*ok())

    monkeypatch.setattr(requests.Session, "send", send)
    return requests_sent


@pytest.mark.parametrize(
    ("location", "host"),
    [
        (None, "secretmanager.googleapis.com"),
        ("europe-west1", "secretmanager.europe-west1.rep.googleapis.com"),
    ],
)
def test_google_is_asked_over_tls_with_a_token(location, host, sent):
    source = GoogleSecretManager(
        "p", location=location, credentials=Token(), transport="rest", user_agent="split2/1.4"
    )
    source.fetch("KEY")
    source.close()
    assert sent[0].url.startswith(f"https://{host}/v1/projects/p/")
    assert sent[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert sent[0].headers["User-Agent"] == "split2/1.4 pgp-config"


def test_the_default_credentials_are_asked_for_the_scope_that_google_asks_for(monkeypatch, sent):
    asked = []

    def default(**options):
        asked.append(options)
        return Token(), "p"

    monkeypatch.setattr(google.auth, "default", default)
    source = GoogleSecretManager("p", transport="rest")
    source.fetch("KEY")
    source.close()
    assert asked == [{"default_scopes": ("https://www.googleapis.com/auth/cloud-platform",)}]
    assert sent[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_given_credentials_get_that_scope():
    client = over_rest.connect(location=None, endpoint=None, credentials=Token())
    assert client._session.credentials._default_scopes == over_rest._SCOPES
    client.close()


def test_a_project_is_asked_about_where_resource_manager_answers(sent):
    source = GoogleSecretManager("p", credentials=Token(), transport="rest")
    assert source.administration().grants_above() == []
    source.close()
    assert sent[0].url == (
        "https://cloudresourcemanager.googleapis.com/v1/projects/p:getIamPolicy"
    )


def test_a_netrc_does_not_take_the_tokens_place(monkeypatch, tmp_path, sent):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password canary-netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    source = GoogleSecretManager("p", credentials=Token(), transport="rest")
    source.fetch("KEY")
    source.close()
    assert sent[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_missing_credentials_are_no_outage(monkeypatch):
    def default(**_):
        raise auth.DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(SecretForbidden, match="no Google credentials were found"):
        GoogleSecretManager("p", transport="rest").connect()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (auth.RefreshError("invalid_grant: expired"), SecretForbidden),
        (auth.RefreshError(auth.TransportError("no metadata server")), SecretUnavailable),
    ],
)
def test_a_token_that_is_not_had_reaches_no_server(fault, kind, sent, once):
    source = GoogleSecretManager("p", credentials=Token(fault), transport="rest", **AMPLE)
    with pytest.raises(kind) as caught:
        source.fetch("KEY")
    source.close()
    assert type(caught.value) is kind
    assert sent == []


# promise 15
def test_no_log_at_debug_has_a_value_or_a_token(secret_manager, caplog, monkeypatch):
    secret_manager.add("KEY", "canary")
    caplog.set_level(logging.DEBUG)
    # Google's library decides once a process whether its loggers tell the root logger.
    googles = logging.getLogger("google.auth.transport.requests")
    monkeypatch.setattr(googles, "handlers", [caplog.handler])
    caplog.set_level(logging.DEBUG, googles.name)
    session = over_rest._authorized(Token())
    with contextlib.closing(
        RestClient(session, f"http://{secret_manager.rest_endpoint}")
    ) as client:
        client.access("projects/local/secrets/KEY/versions/latest", 10.0)
    answered = {"httpResponse": {"payload": "canary"}}
    googles.debug("Response received...", extra=answered)
    shown = "".join(str(vars(record)) for record in caplog.records)
    assert "/secrets/KEY/versions/latest:access" in shown
    assert "Response received" in shown
    assert "canary" not in shown
    assert base64.b64encode(b"canary").decode() not in shown


def test_many_fetches_at_once_keep_their_connections(secret_manager, monkeypatch, caplog):
    many = over_rest.MOST_ATTEMPTS
    secret_manager.add("KEY", "canary")
    secret_manager.hold("KEY")
    together = threading.Barrier(many)
    monkeypatch.setattr(secret_manager, "_wait", lambda hold: together.wait(30))
    source = GoogleSecretManager(
        "local", endpoint=secret_manager.rest_endpoint, transport="rest", **AMPLE
    )
    with ThreadPoolExecutor(many) as pool:
        for _ in range(2):
            versions = pool.map(lambda _: source.fetch("KEY").version, range(many))
            assert set(versions) == {1}
    assert len(secret_manager._servers[1]._serving) == many
    source.close()
    assert [record.message for record in caplog.records if record.levelno > logging.DEBUG] == []


# -- without gRPC (promise 16) -------------------------------------------------------------------

FETCHING = """
import sys
from pgp_config import source_from_url

{blocked}
source = source_from_url(sys.argv[1])
assert source.fetch("KEY").data == b"canary"
try:
    source.fetch("MISSING")
except LookupError as error:
    assert "does not exist" in str(error)
source.close()
heavy = ("grpc", "google.api_core", "google.cloud.secretmanager", "google.cloud.secretmanager_v1")
print([name for name in heavy if sys.modules.get(name)])
"""

BLOCKED = """
for name in ("grpc", "google.api_core", "google.cloud"):
    sys.modules[name] = None
"""


@pytest.mark.parametrize("blocked", ["", BLOCKED], ids=["installed", "missing"])
def test_grpc_is_neither_imported_nor_needed(secret_manager, blocked):
    secret_manager.add("KEY", "canary")
    url = f"gsm://local?endpoint={secret_manager.rest_endpoint}&transport=rest"
    ran = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore::FutureWarning",
            "-c",
            FETCHING.format(blocked=blocked),
            url,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_it_shows_its_transport_and_no_credentials():
    source = GoogleSecretManager("p", credentials=AnonymousCredentials(), transport="rest")
    assert repr(source) == "GoogleSecretManager('p', transport='rest')"
