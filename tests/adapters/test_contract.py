"""What every adapter does, however it is reached."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pgp_config import request_scope


# promise 1
@pytest.mark.parametrize("path", ["/twice", "/atwice"])
def test_a_request_sees_one_value_and_the_next_one_the_newest(get_json, path):
    first, second = get_json(path), get_json(path)
    assert set(first) == {"canary-0"}
    assert len(set(second)) == 1
    assert second != first


# promise 1
@pytest.mark.parametrize("path", ["/stream", "/astream"])
def test_a_streamed_body_is_inside_the_scope(way, path):
    status, _, text = way.get(path)
    assert (status, text.split()) == (200, ["canary-0", "canary-0"])
    assert "canary-0" not in way.get(path)[2]


# promise 2
def test_each_request_has_a_scope_of_its_own(way, stage):
    way.get("/twice")
    way.get("/atwice")
    assert len({id(scope) for scope in stage.scopes}) == 2


# promise 2
def test_concurrent_requests_are_independent(way, stage):
    if not way.concurrent:
        pytest.skip("asgiref serves one request at a time")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(way.get, "/hold")
        assert stage.entered.wait(30)
        stage.rotate()
        between = json.loads(way.get("/twice")[2])
        stage.released.set()
        assert json.loads(held.result(30)[2]) == ["canary-0", "canary-0"]
    assert "canary-0" not in between


def test_a_tests_values_reach_the_handlers(way, get_json):
    if not way.in_process:
        pytest.skip("the server's threads are not in the test's context")
    with request_scope(values={"ADAPTER_KEY": "given"}):
        assert get_json("/twice") == ["given", "given"]
        assert set(get_json("/atwice")) == {"given"}
        assert way.get("/stream")[2] == "given\ngiven\n"
    assert "given" not in get_json("/twice")


# promise 12
def test_static_secrets_are_loaded_before_the_first_request(get_json, source):
    assert get_json("/sealed") == ["canary-fixed"]
    assert source.count("ADAPTER_FIXED") == 1


@pytest.mark.parametrize("path", ["/fail", "/reject"])
def test_an_unusable_secret_is_answered_with_503_and_no_cause(way, path, caplog):
    status, headers, text = way.get(path)
    assert (status, headers["Retry-After"]) == (503, "2")
    assert headers["Cache-Control"] == "no-store"
    assert json.loads(text) == {"error": "temporarily unavailable"}
    assert "the cause-canary" in caplog.text


# promise 15
def test_the_health_pages_show_names_and_versions_and_ask_for_nothing(way, source):
    way.get("/twice")
    calls = len(source.calls)
    for path in ("/healthz", "/readyz"):
        status, headers, text = way.get(path)
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert headers["Content-Type"] == "application/json"
        assert "canary" not in text
        secrets = json.loads(text)["secrets"]
        assert [(s["name"], s["version"]) for s in secrets] == [
            ("ADAPTER_FIXED", 1),
            ("ADAPTER_KEY", 1),
        ]
    assert len(source.calls) == calls
