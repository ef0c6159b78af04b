"""PGP_WEBAPI_v1: log-ins from sign-up links, and what only who is logged in may see."""

import asyncio
import json
import time

import jwt
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pgp_services.failures import BadToken, NotLoggedIn
from pgp_services.jwts import ACCESS_AGE, REFRESH_AGE, issue, login_in, login_of
from pgp_services.names import Service
from pgp_services.serving import fastapi_app
from pgp_services.serving.routes import Call
from pgp_services.webapi.links import MAX_LINK_AGE, address_of, link_token

ADDRESS = "owner@channels.example"


@pytest.fixture
def jwt_key(fleet_values):
    return SecretStr(fleet_values["JWT_SECRET_KEY"])


@pytest.fixture
def link_key(fleet_values):
    return SecretStr(fleet_values["SIGNUP_SECRET_KEY"])


@pytest.fixture
def service(container_of):
    secrets, source = container_of(Service.WEBAPI)
    with TestClient(fastapi_app.create_app(Service.WEBAPI, secrets)) as client:
        client.source = source
        yield client


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def access(jwt_key):
    return issue(ADDRESS, "access", jwt_key, time.time())


def test_a_sign_up_link_becomes_a_log_in(service, link_key, jwt_key):
    got = service.post("/api/auth/verify-email", json={"token": link_token(ADDRESS, link_key)})
    assert got.status_code == 200
    assert got.headers["cache-control"] == "no-store"
    said = got.json()
    assert (said["token_type"], said["expires_in"]) == ("Bearer", ACCESS_AGE)
    assert login_of(said["access_token"], "access", jwt_key).sub == ADDRESS
    assert login_of(said["refresh_token"], "refresh", jwt_key).sub == ADDRESS


def test_401_for_a_links_token_that_is_no_text(service):
    """Old fault: a lone surrogate was a 500."""
    for token in ("\\ud800", "\\u00e9.a.b"):
        body = f'{{"token": "{token}"}}'
        assert service.post("/api/auth/verify-email", content=body).status_code == 401


@pytest.mark.parametrize("token", ["", 5, None])
def test_400_without_a_links_token(service, token):
    assert service.post("/api/auth/verify-email", json={"token": token}).status_code == 400


def test_401_for_a_link_that_is_not_ours(service, new_key):
    forged = link_token(ADDRESS, SecretStr(new_key()))
    got = service.post("/api/auth/verify-email", json={"token": forged})
    assert (got.status_code, got.json()["message"]) == (401, "Invalid or expired token")


def test_a_refresh_token_brings_another_access_token(service, jwt_key):
    token = issue(ADDRESS, "refresh", jwt_key, time.time())
    got = service.post("/api/auth/refresh", json={"refresh_token": token})
    assert login_of(got.json()["access_token"], "access", jwt_key).sub == ADDRESS
    assert "refresh_token" not in got.json()


@pytest.mark.parametrize("body", [{}, {"refresh_token": ""}, {"refresh_token": "a", "more": 1}])
def test_400_without_a_refresh_token(service, body):
    assert service.post("/api/auth/refresh", json=body).status_code == 400


def test_each_token_is_good_for_one_use(service, access, jwt_key):
    """Old fault, in general: one key for two things."""
    refresh = issue(ADDRESS, "refresh", jwt_key, time.time())
    got = service.post("/api/auth/refresh", json={"refresh_token": access})
    assert got.status_code == 401
    assert service.get("/api/config", headers=bearer(refresh)).status_code == 401


def test_whose_token_it_is(service, access):
    got = service.get("/api/auth/verify", headers=bearer(access)).json()
    assert got["subject"] == ADDRESS
    assert got["expires_at"] > time.time()


def test_the_configuration_follows_a_switch(service, access):
    def urls():
        said = service.get("/api/config", headers=bearer(access)).json()
        return [said[name] for name in ("success_url", "failure_url", "server_url")]

    assert urls() == [f"https://{name}.example" for name in ("success", "failure", "server")]
    for name in ("PGP_SUCCESS_URL", "PGP_FAILURE_URL", "PGP_SERVER_URL"):
        service.source.add(name, "https://green.example")
    assert urls() == ["https://green.example"] * 3


