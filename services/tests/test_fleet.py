"""What the common settings do: the level of the log, the label of its lines, and alerts."""

import logging

import pytest

from pgp_config import DynamicSecret, Memory, SecretContainer
from pgp_services.fleet import UNKNOWN_CONDUCT, Conduct, Operations, log_to_stderr, logger


@pytest.fixture
def operations(given):
    return Operations(given("staging"), given("INFO"), given(True))


def test_the_settings_are_those_that_the_request_sees(operations):
    assert operations.conduct() == Conduct("staging", "INFO", alerting=True)
    operations.log_level.value = "DEBUG"
    assert operations.conduct().log_level == "DEBUG"


async def test_and_from_a_coroutine(operations):
    assert await operations.conduct_async() == operations.conduct()


def test_the_level_follows_the_setting_and_is_set_only_when_it_changed(operations, monkeypatch):
    operations.conduct().applied()
    assert logger.level == logging.INFO
    assert logging.getLogger("pgp_config").level == logging.INFO
    set_again = []
    monkeypatch.setattr(logging.Logger, "setLevel", lambda *given: set_again.append(given))
    operations.conduct().applied()
    assert set_again == []


@pytest.mark.parametrize(
    ("alerting", "status", "level"),
    [(True, 503, "ERROR"), (False, 503, "WARNING"), (True, 401, "INFO"), (False, 200, "INFO")],
)
def test_only_failures_that_are_not_the_callers_alert(caplog, alerting, status, level):
    Conduct("prod", "INFO", alerting=alerting).applied().report("PGP_X_v1", status, "what")
    assert [record.levelname for record in caplog.records] == [level]
    assert caplog.messages == [f"PGP_X_v1 (prod) answered {status}: what"]


@pytest.mark.parametrize(("alerting", "level"), [(True, "ERROR"), (False, "WARNING")])
def test_a_task_that_will_never_succeed_alerts(caplog, alerting, level):
    conduct = Conduct("prod", "INFO", alerting=alerting).applied()
    told = conduct.report("PGP_X_v1", 401, "what", of_a_task=True)
    assert [record.levelname for record in caplog.records] == [level]
    assert told == ("PGP_X_v1 (prod): what" if alerting else None)
    assert conduct.report("PGP_X_v1", 200, "what", of_a_task=True) is None


def test_failures_alert_when_the_settings_are_unknown(caplog):
    UNKNOWN_CONDUCT.report("PGP_X_v1", 503, "what")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_logs_go_to_stderr_unless_somebody_else_cares(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    log_to_stderr()
    log_to_stderr()
    assert [type(handler) for handler in root.handlers] == [logging.StreamHandler]


class Notes(SecretContainer):
    key = DynamicSecret("NOTES_KEY")


def test_what_other_libraries_log_shows_no_value(caplog):
    log_to_stderr()
    secrets = Notes(source=Memory({"NOTES_KEY": "canary-of-notes"}))
    secrets.load()
    logging.getLogger("elsewhere").error("sent %s", secrets.key().get_secret_value())
    secrets.close()
    assert caplog.messages == ["sent [NOTES_KEY]"]


@pytest.mark.parametrize(
    ("before", "after"), [(logging.NOTSET, logging.ERROR), (logging.INFO,) * 2]
)
def test_retries_are_told_by_us_alone_unless_somebody_wants_to_know(before, after):
    retries = logging.getLogger("stamina")
    retries.setLevel(before)
    log_to_stderr()
    assert retries.level == after
