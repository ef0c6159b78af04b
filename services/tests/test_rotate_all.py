"""Every secret rotated in the running fleet; and what its effects are taken to show."""

import io
import json
import signal
import time
from dataclasses import replace

import pytest
from pydantic import SecretStr
from rich.console import Console

from pgp_services.catalogue import CATALOGUE
from pgp_services.clients.accounts import Account
from pgp_services.lookalikes.cloud_tasks import RecordedTask
from pgp_services.lookalikes.http import Seen
from pgp_services.names import Service
from pgp_services.rotate_all import __main__ as program
from pgp_services.rotate_all import rounds, statics
from pgp_services.rotate_all.effects import Alert, Arrival, Done, Effects, Line, lines_in
from pgp_services.rotate_all.evidence import Use, failures, uses
from pgp_services.rotate_all.exercises import EXERCISES
from pgp_services.rotate_all.report import Facts, show
from pgp_services.rotate_all.rounds import FirstUse, Rotations
from pgp_services.rotate_all.statics import Kept
from pgp_services.stage.local_fleet import LocalFleet
from pgp_services.stage.processes import StageFailed
from pgp_services.stage.values import Values, first_values
from pgp_services.tokens import EstimateRequest, InviteRequest, sign

# -- the whole ---------------------------------------------------------------------------------


@pytest.fixture
def sigterm():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def ended(monkeypatch):
    """The values of each fleet that ended, and all that its services had logged."""
    noted = []
    stop = LocalFleet._stop_services

    def note(self):
        noted.append((self.values, "".join(map(self.log_of, self.services))))
        stop(self)

    monkeypatch.setattr(LocalFleet, "_stop_services", note)
    return noted


def test_all_43_are_used_without_a_restart_and_static_ones_stay(sigterm, tmp_path, capsys, ended):
    found = tmp_path / "found.json"
    code = program.main(["--json", str(found)])
    shown = capsys.readouterr().out
    assert (code, shown.splitlines()[-1]) == (
        0,
        "43 of 43 used, 0 restarts, 4 of 4 static unchanged",
    )
    facts = json.loads(found.read_text())
    seconds = facts["seconds_to_first_use"]
    rows = [row for row in CATALOGUE.values() if row.reload_class == "dynamic"]
    assert {name: set(cells) for name, cells in seconds.items()} == {
        row.name: set(row.readers) for row in rows
    }
    assert {name: set(cells) for name, cells in facts["static_unchanged"].items()} == {
        name: set(CATALOGUE[name].readers) for name in statics.ROTATED
    }
    # The keys show in what each service does, the password only in what it says.
    for name, cells in facts["static_unchanged"].items():
        for shown_by in cells.values():
            assert (len(shown_by) > 1) == (name != "DATABASE_PASSWORD_SECRET")
    assert facts["restarts"] == facts["static_fetches"] == facts["requests_failed"] == 0
    assert facts["broken"] == []
    ((values, logs),) = ended
    said = shown + found.read_text() + logs
    assert "answered 503" in logs
    for name in values.names():
        if CATALOGUE[name].kind == "secret":
            for version in range(1, values.newest(name) + 1):
                assert values.of(name, version) not in said, name


