"""Where two parts meet: objects, key rings, retries, pushes and the proof of uptake."""

import asyncio

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DynamicSecret,
    Freshness,
    KeyRing,
    PerVersion,
    SecretContainer,
    SecretDisabled,
    SecretEvent,
    Uptake,
    request_scope,
    rotation_retry,
)
from pgp_config import retrying as engine
from pgp_config.uptake.base import MemoryUptake
from pgp_config.uptake.verdict import judge

NAME = "SEAM_KEY"
DISABLED = SecretDisabled("is disabled", remedy="Enable it.")
ADDED, DESTROYED = "SECRET_VERSION_ADD", "SECRET_VERSION_DESTROY"


class Made:
    """What an object is built from, and whether it was closed."""

    def __init__(self, value):
        if value == "bad":
            raise ConnectionError
        self.value = value
        self.is_closed = False

    def close(self):
        self.is_closed = True


class Objects(SecretContainer):
    key = DynamicSecret(NAME, str, freshness=Freshness(3600, 3600))
    made = PerVersion(Made, key)


class Rings(SecretContainer):
    keys = KeyRing(NAME, grace=7200, freshness=Freshness(3600, 7200))
    made = PerVersion(Made, keys)


class Twice(SecretContainer):
    slow = DynamicSecret(NAME, str, freshness=Freshness(3600))
    strict = DynamicSecret(NAME, freshness=EVERY_REQUEST)


@pytest.fixture
def store(clock):
    return MemoryUptake(clock)


@pytest.fixture
def start(source, make, store):
    def make_one(container, **options):
        source.add(NAME, "v1")
        made = make(container, uptake=Uptake(store, service="seam"), **options)
        made.load()
        return made

    return make_one


def read(provider):
    with request_scope():
        return provider()


def verdict(secrets, store):
    secrets._reporter.attempt()
    return judge(store.read(NAME), old=1, new=2).state


# promises 17 and 19
def test_what_is_built_from_a_secret_follows_a_push_at_once(start, source):
    secrets = start(Objects)
    old = read(secrets.made)
    source.add(NAME, "v2")
    assert secrets.announce(SecretEvent(ADDED, NAME, 2)).wait(30)
    assert (read(secrets.key), read(secrets.made).value) == ("v2", "v2")
    secrets._registries[0].settle()
    assert old.is_closed


def test_an_object_of_the_old_version_holds_it_in_the_sense_of_uptake(start, source, store):
    secrets = start(Objects)
    assert read(secrets.made).value == "v1"
    source.add(NAME, "bad")
    secrets.key.refresh()
    assert read(secrets.made).value == "v1"
    assert verdict(secrets, store) == "waiting"


def test_a_refresh_leaves_an_object_that_could_not_be_built_anew_before(start, source):
    secrets = start(Objects)
    with request_scope():
        assert secrets.made().value == "v1"
        source.add(NAME, "bad")
        secrets.key.refresh()
        assert secrets.made().value == "v1"
        source.add(NAME, "v3")
        secrets.key.refresh()
        assert secrets.made().value == "v3"


# promise 18
def test_a_leaked_key_is_out_of_use_with_the_push_that_disables_it(start, source, clock):
    secrets = start(Rings)
    source.add(NAME, "v2")
    secrets.keys.refresh()
    assert read(secrets.keys).previous_version == 1
    source.fail(NAME, DISABLED, 1)
    clock.advance(1)
    assert secrets.announce(SecretEvent(DESTROYED, NAME, 1)).wait(30)
    assert read(secrets.keys).previous_version is None


def test_an_object_of_a_key_ring_is_built_anew_without_a_key_that_was_disabled(
    start, source, clock, events
):
    secrets = start(Rings, observers=[events])
    source.add(NAME, "v2")
    secrets.keys.refresh()
    assert read(secrets.made).value.previous_version == 1
    source.fail(NAME, DISABLED, 1)
    clock.advance(1)
    secrets.keys.refresh()
    assert read(secrets.made).value.previous_version is None
    assert {"SEAM_KEY": 2} in [getattr(event, "versions", None) for event in events]


def test_a_secret_in_the_place_of_another_is_built_from_once(start, source):
    class Other(Objects):
        """Its key is overridden when it is made."""

    source.add("SEAM_OTHER", "o1")
    secrets = start(Other, key=DynamicSecret("SEAM_OTHER", str))
    assert len({id(read(secrets.made)) for _ in range(3)}) == 1
    assert read(secrets.made).value == "o1"


class Refused(Exception):  # noqa: N818  what the other side says
    pass


def test_a_version_that_the_other_side_still_wants_is_in_use(start, source, store):
    secrets = start(Objects)
    source.add(NAME, "v2")
    secrets.key.refresh()

    @rotation_retry(secrets.key, on=Refused)
    def call(key):
        if key != "v1":
            raise Refused
        return key

    with request_scope():
        assert call() == "v1"
    assert verdict(secrets, store) == "waiting"
    assert store.read(NAME)[0].entry.in_use == (1, 2)


def test_two_declarations_of_one_secret_report_what_is_worse_of_both(start, source, store):
    secrets = start(Twice)
    read(secrets.slow), read(secrets.strict)
    source.add(NAME, "v2")
    secrets.strict.refresh()
    assert verdict(secrets, store) == "waiting"
    (heard,) = store.read(NAME)
    assert (heard.entry.version, heard.entry.in_use) == (1, (1, 2))


async def test_a_cancellation_that_comes_with_news_is_not_swallowed(start):
    secrets = start(Objects)
    verdicts = secrets.key.verdicts
    asker = object()
    news = verdicts.news()
    waiting = asyncio.create_task(engine._wait_in_loop(news, 30))
    await asyncio.sleep(0)
    assert verdicts.lead(asker, 1) == 0
    verdicts.release(asker)
    assert news.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
