"""`rotation_retry`: each window of a rotation on a fake clock, and a crowd that shares what it learns."""

import asyncio
import contextvars
import inspect
import logging
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from pgp_config import (
    BlockingRead,
    DeclarationError,
    DynamicSecret,
    KeyRing,
    LoggingObserver,
    SecretContainer,
    SecretDisabled,
    SecretRefused,
    SecretUnavailable,
    default_observers,
    pauses,
    request_scope,
    rotation_retry,
    rotation_retry_context,
    verdicts,
)
from pgp_config import retrying as engine
from pgp_config.events import PreviousVersionUsed, ServedStale, VersionRefused
from pgp_config.verdicts import CLAIM, FAVOURED, REMEMBERED, Verdicts

NAME = "RETRY_KEY"
DOWN = SecretUnavailable("the source is down", remedy="Wait.")
DISABLED = SecretDisabled("is disabled", remedy="Enable it.")


class Unauthorized(Exception):  # noqa: N818  the name of the status
    """The other side's 401."""


class Service(SecretContainer):
    key = DynamicSecret(NAME, str)


class Peer:
    """The other side: accepts some keys, and notes what it was asked with."""

    def __init__(self, *accepted):
        self.accepted = set(accepted)
        self.seen = []
        self.before_answer = lambda _key: None

    def __call__(self, key, *args):
        self.seen.append(key)
        self.before_answer(key)
        if key not in self.accepted:
            raise Unauthorized(len(self.seen))
        return (key, *args)

    async def ask(self, key, *args):
        await asyncio.sleep(0)
        return self(key, *args)


def in_threads(secret, peer, **options):
    return rotation_retry(secret, on=Unauthorized, **options)(peer.__call__)


def in_a_loop(secret, peer, **options):
    asked = rotation_retry(secret, on=Unauthorized, **options)(peer.ask)
    return lambda *args: asyncio.run(asked(*args))


def by_hand(secret, peer, **options):
    def call(*args):
        for attempt in rotation_retry_context(secret, on=Unauthorized, **options):
            with attempt as key:
                return peer(key, *args)
        raise AssertionError("it ends with a result or an error")

    return call


@pytest.fixture(params=[in_threads, in_a_loop, by_hand])
def retrying(request):
    return request.param


@pytest.fixture
def waits(clock, monkeypatch):
    """Waiting lets the fake clock go on, and what a test planned for then happens."""
    planned = []

    def wait(news, limit):
        if news.done():
            return
        until = clock.now + limit
        due = [moment for moment, _ in planned if moment <= until]
        clock.now = min([until, *due])
        for plan in [plan for plan in planned if plan[0] <= clock.now]:
            planned.remove(plan)
            plan[1]()

    async def wait_async(news, limit):
        wait(news, limit)

    monkeypatch.setattr(engine, "_wait_in_thread", lambda news, limit, _secret: wait(news, limit))
    monkeypatch.setattr(engine, "_wait_in_loop", wait_async)
    return lambda seconds, act: planned.append((clock.now + seconds, act))


@pytest.fixture
def secrets(source, make):
    source.add(NAME, "k1")
    source.add(NAME, "k2")
    secrets = make(Service)
    secrets.load()
    return secrets


def looks(source):
    return source.calls.count((NAME, "latest")) - 1  # load()


# -- one request, each window ----------------------------------------------------------------


def test_an_accepted_key_costs_one_attempt_and_no_call(retrying, secrets, source):
    peer = Peer("k2")
    assert retrying(secrets.key, peer)("estimate") == ("k2", "estimate")
    assert peer.seen == ["k2"]
    assert source.calls == [(NAME, "latest")]


def test_both_changed_at_once(retrying, secrets, source):
    peer = Peer("k3")
    source.add(NAME, "k3")
    with request_scope():
        assert secrets.key() == "k2"
        assert retrying(secrets.key, peer)() == ("k3",)
        assert secrets.key() == "k3", "the scope moves on with a refresh"
    assert peer.seen == ["k2", "k3"]
    assert looks(source) == 1


def test_the_store_changed_first(retrying, secrets, source, events, waits):
    peer = Peer("k1")
    with request_scope():
        assert retrying(secrets.key, peer)() == ("k1",)
        assert secrets.key() == "k2", "an older version changes no scope"
    assert peer.seen == ["k2", "k1"]
    assert source.calls[1:] == [(NAME, "latest"), (NAME, 1)]
    (used,) = events.of(PreviousVersionUsed)
    assert (used.container, used.secret, used.version, used.newest) == ("Service", NAME, 1, 2)
    (refused,) = events.of(VersionRefused)
    assert (refused.version, refused.pause) == (2, 1.0)


