"""Django: sync and async views, under WSGI, ASGI and both of its test clients."""

import asyncio
import atexit
import io
import json
import pathlib
import subprocess
import sys
import types
import wsgiref.util

import django
import httpx
import pytest
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from pgp_config import DeclarationError, StartupError, request_scope
from pgp_config.integrations import django as integration
from pgp_config.scopes import open_scope

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["pgp_config.integrations.django.ScopeMiddleware"],
    LOGGING_CONFIG=None,
    SECRET_KEY="of-the-test",
)
django.setup()


def urls(stage):
    def twice(request):
        return JsonResponse(stage.twice(), safe=False)

    async def atwice(request):
        return JsonResponse(await stage.atwice(), safe=False)

    def lines(request):
        return StreamingHttpResponse(stage.lines())

    async def alines(request):
        return StreamingHttpResponse(stage.alines())

    def file(request):
        stage.read()
        return FileResponse(pathlib.Path(__file__).open("rb"))

    def fail(request):
        stage.fail()

    async def afail(request):
        await stage.afail()

    async def blocking(request):
        return HttpResponse(stage.blocking())

    pages = (twice, atwice, lines, alines, file, fail, afail, blocking)
    return [path(page.__name__, page) for page in pages]


@pytest.fixture(autouse=True)
def _project(stage):
    module = types.ModuleType("project_urls")
    module.urlpatterns = urls(stage)
    with override_settings(ROOT_URLCONF=module, PGP_CONFIG_CONTAINER=stage.secrets):
        yield
    atexit.unregister(stage.secrets.close)


def over_wsgi(where):
    body = WSGIHandler()(environ(where), lambda status, headers: None)
    try:
        return b"".join(body).decode()
    finally:
        body.close()


def environ(where):
    environ = {"PATH_INFO": where}
    wsgiref.util.setup_testing_defaults(environ)
    return environ


async def over_asgi(where):
    transport = httpx.ASGITransport(ASGIHandler())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return (await client.get(where)).text


async def over_async_client(where):
    response = await AsyncClient().get(where)
    if response.streaming:
        text = b"".join([part async for part in response]).decode()
        response.close()
        return text
    return response.content.decode()


def over_client(where):
    response = Client().get(where)
    text = response.getvalue().decode()
    response.close()
    return text


SYNC = [over_client, over_wsgi]
ASYNC = [over_async_client, over_asgi]


def check(stage, first, second):
    assert set(first) == {"canary-0"}
    assert len(set(second)) == 1
    assert second != first
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


# promise 1
@pytest.mark.parametrize("get", SYNC)
@pytest.mark.parametrize("where", ["/twice", "/atwice"])
def test_a_request_sees_one_value_and_the_next_one_the_newest(stage, get, where):
    check(stage, json.loads(get(where)), json.loads(get(where)))
    assert open_scope() is None


# promise 1
@pytest.mark.parametrize("get", ASYNC)
@pytest.mark.parametrize("where", ["/twice", "/atwice"])
async def test_so_it_is_where_an_event_loop_runs(stage, get, where):
    check(stage, json.loads(await get(where)), json.loads(await get(where)))
    assert open_scope() is None


# promise 1
@pytest.mark.parametrize("get", SYNC)
def test_a_streamed_body_is_in_the_scope_to_its_end(stage, get):
    check(stage, get("/lines").split(), get("/lines").split())


# promise 1
@pytest.mark.parametrize("get", ASYNC)
async def test_an_asynchronous_body_is_in_the_scope_to_its_end(stage, get):
    check(stage, (await get("/alines")).split(), (await get("/alines")).split())


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
async def test_a_body_of_the_other_kind_is_in_the_scope_too(stage):
    check(stage, (await over_asgi("/lines")).split(), (await over_asgi("/lines")).split())


def test_a_body_that_nobody_reads_is_closed_with_the_response(stage):
    body = WSGIHandler()(environ("/lines") | {"REQUEST_METHOD": "HEAD"}, lambda *_: None)
    body.close()
    response = Client().get("/lines")
    next(iter(response))
    assert not stage.scopes[0].closed
    response.close()
    assert stage.all_closed()


def test_a_file_is_left_to_the_server(stage):
    wrapped = {"wsgi.file_wrapper": wsgiref.util.FileWrapper}
    body = WSGIHandler()(environ("/file") | wrapped, lambda *_: None)
    assert isinstance(body, wsgiref.util.FileWrapper)
    assert isinstance(body.filelike, io.BufferedReader)
    assert stage.scopes[0].closed
    body.close()


