"""The local Secret Manager, as Google's own clients see it, over gRPC and over REST."""

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

import google_crc32c
import grpc
import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import resourcemanager_v3, secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcAsyncIOTransport,
    SecretManagerServiceGrpcTransport,
    SecretManagerServiceRestTransport,
)

from pgp_config import DeclarationError
from pgp_config.emulator import Call, Calls, SecretManagerEmulator, StatusError

PROJECT = "projects/local"
AUTOMATIC = {"automatic": {}}

#: What a call that a stop ends raises, over either transport.
UNANSWERED = (exceptions.GoogleAPICallError, requests.ConnectionError)


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def manager(clock):
    with SecretManagerEmulator(clock=clock) as emulator:
        yield emulator


@pytest.fixture(params=["grpc", "rest"])
def transport(request):
    return request.param


@pytest.fixture
def connect(transport):
    """Clients of Google's on a local Secret Manager, closed after the test."""
    with contextlib.ExitStack() as opened:
        yield lambda manager: opened.enter_context(client_of(manager, transport))


@contextlib.contextmanager
def client_of(manager, transport):
    if transport == "grpc":
        made = SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(manager.endpoint))
    else:
        made = SecretManagerServiceRestTransport(
            host=manager.rest_endpoint, url_scheme="http", credentials=AnonymousCredentials()
        )
    yield secretmanager.SecretManagerServiceClient(transport=made)
    made.close()


@pytest.fixture
def client(manager, connect):
    return connect(manager)


@pytest.fixture
def refuses(transport):
    """Like `pytest.raises`, for an exception that Google's client raises over gRPC.

    Over REST it raises that one's parent, and leaves the status in the answer; a name that fits no path it
    refuses itself.
    """

    @contextlib.contextmanager
    def refused(kind, match=None):
        if transport == "grpc":
            with pytest.raises(kind, match=match):
                yield
            return
        with pytest.raises((kind.__mro__[1], ValueError), match=match) as caught:
            yield
        if isinstance(caught.value, exceptions.GoogleAPICallError):
            error = caught.value.response.json()["error"]
            assert error["status"] == kind.grpc_status_code.name
            assert error["code"] == caught.value.response.status_code == kind.code
        else:
            assert "Invalid request" in str(caught.value)

    return refused


@pytest.fixture
def secret(client):
    return client.create_secret(
        parent=PROJECT,
        secret_id="KEY",
        secret={"replication": AUTOMATIC, "labels": {"env": "prod"}},
    )


def add(client, secret, data, **payload):
    return client.add_secret_version(parent=secret.name, payload={"data": data, **payload})


def access(client, secret, version="latest"):
    return client.access_secret_version(name=f"{secret.name}/versions/{version}", retry=None)


# -- secrets ---------------------------------------------------------------------------------


def test_a_secret_is_created_read_listed_and_deleted(client, secret, refuses):
    assert secret.name == f"{PROJECT}/secrets/KEY"
    assert client.get_secret(name=secret.name) == secret
    assert [s.name for s in client.list_secrets(parent=PROJECT)] == [secret.name]
    client.delete_secret(name=secret.name)
    with refuses(exceptions.NotFound):
        client.get_secret(name=secret.name)


@pytest.mark.parametrize(
    ("parent", "secret_id", "given", "error"),
    [
        (PROJECT, "KEY", {"replication": AUTOMATIC}, exceptions.AlreadyExists),
        (PROJECT, "a b", {"replication": AUTOMATIC}, exceptions.InvalidArgument),
        (PROJECT, "x" * 256, {"replication": AUTOMATIC}, exceptions.InvalidArgument),
        (PROJECT, "", {"replication": AUTOMATIC}, exceptions.InvalidArgument),
        ("folders/1", "OTHER", {"replication": AUTOMATIC}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {}, exceptions.InvalidArgument),
        (f"{PROJECT}/locations/europe-west1", "OTHER", {"replication": AUTOMATIC}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {"replication": AUTOMATIC, "labels": {"Upper": "x"}}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {"replication": AUTOMATIC, "labels": {"x": "Upper"}}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {"replication": AUTOMATIC, "labels": {f"l{n}": "" for n in range(65)}}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {"replication": AUTOMATIC, "annotations": {"-": ""}}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {"replication": AUTOMATIC, "annotations": {"a": "x" * 16384}}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {"replication": AUTOMATIC, "topics": [{"name": f"projects/p/topics/t{n}"} for n in range(11)]}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {"replication": AUTOMATIC, "rotation": {"rotation_period": {"seconds": 7200}}}, exceptions.InvalidArgument),
        (PROJECT, "OTHER", {"replication": AUTOMATIC, "version_aliases": {"prod": 1}}, exceptions.FailedPrecondition),
    ],
)  # fmt: skip
def test_what_cannot_be_created(client, secret, parent, secret_id, given, error, refuses):
    with refuses(error):
        client.create_secret(parent=parent, secret_id=secret_id, secret=given)


