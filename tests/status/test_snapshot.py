"""What a running process says of its secrets."""

import gc
import json
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import pytest
from pydantic import Field

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    Environment,
    KeyRing,
    PerVersion,
    PgpConfigError,
    RejectedVersion,
    SecretContainer,
    SecretDisabled,
    SecretForbidden,
    SecretUnavailable,
    StaticSecret,
    Uptake,
    processes,
    request_scope,
)
from pgp_config.events import Fetched, Reloaded
from pgp_config.push.event import SecretEvent
from pgp_config.status import Status, journal
from pgp_config.status.journal import LONGEST_TEXT, REMEMBERED_EVENTS, Journal
from pgp_config.status.wording import duration, words_of
from pgp_config.uptake.base import MemoryUptake


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
    assert row["last_error"]["explained_as"] == "SecretForbidden"
    source.fail("FEE", None)
    clock.advance(7)  # long enough for a reader to wait again
    shop.fee.refresh()
    row = secret("FEE")
    assert (row["state"], row["failing_for_seconds"]) == ("fresh", None)
    assert row["last_error"]["seconds_ago"] == 7.25


def look(secret):
    """Ask the source now; it may fail."""
    try:
        secret.refresh()
    except PgpConfigError as error:
        return error
    return None


class TestStates:
    def test_of_a_secret_that_was_never_had(self, shop, status, secret, source):
        source.fail("FEE", SecretForbidden("may not be read", remedy="Grant it.", secret="FEE"))
        with pytest.raises(PgpConfigError):
            shop.load()
        row = secret("FEE")
        assert (row["state"], row["version"], row["age_seconds"]) == ("missing", None, None)
        assert row["last_change"] is None

    def test_before_the_load(self, secret):
        assert secret("SIGNING_KEY")["state"] == "missing"

    def test_within_max_age_a_failure_is_no_staleness(self, shop, secret, source, clock):
        shop.load()
        source.fail("FEE", SecretForbidden("may not be read", remedy="Grant it.", secret="FEE"))
        clock.advance(1)
        look(shop.fee)
        assert secret("FEE")["state"] == "failing"

    def test_past_max_stale_there_is_none(self, shop, secret, source, clock):
        shop.load()
        source.fail("FEE", SecretForbidden("may not be read", remedy="Grant it.", secret="FEE"))
        clock.advance(3601)
        assert isinstance(look(shop.fee), SecretUnavailable)
        row = secret("FEE")
        assert (row["state"], row["version"], row["age_seconds"]) == ("missing", 1, 3601)

    def test_a_rejected_version_beside_the_last_good_one(self, shop, secret, source, clock):
        shop.load()
        source.add("FEE", "canary, and no number")
        clock.advance(6)
        look(shop.fee)
        row = secret("FEE")
        assert (row["state"], row["version"], row["rejected_versions"]) == ("rejected", 1, [2])
        assert row["last_error"]["type"] == "RejectedVersion"
        assert "canary" not in json.dumps(row)

    def test_what_nothing_reads_any_more(self, shop, secret, clock):
        shop.load()
        with request_scope():
            shop.fee()
        clock.advance(6)
        row = secret("FEE")
        assert (row["state"], row["read_seconds_ago"]) == ("idle", 6)

    def test_what_each_request_asks_for_anew_is_fresh(self, shop, secret, clock):
        shop.load()
        with request_scope():
            shop.api_key()
        clock.advance(60)
        assert secret("API_KEY")["state"] == "fresh"


def test_an_older_version_that_an_open_request_holds_is_in_use(shop, secret, source):
    shop.load()
    with request_scope():
        shop.api_key()
        source.add("API_KEY", "canary-k2")
        with request_scope():
            shop.api_key()
        assert secret("API_KEY")["versions_in_use"] == [1, 2]
    gc.collect()
    assert secret("API_KEY")["versions_in_use"] == [2]


def test_a_newer_version_of_a_static_secret_waits_for_a_restart(shop, secret):
    shop.load()
    resource = "projects/p/secrets/SIGNING_KEY"
    attributes = {"secretId": resource, "versionId": f"{resource}/versions/2"}
    shop.announce(SecretEvent.from_attributes({"eventType": "SECRET_VERSION_ADD", **attributes}))
    row = secret("SIGNING_KEY")
    assert (row["state"], row["version"], row["newer_version"]) == ("sealed", 1, 2)


