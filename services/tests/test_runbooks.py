"""The runbooks: the commands of the first four do what they say, and those of all of them exist."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer

import pgp_config.cli
import pgp_services.cli
from pgp_config import GoogleSecretManager
from pgp_services import catalogue
from pgp_services.lookalikes.cloud_tasks.over_rest import RestServer
from pgp_services.names import Service
from pgp_services.ops import access, monitoring
from pgp_services.stage import environ
from pgp_services.stage.local_fleet import LocalFleet

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
RUNBOOKS = sorted(FOLDER.glob("*.md"))
REGION = "us-central1"

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: The lists that a person chooses, as far as the local set-up has those services.
ARRAYS = "SERVICES=(--service=PGP_SPLIT2_v1); SENDERS=(pgp-split2-v1)"


def blocks(runbook, language="bash"):
    """The blocks of a runbook by the heading above each, in order."""
    found, text = {}, (FOLDER / runbook).read_text()
    for part in re.split(r"^##+ ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        scripts = [body for kind, body in _FENCE.findall(part) if kind == language]
        if scripts:
            found[heading] = scripts
    return found


# -- the local set-up --------------------------------------------------------------------------


class Traffic:
    """Sends the pilot requests until it is ended; says how many failed."""

    def __init__(self, fleet, body):
        self._fleet, self._body = fleet, body
        self._over = threading.Event()
        self._turn = threading.Condition()
        self.statuses = []
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self):
        number = 0
        while not self._over.wait(0.05):
            number += 1
            reply = self._fleet.call(Service.SPLIT2, "/", self._body(user_id=number))
            with self._turn:
                self.statuses.append(reply.status)
                self._turn.notify_all()

    def wait_for_more(self):
        """Until two more have been answered: the second has begun after this."""
        with self._turn:
            wanted = len(self.statuses) + 2
            assert self._turn.wait_for(lambda: len(self.statuses) >= wanted, 30)

    def end(self):
        self._over.set()
        self._thread.join()


class Person:
    """Runs blocks as a person does: one after the other, in one shell with what the README exports."""

    def __init__(self, folder, environment, programs):
        self._state = folder / "state"
        self._state.write_text("")
        self._environ = environment
        self._programs = programs
        self.said = self.everything = ""

    def do(self, blocks, *, code=0):
        for block in blocks:
            script = f'PATH="{self._programs}:$PATH"; . "{self._state}"; {ARRAYS}\nset -a\n{block}\nset +a\n'
            script += (
                f'export -p | grep -vE "declare -x (PATH|PWD|OLDPWD|SHLVL)=" > "{self._state}"'
            )
            ran = subprocess.run(
                [shutil.which("bash"), "-euo", "pipefail", "-c", script],
                env=self._environ,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            assert ran.returncode == code, f"{block}\n{ran.stdout}\n{ran.stderr}"
            self.said = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout + ran.stderr)
            self.everything += self.said


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The commands that the runbooks call, whatever is on the PATH."""
    if shutil.which("gcloud") is None and "CI" not in os.environ:
        pytest.skip("the Google Cloud CLI (gcloud) is not installed")
    folder = tmp_path_factory.mktemp("programs")
    for name, module in (("pgp-config", "pgp_config.cli"), ("pgp-services", "pgp_services.cli")):
        program = folder / name
        program.write_text(f"#!{sys.executable}\nfrom {module} import main\nmain()\n")
        program.chmod(0o755)
    return folder


@pytest.fixture
def iam(monkeypatch):
    """Queues' policies, which the stand-in for Cloud Tasks does not keep."""
    policies, answer = {}, RestServer.answer

    def with_policies(server, verb, target, body):
        path, _, method = target.partition("?")[0].rpartition(":")
        if method == "setIamPolicy":
            policies[path.rpartition("/")[2]] = json.loads(body)["policy"]
        if method in {"getIamPolicy", "setIamPolicy"}:
            return 200, json.dumps(policies.get(path.rpartition("/")[2], {})).encode()
        return answer(server, verb, target, body)

    monkeypatch.setattr(RestServer, "answer", with_policies)
    return policies