def test_lists_come_in_pages_newest_first_and_filtered(client, secret, refuses):
    for number in range(5):
        labels = {"env": "prod" if number % 2 else "test", "team": "pay"}
        client.create_secret(
            parent=PROJECT,
            secret_id=f"S{number}",
            secret={"replication": AUTOMATIC, "labels": labels},
        )
    pages = list(client.list_secrets(request={"parent": PROJECT, "page_size": 4}).pages)
    assert [len(page.secrets) for page in pages] == [4, 2]
    assert pages[0].total_size == 6
    names = [s.name.rpartition("/")[2] for page in pages for s in page.secrets]
    assert names == ["S4", "S3", "S2", "S1", "S0", "KEY"]

    def found(expression):
        pager = client.list_secrets(request={"parent": PROJECT, "filter": expression})
        return [s.name.rpartition("/")[2] for s in pager]

    assert found("labels.env=prod") == ["S3", "S1", "KEY"]
    assert found("labels.team:*") == ["S4", "S3", "S2", "S1", "S0"]
    assert found("labels.env=test AND name:s4") == ["S4"]
    assert found("labels.none:*") == []
    for wrong in ("labels.env>prod", "state=ENABLED", "OR"):
        with refuses(exceptions.InvalidArgument):
            found(wrong)


def test_page_sizes_and_tokens_that_are_none(client, refuses):
    for wrong in ({"page_size": -1}, {"page_token": "!"}, {"page_token": "eHl6"}):
        with refuses(exceptions.InvalidArgument):
            client.list_secrets(request={"parent": PROJECT, **wrong})


def test_an_update_changes_what_the_mask_names_and_checks_the_etag(client, secret, refuses):
    changed = client.update_secret(
        secret={"name": secret.name, "labels": {"env": "test"}, "annotations": {"note": "x"}},
        update_mask={"paths": ["labels"]},
    )
    assert dict(changed.labels) == {"env": "test"}
    assert dict(changed.annotations) == {}
    with refuses(exceptions.FailedPrecondition):
        client.update_secret(
            secret={"name": secret.name, "etag": secret.etag}, update_mask={"paths": ["labels"]}
        )
    cleared = client.update_secret(
        secret={"name": secret.name, "etag": changed.etag}, update_mask={"paths": ["labels"]}
    )
    assert dict(cleared.labels) == {}
    for paths in ([], ["name"], ["replication", "labels"]):
        with refuses(exceptions.InvalidArgument):
            client.update_secret(secret={"name": secret.name}, update_mask={"paths": paths})
    with refuses(exceptions.FailedPrecondition):
        client.delete_secret(request={"name": secret.name, "etag": secret.etag})


def test_aliases_name_versions_that_exist(client, secret, refuses):
    add(client, secret, b"one")
    add(client, secret, b"two")

    def alias(**aliases):
        return client.update_secret(
            secret={"name": secret.name, "version_aliases": aliases},
            update_mask={"paths": ["version_aliases"]},
        )

    alias(prod=1, next=2)
    assert access(client, secret, "prod").payload.data == b"one"
    assert client.get_secret_version(name=f"{secret.name}/versions/next").name.endswith("/2")
    with refuses(exceptions.FailedPrecondition):
        alias(prod=3)
    for wrong in ({"latest": 1}, {"NEW": 1}, {"1a": 1}, {f"a{n}": 1 for n in range(51)}):
        with refuses(exceptions.InvalidArgument):
            alias(**wrong)
    with refuses(exceptions.NotFound):
        access(client, secret, "unknown")
    with refuses(exceptions.InvalidArgument):
        client.disable_secret_version(name=f"{secret.name}/versions/prod")


