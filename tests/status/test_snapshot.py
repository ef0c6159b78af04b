"""What a running process says of its secrets."""

import os

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    SecretContainer,
    SecretForbidden,
    StaticSecret,
    request_scope,
)
from pgp_config.status import Status
from pgp_config.status.journal import Journal


class Shop(SecretContainer):
    signing_key = StaticSecret("SIGNING_KEY")
    fee = DynamicSecret("FEE", int)
    api_key = DynamicSecret("API_KEY", freshness=EVERY_REQUEST)


@pytest.fixture
def shop(make, source):
    source.add("SIGNING_KEY", "canary-s1")
    source.add("FEE", "31337001")
    source.add("API_KEY", "canary-k1")
    return make(Shop)


@pytest.fixture
def status(shop, clock):
    journal = Journal(clock, wall=lambda: clock.now + 1_700_000_000)
    return Status(shop, journal=journal)


@pytest.fixture
def secret(status):
    return lambda name: next(row for row in status.snapshot()["secrets"] if row["name"] == name)


def texts(status):
    return [event["text"] for event in status.snapshot()["events"]]


def test_a_loaded_container_in_full(shop, status, clock):
    shop.load()
    clock.advance(2)
    with request_scope():
        shop.fee()
    document = status.snapshot()
    assert document["container"] == {
        "name": "Shop",
        "source": "FakeSource",
        "max_age_seconds": 5.0,
        "max_stale_seconds": 3600.0,
        "push": None,
    }
    process = document["process"]
    assert process["pid"] == os.getpid()
    assert process["watched_for_seconds"] == 2.0
    assert process["instance"].startswith(f"{process['host']}-{os.getpid()}-")
    fee = next(row for row in document["secrets"] if row["name"] == "FEE")
    assert fee == {
        "name": "FEE",
        "kind": "dynamic",
        "type": "int",
        "state": "fresh",
        "version": 1,
        "versions_in_use": [1],
        "rejected_versions": [],
        "newer_version": None,
        "age_seconds": 2.0,
        "max_age_seconds": 5.0,
        "max_stale_seconds": 3600.0,
        "read_seconds_ago": 0.0,
        "failing_for_seconds": None,
        "retry_in_seconds": None,
        "last_change": {
            "old_version": None,
            "version": 1,
            "at": "2023-11-14T22:30:00.000Z",
            "seconds_ago": 2.0,
        },
        "last_error": None,
        "calls": {"made": 1, "failed": 0},
        "stale_reads": 0,
    }
    assert [row["state"] for row in document["secrets"]] == ["unread", "fresh", "sealed"]


def test_events_are_numbered_and_only_later_ones_are_given(shop, status, source):
    shop.load()
    first = status.snapshot()
    assert [event["seq"] for event in first["events"]] == [1, 2, 3]
    assert status.snapshot(after=first["seq"])["events"] == []
    source.add("API_KEY", "canary-k2")
    with request_scope():
        shop.api_key()
    news = status.snapshot(after=first["seq"])
    assert [(e["seq"], e["kind"], e["level"], e["text"]) for e in news["events"]] == [
        (4, "Reloaded", "info", "Hot-reloaded API_KEY version 1 -> 2")
    ]


def test_an_outage_and_its_end(shop, status, secret, source, clock):
    shop.load()
    source.fail("FEE", SecretForbidden("may not be read", remedy="Grant it.", secret="FEE"))
    clock.advance(6)
    with request_scope():
        shop.fee()
    clock.advance(0.25)
    row = secret("FEE")
    assert (row["state"], row["failing_for_seconds"], row["retry_in_seconds"]) == (
        "stale",
        0.25,
        0.75,
    )
    assert (row["calls"], row["stale_reads"]) == ({"made": 2, "failed": 1}, 1)
    assert row["last_error"]["type"] == "SecretForbidden"
    assert row["last_error"]["text"] == "FEE in Shop: may not be read. Grant it."
    source.fail("FEE", None)
    clock.advance(1)
    shop.fee.refresh()
    row = secret("FEE")
    assert (row["state"], row["failing_for_seconds"]) == ("fresh", None)
    assert row["last_error"]["seconds_ago"] == 1.25
