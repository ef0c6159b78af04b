"""PGP_BOTCOMMAND_v1: commands are answered, and claims go to ORCHESTRATOR."""

import itertools
import json

import grpc
import pytest

from pgp_config import DeclarationError
from pgp_services.botcommand.handler import GREETINGS, SLOWLY
from pgp_services.botcommand.pace import INTERVAL, Pace
from pgp_services.bots import LATER, NOT_GOOD
from pgp_services.clients.telegram import TelegramUnavailable, Update
from pgp_services.clients.updates import UpdateLoop
from pgp_services.lookalikes.http import Fault
from pgp_services.names import Service

TOKEN = f"abc-DEF_1.{'s' * 43}"


@pytest.fixture
def service(asked, telegram_server):
    return asked(Service.BOTCOMMAND, {"telegram_base_url": telegram_server.url})


def update(text, **changes):
    return {"update_id": 5, "chat_id": 7, "user_id": 7, "text": text, **changes}


def said(telegram_server):
    return [message.text for message in telegram_server.messages]


def test_a_claim_is_processed(service, telegram_server, tasks_server):
    got = service.post("/update", json=update(f"/claim {TOKEN}"))
    assert (got.status_code, got.json["message"]) == (200, "Command answered")
    (task,) = tasks_server.tasks
    assert (task.queue, task.url) == (
        "pgp-orchestrator-queue",
        "https://orchestrator.example/process-validated-payment",
    )
    assert json.loads(task.body) == {"token": TOKEN}
    assert said(telegram_server) == ["Thank you. If your payment is there, you will be let in."]
    assert telegram_server.messages[0].chat_id == 7


def test_a_repeated_claim_is_dropped(service, tasks_server):
    for user in range(3):
        service.post("/update", json=update(f"/claim {TOKEN}", user_id=user))
    assert (len(tasks_server.tasks), tasks_server.dropped) == (1, 2)


@pytest.fixture
def paced(service, clock, monkeypatch):
    """Makes claims, each with another token, at the clock's time; whether each made a task."""
    monkeypatch.setattr(service.container.handler(), "_pace", Pace(clock))
    numbers = itertools.count()

    def claim(user_id):
        text = f"/claim {next(numbers)}{TOKEN}"
        return service.post("/update", json=update(text, user_id=user_id)).status_code

    return claim


def test_a_user_claims_once_in_ten_seconds(paced, clock, tasks_server, telegram_server):
    """Old fault: anybody could fill ORCHESTRATOR's queue."""
    assert [paced(7) for _ in range(3)] == [200] * 3
    assert said(telegram_server)[1:] == [SLOWLY] * 2
    assert len(tasks_server.tasks) == 1
    paced(8)
    clock.now += INTERVAL - 1
    paced(7)
    assert len(tasks_server.tasks) == 2
    clock.now += 1
    paced(7)
    assert len(tasks_server.tasks) == 3


def test_a_claim_that_failed_may_be_made_again_at_once(paced, tasks_server):
    tasks_server.fail(grpc.StatusCode.NOT_FOUND)
    assert (paced(7), paced(7)) == (503, 200)
    assert len(tasks_server.tasks) == 1


def test_the_users_who_are_remembered_are_bounded(clock, monkeypatch):
    monkeypatch.setattr("pgp_services.botcommand.pace.MAX_USERS", 2)
    pace = Pace(clock)
    assert [pace.passes(user) for user in (1, 2, 3)] == [True, True, False]
    clock.now += INTERVAL
    assert [pace.passes(user) for user in (3, 1, 2)] == [True, True, False]
    assert len(pace._passed) == 2


@pytest.mark.parametrize(
    "token", ["", "a b", "a;b", "junk", "a.b", f"{TOKEN}s", f"a.{TOKEN}", f"{'x' * 8193}{TOKEN}"]
)
def test_what_can_be_no_token_is_told_so(service, telegram_server, tasks_server, token):
    assert service.post("/update", json=update(f"/claim {token}")).status_code == 200
    assert said(telegram_server) == [NOT_GOOD]
    assert tasks_server.tasks == []


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("/start", "Welcome."),
        ("/start something", "Welcome."),
        ("/start paid", GREETINGS["paid"]),
        ("/start cancelled", GREETINGS["cancelled"]),
        ("/help", "/start: begin"),
        ("/nonsense", "/start: begin"),
        ("/help@PGP_TEST_BOT", "/start: begin"),
    ],
)
def test_other_commands_are_answered(service, telegram_server, text, begins):
    service.post("/update", json=update(text))
    (answer,) = said(telegram_server)
    assert answer.startswith(begins)
    if "/help" in answer:
        assert answer.endswith("https://t.me/pgp_test_bot")