def test_a_secret_with_a_ttl_expires(client, clock, refuses):
    made = client.create_secret(
        parent=PROJECT,
        secret_id="SHORT",
        secret={"replication": AUTOMATIC, "ttl": {"seconds": 60}},
    )
    assert made.expire_time.timestamp() == clock.now + 60
    clock.now += 59
    client.update_secret(
        secret={"name": made.name, "ttl": {"seconds": 60}}, update_mask={"paths": ["ttl"]}
    )
    clock.now += 59
    client.get_secret(name=made.name)
    clock.now += 1
    with refuses(exceptions.NotFound):
        client.get_secret(name=made.name)
    assert list(client.list_secrets(parent=PROJECT)) == []


def test_regional_secrets_live_apart_from_global_ones(client, secret):
    parent = f"{PROJECT}/locations/europe-west1"
    regional = client.create_secret(parent=parent, secret_id="KEY", secret={})
    add(client, regional, b"regional")
    add(client, secret, b"global")
    assert access(client, regional).payload.data == b"regional"
    assert access(client, secret).payload.data == b"global"
    assert [s.name for s in client.list_secrets(parent=parent)] == [regional.name]


# -- versions --------------------------------------------------------------------------------


def test_versions_are_numbered_and_accessed_by_number_and_latest(client, secret):
    first = add(client, secret, b"one")
    second = add(client, secret, b"two", data_crc32c=google_crc32c.value(b"two"))
    assert (first.name, second.name) == (
        f"{secret.name}/versions/1",
        f"{secret.name}/versions/2",
    )
    assert not first.client_specified_payload_checksum
    assert second.client_specified_payload_checksum
    answer = access(client, secret)
    assert (answer.name, answer.payload.data) == (second.name, b"two")
    assert answer.payload.data_crc32c == google_crc32c.value(b"two")
    assert access(client, secret, 1).payload.data == b"one"
    listed = client.list_secret_versions(parent=secret.name)
    assert [v.name.rpartition("/")[2] for v in listed] == ["2", "1"]


def test_payloads_that_are_refused(client, secret, refuses):
    with refuses(exceptions.InvalidArgument, match="crc32c"):
        add(client, secret, b"one", data_crc32c=1)
    with refuses(exceptions.InvalidArgument, match="65536"):
        add(client, secret, b"x" * 65537)
    add(client, secret, b"x" * 65536)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (f"{PROJECT}/secrets/NONE/versions/latest", exceptions.NotFound),
        (f"{PROJECT}/secrets/KEY/versions/latest", exceptions.NotFound),
        (f"{PROJECT}/secrets/KEY/versions/7", exceptions.NotFound),
        (f"{PROJECT}/secrets/KEY/versions/", exceptions.InvalidArgument),
        (f"{PROJECT}/secrets/KEY/versions/-1", exceptions.InvalidArgument),
        (f"{PROJECT}/secrets/a b/versions/1", exceptions.InvalidArgument),
        ("projects/UPPER!/secrets/KEY/versions/1", exceptions.InvalidArgument),
        ("nonsense", exceptions.InvalidArgument),
    ],
)
def test_names_of_versions_that_are_not_there(client, secret, name, error, refuses):
    with refuses(error):
        client.access_secret_version(name=name, retry=None)


def test_disabled_enabled_and_destroyed_versions(client, secret, refuses):
    add(client, secret, b"one")
    newest = add(client, secret, b"two")
    off = client.disable_secret_version(name=newest.name)
    assert off.state.name == "DISABLED"
    # `latest` is the newest version in any state.
    for version in ("latest", 2):
        with refuses(exceptions.FailedPrecondition, match="DISABLED"):
            access(client, secret, version)
    assert access(client, secret, 1).payload.data == b"one"
    client.enable_secret_version(name=newest.name)
    assert access(client, secret).payload.data == b"two"
    gone = client.destroy_secret_version(name=newest.name)
    assert gone.state.name == "DESTROYED"
    assert gone.destroy_time is not None
    with refuses(exceptions.FailedPrecondition, match="DESTROYED"):
        access(client, secret)
    for change in (client.enable_secret_version, client.disable_secret_version):
        with refuses(exceptions.FailedPrecondition):
            change(name=newest.name)

    def states(expression):
        request = {"parent": secret.name, "filter": expression}
        return [v.name.rpartition("/")[2] for v in client.list_secret_versions(request=request)]

    assert states("state=ENABLED") == ["1"]
    assert states("state:DESTROYED") == ["2"]


