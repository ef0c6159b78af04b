"""The commands of docs/: each exists, with its options; Google's by the word of gcloud itself."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from pgp_config.cli import app

from .conftest import DOCS, FENCE

PAGES = sorted([*DOCS.glob("*.md"), DOCS.parent / "src" / "pgp_config" / "errors.md"])
#: What a line names in place of a program's words.
PLACES = re.compile(r"[…{}<>|]|\bNAME\b|\bMODULE\b|\bNUMBER\b")


def commands_in(text, program):
    """Its calls in shell blocks and in the text, with their lines joined."""
    scripts = [body for kind, body in FENCE.findall(text) if kind in {"bash", "sh", "console"}]
    scripts += re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    for script in scripts:
        for line in re.sub(r"\\\n\s*", " ", script).splitlines():
            bare = re.sub(r"(^|\s)#\s.*$", "", line)
            for found in re.finditer(rf"(?<![\w/.\[-]){program} ", bare):
                yield _until_end(bare[found.start() :])


def _until_end(text):
    quote = ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[place - 1] != "\\" else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "|;&)<>":
            return text[:place].strip()
    return text.strip()


def all_of(program, pages):
    return sorted(
        {(page.name, line) for page in pages for line in commands_in(page.read_text(), program)}
    )


OURS = all_of("pgp-config", PAGES)
GOOGLES = [
    line
    for _, line in all_of("gcloud", [DOCS / f"{name}.md" for name in ("cloud-run", "iam", "push")])
]


@pytest.mark.parametrize(("page", "command"), OURS)
def test_a_command_of_ours_exists_with_its_options(page, command):
    _, name, *words = shlex.split(command)
    group = typer.main.get_command(app)
    if name.startswith("-") or PLACES.match(name):
        return
    assert name in group.commands, f"{page}: there is no {name}"
    parameters = group.commands[name].params
    known = {option for each in parameters for option in (*each.opts, *each.secondary_opts)}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known | {"--help"}, page


def test_googles_commands_exist_with_their_options(tmp_path):
    if shutil.which("gcloud") is None and "CI" not in os.environ:
        pytest.skip("the Google Cloud CLI (gcloud) is not installed")
    # It asks whether the project's name can be one.
    commands = [
        re.sub(r"\$(\{)?PROJECT\b\}?", "pgp-live", line)
        for line in GOOGLES
        if "--" in line and not PLACES.search(line)  # else it is only named
    ]
    assert len(commands) > 10
    given = tmp_path / "commands.json"
    given.write_text(json.dumps([{"command_string": line} for line in commands]))
    ran = subprocess.run(
        [shutil.which("gcloud"), "meta", "lint-gcloud-commands", f"--commands-file={given}"],
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_PROJECT": "pgp-live"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    faults = {
        each["command_string"]: each["error_message"]
        for each in json.loads(ran.stdout)
        if not each["success"]
    }
    assert faults == {}


def test_least_rights_are_on_secrets_and_not_on_the_project():
    text = (DOCS / "cloud-run.md").read_text() + (DOCS / "iam.md").read_text()
    for _, script in FENCE.findall(text):
        assert "projects add-iam-policy-binding" not in script
        assert "secretmanager.admin" not in script


def test_the_permissions_of_a_rotation_are_those_that_it_asks_for():
    source = Path("src/pgp_config/sources/google/administration.py")
    code = (DOCS.parent / source).read_text()
    asked = set(
        re.findall(
            r'"(secretmanager\.[\w.]+)"', code.partition("PERMISSIONS = (")[2].partition(")")[0]
        )
    )
    role = re.search(r"--permissions=(\S+)", (DOCS / "iam.md").read_text())[1]
    assert asked
    assert asked == set(role.split(","))