@pytest.fixture
def fleet(tmp_path, signing_key, iam):
    """The pilot, as it is run, and all that it calls."""
    fleet = LocalFleet(
        [Service.SPLIT2],
        max_age=0.2,
        hosts="noted",
        first={
            "SUCCESS_URL_SIGNING_KEY": signing_key,
            "CLOUD_TASKS_PROJECT_ID": environ.PROJECT,
        },
        more={"PGP_CONFIG_UPTAKE": f"sqlite:///{tmp_path}/uptake.db"},
    )
    with fleet:
        yield fleet


@pytest.fixture
def traffic(fleet, body_with):
    traffic = Traffic(fleet, body_with)
    yield traffic
    traffic.end()


@pytest.fixture
def person(fleet, tmp_path, programs):
    manager, tasks = fleet.manager, fleet.tasks
    given = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CLOUDSDK_")},
        "PROJECT": environ.PROJECT,
        "REGION": REGION,
        "PGP_CONFIG_SOURCE": f"gsm://{environ.PROJECT}?endpoint={manager.endpoint}",
        "PGP_CONFIG_UPTAKE": f"sqlite:///{tmp_path}/uptake.db",
        "PGP_CONFIG_CONTAINER": "pgp_services.catalogue:CATALOGUE",
        "PGP_CONFIG_SETTLE": "0",
        "PAUSE": "0.1",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"http://{manager.rest_endpoint}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDTASKS": tasks.rest_url,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "NO_PROXY": "127.0.0.1",
    }
    return Person(tmp_path, given, programs)


def exports(**variables):
    return [f"export {name}={shlex.quote(str(value))}\n" for name, value in variables.items()]


def served(fleet, secret):
    """The value that the local Secret Manager gives."""
    source = GoogleSecretManager(environ.PROJECT, endpoint=fleet.manager.endpoint)
    try:
        return source.fetch(secret).data.decode()
    finally:
        source.close()


def states(text):
    """Each version and its state, as `gcloud secrets versions list` shows them."""
    return dict(re.findall(r"^(\d+) +(enabled|disabled|destroyed)", text, re.MULTILINE))


# -- the first four ----------------------------------------------------------------------------


def test_an_api_key_is_rotated_and_rolled_back(fleet, traffic, person, tmp_path):
    steps = blocks("api-key-rotation.md")
    old, new = fleet.values.of("CHANGENOW_API_KEY"), fleet.values.renewed("CHANGENOW_API_KEY")
    (tmp_path / "new-key").write_text(f"{new}\n")
    person.do(exports(SECRET="CHANGENOW_API_KEY", NEW_VALUE=tmp_path / "new-key"))
    traffic.wait_for_more()
    person.do(steps["1. Look before"])
    assert "Used by 1 of PGP_SPLIT2_v1" in person.said
    fleet.changenow.rotate(new, overlap=True)  # "Both keys are valid at the provider now."
    person.do(steps["2. Rotate"])
    assert "Done: version 2 is served, version 1 is disabled." in person.said
    person.do(steps["How you see that it worked"])
    assert states(person.said) == {"2": "enabled", "1": "disabled"}
    traffic.wait_for_more()
    assert fleet.versions(Service.SPLIT2)["CHANGENOW_API_KEY"] == 2

    person.do(steps["How you go back"])
    traffic.wait_for_more()
    assert fleet.versions(Service.SPLIT2)["CHANGENOW_API_KEY"] == 3
    assert served(fleet, "CHANGENOW_API_KEY") == old
    person.do(steps["Afterwards"])
    assert not (tmp_path / "new-key").exists()
    person.do(steps["How you see that it worked"])
    assert states(person.said) == {"3": "enabled", "2": "destroyed", "1": "disabled"}
    traffic.end()
    assert set(traffic.statuses) == {200}
    assert new not in person.everything


