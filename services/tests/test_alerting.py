"""Alerts in Slack: told once a minute and reason, whatever fails, and never with the webhook in a text."""

import asyncio
import logging
import threading

import pytest

from pgp_config import DeclarationError, Memory, request_scope
from pgp_services import catalogue
from pgp_services.alerting import (
    INTERVAL,
    MAX_REASONS,
    PAUSE,
    POLICY,
    Alerting,
    SlackTeller,
    alerts_from,
)
from pgp_services.lookalikes.http import Fault
from pgp_services.lookalikes.slack import SlackServer
from pgp_services.names import Service
from pgp_services.serving import fastapi_app, flask_app
from pgp_services.settings import Settings


@pytest.fixture
def slack(key):
    with SlackServer(key) as server:
        yield server


@pytest.fixture
def source(slack, key):
    return Memory({"SLACK_WEBHOOK_URL": slack.webhook(key)})


@pytest.fixture
def teller(source, clock):
    teller = SlackTeller(Alerting(source=source), clock)
    yield teller
    teller.close()


@pytest.fixture(params=[False, True], ids=["threads", "coroutines"])
def tell(request, teller):
    if not request.param:
        yield teller.send
        return
    with asyncio.Runner() as runner:
        yield lambda text: runner.run(teller.send_async(text))
        runner.run(teller.aclose())


def test_a_reason_is_told_once_a_minute(tell, slack, clock):
    for text in ("a failed", "a failed", "b failed"):
        tell(text)
    assert slack.messages == ["a failed", "b failed"]
    clock.now += INTERVAL - 1
    tell("a failed")
    assert len(slack.messages) == 2
    clock.now += 1
    tell("a failed")
    assert slack.messages[2:] == ["a failed"]


def test_a_flood_of_reasons_is_bounded(teller, clock, monkeypatch):
    told = []
    monkeypatch.setattr(teller._slack, "alert", told.append)
    for number in range(MAX_REASONS + 50):
        teller.send(f"{number} failed")
    assert len(told) == MAX_REASONS
    clock.now += INTERVAL
    teller.send("later")
    assert told[-1] == "later"


def test_of_many_threads_with_one_reason_one_tells(teller, slack):
    start = threading.Barrier(8)

    def send():
        start.wait(30)
        teller.send("a failed")

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert slack.messages == ["a failed"]


def test_a_failure_is_logged_once_and_raises_nothing(tell, slack, clock, caplog, key):
    for number in range(3):
        slack.fail(Fault(400))
        tell(f"{number} failed")
    assert caplog.messages == ["alerts do not reach Slack: SlackRefused"]
    tell("works again")
    slack.fail(Fault(400))
    tell("and not")
    assert len(caplog.messages) == 2
    assert key not in caplog.text
    assert slack.messages == ["works again"]


def test_a_reason_that_was_not_told_is_told_soon(tell, slack, clock):
    """Old fault: an alert that Slack did not take hushed its reason for a minute."""
    slack.fail(Fault(400))
    tell("a failed")
    tell("a failed")
    clock.now += PAUSE - 1
    tell("a failed")
    assert (len(slack.seen), slack.messages) == (1, [])
    clock.now += 1
    tell("a failed")
    assert slack.messages == ["a failed"]
    clock.now += INTERVAL - 1
    tell("a failed")
    assert len(slack.messages) == 1


def test_a_webhook_that_is_replaced_is_used_at_once(tell, slack, source, new_key):
    tell("a failed")
    newer = new_key()
    slack.rotate(newer, lambda: source.add("SLACK_WEBHOOK_URL", slack.webhook(newer)))
    tell("b failed")
    assert slack.messages == ["a failed", "b failed"]


def test_a_webhook_that_is_none_fails_like_anything_else(clock, caplog):
    teller = SlackTeller(Alerting(source=Memory({"SLACK_WEBHOOK_URL": "https://CANARY.example/"})))
    teller.send("a failed")
    teller.close()
    assert caplog.messages == ["alerts do not reach Slack: SlackRefused"]
    assert "CANARY" not in caplog.text


def test_a_child_process_tells_for_itself(teller, slack, in_child):
    teller.send("a failed")

    def child():
        teller.send("a failed")
        teller.send("a failed")
        return "told"

    assert in_child(child) == "told"
    assert slack.messages == ["a failed", "a failed"]


def test_a_request_does_not_wait_long():
    assert POLICY.budget <= 2.0
    assert POLICY.retries == 1


# -- from the settings ---------------------------------------------------------------------------


def test_without_a_source_nobody_is_told():
    assert alerts_from(None) is None


def test_a_source_that_is_none_is_a_fault_of_the_settings():
    with pytest.raises(DeclarationError):
        alerts_from("CANARY")


def test_the_source_has_the_webhook(monkeypatch, slack, key):
    monkeypatch.setenv("SLACK_WEBHOOK_URL", slack.webhook(key))
    teller = alerts_from("env:")
    teller.send("a failed")
    teller.close()
    assert slack.messages == ["a failed"]


def test_a_webhook_that_cannot_be_read_does_not_stop_the_start(monkeypatch, caplog, slack, key):
    monkeypatch.delenv("SLACK_WEBHOOK_URL", raising=False)
    teller = alerts_from("env:")
    assert "alerts cannot be told yet" in caplog.text
    monkeypatch.setenv("SLACK_WEBHOOK_URL", slack.webhook(key))
    teller.send("a failed")
    teller.close()


def test_the_one_secret_of_alerts_is_used_and_no_service_has_it(source):
    container = Alerting(source=source)
    assert container.check() == []
    container.close()
    other = {"changenow": catalogue.CHANGENOW_API_KEY.secret()}
    with pytest.raises(DeclarationError, match="CHANGENOW_API_KEY"):
        type("Curious", (Alerting,), other)


# -- through an application ----------------------------------------------------------------------


@pytest.fixture
def alerting(monkeypatch, slack, key):
    monkeypatch.setenv("SLACK_WEBHOOK_URL", slack.webhook(key))
    return Settings(alerts_source="env:")


def test_a_failing_request_is_told_while_alerting_is_enabled(
    container_of, alerting, slack, caplog
):
    caplog.set_level(logging.INFO)
    secrets, source = container_of(Service.WEB, settings=alerting)
    client = flask_app.create_app(Service.WEB, secrets).test_client()
    with request_scope(values={"PGP_SUCCESS_URL": "no url"}):
        assert client.get("/").status_code == 503
    (message,) = slack.messages
    assert message.startswith("PGP_WEB_v1 (staging): RejectedVersion: ")
    source.add("ALERTING_ENABLED", "false")
    with request_scope(values={"PGP_FAILURE_URL": "no url"}):
        assert client.get("/config.json").status_code == 503
    assert len(slack.messages) == 1
    secrets.alerts().close()


def test_and_from_a_coroutine(container_of, alerting, slack):
    from fastapi.testclient import TestClient

    secrets, _ = container_of(Service.WEB, settings=alerting)
    secrets.handler().routes = list
    with TestClient(fastapi_app.create_app(Service.WEB, secrets)) as client:
        assert client.get("/").status_code == 404
    assert slack.messages == []