@pytest.mark.parametrize("path", ["/api/auth/verify", "/api/config"])
@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", "Bearer a.b.c", "Bearer é"])
def test_401_for_who_is_not_logged_in(service, path, header):
    headers = {} if header is None else {"Authorization": header.encode("utf-8")}
    got = service.get(path, headers=headers)
    assert (got.status_code, got.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("claims", "algorithm"),
    [
        ({"sub": ADDRESS}, "HS256"),
        ({"exp": 2**31}, "HS256"),
        ({"sub": ADDRESS, "exp": 1}, "HS256"),
        ({"sub": ADDRESS, "exp": 2**31}, "HS384"),
        ({"sub": ADDRESS, "exp": 2**31}, "none"),
        ({"sub": "", "exp": 2**31}, "HS256"),
        ({"sub": ADDRESS, "exp": 2**31, "use": "admin"}, "HS256"),
    ],
)
def test_401_for_a_jwt_without_an_end_a_subject_or_our_algorithm(
    service, jwt_key, claims, algorithm
):
    key = None if algorithm == "none" else jwt_key.get_secret_value()
    token = jwt.encode(claims, key, algorithm)
    assert service.get("/api/config", headers=bearer(token)).status_code == 401


def test_a_jwt_of_others_that_does_not_say_its_use_is_an_access_token(service, jwt_key):
    claims = {"sub": ADDRESS, "exp": 2**31}
    token = jwt.encode(claims, jwt_key.get_secret_value(), "HS256")
    assert service.get("/api/config", headers=bearer(token)).status_code == 200


def test_tokens_end(jwt_key):
    assert login_of(issue(ADDRESS, "refresh", jwt_key, time.time()), "refresh", jwt_key)
    for use, age in (("access", ACCESS_AGE), ("refresh", REFRESH_AGE)):
        with pytest.raises(NotLoggedIn):
            login_of(issue(ADDRESS, use, jwt_key, time.time() - age - 1), use, jwt_key)


def test_links_end(link_key, monkeypatch):
    token = link_token(ADDRESS, link_key)
    now = time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + MAX_LINK_AGE - 5)
    assert address_of(token, link_key) == ADDRESS
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + MAX_LINK_AGE + 5)
    with pytest.raises(BadToken):
        address_of(token, link_key)


@pytest.mark.parametrize("address", ["", "nobody", "a@b", "a b@c.d", "x" * 300 + "@a.example"])
def test_a_link_is_for_an_address(link_key, address):
    with pytest.raises(BadToken):
        address_of(link_token(address, link_key), link_key)


def test_what_is_too_long_is_not_even_looked_at(jwt_key, link_key):
    with pytest.raises(NotLoggedIn):
        login_of("a" * 5000, "access", jwt_key)
    with pytest.raises(BadToken):
        address_of("a" * 5000, link_key)


def test_no_error_and_no_frame_of_one_holds_a_token_or_a_key(
    container_of, jwt_key, link_key, new_key, shown_by
):
    handler = container_of(Service.WEBAPI)[0].handler()
    bad = new_key()
    bearer_call = Call(headers={"authorization": f"Bearer {bad}"})
    attempts = [
        lambda: login_of(bad, "access", jwt_key),
        lambda: login_in(bearer_call, jwt_key),
        lambda: address_of(bad, link_key),
        lambda: asyncio.run(handler.refresh(Call(json.dumps({"refresh_token": bad}).encode()))),
        lambda: asyncio.run(handler.verify_email(Call(json.dumps({"token": bad}).encode()))),
        lambda: asyncio.run(handler.verify(bearer_call)),
    ]
    for attempt in attempts:
        with pytest.raises(BadToken) as caught:
            attempt()
        assert caught.value.__cause__ is caught.value.__context__ is None
        shown = shown_by(caught.value)
        for canary in (bad, jwt_key.get_secret_value(), link_key.get_secret_value()):
            assert canary not in shown


def test_a_short_jwt_key_stops_the_start_and_is_not_measured(container_of):
    with pytest.raises(Exception, match="JWT_SECRET_KEY") as caught:
        container_of(Service.WEBAPI, JWT_SECRET_KEY="SHORTCANARY")
    assert "CANARY" not in str(caught.value)
    assert "11" not in str(caught.value)


async def test_there_is_nothing_to_close_and_nothing_is_unused(container_of):
    secrets, _ = container_of(Service.WEBAPI)
    assert secrets.check() == []
    await secrets.handler().aclose()