def test_the_provider_changed_first(retrying, secrets, source, clock, waits):
    peer = Peer("k3")
    began = clock.now
    waits(1.0, lambda: source.add(NAME, "k3"))
    assert retrying(secrets.key, peer)() == ("k3",)
    assert peer.seen == ["k2", "k1", "k3"]
    assert clock.now - began < 2


def test_a_key_revoked_for_good_ends_with_the_first_refusal_and_few_looks(
    retrying, secrets, source, clock, waits
):
    peer = Peer()
    began = clock.now
    with request_scope(), pytest.raises(Unauthorized) as caught:
        retrying(secrets.key, peer, budget=10)()
    assert caught.value.args == (1,)
    assert caught.value.__context__ is None
    assert peer.seen == ["k2", "k1"], "each version once"
    assert clock.now - began <= 10
    assert looks(source) == 7
    assert source.calls.count((NAME, 1)) <= 2


def test_the_provider_rolls_back(retrying, secrets, source, clock, waits):
    peer = Peer("k2")
    call = retrying(secrets.key, peer)
    call()
    peer.accepted = {"k1"}
    assert call() == ("k1",)
    assert peer.seen == ["k2", "k2", "k1"]


def test_the_store_rolls_back(retrying, secrets, source, waits):
    peer = Peer("k1")
    source.fail(NAME, DISABLED, 2)
    source.fail(NAME, DISABLED, "latest")
    with request_scope():
        assert secrets.key() == "k2"
        assert retrying(secrets.key, peer)() == ("k1",)
        assert secrets.key() == "k1"


def test_a_previous_version_that_is_not_to_be_had_is_waited_for(retrying, secrets, source, waits):
    peer = Peer("k1")
    source.fail(NAME, DOWN, 1)
    waits(1, lambda: source.fail(NAME, None, 1))
    assert retrying(secrets.key, peer)() == ("k1",)
    assert peer.seen == ["k2", "k1"]


def test_a_source_that_is_down_leaves_the_refusal(retrying, secrets, source, events, waits):
    peer = Peer()
    source.fail(NAME, DOWN)
    with pytest.raises(Unauthorized):
        retrying(secrets.key, peer)()
    assert events.of(ServedStale)
    assert peer.seen == ["k2"]


def test_a_secret_that_becomes_unavailable_leaves_the_refusal(
    retrying, secrets, source, clock, waits
):
    peer = Peer()

    def lose(_key):
        source.fail(NAME, DOWN)
        clock.advance(4000)

    peer.before_answer = lose
    with pytest.raises(Unauthorized):
        retrying(secrets.key, peer, budget=5000)()


def test_without_a_value_the_reads_own_error_is_raised(retrying, secrets, source, clock):
    source.fail(NAME, DOWN)
    clock.advance(4000)
    peer = Peer()
    with pytest.raises(SecretUnavailable, match="the source is down"):
        retrying(secrets.key, peer)()
    assert peer.seen == []


def test_the_first_version_has_none_before_it(retrying, source, make, waits):
    source.add(NAME, "k1")
    secrets = make(Service)
    peer = Peer()
    with pytest.raises(Unauthorized):
        retrying(secrets.key, peer)()
    assert peer.seen == ["k1"]


def test_an_older_version_can_be_ruled_out(retrying, secrets, source, waits):
    peer = Peer("k1")
    with pytest.raises(Unauthorized):
        retrying(secrets.key, peer, previous=False)()
    assert peer.seen == ["k2"]
    assert (NAME, 1) not in source.calls


def test_no_budget_is_one_refresh_and_no_wait(retrying, secrets, source, clock):
    peer = Peer("k3")
    call = retrying(secrets.key, peer, budget=0)
    for _ in range(2):
        with pytest.raises(Unauthorized):
            call()
    assert peer.seen == ["k2", "k1", "k2"], "each call makes its first attempt; 1 rests"
    assert looks(source) == 2
    source.add(NAME, "k3")
    assert call() == ("k3",)
    assert peer.seen == ["k2", "k1", "k2", "k2", "k3"]


