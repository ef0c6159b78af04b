"""PGP_SPLIT2_v1 in Flask and in FastAPI: the same routes and the same answers."""

import asyncio
import contextvars
import json
from http import HTTPStatus

import grpc
import httpx
import pytest
from asgiref.testing import ApplicationCommunicator
from dependency_injector import providers

from pgp_config import EVERY_REQUEST, Memory, SecretUnavailable, StartupError, request_scope
from pgp_services.lookalikes.http import Fault
from pgp_services.serving.responder import Responder
from pgp_services.settings import Settings
from pgp_services.split2 import fastapi_app, flask_app
from pgp_services.split2.container import Split2


class Counting(Memory):
    """A source that counts what it is asked, and can be out of reach."""

    def __init__(self, values):
        super().__init__(values)
        self.asked = []
        self.down = False

    def fetch(self, name, version="latest"):
        self.asked.append(name)
        if self.down:
            raise SecretUnavailable("the source is down")
        return super().fetch(name, version)


@pytest.fixture
def source(values):
    return Counting(values)


@pytest.fixture
def container_with(source, changenow_server, tasks_server):
    made = []

    def build(**options):
        settings = Settings("split2@pgp-test.example", changenow_server.url, tasks_server.endpoint)
        made.append(Split2(source=source, settings=providers.Object(settings), **options))
        return made[-1]

    yield build
    for container in made:
        container.close()


class Got:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


class FlaskService:
    def __init__(self, secrets):
        self.handler = secrets.handler()
        self.client = flask_app.create_app(secrets).test_client()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.handler.close()

    def __call__(self, method, path, body=b"", **headers):
        answer = self.client.open(path, method=method, data=body, headers=headers)
        return Got(answer.status_code, answer.headers, answer.data)


class FastApiService:
    """In one event loop from its start to its end, as a server runs it."""

    def __init__(self, secrets):
        self.app = fastapi_app.create_app(secrets)
        self.runner = asyncio.Runner()

    def run(self, coroutine):
        return self.runner.run(coroutine, context=contextvars.copy_context())

    async def lifespan(self, event):
        await self.life.send_input({"type": f"lifespan.{event}"})
        if (await self.life.receive_output(10))["type"] != f"lifespan.{event}.complete":
            await self.life.wait()

    async def start(self):
        self.life = ApplicationCommunicator(self.app, {"type": "lifespan"})
        await self.lifespan("startup")
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://split2.example"
        )

    async def end(self):
        await self.client.aclose()
        await self.lifespan("shutdown")

    def __enter__(self):
        try:
            self.run(self.start())
        except BaseException:
            self.runner.close()
            raise
        return self

    def __exit__(self, *_):
        self.run(self.end())
        self.runner.close()

    def __call__(self, method, path, body=b"", **headers):
        answer = self.run(self.client.request(method, path, content=body, headers=headers))
        return Got(answer.status_code, answer.headers, answer.content)


@pytest.fixture(params=[FlaskService, FastApiService], ids=["flask", "fastapi"])
def service_with(request):
    return request.param


@pytest.fixture
def service(service_with, container_with):
    with service_with(container_with()) as service:
        yield service


def test_a_token_becomes_a_task(service, body_with, tasks_server):
    got = service("POST", "/", body_with())
    assert got.status == 200
    assert got.headers["content-type"].startswith("application/json")
    assert set(got.json) == {"status", "message", "task_id"}
    assert tasks_server.count() == {
        ("split1-responses", "https://split1.example/usdt-eth-estimate"): 1
    }


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"nonsense", b"\xff", b'{"token": 5}'])
def test_400_without_json_or_token(service, body):
    got = service("POST", "/", body)
    assert (got.status, got.json["status"]) == (400, "error")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json; charset=utf-8", "multipart/form-data"]
)
def test_the_body_counts_and_not_what_it_is_called(service, body_with, kind):
    assert service("POST", "/", body_with(), **{"Content-Type": kind}).status == 200
    assert service("POST", "/", b"nonsense", **{"Content-Type": kind}).status == 400


def test_401_for_a_bad_token(service, body_with):
    assert service("POST", "/", b'{"token": "a.b"}').status == 401
    assert service("POST", "/", body_with(timestamp=1)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 405),
        ("PUT", "/", 405),
        ("OPTIONS", "/", 405),
        ("GET", "/elsewhere", 404),
        ("POST", "/usdt-eth-estimate", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
    ],
)
def test_client_errors_are_no_500(service, method, path, status):
    got = service(method, path)
    assert got.status == status
    assert got.json["status"] == "error"
    if status == 405:
        assert "POST" in got.headers["allow"]


def test_413_for_a_large_body(service):
    got = service("POST", "/", b"x" * 70_000)
    assert got.status == 413
    assert got.json == {"status": "error", "message": HTTPStatus(413).phrase}


def test_502_and_503(service, body_with, changenow_server, tasks_server):
    changenow_server.fail(Fault(400))
    assert service("POST", "/", body_with()).status == 502
    changenow_server.fail(Fault(429, headers={"Retry-After": "30"}))
    got = service("POST", "/", body_with())
    assert (got.status, got.headers["retry-after"]) == (503, "30")
    tasks_server.fail(grpc.StatusCode.NOT_FOUND)
    got = service("POST", "/", body_with())
    assert (got.status, got.headers["retry-after"]) == (503, "5")


def test_503_when_a_secret_is_unavailable(service, body_with):
    with request_scope(values={"LOG_LEVEL": "LOUD-CANARY"}):
        got = service("POST", "/", body_with())
    assert (got.status, got.headers["retry-after"]) == (503, "5")
    assert "CANARY" not in got.body.decode()


