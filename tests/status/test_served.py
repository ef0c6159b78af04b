"""Where the page is, who may see it, and what is around it: in the plain middleware of both kinds."""

import asyncio
import base64
import functools
import json
import logging

import httpx
import pytest

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    KeyRing,
    SecretContainer,
    SecretForbidden,
    SecretUnavailable,
    StartupError,
    StaticSecret,
    asgi,
    request_scope,
    wsgi,
)
from pgp_config.scopes import open_scope
from pgp_config.status import Challenge, SecretAuth, StatusPage, StatusRequest


class Shop(SecretContainer):
    fixed = StaticSecret("FIXED")
    token = DynamicSecret("STATUS_TOKEN")
    ring = KeyRing("STATUS_RING")
    raw = DynamicSecret("RAW_TOKEN", bytes)
    fee = DynamicSecret("FEE", int)


def wsgi_app(environ, start_response):
    assert open_scope() is None
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the application's"]


async def asgi_app(scope, receive, send):
    assert open_scope() is None
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"the application's"})


class Wsgi:
    def __init__(self, secrets, shown):
        app = wsgi.StatusMiddleware(wsgi_app, secrets, shown)
        transport = httpx.WSGITransport(app, remote_addr="10.0.0.7")
        self._client = httpx.Client(transport=transport, base_url="http://test")

    def ask(self, method, path, **options):
        return self._client.request(method, path, **options)


class Asgi:
    def __init__(self, secrets, shown):
        self._app = asgi.StatusMiddleware(asgi_app, secrets, shown)

    def ask(self, method, path, **options):
        return asyncio.run(self._ask(method, path, **options))

    async def _ask(self, method, path, **options):
        transport = httpx.ASGITransport(self._app, client=("10.0.0.7", 123))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)


@pytest.fixture
def secrets(make, source):
    source.add("FIXED", "canary-fixed")
    source.add("STATUS_TOKEN", "canary-token-1")
    source.add("STATUS_RING", "canary-ring-1")
    source.add("RAW_TOKEN", b"canary-raw")
    source.add("FEE", "31337001")
    container = make(Shop)
    container.load()
    return container


@pytest.fixture(params=[Wsgi, Asgi], ids=["wsgi", "asgi"])
def kind(request):
    return request.param


@pytest.fixture
def serve(kind, secrets):
    return lambda auth, **options: kind(secrets, StatusPage(auth, **options))


def admit(request):
    return True


def _hidden(auth):
    """A plain function that returns a coroutine."""

    def call(request):
        return auth(request)

    return call


def basic(user, password):
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_the_data_is_json_and_holds_no_value(serve):
    answer = serve(admit).ask("GET", "/_secrets/data")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    names = [row["name"] for row in answer.json()["secrets"]]
    assert names == ["FEE", "FIXED", "RAW_TOKEN", "STATUS_RING", "STATUS_TOKEN"]
    assert "shown" not in answer.json()
    assert "canary" not in answer.text
    assert "31337001" not in answer.text


@pytest.mark.parametrize("path", ["/_secrets", "/_secrets/", "/_secrets/data"])
def test_every_answer_is_kept_framed_and_guessed_by_nobody(serve, path):
    headers = serve(admit).ask("GET", path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]


def test_a_request_that_looks_reads_no_secret_and_asks_the_source_for_nothing(serve, source):
    served = serve(admit)
    calls = len(source.calls)
    for path in ("/_secrets", "/_secrets/data"):
        rows = served.ask("GET", path)
        assert rows.status_code == 200
    assert len(source.calls) == calls
    data = served.ask("GET", "/_secrets/data").json()
    assert {row["read_seconds_ago"] for row in data["secrets"]} == {None}


def test_head_has_the_headers_and_no_body(serve):
    served = serve(admit)
    head, get = served.ask("HEAD", "/_secrets/data"), served.ask("GET", "/_secrets/data")
    assert (head.status_code, head.content) == (200, b"")
    assert abs(int(head.headers["Content-Length"]) - len(get.content)) < 20


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_secrets"),
        ("PUT", "/_secrets/data"),
        ("GET", "/_secrets/other"),
        ("GET", "/_secretsdata"),
        ("GET", "/"),
    ],
)
def test_all_else_is_the_applications_and_auth_is_not_asked(serve, method, path):
    asked = []
    assert serve(asked.append).ask(method, path).text == "the application's"
    assert asked == []


def test_it_is_where_it_is_put(serve):
    served = serve(admit, path="/ops/keys")
    assert served.ask("GET", "/ops/keys").status_code == 200
    assert served.ask("GET", "/ops/keys/data").status_code == 200
    assert served.ask("GET", "/_secrets").text == "the application's"