def test_types_are_named_as_they_are_declared(make, source):
    class Typed(SecretContainer):
        plain = DynamicSecret("A")
        narrow = DynamicSecret("B", Annotated[int, Field(ge=0)])
        ring = KeyRing("C")
        word = DynamicSecret("D", Literal["on", "off"])
        many = DynamicSecret("E", list[int])

    rows = Status(make(Typed)).snapshot()["secrets"]
    names = ["SecretStr", "int", "KeyRing of SecretStr", "Literal", "list[int]"]
    assert [row["type"] for row in rows] == names


def test_a_lasting_outage_is_an_event_once_in_a_while_and_counted_each_time(
    shop, status, secret, source, clock
):
    shop.load()
    source.fail("FEE", SecretForbidden("may not be read", remedy="Grant it.", secret="FEE"))
    clock.advance(6)
    look(shop.fee)
    served = 5
    for _ in range(served):
        with request_scope():
            shop.fee()
    stale = [text for text in texts(status) if text.startswith("Served stale")]
    assert stale == ["Served stale FEE version 1, confirmed 6 s ago"]
    assert secret("FEE")["stale_reads"] >= served
    assert secret("FEE")["last_error"]["type"] == "SecretForbidden"
    clock.advance(30)
    with request_scope():
        shop.fee()
    assert len([text for text in texts(status) if text.startswith("Served stale")]) == 2


def test_a_disabled_newest_version_is_told_of(shop, status, secret, source, clock):
    shop.load()
    source.add("FEE", "31337002")
    disabled = SecretDisabled("version 2 is disabled", remedy="Enable it.", secret="FEE")
    source.fail("FEE", disabled, "latest")
    source.fail("FEE", disabled, 2)
    clock.advance(6)
    look(shop.fee)
    row = secret("FEE")
    assert row["last_error"]["type"] == "LatestDisabled"
    assert (
        row["last_error"]["text"] == "The newest version of FEE is disabled: version 1 is served"
    )
    (fee,) = (each for each in words_of(status.snapshot())["secrets"] if each["name"] == "FEE")
    assert fee["error_note"].endswith(
        "version 1 is served"
    )  # no error, and no command explains it


def test_what_could_not_be_built_is_the_trouble_of_each_of_its_secrets(make, source, clock):
    def build(fee, key):
        raise RuntimeError("canary")

    class Built(SecretContainer):
        fee = DynamicSecret("FEE", int)
        key = DynamicSecret("KEY")
        pool = PerVersion(build, fee, key)

    source.add("FEE", "31337001")
    source.add("KEY", "canary-key")
    container = make(Built)
    status = Status(container)
    container.load()
    with request_scope(), pytest.raises(PgpConfigError):
        container.pool()
    for row in status.snapshot()["secrets"]:
        assert row["last_error"]["type"] == "BuildFailed"
        assert row["last_error"]["explained_as"] is None
        assert "Could not build pool" in row["last_error"]["text"]
    assert "canary" not in json.dumps(status.snapshot())


def test_an_error_of_a_foreign_source_loses_the_values_that_are_known(make, source, clock):
    class One(SecretContainer):
        key = DynamicSecret("KEY")

    source.add("KEY", "canary-key")
    container = make(One)
    status = Status(container)
    container.load()
    source.fail("KEY", SecretForbidden("canary-key is what I had", remedy="", secret="KEY"))
    clock.advance(1)
    look(container.key)
    told = json.dumps(status.snapshot())
    assert "canary" not in told
    assert "[KEY] is what I had" in told


def test_a_load_scrubs_no_line_of_its_own(shop, status, monkeypatch):
    """It would compile all known values into a search, once for each secret: seconds, for 500 of them."""
    scrubbed = []
    monkeypatch.setattr(journal, "redact", scrubbed.append)
    shop.load()
    assert len(texts(status)) == 3
    assert scrubbed == []


def test_the_uptake_is_an_event_too(make, source):
    class One(SecretContainer):
        key = DynamicSecret("KEY")

    source.add("KEY", "canary-key")
    container = make(One, uptake=Uptake(MemoryUptake(), service="shop"))
    status = Status(container)
    container.load()
    container.close()  # waits for the report
    assert any("shop (" in text for text in texts(status))


