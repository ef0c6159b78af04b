"""The REST side of the local Secret Manager, as HTTP: what Google's client for Python does not send."""

import base64
import http.client
import json
import socket

import pytest
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.rest_base import (
    _BaseSecretManagerServiceRestTransport as Googles,
)

from pgp_config import GoogleSecretManager
from pgp_config.emulator import SecretManagerEmulator, transcoding
from pgp_config.emulator import over_rest as side

KEY = "/v1/projects/local/secrets/KEY"
AUTOMATIC = {"replication": {"automatic": {}}}


@pytest.fixture
def manager():
    with SecretManagerEmulator() as emulator:
        emulator.add("KEY", "canary")
        yield emulator


@pytest.fixture
def connection(manager):
    made = http.client.HTTPConnection(manager.rest_endpoint, timeout=30)
    yield made
    made.close()


@pytest.fixture
def call(connection):
    """Asks over one connection; the code and the JSON of the answer."""

    def ask(verb, target, body=None, headers=()):
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(verb, target, content, dict(headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    return ask


@pytest.fixture
def said(manager):
    """What comes back for bytes that are sent as they are, until the other side ends the connection."""

    def say(data):
        host, _, port = manager.rest_endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), 30) as connection:
            connection.sendall(data)
            with connection.makefile("rb") as answer:
                return answer.read()

    return say


def refused(answer, code, status, says=""):
    assert answer[0] == answer[1]["error"]["code"] == code
    assert answer[1]["error"]["status"] == status
    assert says in answer[1]["error"]["message"]
    return True


# -- paths -----------------------------------------------------------------------------------


def test_the_paths_are_googles():
    ours = {
        (route.method, route.verb.lower(), route.template, route.body)
        for route in transcoding.ROUTES
        if "." not in route.method
    }
    theirs = {
        (name, option["method"], option["uri"], option.get("body", ""))
        for name in {method for method, *_ in ours}
        for option in getattr(Googles, f"_Base{name}")._get_http_options()
    }
    assert ours == theirs
    assert len(ours) == 30


def test_the_paths_of_projects_are_googles():
    from google.cloud.resourcemanager_v3.services.projects.transports import rest_base

    ours = {
        (route.method, route.verb.lower(), route.template, route.body)
        for route in transcoding.ROUTES
        if route.method.startswith("Projects.") and "/v3/" in route.template
    }
    theirs = {
        (f"Projects.{name}", option["method"], option["uri"], option["body"])
        for name in ("GetIamPolicy", "SetIamPolicy")
        for option in getattr(
            rest_base._BaseProjectsRestTransport, f"_Base{name}"
        )._get_http_options()
    }
    assert ours == theirs


@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("GET", "/"),
        ("GET", "/v2/projects/local/secrets/KEY"),
        ("GET", "/v1/projects/local"),
        ("GET", "/v1/projects//secrets/KEY"),
        ("GET", f"{KEY}/"),
        ("GET", f"{KEY}:frobnicate"),
        ("GET", f"{KEY}/versions/1:destroy"),
        ("POST", KEY),
        ("PUT", KEY),
        ("POST", f"{KEY}/versions/1:access"),
        ("GET", "//projects/local/secrets/KEY"),
        ("GET", "http:%5Bx/v1/projects/local/secrets/KEY"),
    ],
)
def test_a_path_that_is_none_is_not_found(call, verb, target):
    assert refused(call(verb, target), 404, "NOT_FOUND", "no method at")


def test_a_name_in_a_path_may_be_escaped(call):
    assert call("GET", "/v1/projects/local/secrets/%4BEY")[1]["name"].endswith("/secrets/KEY")
    for wrong in ("a%20b", "a%2Fb", "%FF"):
        assert refused(call("GET", f"/v1/projects/local/secrets/{wrong}"), 400, "INVALID_ARGUMENT")


def test_a_projects_id_may_have_a_colon(call):
    parent = "/v1/projects/example.com:old/secrets"
    name = call("POST", f"{parent}?secretId=KEY", AUTOMATIC)[1]["name"]
    assert name == "projects/example.com:old/secrets/KEY"
    assert call("GET", f"{parent}/KEY:getIamPolicy") == (200, {})


# -- queries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["secretId", "secret_id"])
def test_a_parameter_may_be_spelled_either_way(call, spelling):
    assert call("POST", f"/v1/projects/local/secrets?{spelling}=NEW", AUTOMATIC)[0] == 200


@pytest.mark.parametrize("mask", ["versionAliases,labels", "version_aliases,labels"])
@pytest.mark.parametrize("spelling", ["updateMask", "update_mask"])
def test_a_mask_may_be_spelled_either_way(call, mask, spelling):
    change = {"labels": {"env": "test"}, "version_aliases": {"prod": "1"}, "name": "ignored"}
    code, changed = call("PATCH", f"{KEY}?{spelling}={mask}", change)
    assert (code, changed["labels"], changed["versionAliases"]) == (
        200,
        {"env": "test"},
        {"prod": "1"},
    )