def test_auth_is_given_what_it_needs(serve):
    asked = []
    serve(asked.append).ask("GET", "/_secrets/data?after=3", headers={"X-Who": "me"})
    (request,) = asked
    assert (request.method, request.path, request.query) == ("GET", "/_secrets/data", "after=3")
    assert request.headers["x-who"] == "me"
    assert request.remote == "10.0.0.7"


def test_who_is_refused_meets_the_application_as_if_there_was_no_page(serve):
    answer = serve(lambda request: False).ask("GET", "/_secrets")
    assert (answer.status_code, answer.text) == (404, "the application's")


def test_a_challenge_is_a_401(serve):
    answer = serve(lambda request: Challenge('Basic realm="x"')).ask("GET", "/_secrets/data")
    assert (answer.status_code, answer.text) == (401, "Unauthorized\n")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="x"'
    assert answer.headers["Cache-Control"] == "no-store"


def broken(request):
    raise RuntimeError("canary: this text may hold anything")


def forbidden(request):
    raise SecretForbidden("may not be read", remedy="Grant it.", secret="STATUS_TOKEN")


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        (broken, "its auth callable raised RuntimeError"),
        (forbidden, "its auth callable raised STATUS_TOKEN: may not be read. Grant it."),
        (lambda request: "yes", "returned a str, and neither a bool nor a Challenge"),
        (lambda request: None, "returned a NoneType, and"),
        (lambda request: 1, "returned a int, and"),
    ],
)
def test_an_auth_that_fails_or_says_something_else_refuses_and_is_logged_once(
    serve, auth, told, caplog
):
    served = serve(auth)
    for _ in range(3):
        assert served.ask("GET", "/_secrets").text == "the application's"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert told in record.getMessage()
    assert "canary" not in caplog.text


class TestCoroutines:
    @pytest.mark.parametrize("verdict", [True, False])
    def test_an_asgi_application_awaits_them(self, secrets, verdict):
        async def auth(request):
            await asyncio.sleep(0)
            return verdict

        class Auth:
            async def __call__(self, request):
                return await auth(request)

        for given in (auth, Auth(), functools.partial(auth), _hidden(auth)):
            served = Asgi(secrets, StatusPage(given))
            assert (served.ask("GET", "/_secrets").status_code == 200) is verdict

    def test_a_wsgi_application_refuses_them_when_it_is_made(self, secrets):
        async def auth(request):
            return True

        with pytest.raises(DeclarationError, match="coroutine function, which a WSGI"):
            Wsgi(secrets, StatusPage(auth))

    def test_one_that_it_could_not_know_lets_nobody_in(self, secrets, caplog):
        async def auth(request):
            return True

        served = Wsgi(secrets, StatusPage(_hidden(auth)))
        assert served.ask("GET", "/_secrets").text == "the application's"
        assert "returned a coroutine" in caplog.text

    def test_an_auth_that_is_none_may_wait_for_a_secret(self, secrets, source, clock):
        served = Asgi(secrets, StatusPage(SecretAuth(secrets.token)))
        source.add("STATUS_TOKEN", "canary-token-2")
        clock.advance(10)
        answer = served.ask("GET", "/_secrets/data", headers=bearer("canary-token-2"))
        assert answer.status_code == 200


