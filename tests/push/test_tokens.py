"""A push has to prove that Google sends it, for this service, in the name of this account."""

import base64
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.auth import crypt, jwt

from pgp_config import DeclarationError, GoogleTokens, PushRefused
from pgp_config.emulator import TokenSigner
from pgp_config.push import tokens
from pgp_config.push.tokens import FRESH, PAUSE, USABLE, fetch_certificates

AUDIENCE = "https://split2.example/pubsub/secrets"
ACCOUNT = "push@pgp-live.iam.gserviceaccount.com"


class Server:
    """Google's certificates, counted, and not always to be had."""

    def __init__(self, signer):
        self.signer = signer
        self.calls = 0
        self.fault = None
        self.answer = None

    def __call__(self):
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        return self.signer.certificates() if self.answer is None else self.answer


@pytest.fixture(scope="module")
def signer():
    return TokenSigner()


@pytest.fixture
def server(signer):
    return Server(signer)


@pytest.fixture
def google(server, clock):
    return GoogleTokens(
        audience=AUDIENCE, service_account=ACCOUNT, certificates=server, clock=clock
    )


def refused(google, token):
    with pytest.raises(PushRefused) as caught:
        google.verify(token)
    assert caught.value.__cause__ is None
    # Google's errors show parts of a token.
    assert isinstance(caught.value.__context__, TimeoutError | None)
    assert len(token) < 20 or token[:20] not in str(caught.value)
    return caught.value.status


def test_a_token_of_googles_is_taken(google, signer):
    google.verify(signer.token(AUDIENCE, ACCOUNT))
    google.verify(signer.token(AUDIENCE, ACCOUNT, iss="accounts.google.com"))


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"aud": "https://other.example"}, 401),
        ({"aud": None}, 401),
        ({"iss": "https://evil.example"}, 401),
        ({"iss": None}, 401),
        ({"exp": time.time() - 3600}, 401),
        ({"exp": "never"}, 401),
        ({"exp": None}, 401),
        ({"iat": time.time() + 3600}, 401),
        ({"email": "other@pgp-live.iam.gserviceaccount.com"}, 403),
        ({"email": ACCOUNT.upper()}, 403),
        ({"email": None}, 403),
        ({"email_verified": False}, 403),
        ({"email_verified": "true"}, 403),
    ],
)
def test_what_a_token_says_is_checked(claims, status, google, signer):
    assert refused(google, signer.token(AUDIENCE, ACCOUNT, **claims)) == status


def test_clocks_may_differ_a_little(google, signer):
    google.verify(signer.token(AUDIENCE, ACCOUNT, exp=time.time() - 15))
    google.verify(signer.token(AUDIENCE, ACCOUNT, iat=time.time() + 15))
    assert refused(google, signer.token(AUDIENCE, ACCOUNT, exp=time.time() - 60)) == 401


def segments(*parts):
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_a_token_that_another_key_signed_is_forged(google, signer, server):
    forger = TokenSigner()
    assert refused(google, forger.token(AUDIENCE, ACCOUNT)) == 401
    # With the id of Google's key.
    key_id = next(iter(signer.certificates()))
    forger._newest()
    alien = forger._keys[0][0]
    claims = jwt.decode(signer.token(AUDIENCE, ACCOUNT), verify=False)
    assert refused(google, jwt.encode(alien, claims, key_id=key_id).decode()) == 401
    assert isinstance(alien, crypt.RSASigner)


def test_what_is_no_token_is_refused(google, signer, server):
    header, claims, signature = signer.token(AUDIENCE, ACCOUNT).split(".")
    key_id = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    for token in (
        "",
        "canary",
        "a.b",
        "a.b.c.d",
        "\ud800",
        "é.é.é",
        "x" * 10_000,
        f"{header}.{claims}.",
        f"{header}.{claims}.{signature[::-1]}",
        segments(b'{"alg": "none", "kid": "1"}', b"{}", b""),
        segments(b'{"alg": "HS256", "kid": "1"}', b"{}", b""),
        segments(b'{"alg": ["RS256"], "kid": "1"}', b"{}", b""),
        segments(b'{"alg": "RS256"}', b"{}", b""),
        segments(b'{"alg": "RS256", "kid": 1}', b"{}", b""),
        segments(b'["alg"]', b"{}", b""),
        segments(json.dumps({"alg": "RS256", "kid": key_id}).encode(), b"[]", b"x"),
    ):
        assert refused(google, token) == 401, token
    assert server.calls <= 1


def removed(token):
    """As Cloud Run hands a token on where a service requires authentication."""
    return f"{token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"


def test_a_signature_that_cloud_run_removed_is_no_signature(google, signer, server):
    with pytest.raises(PushRefused, match="behind_cloud_run_iam=True") as caught:
        google.verify(removed(signer.token(AUDIENCE, ACCOUNT)))
    assert caught.value.status == 401


def test_behind_cloud_runs_own_check_the_rest_of_a_token_is_checked(server, signer):
    google = GoogleTokens(
        audience=AUDIENCE,
        service_account=ACCOUNT,
        certificates=server,
        behind_cloud_run_iam=True,
    )
    google.verify(removed(signer.token(AUDIENCE, ACCOUNT)))
    for status, claims in (
        (401, {"exp": time.time() - 60}),
        (401, {"exp": None}),
        (401, {"aud": "https://other.example"}),
        (401, {"iss": "https://evil.example"}),
        (403, {"email": "other@example.com"}),
        (403, {"email_verified": None}),
    ):
        assert refused(google, removed(signer.token(AUDIENCE, ACCOUNT, **claims))) == status
    assert refused(google, "x" * 10_000 + ".SIGNATURE_REMOVED_BY_GOOGLE") == 401
    # Whatever has a signature has to have a good one.
    assert refused(google, TokenSigner().token(AUDIENCE, ACCOUNT)) == 401
    google.verify(signer.token(AUDIENCE, ACCOUNT))