def test_one_secret_of_one_service_may_be_rotated(sigterm, capsys):
    assert program.main(["--service", "web", "--only", "PGP_SUCCESS_URL"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 of 1 used, 0 restarts, 0 of 0 static unchanged"
    )


def test_a_fleet_that_does_not_start_is_told(monkeypatch, sigterm, capsys):
    def fail(*_):
        raise StageFailed("no such service")

    monkeypatch.setattr(program, "run", fail)
    assert program.main(["--service", "web", "--only", "LOG_LEVEL"]) == 1
    assert "no such service" in capsys.readouterr().out


def test_what_is_not_seen_is_told_and_ends_with_1(monkeypatch, sigterm, capsys):
    monkeypatch.setattr(program, "run", lambda *_: facts(uses=[use(seconds=None)]))
    assert program.main([]) == 1
    told = capsys.readouterr().out
    assert "NOT SEEN: SPLIT2 did not use the new version of CHANGENOW_API_KEY" in told
    assert told.splitlines()[-1] == "0 of 1 used, 0 restarts, 1 of 1 static unchanged"


def test_a_signal_leaves_by_way_of_the_ends():
    with pytest.raises(SystemExit):
        program._leave(signal.SIGTERM, None)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--only", "UNKNOWN"],
        ["--service", "split3"],
        ["--service", "web", "--only", "TP_FLAT_FEE"],
    ],
)
def test_an_unknown_name_is_refused(wrong, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        program.main(wrong)
    assert signal.getsignal(signal.SIGTERM) is before
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_every_service_has_exercises_and_every_secret_an_evidence():
    assert set(EXERCISES) == set(Service)
    values = Values(first_values(Service))
    for row in CATALOGUE.values():
        if row.reload_class == "dynamic":
            assert uses(row.name, Effects(), values) == []


# -- evidence ----------------------------------------------------------------------------------


@pytest.fixture
def rotated():
    """The values after a rotation of all."""
    values = Values(first_values(Service))
    for name in values.names():
        values.renewed(name)
    return values


def task(at, queue="none", url="https://none.example/", body=b"{}"):
    return RecordedTask(
        queue=queue,
        name=f"t-{at}",
        url=url,
        headers={},
        body=body,
        service_account="",
        audience="",
        schedule_time=None,
        at=at,
    )


def token(claims, key):
    return json.dumps({"token": sign(claims, SecretStr(key))}).encode()


def test_a_queue_is_used_by_a_task_in_it(rotated):
    name = "PGP_SPLIT1_RESPONSE_QUEUE"
    queues = [rotated.of(name, 2), "another", rotated.of(name, 1)]
    effects = Effects(tasks=[task(at, queue) for at, queue in zip((3, 2, 1), queues, strict=True)])
    assert uses(name, effects, rotated) == [Use(1, 1), Use(2, 3)]


def test_a_url_is_used_by_a_call_that_came_to_its_host_or_by_a_page_that_names_it(rotated):
    name = "PGP_SUCCESS_URL"
    old, new = rotated.of(name, 1), rotated.of(name, 2)
    page = json.dumps({"a": f"{new}/thanks", "b": "https://elsewhere.example"}).encode()
    effects = Effects(
        arrivals=[Arrival(old, 1.0), Arrival("https://elsewhere.example", 1.5)],
        done=[done(body=page, at=2.0)],
    )
    assert uses(name, effects, rotated) == [Use(1, 1.0), Use(2, 2.0)]


def done(**changes):
    good = {
        "exercise": "page",
        "proof": "",
        "version": 1,
        "status": 200,
        "body": b"",
        "began": 1.0,
        "at": 2.0,
    }
    return Done(**{**good, **changes})


def seen(version, status, at, body=b""):
    return Seen(version, status, {}, at, body=body)


def test_a_key_is_used_by_a_call_that_was_taken(rotated):
    calls = [seen(1, 200, 1.0), seen(2, 401, 2.0), seen(2, 201, 3.0), seen(0, 200, 4.0)]
    effects = Effects(seen={"changenow": calls})
    assert uses("CHANGENOW_API_KEY", effects, rotated) == [Use(1, 1.0), Use(2, 3.0)]
    assert uses("TELEGRAM_BOT_API_TOKEN", effects, rotated) == []


def test_a_webhook_key_is_used_by_taking_what_it_signs(rotated):
    name = "CLOUDFLARE_WEBHOOK_SECRET"
    effects = Effects(
        done=[
            done(proof=name, version=1, at=1.0),
            done(proof=name, version=2, status=401, at=2.0),
            done(proof=name, version=2, at=3.0),
            done(proof="NOWPAYMENTS_IPN_SECRET", version=2, at=0.5),
        ]
    )
    assert uses(name, effects, rotated) == [Use(1, 1.0), Use(2, 3.0)]


def test_a_bots_name_is_used_by_links_to_it(rotated):
    name = "TELEGRAM_BOT_USERNAME"
    bodies = [
        b'{"text": "https://t.me/pgp_blue_bot"}',
        b'{"u": "https://t.me/pgp_green_bot?start=x"}',
    ]
    effects = Effects(
        seen={
            "telegram": [seen(1, 200, 1.0, bodies[0])],
            "nowpayments": [seen(1, 201, 2.0, bodies[1])],
        }
    )
    assert uses(name, effects, rotated) == [Use(1, 1.0), Use(2, 2.0)]


def estimate(adjusted):
    return EstimateRequest(
        user_id=1,
        closed_channel_id=-1,
        wallet_address="w",
        payout_currency="xmr",
        payout_network="xmr",
        swap_currency="eth",
        payout_mode="instant",
        actual_eth_amount="1",
        adjusted_amount=adjusted,
        timestamp=int(time.time()),
    )


def test_a_fee_is_used_by_the_sum(rotated):
    key = rotated.of("SUCCESS_URL_SIGNING_KEY", 1)
    bodies = [token(estimate(amount), key) for amount in ("0.945", "0.97", "1", "0.5")]
    effects = Effects(tasks=[task(at, body=body) for at, body in enumerate([b"[]", *bodies])])
    assert uses("TP_FLAT_FEE", effects, rotated) == [Use(2, 1), Use(1, 2)]


def line(level, text, at):
    return Line(level, text, at)


def test_an_environment_is_used_by_the_lines_that_name_it(rotated):
    lines = [
        line("INFO", "PGP_WEB_v1 (staging) answered 200: done", 1.0),
        line("INFO", "PGP_WEB_v1 (prod) answered 200: done", 2.0),
        line("INFO", "Hot-reloaded SERVICE_ENVIRONMENT (prod)", 0.5),
    ]
    found = uses("SERVICE_ENVIRONMENT", Effects(lines=lines), rotated)
    assert found == [Use(1, 1.0), Use(2, 2.0)]


def test_a_level_is_used_by_a_request_that_has_a_line_or_has_none(rotated):
    lines = [
        line("WARNING", "odd", 1.5),
        line("INFO", "PGP_WEB_v1 (prod) answered 200: done", 3.5),
    ]
    effects = Effects(lines=lines, done=[done(began=1, at=2), done(began=3, at=4)])
    assert uses("LOG_LEVEL", effects, rotated) == [Use(1, 2), Use(2, 4)]


def test_alerting_is_used_by_an_error_that_slack_was_told_of(rotated):
    failed = "PGP_WEB_v1 (prod) answered 503: a secret"
    lines = [
        line("WARNING", failed, 1.0),
        line("ERROR", "something else", 1.5),
        line("ERROR", failed, 2.0),
    ]
    assert uses("ALERTING_ENABLED", Effects(lines=lines), rotated) == [Use(1, 1.0)]
    alerts = [Alert(failed, 2.5), Alert(failed, 9.0)]
    told = uses("ALERTING_ENABLED", Effects(lines=lines, alerts=alerts), rotated)
    assert told == [Use(1, 1.0), Use(2, 2.5)]


def test_a_failure_is_what_the_log_or_the_answer_says(rotated):
    lines = [
        line("WARNING", "PGP_SERVER_v1 (prod) answered 503: a secret", 1.0),
        line("INFO", "PGP_SERVER_v1 (prod) answered 200: done", 1.0),
    ]
    answers = [done(status=status) for status in (200, 401, 400, 0, 503)]
    assert failures(Effects(lines=lines, done=answers)) == 3


def test_the_lines_of_a_log_have_a_time_and_a_level():
    log = "starting\n2026-01-02 03:04:05,678 INFO pgp_services: PGP_WEB_v1 (prod) answered 200: done\n  more"
    (found,) = lines_in(log)
    assert (found.level, found.text) == ("INFO", "PGP_WEB_v1 (prod) answered 200: done")


# -- static secrets ----------------------------------------------------------------------------


def invitation(key):
    claims = InviteRequest(
        payment_id="p", user_id=1, closed_channel_id=-1, timestamp=int(time.time())
    )
    return token(claims, key)


def test_a_signing_key_shows_in_tokens_and_in_answers(rotated):
    name = "SUCCESS_URL_SIGNING_KEY"
    first, second = rotated.of(name, 1), rotated.of(name, 2)
    good = Effects(
        tasks=[task(1, body=invitation(second)), task(5, body=invitation(first)), task(6)],
        done=[done(proof=name, at=5), done(proof=name, version=2, status=401, at=6)],
    )
    kept = statics.kept(name, Service.SPLIT1, good, rotated, since=4, ready=1)
    assert kept.shown == {"readyz": True, "signs": True, "accepts old": True, "refuses new": True}
    assert (kept.is_kept, kept.is_seen) == (True, True)
    bad = Effects(
        tasks=[task(5, body=invitation(second))],
        done=[done(proof=name, status=401, at=5), done(proof=name, version=2, at=6)],
    )
    changed = statics.kept(name, Service.SPLIT1, bad, rotated, since=4, ready=2)
    assert not any(changed.shown.values())
    assert not changed.is_kept


def test_a_password_shows_in_what_a_service_says_only(rotated):
    kept = statics.kept(
        "DATABASE_PASSWORD_SECRET", Service.WEBAPI, Effects(), rotated, since=0, ready=1
    )
    assert (kept.shown, kept.is_kept, kept.is_seen) == ({"readyz": True}, True, False)


def test_a_wallets_key_shows_in_its_transactions(rotated):
    name = "HOST_WALLET_PRIVATE_KEY"
    keys = [rotated.of(name, 1), rotated.of(name, 2), "0x" + "11" * 32]
    calls = [seen(1, 200, at, sent(key)) for at, key in enumerate(keys, 5)]
    calls.append(seen(1, 200, 9, b'{"method": "eth_chainId", "params": []}'))
    effects = Effects(seen={"ethereum": calls})
    assert statics.payers(effects, rotated, 5) == [1, 2, 0]
    kept = statics.kept(name, Service.HOSTPAY3, effects, rotated, since=5, ready=1)
    assert kept.shown == {"readyz": True, "pays": False}


def sent(key):
    transfer = {
        "type": 2,
        "chainId": 1,
        "nonce": 0,
        "to": "0x52908400098527886E0F7030069857D2E4169EE7",
        "value": 1,
        "gas": 21000,
        "maxFeePerGas": 10,
        "maxPriorityFeePerGas": 1,
    }
    raw = Account.from_key(key).sign_transaction(transfer).raw_transaction
    return json.dumps({"method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}).encode()


# -- the rounds --------------------------------------------------------------------------------


class StillFleet:
    """A fleet that does nothing."""

    services = dict.fromkeys([Service.WEB])
    values = Values(first_values(Service))

    class tasks:  # noqa: N801  as an attribute
        @staticmethod
        def run_delayed_now():
            return 0

    def rotate(self, name):
        self.values.renewed(name)
        return self.values.newest(name)


def test_a_service_that_uses_no_new_version_is_given_up(monkeypatch):
    monkeypatch.setattr(rounds, "effects_of", lambda *_: Effects())
    monkeypatch.setattr(rounds, "PAUSE", 0.0)
    rotations = Rotations(StillFleet(), {Service.WEB: []}, patience=0.01)
    (found,) = rotations.rotate(["PGP_SUCCESS_URL"])
    assert found == FirstUse("PGP_SUCCESS_URL", Service.WEB, None, before=False)


# -- the report --------------------------------------------------------------------------------


def use(**changes):
    good = FirstUse("CHANGENOW_API_KEY", Service.SPLIT2, 0.5, before=True)
    return replace(good, **changes)


def facts(**changes):
    good = {
        "uses": [use()],
        "kept": [Kept("SUCCESS_URL_SIGNING_KEY", Service.SPLIT2, {"readyz": True, "signs": True})],
        "overlaps": {("NOWPAYMENTS_IPN_SECRET", Service.NP_IPN): True},
        "requests": {Service.SPLIT2: (1200, 0), Service.WEB: (34, 0)},
        "restarts": {Service.SPLIT2: 0},
        "static_fetches": {Service.SPLIT2: 0},
        "started_in": 3.0,
        "seconds": 30.0,
    }
    return Facts(**{**good, **changes})


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"uses": [use(seconds=None)]}, "SPLIT2 did not use the new version of CHANGENOW_API_KEY"),
        (
            {"uses": [use(before=False)]},
            "SPLIT2 was not seen to use the old version of CHANGENOW_API_KEY",
        ),
        (
            {"overlaps": {("NOWPAYMENTS_IPN_SECRET", Service.NP_IPN): False}},
            "NP_IPN does not take the version before the newest of NOWPAYMENTS_IPN_SECRET",
        ),
        (
            {"kept": [Kept("JWT_SECRET_KEY", Service.WEBAPI, {"readyz": True, "signs": False})]},
            "WEBAPI did not keep JWT_SECRET_KEY, by: signs",
        ),
        ({"requests": {Service.SPLIT2: (9, 2)}}, "SPLIT2 failed 2 requests"),
        ({"restarts": {Service.SPLIT2: 2}}, "SPLIT2 was restarted: 2 processes ended or began"),
        (
            {"static_fetches": {Service.SPLIT2: 1}},
            "SPLIT2 asked for static secrets 1 times while it served",
        ),
    ],
)
def test_a_promise_that_was_not_kept_is_named(changes, promise):
    assert facts().broken_promises() == []
    assert facts(**changes).broken_promises() == [promise]


