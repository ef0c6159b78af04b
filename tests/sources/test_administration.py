"""One contract over all that change secrets: in memory, and Secret Manager over both transports."""

import random
import time

import pytest

from pgp_config import (
    ChangedMeanwhile,
    DeclarationError,
    Directory,
    Memory,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)
from pgp_config.sources import GoogleSecretManager
from pgp_config.sources.administration import (
    Administration,
    Grant,
    Rights,
    VersionFacts,
    administration_of,
)
from pgp_config.sources.google import administration as google
from pgp_config.sources.google import roles
from pgp_config.sources.google.faults import StatusFault

CANARY = "canary-7f3a"


@pytest.fixture
def connect(secret_manager, monkeypatch):
    """Sources on the local Secret Manager; their pauses before a retry last 0 s."""
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)
    endpoints = {"grpc": secret_manager.endpoint, "rest": secret_manager.rest_endpoint}
    made = []

    def make(transport):
        made.append(
            GoogleSecretManager("local", endpoint=endpoints[transport], transport=transport)
        )
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.fixture(params=["grpc", "rest"])
def manager(request, connect):
    return connect(request.param)


@pytest.fixture(params=["memory", "grpc", "rest"])
def administration(request, connect, secret_manager):
    if request.param == "memory":
        return administration_of(Memory({"KEY": f"{CANARY}-1"}))
    secret_manager.add("KEY", f"{CANARY}-1")
    return administration_of(connect(request.param))


@pytest.fixture
def on_google(manager, secret_manager):
    secret_manager.add("KEY", f"{CANARY}-1")
    return administration_of(manager)


def test_it_is_one(administration):
    assert isinstance(administration, Administration)
    assert administration.lacking("KEY") == []


def test_a_version_is_added_and_listed_the_newest_first(administration):
    assert administration.add("KEY", b"k-2") == 2
    assert administration.fetch("KEY").data == b"k-2"
    assert administration.fetch("KEY", 1).data == f"{CANARY}-1".encode()
    facts = administration.versions("KEY")
    assert [(each.number, each.state) for each in facts] == [(2, "enabled"), (1, "enabled")]
    assert all(each.etag for each in facts)
    assert CANARY not in repr(facts)


def test_a_version_is_disabled_and_enabled_under_its_etag(administration):
    (before,) = administration.versions("KEY")
    administration.disable("KEY", before)
    (after,) = administration.versions("KEY")
    assert (after.state, after.etag != before.etag) == ("disabled", True)
    with pytest.raises(SecretDisabled):
        administration.fetch("KEY", 1)
    for change in (administration.disable, administration.enable):
        with pytest.raises(ChangedMeanwhile) as caught:
            change("KEY", before)
        assert caught.value.secret == "KEY"
    administration.enable("KEY", after)
    assert administration.fetch("KEY", 1).version == 1


def test_annotations_are_replaced_under_the_secrets_etag(administration):
    before = administration.describe("KEY")
    assert before.annotations == {}
    administration.annotate("KEY", before, {"one": "1", "two": '{"a": 2}'})
    after = administration.describe("KEY")
    assert after.annotations == {"one": "1", "two": '{"a": 2}'}
    with pytest.raises(ChangedMeanwhile):
        administration.annotate("KEY", before, {})
    administration.annotate("KEY", after, {})
    assert administration.describe("KEY").annotations == {}


def test_a_secret_that_is_not_there_is_not_found(administration):
    for call in (administration.describe, administration.versions):
        with pytest.raises(SecretNotFound):
            call("MISSING")


def test_a_destroyed_version_is_listed_as_that():
    memory = Memory({"KEY": "k"})
    memory.destroy("KEY")
    assert [each.state for each in memory.versions("KEY")] == ["destroyed"]


def test_a_source_that_can_only_be_read_is_refused(tmp_path):
    with pytest.raises(DeclarationError, match="a Directory can be read, and not be changed"):
        administration_of(Directory(tmp_path))