def test_changes_of_a_version_check_its_etag(client, secret, refuses):
    version = add(client, secret, b"one")
    client.disable_secret_version(request={"name": version.name, "etag": version.etag})
    for change in (
        client.enable_secret_version,
        client.disable_secret_version,
        client.destroy_secret_version,
    ):
        with refuses(exceptions.FailedPrecondition, match="etag"):
            change(request={"name": version.name, "etag": version.etag})


def test_destruction_can_be_delayed_and_called_off(client, clock, refuses):
    made = client.create_secret(
        parent=PROJECT,
        secret_id="LATER",
        secret={"replication": AUTOMATIC, "version_destroy_ttl": {"seconds": 86400}},
    )
    version = add(client, made, b"one")
    scheduled = client.destroy_secret_version(name=version.name)
    assert scheduled.state.name == "DISABLED"
    assert scheduled.scheduled_destroy_time.timestamp() == clock.now + 86400
    with refuses(exceptions.FailedPrecondition):
        access(client, made)
    client.enable_secret_version(name=version.name)
    clock.now += 90_000
    assert access(client, made).payload.data == b"one"
    client.destroy_secret_version(name=version.name)
    clock.now += 86400
    assert client.get_secret_version(name=version.name).state.name == "DESTROYED"


# -- policies --------------------------------------------------------------------------------


def test_policies_are_kept_and_checked_by_etag(client, secret, refuses):
    binding = {"role": "roles/secretmanager.secretAccessor", "members": ["user:a@example.com"]}
    request = {"resource": secret.name, "policy": {"bindings": [binding]}}
    stored = client.set_iam_policy(request=request)
    assert client.get_iam_policy(request={"resource": secret.name}) == stored
    client.set_iam_policy(request={"resource": secret.name, "policy": {"etag": stored.etag}})
    with refuses(exceptions.Aborted):
        client.set_iam_policy(request={"resource": secret.name, "policy": {"etag": stored.etag}})
    wanted = ["secretmanager.versions.access"]
    answer = client.test_iam_permissions(request={"resource": secret.name, "permissions": wanted})
    assert list(answer.permissions) == wanted
    with refuses(exceptions.NotFound):
        client.get_iam_policy(request={"resource": f"{PROJECT}/secrets/NONE"})


# -- controls --------------------------------------------------------------------------------


async def test_googles_asynchronous_client_works_too(manager):
    manager.add("KEY", "one")
    channel = grpc.aio.insecure_channel(manager.endpoint)
    client = secretmanager.SecretManagerServiceAsyncClient(
        transport=SecretManagerServiceGrpcAsyncIOTransport(channel=channel)
    )
    answer = await client.access_secret_version(name=f"{PROJECT}/secrets/KEY/versions/1")
    assert answer.payload.data == b"one"
    await channel.close()


def test_calls_are_counted_by_method_and_secret(manager, client, secret, transport, refuses):
    add(client, secret, b"one")
    access(client, secret)
    access(client, secret)
    with refuses(exceptions.NotFound):
        access(client, secret, 9)
    calls = manager.calls
    assert calls.count("AccessSecretVersion", "KEY") == 3
    assert calls.by_secret("AccessSecretVersion") == {"KEY": 3}
    assert calls.count() == 5
    last = calls.log()[-1]
    assert (last.method, last.secret, last.code) == ("AccessSecretVersion", "KEY", "NOT_FOUND")
    assert ("grpc" in last.caller) == (transport == "grpc")
    assert last.caller
    assert calls.count("AccessSecretVersion", caller=last.caller) == 3
    assert calls.count(caller="somebody else") == 0
    calls.reset()
    assert calls.count() == 0


def test_a_port_is_kept_while_it_is_stopped(manager):
    manager.stop()
    host, _, port = manager.endpoint.rpartition(":")
    with socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind((host, int(port)))
        with pytest.raises(ConnectionRefusedError):
            other.connect((host, int(port)))
    manager.start()
    manager.start()


def test_the_log_of_calls_has_an_end_and_the_count_has_none(monkeypatch):
    monkeypatch.setattr("pgp_config.emulator.controls.REMEMBERED", 3)
    calls = Calls()
    for number in range(5):
        calls.add(Call("AccessSecretVersion", "KEY", float(number), "test", "OK"))
    assert [call.at for call in calls.log()] == [2.0, 3.0, 4.0]
    assert calls.count() == 5