def test_a_compromised_key_is_dead_everywhere(fleet, traffic, person, tmp_path):
    steps = blocks("compromised-key.md")
    new = fleet.values.renewed("CHANGENOW_API_KEY")
    (tmp_path / "new-key").write_text(new)
    person.do(exports(SECRET="CHANGENOW_API_KEY", NEW_VALUE=tmp_path / "new-key"))
    fleet.changenow.rotate(new, overlap=True)
    person.do(steps["1. Rotate, and wait a minute at most"])
    person.do(steps["2. Disable the old version, whatever was said"])
    fleet.changenow.rotate(new)  # "Revoke the old key at the provider": the new one alone
    person.do(steps["4. Destroy the old versions"])
    person.do(steps["How you see that it worked"])
    assert states(person.said) == {"2": "enabled", "1": "destroyed"}
    traffic.wait_for_more()
    assert fleet.versions(Service.SPLIT2)["CHANGENOW_API_KEY"] == 2
    traffic.end()
    assert set(traffic.statuses) == {200}
    assert new not in person.everything


def test_a_compromised_key_is_disabled_though_nobody_took_the_new_one_up(fleet, person, tmp_path):
    """Without traffic the pilot goes on holding the old one: step 1 ends with 3, and step 2 does not wait."""
    steps = blocks("compromised-key.md")
    (tmp_path / "new-key").write_text(fleet.values.renewed("CHANGENOW_API_KEY"))
    person.do(exports(SECRET="CHANGENOW_API_KEY", NEW_VALUE=tmp_path / "new-key"))
    hurried = [
        block.replace("--timeout=60", "--timeout=0")
        for block in steps["1. Rotate, and wait a minute at most"]
    ]
    person.do(hurried, code=3)
    person.do(steps["2. Disable the old version, whatever was said"])
    person.do(steps["How you see that it worked"])
    assert states(person.said) == {"2": "enabled", "1": "disabled"}


def test_a_url_goes_from_blue_to_green_and_back(fleet, traffic, person):
    steps = blocks("blue-green-url.md")
    blue, green = fleet.values.of("PGP_SPLIT1_URL"), "https://split1-canary-green.pgp.example"
    fleet.routes.add(green, fleet.noted.url)
    probe = f"http://127.0.0.1:{fleet.services[Service.SPLIT2].port}"
    queue = fleet.values.of("PGP_SPLIT1_RESPONSE_QUEUE")
    person.do(exports(SECRET="PGP_SPLIT1_URL", BLUE_URL=blue, GREEN_URL=green, QUEUE=queue))
    person.do(exports(PROBE=probe, TOKEN="none"))
    person.do(steps["1. Green is ready"])
    assert '"ready"' in person.said
    person.do(steps["2. Blue is what you think"])
    assert person.said == f"blue is {blue}\n"
    person.do(steps["Afterwards"], code=1)
    assert person.said == "the secret says blue\n"
    traffic.wait_for_more()
    person.do(steps["3. Switch"])
    person.do(steps["How you see that it worked"])
    assert person.said.startswith(green)
    traffic.wait_for_more()
    assert fleet.tasks.tasks[-1].url.startswith(green)
    person.do(steps["How you go back"])
    traffic.wait_for_more()
    assert fleet.tasks.tasks[-1].url.startswith(blue)
    traffic.end()
    assert set(traffic.statuses) == {200}
    fleet.tasks.wait_until_idle()
    person.do(exports(BLUE_URL=green))
    person.do(steps["2. Blue is what you think"], code=1)
    person.do(steps["Afterwards"])
    assert person.said == f"no task of {queue} is for blue\n"


