"""`pgp-services`: the list of the fleet, and a service that is run as it is deployed."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from itertools import count
from types import SimpleNamespace

import psutil
import pytest
import typer
from dependency_injector import providers
from typer.testing import CliRunner

from pgp_config import SecretUnavailable
from pgp_config.emulator import SecretManagerEmulator
from pgp_services import catalogue, cli, registry
from pgp_services.botcommand.handler import GREETINGS
from pgp_services.bots import NOT_GOOD
from pgp_services.cli import main
from pgp_services.cli.naming import service_named
from pgp_services.clients.telegram import Update
from pgp_services.names import Service
from pgp_services.server.container import Server
from pgp_services.serving import server
from pgp_services.serving.gunicorn_server import GunicornServer
from pgp_services.serving.server import CannotServeError, serve

PROGRAM = [sys.executable, "-c", "from pgp_services.cli import main; main()"]


@pytest.fixture
def command():
    runner = CliRunner()
    return lambda *arguments, **environ: runner.invoke(cli.app, arguments, env=environ)


@pytest.mark.parametrize(
    "text", ["PGP_SPLIT2_v1", "pgp_split2_v1", "PGP_SPLIT2", "SPLIT2", "split2"]
)
def test_a_service_has_a_long_and_a_short_name(text):
    assert service_named(text) is Service.SPLIT2


def test_every_service_is_found_by_each_of_its_names():
    for service in Service:
        assert service_named(service) is service_named(service.short.lower()) is service
    assert service_named("np-ipn") is Service.NP_IPN


@pytest.mark.parametrize(
    ("text", "hint"),
    [("split3", "SPLIT"), ("orchestator", "ORCHESTRATOR"), ("xyzzy", "pgp-services list")],
)
def test_a_wrong_name_brings_those_like_it(text, hint):
    with pytest.raises(typer.BadParameter, match=hint):
        service_named(text)


def test_the_list_has_every_service_with_its_routes_and_secrets(command):
    shown = json.loads(command("list", "--json").stdout)
    assert [row["name"] for row in shown] == list(Service)
    for row in shown:
        rows = catalogue.secrets_of(Service(row["name"]))
        assert {*row["static"], *row["dynamic"]} == {secret.name for secret in rows}
        assert row["routes"]
    by_name = {row["name"]: row for row in shown}
    assert by_name[Service.SPLIT2]["routes"] == ["POST /"]
    assert by_name[Service.WEBAPI]["framework"] == "fastapi"
    assert by_name[Service.SERVER]["updates"] == "poll"
    critical = {row["name"]: row["critical"] for row in shown if row["critical"]}
    assert critical == {service: row.name for service, row in catalogue.CRITICAL.items()}


def test_the_table_breaks_no_name_and_marks_what_is_critical(command):
    shown = command("list").stdout
    for name in [*Service, *catalogue.CATALOGUE]:
        assert name in shown
    assert "HOST_WALLET_PRIVATE_KEY *" in shown
    assert "Telegram's updates: poll" in shown


def test_names_choose(command):
    shown = command("list", "web", "WEB", "--json").stdout
    assert [row["name"] for row in json.loads(shown)] == [Service.WEB]
    wrong = command("list", "split3")
    assert wrong.exit_code == 2
    assert "SPLIT2" in wrong.stderr


@pytest.mark.parametrize(("columns", "is_table"), [(60, False), (90, False), (140, True)])
def test_a_terminal_says_how_wide_it_is_and_no_name_is_broken(command, columns, is_table):
    shown = command("list", FORCE_COLOR="1", COLUMNS=str(columns)).stdout
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= columns
    for name in [*Service, *catalogue.CATALOGUE]:
        assert name in plain
    assert ("│" in plain) is is_table


def test_help_tells_the_exit_codes(command):
    assert "Exit codes" in command("run", "--help").stdout
    assert "Exit codes" in command("list", "--help").stdout


def test_the_command_is_the_packages_entry_point(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pgp-services", "--help"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "PGP payment fleet" in capsys.readouterr().out


# -- run, in a process of its own ----------------------------------------------------------------


@pytest.fixture
def environ(values):
    """What the pilot needs, and nothing else of this process's settings."""
    return {**values, "PGP_CONFIG_SOURCE": "env:", "TASKS_SERVICE_ACCOUNT": "a@pgp-test.example"}


