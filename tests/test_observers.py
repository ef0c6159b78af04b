"""Events reach their observers, and the log has one line a change."""

import inspect
import logging

import pytest

from pgp_config import (
    DynamicSecret,
    LoggingObserver,
    RejectedVersion,
    SecretContainer,
    SecretUnavailable,
)
from pgp_config.cache import Cache
from pgp_config.events import (
    Announced,
    BuildFailed,
    Built,
    CloseFailed,
    Fetched,
    FetchFailed,
    LatestDisabled,
    Loaded,
    Rebuilt,
    Reloaded,
    ServedStale,
    StaticAnnounced,
    StaticReadRefused,
    VersionRejected,
    notify,
)
from pgp_config.observers.otel import OpenTelemetryObserver
from pgp_config.observers.otel_spans import OpenTelemetrySpans
from pgp_config.observing import FetchObserver, FiguresObserver, Measurable
from pgp_config.payload import DamagedVersion

ERROR = SecretUnavailable("is down", remedy="Wait.", secret="KEY", container="Split2")


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        (Loaded("Split2", "KEY", 7), "INFO", "Loaded KEY version 7"),
        (Reloaded("Split2", "KEY", 7, 8), "INFO", "Hot-reloaded KEY version 7 -> 8"),
        (
            FetchFailed("Split2", "KEY", ERROR, 2.0),
            "WARNING",
            (
                "Could not fetch KEY in Split2: is down. Wait. Asked again in 2.0 s at the earliest. "
                "(pgp-config explain SecretUnavailable)"
            ),
        ),
        (
            FetchFailed("Split2", "KEY", RejectedVersion("is bad", remedy="Add one."), 1.1),
            "WARNING",
            "Could not fetch KEY in Split2: the version that there is was rejected. A newer one is looked for in 1.1 s at the earliest.",
        ),
        (
            FetchFailed("Split2", "KEY", DamagedVersion("is damaged", secret="KEY"), 1.1),
            "WARNING",
            "Could not fetch KEY: is damaged. Asked again in 1.1 s at the earliest. (pgp-config explain RejectedVersion)",
        ),
        (
            ServedStale("Split2", "KEY", 7, 61.4),
            "WARNING",
            "Served stale KEY version 7, confirmed 61 s ago",
        ),
        (
            LatestDisabled("Split2", "KEY", 7),
            "WARNING",
            "The newest version of KEY is disabled: version 7 is served",
        ),
        (
            VersionRejected("Split2", "KEY", 8, ERROR),
            "ERROR",
            "Rejected a version: KEY in Split2: is down. Wait. (pgp-config explain SecretUnavailable)",
        ),
        (
            StaticAnnounced("Split2", "KEY", 8),
            "INFO",
            "KEY has a version 8; it is static, and read at the next start",
        ),
        (
            StaticReadRefused("Split2", "KEY"),
            "ERROR",
            "Refused to fetch the static secret KEY: a scope was open",
        ),
        (
            Announced("Split2", "KEY", 8, "SECRET_VERSION_ADD"),
            "DEBUG",
            "Heard of KEY version 8: SECRET_VERSION_ADD",
        ),
        (
            Announced("Split2", "KEY", None, "SECRET_DELETE"),
            "DEBUG",
            "Heard of KEY: SECRET_DELETE",
        ),
        (
            Built("Split2", "KEY", "engine", {"KEY": 7, "URL": 2}),
            "INFO",
            "Built engine from KEY version 7, URL version 2",
        ),
        (
            Rebuilt("Split2", "KEY", "engine", {"KEY": 7}, {"KEY": 8}),
            "INFO",
            "Rebuilt engine: KEY version 7 -> KEY version 8",
        ),
        (
            BuildFailed("Split2", "KEY", "engine", {"KEY": 8}, "OperationalError", 2.0),
            "ERROR",
            "Could not build engine from KEY version 8: OperationalError. "  # noqa: ISC004  one text
            "Tried again in 2.0 s at the earliest.",
        ),
        (
            CloseFailed("Split2", "KEY", "engine", {"KEY": 7}, "TimeoutError"),
            "WARNING",
            "Could not close engine of KEY version 7: TimeoutError.",
        ),
    ],
)
def test_the_log_has_a_line_for_what_a_person_should_see(caplog, event, level, line):
    with caplog.at_level(logging.DEBUG, "pgp_config"):
        LoggingObserver()(event)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (level, line)
    assert record.pgp_config_event == type(event).__name__
    assert record.pgp_config_secret == "KEY"


def test_a_fetch_that_went_well_and_a_level_that_is_off_have_no_line(caplog):
    with caplog.at_level(logging.DEBUG, "pgp_config"):
        LoggingObserver()(Fetched("Split2", "KEY", 7, 0.1))
    with caplog.at_level(logging.ERROR, "pgp_config"):
        LoggingObserver()(Loaded("Split2", "KEY", 7))
    assert caplog.records == []


def test_a_stale_secret_is_logged_once_in_a_while_and_each_for_itself(caplog, clock):
    observer = LoggingObserver(clock=clock)
    with caplog.at_level(logging.WARNING, "pgp_config"):
        for _ in range(100):
            observer(ServedStale("Split2", "KEY", 7, 10.0))
            observer(ServedStale("Split2", "OTHER", 7, 10.0))
        clock.advance(30)
        observer(ServedStale("Split2", "KEY", 7, 40.0))
    assert [record.pgp_config_secret for record in caplog.records] == ["KEY", "OTHER", "KEY"]


def test_a_container_logs_by_default(caplog, source, clock):
    class Split2(SecretContainer):
        key = DynamicSecret("LOGGED_KEY")

    source.add("LOGGED_KEY", "v1")
    with caplog.at_level(logging.INFO, "pgp_config"):
        secrets = Split2(source=source, clock=clock)
        secrets.load()
        source.add("LOGGED_KEY", "v2")
        clock.advance(6)
        secrets.key()
        secrets.close()
    assert caplog.messages == [
        "Loaded LOGGED_KEY version 1",
        "Hot-reloaded LOGGED_KEY version 1 -> 2",
    ]


def test_an_observer_that_fails_disturbs_nobody(caplog):
    seen = []

    def broken(event):
        raise RuntimeError

    notify([broken, seen.append], Loaded("Split2", "KEY", 7))
    assert seen == [Loaded("Split2", "KEY", 7)]
    assert "An observer failed on Loaded" in caplog.text


@pytest.mark.parametrize(
    ("protocol", "kept_by"),
    [
        (Measurable, Cache),
        (FiguresObserver, OpenTelemetryObserver),
        (FetchObserver, OpenTelemetrySpans),
    ],
)
def test_what_an_observer_may_do_is_written_down_as_it_is_done(protocol, kept_by):
    """Nothing imports the protocols when it runs; who writes an observer goes by them."""
    methods = {n: f for n, f in vars(protocol).items() if inspect.isfunction(f) and n[0] != "_"}
    assert methods
    for name, method in methods.items():
        wanted = [(p.name, p.kind.name) for p in inspect.signature(method).parameters.values()]
        done = inspect.signature(getattr(kept_by, name)).parameters.values()
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        assert len(wanted) == len(done)
        for (parameter, kind), ours in zip(wanted, done, strict=True):
            if kind == "POSITIONAL_ONLY":
                assert ours.kind in positional
            else:
                assert (ours.name, ours.kind.name) == (parameter, kind)
