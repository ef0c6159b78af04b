"""A service calls another: with Google's identity where they are deployed, through the gateway on one machine."""

import asyncio
import json
import traceback

import httpx
import pytest
from google.auth.exceptions import DefaultCredentialsError

from pgp_config import DeclarationError
from pgp_services.clients import services
from pgp_services.clients.retries import RetryPolicy
from pgp_services.clients.services import ServiceClient, ServiceRefused, ServiceUnavailable
from pgp_services.lookalikes import Gateway, Routes
from pgp_services.lookalikes.gateway import Passed
from pgp_services.lookalikes.http import Fault, LocalServer


class Other(LocalServer):
    """Another service: 200, unless told otherwise; it keeps the headers that came."""

    def __init__(self):
        super().__init__("no key")
        self.came = []

    def parted(self, request):
        return "no key", request.path

    def answer_to(self, request):
        self.came.append(request)
        return super().answer_to(request)

    def judge(self, request, path, *, accepted):
        return Fault(200, b"anything", {"X-Answer": "kept"})


@pytest.fixture
def other():
    with Other() as other:
        yield other


@pytest.fixture
def routes(other):
    return Routes({"bot.example": other.url})


@pytest.fixture
def gateway(routes):
    with Gateway(routes) as gateway:
        yield gateway


@pytest.fixture
def policy(clock):
    return RetryPolicy(budget=8.0, attempt=5.0, clock=clock, chance=lambda: 0.5)


@pytest.fixture
def client(gateway, given, policy):
    return ServiceClient(given("https://bot.example"), gateway.url, policy=policy)


def post(client, *arguments):
    try:
        return client.post(*arguments)
    finally:
        client.close()


def post_async(client, *arguments):
    async def go():
        try:
            return await client.post_async(*arguments)
        finally:
            await client.aclose()

    return asyncio.run(go())


@pytest.fixture(params=[post, post_async], ids=["sync", "async"])
def call(request):
    return request.param


# -- through the gateway ---------------------------------------------------------------------


def test_a_call_reaches_the_service_by_its_host(call, client, other, gateway):
    assert call(client, "/update", {"update_id": 7}) is None
    (came,) = other.came
    assert (came.method, came.path, json.loads(came.body)) == ("POST", "/update", {"update_id": 7})
    assert came.headers["host"] == "bot.example"
    assert "authorization" not in came.headers
    assert gateway.passed == [Passed("bot.example", "POST", "/update", 200)]


def test_the_url_is_read_at_each_call(call, client, routes, gateway, other):
    client._key._base_url.value = "https://green.example"
    routes.add("green.example", other.url)
    call(client, "/update", {})
    client._key._base_url.value = "https://bot.example"
    call(client, "/update", {})
    assert [passed.host for passed in gateway.passed] == ["green.example", "bot.example"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_what_the_service_refuses_is_refused(call, client, other, status):
    other.fail(Fault(status))
    with pytest.raises(ServiceRefused, match=str(status)):
        call(client, "/update", {})
    assert len(other.came) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_good(call, client, other, status):
    other.fail(Fault(status, b""))
    call(client, "/update", {})


@pytest.mark.parametrize("status", [429, 503])
def test_what_surely_had_no_effect_is_tried_again(call, client, other, status):
    other.fail(Fault(status, headers={"Retry-After": "1"}))
    call(client, "/update", {})
    assert len(other.came) == 2


@pytest.mark.parametrize("status", [500, 503, 0])
def test_what_may_have_had_its_effect_is_not_done_twice(call, client, other, status):
    other.fail(Fault(status))
    with pytest.raises(ServiceUnavailable, match="effect"):
        call(client, "/update", {})
    assert len(other.came) == 1


def test_a_base_url_that_is_none_is_no_call(call, given, gateway, policy):
    client = ServiceClient(given("https://user:CANARY@bot.example"), gateway.url, policy=policy)
    with pytest.raises(ServiceRefused, match="UnusableAddress") as caught:
        call(client, "/update", {})
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [f"{frame.locals}" for frame in trace.stack if "/tests/" not in frame.filename]
    assert "CANARY" not in "".join(frames) + str(caught.value)
    assert gateway.passed == []


@pytest.mark.parametrize(
    "url",
    ["https://gateway.example", "http://10.0.0.1:80", "127.0.0.1:80", "", "http://127.0.0.1/x"],
)
def test_a_gateway_is_on_this_machine(given, url):
    with pytest.raises(DeclarationError, match="gateway"):
        ServiceClient(given("https://bot.example"), url)


# -- deployed --------------------------------------------------------------------------------


def test_deployed_each_call_has_an_identity_for_the_service(call, given, other, policy):
    asked = []

    def identity(audience):
        asked.append(audience)
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return "CANARYTOKEN"

    client = ServiceClient(given(other.url), identity=identity, policy=policy)
    call(client, "/update", {})
    assert other.came[0].headers["authorization"] == "Bearer CANARYTOKEN"
    assert asked == [other.url]
    assert "CANARY" not in repr(client) + repr(vars(client))


def test_without_an_identity_there_is_no_call(call, given, other, clock):
    attempts = []

    def none(audience):
        clock.now += 3
        attempts.append(audience)
        raise DefaultCredentialsError("CANARY")

    policy = RetryPolicy(budget=8.0, attempt=5.0, clock=clock)
    client = ServiceClient(given(other.url), identity=none, policy=policy)
    with pytest.raises(ServiceUnavailable, match="DefaultCredentialsError") as caught:
        call(client, "/update", {})
    assert caught.value.__context__ is None
    assert "CANARY" not in str(caught.value)
    assert len(attempts) == 3
    assert other.came == []


def test_a_failure_does_not_show_the_identity(call, given, other, policy, shown_by):
    client = ServiceClient(given(other.url), identity=lambda _: "CANARYTOKEN", policy=policy)
    other.fail(Fault(500))
    with pytest.raises(ServiceUnavailable) as caught:
        call(client, "/update", {})
    assert "CANARY" not in shown_by(caught.value)


def test_the_identity_is_googles(monkeypatch):
    monkeypatch.setattr(
        services.id_token, "fetch_id_token", lambda request, audience: f"for {audience}"
    )
    assert services.google_identity("https://bot.example") == "for https://bot.example"


# -- the gateway -----------------------------------------------------------------------------


def test_the_gateway_hands_on_all_of_it(gateway, other):
    with httpx.Client(base_url=gateway.url, trust_env=False) as http:
        headers = {"Host": "BOT.example", "X-Own": "kept"}
        answer = http.get("/path?a=1&b=2", headers=headers)
    assert (answer.status_code, answer.text) == (200, "anything")
    assert answer.headers["x-answer"] == "kept"
    (came,) = other.came
    assert (came.path, came.query, came.headers["x-own"]) == (
        "/path",
        {"a": "1", "b": "2"},
        "kept",
    )
    assert gateway.passed == [Passed("BOT.example", "GET", "/path", 200)]
    assert repr(gateway) == f"<Gateway at {gateway.url}>"


def test_a_service_that_is_down_or_breaks_off_is_told(gateway, routes, unused_port, other):
    other.fail(Fault(0))
    routes.add("down.example", f"http://127.0.0.1:{unused_port}")
    with httpx.Client(base_url=gateway.url, trust_env=False) as http:
        statuses = [
            http.get("/", headers={"Host": host}).status_code
            for host in ("down.example", "unheard-of.example", "bot.example")
        ]
    assert statuses == [503, 503, 502]