@pytest.fixture
def started(environ):
    """Runs a service in a process, until it listens; gives the process and the port."""
    with contextlib.ExitStack() as ends:

        def start(*arguments, **more):
            process = subprocess.Popen(
                [*PROGRAM, "run", *arguments, "--port", "0"],
                env={**os.environ, **environ, **more},
                stderr=subprocess.PIPE,
                text=True,
            )
            ends.callback(process.stderr.close)
            ends.callback(process.wait, 30)
            ends.callback(process.kill)
            process.told = process.stderr.readline()
            assert "listens on 127.0.0.1 port" in process.told, process.stderr.read()
            return process, int(process.told.split()[-1])

        yield start


def got(port, path):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as asked:
        asked.request("GET", path)
        return asked.getresponse().status


@pytest.mark.parametrize(
    "arguments", [("split2",), ("PGP_SPLIT2_v1", "--workers", "2", "--threads", "2"), ("web",)]
)
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_service_runs_until_a_signal_ends_it(started, arguments, ending):
    process, port = started(
        *arguments, PGP_SUCCESS_URL="https://a.b", PGP_FAILURE_URL="https://b.c"
    )
    assert got(port, "/readyz") == 200
    assert got(port, "/nowhere") == 404
    process.send_signal(ending)
    assert process.wait(30) == 0
    assert "Traceback" not in process.stderr.read()


def test_webapi_runs_under_uvicorn(started):
    keys = {
        name: f"CANARY-{name}-0123456789abcdef" for name in ("JWT_SECRET_KEY", "SIGNUP_SECRET_KEY")
    }
    urls = ("PGP_SUCCESS_URL", "PGP_FAILURE_URL", "PGP_SERVER_URL")
    process, port = started("webapi", **keys, **dict.fromkeys(urls, "https://a.example"))
    assert got(port, "/readyz") == 200
    process.terminate()
    assert process.wait(30) == 0
    assert "CANARY" not in process.stderr.read()


@pytest.fixture
def bot(fleet_values, telegram_server, tasks_server):
    """What SERVER and BOTCOMMAND need, with a stand-in for Telegram."""
    return {
        **fleet_values,
        "TELEGRAM_BASE_URL": telegram_server.url,
        "CLOUD_TASKS_ENDPOINT": tasks_server.endpoint,
        "GOOGLE_CLOUD_PROJECT": "pgp-test",
        "GOOGLE_CLOUD_REGION": "us-central1",
    }


def test_server_asks_telegram_for_updates_in_the_process_that_serves(
    started, bot, telegram_server
):
    process, port = started("server", **bot)
    telegram_server.receive("/pay nonsense", chat_id=7)
    assert telegram_server.wait_for(lambda: telegram_server.messages)
    assert [message.text for message in telegram_server.messages] == [NOT_GOOD]
    assert got(port, "/readyz") == 200
    process.terminate()
    assert process.wait(30) == 0
    said = process.stderr.read()
    assert "PGP_SERVER_v1 (staging) answered 401" in said
    assert bot["TELEGRAM_BOT_API_TOKEN"] not in said


def test_botcommand_asks_telegram_for_updates_where_it_is_told_to(
    started, bot, telegram_server, tasks_server, new_key
):
    process, port = started("botcommand", TELEGRAM_UPDATES="poll", **bot)
    token = f"e30.{new_key()[:43]}"
    telegram_server.receive("/start paid", chat_id=7)
    telegram_server.receive(f"/claim {token}", chat_id=8)
    assert telegram_server.wait_for(lambda: len(telegram_server.messages) == 2)
    first, second = telegram_server.messages
    assert (first.chat_id, first.text) == (7, GREETINGS["paid"])
    assert second.chat_id == 8
    assert [json.loads(task.body) for task in tasks_server.tasks] == [{"token": token}]
    assert got(port, "/readyz") == 200
    process.terminate()
    assert process.wait(30) == 0
    said = process.stderr.read()
    assert said.count("PGP_BOTCOMMAND_v1 (staging) answered 200: Command answered") == 2
    for canary in (bot["TELEGRAM_BOT_API_TOKEN"], token):
        assert canary not in said


def test_botcommand_leaves_telegram_alone_unless_it_is_told_to_ask(started, bot, telegram_server):
    process, port = started("botcommand", **bot)
    assert got(port, "/readyz") == 200
    process.terminate()
    assert process.wait(30) == 0
    assert telegram_server.seen == []