@pytest.mark.parametrize("where", ["/fail", "/afail"])
async def test_a_view_that_raises_closes_its_scope(stage, where):
    with pytest.raises(KeyError, match="the-handler"):
        await AsyncClient().get(where)
    assert stage.all_closed()


def test_a_sync_view_that_raises_closes_its_scope(stage):
    assert Client(raise_request_exception=False).get("/fail").status_code == 500
    assert stage.all_closed()


def test_what_ends_the_process_closes_the_scope_too(stage):
    def get_response(request):
        stage.read()
        raise SystemExit

    with pytest.raises(SystemExit):
        integration.ScopeMiddleware(get_response)(None)
    assert stage.all_closed()


async def test_a_cancelled_request_closes_its_scope(stage):
    entered = asyncio.Event()

    async def get_response(request):
        await stage.aread()
        entered.set()
        await asyncio.Event().wait()

    request = asyncio.ensure_future(integration.ScopeMiddleware(get_response)(None))
    await entered.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert stage.all_closed()


def test_a_request_without_a_usable_secret_is_answered_with_503(stage, caplog):
    client = Client()
    client.get("/twice")
    stage.lose_key()
    response = client.get("/twice")
    assert (response.status_code, response["Retry-After"]) == (503, "2")
    assert response.json() == {"error": "temporarily unavailable"}
    assert "FRAMEWORK_KEY" in caplog.text
    assert "(pgp-config explain SecretUnavailable)" in caplog.text


# promise 16
async def test_a_read_that_would_block_the_loop_names_the_await_form(stage):
    assert "Write: await secrets.framework_key.async_()" in await over_asgi("/blocking")


# promise 12
def test_a_tests_values_reach_the_views_and_loading_is_outside_its_scope(stage, source):
    with request_scope(values={"FRAMEWORK_KEY": "given"}):
        assert Client().get("/twice").json() == ["given", "given"]
    assert source.count("FRAMEWORK_FIXED") == 1


# promise 11
@pytest.mark.parametrize("handler", [WSGIHandler, ASGIHandler])
def test_a_start_that_fails_tells_every_fault_at_once(stage, handler):
    stage.break_start()
    with pytest.raises(StartupError) as failed:
        handler()
    assert all(fault in str(failed.value) for fault in stage.faults)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (None, r"name no container in PGP_CONFIG_CONTAINER.*Set PGP_CONFIG_CONTAINER = "),
        ("nowhere.to:be", "PGP_CONFIG_CONTAINER = 'nowhere.to:be' names nothing.*No module"),
        ("json:nothing", "names nothing that can be imported .*no attribute 'nothing'"),
        ("not a name", "names nothing that can be imported"),
        ("json:dumps", "a function was given in place of a container"),
    ],
)
def test_what_is_wrong_with_the_setting_is_said(named, said):
    with (
        override_settings(PGP_CONFIG_CONTAINER=named),
        pytest.raises(DeclarationError, match=said),
    ):
        WSGIHandler()


PROJECT = {
    "secrets_of.py": """
from pgp_config import DynamicSecret, Memory, SecretContainer

class Noisy(Memory):
    def fetch(self, name, version="latest"):
        print("fetched", name, flush=True)
        return super().fetch(name, version)
    def close(self):
        print("closed", flush=True)

class Shop(SecretContainer):
    key = DynamicSecret("DJANGO_KEY", str)

secrets = Shop(source=Noisy({"DJANGO_KEY": "k1"}))
""",
    "settings.py": """
MIDDLEWARE = ["pgp_config.integrations.django.ScopeMiddleware"]
PGP_CONFIG_CONTAINER = "secrets_of:secrets"
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATIC_URL, STATIC_ROOT = "static/", "collected"
WSGI_APPLICATION = "wsgi.application"
ROOT_URLCONF = "settings"
SECRET_KEY = "of-the-test"
urlpatterns = []
""",
    "wsgi.py": """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "django", "check"], []),
        (["-m", "django", "collectstatic", "--no-input"], []),
        (["-c", "import wsgi"], ["fetched DJANGO_KEY", "closed"]),
    ],
)
def test_only_what_serves_loads_and_closes(tmp_path, arguments, said):
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [
        line for line in run.stdout.splitlines() if line.startswith(("fetched", "closed"))
    ] == said