def test_pages_are_asked_for_in_the_query(call, manager):
    manager.add("OTHER", "canary")
    code, page = call("GET", "/v1/projects/local/secrets?pageSize=1&prettyPrint=false")
    assert (code, len(page["secrets"]), page["totalSize"]) == (200, 1, 2)
    target = f"/v1/projects/local/secrets?page_size=1&pageToken={page['nextPageToken']}"
    assert [s["name"] for s in call("GET", target)[1]["secrets"]] == [KEY.removeprefix("/v1/")]


def test_a_field_of_a_message_in_the_request_may_be_asked_for(call):
    assert call("GET", f"{KEY}:getIamPolicy?options.requestedPolicyVersion=3") == (200, {})


@pytest.mark.parametrize(
    "query",
    [
        "canary=1",
        "pageSize=1&pageSize=2",
        "pageSize=canary",
        "parent.name=x",
        "filter.x=canary",
        "filter=a&filter.x=b",
    ],
)
def test_a_query_that_does_not_fit_is_invalid(call, query):
    assert refused(call("GET", f"/v1/projects/local/secrets?{query}"), 400, "INVALID_ARGUMENT")


def test_a_field_is_not_set_in_what_is_no_message(call):
    target = f"{KEY}:getIamPolicy?options=1&options.requestedPolicyVersion=3"
    assert refused(call("GET", target), 400, "INVALID_ARGUMENT", "cannot be bound")


def test_enums_come_as_names_or_as_numbers(call):
    assert call("GET", f"{KEY}/versions/1")[1]["state"] == "ENABLED"
    for query in ("$alt=json;enum-encoding=int", "alt=json%3Benum-encoding%3Dint"):
        assert call("GET", f"{KEY}/versions/1?{query}")[1]["state"] == 1


def test_an_answer_is_indented_unless_it_is_not_wanted_so(connection):
    def lines(query):
        connection.request("GET", f"{KEY}/versions/1:access?{query}")
        return connection.getresponse().read().count(b"\n")

    assert lines("") > 1
    assert lines("prettyPrint=false") == lines("$prettyPrint=0") == 1


# -- bodies ----------------------------------------------------------------------------------


def test_a_payload_goes_in_and_out_as_base64(call, manager):
    data = b"\xff\x00canary"
    body = {"payload": {"data": base64.b64encode(data).decode()}}
    assert call("POST", f"{KEY}:addVersion", body)[1]["name"].endswith("/versions/2")
    code, answer = call("GET", f"{KEY}/versions/latest:access")
    assert code == 200
    assert base64.b64decode(answer["payload"]["data"]) == data
    assert answer["payload"]["dataCrc32c"].isdecimal()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "no JSON object"),
        (b"[]", "no JSON object"),
        (b'"canary"', "no JSON object"),
        (b"\xff\xff", "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
        (b'{"payload": ' * 200 + b"1" + b"}" * 200, "unknown name 'payload'"),
        (b'{"payolad": {}}', "unknown name 'payolad'"),
        (b'{"payload": {"value": "canary"}}', "unknown name 'value'"),
        (b'{"payload": "canary"}', "a value does not fit"),
        (b'{"payload": {"data": 7}}', "a value does not fit"),
        (b'{"payload": {"data": "canar"}}', "a value does not fit"),
        (b'{"payload": {"data": "!!canary!!"}}', "no base64"),
        (b'{"payload": {"dataCrc32c": "canary"}}', "a value does not fit"),
    ],
)
def test_a_body_that_does_not_fit_is_invalid_and_not_shown(call, manager, body, says):
    answer = call("POST", f"{KEY}:addVersion", body)
    assert refused(answer, 400, "INVALID_ARGUMENT", says)
    assert "canary" not in str(answer)
    assert call("GET", f"{KEY}/versions/latest")[1]["name"].endswith("/versions/1")


def test_a_number_that_no_enum_can_be_is_invalid(call):
    body = b'{"rotation": {"managedRotationStatus": {"state": 1e400}}}'
    answer = call("POST", "/v1/projects/local/secrets?secretId=NEW", body)
    assert refused(answer, 400, "INVALID_ARGUMENT")


def test_a_body_may_be_left_out(call):
    assert call("POST", f"{KEY}/versions/1:disable")[1]["state"] == "DISABLED"
    assert call("DELETE", KEY) == (200, {})


