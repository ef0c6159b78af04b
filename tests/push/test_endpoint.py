"""The HTTP endpoint, without a framework, in WSGI and ASGI, and in both adapters."""

import base64
import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from wsgiref.util import setup_testing_defaults

import pytest
from fastapi import FastAPI
from flask import Flask

import pgp_config_fastapi
import pgp_config_flask
from pgp_config import (
    DeclarationError,
    DynamicSecret,
    GoogleTokens,
    PushEndpoint,
    PushRefused,
    SecretContainer,
    asgi,
    wsgi,
)
from pgp_config.emulator import TokenSigner
from pgp_config.push import endpoint as module
from pgp_config.push.event import MAX_BODY
from pgp_config.push.tokens import TokenUnverifiable
from pgp_config.scopes import open_scope

AUDIENCE = "https://split2.example/pubsub/secrets"
ACCOUNT = "push@pgp-live.iam.gserviceaccount.com"
PATH = "/pubsub/secrets"


class One(SecretContainer):
    key = DynamicSecret("PUSHED_KEY")


def body_of(kind="SECRET_VERSION_ADD", number=2, name="PUSHED_KEY"):
    secret = f"projects/1/secrets/{name}"
    attributes = {
        "eventType": kind,
        "secretId": secret,
        "versionId": f"{secret}/versions/{number}",
    }
    data = base64.b64encode(b"{}").decode()
    return json.dumps({"message": {"attributes": attributes, "data": data}}).encode()


@pytest.fixture(scope="module")
def signer():
    return TokenSigner()


@pytest.fixture
def push(signer):
    verifier = GoogleTokens(
        audience=AUDIENCE, service_account=ACCOUNT, certificates=signer.certificates
    )
    return PushEndpoint(PATH, verifier=verifier)


@pytest.fixture
def bearer(signer):
    return f"Bearer {signer.token(AUDIENCE, ACCOUNT)}"


@pytest.fixture
def secrets(source, make):
    source.add("PUSHED_KEY", "canary-1")
    secrets = make(One)
    secrets.load()
    source.add("PUSHED_KEY", "canary-2")
    source.calls.clear()
    return secrets


class Through:
    """A way to reach the endpoint."""

    def __init__(self, push, secrets):
        self.push = push
        self.secrets = secrets
        self.reached = []

    def post(self, body, **headers):
        return self.send("POST", PATH, body, headers)


class Wsgi(Through):
    def app(self):
        def inner(environ, start_response):
            self.reached.append(environ["PATH_INFO"])
            start_response("200 OK", [])
            return [b"the application's"]

        return wsgi.PushMiddleware(inner, self.secrets, self.push)

    def send(self, method, path, body, headers):
        told = []
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body + b"of the next request"),
        }
        setup_testing_defaults(environ)
        for name, value in headers.items():
            key = name.upper()
            environ[key if key == "CONTENT_LENGTH" else f"HTTP_{key}"] = value
        answer = self.app()(environ, lambda status, headers: told.extend([status, dict(headers)]))
        return int(told[0][:3]), {k.lower(): v for k, v in told[1].items()}, b"".join(answer)


class FlaskWay(Wsgi):
    def app(self):
        app = Flask("pushed")
        app.add_url_rule("/other", "other", lambda: self.reached.append("/other") or "")

        @app.before_request
        def check():
            self.reached.append("a check of the application's")

        pgp_config_flask.install(app, self.secrets, push=self.push)
        return app


class Asgi(Through):
    def app(self):
        async def inner(scope, receive, send):
            self.reached.append(scope["path"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"the application's"})

        return asgi.PushMiddleware(inner, self.secrets, self.push)

    def send(self, method, path, body, headers):
        import asyncio

        sent = []
        pairs = {"content-length": str(len(body)), **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": f"/mounted{path}",
            "root_path": "/mounted",
            "query_string": b"",
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in pairs.items()],
        }
        parts = iter([body[:10], body[10:]])

        async def receive():
            part = next(parts, None)
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": True}

        async def send(message):
            sent.append(message)

        asyncio.run(self.app()(scope, receive, send))
        told = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return sent[0]["status"], told, b"".join(part["body"] for part in sent[1:])


