"""A real PostgreSQL whose password is rotated under load: no query fails, and no pool is left open."""

import asyncio
import json
import secrets as tokens
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout
from pydantic import BaseModel, SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from pgp_config import DynamicSecret, Freshness, Memory, PerVersion, SecretContainer, request_scope
from pgp_config.events import BuildFailed, CloseFailed, Rebuilt

ROLES = ("app_a", "app_b")
WORKERS = 6


class Database(BaseModel):
    """One JSON secret: what belongs together rotates together."""

    host: str
    port: int
    name: str
    user: str
    password: SecretStr

    def url(self):
        return sqlalchemy.URL.create(
            "postgresql+psycopg",
            username=self.user,
            password=self.password.get_secret_value(),
            host=self.host,
            port=self.port,
            database=self.name,
        )

    def arguments(self):
        return {
            "host": self.host,
            "port": self.port,
            "dbname": self.name,
            "user": self.user,
            "password": self.password.get_secret_value(),
        }


# As few warm sessions as can be: nearly every query needs a new one, with the password of now.
def make_engine(database):
    return sqlalchemy.create_engine(database.url(), pool_size=1, max_overflow=WORKERS)


def can_connect(engine):
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))


def make_pool(database):
    return ConnectionPool(
        kwargs=database.arguments(), min_size=1, max_size=WORKERS, max_idle=0.1, open=True
    )


def has_connected(pool):
    pool.wait(1.5)


async def make_async_engine(database):
    return create_async_engine(database.url(), pool_size=1, max_overflow=WORKERS)


async def can_connect_async(engine):
    async with engine.connect() as connection:
        await connection.execute(sqlalchemy.text("SELECT 1"))


async def make_async_pool(database):
    pool = AsyncConnectionPool(
        kwargs=database.arguments(), min_size=1, max_size=WORKERS, max_idle=0.1, open=False
    )
    await pool.open()
    return pool


async def has_connected_async(pool):
    await pool.wait(1.5)


class Orders(SecretContainer):
    database = DynamicSecret("DATABASE", Database, freshness=Freshness(max_age=0.05))

    engine = PerVersion(make_engine, database, probe=can_connect)
    pool = PerVersion(make_pool, database, probe=has_connected)
    async_engine = PerVersion(make_async_engine, database, probe=can_connect_async)
    async_pool = PerVersion(make_async_pool, database, probe=has_connected_async)


class Rotation:
    """The operator: changes passwords in the database first, then in the store."""

    def __init__(self, server):
        self.server = server
        self.source = Memory()
        self.passwords = {}
        self.store(ROLES[0])

    def change(self, role):
        self.passwords[role] = tokens.token_urlsafe(24)
        self.server.alter_password(role, self.passwords[role])

    def store(self, role):
        if role not in self.passwords:
            self.change(role)
        content = {
            "host": self.server.host,
            "port": self.server.port,
            "name": self.server.database,
            "user": role,
            "password": self.passwords[role],
        }
        return self.source.add("DATABASE", json.dumps(content))

    def next_role(self, number):
        """The role that nobody uses gets a new password, and is the one to use from now on."""
        role = ROLES[number % 2]
        self.change(role)
        return self.store(role)


@pytest.fixture
def rotation(postgres):
    postgres.create_role("app")
    for role in ROLES:
        postgres.create_role(role, tokens.token_urlsafe(24), member_of="app")
    yield Rotation(postgres)
    postgres.execute("DROP ROLE app_a; DROP ROLE app_b; DROP ROLE app")


class Events(list):
    def __call__(self, event):
        self.append(event)

    def of(self, kind):
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def orders(rotation, events):
    orders = Orders(source=rotation.source, observers=[events])
    orders.load()
    yield orders
    orders.close()


class Uptake:
    """Which version the queries of each worker have come to."""

    def __init__(self):
        self.queries = 0
        self.failed = False
        self._versions = dict.fromkeys(range(WORKERS), 0)
        self._changed = threading.Condition()

    def note(self, worker, version):
        with self._changed:
            self.queries += 1
            self._versions[worker] = version
            self._changed.notify_all()

    def fail(self):
        with self._changed:
            self.failed = True
            self._changed.notify_all()

    def wait_for(self, version):
        with self._changed:
            assert self._changed.wait_for(
                lambda: self.failed or min(self._versions.values()) >= version, 30
            )


