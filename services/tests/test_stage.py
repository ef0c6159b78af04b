"""The fleet on one machine: its values, its processes, and who answers for which host."""

import http.client
import os
import signal
import sys

import psutil
import pytest
from pydantic import TypeAdapter

from pgp_services.catalogue import CATALOGUE
from pgp_services.demo.stage import PILOT
from pgp_services.names import Service
from pgp_services.stage import environ, processes
from pgp_services.stage.local_fleet import LocalFleet, Reply
from pgp_services.stage.processes import Gunicorn, LocalServer, ServiceProcess, StageFailed
from pgp_services.stage.values import Values, first_values, value_of, values_for


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("row", CATALOGUE.values(), ids=lambda row: row.name)
def test_every_value_is_a_good_one(row, version):
    TypeAdapter(row.declared).validate_python(value_of(row, version))


def test_a_next_value_is_another():
    for row in CATALOGUE.values():
        if row.name != "CLOUD_TASKS_LOCATION":
            assert value_of(row, 1) != value_of(row, 2)


def test_plain_values_of_two_secrets_are_never_the_same():
    values = first_values(Service)
    plain = [
        values[row.name] for row in CATALOGUE.values() if row.kind in ("https url", "queue id")
    ]
    assert len(set(plain)) == len(plain)


def test_a_service_has_the_values_that_it_may_read():
    values = values_for(Service.WEB)
    assert list(values) == [row.name for row in CATALOGUE.values() if Service.WEB in row.readers]
    assert set(first_values([Service.WEB])) == set(values)


def test_values_are_told_apart_by_version():
    values = Values(first_values(Service))
    first = values.of("PGP_SPLIT1_URL")
    second = values.renewed("PGP_SPLIT1_URL")
    assert (values.of("PGP_SPLIT1_URL", 1), values.of("PGP_SPLIT1_URL")) == (first, second)
    assert (first, second) == (
        "https://split1-blue.pgp.example",
        "https://split1-green.pgp.example",
    )
    assert [values.version("PGP_SPLIT1_URL", value) for value in (first, second, "x")] == [1, 2, 0]
    assert values.newest("PGP_SPLIT1_URL") == 2
    assert "blue" not in repr(values)


def test_every_url_is_that_of_a_service_or_of_none_of_the_seventeen():
    unserved = [name for name in environ.url_secrets() if environ.served_by(name) is None]
    assert unserved == ["PGP_SCHEDULER_URL", "PGP_SUCCESS_URL", "PGP_FAILURE_URL"]
    assert environ.served_by("PGP_NOTIFICATION_URL") is Service.NOTIFICATIONS


def test_no_two_services_have_one_account():
    accounts = {environ.account_of(service) for service in Service}
    assert len(accounts) == len(Service)
    assert environ.account_of(Service.NP_IPN) == "np-ipn@pgp-local.iam.gserviceaccount.com"


def test_an_answer_may_be_none():
    assert Reply(200, b'{"a": 1}', 0.0).content() == {"a": 1}
    assert Reply(200, b"[]", 0.0).content() == Reply(0, b"", 0.0).content() == {}


# -- processes ---------------------------------------------------------------------------------


class Program(LocalServer):
    """A program that says nothing of its port."""

    port = 0

    def __init__(self, text, folder):
        super().__init__([sys.executable, "-u", "-c", text], {}, folder / "program.log")


def test_a_program_that_ends_at_once_is_told_with_its_last_words(tmp_path):
    program = Program("raise SystemExit('no such thing')", tmp_path)
    with pytest.raises(StageFailed, match="no such thing"):
        program.wait_until_ready()
    assert program.process_ids() == frozenset()


def test_a_program_that_is_never_ready_is_given_up(tmp_path):
    program = Program("import signal; signal.pause()", tmp_path)
    with pytest.raises(StageFailed):
        program.wait_until_ready(patience=0.2)
    program.stop()


STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("up", flush=True)
signal.pause()
"""


def test_a_program_that_does_not_end_is_killed_with_its_children(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.1)
    program = Program(STUBBORN, tmp_path)
    while "up" not in program.log.read_text():
        assert program._process.poll() is None
    children = [psutil.Process(number) for number in program.process_ids()]
    assert len(children) == 2
    program.stop()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_a_service_says_itself_where_it_listens(tmp_path, values):
    environ_ = {"PGP_CONFIG_SOURCE": "env:", "TASKS_SERVICE_ACCOUNT": "me@example.com", **values}
    service = ServiceProcess(Service.SPLIT2, environ_, tmp_path)
    try:
        service.wait_until_ready()
        assert len(service.process_ids()) == 2  # gunicorn's parent, and one worker
        again = ServiceProcess(Service.SPLIT2, environ_, tmp_path)
        again.stop()
        assert (service.log.name, again.log.name) == ("PGP_SPLIT2_v1.log", "PGP_SPLIT2_v1.1.log")
    finally:
        service.stop()
    assert service.status_of("/readyz") == 0


def test_a_flask_application_runs_under_gunicorn(tmp_path, values):
    environ_ = {"PGP_CONFIG_SOURCE": "env:", "TASKS_SERVICE_ACCOUNT": "me@example.com", **values}
    server = Gunicorn(environ_, tmp_path, PILOT, workers=2)
    try:
        server.wait_until_ready()
        assert server.status_of("/healthz") == http.client.OK
    finally:
        server.stop()


# -- the whole ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fleet():
    with LocalFleet([Service.SPLIT2, Service.WEB]) as fleet:
        yield fleet


def test_a_part_of_the_fleet_runs(fleet):
    assert list(fleet.process_ids()) == [Service.SPLIT2, Service.WEB]
    assert all(len(numbers) == 2 for numbers in fleet.process_ids().values())
    page = fleet.call(Service.WEB, "/config.json", method="GET")
    assert page.is_ok
    assert page.content()["success_url"] == fleet.values.of("PGP_SUCCESS_URL")
    assert fleet.versions(Service.WEB)["PGP_SUCCESS_URL"] == 1
    assert "listens on" in fleet.log_of(Service.WEB)
    assert repr(fleet) == "<LocalFleet of 2 services>"


def test_a_host_is_answered_by_its_service_or_noted(fleet):
    assert fleet.routes.port_of("split2-blue.pgp.example") == fleet.services[Service.SPLIT2].port
    noted = int(fleet.noted.url.rpartition(":")[2])
    assert fleet.routes.port_of("hostpay1-blue.pgp.example") == noted
    fleet.rotate("PGP_SPLIT2_URL")
    assert fleet.routes.port_of("split2-green.pgp.example") == fleet.services[Service.SPLIT2].port


def test_who_is_called_knows_a_new_key_before_the_services_do(fleet):
    for name, server in fleet.key_holders().items():
        assert not server.accepts(2), name
    keys = (
        "CHANGENOW_API_KEY",
        "NOWPAYMENTS_API_KEY",
        "TELEGRAM_BOT_API_TOKEN",
        "ETHEREUM_RPC_URL_API",
    )
    for key in (*keys, "NOWPAYMENTS_IPN_SECRET"):
        assert fleet.rotate(key) == 2
    for name, server in fleet.key_holders().items():
        assert server.accepts(1), name
        assert server.accepts(2), name


def test_the_local_secret_manager_knows_who_asks(fleet):
    asked = fleet.manager.calls.by_secret(caller=Service.WEB)
    assert asked["PGP_SUCCESS_URL"] >= 1
    assert "CHANGENOW_API_KEY" not in asked
    assert fleet.manager.calls.count(secret="CHANGENOW_API_KEY", caller=Service.SPLIT2) >= 1


def test_a_service_is_restarted(fleet):
    before = fleet.process_ids()[Service.WEB]
    fleet.restart(Service.WEB)
    assert fleet.call(Service.WEB, "/", method="GET").is_ok
    assert not before & fleet.process_ids()[Service.WEB]


def test_a_service_that_was_killed_is_gone_with_its_workers():
    with LocalFleet([Service.WEB]) as fleet:
        process = fleet.services[Service.WEB]
        left = [psutil.Process(number) for number in process.process_ids()]
        os.kill(process.pid, signal.SIGKILL)
        process.stop()
        assert fleet.call(Service.WEB, "/", method="GET").status == 0
        _, alive = psutil.wait_procs(left, timeout=30)
        assert alive == []


def test_where_one_does_not_start_none_is_left(monkeypatch):
    started = []
    start = ServiceProcess.__init__

    def spoil(self, service, environ_, folder):
        source = "memory:" if service is Service.SPLIT2 else environ_["PGP_CONFIG_SOURCE"]
        start(self, service, {**environ_, "PGP_CONFIG_SOURCE": source}, folder)
        started.append(self)

    monkeypatch.setattr(ServiceProcess, "__init__", spoil)
    with (
        pytest.raises(StageFailed, match="SUCCESS_URL_SIGNING_KEY"),
        LocalFleet([Service.SPLIT2, Service.WEB]),
    ):
        pytest.fail("it did not start")  # pragma: no cover
    assert len(started) == 2
    assert all(not process.process_ids() for process in started)
