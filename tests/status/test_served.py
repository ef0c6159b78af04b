"""Where the page is, who may see it, and what is around it: in the plain middleware of both kinds."""

import asyncio

import httpx
import pytest

from pgp_config import DynamicSecret, SecretContainer, StaticSecret, asgi, wsgi
from pgp_config.status import StatusPage


class Shop(SecretContainer):
    fixed = StaticSecret("FIXED")
    token = DynamicSecret("STATUS_TOKEN")


def wsgi_app(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the application's"]


async def asgi_app(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"the application's"})


class Wsgi:
    def __init__(self, secrets, page):
        app = wsgi.StatusMiddleware(wsgi_app, secrets, page)
        self._client = httpx.Client(
            transport=httpx.WSGITransport(app, remote_addr="10.0.0.7"), base_url="http://test"
        )

    def ask(self, method, path, **options):
        return self._client.request(method, path, **options)


class Asgi:
    def __init__(self, secrets, page):
        self._app = asgi.StatusMiddleware(asgi_app, secrets, page)

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
    container = make(Shop)
    container.load()
    return container


@pytest.fixture(params=[Wsgi, Asgi])
def serve(request, secrets):
    return lambda auth, **options: request.param(secrets, StatusPage(auth, **options))


def test_the_data_is_json_and_holds_no_value(serve):
    answer = serve(lambda request: True).ask("GET", "/_secrets/data")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert [row["name"] for row in answer.json()["secrets"]] == ["FIXED", "STATUS_TOKEN"]
    assert "canary" not in answer.text