def test_an_attempt_that_takes_the_whole_budget_is_the_only_one(retrying, secrets, source, clock):
    peer = Peer("k1")
    peer.before_answer = lambda _key: clock.advance(6)
    with request_scope(), pytest.raises(Unauthorized):
        retrying(secrets.key, peer)()
    assert peer.seen == ["k2"]
    assert looks(source) == 0


def test_a_tests_value_is_tried_once(retrying, secrets, source):
    peer = Peer()
    with request_scope(values={NAME: "k"}), pytest.raises(Unauthorized):
        retrying(secrets.key, peer)()
    with secrets.key.override("k"), pytest.raises(Unauthorized):
        retrying(secrets.key, peer)()
    assert peer.seen == ["k", "k"]
    with request_scope(values={NAME: "k"}):
        peer.accepted = {"k"}
        assert retrying(secrets.key, peer)() == ("k",)
    assert source.calls == [(NAME, "latest")]


def test_other_errors_pass_and_say_nothing_of_the_key(retrying, secrets, events):
    peer = Peer("k2")
    call = retrying(secrets.key, peer)

    def fail(_key):
        raise ValueError("nonsense")

    peer.before_answer = fail
    with pytest.raises(ValueError, match="nonsense"):
        call()
    assert peer.seen == ["k2"]
    assert not events.of(VersionRefused)


@pytest.mark.parametrize(
    "on", [Unauthorized, (KeyError, Unauthorized), lambda error: error.args == (1,)]
)
def test_what_a_refusal_is_can_be_said_in_three_ways(secrets, source, on):
    source.add(NAME, "k3")
    peer = Peer("k3")
    with request_scope():
        secrets.key()
        assert rotation_retry(secrets.key, on=on)(peer.__call__)() == ("k3",)


def test_a_predicate_that_fails_fails_the_call_and_frees_the_search(secrets, source, waits):
    peer = Peer("k1")

    def broken(_error):
        raise KeyError("predicate")

    with pytest.raises(KeyError, match="predicate"):
        rotation_retry(secrets.key, on=broken)(peer.__call__)()
    assert rotation_retry(secrets.key, on=Unauthorized)(peer.__call__)() == ("k1",)


@pytest.mark.parametrize(
    "on", [(), None, 401, BaseException, KeyboardInterrupt, (Unauthorized, 1)]
)
def test_what_says_nothing_of_a_refusal_is_refused(secrets, on):
    with pytest.raises(DeclarationError, match="says nothing of a refusal"):
        rotation_retry_context(secrets.key, on=on)


def test_a_value_in_place_of_a_secret_is_refused(secrets):
    with pytest.raises(DeclarationError, match="SecretStr in place of a secret") as caught:
        rotation_retry(SecretStr("canary"), on=Unauthorized)
    assert "canary" not in str(caught.value)
    with pytest.raises(DeclarationError, match="budget is -1"):
        rotation_retry(secrets.key, on=Unauthorized, budget=-1)


def test_generators_are_refused(secrets):
    def generate(key):
        yield key

    async def generate_later(key):
        yield key

    for function in (generate, generate_later):
        with pytest.raises(DeclarationError, match="is a generator"):
            rotation_retry(secrets.key, on=Unauthorized)(function)


def test_the_decorated_function_is_still_itself(secrets):
    async def estimate(key, amount: int) -> str:
        """Ask."""

    decorated = rotation_retry(secrets.key, on=Unauthorized)(estimate)
    assert (decorated.__name__, decorated.__doc__) == ("estimate", "Ask.")
    assert inspect.iscoroutinefunction(decorated)


async def test_attempts_that_nobody_makes_end(secrets):
    attempts = rotation_retry_context(secrets.key, on=Unauthorized)
    assert len(list(iter(attempts))) == 1
    assert len([attempt async for attempt in aiter(aiter(attempts))]) == 1


def test_an_attempt_says_which_version_it_has(secrets, source):
    source.add(NAME, "k3")
    numbers = []
    context = rotation_retry_context(secrets.key, on=Unauthorized)
    with request_scope():
        secrets.key()
        for attempt in context:
            numbers.append(attempt.number)
            with attempt as key:
                assert key == attempt.value
                Peer("k3")(key)
    assert numbers == [2, 3]
    assert repr(context) == f"<rotation_retry_context of {NAME}>"
    assert repr(attempt) == f"<Attempt with {NAME} version 3>"


