"""The PostgreSQL of one's own: real, private, and gone afterwards."""

import secrets

import psycopg
import pytest

from pgp_services.lookalikes import postgres as module
from pgp_services.lookalikes.postgres import (
    LocalPostgres,
    PostgresError,
    PostgresMissingError,
    find_programs,
)


@pytest.fixture
def role(postgres):
    name, password = "local 'role\"", f"canary'{secrets.token_hex(8)}"
    postgres.create_role(name, password)
    yield name, password
    postgres.end_sessions(name)
    postgres.execute('DROP ROLE "local \'role"""')


def connect(server, role, password):
    return psycopg.connect(
        host=server.host,
        port=server.port,
        dbname=server.database,
        user=role,
        password=password,
        connect_timeout=10,
    )


def test_a_role_logs_in_with_its_password_and_with_no_other(postgres, role):
    name, password = role
    with connect(postgres, name, password) as connection:
        assert connection.execute("SELECT session_user").fetchone() == (name,)
        assert postgres.sessions() == {name: 1}
        postgres.alter_password(name, "another")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(postgres, name, password)
    connect(postgres, name, "another").close()


def test_the_superuser_needs_a_password_too(postgres):
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect(postgres, "postgres", "guess")


def test_a_role_that_is_a_member_owns_what_it_creates_as_the_group(postgres):
    postgres.create_role("local_group")
    postgres.create_role("local_member", "p", member_of="local_group")
    postgres.execute("GRANT CREATE ON SCHEMA public TO local_group")
    with connect(postgres, "local_member", "p") as connection:
        connection.execute("CREATE TABLE local_orders ()")
    owner = postgres.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'local_orders'")
    assert owner == ["local_group"]
    postgres.execute(
        "DROP TABLE local_orders; DROP OWNED BY local_group; "
        "DROP ROLE local_member; DROP ROLE local_group"
    )


def test_ended_sessions_have_to_log_in_again(postgres, role):
    connection = connect(postgres, *role)
    postgres.end_sessions(role[0])
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def test_it_stops_starts_again_and_leaves_nothing_behind(postgres):
    with LocalPostgres("other") as server:
        folder = server._folder
        server.execute("CREATE TABLE kept (it int)")
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            connect(server, "postgres", "x")
        server.start()
        assert server.execute("SELECT count(*) FROM kept") == ["0"]
    assert not folder.exists()


def test_what_fails_is_told_without_a_password(postgres):
    with pytest.raises(PostgresError, match="psql failed") as caught:
        postgres.execute("SELECT nonsense")
    assert postgres._password not in str(caught.value)


def test_a_port_that_somebody_took_is_changed_for_another(postgres, monkeypatch):
    ports = iter([postgres.port, module._free_port()])
    monkeypatch.setattr(module, "_free_port", lambda: next(ports))
    with LocalPostgres() as server:
        assert server.port != postgres.port


def test_a_server_that_does_not_start_leaves_nothing_behind(postgres, monkeypatch):
    monkeypatch.setattr(module, "_free_port", lambda: postgres.port)
    server = LocalPostgres()
    with pytest.raises(PostgresError, match="pg_ctl failed"), server:
        pass
    assert not server._folder.exists()


def test_where_it_is_missing_the_error_names_the_package(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda program: None)
    monkeypatch.setattr(module, "_PLACES", ())
    assert find_programs() is None
    with pytest.raises(PostgresMissingError, match="apt-get install postgresql"), LocalPostgres():
        pass


def test_the_newest_one_is_found(monkeypatch, tmp_path):
    for version in ("9.6", "17", "15"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        (folder / "pg_ctl").touch()
    monkeypatch.setattr(module.shutil, "which", lambda program: None)
    monkeypatch.setattr(module, "_PLACES", (f"{tmp_path}/*/bin"[1:],))
    assert find_programs() == tmp_path / "17" / "bin"


def test_only_root_runs_it_as_somebody_else(monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    assert module._account() is None
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    assert module._account() in {"postgres", "nobody"}