def test_a_queue_is_created_filled_drained_and_deleted(fleet, traffic, person, iam):
    steps = blocks("queue-migration.md")
    old, new = fleet.values.of("PGP_SPLIT1_RESPONSE_QUEUE"), "split1-response-2"
    person.do(exports(SECRET="PGP_SPLIT1_RESPONSE_QUEUE", OLD_QUEUE=old, NEW_QUEUE=new))
    traffic.wait_for_more()
    person.do(steps["1. Create"])
    (binding,) = iam[new]["bindings"]
    assert binding["role"] == "roles/cloudtasks.enqueuer"
    assert binding["members"] == [
        f"serviceAccount:pgp-split2-v1@{environ.PROJECT}.iam.gserviceaccount.com"
    ]
    person.do(steps["1. Create"])  # again
    person.do(steps["2. Update"])
    person.do(steps["4. Drain"] + steps["5. Delete"], code=1)  # too early
    # So that the old one has something to deliver when it is drained.
    pause = f'gcloud tasks queues pause {old} --location="$REGION" --project="$PROJECT"'
    person.do([pause])
    traffic.wait_for_more()
    person.do(steps["3. Switch"])
    person.do(steps["How you go back"])
    traffic.wait_for_more()
    assert fleet.tasks.tasks[-1].queue == old
    person.do([step.replace("printf %s", "printf '%s\\n'") for step in steps["3. Switch"]])
    traffic.wait_for_more()
    assert fleet.tasks.tasks[-1].queue == new
    person.do(steps["4. Drain"])
    assert f"{old} is empty\n" in person.said
    person.do(steps["5. Delete"])
    person.do(steps["How you see that it worked"])
    assert person.said.startswith(new)
    assert f"{old} " not in person.said
    traffic.end()
    assert set(traffic.statuses) == {200}
    fleet.tasks.wait_until_idle()
    delivered = {each.task for each in fleet.tasks.deliveries if each.is_done}
    assert {task.name for task in fleet.tasks.tasks} <= delivered


# -- what is pasted ----------------------------------------------------------------------------

#: Commands that take something away, or let something new in.
FINAL = re.compile(
    r"gcloud .*\b(delete|destroy|disable|enable|update-traffic|resume)\b|ops deploy|rm -f"
)
GUARD = "(\n    set -euo pipefail\n"


