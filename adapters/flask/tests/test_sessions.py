"""Flask's sessions over a rotation, with its own test client."""

import pytest
from flask import Flask, session
from flask.sessions import SecureCookieSessionInterface

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    KeyRing,
    Memory,
    SecretContainer,
)
from pgp_config_flask import KeyRingSessionInterface, install

NAME = "FLASK_SESSION_KEY"


class Service(SecretContainer):
    session_keys = KeyRing(NAME, freshness=EVERY_REQUEST)


@pytest.fixture
def source():
    return Memory({NAME: "first-key"})


@pytest.fixture
def secrets(source):
    secrets = Service(source=source)
    yield secrets
    secrets.close()


@pytest.fixture
def app(secrets):
    app = Flask("service")
    app.session_interface = KeyRingSessionInterface(secrets.session_keys)

    @app.get("/login/<user>")
    def login(user):
        session["user"] = user
        return "welcome"

    @app.get("/logout")
    def logout():
        session.clear()
        return "bye"

    @app.get("/")
    def index():
        return session.get("user", "nobody")

    install(app, secrets)
    return app


@pytest.fixture
def client(app):
    client = app.test_client()
    client.get("/login/ada")
    return client


def cookie(client):
    return client.get_cookie("session").value


# promise 18
def test_a_live_session_outlives_a_rotation_and_is_signed_anew(client, source):
    before = cookie(client)
    source.add(NAME, "second-key")
    assert client.get("/").text == "ada"
    assert cookie(client) != before
    source.disable(NAME, 1)
    assert client.get("/").text == "ada", "the second key signs it now"


# promise 18
def test_a_session_that_did_not_come_back_ends_with_the_previous_key(client, source):
    source.add(NAME, "second-key")
    source.disable(NAME, 1)
    assert client.get("/").text == "nobody"


# promise 18
def test_two_rotations_end_a_session_that_did_not_come_back(client, source):
    source.add(NAME, "second-key")
    source.add(NAME, "third-key")
    assert client.get("/").text == "nobody"


def test_a_session_of_the_current_key_is_not_sent_again(client, source):
    assert "Set-Cookie" not in client.get("/").headers
    source.add(NAME, "second-key")
    assert "Set-Cookie" in client.get("/").headers
    assert "Set-Cookie" not in client.get("/").headers


def test_nobody_and_a_forged_session_get_none(app, source):
    source.add(NAME, "second-key")
    client = app.test_client()
    assert client.get("/").text == "nobody"
    client.set_cookie("session", "forged")
    answer = client.get("/")
    assert answer.text == "nobody"
    assert "Set-Cookie" not in answer.headers


def test_logging_out_over_a_rotation(client, source):
    source.add(NAME, "second-key")
    client.get("/logout")
    assert client.get_cookie("session") is None
    assert client.get("/").text == "nobody"


def test_the_cookie_is_flasks_own(app, client):
    """An application can change over without ending its sessions."""
    plain = Flask("service")
    plain.secret_key = "first-key"
    serializer = SecureCookieSessionInterface().get_signing_serializer(plain)
    assert serializer.loads(cookie(client)) == {"user": "ada"}
    other = app.test_client()
    other.set_cookie("session", serializer.dumps({"user": "bob"}))
    assert other.get("/").text == "bob"


@pytest.mark.parametrize(
    "use", [lambda s: s.get("user"), dict, bool, lambda s: s.update(user="ada")]
)
def test_without_a_key_only_pages_that_use_the_session_are_answered_503(use):
    empty = Service(source=Memory())
    app = Flask("service")
    app.session_interface = KeyRingSessionInterface(empty.session_keys)
    app.add_url_rule("/", "index", lambda: str(use(session)))
    app.add_url_rule("/other", "other", lambda: "served")
    install(app, empty, load="never")
    client = app.test_client()
    client.set_cookie("session", "any")
    answers = [client.get(path).status_code for path in ("/", "/other", "/healthz")]
    empty.close()
    assert answers == [503, 200, 200]


def test_a_value_in_place_of_the_ring_is_refused(secrets):
    with pytest.raises(DeclarationError, match="was given a Keys in place of a KeyRing"):
        KeyRingSessionInterface(secrets.session_keys())
