"""Slack alerts: the webhook is the secret, and Slack's words are its answers."""

import asyncio

import pytest
from pydantic import SecretStr

from pgp_services.clients.retries import RetryPolicy
from pgp_services.clients.slack import LONGEST, POLICY, SlackAlerts, SlackRefused, SlackUnavailable
from pgp_services.lookalikes.http import Fault


@pytest.fixture
def alerts(slack_server, given, key):
    client = SlackAlerts(given(SecretStr(slack_server.webhook(key))))
    yield client
    client.close()


def test_an_alert_is_posted(alerts, slack_server):
    alerts.alert("PGP_SPLIT2_v1 answered 502")
    assert slack_server.messages == ["PGP_SPLIT2_v1 answered 502"]


def test_an_alert_from_a_coroutine(alerts, slack_server):
    async def go():
        await alerts.alert_async("down")
        await alerts.aclose()

    asyncio.run(go())
    assert slack_server.messages == ["down"]


def test_an_alert_mentions_nobody(alerts, slack_server):
    alerts.alert("<!channel> & <https://evil.example|click>")
    assert slack_server.messages == ["&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"]


def test_an_alert_is_shown_as_it_is(alerts, slack_server):
    alerts.alert("*bold* https://evil.example")
    assert slack_server.contents == [
        {
            "text": "*bold* https://evil.example",
            "mrkdwn": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }
    ]


def test_a_long_alert_is_cut(alerts, slack_server):
    for text in ("x" * LONGEST, "x" * (LONGEST + 1), "<" * 3_000_000):
        alerts.alert(text)
    whole, cut, escaped = slack_server.messages
    assert whole == "x" * 3000
    assert cut == "x" * 2999 + "…"
    assert escaped == "&lt;" * 2999 + "…"


def test_slow_down_is_heeded_once(alerts, slack_server):
    slack_server.fail(Fault(429, headers={"Retry-After": "1"}))
    alerts.alert("down")
    assert slack_server.messages == ["down"]
    slack_server.fail(*[Fault(429, headers={"Retry-After": "1"})] * 3)
    with pytest.raises(SlackUnavailable, match="429"):
        alerts.alert("down")
    assert [seen.status for seen in slack_server.seen] == [429, 200, 429, 429]


def test_slow_down_for_long_is_not_waited_for(alerts, slack_server):
    slack_server.fail(Fault(429, headers={"Retry-After": "30"}))
    with pytest.raises(SlackUnavailable) as caught:
        alerts.alert("down")
    assert caught.value.retry_after == 30
    assert POLICY.budget == 3.0


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, b"invalid_payload"),
        (400, b"user_not_found"),
        (403, b"action_prohibited"),
        (404, b"channel_not_found"),
        (404, b"no_service"),
        (410, b"channel_is_archived"),
        (200, b"nothing"),
    ],
)
def test_slacks_refusals(alerts, slack_server, status, word):
    slack_server.fail(Fault(status, word))
    with pytest.raises(SlackRefused) as caught:
        alerts.alert("down")
    assert word.decode() not in str(caught.value)
    assert len(slack_server.seen) == 1


def test_an_empty_text_is_refused_by_slack(alerts):
    with pytest.raises(SlackRefused, match="400"):
        alerts.alert("")


@pytest.mark.parametrize(
    "webhook",
    [
        "http://hooks.slack.com/services/CANARY",
        "https://evil.example/services/CANARY",
        "https://user:CANARY@hooks.slack.com/services/x",
        "https://hooks.slack.com/services/x#CANARY",
        "CANARY",
        "http://[::CANARY",
    ],
)
def test_what_is_not_a_webhook_is_never_asked(given, webhook, shown_by):
    client = SlackAlerts(given(SecretStr(webhook)), RetryPolicy(budget=1.0, attempt=1.0))
    with pytest.raises(SlackRefused, match="UnusableAddress") as caught:
        client.alert("down")
    assert "CANARY" not in shown_by(caught.value)


def test_slacks_own_webhooks_are_taken(given):
    for host in ("hooks.slack.com", "hooks.slack-gov.com"):
        webhook = SecretStr(f"https://{host}/services/T0/B0/x")
        client = SlackAlerts(given(webhook))
        assert str(client.addressed(None, webhook).url) == webhook.get_secret_value()
        assert repr(client) == "<SlackAlerts>"


def test_the_stand_in_does_not_show_its_webhook(alerts, slack_server, key):
    alerts.alert("down")
    assert key not in repr(slack_server) + repr(slack_server.seen)