def test_an_empty_secret_has_no_versions(manager, secret_manager):
    secret_manager.create("EMPTY")
    assert administration_of(manager).versions("EMPTY") == []


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("NOT_FOUND", SecretNotFound, "does not exist in project local"),
        ("PERMISSION_DENIED", SecretForbidden, "may not add a version to it in project local"),
        ("UNAUTHENTICATED", SecretForbidden, "credentials"),
        ("FAILED_PRECONDITION", ChangedMeanwhile, "could not add a version to it"),
        ("ABORTED", ChangedMeanwhile, "Somebody else changed it"),
        ("INVALID_ARGUMENT", SecretUnavailable, "the request to add a version to it invalid"),
        ("DEADLINE_EXCEEDED", SourceTimeout, "may have been done all the same"),
        ("RESOURCE_EXHAUSTED", SecretUnavailable, "600 look-ups"),
        ("DATA_LOSS", SecretUnavailable, "DATA_LOSS"),
    ],
)
def test_each_refusal_says_what_was_to_be_done_and_no_value(
    on_google, secret_manager, code, kind, said
):
    secret_manager.inject(code, method="AddSecretVersion")
    with pytest.raises(kind) as caught:
        on_google.add("KEY", f"{CANARY}-2".encode())
    assert said in str(caught.value)
    assert caught.value.secret == "KEY"
    assert CANARY not in f"{caught.value} {caught.value.__cause__!r}"


def test_a_change_is_made_once_and_a_look_is_repeated(on_google, secret_manager):
    secret_manager.inject("UNAVAILABLE", times=1)
    assert len(on_google.versions("KEY")) == 1
    assert secret_manager.calls.count("ListSecretVersions") == 2
    secret_manager.inject("UNAVAILABLE", times=1)
    with pytest.raises(SecretUnavailable):
        on_google.add("KEY", b"k-2")
    assert secret_manager.calls.count("AddSecretVersion") == 1


def test_what_an_identity_lacks_is_named_and_what_cannot_be_asked_is_not(
    on_google, secret_manager, monkeypatch
):
    allowed = [p for p in google.PERMISSIONS if not p.endswith("add")]
    monkeypatch.setattr(
        google, "PERMISSIONS", (*google.PERMISSIONS, "secretmanager.versions.destroy")
    )
    assert on_google.lacking("KEY") == []
    kind = type(on_google._manager._client().admin())
    monkeypatch.setattr(kind, "allowed", lambda *_: allowed)
    assert on_google.lacking("KEY") == [
        "secretmanager.versions.add",
        "secretmanager.versions.destroy",
    ]
    monkeypatch.undo()
    secret_manager.inject("PERMISSION_DENIED", method="TestIamPermissions")
    assert on_google.lacking("KEY") == []


def test_a_client_that_cannot_be_made_is_told_as_such(monkeypatch):
    manager = GoogleSecretManager("local", endpoint="127.0.0.1:1")
    monkeypatch.setattr(manager, "_client", lambda: SecretForbidden("no credentials"))
    with pytest.raises(SecretForbidden, match="KEY: no credentials"):
        administration_of(manager).describe("KEY")


def test_a_regional_secret_has_its_location_in_its_name():
    manager = GoogleSecretManager("local", location="europe-west1")
    assert manager.path_of("KEY") == "projects/local/locations/europe-west1/secrets/KEY"
    assert manager.where == "project local, location europe-west1"


@pytest.mark.parametrize("answer", [b"{", b"[]", b'{"name": 7}', b'{"name": "x"}'])
def test_an_answer_over_rest_that_is_none_of_secret_managers_is_an_error(answer):
    from pgp_config.sources.google.admin_over_rest import AdminOverRest

    class Rest:
        def request(self, verb, path, timeout, body, read, *, of_project):
            return read(answer)

    with pytest.raises(StatusFault, match="none of Secret Manager's"):
        AdminOverRest(Rest()).add("path", CANARY.encode(), 1, 1.0)


def test_the_facts_of_a_version_have_no_value():
    assert str(VersionFacts(1, "enabled", "e")) == (
        "VersionFacts(number=1, state='enabled', etag='e', created=None)"
    )


# -- for who looks after the store ---------------------------------------------------------------


def test_a_version_tells_when_it_was_added(administration):
    (first,) = administration.versions("KEY")
    assert abs(first.created - time.time()) < 3600