def under_load(query, orders, rotate):
    """Run queries in threads while passwords rotate; any that fails, fails the test."""
    uptake, stop = Uptake(), threading.Event()

    def work(worker):
        try:
            while not stop.is_set():
                with request_scope():
                    query()
                    uptake.note(worker, orders.database.version())
        except BaseException:
            stop.set()
            uptake.fail()
            raise

    with ThreadPoolExecutor(WORKERS) as pool:
        workers = [pool.submit(work, number) for number in range(WORKERS)]
        try:
            rotate(uptake)
        finally:
            stop.set()
        for worker in workers:
            worker.result()
    return uptake


def query_engine(orders):
    with orders.engine().connect() as connection:
        return connection.scalar(sqlalchemy.text("SELECT session_user"))


def query_pool(orders):
    with orders.pool().connection() as connection:
        return connection.execute("SELECT session_user").fetchone()[0]


QUERIES = {"engine": query_engine, "pool": query_pool}


def assert_sessions(server, *, only=None):
    """A session ends a moment after its connection: each question takes such a moment."""
    for _ in range(200):
        seen = server.sessions()
        if set(seen) <= {only}:
            return
    raise AssertionError(f"there are sessions left: {seen}")


def assert_rotated(orders, rotation, events, rotations):
    """No trouble, and only the last pool is open: its role has sessions, the other one has none."""
    assert (events.of(BuildFailed), events.of(CloseFailed)) == ([], [])
    assert len(events.of(Rebuilt)) == rotations
    assert_sessions(rotation.server, only=orders.database().user)
    assert "password" not in " ".join(map(str, events))


# promise 17: the right way, two roles in turn
@pytest.mark.parametrize("kind", sorted(QUERIES))
def test_two_roles_in_turn_rotate_without_a_failed_query(orders, rotation, events, kind):
    rotations = 4

    def rotate(uptake):
        uptake.wait_for(1)
        for number in range(1, rotations + 1):
            uptake.wait_for(rotation.next_role(number))

    uptake = under_load(lambda: QUERIES[kind](orders), orders, rotate)
    assert uptake.queries > rotations * WORKERS
    assert_rotated(orders, rotation, events, rotations)


# promise 17
@pytest.mark.parametrize("kind", ["async_engine", "async_pool"])
async def test_two_roles_in_turn_rotate_without_a_failed_query_of_a_coroutine(
    orders, rotation, events, kind
):
    rotations, versions, stop = 4, dict.fromkeys(range(WORKERS), 0), asyncio.Event()
    changed = asyncio.Condition()

    async def query():
        made = await getattr(orders, kind).async_()
        if kind == "async_pool":
            async with made.connection() as connection:
                await connection.execute("SELECT 1")
        else:
            async with made.connect() as connection:
                await connection.execute(sqlalchemy.text("SELECT 1"))

    async def work(worker):
        while not stop.is_set():
            async with request_scope():
                await query()
                async with changed:
                    versions[worker] = orders.database.version()
                    changed.notify_all()

    async def uptake_of(version):
        async with changed:
            await changed.wait_for(lambda: min(versions.values()) >= version)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(work(number))
        await uptake_of(1)
        for number in range(1, rotations + 1):
            await uptake_of(await asyncio.to_thread(rotation.next_role, number))
        stop.set()
    await orders.aclose()
    assert (events.of(BuildFailed), events.of(CloseFailed)) == ([], [])
    assert len(events.of(Rebuilt)) == rotations
    assert_sessions(rotation.server)


# The window of one role: why two are needed
def test_one_role_refuses_new_sessions_until_the_store_has_the_new_password(orders, rotation):
    with request_scope(), orders.engine().connect() as warm:
        rotation.change(ROLES[0])
        assert warm.scalar(sqlalchemy.text("SELECT 1")) == 1  # a session that is open goes on
        with pytest.raises(
            sqlalchemy.exc.OperationalError, match="password authentication failed"
        ):
            orders.engine().connect()
    rotation.store(ROLES[0])
    assert orders.database.refresh() is True
    with request_scope():
        assert query_engine(orders) == ROLES[0]