def test_a_process_that_is_told_not_to_ask_may_have_workers(started, bot, telegram_server):
    process, port = started("server", "--workers", "2", TELEGRAM_UPDATES="off", **bot)
    assert got(port, "/healthz") == 200
    process.terminate()
    assert process.wait(30) == 0
    assert telegram_server.seen == []


def test_the_static_key_is_loaded_once_by_the_worker_and_not_by_its_parent(started, values):
    """A parent that had loaded it would hold it for ever: no rotation would ever be taken up by all."""
    with SecretManagerEmulator(project="pgp-test") as manager:
        for name, value in values.items():
            manager.add(name, value)
        source = f"gsm://pgp-test?endpoint={manager.endpoint}"
        process, port = started("split2", PGP_CONFIG_SOURCE=source)
        assert [got(port, "/readyz") for _ in range(8)] == [200] * 8
        assert manager.calls.count("AccessSecretVersion", "SUCCESS_URL_SIGNING_KEY") == 1
        [worker] = psutil.Process(process.pid).children()
        worker.kill()
        worker.wait(20)
        assert got(port, "/readyz") == 200  # of the next one, which has loaded it anew
        assert manager.calls.count("AccessSecretVersion", "SUCCESS_URL_SIGNING_KEY") == 2
        process.terminate()
        assert process.wait(30) == 0