def test_a_key_ring_goes_through_it_too(source, make, waits):
    class Ring(SecretContainer):
        keys = KeyRing(NAME)

    source.add(NAME, "k1")
    source.add(NAME, "k2")
    secrets = make(Ring)
    tried = []

    @rotation_retry(secrets.keys, on=Unauthorized)
    def call(keys):
        tried.append((keys.version, keys.previous_version))
        if keys.version == 2:
            raise Unauthorized

    call()
    assert tried == [(2, 1), (1, None)]


# -- many requests ---------------------------------------------------------------------------


class Gate:
    """Holds back the other side's answers to one key until some requests have asked with it."""

    def __init__(self, key, size):
        self._key = key
        self._barrier = threading.Barrier(size, timeout=30)

    def __call__(self, key):
        if key == self._key:
            self._barrier.wait()


def test_a_crowd_that_is_refused_at_once_looks_once(secrets, source):
    size = 16
    peer = Peer("k3")
    source.add(NAME, "k3")
    peer.before_answer = Gate("k2", size)
    call = in_threads(secrets.key, peer, budget=30)

    def request():
        with request_scope():
            assert secrets.key() == "k2"
            return call()

    with ThreadPoolExecutor(size) as pool:
        asked = [pool.submit(contextvars.Context().run, request) for _ in range(size)]
        assert {answer.result(30) for answer in asked} == {("k3",)}
    assert peer.seen.count("k2") == peer.seen.count("k3") == size
    assert looks(source) <= 2


def test_a_crowd_that_comes_after_a_refusal_makes_no_stale_attempt(secrets, source, clock):
    """100 requests, a handful of calls: one was refused before, and looks."""
    peer = Peer("k3")
    entered, released = threading.Event(), threading.Event()
    refresh = secrets.key.refresh
    call = in_threads(secrets.key, peer, budget=30)

    def held_refresh():
        entered.set()
        assert released.wait(30)
        source.add(NAME, "k3")
        return refresh()

    with ThreadPoolExecutor(101) as pool:
        first = pool.submit(
            contextvars.Context().run, in_threads(Held(secrets.key, held_refresh), peer, budget=30)
        )
        assert entered.wait(30)
        others = [pool.submit(contextvars.Context().run, call) for _ in range(100)]
        released.set()
        assert {answer.result(30) for answer in [first, *others]} == {("k3",)}
    assert peer.seen.count("k2") == 1
    assert peer.seen.count("k3") == 101
    assert looks(source) == 1


class Held:
    """A secret whose refresh is held back."""

    def __init__(self, secret, refresh):
        self._secret = secret
        self.refresh = refresh

    def __getattr__(self, name):
        return getattr(self._secret, name)