class TestPush:
    @pytest.mark.parametrize(
        ("name", "state"), [(None, False), ("projects/p/subscriptions/s", True)]
    )
    def test_a_listener(self, shop, name, state):
        class Listener:
            path = None
            subscription = name
            is_listening = state

        document = Status(shop, push=Listener()).snapshot()
        assert document["container"]["push"] == {
            "kind": "listener",
            "subscription": name,
            "listening": state,
        }
        word = f"listening to {name}" if state else "not listening now; max_age holds"
        assert words_of(document)["fields"]["push"] == word

    def test_an_endpoint(self, shop):
        class Endpoint:
            path = "/pubsub/secrets"

        document = Status(shop, push=Endpoint()).snapshot()
        assert document["container"]["push"] == {"kind": "endpoint", "path": "/pubsub/secrets"}
        assert words_of(document)["fields"]["push"] == "endpoint at /pubsub/secrets"


class TestSource:
    def test_one_of_ours_says_what_it_is(self, make, monkeypatch):
        class Empty(SecretContainer):
            pass

        status = Status(make(Empty, source=Environment(prefix="SHOP_")))
        assert status.snapshot()["container"]["source"] == "Environment(prefix='SHOP_')"

    def test_of_another_which_may_hold_a_password_only_its_type_is_told(self, make, source):
        class Empty(SecretContainer):
            pass

        class Vault(type(source)):
            def __repr__(self):
                return "Vault(password='canary')"

        assert Status(make(Empty, source=Vault())).snapshot()["container"]["source"] == "Vault"


def test_its_memory_is_bounded(shop, status, source, clock):
    shop.load()
    for number in range(REMEMBERED_EVENTS + 5):
        source.add("API_KEY", f"canary-{number}")
        with request_scope():
            shop.api_key()
    document = status.snapshot()
    assert document["seq"] == 3 + REMEMBERED_EVENTS + 5
    assert len(document["events"]) == REMEMBERED_EVENTS
    assert document["events"][-1]["seq"] == document["seq"]


def test_events_of_many_threads_are_all_counted_while_somebody_looks(shop, status):
    shop.load()
    journal, begin = status._journal, threading.Barrier(9)

    def tell():
        begin.wait(30)
        for number in range(200):
            journal(Fetched("Shop", "FEE", number + 1, 0.1))
            journal(Reloaded("Shop", "FEE", number, number + 1))

    with ThreadPoolExecutor(8) as pool:
        told = [pool.submit(tell) for _ in range(8)]
        begin.wait(30)
        while not all(one.done() for one in told):
            numbers = [event["seq"] for event in status.snapshot()["events"]]
            assert numbers == sorted(set(numbers))
    document = status.snapshot()
    assert document["seq"] == 3 + 8 * 200
    row = next(row for row in document["secrets"] if row["name"] == "FEE")
    assert row["calls"]["made"] == 1 + 8 * 200


def test_an_event_of_just_now_is_told_now_or_with_the_next_question(shop, status, monkeypatch):
    shop.load()
    really = Journal.since

    def since(self, after=0):
        told = really(self, after)
        self(Reloaded("Shop", "FEE", 1, 2))  # another thread is quick
        return told

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "since", since)
        first = status.snapshot()
    assert [event["seq"] for event in first["events"]] == [1, 2, 3]
    later = status.snapshot(first["seq"])
    assert [event["kind"] for event in later["events"]] == ["Reloaded"]


def test_a_long_error_of_the_other_side_is_kept_in_part(make, source, clock):
    class One(SecretContainer):
        key = DynamicSecret("KEY")

    source.add("KEY", "canary-key")
    container = make(One)
    status = Status(container)
    container.load()
    # At its end only half of the value is left.
    source.fail("KEY", SecretUnavailable("x" * (LONGEST_TEXT - 30) + "canary-key" * 30_000))
    clock.advance(6)
    look(container.key)
    told = status.snapshot()
    assert len(told["events"][-1]["text"]) <= LONGEST_TEXT
    assert len(told["secrets"][0]["last_error"]["text"]) <= LONGEST_TEXT
    assert "canary" not in json.dumps(told)


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "error",
    [
        SecretUnavailable("is down"),
        RuntimeError("broken"),
        RejectedVersion("version 2 is torn"),
    ],
)
def test_an_old_version_is_not_in_use_for_an_error_that_came_between(make, source, clock, error):
    class One(SecretContainer):
        key = DynamicSecret("KEY")

    source.add("KEY", "v-1")
    container = make(One, observers=())
    status = Status(container)
    container.load()
    source.fail("KEY", error)
    clock.advance(6)
    look(container.key)
    source.fail("KEY", None)
    if isinstance(error, RejectedVersion):
        source.add("KEY", b"\xff")
        clock.advance(30)
        look(container.key)
    source.add("KEY", "v-3")
    clock.advance(30)
    look(container.key)
    look(container.key)
    told = status.snapshot()["secrets"][0]
    assert told["versions_in_use"] == [told["version"]]
    assert container.key.version() > 1