def test_a_worker_that_cannot_be_replaced_takes_no_other_one_with_it(started, values):
    """One secret is disabled, and one worker is killed: the others go on, and its place is filled later."""
    with SecretManagerEmulator(project="pgp-test") as manager:
        for name, value in values.items():
            manager.add(name, value)
        source = f"gsm://pgp-test?endpoint={manager.endpoint}"
        process, port = started("split2", "--workers", "3", PGP_CONFIG_SOURCE=source)
        while manager.calls.count("AccessSecretVersion", "CHANGENOW_API_KEY") < 3:
            assert got(port, "/healthz") == 200
        assert [got(port, "/healthz") for _ in range(8)] == [200] * 8
        victim, *others = psutil.Process(process.pid).children()
        manager.disable("CHANGENOW_API_KEY", 1)
        victim.kill()
        said = []
        for line in iter(process.stderr.readline, ""):
            said.append(line)
            if sum("exited with code 75" in each for each in said) == 2:  # and a third is tried
                break
        assert "".join(said).count("it is tried again") == 1
        assert "Traceback" not in "".join(said)
        assert process.poll() is None
        assert all(other.is_running() for other in others)
        assert [got(port, "/healthz") for _ in range(8)] == [200] * 8

        manager.enable("CHANGENOW_API_KEY", 1)
        loaded = manager.calls.count("AccessSecretVersion", "SUCCESS_URL_SIGNING_KEY")
        while manager.calls.count("AccessSecretVersion", "SUCCESS_URL_SIGNING_KEY") == loaded:
            assert got(port, "/healthz") == 200
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("missing", ["CHANGENOW_API_KEY", "TASKS_SERVICE_ACCOUNT"])
def test_what_is_missing_is_told_as_text(environ, missing):
    del environ[missing]
    ended = subprocess.run(
        [*PROGRAM, "run", "split2", "--port", "0"],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert missing in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_name_ends_at_once_with_a_hint(command):
    ended = command("run", "orchestator")
    assert ended.exit_code == 2
    assert "ORCHESTRATOR" in ended.stderr


# -- run, in this process ------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch):
    """What would be served, in place of serving it."""
    calls = []

    def serve(service, listener, **options):
        calls.append((service, listener.getsockname()[:2], options))

    monkeypatch.setattr(sys.modules["pgp_services.cli.run"], "serve", serve)
    return calls


def test_a_program_alone_listens_on_the_loopback(command, served):
    assert command("run", "split2", "--port", "0", "--threads", "3").exit_code == 0
    ((service, (host, _), options),) = served
    assert (service, host) == (Service.SPLIT2, "127.0.0.1")
    assert options == {"workers": 1, "threads": 3}


def test_cloud_run_says_the_port_and_is_let_in_from_outside(command, served):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    assert command("run", "split2", PORT=str(port)).exit_code == 0
    assert [call[1] for call in served] == [("0.0.0.0", port)]  # noqa: S104  that is the point


def test_a_host_may_be_an_ipv6_one(command, served):
    assert command("run", "split2", "--host", "::1", "--port", "0").exit_code == 0
    assert served[0][1][0] == "::1"


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(command, served):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ended = command("run", "split2", "--port", str(port))
    assert ended.exit_code == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in ended.stderr
    assert served == []


@pytest.fixture
def signals_as_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def deployed(monkeypatch, signals_as_before, values, environ):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def test_more_workers_than_a_service_may_have_are_refused(command, deployed, monkeypatch):
    for name in ("JWT_SECRET_KEY", "SIGNUP_SECRET_KEY"):
        monkeypatch.setenv(name, "k" * 32)
    ended = command("run", "webapi", "--workers", "2", "--port", "0")
    assert ended.exit_code == 2
    assert "one process" in ended.stderr
    with pytest.raises(CannotServeError, match="TELEGRAM_UPDATES"):
        server._refuse_workers(Service.SERVER, 2, polls=True)
    server._refuse_workers(Service.SERVER, 2, polls=False)


def test_a_fault_of_the_start_is_the_commands_text(
    command, deployed, in_this_process, monkeypatch, capfd
):
    monkeypatch.delenv("CHANGENOW_API_KEY")
    ended = command("run", "split2", "--port", "0")
    assert ended.exit_code == 1
    assert "CHANGENOW_API_KEY" in ended.stderr


def test_so_is_a_wrong_setting(command, deployed):
    ended = command("run", "server", "--port", "0", TELEGRAM_UPDATES="yes")
    assert ended.exit_code == 1
    assert "TELEGRAM_UPDATES" in ended.stderr


def test_a_worker_that_cannot_load_ends_with_the_code_that_ends_gunicorn(
    deployed, in_this_process, listener, monkeypatch, capsys
):
    monkeypatch.delenv("CHANGENOW_API_KEY")
    pids = SimpleNamespace(getpid=count(1).__next__)  # that of a worker is not that of its parent
    monkeypatch.setattr("pgp_services.serving.gunicorn_server.os", pids)
    with pytest.raises(SystemExit) as end:
        serve(Service.SPLIT2, listener, workers=1, threads=1)
    assert end.value.code == 4
    assert "CHANGENOW_API_KEY" in capsys.readouterr().err


class Replacement:
    """What a worker is to the server, which is told to end when it has looked so often."""

    ppid = os.getppid()

    def __init__(self, looks=3):
        self.looks, self.noted = looks, 0

    @property
    def alive(self):
        return self.noted < self.looks

    def notify(self):
        self.noted += 1


class Failing:
    """A service that cannot be made; for reasons that change."""

    def __init__(self, *faults):
        self.faults = iter(faults)

    def begin(self):
        pass

    def load(self):
        raise next(self.faults)


@pytest.fixture
def gunicorn_of(listener, monkeypatch):
    """A server whose worker this process is, on a clock that each look moves by a tenth of a second."""
    now = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds)
    )
    monkeypatch.setattr("pgp_services.serving.gunicorn_server.time", clock)
    duplicate = listener.dup()
    servers = []

    def build(*faults):
        servers.append(GunicornServer(Failing(*faults), duplicate, workers=2, threads=1, grace=1))
        return servers[0]

    yield build
    os.close(servers[0].cfg.address[0])


def code_of(gunicorn, worker):
    gunicorn.cfg.post_fork(None, worker)
    with pytest.raises(SystemExit) as end:
        gunicorn.load()
    assert end.value.__context__ is None
    return end.value.code


def test_pauses_grow_until_a_worker_loads_and_each_reason_is_told_once(gunicorn_of, capsys):
    one, other = SecretUnavailable("ONE."), SecretUnavailable("OTHER.")
    gunicorn = gunicorn_of(*[one] * 6, other, one)
    gunicorn.cfg.post_worker_init(None)
    looks = []
    for _ in range(7):
        looks.append(Replacement(looks=1000))
        assert code_of(gunicorn, looks[-1]) == os.EX_TEMPFAIL
    seconds = [round(each.noted / 10) for each in looks]
    assert seconds == [1, 2, 4, 8, 16, 16, 16]
    said = capsys.readouterr().err
    assert (said.count("ONE."), said.count("OTHER.")) == (1, 1)
    gunicorn.cfg.post_worker_init(None)
    after = Replacement(looks=1000)
    assert code_of(gunicorn, after) == os.EX_TEMPFAIL
    assert round(after.noted / 10) == 1
    assert "ONE." in capsys.readouterr().err


