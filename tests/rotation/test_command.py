"""`pgp-config rotate`, as a person and a script meet it; with real processes that report."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pgp_config.cli import app
from pgp_config.cli.shown import Shown
from pgp_config.uptake.urls import store_from_url
from pgp_config.uptake.verdict import Verdict

CANARY = "canary-7f3a"
OLD, NEW = f"{CANARY}-old", f"{CANARY}-new"

KEYS = {
    "secret",
    "action",
    "state",
    "exit_code",
    "old",
    "others",
    "new",
    "verdict",
    "plan",
    "steps",
    "error",
}

#: A service under load: a scope and a read of it, again and again, until its input ends.
SERVICE = """
import sys, threading, time
from pgp_config import *

class Split2(SecretContainer):
    key = DynamicSecret("KEY")

secrets = Split2(source=source_from_url(sys.argv[1]), freshness=Freshness(0.2))
secrets.load()
ended = threading.Event()
def serve():
    while not ended.is_set():
        with request_scope():
            secrets.key()
            time.sleep(0.01)
held = request_scope()
if "hold" in sys.argv:
    held.__enter__()
    secrets.key()
thread = threading.Thread(target=serve)
thread.start()
print("serving", flush=True)
for line in sys.stdin:
    held.__exit__(None, None, None)