def test_a_signal_handler_may_cause_an_event_while_one_is_noted(shop, status, secret):
    shop.load()
    with status._journal._lock:  # as the thread that it interrupts has it
        status._journal(Fetched("Shop", "FEE", 1, 0.1))
    assert secret("FEE")["calls"]["made"] == 2


def test_a_forked_child_has_the_history_and_counts_its_own_calls(shop, status, source, clock):
    shop.load()
    before = status.snapshot()
    clock.advance(3)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # it ends without a report
        os.write(writing, json.dumps(status.snapshot()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert told["process"]["pid"] == child
    assert told["process"]["instance"] != before["process"]["instance"]
    assert told["process"]["watched_for_seconds"] == 0
    assert [event["seq"] for event in told["events"]] == [1, 2, 3]
    row = next(row for row in told["secrets"] if row["name"] == "FEE")
    assert row["calls"] == {"made": 0, "failed": 0}
    assert row["last_change"]["version"] == 1
    assert status.snapshot()["process"] == {
        **before["process"],
        "watched_for_seconds": 3.0,
    }


def test_a_process_has_one_name_on_its_page_and_in_the_uptake_store(make, source, monkeypatch):
    """What `tail` and the page say is found again in the log, and where a rotation waits."""
    monkeypatch.setattr(processes, "_counts", {})  # other tests' containers have reported
    store = MemoryUptake()
    shop = make(Shop, uptake=Uptake(store, service="shop"))
    status = Status(shop)
    assert shop._reporter.instance == status.instance == processes.process_name()
    second = make(Shop, uptake=Uptake(store, service="shop"))
    assert second._reporter.instance == f"{status.instance}.2"


def test_a_page_keeps_no_container_alive(source):
    source.add("FEE", "31337001")

    class One(SecretContainer):
        fee = DynamicSecret("FEE", int)

    container = One(source=source, observers=[])
    status = Status(container)
    container.load()
    container.close()
    gone = weakref.ref(container)
    journal = status._journal
    del container, status
    gc.collect()
    assert gone() is None
    assert repr(journal) == "<Journal of 1 events>"


def test_a_closed_container_is_still_shown(shop, status):
    shop.load()
    shop.close()
    assert {row["state"] for row in status.snapshot()["secrets"]} == {"missing"}


def test_it_names_its_process(status):
    assert repr(status) == f"<Status of {status.instance}>"


@pytest.mark.parametrize("given", [Shop, None, 7])
def test_what_is_no_container_is_refused(given):
    with pytest.raises(DeclarationError, match="in place of a container"):
        Status(given)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (3.24, "3.2 s"),
        (9.99, "10 s"),
        (42.9, "42 s"),
        (60, "1 min"),
        (65, "1 min 5 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (353_000, "4 d 2 h"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text


def test_the_words_of_one_that_was_never_had(shop, status, source):
    source.fail("FEE", SecretForbidden("may not be read", remedy="Grant it.", secret="FEE"))
    with pytest.raises(PgpConfigError):
        shop.load()
    words = words_of(status.snapshot())
    fee = next(row for row in words["secrets"] if row["name"] == "FEE")
    assert (fee["version"], fee["age"], fee["age_note"]) == ("none", "none", "never confirmed")
    assert fee["state_note"].startswith("there has been no value yet: reads fail; the source has")
    assert fee["change"] == "none"
    assert fee["error_note"].endswith(
        "ago: may not be read. Grant it. (pgp-config explain SecretForbidden)"
    )
    assert words["fields"]["tone"] == "bad"
    assert words["fields"]["summary"] == "1 of 3 secrets needs attention: FEE."
