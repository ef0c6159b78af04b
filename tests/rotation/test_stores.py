"""One contract over all uptake stores."""

import sqlite3
import stat

import pytest
import redis as redis_library

from pgp_config import DeclarationError
from pgp_config.uptake.base import MemoryUptake, UptakeStore
from pgp_config.uptake.entries import Entry
from pgp_config.uptake.sqlite import SqliteUptake, default_file
from pgp_config.uptake.urls import store_from_url

CANARY = "canary-7f3a"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def made(request, tmp_path):
    if request.param == "memory":
        yield store_from_url("memory:")
        return
    if request.param == "sqlite":
        yield store_from_url(f"sqlite:///{tmp_path}/uptake.sqlite3")
        return
    found = store_from_url(request.getfixturevalue("redis_url"))
    yield found
    found.close()


def test_it_is_a_store(made):
    assert isinstance(made, UptakeStore)
    assert CANARY not in repr(made)


def test_what_is_reported_is_read_and_replaced(made, entry):
    made.report([entry("a"), entry("b", version=2), entry("a", secret="OTHER")])
    made.report([entry("a", version=3, in_use=(2, 3), refused=(4,), failing=True, read_ago=None)])
    found = {each.entry.instance: each.entry for each in made.read("KEY")}
    assert found["a"] == entry(
        "a", version=3, in_use=(2, 3), refused=(4,), failing=True, read_ago=None
    )
    assert found["b"] == entry("b", version=2)
    assert [each.entry.secret for each in made.read("OTHER")] == ["OTHER"]
    assert made.read("NOBODY") == []


def test_an_entry_has_an_age_by_the_stores_own_clock(made, entry):
    made.report([entry("a")])
    (found,) = made.read("KEY")
    assert 0 <= found.ago < 60


def test_who_leaves_is_forgotten_and_the_others_are_not(made, entry):
    made.report([entry("a"), entry("a", secret="OTHER"), entry("b")])
    made.leave("a", ["KEY", "OTHER", "NEVER"])
    assert [each.entry.instance for each in made.read("KEY")] == ["b"]
    assert made.read("OTHER") == []


def test_it_can_be_used_again_after_close(made, entry):
    made.report([entry("a")])
    made.close()
    assert len(made.read("KEY")) == 1


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_entries_expire_and_a_repeated_one_begins_anew(kind, clock, tmp_path, entry):
    made = MemoryUptake(clock) if kind == "memory" else SqliteUptake(tmp_path / "x", clock=clock)
    made.report([entry("a", ttl=60.0), entry("b", ttl=100.0)])
    clock.advance(59)
    made.report([entry("c", ttl=60.0)])
    assert {(e.entry.instance, e.ago) for e in made.read("KEY")} == {
        ("a", 59),
        ("b", 59),
        ("c", 0),
    }
    clock.advance(1)
    assert {e.entry.instance for e in made.read("KEY")} == {"b", "c"}
    made.report([entry("a", ttl=60.0)])
    clock.advance(59.5)
    assert {e.entry.instance for e in made.read("KEY")} == {"a"}


def test_redis_forgets_what_has_expired_by_its_own_clock(redis_url, redis_server, entry):
    made = store_from_url(redis_url)
    made.report([entry("short", ttl=0.001), entry("long", ttl=60.0)])
    made.report([entry("other", ttl=60.0)])
    client = redis_library.Redis.from_url(redis_server)
    while len(made.read("KEY")) > 2:  # a millisecond of another process's clock
        pass
    stem = made._keys("KEY")
    assert client.zcard(stem[0]) == client.hlen(stem[1]) == 2
    assert 50_000 < client.pttl(stem[1]) <= 60_000
    client.close()
    made.close()


def test_what_was_written_before_the_machine_was_started_is_gone(clock, tmp_path, entry):
    made = SqliteUptake(tmp_path / "x", clock=clock)
    made.report([entry("a")])
    clock.now = 5.0  # the clock of the machine began anew
    assert made.read("KEY") == []
    made.report([entry("b")])
    clock.now = 2000.0
    assert [each.entry.instance for each in made.read("KEY")] == ["b"]