def test_the_secrets_are_listed_by_name(administration):
    administration.add("KEY", b"k-2")
    assert administration.names() == ["KEY"]


def test_a_long_list_is_read_page_by_page(on_google, secret_manager, monkeypatch):
    monkeypatch.setattr(google, "LIST_PAGE", 2)
    for name in ("A", "B", "C", "D"):
        secret_manager.create(name)
    assert on_google.names() == ["A", "B", "C", "D", "KEY"]


def test_the_policy_of_a_secret_and_of_the_project_is_told(on_google, secret_manager):
    assert (on_google.grants("KEY"), on_google.grants_above()) == ([], [])
    secret_manager.grant("roles/secretmanager.secretAccessor", "user:a@example.com", "KEY")
    secret_manager.grant("roles/owner", "allUsers")
    assert on_google.grants("KEY") == [
        Grant("roles/secretmanager.secretAccessor", "user:a@example.com", "reads")
    ]
    assert on_google.grants_above() == [Grant("roles/owner", "allUsers", "manages", "public")]


def test_a_condition_is_told(on_google, secret_manager):
    policy = secret_manager.store.get_policy("projects/local/secrets/KEY")
    policy.bindings.add(
        role="projects/p/roles/own", members=["domain:x.org"], condition={"expression": "true"}
    )
    secret_manager.store.set_policy("projects/local/secrets/KEY", policy)
    assert on_google.grants("KEY") == [
        Grant("projects/p/roles/own", "domain:x.org", "unknown", "many", conditional=True)
    ]


def test_what_this_identity_may_do_is_told(on_google, secret_manager):
    assert on_google.rights("KEY") == Rights(reads=True, wider=google.WIDER)
    for permission in google.WIDER:
        secret_manager.forbid(permission)
    secret_manager.forbid("secretmanager.versions.access", "KEY")
    assert on_google.rights("KEY") == Rights(reads=False)


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("ListSecrets", lambda a: a.names()),
        ("GetIamPolicy", lambda a: a.grants("KEY")),
        ("Projects.GetIamPolicy", lambda a: a.grants_above()),
        ("TestIamPermissions", lambda a: a.rights("KEY")),
    ],
)
def test_what_may_not_be_looked_at_is_told_as_such(on_google, secret_manager, method, call):
    secret_manager.inject("PERMISSION_DENIED", method=method)
    with pytest.raises(SecretForbidden):
        call(on_google)


@pytest.mark.parametrize(
    ("role", "width"),
    [
        ("roles/secretmanager.secretAccessor", "reads"),
        ("roles/secretmanager.admin", "manages"),
        ("roles/owner", "manages"),
        ("roles/editor", "changes"),
        ("roles/iam.securityAdmin", "changes"),
        ("roles/secretmanager.secretVersionAdder", "changes"),
        ("roles/secretmanager.viewer", "lists"),
        ("roles/viewer", "lists"),
        ("roles/run.admin", "none"),
        ("organizations/7/roles/mine", "unknown"),
    ],
)
def test_roles_differ_in_what_they_allow(role, width):
    assert roles.width_of(role) == width


@pytest.mark.parametrize(
    ("member", "reach"),
    [
        ("serviceAccount:x@p.iam.gserviceaccount.com", "one"),
        ("group:x@example.com", "one"),
        ("allAuthenticatedUsers", "public"),
        ("projectEditor:p", "many"),
        ("principalSet://iam.googleapis.com/locations/global/workforcePools/p/*", "many"),
        ("principalSet://iam.googleapis.com/locations/global/workforcePools/p/group/g", "one"),
    ],
)
def test_members_differ_in_how_many_they_are(member, reach):
    assert roles.reach_of(member) == reach


@pytest.mark.parametrize(
    ("member", "is_program"),
    [
        ("serviceAccount:x@p.iam.gserviceaccount.com", True),
        ("principal://iam.googleapis.com/projects/7/x/global/workloadIdentityPools/p/a", True),
        ("principal://iam.googleapis.com/locations/global/workforcePools/p/subject/a", False),
        ("user:serviceAccount@example.com", False),
        ("group:x@example.com", False),
    ],
)
def test_programs_are_told_from_people(member, is_program):
    assert roles.is_program(member) == is_program