def test_a_body_has_a_limit_and_says_its_length(call, manager, monkeypatch, said):
    monkeypatch.setattr(side, "MOST_BYTES", 40)
    assert call("POST", f"{KEY}/versions/1:enable", b"{" + b" " * 38 + b"}")[0] == 200
    head = f"POST {KEY}:addVersion HTTP/1.1\r\nHost: x\r\n".encode()
    for header in ("Content-Length: 41", "Content-Length: -1", "Transfer-Encoding: chunked"):
        answer = said(head + header.encode() + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close" in answer
        assert b'"status": "INVALID_ARGUMENT"' in answer


def test_a_caller_may_wait_for_leave_to_send_its_body(said):
    body = b'{"etag": ""}'
    head = f"POST {KEY}/versions/1:enable HTTP/1.1\r\nContent-Length: {len(body)}\r\n".encode()
    expecting = b"Connection: close\r\nExpect: 100-continue\r\n\r\n"
    answer = said(head + expecting + body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


# -- connections -----------------------------------------------------------------------------


def test_a_connection_outlives_an_error(call, connection):
    call("GET", KEY)
    first = connection.sock
    assert call("GET", "/nowhere")[0] == 404
    assert call("POST", f"{KEY}:addVersion", b"{")[0] == 400
    assert call("GET", KEY)[0] == 200
    assert connection.sock is first


@pytest.mark.parametrize(
    ("request_line", "code", "status"),
    [
        (b"GET", b"", b"INVALID_ARGUMENT"),
        (b"GET /x HTTP/x", b"", b"INVALID_ARGUMENT"),
        (b"TRACE /x HTTP/1.1", b"HTTP/1.1 501 ", b"UNIMPLEMENTED"),
        (b"GET /" + b"x" * 65536 + b" HTTP/1.1", b"", b"INVALID_ARGUMENT"),
        (b"GET /x HTTP/1.1\r\nX: " + b"x" * 65536, b"HTTP/1.1 431 ", b"INVALID_ARGUMENT"),
    ],
)
def test_what_is_no_request_is_told_so(said, request_line, code, status, capfd):
    answer = said(request_line + b"\r\n\r\n")
    assert answer.startswith(code)
    assert status in answer
    assert capfd.readouterr().err == ""


def test_an_answer_to_head_has_no_body(said):
    answer = said(b"HEAD /x HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert answer.endswith(b"\r\n\r\n")


def test_the_calls_of_both_sides_are_in_one_log(manager, call):
    call("GET", f"{KEY}/versions/latest:access", headers={"User-Agent": "curl/8"})
    source = GoogleSecretManager("local", endpoint=manager.endpoint)
    source.fetch("KEY")
    source.close()
    over_rest, over_grpc = manager.calls.log()
    assert (over_rest.method, over_rest.secret, over_rest.code) == (
        "AccessSecretVersion",
        "KEY",
        "OK",
    )
    assert over_rest.caller == "curl/8"
    assert "grpc" in over_grpc.caller


@pytest.mark.parametrize("code", transcoding.HTTP_CODES)
def test_every_code_of_grpc_has_one_of_http(manager, call, code):
    manager.inject(code)
    assert refused(call("GET", KEY), transcoding.HTTP_CODES[code], code, "that the test asked for")


def test_a_stop_ends_idle_connections_and_their_threads(manager, call, connection):
    call("GET", KEY)
    server = manager._servers[1]
    assert [thread.is_alive() for thread in server._serving] == [True]
    manager.stop()
    assert connection.sock.recv(1) == b""
    assert not any(thread.is_alive() for thread in [*server._serving, server._accepting])


def test_a_connection_that_ended_is_not_kept_in_mind(manager):
    server = manager._servers[1]
    for _ in range(3):
        connection = http.client.HTTPConnection(manager.rest_endpoint, timeout=30)
        connection.request("GET", KEY, headers={"Connection": "close"})
        connection.getresponse().read()
        connection.close()
        server._serving[-1].join(30)
    assert len(server._serving) == 1
    assert server._open == set()


def test_a_caller_who_goes_away_is_no_fault(manager, connection, capfd):
    hold = manager.hold("KEY")
    connection.request("GET", KEY)
    assert hold.entered.wait(30)
    reset_at_close = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)
    connection.close()
    hold.release()
    manager._servers[1]._serving[0].join(30)
    assert capfd.readouterr().err == ""


def test_a_bug_is_shown_and_ends_the_connection(manager, connection, monkeypatch, capfd):
    monkeypatch.setattr(manager._methods, "call", lambda *_: {}["bug"])
    connection.request("GET", KEY)
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    manager.stop()
    assert "KeyError" in capfd.readouterr().err


def test_it_listens_on_the_other_loopback_too():
    try:
        emulator = SecretManagerEmulator(host="::1")
        emulator.start()
    except Exception as fault:  # noqa: BLE001  whatever a machine without IPv6 raises
        pytest.skip(f"no IPv6 here: {type(fault).__name__}")
    with emulator:
        emulator.add("KEY", "canary")
        source = GoogleSecretManager("local", endpoint=emulator.endpoint)
        assert source.fetch("KEY").data == b"canary"
        source.close()
        connection = http.client.HTTPConnection(emulator.rest_endpoint, timeout=30)
        connection.request("GET", KEY)
        assert connection.getresponse().status == 200
        connection.close()
