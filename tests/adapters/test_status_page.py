"""The status page in both adapters, by `install(…, status=…)`; what it says is tested in tests/status."""

import warnings

import pytest
from fastapi import Depends, FastAPI, HTTPException
from flask import Flask, abort
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import pgp_config_fastapi
import pgp_config_flask
from pgp_config import DeclarationError, DynamicSecret, SecretContainer, StartupError, StaticSecret
from pgp_config.push.endpoint import PushEndpoint
from pgp_config.scopes import open_scope
from pgp_config.status import SecretAuth, StatusPage

with warnings.catch_warnings():
    # Starlette asks for httpx2, and goes on with httpx.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


class Shop(SecretContainer):
    key = DynamicSecret("SHOP_KEY")
    token = StaticSecret("STATUS_TOKEN")


@pytest.fixture
def secrets(make, source):
    source.add("SHOP_KEY", "canary-key")
    source.add("STATUS_TOKEN", "canary-token")
    return make(Shop)


class OnFlask:
    def __init__(self, secrets, **options):
        self.app = Flask("shop")
        self.app.before_request(lambda: abort(403))  # what guards the application guards no page
        pgp_config_flask.install(self.app, secrets, **options)

    def get(self, path, **headers):
        answer = self.app.test_client().get(path, headers=headers)
        return answer.status_code, answer.text, answer.get_json(silent=True)

    def get_below(self, prefix, path):
        mounted = DispatcherMiddleware(Flask("root"), {prefix: self.app})
        answer = Client(mounted).get(f"{prefix}{path}")
        return answer.status_code, answer.text, answer.get_json(silent=True)


class OnFastAPI:
    def __init__(self, secrets, **options):
        def guard():
            raise HTTPException(403)

        self.app = FastAPI(dependencies=[Depends(guard)])
        self.app.add_api_route("/{rest:path}", lambda: None)
        pgp_config_fastapi.install(self.app, secrets, close=False, **options)

    def get(self, path, **headers):
        return self._ask(self.app, path, headers)

    def _ask(self, app, path, headers):
        with TestClient(app) as client:
            answer = client.get(path, headers=headers)
        is_json = answer.headers.get("content-type") == "application/json"
        return answer.status_code, answer.text, answer.json() if is_json else None

    def get_below(self, prefix, path):
        with TestClient(self.app):  # a mounted application's lifespan is nobody's
            root = FastAPI()
            root.mount(prefix, self.app)
            return self._ask(root, f"{prefix}{path}", {})


@pytest.fixture(params=[OnFlask, OnFastAPI], ids=["flask", "fastapi"])
def adapter(request):
    return request.param


def admit(request):
    return True


def test_it_is_off_by_default(adapter, secrets):
    served = adapter(secrets)
    assert served.get("/_secrets")[0] == 403
    assert served.get("/_secrets/data")[0] == 403


def test_it_is_served_outside_of_the_application_and_knows_of_the_load(adapter, secrets):
    scopes = []

    def auth(request):
        scopes.append(open_scope())
        return True

    served = adapter(secrets, status=StatusPage(auth))
    status, text, _ = served.get("/_secrets")
    assert status == 200
    assert '<h1>Secrets of <span data-of="container">Shop</span></h1>' in text
    _, _, document = served.get("/_secrets/data")
    rows = {row["name"]: row for row in document["secrets"]}
    assert rows["SHOP_KEY"]["last_change"]["version"] == 1
    assert [event["kind"] for event in document["events"]] == ["Loaded", "Loaded"]
    assert set(scopes) == {None}
    assert "canary" not in text


def test_it_is_guarded_by_a_secret_of_the_container_itself(adapter, secrets):
    served = adapter(secrets, status=StatusPage(SecretAuth(secrets.token), path="/ops"))
    assert served.get("/ops/data")[0] == 401
    assert served.get("/ops/data", Authorization="Bearer canary-token")[0] == 200


def test_below_a_prefix_it_is_where_the_application_is(adapter, secrets):
    served = adapter(secrets, status=StatusPage(admit))
    status, _, document = served.get_below("/shop", "/_secrets/data")
    assert (status, document["container"]["name"]) == (200, "Shop")


def test_it_says_how_pushes_come(adapter, secrets):
    push = PushEndpoint("/push", verifier=object())
    served = adapter(secrets, push=push, status=StatusPage(admit))
    document = served.get("/_secrets/data")[2]
    assert document["container"]["push"] == {"kind": "endpoint", "path": "/push"}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (True, "status= was given a bool"),
        (StatusPage, "status= was given a type"),
        (StatusPage(admit, path="/healthz"), "has a page at /healthz already"),
        (StatusPage(admit, path="/push"), "has a page at /push already"),
    ],
)
def test_what_cannot_be_meant_is_refused(adapter, secrets, status, message):
    with pytest.raises(DeclarationError, match=message):
        adapter(secrets, push=PushEndpoint("/push", verifier=object()), status=status)


def test_where_the_application_has_a_page_is_refused(secrets):
    app = Flask("shop")
    app.add_url_rule("/_secrets", "mine", lambda: "mine")
    with pytest.raises(DeclarationError, match="has a page at /_secrets already"):
        pgp_config_flask.install(app, secrets, status=StatusPage(admit))
    api = FastAPI()
    api.add_api_route("/_secrets/data", lambda: "mine")
    with pytest.raises(DeclarationError, match="has a page at /_secrets/data already"):
        pgp_config_fastapi.install(api, secrets, status=StatusPage(admit))


def test_flask_cannot_wait_for_a_coroutine_and_fastapi_can(secrets):
    async def auth(request):
        return True

    app = Flask("shop")
    with pytest.raises(DeclarationError, match="coroutine function"):
        pgp_config_flask.install(app, secrets, status=StatusPage(auth))
    assert "pgp_config" not in app.extensions
    assert OnFastAPI(secrets, status=StatusPage(auth)).get("/_secrets")[0] == 200


@pytest.mark.parametrize("kind", [Flask, FastAPI])
def test_a_page_of_another_container_leaves_the_application_as_it_was(kind, secrets, make):
    taken = StatusPage(admit)
    taken.attach(make(Shop))
    install = pgp_config_flask.install if kind is Flask else pgp_config_fastapi.install
    app = kind("shop") if kind is Flask else kind()
    with pytest.raises(DeclarationError, match="shows one container"):
        install(app, secrets, status=taken)
    install(app, secrets, status=StatusPage(admit))


def test_in_flask_it_is_there_while_secrets_are_missing(make, source):
    source.add("STATUS_TOKEN", "canary-token")
    app = Flask("shop")
    shown = StatusPage(admit)
    pgp_config_flask.install(app, make(Shop), load="first_request", status=shown)
    assert app.test_client().get("/").status_code == 503
    document = app.test_client().get("/_secrets/data").get_json()
    states = {row["name"]: row["state"] for row in document["secrets"]}
    assert states == {"SHOP_KEY": "missing", "STATUS_TOKEN": "sealed"}


def test_an_install_that_fails_can_be_tried_again_with_the_same_page(make, source, clock):
    source.add("STATUS_TOKEN", "canary-token")
    app, secrets, shown = Flask("shop"), make(Shop), StatusPage(admit)
    with pytest.raises(StartupError):
        pgp_config_flask.install(app, secrets, status=shown)
    source.add("SHOP_KEY", "canary-key")
    clock.advance(2)
    pgp_config_flask.install(app, secrets, status=shown)
    document = app.test_client().get("/_secrets/data").get_json()
    assert [row["version"] for row in document["secrets"]] == [1, 1]