class FastAPIWay(Asgi):
    def app(self):
        def check():
            self.reached.append("a check of the application's")

        from fastapi import Depends

        app = FastAPI(dependencies=[Depends(check)])
        app.add_api_route("/other", lambda: self.reached.append("/other"))
        pgp_config_fastapi.install(app, self.secrets, push=self.push, close=False)
        return app


@pytest.fixture(params=[Wsgi, FlaskWay, Asgi, FastAPIWay], ids=lambda way: way.__name__)
def way(request, push, secrets):
    return request.param(push, secrets)


# promise 19
def test_a_push_is_answered_after_the_fetch_that_it_set_off(way, secrets, source, bearer):
    status, headers, content = way.post(body_of(), authorization=bearer)
    assert (status, content) == (204, b"")
    assert headers["cache-control"] == "no-store"
    assert source.calls == [("PUSHED_KEY", 2)]
    assert secrets._cache.current(secrets.key._spec).version == 2
    assert way.reached == []


@pytest.mark.parametrize(
    "body", [body_of("SECRET_UPDATE"), body_of(number=1), body_of(name="OTHER"), body_of("NEW")]
)
def test_what_changes_nothing_is_accepted(body, way, source, bearer):
    assert way.post(body, authorization=bearer)[0] == 204
    assert source.calls == []


def test_forged_pushes_are_refused(way, source, signer, caplog):
    strange = signer.token(AUDIENCE, "canary-strange@example.com")
    for status, headers in (
        (401, {}),
        (401, {"authorization": "Basic canary-basic"}),
        (401, {"authorization": "Bearer"}),
        (401, {"authorization": "Bearer canary-token"}),
        (403, {"authorization": f"Bearer {strange}"}),
    ):
        told, answer, content = way.post(body_of(), **headers)
        assert told == status
        assert answer.get("www-authenticate") == ("Bearer" if status == 401 else None)
        assert json.loads(content) == {"error": {401: "unauthorized", 403: "forbidden"}[status]}
    assert source.calls == []
    assert "canary" not in caplog.text
    # Once for each status in half a minute.
    assert caplog.text.count("Refused a push with 401") == 1


def test_nonsense_is_refused(way, source, bearer):
    status, _, content = way.post(b"canary", authorization=bearer)
    assert (status, json.loads(content)) == (400, {"error": "bad request"})
    assert source.calls == []


def test_a_body_that_is_too_large_is_not_read(way, bearer):
    large = str(MAX_BODY + 1)
    assert way.post(b"", authorization=bearer, content_length=large)[0] == 413
    assert way.post(b"", authorization=bearer, content_length="9" * 5000)[0] == 413


def test_an_outage_of_the_certificates_has_google_try_again(way, secrets):
    class Down:
        def verify(self, token):
            raise TokenUnverifiable("no certificates", remedy="Wait.")

    way.push = PushEndpoint(PATH, verifier=Down())
    status, headers, _ = way.post(body_of(), authorization="Bearer x")
    assert (status, headers["retry-after"]) == (503, "10")


def test_everything_else_is_the_applications(way):
    status, _, _ = way.send("GET", "/other", b"", {})
    assert status == 200
    assert way.reached[-1].endswith("/other")
    assert way.send("GET", PATH, b"", {})[0] in {200, 404, 405}


def test_without_a_length_a_body_is_read_only_to_the_end_that_the_server_marks(
    push, secrets, bearer, source
):
    way = Wsgi(push, secrets)
    for marked, status in ((True, 204), (False, 400)):
        told = []
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": PATH,
            "HTTP_AUTHORIZATION": bearer,
            "wsgi.input": io.BytesIO(body_of()),
            "wsgi.input_terminated": marked,
        }
        list(way.app()(environ, lambda status, _, told=told: told.append(status)))
        assert told[0].startswith(str(status))