# The other order is worse: the service has the new password before the database knows it
def test_the_store_first_is_refused_by_the_probe_and_the_old_pool_goes_on(
    orders, rotation, events
):
    with request_scope():
        old = orders.engine()
        assert query_engine(orders) == ROLES[0]
    rotation.passwords[ROLES[0]], password = "not yet", rotation.passwords[ROLES[0]]
    rotation.store(ROLES[0])
    assert orders.database.refresh() is True
    with request_scope():
        assert orders.engine() is old
        assert query_engine(orders) == ROLES[0]
    (failed,) = events.of(BuildFailed)
    assert (failed.reason, failed.versions) == ("OperationalError", {"DATABASE": 2})
    assert password not in str(events)
    assert "not yet" not in str(events)


def is_refused(error):
    # libpq says so in words only: a failed connection has no SQLSTATE.
    return "password authentication failed" in str(error)


def asking_again(orders, query):
    """For one role: after a refused log-in look again, and use what the store has by then."""
    for _ in range(1000):
        try:
            with request_scope():
                return query(orders)
        except sqlalchemy.exc.OperationalError as error:
            if not is_refused(error):
                raise
            orders.database.refresh()
    raise AssertionError("the store never had the new password")


# promise 17: one role, if there can be no second one
def test_one_role_rotates_without_a_failed_query_where_a_refused_one_is_asked_again(
    orders, rotation, events
):
    rotations = 4

    def rotate(uptake):
        uptake.wait_for(1)
        for _ in range(rotations):
            rotation.change(ROLES[0])
            uptake.wait_for(rotation.store(ROLES[0]))

    under_load(lambda: asking_again(orders, query_engine), orders, rotate)
    assert_rotated(orders, rotation, events, rotations)


# promise 17: a pool whose sessions are all warm
def test_one_role_rotates_without_a_failed_query_on_a_pool_that_keeps_its_sessions(
    rotation, events
):
    def make_warm(database):
        return ConnectionPool(
            kwargs=database.arguments(), min_size=WORKERS, max_size=WORKERS, open=True
        )

    class Warm(SecretContainer):
        database = DynamicSecret("DATABASE", Database, freshness=Freshness(max_age=0.05))
        pool = PerVersion(make_warm, database, probe=has_connected)

    warm = Warm(source=rotation.source, observers=[events])
    warm.load()

    def rotate(uptake):
        uptake.wait_for(1)
        for _ in range(4):
            rotation.change(ROLES[0])
            uptake.wait_for(rotation.store(ROLES[0]))

    try:
        under_load(lambda: query_pool(warm), warm, rotate)
    finally:
        warm.close()
    assert (events.of(BuildFailed), events.of(CloseFailed)) == ([], [])
    assert_sessions(rotation.server)


def test_the_old_pool_is_closed_after_the_last_query_on_it_and_not_before(orders, rotation):
    with request_scope(), orders.engine().connect() as connection:
        rotation.next_role(1)

        def other_request():
            with request_scope():
                orders.database.refresh()
                return query_engine(orders)

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(other_request).result(10) == ROLES[1]
        assert rotation.server.sessions()[ROLES[0]] >= 1
        assert connection.scalar(sqlalchemy.text("SELECT session_user")) == ROLES[0]
    assert_sessions(rotation.server, only=ROLES[1])


def test_a_pool_that_cannot_connect_is_closed_again(orders, rotation, events):
    with request_scope():
        assert query_pool(orders) == ROLES[0]
    rotation.passwords[ROLES[0]] = "wrong"
    rotation.store(ROLES[0])
    orders.database.refresh()
    with request_scope():
        assert query_pool(orders) == ROLES[0]
    (failed,) = events.of(BuildFailed)
    assert failed.reason == PoolTimeout.__name__


def test_the_password_that_was_replaced_is_refused(rotation):
    old = rotation.passwords[ROLES[0]]
    rotation.change(ROLES[0])
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host=rotation.server.host,
            port=rotation.server.port,
            dbname=rotation.server.database,
            user=ROLES[0],
            password=old,
        )
