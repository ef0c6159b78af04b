"""What holds for every service of the fleet: its secrets, its refusals, and that no key is told."""

import logging

import pytest
from dependency_injector import providers
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pgp_config import DeclarationError, DynamicSecret, Freshness, KeyRing, StaticSecret
from pgp_services import registry
from pgp_services.catalogue import CATALOGUE, Static, secrets_of
from pgp_services.names import Service
from pgp_services.serving import fastapi_app, flask_app
from pgp_services.serving.bodies import MAX_BODY
from pgp_services.settings import Settings

SERVICES = sorted(registry.REGISTRY)
LOCAL = "http://127.0.0.1:9"


def declared_by(container):
    """What a container declares, by name; a key ring is a dynamic secret."""
    kinds = (StaticSecret, DynamicSecret, KeyRing)
    return {p.name: p for p in container.providers.values() if isinstance(p, kinds)}


def confidential(values):
    """The values that nobody may see."""
    return [values[name] for name, row in CATALOGUE.items() if row.kind == "secret"]


@pytest.fixture(params=SERVICES, ids=[service.short for service in SERVICES])
def service(request):
    return request.param


@pytest.fixture
def settings():
    """Everything that is called is at a port of this machine where nobody listens."""
    return Settings(
        service_account="fleet@pgp-test.example",
        changenow_base_url=LOCAL,
        cloud_tasks_endpoint="127.0.0.1:9",
        nowpayments_base_url=LOCAL,
        telegram_base_url=LOCAL,
        ethereum_base_url=LOCAL,
        local_gateway=LOCAL,
        google_project="pgp-test",
        google_region="us-central1",
        telegram_updates="off",
    )


@pytest.fixture
def running(service, faulty, fleet_values, settings):
    """The service's application, its source and its container."""
    source = faulty({row.name: fleet_values[row.name] for row in secrets_of(service)})
    secrets = registry.container_of(service)(
        source=source,
        settings=providers.Object(settings),
        freshness=Freshness(max_age=0, max_stale=0),
    )
    if registry.REGISTRY[service].framework == "fastapi":
        with TestClient(fastapi_app.create_app(service, secrets)) as client:
            yield Running(service, client, source, secrets, client.request)
    else:
        client = flask_app.create_app(service, secrets).test_client()
        yield Running(service, client, source, secrets, flask_request(client))
        registry.handler_of(secrets).close()
        secrets.close()


def flask_request(client):
    def request(method, path, content=b""):
        return client.open(path, method=method, data=content)

    return request


class Running:
    def __init__(self, service, client, source, secrets, request):
        self.service = service
        self.source = source
        self.secrets = secrets
        self._client = client
        self._request = request

    def routes(self, method="POST"):
        return [r.path for r in registry.handler_of(self.secrets).routes() if r.method == method]

    def ask(self, method, path, body=b""):
        """The status, the JSON and the headers of the answer."""
        answer = self._request(method, path, content=body)
        content = answer.get_json(silent=True) if hasattr(answer, "get_json") else answer.json()
        return answer.status_code, content, answer.headers


def test_all_seventeen_services_can_be_run():
    assert set(registry.REGISTRY) == set(Service)


def test_it_declares_what_the_catalogue_gives_it_and_nothing_else(service):
    """Old fault: getters that nobody called while the code still read the old keys."""
    container = registry.container_of(service)
    declared = declared_by(container)
    assert {
        name: "static" if isinstance(p, StaticSecret) else "dynamic"
        for name, p in declared.items()
    } == {row.name: row.reload_class for row in secrets_of(service)}
    for name, provider in declared.items():
        assert container.providers[name.lower()] is provider


def test_every_secret_is_taken_and_nothing_undeclared_is_wired(running):
    assert running.secrets.check() == []


def test_what_it_may_not_read_cannot_be_declared(service):
    mine = {row.name for row in secrets_of(service)}
    others = [row for row in CATALOGUE.values() if row.name not in mine]
    for row in others:
        with pytest.raises(DeclarationError, match=row.name):
            type("Curious", (registry.container_of(service),), {row.name.lower(): row.secret()})


def test_a_static_secret_cannot_be_made_dynamic(service):
    """Old fault: "static" was a docstring."""
    for row in secrets_of(service):
        if isinstance(row, Static):
            careless = {row.name.lower(): DynamicSecret(row.name, row.declared)}
            with pytest.raises(DeclarationError, match=row.name):
                type("Careless", (registry.container_of(service),), careless)


def test_it_is_alive_and_ready(running, fleet_values):
    for path in ("/healthz", "/readyz"):
        status, content, _ = running.ask("GET", path)
        assert status == 200
        assert not [value for value in confidential(fleet_values) if value in str(content)]


NONSENSE = [
    b"",
    b"nonsense",
    b"[]",
    b"\xff\xfe",
    b'{"token": "x.y"}',
    b"{" + b" " * MAX_BODY + b"}",
]


@pytest.mark.parametrize("body", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_the_callers_fault_and_no_key_is_told(running, body, fleet_values, caplog):
    """Old faults: a client's error as a 500; values, or their first characters, in logs and answers."""
    caplog.set_level(logging.DEBUG)
    for path in running.routes():
        status, content, _ = running.ask("POST", path, body)
        assert status in {400, 401, 413, 422}
        assert content["status"] == "error"
        assert isinstance(content["message"], str)
        told = caplog.text + str(content)
        assert not [value for value in confidential(fleet_values) if value in told]


def test_unknown_paths_and_methods_have_answers_of_the_same_shape(running):
    paths = [("GET", "/no-such-path", 404), *[("DELETE", path, 405) for path in running.routes()]]
    for method, path, expected in paths:
        status, content, _ = running.ask(method, path)
        assert (status, content["status"]) == (expected, "error")


def test_503_for_all_while_no_secret_can_be_read(running):
    """Old fault: any failure became None, and the service ran on."""
    running.source.failing.update(row.name for row in secrets_of(running.service))
    for method in ("GET", "POST"):
        for path in running.routes(method):
            status, content, headers = running.ask(method, path, b"{}")
            assert (status, content["status"]) == (503, "error")
            assert int(headers["Retry-After"]) >= 1


def test_nothing_that_it_is_made_of_shows_a_key(running, fleet_values):
    handler = registry.handler_of(running.secrets)
    parts = [running.secrets, handler, *vars(handler).values()]
    for part in parts:
        shown = repr(part) + repr(getattr(part, "__dict__", ""))
        assert not [value for value in confidential(fleet_values) if value in shown]


def test_no_static_secret_is_asked_for_in_a_request(running):
    static = {row.name for row in secrets_of(running.service) if isinstance(row, Static)}
    running.source.asked.clear()
    for method in ("GET", "POST"):
        for path in running.routes(method):
            running.ask(method, path, b'{"token": "x.y"}')
    assert static.isdisjoint(running.source.asked)


def test_values_are_of_their_types(running, fleet_values):
    """Old fault: two secrets with one free-text cache key swapped values."""
    for name, provider in declared_by(running.secrets).items():
        if isinstance(provider, KeyRing):
            continue
        value = provider()
        if isinstance(value, SecretStr):
            assert value.get_secret_value() == fleet_values[name]


async def test_its_connections_are_closed_in_coroutines_too(running):
    handler = registry.handler_of(running.secrets)
    await handler.aclose()
    await handler.aclose()
