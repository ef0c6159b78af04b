"""What is Flask's own; what all adapters do is in tests/adapters."""

import pytest
from flask import Blueprint, Flask, request

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    Memory,
    PgpConfigError,
    SecretContainer,
    SecretNotFound,
    SecretUnavailable,
    StartupError,
    StaticSecret,
    request_scope,
)
from pgp_config_flask import install


class Service(SecretContainer):
    key = DynamicSecret("FLASK_KEY", str, freshness=EVERY_REQUEST)
    fixed = StaticSecret("FLASK_FIXED", str)


@pytest.fixture
def source():
    return Memory({"FLASK_KEY": "canary-1", "FLASK_FIXED": "canary-fixed"})


@pytest.fixture
def secrets(source):
    secrets = Service(source=source)
    yield secrets
    secrets.close()


@pytest.fixture
def empty():
    """A container whose source has nothing yet."""
    secrets = Service(source=Memory())
    yield secrets
    secrets.close()


@pytest.fixture
def app():
    return Flask("service")


@pytest.fixture
def failing(app):
    @app.get("/missing")
    def missing():
        raise SecretNotFound("the cause-canary", secret="FLASK_KEY")

    return app


def get(app, path):
    answer = app.test_client().get(path)
    return answer.status_code, answer.text


# -- when it loads -------------------------------------------------------------------------------


def test_faults_are_found_where_the_application_is_made_and_leave_it_as_it_was(app, empty):
    with pytest.raises(StartupError, match="FLASK_FIXED") as caught:
        install(app, empty)
    assert len(caught.value.faults) == 2
    assert get(app, "/healthz")[0] == 404


def test_install_can_be_tried_again_after_faults(app, secrets, empty):
    with pytest.raises(StartupError):
        install(app, empty)
    install(app, secrets)
    assert get(app, "/readyz")[0] == 200


def fill(secrets):
    source = secrets._cache._source
    source.add("FLASK_KEY", "k1")
    source.add("FLASK_FIXED", "f1")


def test_the_first_request_loads_where_that_is_asked_for(app, empty):
    app.add_url_rule("/", "index", empty.fixed)
    install(app, empty, load="first_request")
    assert get(app, "/")[0] == 503
    fill(empty)
    assert get(app, "/") == (200, "f1")


def test_liveness_waits_for_no_load_and_readiness_is_a_first_request(app, empty):
    install(app, empty, load="first_request")
    assert get(app, "/healthz")[0] == 200
    assert get(app, "/readyz")[0] == 503
    fill(empty)
    assert get(app, "/readyz")[0] == 200


def test_a_prefix_and_no_pages_at_all_go_with_the_first_request(empty):
    internal, bare = Flask("service"), Flask("service")
    install(internal, empty, load="first_request", health="/internal")
    install(bare, empty, load="first_request", health=False)
    assert get(internal, "/internal/healthz")[0] == 200
    assert get(bare, "/healthz")[0] == 503


def test_the_caller_may_load(app, secrets):
    install(app, secrets, load="never")
    assert get(app, "/readyz")[0] == 503
    secrets.load()
    assert get(app, "/readyz")[0] == 200


# -- what is inside the scope --------------------------------------------------------------------


def test_hooks_are_inside_the_scope(app, secrets, source):
    seen = []
    app.before_request(lambda: seen.append(secrets.key()))
    app.teardown_request(lambda _: seen.append(secrets.key()))

    @app.after_request
    def rotate(response):
        source.add("FLASK_KEY", "canary-2")
        return response

    app.add_url_rule("/", "index", secrets.key)
    install(app, secrets)
    assert get(app, "/") == (200, "canary-1")
    assert seen == ["canary-1", "canary-1"]


def test_a_client_that_keeps_the_context_keeps_no_scope(app, secrets, source):
    app.add_url_rule("/", "index", secrets.key)
    install(app, secrets)
    with app.test_client() as client:
        assert client.get("/?q=1").text == "canary-1"
        assert request.args["q"] == "1"
        source.add("FLASK_KEY", "canary-2")
        assert secrets.key() == "canary-2"