def test_a_pause_ends_with_the_worker_or_its_parent(gunicorn_of):
    gunicorn = gunicorn_of(*[SecretUnavailable("why")] * 2)
    gunicorn.cfg.post_worker_init(None)
    told_to_end, orphan = Replacement(looks=3), Replacement(looks=1000)
    orphan.ppid = -1
    assert [code_of(gunicorn, each) for each in (told_to_end, orphan)] == [os.EX_TEMPFAIL] * 2
    assert (told_to_end.noted, orphan.noted) == (3, 0)


def test_a_fault_of_our_own_ends_a_server_that_has_not_served_and_no_other(gunicorn_of, capsys):
    gunicorn = gunicorn_of(OSError("CANARY"), OSError("CANARY"))
    with pytest.raises(OSError, match="CANARY"):
        gunicorn.load()
    gunicorn.cfg.post_worker_init(None)
    assert code_of(gunicorn, Replacement()) == os.EX_TEMPFAIL
    said = capsys.readouterr().err
    assert "OSError" in said
    assert "CANARY" not in said


@pytest.fixture
def in_this_process(monkeypatch):
    """gunicorn's one worker is this process; it serves nothing."""

    def run(self):
        self.cfg.post_fork(None, None)
        try:
            self.wsgi()
            self.cfg.post_worker_init(None)
        finally:
            os.close(self.cfg.address[0])
            self.cfg.worker_exit(None, None)
        raise SystemExit(0)

    monkeypatch.setattr("gunicorn.app.base.BaseApplication.run", run)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_gunicorn_makes_the_application_in_a_worker(deployed, listener, monkeypatch):
    seen = {}

    def run(self):
        seen.update(app=self.wsgi(), cfg=self.cfg)
        self.cfg.post_worker_init(None)
        self.cfg.worker_exit(None, None)
        raise SystemExit(0)

    monkeypatch.setattr("gunicorn.app.base.BaseApplication.run", run)
    descriptor = listener.fileno()
    with pytest.raises(SystemExit):
        serve(Service.SPLIT2, listener, workers=2, threads=3)
    cfg = seen["cfg"]
    assert (cfg.workers, cfg.threads, cfg.worker_class_str) == (2, 3, "gthread")
    assert listener.fileno() == -1  # gunicorn's now
    os.close(descriptor)
    assert cfg.control_socket_disable
    assert not cfg.preload_app
    assert seen["app"].name == "pgp_services"


def test_a_gunicorn_without_a_control_socket_is_as_good(listener):
    descriptor = listener.fileno()
    gunicorn = GunicornServer(None, listener, workers=1, threads=2, grace=3)
    os.close(descriptor)
    del gunicorn.cfg.settings["control_socket_disable"]  # one before 25.1
    gunicorn.load_config()


def test_the_worker_that_serves_asks_telegram_and_answers_updates_like_requests(
    deployed, in_this_process, listener, bot, telegram_server, monkeypatch, caplog
):
    for name, value in {**bot, "ALERTS_SOURCE": "env:"}.items():
        monkeypatch.setenv(name, value)
    said = []

    class Loop:
        def __init__(self, handle, stop):
            self.handle, self.stop = handle, stop

        def run(self):
            said.append(self.handle(Update(update_id=1)).status)
            self.stop.wait(20)
            said.append("stopped")

    with Server.updates.override(providers.Factory(Loop)), pytest.raises(SystemExit):
        serve(Service.SERVER, listener, workers=1, threads=1)
    assert said == [200, "stopped"]
    assert "PGP_SERVER_v1 (staging) answered 200: Nothing to do" in caplog.text


def test_uvicorn_gets_the_application_and_the_socket(
    deployed, listener, monkeypatch, fleet_values
):
    for name, value in fleet_values.items():
        monkeypatch.setenv(name, value)
    seen = {}

    def run(self, sockets):
        seen.update(config=self.config, sockets=sockets)

    monkeypatch.setattr("uvicorn.Server.run", run)
    serve(Service.WEBAPI, listener, workers=1, threads=1)
    assert seen["sockets"] == [listener]
    assert not seen["config"].access_log


def test_a_signal_before_anything_is_served_ends_it_well(deployed, listener, monkeypatch):
    monkeypatch.setattr(registry, "polls", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        serve(Service.SPLIT2, listener, workers=1, threads=1)
    assert end.value.code == 0
