"""The command, as a person at a terminal meets it."""

import json
import re
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pgp_config import DeclarationError, GoogleSecretManager
from pgp_config.cli import app, main
from pgp_config.emulator.seed import seed


@pytest.fixture
def run():
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", "from pgp_config.cli import main; main()", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_without_arguments_it_shows_what_it_can_do():
    shown = CliRunner().invoke(app, [])
    assert "emulator" in shown.output


def test_the_help_says_that_it_is_no_place_for_real_secrets():
    shown = CliRunner().invoke(app, ["emulator", "--help"])
    assert shown.exit_code == 0
    assert "NO PLACE FOR REAL SECRETS" in shown.output


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_seeded_secrets_until_it_is_told_to_end(run, tmp_path, ending):
    seeds = tmp_path / "secrets.json"
    seeds.write_text(
        json.dumps(
            {"ONE": "first", "TWO": ["old", "new"], "THREE": {"value": "x", "labels": {"a": "b"}}}
        )
    )
    process = run("emulator", "--seed", str(seeds), "--project", "demo")
    first = process.stdout.readline()
    endpoint = re.fullmatch(r"Secret Manager emulator listening on (127\.0\.0\.1:\d+)\n", first)[1]
    rest = re.fullmatch(
        r"REST at (http://127\.0\.0\.1:\d+/) for gcloud:\n", process.stdout.readline()
    )
    assert process.stdout.readline().endswith(f"_OVERRIDES_SECRETMANAGER={rest[1]}\n")
    assert process.stdout.readline().endswith("CLOUDSDK_CORE_PROJECT=demo\n")
    assert process.stdout.readline().startswith("3 secrets in projects/demo.")
    source = GoogleSecretManager("demo", endpoint=endpoint)
    assert source.fetch("ONE").data == b"first"
    assert (source.fetch("TWO").data, source.fetch("TWO").version) == (b"new", 2)
    source.close()
    process.send_signal(ending)
    rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "Stopping.\n", "")


def test_it_tells_its_address_first_and_ends_when_told(monkeypatch):
    masked = []
    monkeypatch.setattr(signal, "pthread_sigmask", lambda how, signals: masked.append(signals))
    monkeypatch.setattr(signal, "sigwait", masked.append)
    shown = CliRunner().invoke(app, ["emulator"])
    assert shown.exit_code == 0
    assert shown.output.startswith("Secret Manager emulator listening on 127.0.0.1:")
    assert masked == [{signal.SIGINT, signal.SIGTERM}] * 2


@pytest.mark.parametrize(
    ("seeds", "counted"),
    [
        ('{"ONE": ["canary-7f3a", "canary-7f3b"], "TWO": {"value": "x"}}', "2 secrets"),
        ('{"ONE": "canary-7f3a"}', "1 secret"),
    ],
)
def test_seeds_are_counted(monkeypatch, tmp_path, seeds, counted):
    monkeypatch.setattr(signal, "pthread_sigmask", lambda how, signals: None)
    monkeypatch.setattr(signal, "sigwait", lambda signals: None)
    file = tmp_path / "secrets.json"
    file.write_text(seeds)
    shown = CliRunner().invoke(app, ["emulator", "--seed", str(file)])
    assert f"{counted} in projects/local." in shown.output
    assert "canary" not in shown.output


def test_the_command_is_the_app(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pgp-config", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "emulator" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not a JSON object"),
        ('["canary-7f3a"]', "is not a JSON object"),
        ('{"KEY": 7}', "KEY is neither a text nor a list of texts"),
        ('{"KEY": ["canary-7f3a", 7]}', "KEY is neither a text nor a list of texts"),
        ('{"KEY": {"valeu": "canary-7f3a"}}', "KEY has other keys than value and labels"),
        ('{"KEY": {"value": "canary-7f3a", "labels": ["x"]}}', "the labels of KEY"),
        ('{"KEY": {"value": "canary-7f3a", "labels": {"a": 7}}}', "the labels of KEY"),
        ('{"a b": "canary-7f3a"}', "a b: Resource name"),
    ],
)
def test_a_bad_seed_file_is_a_clear_error_without_a_value(tmp_path, content, said):
    seeds = tmp_path / "secrets.json"
    seeds.write_text(content)
    shown = CliRunner().invoke(app, ["emulator", "--seed", str(seeds)])
    text = " ".join(shown.output.split())
    assert shown.exit_code == 1
    assert said in text
    assert str(seeds) in shown.output.replace("\n", "")
    assert "Write an object of names" in text
    assert "canary" not in shown.output


def test_a_seed_file_that_is_not_there_is_a_wrong_use(tmp_path, secret_manager):
    shown = CliRunner().invoke(app, ["emulator", "--seed", str(tmp_path / "canary-7f3a")])
    assert shown.exit_code == 2
    assert "There is no such file" in shown.output
    assert "canary" not in shown.output
    with pytest.raises(DeclarationError, match="cannot be read"):
        seed(secret_manager, tmp_path / "missing.json")


def test_both_addresses_can_be_chosen(monkeypatch, secret_manager):
    grpc, rest = secret_manager.endpoint, secret_manager.rest_endpoint
    secret_manager.stop()  # their ports are free again
    monkeypatch.setattr(signal, "pthread_sigmask", lambda how, signals: None)
    monkeypatch.setattr(signal, "sigwait", lambda signals: None)
    ports = [endpoint.rpartition(":")[2] for endpoint in (grpc, rest)]
    shown = CliRunner().invoke(app, ["emulator", "--port", ports[0], "--rest-port", ports[1]])
    assert f"listening on {grpc}\n" in shown.output
    assert f"http://{rest}/" in shown.output


class Targets:
    """What was made to publish to, in place of the real ones."""

    def __init__(self):
        self.made = []
        self.told = []

    def __call__(self, *arguments, **options):
        self.made.append((arguments, sorted(options)))
        return self.told.append


def test_changes_go_where_the_options_say(monkeypatch, tmp_path):
    from pgp_config import emulator

    urls, topics = Targets(), Targets()
    monkeypatch.setattr(emulator, "PushUrl", urls)
    monkeypatch.setattr(emulator, "Topic", topics)
    monkeypatch.setattr(signal, "pthread_sigmask", lambda how, signals: None)
    monkeypatch.setattr(signal, "sigwait", lambda signals: None)
    seeds = tmp_path / "secrets.json"
    seeds.write_text('{"ONE": "canary-7f3a"}')
    url, host = "http://127.0.0.1:8080/pubsub/secrets", "127.0.0.1:8085"
    options = ["--push-url", url, "--pubsub", host, "--topic", "changes", "--seed", str(seeds)]
    shown = CliRunner().invoke(app, ["emulator", *options])
    assert urls.made == [((url,), ["signer"])]
    assert topics.made == [((host,), [])]
    assert f"Changes go to projects/local/topics/changes of {host}\n" in shown.output
    assert f"Changes go to {url}, with a token for that audience" in shown.output
    assert "/oauth2/v1/certs" in shown.output
    # What was there at the start is no change.
    assert urls.told == topics.told == []


@pytest.mark.parametrize("option", ["--port", "--rest-port"])
def test_a_port_that_is_taken_is_a_clear_error(secret_manager, run, option):
    taken = secret_manager.endpoint if option == "--port" else secret_manager.rest_endpoint
    process = run("emulator", option, taken.rpartition(":")[2])
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Another program has the port" in errors


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgp_config.emulator", None)
    shown = CliRunner().invoke(app, ["emulator"])
    assert shown.exit_code == 1
    assert "pip install 'pgp-config[emulator]'" in shown.output