def test_a_body_that_grows_past_the_limit_is_refused(push, secrets, bearer):
    pieces = io.BytesIO(b"x" * (MAX_BODY * 2))
    answer = push.answer(secrets, {"authorization": bearer}, pieces.read)
    assert answer.status == 413
    assert pieces.tell() == MAX_BODY + 1


async def test_an_asgi_body_that_grows_past_the_limit_is_read_no_further(push, secrets, bearer):
    received = []

    async def receive():
        received.append(1)
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    read = asgi._reader(receive)
    answer = await push.answer_async(secrets, {"authorization": bearer}, read)
    assert (answer.status, len(received)) == (413, 3)


def test_a_slow_fetch_does_not_hold_the_answer_for_ever(
    push, secrets, source, bearer, monkeypatch
):
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    hold = source.hold("PUSHED_KEY")
    try:
        answer = push.answer(secrets, {"authorization": bearer}, io.BytesIO(body_of()).read)
        assert answer.status == 204
        flight = secrets._cache._entries[secrets.key._spec].flight
    finally:
        hold.release()
    assert flight.outcome.result(30).version == 2


def test_a_push_waits_for_the_fetch(push, secrets, source, bearer):
    hold = source.hold("PUSHED_KEY")
    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(
            push.answer, secrets, {"authorization": bearer}, io.BytesIO(body_of()).read
        )
        assert hold.entered.wait(30)
        assert not answering.done()
        hold.release()
        assert answering.result(30).status == 204


def test_several_containers_hear_of_one_push(source, make, signer, bearer, secrets):
    class Other(SecretContainer):
        same = DynamicSecret("PUSHED_KEY")

    other = make(Other)
    source.lag("PUSHED_KEY", 1)
    other.load()
    verifier = GoogleTokens(
        audience=AUDIENCE, service_account=ACCOUNT, certificates=signer.certificates
    )
    push = PushEndpoint(PATH, verifier=verifier, containers=(other,))
    push.answer(secrets, {"authorization": bearer}, io.BytesIO(body_of()).read)
    assert other._cache.current(other.same._spec).version == 2
    assert secrets._cache.current(secrets.key._spec).version == 2


def test_a_push_opens_no_scope(push, bearer):
    seen = []

    class Container:
        def announce(self, event):
            seen.append(open_scope())
            raise PushRefused("enough")

    for way in (Wsgi, Asgi):
        way(push, Container()).post(body_of(), authorization=bearer)
    assert seen == [None, None]


def test_an_endpoint_says_where_it_is(push):
    assert repr(push) == "PushEndpoint('/pubsub/secrets')"
    assert PushEndpoint(audience="a", service_account="a@b").path == "/pubsub/secrets"
    for path in ("", "pubsub", "/", "/pubsub/", None):
        with pytest.raises(DeclarationError, match="no place for a push endpoint"):
            PushEndpoint(path, audience="a", service_account="a@b")


@pytest.mark.parametrize(
    ("app", "install"),
    [(Flask("taken"), pgp_config_flask.install), (FastAPI(), pgp_config_fastapi.install)],
    ids=["flask", "fastapi"],
)
def test_an_adapter_refuses_a_place_that_is_taken_and_what_is_no_push(app, install, push, secrets):
    if isinstance(app, Flask):
        app.add_url_rule(PATH, "taken", str)
    else:
        app.add_api_route(PATH, lambda: "")
    with pytest.raises(DeclarationError, match="has a page at /pubsub/secrets already"):
        install(app, secrets, push=push)
    with pytest.raises(DeclarationError, match=r"push= was given a str.*PubSubListener"):
        install(app, secrets, push="/pubsub/secrets")


def test_refusals_are_logged_again_after_a_while(secrets, signer, clock, caplog):
    push = PushEndpoint(audience="a", service_account="a@b", clock=clock)
    caplog.set_level(logging.WARNING, "pgp_config")
    for _ in range(3):
        push.answer(secrets, {}, io.BytesIO(b"").read)
    clock.advance(30)
    push.answer(secrets, {}, io.BytesIO(b"").read)
    assert caplog.text.count("Refused a push with 401") == 2