def test_an_outage_of_the_source_is_lived_through(service_with, container_with, body_with, source):
    with service_with(container_with(freshness=EVERY_REQUEST)) as service:
        source.down = True
        assert service("POST", "/", body_with()).status == 200


def test_a_missing_secret_stops_the_start(service_with, values):
    del values["CHANGENOW_API_KEY"]
    del values["SUCCESS_URL_SIGNING_KEY"]
    secrets = Split2(source=Memory(values), settings=providers.Object(Settings("a@b.example")))
    with (
        pytest.raises(StartupError, match=r"(?s)CHANGENOW_API_KEY.*SUCCESS_URL_SIGNING_KEY"),
        service_with(secrets),
    ):
        pass
    secrets.close()


def test_a_rotated_key_is_used_by_the_request_that_meets_the_refusal(
    service, body_with, source, changenow_server, new_key
):
    assert service("POST", "/", body_with()).status == 200
    newer = new_key()
    changenow_server.rotate(newer, lambda: source.add("CHANGENOW_API_KEY", newer))
    assert service("POST", "/", body_with()).status == 200
    assert service("POST", "/", body_with()).status == 200
    assert [(seen.version, seen.status) for seen in changenow_server.seen] == [
        (1, 200),
        (1, 401),
        (2, 200),
        (2, 200),
    ]


def test_a_switched_queue_and_url_are_used_by_the_next_request(
    service_with, container_with, body_with, source, tasks_server
):
    with service_with(container_with(freshness=EVERY_REQUEST)) as service:
        service("POST", "/", body_with(user_id=1))
        source.add("PGP_SPLIT1_URL", "https://green.example")
        source.add("PGP_SPLIT1_RESPONSE_QUEUE", "green")
        service("POST", "/", body_with(user_id=2))
    assert tasks_server.count() == {
        ("split1-responses", "https://split1.example/usdt-eth-estimate"): 1,
        ("green", "https://green.example/usdt-eth-estimate"): 1,
    }


def test_a_static_secret_never_changes_and_is_never_fetched_again(
    service_with, container_with, body_with, source, new_key
):
    with service_with(container_with(freshness=EVERY_REQUEST)) as service:
        source.add("SUCCESS_URL_SIGNING_KEY", new_key())
        source.asked.clear()
        assert service("POST", "/", body_with()).status == 200
        assert "SUCCESS_URL_SIGNING_KEY" not in source.asked
        assert "CLOUD_TASKS_PROJECT_ID" not in source.asked


def test_50_requests_cost_no_more_calls_than_one(service, body_with, source):
    """Old fault: 10 reads in a request cost one call, but 50 requests cost 50."""
    source.asked.clear()
    for number in range(50):
        assert service("POST", "/", body_with(user_id=number)).status == 200
    assert source.asked.count("CHANGENOW_API_KEY") <= 1


def test_no_answer_and_no_log_shows_a_value(
    service, body_with, values, changenow_server, caplog, capsys
):
    caplog.set_level("DEBUG")
    changenow_server.fail(Fault(400, b"ANSWERCANARY"))
    answers = [service("POST", "/", body_with()), service("POST", "/", body_with())]
    answers += [service("POST", "/", b'{"token": "TOKENCANARY.x"}')]
    answers += [service("GET", path) for path in ("/healthz", "/readyz")]
    assert [got.status for got in answers] == [502, 200, 401, 200, 200]
    shown = "".join(got.body.decode() + str(got.headers) for got in answers)
    shown += caplog.text + "".join(capsys.readouterr())
    confidential = ("SUCCESS_URL_SIGNING_KEY", "CHANGENOW_API_KEY", "DATABASE_PASSWORD_SECRET")
    for canary in [*(values[name] for name in confidential), "ANSWERCANARY", "TOKENCANARY"]:
        assert canary not in shown


def test_readiness_names_every_secret(service):
    assert service("GET", "/healthz").status == 200
    shown = service("GET", "/readyz").body.decode()
    assert "CHANGENOW_API_KEY" in shown
    assert "SUCCESS_URL_SIGNING_KEY" in shown


async def test_a_caller_who_goes_away_is_no_fault_of_ours(container_with, caplog):
    secrets = container_with()
    app = fastapi_app.create_app(secrets)
    await secrets.aload()
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    caller = ApplicationCommunicator(app, scope)
    await caller.send_input({"type": "http.request", "body": b'{"tok', "more_body": True})
    await caller.send_input({"type": "http.disconnect"})
    assert (await caller.receive_output(10))["status"] == 400
    await caller.wait(10)
    await secrets.handler().aclose()


def test_a_fault_of_the_framework_is_a_500_without_its_text(container_with, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("CANARY")

    monkeypatch.setattr(Responder, "respond", fail)
    with FlaskService(container_with()) as service:
        got = service("POST", "/", b"{}")
    assert (got.status, got.json) == (500, {"status": "error", "message": "Internal Server Error"})


def test_without_a_container_the_environment_says_where_secrets_are(monkeypatch, values):
    monkeypatch.setenv("PGP_CONFIG_SOURCE", "env:")
    monkeypatch.setenv("TASKS_SERVICE_ACCOUNT", "split2@pgp-test.example")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    made = []
    for framework in ("flask_app", "fastapi_app"):
        installer = f"pgp_services.serving.{framework}.install"
        monkeypatch.setattr(installer, lambda _, secrets: made.append(secrets))
    flask_app.create_app()
    fastapi_app.create_app()
    assert [secrets.parent_name for secrets in made] == ["Split2", "Split2"]
    for secrets in made:
        secrets.close()