def test_reports_that_come_together_do_not_delete_one_another(tmp_path, monkeypatch, entry):
    """The first has taken the time, and then has to wait for the second: in the past that lost the second's."""
    monkeypatch.setattr("pgp_config.uptake.sqlite.PATIENCE", 0)
    second = SqliteUptake(tmp_path / "x", clock=lambda: 11.0)
    refused = []

    def while_the_second_reports():
        try:
            second.report([entry("b")])
        except sqlite3.OperationalError:  # it waits; the reporter tries again
            refused.append(True)
        return 10.0

    SqliteUptake(tmp_path / "x", clock=while_the_second_reports).report([entry("a")])
    if refused:
        second.report([entry("b")])
    assert {each.entry.instance for each in second.read("KEY")} == {"a", "b"}


def test_a_report_that_comes_while_it_is_read_hides_no_entry(tmp_path, entry):
    SqliteUptake(tmp_path / "x", clock=lambda: 5.0).report([entry("a")])
    writing = SqliteUptake(tmp_path / "x", clock=lambda: 11.0)

    def while_it_is_replaced():
        writing.report([entry("a", version=2)])
        return 10.0

    (found,) = SqliteUptake(tmp_path / "x", clock=while_it_is_replaced).read("KEY")
    assert (found.entry.version, found.ago) == (entry().version, 5.0)


def test_namespaces_keep_apart(tmp_path, redis_server, entry):
    for base in (f"sqlite:///{tmp_path}/x", redis_server):
        live, staging = (
            store_from_url(f"{base}?namespace={n}-apart") for n in ("live", "staging")
        )
        live.report([entry("a")])
        assert (len(live.read("KEY")), staging.read("KEY")) == (1, [])
        live.close()
        staging.close()


def test_sqlite_alone_is_a_file_of_this_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_file() == tmp_path / "pgp-config" / "uptake.sqlite3"
    made = store_from_url("sqlite:")
    assert made.read("KEY") == []
    assert stat.S_ISREG(default_file().stat().st_mode)
    assert repr(made) == f"SqliteUptake('{default_file()}')"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_file().parts[-4:] == (".local", "state", "pgp-config", "uptake.sqlite3")


def test_only_the_file_is_made_and_not_its_folder(tmp_path):
    folder = tmp_path / f"new-{CANARY}"
    with pytest.raises(
        DeclarationError, match=r"in a folder that is not there\. Make the folder"
    ) as caught:
        store_from_url(f"sqlite:///{folder}/uptake.db")
    assert CANARY not in str(caught.value)
    assert not folder.exists()
    with pytest.raises(sqlite3.OperationalError):
        SqliteUptake(folder / "uptake.db").read("KEY")
    assert not folder.exists()


def test_four_slashes_mean_the_same_as_three(tmp_path):
    three, four = (store_from_url(f"sqlite:{slashes}{tmp_path}/x") for slashes in ("//", "///"))
    assert repr(three) == repr(four)


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{CANARY}@host",
        f"sqlite://user:{CANARY}@host/file",
        f"sqlite:///file?key={CANARY}",
        f"memory:{CANARY}",
        f"redis://user:{CANARY}@host/0?socket_timeout={CANARY}",
        f"redis://user:{CANARY}@[host/0",
        CANARY,
        "",
    ],
)
def test_no_error_of_a_url_shows_more_than_its_scheme(url):
    with pytest.raises(DeclarationError) as caught:
        store_from_url(url)
    error = caught.value
    assert CANARY not in str(error)
    assert error.__cause__ is None
    assert "Write redis://" in str(error)


def test_without_redis_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pgp_config.uptake.over_redis", None)
    with pytest.raises(DeclarationError, match=r"pip install 'pgp-config\[redis\]'"):
        store_from_url(f"redis://user:{CANARY}@host")


def test_redis_bounds_its_own_time():
    made = store_from_url(f"redis://user:{CANARY}@127.0.0.1:1/0")
    options = made._redis.connection_pool.connection_kwargs
    assert options["socket_timeout"] == options["socket_connect_timeout"] == 1.0
    assert CANARY not in repr(made)
    made.close()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"service": 7}', "7"])
def test_an_entry_of_another_form_is_an_error_without_it(text):
    with pytest.raises(ValueError, match=r"form|Expecting|property"):
        Entry.from_json(text)


def test_what_a_later_release_has_added_is_left_out(entry):
    text = entry().to_json().replace("{", '{"later":1,', 1)
    assert Entry.from_json(text) == entry()
