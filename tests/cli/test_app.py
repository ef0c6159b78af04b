"""What all commands have in common: help, version, completion, colours, documents, and no echo of what was given."""

import json
import os
import pty
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pgp_config
from pgp_config.cli import app
from pgp_config.cli.output import Output, age_of

CANARY = "canary-9c41"
COMMANDS = [
    *(
        "list",
        "check",
        "audit",
        "graph",
        "rotate",
        "cost",
        "emulator",
        "explain",
        "init",
        "demo",
        "tail",
    ),
]


def test_the_version_is_told(run):
    ran = run("--version")
    assert (ran.exit_code, ran.stdout) == (0, f"pgp-config {version('pgp-config')}\n")


def test_the_help_names_every_command_and_the_exit_codes(run):
    shown = run("--help").stdout
    assert all(f"\n  {command}" in shown for command in COMMANDS)
    assert "..." not in shown.partition("Commands:")[2]
    assert "0 (fine), 1 (failed, or found something), 2 (wrong use)" in " ".join(shown.split())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", ["80", "200"])
def test_every_command_has_a_help_that_says_how_it_ends(run, command, columns):
    ran = run(command, "--help", COLUMNS=columns, TERMINAL_WIDTH=columns)
    assert ran.exit_code == 0
    assert "--json" in ran.stdout
    assert "…" not in ran.stdout.replace(" | …", "")
    assert max(len(line) for line in ran.stdout.splitlines()) <= int(columns)
    ends = " ".join(ran.stdout.split()).partition("t ends ")[2]
    assert "0" in ends.partition("Options:")[0]
    assert "2" in ends.partition("Options:")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        [CANARY],
        [f"--{CANARY[:6]}={CANARY}"],
        ["list", CANARY],
        ["list", f"--source={CANARY}", "shop:Shop"],
        ["list", "shop:Shop", "--json", f"--age={CANARY}"],
        ["list", f"shop:Shop {CANARY}"],
        ["list", f"{CANARY}=shop"],
        ["graph", "shop:Shop", "--format", CANARY],
        ["graph", "shop:Shop", f"--format={CANARY}"],
        ["check", "shop:Shop", "--source", "env:", "--budget", CANARY],
        ["cost", "--processes", CANARY],
        ["cost", "--requests-per-second", f"-1{CANARY}"],
        ["cost", CANARY],
        ["cost", CANARY, f"{CANARY}-2"],
        ["emulator", "--port", CANARY],
        ["emulator", CANARY],
        ["rotate", "KEY", CANARY, "--source", "memory:"],
        ["rotate", "KEY", "--source", "memory:", "--timeout", CANARY],
    ],
)
def test_what_was_given_by_mistake_is_not_repeated(run, arguments):
    """The fixture looks for it in all that is shown."""
    ran = run(*arguments)
    assert ran.exit_code in (1, 2)
    assert ran.stderr


@pytest.mark.parametrize("command", ["list", "check"])
def test_a_command_without_a_container_says_how_one_is_given(run, command):
    said = "Write MODULE:NAME of a container, or set PGP_CONFIG_CONTAINER."
    assert said in run(command).stderr


def test_a_choice_that_there_is_not_is_told_with_those_that_there_are(run):
    said = run("graph", "shop:Shop", "--format", CANARY).stderr
    assert "Invalid value for '--format': (not shown) is not one of 'mermaid', 'svg'" in said


def test_an_error_is_in_the_document(document):
    found = document("check", "shop:stored", "shop:other", code=1)
    assert found["error"]["type"] == "DeclarationError"
    assert "different sources" in found["error"]["text"]


def test_the_cost_is_a_document_too(document):
    found = document("cost", "--requests-per-second", "20", "--processes", "8", "--secrets", "3")
    assert found["choice"]["max_age"] == 60
    assert found["error"] is None


def test_the_emulator_writes_its_addresses_as_one_document():
    program = "from pgp_config.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "emulator", "--json", "--project", "demo"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        process.terminate()
        rest = process.stdout.read()
    found = json.loads("".join(lines))
    assert found["source"] == f"gsm://demo?endpoint={found['endpoint']}"
    assert (found["secrets"], found["exit_code"], rest, process.returncode) == (0, 0, "", 0)