async def test_a_crowd_of_coroutines_shares_a_search_and_one_can_be_cancelled(secrets, source):
    peer = Peer("k3")
    hold = source.hold(NAME)
    call = rotation_retry(secrets.key, on=Unauthorized, budget=30)(peer.ask)

    async def request():
        async with request_scope():
            return await call()

    first = asyncio.create_task(request())
    await asyncio.to_thread(hold.entered.wait, 10)
    others = [asyncio.create_task(request()) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.add(NAME, "k3")
    first.cancel()
    others[0].cancel()
    await asyncio.wait([first, others[0]])
    hold.release()
    assert set(await asyncio.gather(*others[1:])) == {("k3",)}
    assert peer.seen.count("k2") == 1
    assert looks(source) <= 2


def test_a_refused_version_rests_for_all_requests_and_then_one_tries_it(
    retrying, secrets, source, clock, waits, events
):
    peer = Peer()
    call = retrying(secrets.key, peer, budget=0.5)
    with pytest.raises(Unauthorized):
        call()
    assert peer.seen == ["k2", "k1"]
    with pytest.raises(
        SecretRefused, match=f"{NAME} in Service: the other side refused it lately"
    ):
        call()
    assert peer.seen == ["k2", "k1"]
    clock.advance(1)
    with pytest.raises(Unauthorized):
        call()
    assert peer.seen == ["k2", "k1", "k2", "k1"]
    assert [(e.version, e.pause) for e in events.of(VersionRefused)] == [
        (2, 1),
        (1, 1),
        (2, 2),
        (1, 2),
    ]


def test_a_request_waits_for_the_end_of_a_pause_that_its_budget_covers(
    retrying, secrets, clock, waits
):
    """A refusal that was meant for one request only delays the others, and shortly."""
    peer = Peer()
    with pytest.raises(Unauthorized):
        retrying(secrets.key, peer, budget=0)()
    peer.accepted = {"k2"}
    began = clock.now
    assert retrying(secrets.key, peer, previous=False)() == ("k2",)
    assert clock.now - began == 1


def test_pauses_grow_to_a_minute(secrets, clock, events):
    call = in_threads(secrets.key, Peer(), budget=0, previous=False)
    for _ in range(9):
        with pytest.raises(Unauthorized):
            call()
        clock.advance(100)
    assert [event.pause for event in events.of(VersionRefused)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_requests_start_with_the_older_version_that_was_accepted(
    retrying, secrets, source, clock, waits, events
):
    peer = Peer("k1")
    call = retrying(secrets.key, peer)
    for _ in range(5):
        call()
    assert peer.seen == ["k2", "k1", "k1", "k1", "k1", "k1"]
    clock.advance(1)
    call()
    assert peer.seen[6:] == ["k2", "k1"], "a probe of the newest"
    clock.advance(1)
    call()
    assert peer.seen[8:] == ["k1"], "the pause has grown"
    peer.accepted = {"k2"}
    clock.advance(1)
    call()
    call()
    assert peer.seen[9:] == ["k2", "k2"], "requests move on"
    assert len(events.of(PreviousVersionUsed)) == 2


def test_the_newest_is_probed_by_one_request_at_a_time(secrets, clock, waits):
    peer = Peer("k1")
    call = in_threads(secrets.key, peer)
    call()
    clock.advance(1)
    during = []

    def meanwhile(key):
        if key == "k2" and not during:
            during.append(contextvars.Context().run(call))

    peer.before_answer = meanwhile
    assert call() == ("k1",)
    assert during == [("k1",)]
    assert peer.seen[2:] == ["k2", "k1", "k1"]


def test_requests_move_on_as_soon_as_the_other_side_does(retrying, secrets, source, clock, waits):
    peer = Peer("k1")
    call = retrying(secrets.key, peer)
    call()
    source.add(NAME, "k3")
    peer.accepted = {"k3"}
    clock.advance(6)
    assert call() == ("k3",)
    assert call() == ("k3",)
    assert peer.seen[2:] == ["k3", "k3"]


def test_the_older_version_is_left_when_it_is_refused(retrying, secrets, clock, waits):
    peer = Peer("k1")
    call = retrying(secrets.key, peer)
    call()
    peer.accepted = {"k2"}
    assert call() == ("k2",)
    assert peer.seen[2:] == ["k1", "k2"]


def test_an_older_version_is_not_favoured_for_ever(retrying, secrets, clock, waits):
    peer = Peer("k1")
    call = retrying(secrets.key, peer)
    call()
    clock.advance(FAVOURED + 1)
    peer.accepted = {"k2"}
    assert call() == ("k2",)
    assert peer.seen[2:] == ["k2"]


def test_a_look_follows_a_look_after_a_growing_pause_whoever_looks(
    retrying, secrets, source, clock, waits
):
    peer = Peer()
    call = retrying(secrets.key, peer, budget=2)
    outcomes = []
    for _ in range(10):
        with pytest.raises((Unauthorized, SecretRefused)) as caught:
            call()
        outcomes.append(caught.type)
        clock.advance(0.5)
    assert looks(source) <= 9
    assert peer.seen.count("k2") <= 5


def test_a_scope_pinned_to_a_refused_version_catches_up_without_a_call(
    retrying, secrets, source, clock, waits
):
    peer = Peer("k3")
    call = retrying(secrets.key, peer)
    with request_scope():
        assert secrets.key() == "k2"
        source.add(NAME, "k3")
        contextvars.Context().run(call)
        before = len(source.calls)
        assert call() == ("k3",)
        assert secrets.key() == "k3"
    assert peer.seen == ["k2", "k3", "k3"]
    assert len(source.calls) == before


def test_a_synchronous_wait_does_not_block_a_loop(secrets):
    call = in_threads(secrets.key, Peer())

    async def main():
        call()

    with pytest.raises(BlockingRead, match="block the running event loop"):
        asyncio.run(main())


def test_waiting_in_a_thread_ends_with_the_news_or_the_limit(secrets):
    known = secrets.key.verdicts
    engine._wait_in_thread(known.news(), 0, NAME)
    news = known.news()
    asyncio.run(engine._wait_in_loop(news, 0))
    with pytest.raises(BlockingRead):
        asyncio.run(blocking_wait(news))
    asker = object()
    assert known.lead(asker, 1) == 0
    known.release(asker)
    engine._wait_in_thread(news, 30, NAME)
    asyncio.run(engine._wait_in_loop(news, 30))


async def blocking_wait(news):
    engine._wait_in_thread(news, 0, NAME)


# -- verdicts --------------------------------------------------------------------------------


@pytest.fixture
def said(clock, events):
    return Verdicts("Service", NAME, clock=clock, chance=lambda: 0.0, observers=[events])


def test_late_answers_say_nothing_new(said, clock, events):
    a, b = object(), object()
    began = clock.now
    clock.advance(1)
    said.accepted(a, 2, clock.now, ())
    said.refused(b, 2, began)
    assert not said.is_refused(2), "it was accepted since"
    clock.advance(1)
    said.refused(b, 2, clock.now)
    said.accepted(a, 2, began, ())
    assert said.is_refused(2), "it was refused since"
    said.refused(a, 2, began)
    assert [event.pause for event in events.of(VersionRefused)] == [1], "of one moment, one counts"


def test_a_search_or_a_probe_that_hangs_is_anothers_after_a_while(said, clock):
    a, b = object(), object()
    said.refused(a, 2, clock.now)
    assert said.lead(a, 5) == 0
    assert said.lead(b, 5) is None
    clock.advance(2)
    assert said.choose(a, 2, ()) == 2
    assert said.choose(b, 2, ()) is None
    clock.advance(CLAIM)
    assert said.lead(b, 5) == 0
    assert said.choose(b, 2, ()) == 2
    said.release(a)
    assert said.lead(a, 5) is None, "the one that hung frees only its own"


def test_verdicts_on_few_versions_are_kept(said, clock):
    for number in range(1, 40):
        said.accepted(object(), number, clock.now, ())
    assert repr(said) == f"<Verdicts on {REMEMBERED} versions of {NAME}>"


# promise 16
def test_in_a_child_verdicts_stay_and_the_parents_search_does_not(said, clock):
    a, b = object(), object()
    said.refused(a, 2, clock.now)
    said.lead(a, 5)
    said.renew_after_fork()
    assert said.is_refused(2)
    assert said.lead(b, 5) == 0


def test_copies_of_a_provider_share_their_verdicts(secrets):
    import copy

    assert copy.deepcopy(secrets.key).verdicts is secrets.key.verdicts


def test_the_pauses_are_jittered(clock):
    said = Verdicts("Service", NAME, clock=clock, chance=lambda: 1.0)
    said.refused(object(), 2, clock.now)
    assert said.due_in(2) == pauses.SHORTEST_PAUSE * 1.25
    said.note_look()
    assert said.lead(object(), 9) == verdicts.SHORTEST_LOOK


# -- secrecy and logs ------------------------------------------------------------------------


# promise 15
def test_no_event_line_or_traceback_holds_a_value(source, make, events, caplog, waits):
    source.add(NAME, "canary-old-5d1e")
    source.add(NAME, "canary-new-77aa")
    secrets = make(Service, observers=[events, LoggingObserver()])
    peer = Peer("canary-old-5d1e")
    with caplog.at_level(logging.DEBUG):
        in_threads(secrets.key, peer)()
        peer.accepted = set()
        with pytest.raises(Unauthorized) as caught:
            rotation_retry(secrets.key, on=Unauthorized, budget=1)(refuse)()
    told = caplog.text + repr(events) + "".join(str(vars(record)) for record in caplog.records)
    assert f"{NAME} version 2 was refused. Tried again in 1.0 s at the earliest" in caplog.text
    assert f"{NAME} version 1 is accepted, and 2 is not" in caplog.text
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [str(frame.locals) for frame in trace.stack if "pgp_config" in frame.filename]
    assert ours
    assert "canary" not in told + "".join(ours)


def test_of_a_version_that_does_not_rest_no_pause_is_told(source, make, caplog):
    source.add(NAME, "k1")
    secrets = make(Service, observers=[LoggingObserver()])
    call = in_threads(secrets.key, Peer(), budget=0, previous=False)
    for _ in range(2):
        with pytest.raises(Unauthorized):
            call()
    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert lines == [f"{NAME} version 1 was refused"] * len(lines)
    assert lines


def refuse(_key):
    del _key
    raise Unauthorized


def test_the_default_observers_are_as_they_were():
    assert default_observers