@pytest.fixture
def paste(tmp_path):
    """Pastes blocks into a shell that goes on after failures; `gcloud` is what the test says."""
    (tmp_path / "gcloud").write_text(
        '#!/bin/bash\necho "$*" >> "$CALLS"\n'
        'while read -r words; do case "$*" in *"$words"*) exit 1;; esac; done <<< "${FAILING-no such}"\n'
        'case "$*" in "tasks list"*) echo -n "$TASKS";; *" access "*) echo "$SERVED";;\n'
        '*"keys list"*) printf "$KEYS";; *state=ENABLED*) printf "$ENABLED";; "secrets versions list"*) echo 3;; esac\n'
    )
    (tmp_path / "gcloud").chmod(0o755)

    def paste(blocks, **variables):
        calls = tmp_path / "calls"
        calls.write_text("")
        told = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "CALLS": str(calls),
            **dict.fromkeys(("TASKS", "SERVED", "ENABLED", "KEYS", "NEW_VALUE"), ""),
            "PROJECT": "p",
            "REGION": REGION,
            "SECRET": "S",
            "QUEUE": "q",
        }
        ran = subprocess.run(
            [shutil.which("bash"), "--norc"],
            input=f"QUEUES=(); {ARRAYS}\n" + "".join(blocks) + "echo still here\n",
            env={**told, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert ran.stdout.endswith("still here\n")
        paste.said = ran.stdout + ran.stderr
        return calls.read_text().splitlines()

    return paste


OLD_AND_NEW = {"OLD_QUEUE": "old", "NEW_QUEUE": "new", "SERVED": "new", "PAUSE": "0"}


@pytest.mark.parametrize(
    "variables",
    [
        {"TASKS": "a-task"},
        {"FAILING": "tasks list"},
        {"FAILING": "versions access"},
        {"SERVED": ""},
        {"OLD_QUEUE": "new"},  # of a new shell
        {"OLD_QUEUE": ""},
    ],
)
def test_a_queue_is_deleted_only_if_it_is_known_to_be_empty_and_unused(paste, variables):
    block = blocks("queue-migration.md")["5. Delete"]
    if variables.get("OLD_QUEUE") == "":
        block = ["unset OLD_QUEUE\n", *block]
    calls = paste(block, **{**OLD_AND_NEW, **variables})
    assert calls
    assert not any("delete" in call for call in calls)


def test_an_empty_queue_is_deleted(paste):
    calls = paste(blocks("queue-migration.md")["5. Delete"], **OLD_AND_NEW)
    assert calls[-1].startswith("tasks queues delete old ")


@pytest.mark.parametrize("failing", ["tasks list", "versions access", "resume"])
def test_a_queue_is_not_said_to_be_empty_if_that_is_not_known(paste, failing):
    paste(blocks("queue-migration.md")["4. Drain"], FAILING=failing, **OLD_AND_NEW)
    assert "is empty" not in paste.said


def test_a_queue_of_another_shell_is_not_migrated(paste):
    calls = paste(blocks("queue-migration.md")["1. Create"], **{**OLD_AND_NEW, "SERVED": "third"})
    assert len(calls) == 1
    assert "choose again" in paste.said


@pytest.mark.parametrize(
    "variables",
    [
        {"ENABLED": "2\n1\n"},  # the newest one is not
        {"ENABLED": "3\n2\n", "FAILING": "--limit=1"},
        {"ENABLED": "3\n2\n", "FAILING": "--filter"},
    ],
)
def test_no_version_is_disabled_unless_the_newest_one_stays(paste, variables):
    calls = paste(
        blocks("compromised-key.md")["2. Disable the old version, whatever was said"], **variables
    )
    assert not any("versions disable" in call for call in calls)


def test_no_version_is_destroyed_where_none_is_enabled(paste):
    calls = paste(blocks("compromised-key.md")["4. Destroy the old versions"])
    assert not any("versions destroy" in call for call in calls)


@pytest.mark.parametrize(
    ("failing", "said"),
    [("tasks list", False), ("versions access", False), ("nothing", True)],
)
def test_blue_is_not_said_to_be_free_if_that_is_not_known(paste, failing, said):
    paste(
        blocks("blue-green-url.md")["Afterwards"],
        FAILING=failing,
        SERVED="https://green.example",
        BLUE_URL="https://blue.example",
    )
    assert ("is for blue" in paste.said) is said


def test_all_is_paused_and_resumed_or_the_block_ends(paste):
    steps = blocks("static-key-replacement.md", "sh")
    chosen = [*steps["Before you begin"], "pgp-config() { echo rotated; }\n"]
    paused, resumed = (steps[name] for name in ("1. Nothing new comes in", "5. Let it in again"))
    calls = paste([*chosen, *paused])
    jobs = {call.split()[3] for call in calls if call.startswith("scheduler jobs pause")}
    assert jobs == {"batchprocessor", "accumulator", "microbatchprocessor"}
    assert calls[0].startswith("tasks queues pause orchestrator ")
    calls = paste([*chosen, *resumed])
    assert [call.replace("resume", "pause") for call in calls] == paste([*chosen, *paused])
    paste([*chosen, *resumed], FAILING="jobs resume")
    assert "rotated" not in paste.said


def test_the_newest_enabled_version_is_pinned_and_shown(paste, tmp_path):
    step = blocks("static-key-replacement.md", "sh")["4. Deploy with it"][0]
    file = tmp_path / "values.yaml"
    before = "pinned:\n  JWT_SECRET_KEY: 1\n  KEY: 1\n  A_KEY: 1\nregion: x\n"
    chosen = {"SECRET": "KEY", "PGP_OPS_VALUES": str(file)}
    file.write_text(before)
    paste([step], ENABLED="7\n", **chosen)
    assert file.read_text() == before.replace("  KEY: 1", "  KEY: 7")
    assert "3:  KEY: 7\n" in paste.said
    file.write_text(before)
    for failing in ({"ENABLED": ""}, {"ENABLED": "7\n", "FAILING": "versions list"}):
        paste([step], **failing, **chosen)
        assert file.read_text() == before


def test_only_the_keys_of_that_account_are_deleted(paste):
    step = blocks("static-secret-read.md", "sh")["4. Take the right away"][1]
    chosen = {"SERVICE": "pgp-web-v1", "KEYS": "k1\nk2\n"}
    listed, *deleted = paste([step], **chosen)
    assert listed.startswith("iam service-accounts keys list ")
    assert [call.split()[:5] for call in deleted] == [
        ["iam", "service-accounts", "keys", "delete", key] for key in ("k1", "k2")
    ]
    account = "--iam-account=pgp-web-v1@p.iam.gserviceaccount.com"
    assert all(account in call for call in (listed, *deleted))
    assert len(paste([step], FAILING="keys list", **chosen)) == 1
    assert len(paste([step], **{**chosen, "KEYS": ""})) == 1


def test_nothing_is_said_to_be_under_way_only_if_that_is_known(paste):
    steps = blocks("static-key-replacement.md", "sh")
    for variables, said in (({}, True), ({"TASKS": "t"}, False), ({"FAILING": "hostpay3"}, False)):
        paste([*steps["Before you begin"], *steps["2. What is under way ends"]], **variables)
        assert ("nothing is under way" in paste.said) is said


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda p: p.stem)
def test_what_takes_something_away_is_alone_or_in_a_block_that_ends_at_a_failure(path):
    for kind, block in _FENCE.findall(path.read_text()):
        commands = [line for line in block.replace("\\\n", " ").splitlines() if line]
        finals = [number for number, line in enumerate(commands) if FINAL.search(line)]
        if kind in {"bash", "sh"} and finals and finals[-1] > 0:
            assert block.startswith(GUARD), block


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda p: p.stem)
def test_every_variable_is_chosen_before_or_in_the_block(path):
    text, once = path.read_text(), (FOLDER / "README.md").read_text()
    parts = [once, text.partition("## Before you begin")[2].partition("\n## ")[0]]
    chosen = [body for part in parts for _, body in _FENCE.findall(part)]
    known = set(re.findall(r"\b([A-Z_]+)=", "".join(chosen))) | {"HOME"}
    scripts = [body for _, body in _FENCE.findall(text)]
    scripts += re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
    for script in scripts:
        here = set(re.findall(r"\b([A-Z_]+)=|for ([A-Z_]+) in", script))
        used = set(re.findall(r"\$\{?([A-Z_]+)\b(?!:-)", script))
        assert used <= known | {name for names in here for name in names}, script


