"""PGP_WEB_v1: the front page shows public configuration only, and follows a switch at once."""

import pytest

from pgp_config import request_scope
from pgp_services.names import Service
from pgp_services.serving import flask_app


@pytest.fixture
def service(container_of):
    secrets, source = container_of(Service.WEB)
    client = flask_app.create_app(Service.WEB, secrets).test_client()
    client.source = source
    client.secrets = secrets
    return client


def test_the_page_links_to_both_ends_of_a_payment(service):
    got = service.get("/")
    assert (got.status_code, got.mimetype) == (200, "text/html")
    assert 'href="https://success.example"' in got.text
    assert 'href="https://failure.example"' in got.text


def test_programs_get_the_same_as_json(service):
    got = service.get("/config.json")
    assert got.json == {
        "success_url": "https://success.example",
        "failure_url": "https://failure.example",
    }


@pytest.mark.parametrize("path", ["/", "/config.json"])
def test_a_switched_url_is_on_the_next_page(service, path):
    assert "https://success.example" in service.get(path).text
    service.source.add("PGP_SUCCESS_URL", "https://green.example")
    got = service.get(path)
    assert "https://green.example" in got.text
    assert got.headers["Cache-Control"] == "no-cache"
    assert got.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert got.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_shown_is_escaped(service, given):
    service.secrets.handler()._success_url = given('https://a.example/"><script>')
    got = service.get("/").text
    assert "<script>" not in got
    assert "&quot;&gt;&lt;script&gt;" in got


def test_a_url_that_is_none_is_not_shown(service):
    with request_scope(values={"PGP_SUCCESS_URL": "javascript:alert(1)"}):
        got = service.get("/")
    assert got.status_code == 503
    assert "javascript" not in got.text


async def test_there_is_nothing_to_close(service):
    service.secrets.handler().close()
    await service.secrets.handler().aclose()
    assert service.secrets.check() == []