def test_faults_once_by_chance_and_until_cleared(manager, client, secret, refuses):
    add(client, secret, b"one")
    manager.inject("UNAVAILABLE", method="AccessSecretVersion", secret="KEY", times=1)
    with refuses(exceptions.ServiceUnavailable):
        access(client, secret)
    access(client, secret)
    manager.inject("RESOURCE_EXHAUSTED", secret="OTHER")
    manager.inject("INTERNAL", method="GetSecret", chance=0.5)
    access(client, secret)
    outcomes = set()
    for _ in range(50):
        try:
            client.get_secret(name=secret.name, retry=None)
            outcomes.add("OK")
        except exceptions.InternalServerError:
            outcomes.add("INTERNAL")
    assert outcomes == {"OK", "INTERNAL"}
    manager.clear_faults()
    client.get_secret(name=secret.name)
    with pytest.raises(ValueError, match="is no gRPC code"):
        manager.inject("BROKEN")


def test_access_can_be_denied(manager, client, secret, refuses):
    add(client, secret, b"one")
    manager.deny("KEY")
    with refuses(exceptions.PermissionDenied, match="or it may not exist"):
        access(client, secret)
    manager.allow("KEY")
    access(client, secret)


def test_a_checksum_can_be_damaged(manager, client, secret):
    add(client, secret, b"one")
    manager.corrupt("KEY")
    assert access(client, secret).payload.data_crc32c != google_crc32c.value(b"one")
    manager.clear_faults()
    assert access(client, secret).payload.data_crc32c == google_crc32c.value(b"one")


def test_latest_can_lag_and_access_by_number_does_not(manager, client, secret):
    add(client, secret, b"one")
    manager.lag("KEY", 1)
    add(client, secret, b"two")
    assert access(client, secret).payload.data == b"one"
    assert access(client, secret, 2).payload.data == b"two"
    manager.lag("KEY", None)
    assert access(client, secret).payload.data == b"two"


def test_calls_can_be_held_and_are_let_go_by_a_stop(manager, client, secret):
    add(client, secret, b"one")
    hold = manager.hold("KEY")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(access, client, secret)
        assert hold.entered.wait(10)
        hold.release()
        assert read.result(10).payload.data == b"one"
        manager.clear_faults()
        manager.delay(3600, "KEY")
        late = pool.submit(access, client, secret)
        assert manager._stopping.entered.wait(10)
        manager.stop()
        with pytest.raises(UNANSWERED):
            late.result(10)


def test_clearing_lets_held_calls_go(manager, client, secret):
    add(client, secret, b"one")
    hold = manager.hold()
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(access, client, secret)
        assert hold.entered.wait(10)
        manager.clear_faults()
        assert read.result(10).payload.data == b"one"


def test_a_stop_lets_held_calls_go(manager, client, secret):
    hold = manager.hold()
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(access, client, secret)
        assert hold.entered.wait(10)
        manager.stop()
        with pytest.raises(UNANSWERED):
            read.result(10)


def test_it_stops_and_starts_on_its_ports_with_its_state(manager, connect):
    manager.add("KEY", "one")
    endpoints = manager.endpoint, manager.rest_endpoint
    manager.stop()
    manager.stop()
    manager.wait()
    manager.start()
    manager.start()
    assert (manager.endpoint, manager.rest_endpoint) == endpoints
    answer = connect(manager).access_secret_version(name=f"{PROJECT}/secrets/KEY/versions/1")
    assert answer.payload.data == b"one"


def test_waiting_ends_with_the_server(manager):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(manager.wait)
        manager.stop()
        waiting.result(10)


def test_shortcuts_add_disable_enable_and_destroy(manager):
    assert [manager.add("KEY", "one"), manager.add("KEY", b"two")] == [1, 2]
    path = f"{PROJECT}/secrets/KEY/versions/latest"
    manager.disable("KEY", 2)
    with pytest.raises(StatusError, match="FAILED_PRECONDITION"):
        manager.store.access_version(path)
    manager.enable("KEY", 2)
    assert manager.store.access_version(path).payload.data == b"two"
    manager.destroy("KEY", 2)
    with pytest.raises(StatusError, match="DESTROYED"):
        manager.store.access_version(path)
    with pytest.raises(StatusError, match="INVALID_ARGUMENT"):
        manager.add("a b", "x")


