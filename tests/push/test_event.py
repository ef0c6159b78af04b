"""What is read from a message of Pub/Sub, and what is refused."""

import base64
import json

import pytest

from pgp_config import GoogleSecretManager, PushRefused, SecretEvent
from pgp_config.push.event import MAX_BODY

SECRET = "projects/123456/secrets/KEY"
VERSION = f"{SECRET}/versions/8"
ADDED = {"eventType": "SECRET_VERSION_ADD", "secretId": SECRET, "versionId": VERSION}


def wrapped(attributes, **more):
    message = {"attributes": attributes, "data": "", "messageId": "1", **more}
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


def test_a_version_event_names_the_secret_and_the_number():
    event = SecretEvent.from_attributes({**ADDED, "dataFormat": "JSON_API_V1", "more": "to come"})
    assert event == SecretEvent("SECRET_VERSION_ADD", "KEY", 8, "123456")


def test_a_regional_secret_has_a_location():
    secret = "projects/p/locations/europe-west1/secrets/KEY"
    told = {**ADDED, "secretId": secret, "versionId": f"{secret}/versions/8"}
    event = SecretEvent.from_attributes(told)
    assert (event.project, event.location, event.version) == ("p", "europe-west1", 8)


def test_the_deletion_of_a_secret_has_no_version():
    told = {"eventType": "SECRET_DELETE", "secretId": SECRET, "deleteType": "REQUESTED"}
    assert SecretEvent.from_attributes(told) == SecretEvent("SECRET_DELETE", "KEY", None, "123456")


@pytest.mark.parametrize(
    "kind", ["TOPIC_CONFIGURED", "SECRET_CREATE", "SECRET_UPDATE", "SECRET_ROTATE", "NEW_IN_2030"]
)
def test_kinds_that_change_nothing_and_new_ones_are_taken(kind):
    assert SecretEvent.from_attributes({"eventType": kind}) == SecretEvent(kind)


@pytest.mark.parametrize(
    "forged",
    [
        {"eventType": ""},
        {"eventType": "secret_version_add"},
        {"eventType": "X" * 65},
        {"eventType": 7},
        {"eventType": None},
        {"secretId": "KEY"},
        {"secretId": f"{SECRET}/"},
        {"secretId": "projects/p/secrets/K/../L"},
        {"secretId": 7},
        {"secretId": None},
        {"versionId": None},
        {"versionId": 8},
        {"versionId": "8"},
        {"versionId": SECRET},
        {"versionId": f"{SECRET}/versions/0"},
        {"versionId": f"{SECRET}/versions/-1"},
        {"versionId": f"{SECRET}/versions/latest"},
        {"versionId": f"{SECRET}/versions/٣"},
        {"versionId": f"{SECRET}/versions/8\n"},
        {"versionId": f"{SECRET}/versions/99999999999"},
        {"versionId": "projects/123456/secrets/OTHER/versions/8"},
        {"versionId": "projects/other/secrets/KEY/versions/8"},
    ],
)
def test_attributes_that_are_none_of_secret_managers_are_refused(forged):
    attributes = {name: told for name, told in {**ADDED, **forged}.items() if told is not None}
    with pytest.raises(PushRefused, match="a push has no") as caught:
        SecretEvent.from_attributes(attributes)
    assert caught.value.status == 400


def test_a_push_is_read_as_pubsub_wraps_it():
    data = base64.b64encode(b'{"name": "not looked into"}').decode()
    event = SecretEvent.from_push({}, wrapped(ADDED, data=data))
    assert event.version == 8


def test_a_push_without_wrapping_has_its_attributes_in_headers():
    headers = {name.lower(): told for name, told in ADDED.items()}
    event = SecretEvent.from_push({**headers, "host": "here"}, b'{"state": "ENABLED"}')
    assert (event.secret, event.version) == ("KEY", 8)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"canary",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"message": "canary"}',
        b'{"message": {}}',
        b'{"message": {"attributes": ["canary"]}}',
        b"[" * 100_000,
        b'{"a":' * 25_000,
        b"1" * 10_000,
        wrapped(ADDED, data="canary!"),
        wrapped(ADDED, data=7),
        wrapped({}),
    ],
)
def test_bodies_that_are_no_message_are_refused_and_not_shown(body):
    with pytest.raises(PushRefused) as caught:
        SecretEvent.from_push({}, body)
    assert caught.value.status == 400
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_body_that_is_too_large_is_refused():
    with pytest.raises(PushRefused, match=str(MAX_BODY)) as caught:
        SecretEvent.from_push({}, wrapped(ADDED, data="A" * MAX_BODY))
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("mine", "location", "theirs", "there", "owned"),
    [
        ("pgp-live", None, "pgp-live", None, True),
        ("pgp-live", None, "pgp-other", None, False),
        ("pgp-live", None, "123456", None, True),  # its number, for all that is known here
        ("123456", None, "pgp-live", None, True),
        ("123456", None, "123457", None, False),
        ("pgp-live", None, "pgp-live", "europe-west1", False),
        ("pgp-live", "europe-west1", "pgp-live", None, False),
        ("pgp-live", "europe-west1", "123456", "europe-west1", True),
    ],
)
def test_google_secret_manager_knows_its_project_by_id_or_number(
    mine, location, theirs, there, owned
):
    source = GoogleSecretManager(mine, location=location)
    assert source.owns(theirs, there) is owned