def test_an_emulator_that_cannot_start_says_so_in_the_document(document, folder):
    (folder / "seeds.json").write_text("[]")
    found = document("emulator", "--seed", "seeds.json", code=1)
    assert "is not a JSON object" in found["error"]["text"]


def test_the_documentation_names_every_command_code_and_check():
    root = Path(__file__).parents[2]
    told = (root / "docs/command.md").read_text("utf-8")
    checks = Path(pgp_config.__file__).parent / "checks"
    source = "".join(file.read_text("utf-8") for file in checks.glob("*.py"))
    codes = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
    codes |= set(re.findall(r'\((?:Secret|Damaged|Rejected)\w+, "([a-z-]+)"\)', source))
    assert len(codes) > 20
    made = set(re.findall(r'skip\(\s*"([a-z-]+)"', source))
    assert made >= {"state", "iam-project", "catalogue", "quota"}
    for name in codes | made | set(COMMANDS):
        assert f"`{name}`" in told, name


def test_an_interruption_is_told_by_its_exit_code(run, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pgp_config.cli.list.rows_of", interrupt)
    assert run("list", "shop:Shop").exit_code == 130


# -- colours and widths --------------------------------------------------------------------------


def at_a_terminal(folder, *arguments, **environ):
    """What a terminal of 100 columns would be sent."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-c", "from pgp_config.cli import main; main()", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={**kept, "TERM": "xterm-256color", "COLUMNS": "100", **environ},
    ):
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    return shown.decode()


def test_a_terminal_gets_colours_unless_it_wants_none(folder):
    assert "\x1b[" in at_a_terminal(folder, "list", "shop:Shop")
    plain = at_a_terminal(folder, "list", "shop:Shop", NO_COLOR="1")
    assert "\x1b[3" not in plain
    assert "DATABASE_PASSWORD" in plain


def test_what_is_no_terminal_gets_no_colours(run):
    assert "\x1b" not in run("list", "shop:Shop").output


def test_what_a_program_reads_is_not_broken_into_lines(run, folder):
    (folder / "empty.csv").touch()
    ran = run("check", "shop:Shop", "--catalogue", "empty.csv")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (172_799, "48 h"),
        (172_800, "2 d"),
    ],
)
def test_ages_are_said_as_people_say_them(seconds, said):
    assert age_of(seconds) == said


def test_nothing_is_shown_beside_a_document(capsys):
    output = Output(as_json=True)
    output.line("x")
    output.paragraph("x")
    output.table(["A"], [[("x", "")]])
    assert output.end({"a": 1}, 0) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1, "exit_code": 0}


def test_without_a_standard_output_it_still_ends(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert Output().is_wide


# -- completion ------------------------------------------------------------------------------------


def completed(shell, words, **environ):
    """What a shell offers, by the protocol of typer's completion scripts."""
    ran = CliRunner().invoke(
        app,
        [],
        prog_name="pgp-config",
        env={"_PGP_CONFIG_COMPLETE": f"complete_{shell}", **environ},
    )
    assert ran.exit_code == 0
    return ran.stdout


def test_bash_completes_commands_options_and_choices():
    def bash(*words):
        return completed(
            "bash", words, COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1)
        )

    assert bash("pgp-config", "").split() == COMMANDS
    assert bash("pgp-config", "ch").split() == ["check"]
    assert "--requests-per-second" in bash("pgp-config", "check", "--req")
    assert bash("pgp-config", "graph", "--format", "s").split() == ["svg"]


def test_zsh_completes_commands_options_and_choices():
    def zsh(line):
        return completed("zsh", (), _TYPER_COMPLETE_ARGS=line)

    assert '"check":"What is wrong with the secrets, and what to do."' in zsh("pgp-config c")
    assert "--catalogue" in zsh("pgp-config check --cat")
    assert "svg" in zsh("pgp-config graph --format s")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_of_a_shell_is_shown(shell):
    ran = CliRunner().invoke(
        app, [], prog_name="pgp-config", env={"_PGP_CONFIG_COMPLETE": f"source_{shell}"}
    )
    assert ran.exit_code == 0
    assert "_PGP_CONFIG_COMPLETE" in ran.stdout