def test_the_two_names_of_a_service_become_each_other():
    text = (FOLDER / "README.md").read_text()
    there, back = re.findall(r"^echo .*\| tr .*$", text, re.MULTILINE)
    for service in Service:
        cloud = access.cloud_name(service)
        for command, given, wanted in ((there, service, cloud), (back, cloud, service)):
            script = re.sub(r"^echo \S+", f"echo {given}", command)
            ran = subprocess.run(
                [shutil.which("bash"), "-c", script], capture_output=True, check=True
            )
            assert ran.stdout.decode() == f"{wanted}\n"


# -- all of them -------------------------------------------------------------------------------


def commands_in(text):
    """Every call of one of the three tools, with its lines joined."""
    code = [body for kind, body in _FENCE.findall(text) if kind in {"bash", "sh"}]
    code += [code for code in re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)) if " " in code]
    for script in code:
        for line in script.replace("\\\n", " ").splitlines():
            yield from _calls(line)


def _calls(line):
    bare = re.sub(r"\s#\s.*$", "", line)
    for found in re.finditer(r"(?<![\w/.-])(pgp-config|pgp-services|gcloud) ", bare):
        yield _until_end(bare[found.start() :])


def _until_end(text):
    """A command up to what ends it outside of quotes: a pipe, a semicolon, the end of a substitution."""
    quote = ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[place - 1] != "\\" else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "|;&)<>":
            return text[:place].strip()
    return text.strip()