class TestSecretAuth:
    def test_it_asks_a_browser_for_a_password(self, serve, secrets, source):
        calls = len(source.calls)
        answer = serve(SecretAuth(secrets.token, realm="shop")).ask("GET", "/_secrets")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="shop", charset="UTF-8"'
        assert len(source.calls) == calls

    @pytest.mark.parametrize(
        "headers",
        [
            basic("status", "canary-token-1"),
            bearer("canary-token-1"),
            {"Authorization": "bearer   canary-token-1 "},
        ],
    )
    def test_it_lets_in_who_has_the_secret(self, serve, secrets, headers):
        served = serve(SecretAuth(secrets.token))
        assert served.ask("GET", "/_secrets", headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            basic("status", "canary-token-2"),
            basic("status", "canary-token-"),
            basic("status", ""),
            basic("other", "canary-token-1"),
            {"Authorization": "Basic c3RhdHVz"},  # no colon
            {"Authorization": "Basic ####"},
            {"Authorization": "Basic /w=="},  # no UTF-8
            bearer("canary-token-1x"),
            {"Authorization": "Bearer"},
            {"Authorization": "canary-token-1"},
            {"Authorization": "Digest canary-token-1"},
        ],
    )
    def test_it_lets_nobody_else_in(self, serve, secrets, headers):
        answer = serve(SecretAuth(secrets.token)).ask("GET", "/_secrets", headers=headers)
        assert answer.status_code == 401

    @pytest.mark.parametrize("header", [b"Basic \xe4", b"Bearer \xe4", b"\xff"])
    def test_a_header_of_whatever_bytes_lets_nobody_in(self, secrets, header, caplog):
        served = Asgi(secrets, StatusPage(SecretAuth(secrets.token)))
        answer = served.ask("GET", "/_secrets", headers={"Authorization": header})
        assert answer.status_code == 401
        assert caplog.records == []

    def test_two_headers_are_not_the_last_one(self, secrets):
        served = Asgi(secrets, StatusPage(SecretAuth(secrets.token)))
        headers = [("Authorization", "Bearer wrong"), ("Authorization", "Bearer canary-token-1")]
        assert served.ask("GET", "/_secrets", headers=headers).status_code == 401

    def test_cookies_that_came_one_by_one_are_cookies(self, secrets):
        seen = []
        served = Asgi(secrets, StatusPage(lambda request: seen.append(request) or True))
        served.ask("GET", "/_secrets", headers=[("Cookie", "a=1"), ("Cookie", "b=2")])
        assert seen[0].headers["cookie"] == "a=1; b=2"

    def test_a_rotated_token_counts_at_once_and_the_old_one_does_not(
        self, serve, secrets, source, clock
    ):
        served = serve(SecretAuth(secrets.token, user="ops"))
        source.add("STATUS_TOKEN", "canary-token-2")
        clock.advance(6)
        statuses = [
            served.ask("GET", "/_secrets", headers=basic("ops", f"canary-token-{n}")).status_code
            for n in (1, 2)
        ]
        assert statuses == [401, 200]

    def test_a_key_ring_lets_the_previous_version_in_too(self, serve, secrets, source, clock):
        served = serve(SecretAuth(secrets.ring))
        assert served.ask("GET", "/_secrets", headers=bearer("canary-ring-1")).status_code == 200
        source.add("STATUS_RING", "canary-ring-2")
        clock.advance(6)
        secrets.ring.refresh()
        statuses = [
            served.ask("GET", "/_secrets", headers=bearer(f"canary-ring-{n}")).status_code
            for n in (1, 2, 3)
        ]
        assert statuses == [200, 200, 401]

    def test_it_takes_a_function_that_gives_a_text(self, serve):
        served = serve(SecretAuth(lambda: "canary-text"))
        assert served.ask("GET", "/_secrets", headers=bearer("canary-text")).status_code == 200

    def test_bytes_are_a_token_and_a_number_or_an_empty_text_is_none(self, serve, secrets):
        served = serve(SecretAuth(secrets.raw))
        assert served.ask("GET", "/_secrets", headers=bearer("canary-raw")).status_code == 200
        for auth in (SecretAuth(secrets.fee), SecretAuth(lambda: "")):
            for token in ("31337001", ""):
                answer = auth_status = serve(auth).ask(
                    "GET", "/_secrets", headers={"Authorization": f"Bearer {token}"}
                )
                assert answer.status_code == 401, auth_status

    def test_an_unreadable_token_refuses(self, serve, secrets, source, clock, caplog):
        fault = SecretForbidden("may not be read", remedy="Grant it.", secret="STATUS_TOKEN")
        source.fail("STATUS_TOKEN", fault)
        clock.advance(4000)
        answer = serve(SecretAuth(secrets.token)).ask(
            "GET", "/_secrets", headers=bearer("canary-token-1")
        )
        assert (answer.status_code, answer.text) == (404, "the application's")
        assert "past max_stale" in caplog.text
        assert "canary" not in caplog.text

    def test_it_shows_no_secret_itself(self, secrets):
        assert repr(SecretAuth(secrets.token)) == "<SecretAuth of status>"

    def test_a_value_in_place_of_the_secret_is_refused(self):
        with pytest.raises(DeclarationError, match="given a str in place of a secret"):
            SecretAuth("canary-token-1")


class TestEvents:
    @pytest.fixture
    def ask(self, serve):
        served = serve(admit)
        return lambda query: served.ask("GET", f"/_secrets/data?{query}")

    @pytest.fixture
    def rotate(self, secrets, source, clock):
        def rotate():
            source.add("STATUS_TOKEN", "canary-token-2")
            clock.advance(6)
            with request_scope():
                secrets.token()

        return rotate

    def test_later_ones_are_given(self, ask, rotate):
        rotate()
        known = ask("").json()
        assert [event["kind"] for event in known["events"]] == ["Reloaded"]
        assert ask(f"after={known['seq']}").json()["events"] == []
        assert len(ask(f"after={known['seq'] - 1}").json()["events"]) == 1

    def test_the_number_of_another_process_says_nothing(self, ask, rotate):
        rotate()
        known = ask("").json()
        seq, instance = known["seq"], known["process"]["instance"]
        others = f"instance=other&after={seq + 7}"
        assert len(ask(others).json()["events"]) == 1
        assert ask(f"{others}&instance={instance}&after={seq}").json()["events"] == []
        assert len(ask(f"{others}&instance={instance}").json()["events"]) == 1

    @pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 16, "%C2%B2", "1&after=x"])
    def test_what_is_no_number_is_said(self, ask, after):
        answer = ask(f"after={after}")
        assert (answer.status_code, answer.json()) == (400, {"error": "after= is no number"})

    def test_texts_for_people_come_when_they_are_asked_for(self, ask):
        shown = ask("shown=1").json()["shown"]
        assert shown["fields"]["summary"] == "Nothing needs attention: 5 secrets."
        assert shown["secrets"][0]["name"] == "FEE"