def test_the_closing_line_leaves_the_pilots_fifth_secret_out():
    uncounted = use(secret="PGP_BATCHPROCESSOR_URL", seconds=None)
    assert facts(uses=[use(), uncounted]).verdict() == (
        "1 of 1 used, 0 restarts, 1 of 1 static unchanged"
    )
    assert facts(uses=[use(), uncounted]).broken_promises()


def shown(found, width=200, **options):
    out = io.StringIO()
    show(found, Console(file=out, width=width, **options))
    return out.getvalue()


def test_the_table_has_a_column_for_each_service():
    kept = [
        Kept("SUCCESS_URL_SIGNING_KEY", Service.SPLIT2, {"readyz": True, "signs": True}),
        Kept("DATABASE_PASSWORD_SECRET", Service.SPLIT2, {"readyz": True}),
        Kept("TPS_HOSTPAY_SIGNING_KEY", Service.HOSTPAY1, {"readyz": False}),
    ]
    never = use(service=Service.HOSTPAY2, seconds=None)
    overlaps = {("NOWPAYMENTS_IPN_SECRET", service): False for service in (Service.SERVER,)}
    text = shown(facts(uses=[use(), never], kept=kept, overlaps=overlaps))
    rows = {
        cells[0]: cells[1:] for row in text.splitlines() if (cells := row.strip("│").split("│"))
    }
    rows = {name.strip(): [cell.strip() for cell in cells] for name, cells in rows.items()}
    assert rows["CHANGENOW_API_KEY"] == ["0.50", "", "never"]
    assert rows["SUCCESS_URL_SIGNING_KEY"] == ["=", "", ""]
    assert rows["DATABASE_PASSWORD_SECRET"] == ["(=)", "", ""]
    assert rows["TPS_HOSTPAY_SIGNING_KEY"] == ["", "NEW", ""]
    assert "taken too, by nobody" in text
    assert "1,234 requests before the outage, of which 0 failed" in text
    assert "Ready in 3 s, done in 30 s" in text
    assert "taken too, by NP_IPN" in shown(facts())


def test_a_terminal_keeps_its_own_width():
    text = shown(facts(), width=60, force_terminal=True)
    assert max(len(row) for row in text.splitlines()) > 0


def test_programs_get_names_seconds_and_verdicts():
    found = facts(uses=[use(), use(service=Service.HOSTPAY1, seconds=None)]).as_json()
    assert found["seconds_to_first_use"] == {
        "CHANGENOW_API_KEY": {"PGP_SPLIT2_v1": 0.5, "PGP_HOSTPAY1_v1": None}
    }
    assert found["verdict"].startswith("0 of 1 used")
    assert json.loads(json.dumps(found)) == found