@pytest.mark.parametrize("text", ["hello", "/help@OtherBot", None])
def test_what_is_no_command_of_ours_is_left_alone(service, telegram_server, text):
    got = service.post("/update", json=update(text))
    assert (got.status_code, got.json["message"]) == (200, "Nothing to do")
    assert telegram_server.seen == []


def test_the_bots_name_may_change(service, telegram_server):
    service.source.add("TELEGRAM_BOT_USERNAME", "green_bot")
    service.post("/update", json=update("/help@pgp_test_bot"))
    assert said(telegram_server) == []
    service.post("/update", json=update("/help@green_bot"))
    assert said(telegram_server)[0].endswith("https://t.me/green_bot")


def test_an_update_as_telegram_has_it_is_taken_too(service, telegram_server):
    raw = {
        "update_id": 5,
        "message": {"chat": {"id": 7}, "from": {"id": 7}, "text": "/help", "date": 1},
    }
    assert service.post("/update", json=raw).status_code == 200
    assert len(said(telegram_server)) == 1


@pytest.mark.parametrize(
    "body", [{}, {"update_id": "x"}, [], {"update_id": 1, "chat_id": 2**52 + 1}]
)
def test_400_for_what_is_no_update(service, body):
    assert service.post("/update", json=body).status_code == 400


def test_whoever_forwards_is_told_of_a_failure(service, tasks_server, telegram_server):
    tasks_server.fail(grpc.StatusCode.NOT_FOUND)
    assert service.post("/update", json=update(f"/claim {TOKEN}")).status_code == 503
    assert said(telegram_server) == []


def test_in_our_own_loop_who_wrote_is_told_of_a_failure(service, tasks_server, telegram_server):
    tasks_server.fail(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(Exception, match="Cloud Tasks"):
        service.container.handler().take(Update(**update(f"/claim {TOKEN}")))
    assert said(telegram_server) == [LATER]


def test_an_apology_that_fails_changes_nothing(service, telegram_server):
    telegram_server.fail(*[Fault(0)] * 2)
    with pytest.raises(TelegramUnavailable):
        service.container.handler().take(Update(**update("/help")))
    assert service.container.handler().take(Update(**update("/help"))).status == 200


def test_nobody_is_left_to_apologise_to(service, monkeypatch, telegram_server):
    def fail(_):
        raise ZeroDivisionError

    monkeypatch.setattr(service.container.handler(), "handle", fail)
    with pytest.raises(ZeroDivisionError):
        service.container.handler().take(Update(update_id=1))
    assert telegram_server.seen == []


def test_a_switched_queue_and_url_are_used_by_the_next_claim(service, tasks_server):
    service.source.add("PGP_ORCHESTRATOR_URL", "https://green.example")
    service.source.add("PGP_ORCHESTRATOR_QUEUE", "green")
    service.post("/update", json=update(f"/claim {TOKEN}"))
    assert tasks_server.count() == {
        ("green", "https://green.example/process-validated-payment"): 1
    }


def test_its_queues_are_where_the_settings_say(service, tasks_server, asked):
    service.post("/update", json=update(f"/claim {TOKEN}"))
    assert tasks_server.tasks[0].name.startswith("projects/pgp-test/locations/us-central1/")
    with pytest.raises(DeclarationError, match="GOOGLE_CLOUD_REGION"):
        asked(Service.BOTCOMMAND, {"google_region": None})


def test_it_can_make_a_loop(service):
    import threading

    loop = service.container.updates(handle=print, stop=threading.Event())
    assert isinstance(loop, UpdateLoop)


def test_no_answer_and_no_log_shows_a_secret(service, fleet_values, caplog):
    caplog.set_level("DEBUG")
    shown = service.post("/update", json=update(f"/claim CANARY{TOKEN}")).text + caplog.text
    assert fleet_values["TELEGRAM_BOT_API_TOKEN"] not in shown
    assert "CANARY" not in shown


async def test_every_secret_is_used_and_the_end_is_clean(service):
    assert service.container.check() == []
    await service.container.handler().aclose()