def test_names_and_texts_are_escaped(kind, make, source):
    hostile = "<img/src=x/onerror=alert(1)>&\"'"

    class Hostile(SecretContainer):
        odd = DynamicSecret(hostile, int)

    source.add(hostile, "7")
    container = make(Hostile)
    shown = StatusPage(admit)
    served = kind(container, shown)
    container.load()
    text = served.ask("GET", "/_secrets").text
    assert "<img" not in text
    assert "&lt;img/src=x/onerror=alert(1)&gt;&amp;&quot;&#x27;" in text
    data = served.ask("GET", "/_secrets/data").text
    assert json.loads(data)["secrets"][0]["name"] == hostile


def test_a_name_that_is_no_text_can_be_shown(kind, make, source):
    container = make(Shop)
    served = kind(container, StatusPage(admit))
    source.fail("FEE", SecretUnavailable("has no file /run/\udcff"))
    with pytest.raises(StartupError):
        container.load()
    answer = served.ask("GET", "/_secrets")
    assert answer.status_code == 200
    assert "has no file /run/\\udcff" in answer.text


class TestDeclarations:
    def test_auth_has_no_default_and_must_be_callable(self):
        with pytest.raises(TypeError, match="auth"):
            StatusPage()
        with pytest.raises(DeclarationError, match="auth= was given a str"):
            StatusPage("token")

    @pytest.mark.parametrize("path", ["", "/", "secrets", "/secrets/", None])
    def test_a_path_begins_with_a_slash_and_ends_without(self, path):
        with pytest.raises(DeclarationError, match="is no place for a status page"):
            StatusPage(admit, path=path)

    @pytest.mark.parametrize("every", [0, -1, "3", float("inf")])
    def test_an_open_page_asks_every_so_many_seconds(self, every):
        with pytest.raises(DeclarationError, match="every is"):
            StatusPage(admit, every=every)

    @pytest.mark.parametrize("scheme", ["Basic\r\nX: y", "Basic ä"])
    def test_a_challenge_is_one_line_of_ascii(self, scheme):
        with pytest.raises(DeclarationError, match="no header may have"):
            Challenge(scheme)

    def test_it_shows_one_container(self, kind, secrets, make):
        shown = StatusPage(admit)
        kind(secrets, shown)
        kind(secrets, shown)
        with pytest.raises(DeclarationError, match="shows one container"):
            kind(make(Shop), shown)

    @pytest.mark.parametrize("container", [Shop, object(), None])
    def test_what_is_no_container_is_refused(self, kind, container):
        with pytest.raises(DeclarationError, match="in place of a container"):
            kind(container, StatusPage(admit))

    def test_a_page_without_a_container_says_so(self):
        request = StatusRequest("GET", "/_secrets/data", {}, None)
        with pytest.raises(DeclarationError, match="shows no container"):
            StatusPage(admit).answer(request)

    def test_they_say_what_they_are(self):
        assert repr(StatusPage(admit)) == "StatusPage('/_secrets')"
        assert repr(Challenge("Basic")) == "Challenge('Basic')"

    def test_a_challenge_is_false(self):
        assert not Challenge("Basic")


def test_other_connections_pass_it():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    shown = StatusPage(admit)
    served = asgi.StatusMiddleware(app, _Nothing(), shown)
    for kind_ in ("lifespan", "websocket"):
        asyncio.run(served({"type": kind_, "path": "/_secrets"}, None, None))
    assert seen == ["lifespan", "websocket"]


class _Nothing:
    def overview(self):
        raise AssertionError

    def observe(self, observer):
        pass


def test_under_a_mount_the_path_is_the_applications(secrets):
    shown = StatusPage(admit)
    served = asgi.StatusMiddleware(asgi_app, secrets, shown)
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/shop/_secrets/data", "root_path": "/shop"}
    asyncio.run(served({**scope, "headers": []}, None, send))
    assert sent[0]["status"] == 200