def test_a_tests_values_reach_the_view(app, secrets):
    app.add_url_rule("/", "index", secrets.key)
    install(app, secrets)
    with request_scope(values={"FLASK_KEY": "given"}):
        assert get(app, "/") == (200, "given")


# -- errors --------------------------------------------------------------------------------------


def teapot(error):
    return type(error).__name__, 418


@pytest.mark.parametrize("kind", [SecretNotFound, SecretUnavailable, PgpConfigError])
def test_a_handler_of_the_application_wins(failing, secrets, kind):
    failing.register_error_handler(kind, teapot)
    install(failing, secrets)
    assert get(failing, "/missing") == (418, "SecretNotFound")


def test_a_handler_that_is_registered_later_wins(failing, secrets):
    install(failing, secrets)
    failing.register_error_handler(SecretUnavailable, teapot)
    assert get(failing, "/missing")[0] == 418


def test_a_handler_of_a_blueprint_wins(app, secrets):
    pages = Blueprint("pages", "service")
    pages.register_error_handler(Exception, teapot)

    @pages.get("/missing")
    def missing():
        raise SecretNotFound("gone", secret="FLASK_KEY")

    app.register_blueprint(pages)
    install(app, secrets)
    assert get(app, "/missing")[0] == 418


def test_a_handler_for_look_ups_does_not_take_a_missing_secret(failing, secrets):
    failing.register_error_handler(LookupError, teapot)
    install(failing, secrets)
    assert get(failing, "/missing")[0] == 503


def test_a_mistake_in_the_service_is_no_503(app, secrets):
    app.add_url_rule("/", "index", secrets.fixed)
    install(app, secrets, load="never")
    status, text = get(app, "/")
    assert status == 500
    assert "FLASK_FIXED" not in text


# -- the health pages ----------------------------------------------------------------------------


def test_the_pages_can_be_left_out(app, secrets):
    install(app, secrets, health=False)
    assert get(app, "/healthz")[0] == 404
    assert get(app, "/readyz")[0] == 404


def test_the_pages_can_have_a_prefix(app, secrets):
    install(app, secrets, health="/internal")
    assert get(app, "/internal/readyz")[0] == 200
    assert get(app, "/readyz")[0] == 404


def test_a_page_for_every_name_does_not_hide_them(app, secrets):
    app.add_url_rule("/<name>", "named", lambda name: "by name")
    install(app, secrets)
    assert "alive" in get(app, "/healthz")[1]


def test_a_page_that_is_there_already_is_not_hidden(app, secrets):
    app.add_url_rule("/healthz", "own", lambda: "own")
    with pytest.raises(DeclarationError, match="has a page at /healthz already"):
        install(app, secrets)
    install(app, secrets, health="/internal")
    assert get(app, "/healthz") == (200, "own")


# -- bad input -----------------------------------------------------------------------------------


def test_installing_twice_is_refused(app, secrets):
    install(app, secrets)
    with pytest.raises(DeclarationError, match="installed in this application already"):
        install(app, secrets)


def test_installing_after_the_first_request_is_refused(app, secrets):
    get(app, "/")
    with pytest.raises(DeclarationError, match="has served a request already"):
        install(app, secrets)


def test_something_else_in_place_of_the_arguments_is_refused(app, secrets):
    with pytest.raises(DeclarationError, match=r"was given a Service|in place of a Flask"):
        install(secrets, secrets)
    with pytest.raises(DeclarationError, match="the class Service was given"):
        install(app, Service)
    with pytest.raises(DeclarationError, match=r"load='later' .* Give 'install'"):
        install(app, secrets, load="later")
    with pytest.raises(DeclarationError, match="health='internal'"):
        install(app, secrets, health="internal")
    install(app, secrets)