ended.set()
thread.join()
secrets.close()
"""


@pytest.fixture
def source(secret_manager):
    secret_manager.add("KEY", OLD)
    return f"gsm://local?endpoint={secret_manager.endpoint}"


@pytest.fixture(params=["sqlite", "redis"])
def url(request, tmp_path):
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return f"sqlite:///{tmp_path}/uptake.sqlite3"


@pytest.fixture
def run(source):
    """The command in this process: with an input, without colours."""

    def invoke(*arguments, value=f"{NEW}\n", **environment):
        environment = {"PGP_CONFIG_SOURCE": source, **environment}
        result = CliRunner().invoke(
            app, ["rotate", "KEY", *arguments], input=value, env=environment
        )
        assert CANARY not in result.output + str(result.exception)
        return result

    return invoke


@pytest.fixture
def said(tmp_path, entry):
    """A store in which processes have said what they have, and the options that read it at once."""

    def say(*versions, **facts):
        url = f"sqlite:///{tmp_path}/said"
        store_from_url(url).report(
            [entry(f"host-{n}", version=v, **facts) for n, v in enumerate(versions)]
        )
        return ["--uptake", url, "--settle", "0", "--timeout", "0"]

    return say


def document(result):
    found = json.loads(result.stdout)
    assert set(found) == KEYS
    assert found["exit_code"] == result.exit_code
    return found


def states(secret_manager, name="KEY"):
    path = f"projects/local/secrets/{name}"
    versions = secret_manager.store.list_versions(path, 100, "", "").versions
    return {
        int(v.name.rpartition("/")[2]): {1: "enabled", 2: "disabled"}[v.state] for v in versions
    }


def stored(secret_manager, version):
    name = f"projects/local/secrets/KEY/versions/{version}"
    return secret_manager.store.access_version(name).payload.data.decode()


# -- people ------------------------------------------------------------------------------------


def test_a_person_sees_each_step_and_how_it_ended(run, said, secret_manager):
    result = run(*said(2, 2))
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "✓ Added version 2.",
        "✓ Taken up by 2 of split2.",
        "✓ Version 1 is unread.",
        "✓ Disabled version 1.",
        "Done: version 2 is served, version 1 is disabled.",
    ]
    assert states(secret_manager) == {1: "disabled", 2: "enabled"}
    assert stored(secret_manager, 2) == NEW


def test_a_person_sees_who_is_waited_for_and_why(run, said, secret_manager):
    result = run(*said(2, 1, 1, failing=True), "--service", "batch")
    lines = result.output.splitlines()
    assert result.exit_code == 3
    assert lines[1:4] == [
        "? No process of batch reports.",
        "… Waiting for 2; taken up by 1 of split2:",
        lines[3],
    ]
    assert lines[3].startswith(
        "    split2 host-1: failing, has version 1, heard 0 s ago, read 0 s"
    )
    assert lines[3].endswith("It cannot reach the source, or the source refuses it: see its log.")
    assert lines[-1].startswith("Not yet safe: version 1 may still be in use")
    assert states(secret_manager) == {1: "enabled", 2: "enabled"}


def test_a_person_sees_that_nobody_reports(run, said):
    result = run(*said())
    assert result.exit_code == 3
    assert "? No process reports that it uses this secret." in result.output
    assert "Not known to be safe: version 1 stays as it is." in result.output


def test_a_static_secret_needs_restarts(run, said):
    result = run(*said(1, kind="static", read_ago=None, in_use=()))
    assert result.exit_code == 3
    assert "restart, has version none, heard 0 s ago. It has loaded the secret" in result.output
    assert "Version 2 waits for restarts" in result.output


def test_the_names_in_a_store_give_a_terminal_no_orders(run, said):
    result = run(*said(1, service="\x1b[31mred\x07[bold]"))
    assert "?[31mred?[bold] host-0" in result.output
    assert "\x1b" not in result.output


def test_a_first_version_replaces_nothing(source, secret_manager):
    secret_manager.create("FRESH")
    result = CliRunner().invoke(
        app, ["rotate", "FRESH", "--generate", "hex:32"], env={"PGP_CONFIG_SOURCE": source}
    )
    assert result.output.splitlines() == ["✓ Added version 1.", "Done: version 1 is served."]


def test_a_plan_changes_nothing_and_says_what_it_costs(run, said, secret_manager):
    result = run(*said(1), "--plan", value="")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "1. check the value against its type",
        "2. add it as version 2",
        "3. wait until every process has version 2 and none holds version 1",
        "4. disable version 1 under its etag",
        "Used by 1 of split2.",
        (
            "Costs: 1 access at most ($0.000003); 2 versions $0.12 a month ($0.06 now), also when "
            "disabled, until destroyed. The services' accesses stay what they are."
        ),
    ]
    assert states(secret_manager) == {1: "enabled"}


def test_a_plan_says_what_is_lacking_and_who_is_not_known(run, said, monkeypatch):
    from pgp_config.sources.google.administration import GoogleAdministration

    monkeypatch.setattr(GoogleAdministration, "lacking", lambda *_: ["a.b", "c.d"])
    result = run("--plan")
    assert "This identity lacks a.b, c.d." in result.output
    assert "Who uses it is not known: give --uptake." in result.output
    assert "No process reports that it uses it." in run("--plan", *said()).output


def test_a_plan_of_a_rollback_and_of_what_was_interrupted(run, said):
    run(*said(1))
    result = run("--plan", value="")
    assert "This goes on with what was interrupted." in result.output
    run(*said(3), "--rollback", value="")
    assert "There is nothing to do." in run("--rollback", "--plan", value="").output


def test_a_rollback_serves_the_old_value_again(run, said, secret_manager):
    run(*said(2))
    result = run(*said(3), "--rollback", value="")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "Done: version 3 is served, version 2 is disabled."
    assert stored(secret_manager, 3) == OLD


def test_a_rollback_of_nothing_says_so(run, said, secret_manager):
    secret_manager.inject("INTERNAL", method="AddSecretVersion")
    assert run(*said(1)).exit_code == 1
    secret_manager.clear_faults()
    result = run("--rollback", value="")
    assert result.output.splitlines() == [
        "✓ Nothing had been added: the rotation is forgotten.",
        "Done.",
    ]


def test_a_rotation_is_forgotten(run, said):
    run(*said(1))
    result = run("--forget", value="")
    assert result.output.splitlines() == [
        "✓ The rotation is forgotten; no version was changed.",
        "Done.",
    ]
    found = document(run("--forget", "--json", value=""))
    assert (found["action"], found["state"], found["exit_code"]) == ("forget", "done", 0)
    assert found["steps"] == ["No rotation is under way, and there is nothing to forget."]


def test_a_person_sees_all_that_was_in_use(run, said, secret_manager):
    secret_manager.add("KEY", f"{CANARY}-rejected")
    run(*said(1, refused=(2,)))
    result = run(*said(3))
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == (
        "Done: version 3 is served, versions 1 and 2 are disabled."
    )
    assert states(secret_manager) == {1: "disabled", 2: "disabled", 3: "enabled"}


def test_json_has_all_that_was_in_use(run, said, secret_manager):
    secret_manager.add("KEY", f"{CANARY}-rejected")
    found = document(run(*said(1), "--json", "--keep-old"))
    assert found["state"] == "waiting"
    assert found["old"] == {"version": 1, "state": "enabled"}
    assert found["others"] == [{"version": 2, "state": "enabled"}]


def test_versions_that_ended_differently_are_told_apart(run, said, secret_manager):
    secret_manager.add("KEY", f"{CANARY}-rejected")
    run(*said(1))
    secret_manager.disable("KEY", 2)
    result = run(*said(3), "--keep-old")
    assert result.output.splitlines()[-1] == (
        "Done: version 3 is served, version 2 is disabled, version 1 is enabled."
    )


def test_several_versions_that_may_be_in_use_are_told(run, said, secret_manager):
    secret_manager.add("KEY", f"{CANARY}-rejected")
    result = run(*said(1))
    assert result.output.splitlines()[-1] == (
        "Not yet safe: versions 1 and 2 may still be in use, and stay as they are. Run again to go on."
    )


def test_without_an_enabled_version_the_uptake_is_proved_too(run, said, secret_manager):
    secret_manager.disable("KEY", 1)
    result = run()
    assert (result.exit_code, result.output.splitlines()[-1]) == (
        3,
        "Not known to be taken up: nobody has proved that a process uses version 2.",
    )
    result = run(*said(1, failing=True))
    assert (result.exit_code, result.output.splitlines()[-1]) == (
        3,
        "Not yet taken up: not every process has version 2. Run again to go on.",
    )
    result = run(*said(2))
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "Done: version 2 is served.")


def test_every_older_version_is_disabled_afterwards(run, said, secret_manager):
    secret_manager.add("KEY", f"{CANARY}-2")
    assert "! Version 1 stays enabled" in run(*said(3)).output
    result = run(*said(3), "--continue", "--all-older", value="")
    assert result.output.splitlines()[-1] == (
        "Done: version 3 is served, versions 1 and 2 are disabled."
    )


# -- scripts -----------------------------------------------------------------------------------


def test_json_is_one_document_and_nothing_else(run, said):
    found = document(run(*said(2), "--json"))
    assert (found["secret"], found["action"], found["state"]) == ("KEY", "rotate", "done")
    assert (found["old"], found["new"]) == ({"version": 1, "state": "disabled"}, 2)
    assert found["verdict"] == {
        "state": "safe",
        "up": [{"service": "split2", "processes": 1}],
        "waiting_for": [],
        "missing": [],
    }
    assert found["steps"][0] == "Added version 2."
    assert found["error"] is found["plan"] is None


def test_json_of_waiting_names_the_processes(run, said):
    result = run(*said(1, in_use=(1,)), "--json", "--service", "batch")
    found = document(result)
    assert (result.exit_code, found["state"]) == (3, "waiting")
    assert found["verdict"]["missing"] == ["batch"]
    (laggard,) = found["verdict"]["waiting_for"]
    assert laggard.pop("heard_ago") >= 0
    assert laggard == {
        "service": "split2",
        "instance": "host-0",
        "reason": "behind",
        "version": 1,
        "in_use": [1],
        "read_ago": 0.5,
    }


def test_json_of_a_plan(run, said):
    found = document(run(*said(1), "--json", "--plan"))
    assert (found["state"], found["new"], found["plan"]["old"]) == ("planned", 2, 1)
    assert found["plan"]["cost"] == {
        "accesses": 1,
        "accesses_usd": pytest.approx(0.000003),
        "versions_billed_now": 1,
        "versions_added": 1,
        "versions_usd_a_month": 0.12,
    }
    assert found["plan"]["audience"] == [{"service": "split2", "processes": 1}]


def test_json_of_a_plan_without_a_store(run):
    assert document(run("--json", "--plan"))["plan"]["audience"] is None


def test_json_of_a_failure(run):
    result = run("--json", "--type", "builtins:int")
    found = document(result)
    assert (result.exit_code, found["state"]) == (1, "failed")
    assert found["error"]["type"] == "RotationStopped"
    assert "is not a valid int" in found["error"]["text"]


def test_json_of_an_interruption_and_the_next_run(run, said, monkeypatch, secret_manager):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pgp_config.rotation.steps.Rotation._await", interrupt)
        result = run(*said(1), "--json")
    assert (result.exit_code, document(result)["state"]) == (130, "interrupted")
    assert "Run the command again" in result.stderr
    assert document(run(*said(2), "--json", "--continue", value=""))["state"] == "done"
    assert states(secret_manager) == {1: "disabled", 2: "enabled"}


# -- values ------------------------------------------------------------------------------------


def test_a_value_comes_from_a_file(run, said, secret_manager, tmp_path):
    file = tmp_path / "value"
    file.write_text(f"{NEW}\n")
    assert run(*said(2), "--value-file", str(file), value="").exit_code == 0
    assert stored(secret_manager, 2) == NEW


def test_a_generated_value_is_nowhere_to_be_seen(run, said, secret_manager):
    result = run(*said(2), "--generate", "hex:32", "--json", value="")
    assert result.exit_code == 0
    assert len(stored(secret_manager, 2)) == 64
    assert stored(secret_manager, 2) not in result.output


@pytest.mark.parametrize(
    ("options", "value", "said"),
    [
        ([], "", "no value was given"),
        ([], " \n", "no value was given"),
        (["--type", "builtins:int"], NEW, "is not a valid int"),
        ([], OLD, "served already"),
        ([], f"-----BEGIN PRIVATE KEY-----{CANARY}", "private-key material"),
        ([], "x" * 65537, "more than 65536 bytes"),
        (["--continue"], "", "no rotation is under way"),
    ],
)
def test_what_is_refused_adds_nothing(run, secret_manager, options, value, said):
    result = run(*options, value=value)
    assert result.exit_code == 1
    assert said in " ".join(result.stderr.split())
    assert states(secret_manager) == {1: "enabled"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--value-file", f"/{CANARY}"], "There is no such file, or it cannot be read"),
        (["--value-file", "/"], "There is no such file, or it cannot be read"),
        (["--generate", "hex:1"], "there is no such generator"),
        (["--generate", CANARY], "there is no such generator"),
        (["--container", "nowhere:X"], "cannot be imported"),
        (["--container", "json:Nope"], "there is no Nope in it"),
        (["--container", "json:dumps"], "declares no secrets"),
        (["--type", "nope:Nope"], "cannot be imported"),
        (["--uptake", "ftp://x"], "unknown scheme"),
        (["--uptake", ""], "unknown scheme"),
        (["--source", "ftp://x"], "no source for the scheme"),
        (["--source", ""], "has no scheme"),
        (["--source", "env:"], "can be read, and not be changed"),
    ],
)
def test_an_option_or_a_container_that_there_is_not_is_a_wrong_use(
    run, secret_manager, options, said
):
    result = run(*options, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())
    assert states(secret_manager) == {1: "enabled"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["a-value"],
        ["--value", "x"],
        ["--generate", "hex:32", "--value-file", "x"],
        ["--continue", "--rollback"],
        ["--forget", "--rollback"],
        ["--plan", "--forget"],
        ["--all-older", "--keep-old"],
        ["--all-older", "--rollback"],
        ["--plan", "--generate", "hex:32"],
        ["--timeout", "-1"],
    ],
)
def test_a_wrong_use_is_told_apart(run, secret_manager, arguments):
    """Above all: there is no way to give a value on the command line."""
    assert run(*arguments).exit_code == 2
    assert states(secret_manager) == {1: "enabled"}


def test_what_an_imported_module_prints_is_no_part_of_the_document(run, said, monkeypatch):
    import types

    class Talkative(types.ModuleType):
        def __getattr__(self, name):
            if name != "kind":
                raise AttributeError
            sys.stdout.write("hello")
            return str

    monkeypatch.setitem(sys.modules, "talkative", Talkative("talkative"))
    document(run(*said(2), "--json", "--type", "talkative:kind"))


def test_at_a_terminal_the_value_is_asked_for_and_not_shown(source, secret_manager):
    program = "from pgp_config.cli import main; main()"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, "rotate", "KEY", "--json"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "PGP_CONFIG_SOURCE": source},
    )
    os.close(theirs)
    shown = b""
    for prompt in (b"The new value:", b"Repeat for confirmation:"):
        while prompt not in shown:
            assert select.select([ours], [], [], 60)[0], shown
            shown += os.read(ours, 1024)
        assert CANARY.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        while (
            termios.tcgetattr(ours)[3] & termios.ECHO
        ):  # what is typed before that is thrown away
            assert process.poll() is None
        os.write(ours, f"{NEW}\n".encode())
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert json.loads(out)["state"] == "unknown"
    assert CANARY.encode() not in out + shown
    assert stored(secret_manager, 2) == NEW


# -- real processes ----------------------------------------------------------------------------


@pytest.fixture
def serve(source, url):
    """Starts processes of a service, which report to a real store."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVICE, source, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PGP_CONFIG_UPTAKE": url, "PGP_CONFIG_SERVICE": "split2"},
        )
        started.append(process)
        assert process.stdout.readline() == "serving\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def rotate(source, url):
    """The command in a process of its own, against that store."""

    def command(*arguments, value=NEW):
        return subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                "from pgp_config.cli import main; main()",
                "rotate",
                "KEY",
                "--json",
                *arguments,
            ],
            input=value,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PGP_CONFIG_SOURCE": source, "PGP_CONFIG_UPTAKE": url},
        )

    return command