def test_certificates_are_fetched_once_an_hour(google, server, signer, clock):
    for _ in range(5):
        google.verify(signer.token(AUDIENCE, ACCOUNT))
    assert server.calls == 1
    clock.advance(FRESH)
    google.verify(signer.token(AUDIENCE, ACCOUNT))
    assert server.calls == 2


def test_a_new_key_of_googles_is_picked_up(google, server, clock):
    server.signer = TokenSigner()
    google.verify(server.signer.token(AUDIENCE, ACCOUNT))
    server.signer.rotate()
    clock.advance(PAUSE)
    google.verify(server.signer.token(AUDIENCE, ACCOUNT))
    assert server.calls == 2


def test_forged_keys_do_not_cost_a_fetch_each(google, server, signer, clock):
    google.verify(signer.token(AUDIENCE, ACCOUNT))
    for number in range(50):
        token = segments(json.dumps({"alg": "RS256", "kid": str(number)}).encode(), b"{}", b"x")
        assert refused(google, token) == 401
    assert server.calls == 1
    clock.advance(PAUSE)
    for _ in range(50):
        assert refused(google, token) == 401
    assert server.calls == 2


def test_an_outage_of_the_certificates_is_told_as_such_and_ends(
    google, server, signer, clock, caplog
):
    server.fault = OSError("canary-address")
    assert refused(google, signer.token(AUDIENCE, ACCOUNT)) == 503
    assert refused(google, signer.token(AUDIENCE, ACCOUNT)) == 503
    assert server.calls == 1
    assert "OSError" in caplog.text
    assert "canary" not in caplog.text
    server.fault = None
    clock.advance(PAUSE)
    google.verify(signer.token(AUDIENCE, ACCOUNT))


def test_through_an_outage_known_certificates_serve_for_some_hours(google, server, signer, clock):
    google.verify(signer.token(AUDIENCE, ACCOUNT))
    server.fault = OSError()
    clock.advance(USABLE - 1)
    google.verify(signer.token(AUDIENCE, ACCOUNT))
    clock.advance(1)
    assert refused(google, signer.token(AUDIENCE, ACCOUNT)) == 503


@pytest.mark.parametrize("answer", [{"1": None}, {1: "x"}, 7, {"keys": []}])
def test_an_answer_that_is_no_certificates_is_an_outage(answer, google, server, signer):
    server.answer = answer
    assert refused(google, signer.token(AUDIENCE, ACCOUNT)) == 503


def test_a_certificate_that_is_none_verifies_nothing(google, server, signer):
    server.answer = dict.fromkeys(signer.certificates(), "no certificate")
    assert refused(google, signer.token(AUDIENCE, ACCOUNT)) == 401


def test_pushes_at_once_share_one_fetch(google, server, signer):
    entered, released = threading.Event(), threading.Event()
    fetch = server.signer.certificates

    class Slow:
        def certificates(self):
            entered.set()
            assert released.wait(30)
            return fetch()

    server.signer = Slow()
    token = signer.token(AUDIENCE, ACCOUNT)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(google.verify, token)
        assert entered.wait(30)
        others = [pool.submit(google.verify, token) for _ in range(7)]
        released.set()
        for verified in (first, *others):
            verified.result(30)
    assert server.calls == 1


def test_who_waits_too_long_for_anothers_fetch_is_told_of_an_outage(
    google, server, signer, monkeypatch
):
    entered, released = threading.Event(), threading.Event()
    monkeypatch.setattr(tokens, "TIMEOUT", 0.0)

    class Slow:
        def certificates(self):
            entered.set()
            assert released.wait(30)
            return signer.certificates()

    server.signer = Slow()
    token = signer.token(AUDIENCE, ACCOUNT)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(google.verify, token)
        assert entered.wait(30)
        assert refused(google, token) == 503
        released.set()
        first.result(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_does_not_wait_for_its_parents_fetch(google, server, signer):
    google.verify(signer.token(AUDIENCE, ACCOUNT))
    google._keys._lock.acquire()
    google._keys._fetching = object()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        google.verify(signer.token(AUDIENCE, ACCOUNT))
        os.write(writing, b"%d" % (google._keys._fetching is None))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "1"
    os.waitpid(child, 0)


def test_the_certificates_of_a_local_secret_manager_are_fetched_over_http(secret_manager):
    url = f"http://{secret_manager.rest_endpoint}"
    assert fetch_certificates(f"{url}/oauth2/v1/certs") == secret_manager.signer.certificates()
    with pytest.raises(OSError, match="HTTP status 4"):
        fetch_certificates(f"{url}/v1/elsewhere")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"audience": ""}, "audience"),
        ({"audience": None}, "audience"),
        ({"service_account": "push"}, "service account"),
        ({"service_account": None}, "service account"),
        ({"clock_skew": -1}, "clock skew"),
        ({"clock_skew": 301}, "clock skew"),
        ({"clock_skew": 1.5}, "clock skew"),
    ],
)
def test_arguments_that_verify_nothing_are_refused(wrong, told):
    with pytest.raises(DeclarationError, match=told):
        GoogleTokens(**{"audience": AUDIENCE, "service_account": ACCOUNT, **wrong})


def test_a_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "google.auth", None)
    with pytest.raises(DeclarationError, match=r"pip install 'pgp-config\[push\]'"):
        GoogleTokens(audience=AUDIENCE, service_account=ACCOUNT)


def test_it_shows_what_it_expects(google):
    assert repr(google) == f"GoogleTokens(audience={AUDIENCE!r}, service_account={ACCOUNT!r})"
