"""Cloud Functions: functions that Google's own framework loads and serves."""

import sys
import types

import functions_framework
import httpx
import pytest

from pgp_config import StartupError
from pgp_config.scopes import open_scope

HEAD = """
import functions_framework
from flask import Response, current_app
from functions_framework import aio
from pgp_config import scoped
from stage_of_test import stage

stage.secrets.load()
"""

SCOPED = (
    HEAD
    + """
@functions_framework.http
@scoped
def function(request):
    if request.path == "/fail":
        stage.fail()
    return stage.twice()

@functions_framework.cloud_event
@scoped
def on_event(event):
    stage.told = [event["id"], *stage.twice()]

@aio.http
@scoped
async def asynchronous(request):
    if request.url.path == "/blocking":
        return stage.blocking()
    return ' '.join(await stage.atwice())
"""
)

INSTALLED = (
    HEAD
    + """
from pgp_config_flask import install

install(current_app, stage.secrets, load="never", health=False)

@functions_framework.http
def function(request):
    return Response(stage.lines())
"""
)


@pytest.fixture
def serve(stage, tmp_path, monkeypatch):
    """The application that the framework makes of a file."""
    module = types.ModuleType("stage_of_test")
    module.stage = stage
    monkeypatch.setitem(sys.modules, "stage_of_test", module)
    monkeypatch.setitem(sys.modules, "main", None)

    def serve(text, target="function"):
        (tmp_path / "main.py").write_text(text)
        return functions_framework.create_app(target, str(tmp_path / "main.py"))

    return serve


# promises 1 and 2
def test_a_call_is_one_scope_and_the_next_one_sees_the_rotation(serve, stage):
    client = serve(SCOPED).test_client()
    first, second = client.get("/").json, client.get("/").json
    assert set(first) == {"canary-0"}
    assert len(set(second)) == 1
    assert second != first
    assert client.get("/fail").status_code == 500
    assert (stage.all_closed(), stage.scope_count(), open_scope()) == (True, 3, None)


def test_an_event_is_one_scope(serve, stage):
    client = serve(SCOPED, "on_event").test_client()
    headers = {"ce-id": "7", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0"}
    assert client.post("/", headers=headers, json={}).status_code == 200
    assert stage.told == ["7", "canary-0", "canary-0"]
    assert stage.all_closed()


# promises 1 and 16
async def test_an_asynchronous_function_is_one_scope(serve, stage):
    app = serve(SCOPED, "asynchronous")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        assert set((await client.get("/")).text.split()) == {"canary-0"}
        assert "canary-0" not in (await client.get("/")).text
        blocking = await client.get("/blocking")
    assert "Write: await secrets.framework_key.async_()" in blocking.text
    assert stage.all_closed()


# promise 1
def test_a_streamed_body_is_in_the_scope_to_its_end_where_it_is_installed(serve, stage):
    client = serve(INSTALLED).test_client()
    assert set(client.get("/").text.split()) == {"canary-0"}
    assert "canary-0" not in client.get("/").text
    assert (stage.all_closed(), stage.scope_count()) == (True, 2)


def test_where_it_is_installed_a_missing_secret_is_answered_with_503(serve, stage):
    client = serve(INSTALLED.replace("Response(stage.lines())", "stage.twice()")).test_client()
    stage.lose_key()
    assert client.get("/").status_code == 503


# promise 11
def test_an_instance_whose_load_fails_does_not_start(serve, stage):
    stage.break_start()
    with pytest.raises(StartupError) as failed:
        serve(SCOPED)
    assert all(fault in str(failed.value) for fault in stage.faults)