def reported(url, count):
    """Wait until so many processes have reported: they do so in the background."""
    store = store_from_url(url)
    deadline = time.monotonic() + 60
    while len(store.read("KEY")) != count:
        assert time.monotonic() < deadline, store.read("KEY")
    store.close()


def test_real_processes_take_it_up_and_the_old_version_is_disabled(
    serve, rotate, url, secret_manager
):
    for _ in range(3):
        serve()
    reported(url, 3)
    run = rotate("--settle", "1", "--timeout", "60", "--service", "split2")
    found = json.loads(run.stdout)
    assert (run.returncode, found["state"]) == (0, "done"), run
    assert found["verdict"]["up"] == [{"service": "split2", "processes": 3}]
    assert states(secret_manager) == {1: "disabled", 2: "enabled"}
    assert CANARY not in run.stdout + run.stderr
    again = rotate("--rollback", "--settle", "1", "--timeout", "60")
    assert (again.returncode, stored(secret_manager, 3)) == (0, OLD), again


@pytest.mark.parametrize("url", ["redis"], indirect=True)
def test_real_processes_that_freeze_hold_die_and_end(serve, rotate, url, secret_manager):
    serve()
    frozen, holding, dying = serve(), serve("hold"), serve()
    reported(url, 4)
    frozen.send_signal(signal.SIGSTOP)
    dying.send_signal(signal.SIGSTOP)
    run = rotate("--settle", "0", "--timeout", "2")
    found = json.loads(run.stdout)
    assert run.returncode == 3, run
    waited = {w["instance"].split("-")[-2]: w for w in found["verdict"]["waiting_for"]}
    assert set(waited) == {str(p.pid) for p in (frozen, holding, dying)}
    assert waited[str(holding.pid)]["in_use"] == [1, 2]
    assert waited[str(holding.pid)]["reason"] == "holds"
    assert waited[str(frozen.pid)]["version"] == 1
    dying.kill()
    frozen.send_signal(signal.SIGCONT)
    holding.stdin.write("let go\n")
    holding.stdin.flush()
    waiting = json.loads(rotate("--continue", "--settle", "0", "--timeout", "3").stdout)
    assert [w["instance"].split("-")[-2] for w in waiting["verdict"]["waiting_for"]] == [
        str(dying.pid)
    ]
    assert states(secret_manager) == {1: "enabled", 2: "enabled"}
    holding.communicate(timeout=60)  # it ends, and says so
    reported(url, 3)
    run = rotate("--continue", "--settle", "0", "--timeout", "60", "--gone-after", "15")
    assert run.returncode == 0, run
    assert states(secret_manager) == {1: "disabled", 2: "enabled"}