def test_it_binds_to_the_loopback_only():
    with pytest.raises(DeclarationError, match=r"Use 127\.0\.0\.1"):
        SecretManagerEmulator(host="0.0.0.0")  # noqa: S104  refused


@pytest.mark.parametrize("option", ["port", "rest_port"])
def test_a_port_that_is_taken_is_a_clear_error(manager, option):
    endpoint = manager.endpoint if option == "port" else manager.rest_endpoint
    other = SecretManagerEmulator(**{option: int(endpoint.rpartition(":")[2])})
    with pytest.raises(DeclarationError, match=f"on {endpoint}.* Another program has the port"):
        other.start()
    other.stop()


def test_no_value_in_its_texts(manager):
    manager.add("KEY", "canary-7f3a")
    stored = next(iter(manager.store._secrets.values()))
    texts = [repr(x) for x in (manager, manager.store, stored, stored.versions[0])]
    assert "canary" not in "".join(texts)
    assert "canary" not in repr(manager.calls.log())


def test_the_fixture_is_a_started_one(secret_manager):
    assert secret_manager.add("KEY", "one") == 1


# -- who may do what -----------------------------------------------------------------------------


@pytest.fixture
def projects(manager, transport):
    """Google's own client of Resource Manager."""
    kinds = resourcemanager_v3.services.projects.transports
    if transport == "grpc":
        made = kinds.ProjectsGrpcTransport(channel=grpc.insecure_channel(manager.endpoint))
    else:
        made = kinds.ProjectsRestTransport(
            host=manager.rest_endpoint, url_scheme="http", credentials=AnonymousCredentials()
        )
    yield resourcemanager_v3.ProjectsClient(transport=made)
    made.close()


def test_a_projects_policy_is_kept_and_told(projects, manager, refuses):
    assert list(projects.get_iam_policy(resource=PROJECT).bindings) == []
    manager.grant("roles/owner", "user:a@example.com")
    policy = projects.get_iam_policy(resource=PROJECT)
    assert [(b.role, list(b.members)) for b in policy.bindings] == [
        ("roles/owner", ["user:a@example.com"])
    ]
    policy.bindings[0].members.append("user:b@example.com")
    told = projects.set_iam_policy(request={"resource": PROJECT, "policy": policy})
    assert list(told.bindings[0].members) == ["user:a@example.com", "user:b@example.com"]
    with refuses(exceptions.Aborted):  # its etag is an old one now
        projects.set_iam_policy(request={"resource": PROJECT, "policy": policy})
    assert list(projects.get_iam_policy(resource="projects/other").bindings) == []


def test_a_secrets_policy_has_what_was_granted(client, manager):
    manager.add("KEY", "v")
    manager.grant("roles/secretmanager.secretAccessor", "user:a@example.com", "KEY")
    (binding,) = client.get_iam_policy(request={"resource": f"{PROJECT}/secrets/KEY"}).bindings
    assert (binding.role, list(binding.members)) == (
        "roles/secretmanager.secretAccessor",
        ["user:a@example.com"],
    )


def test_a_location_is_no_project(manager):
    with pytest.raises(StatusError, match="is not a project's"):
        manager.store.get_project_policy("projects/local/locations/europe-west1")


def test_a_permission_that_nobody_has_is_missing_and_its_calls_are_refused(
    client, manager, refuses
):
    for name in ("KEY", "OTHER"):
        manager.add(name, "v")
    path, access = f"{PROJECT}/secrets/KEY", "secretmanager.versions.access"
    manager.forbid(access, "KEY")
    manager.forbid("secretmanager.versions.list")
    asked = {"resource": path, "permissions": [access, "secretmanager.secrets.get"]}
    assert list(client.test_iam_permissions(request=asked).permissions) == [
        "secretmanager.secrets.get"
    ]
    with refuses(exceptions.PermissionDenied):
        client.access_secret_version(name=f"{path}/versions/latest")
    client.access_secret_version(name=f"{PROJECT}/secrets/OTHER/versions/latest")
    client.get_secret(name=path)
    manager.clear_faults()
    client.access_secret_version(name=f"{path}/versions/latest")


def test_a_permission_that_no_call_needs_is_a_mistake(manager):
    with pytest.raises(ValueError, match="is no permission of these calls"):
        manager.forbid("secretmanager.versions.acess")