MONITORING = Path(__file__).parents[2] / monitoring.FOLDER / "README.md"
ALL = [
    (path, command)
    for path in [*RUNBOOKS, MONITORING]
    for command in sorted(set(commands_in(path.read_text())))
]
TRIGGERS = [t["action"] for t in monitoring.rollback_triggers()["triggers"]]
OURS = sorted(
    {command for _, command in ALL if not command.startswith("gcloud")}
    | {t for t in TRIGGERS if t.startswith("pgp")}
)
GOOGLES = sorted(
    {command for _, command in ALL if command.startswith("gcloud")}
    | {t for t in TRIGGERS if t.startswith("gcloud")}
)


@pytest.mark.parametrize("command", OURS)
def test_a_command_of_ours_exists_with_its_options(command):
    apps = {"pgp-config": pgp_config.cli.app, "pgp-services": pgp_services.cli.app}
    program, *words = shlex.split(command)
    found = typer.main.get_command(apps[program])
    while hasattr(found, "commands") and words:
        name = words.pop(0)
        assert name in found.commands, f"{command}: there is no {name}"
        found = found.commands[name]
    known = {
        option
        for parameter in found.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known | {"--help"}


def test_googles_commands_exist_with_their_options(programs, tmp_path):
    given = tmp_path / "commands.json"
    # It asks whether the project's name can be one.
    commands = [command.replace("$PROJECT", "pgp-live") for command in GOOGLES]
    given.write_text(json.dumps([{"command_string": command} for command in commands]))
    ran = subprocess.run(
        [shutil.which("gcloud"), "meta", "lint-gcloud-commands", f"--commands-file={given}"],
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_PROJECT": "pgp-live"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(ran.stdout)
    assert len(found) == len(GOOGLES)
    assert [
        (each["command_string"], each["error_message"]) for each in found if not each["success"]
    ] == []


def test_the_services_of_each_key_are_those_of_the_catalogue():
    text = (FOLDER / "api-key-rotation.md").read_text()
    rows = dict(re.findall(r"^\| ([A-Z_]+) \|.*`\((.+)\)` \|$", text, re.MULTILINE))
    keys = [row for row in catalogue.CATALOGUE.values() if row.category == "api key"]
    assert set(rows) == {row.name for row in keys if row.kind == "secret"}
    for name, services in rows.items():
        assert set(re.findall(r"--service=(\w+)", services)) == catalogue.CATALOGUE[name].readers


def test_the_index_has_every_runbook():
    text = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", text)) == {p.name for p in RUNBOOKS} - {
        "README.md"
    }


@pytest.mark.parametrize(
    "path", [p for p in RUNBOOKS if p.name != "README.md"], ids=lambda p: p.stem
)
def test_every_runbook_has_the_same_parts(path):
    text = path.read_text()
    assert "**When**: " in text
    parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert parts == [
        "Before you begin",
        "Steps",
        "How you see that it worked",
        "How you go back",
        "Afterwards",
    ]


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda p: p.stem)
def test_every_step_is_a_command_or_is_said_to_be_done_by_hand(path):
    for step in re.split(r"^### ", path.read_text(), flags=re.MULTILINE)[1:]:
        heading, _, rest = step.partition("\n")
        does = re.split(r"^## ", rest, flags=re.MULTILINE)[0].strip()
        has_block = any(kind in {"bash", "sh"} for kind, _ in _FENCE.findall(does))
        assert has_block != does.startswith("**By hand**: "), heading


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#]*)(?:#[\w-]*)?\)", text):
        assert not target or "://" in target or (path.parent / target).is_file(), target