def test_an_interruption_at_the_prompt_is_one(run, monkeypatch):
    def abort():
        raise typer.Abort

    monkeypatch.setattr(sys.modules["pgp_config.cli.rotate"], "_read_input", abort)
    result = run("--json")
    assert (result.exit_code, document(result)["state"]) == (130, "interrupted")


def test_what_a_person_types_is_not_echoed(monkeypatch):
    command = sys.modules["pgp_config.cli.rotate"]
    asked = []

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(command.typer, "prompt", lambda text, **how: asked.append(how) or NEW)
    assert command._read_input() == NEW.encode()
    assert asked == [{"hide_input": True, "confirmation_prompt": True, "err": True}]


def test_that_nobody_reports_is_told_to_a_person(capsys):
    shown = Shown("KEY", "rotate", as_json=False)
    shown.tell(Verdict("unknown"))
    shown.tell(Verdict("unknown", missing=("split1",), up=(("split2", 3),)))
    assert capsys.readouterr().out.splitlines() == [
        "? No process reports that it uses this secret.",
        "✓ Taken up by 3 of split2.",
        "? No process of split1 reports.",
    ]


def test_a_value_on_the_command_line_is_refused_and_not_shown():
    for options in (["KEY", CANARY], ["KEY", "--generate", CANARY]):
        result = CliRunner().invoke(app, ["rotate", *options, "--source", "memory:"])
        assert result.exit_code == 2
        assert CANARY not in result.output
    assert (
        "pipe it in"
        in CliRunner().invoke(app, ["rotate", "KEY", CANARY, "--source", "env:"]).output
    )


def test_a_closed_standard_input_has_no_value(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert sys.modules["pgp_config.cli.rotate"]._read_input() == b""
