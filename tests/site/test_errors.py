"""docs/errors.md and `pgp-config explain`: every error is explained, by a text that it really has."""

import inspect
import json
import logging
import pickle
import re
import traceback
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pgp_config
from pgp_config import PgpConfigError, SecretForbidden, SecretNotFound, StartupError, scopes
from pgp_config.cli import app
from pgp_config.emulator import SecretManagerEmulator
from pgp_config.explanations import explanations
from pgp_config.payload import DamagedVersion
from pgp_config.push.event import TooLarge
from pgp_config.rotation.errors import RotationStopped

from .provoked import Provoked

ROOT = Path(__file__).parents[2]
PAGE = (Path(pgp_config.__file__).parent / "errors.md").read_text()
PUBLIC = {
    name
    for name in pgp_config.__all__
    if inspect.isclass(found := getattr(pgp_config, name)) and issubclass(found, PgpConfigError)
}
#: The text that is shown below each heading.
SHOWN = dict(re.findall(r"^##+ ([^\n]+)\n\n```text\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL))


def snake(heading):
    return re.sub(r"(?<=[a-z])(?=[A-Z])| ", "_", heading).lower()


def test_every_public_error_is_explained_with_a_text_cause_and_cure():
    known = explanations()
    assert set(known) == PUBLIC | {"RotationStopped"}
    for name in set(known) - {"PgpConfigError", "DeclarationError"}:
        assert name in SHOWN
        assert "\n\nCause. " in known[name]
        assert "\n\nCure. " in known[name]


GOOGLES = "Look at status.cloud.google.com and at the network on the way there."


@pytest.mark.parametrize("heading", sorted(set(SHOWN) - {"RotationStopped"}))
def test_the_text_of_each_is_the_one_that_is_shown(heading, monkeypatch):
    # Other tests of the process have declared names too, which would be nearer to a misspelt one.
    monkeypatch.setattr(scopes, "declared_names", {"CHANGENOW_API_KEY"})
    with SecretManagerEmulator("pgp-live") as manager:
        manager.add("CHANGENOW_API_KEY", "canary")
        with pytest.raises(PgpConfigError) as caught:
            getattr(Provoked(manager), snake(heading))()
    wanted = re.escape(SHOWN[heading]).replace("…", ".*")
    # Nobody waits for two seconds here, nor asks Google.
    text = str(caught.value).replace("within 0.1 s", "within 2 s")
    text = re.sub(r"Look whether the local .* endpoint\.", GOOGLES, text)
    assert re.fullmatch(wanted, text)
    name = heading if heading in PUBLIC else "DeclarationError"
    assert type(caught.value).__name__ == name
    assert caught.value.__notes__[0].startswith(f"More: pgp-config explain {name} ")


def test_each_way_to_provoke_one_is_on_the_page():
    methods = {name for name, _ in inspect.getmembers(Provoked, inspect.isfunction)}
    assert methods - {"__init__"} == {snake(heading) for heading in SHOWN} - {"rotation_stopped"}


def test_a_traceback_ends_with_where_to_read_more(caplog):
    error = SecretForbidden("may not be read", secret="KEY")
    logging.getLogger("a service").error("No estimate", exc_info=error)
    assert str(error) == "KEY: may not be read."
    assert caplog.text.rstrip().endswith(
        "SecretForbidden: KEY: may not be read.\n"
        "More: pgp-config explain SecretForbidden (docs/errors.md#secretforbidden)"
    )


def test_a_start_up_error_leads_to_the_kinds_of_its_faults():
    faults = [SecretForbidden("a"), SecretNotFound("b"), SecretNotFound("c")]
    error = StartupError("3 faults", faults=faults)
    assert error.__notes__ == [
        "More: pgp-config explain StartupError SecretForbidden SecretNotFound (docs/errors.md)"
    ]


def test_a_kind_of_an_error_leads_to_the_section_of_its_base():
    class OfAThirdParty(SecretNotFound):
        pass

    assert DamagedVersion("x").explained_as == "RejectedVersion"
    assert TooLarge("x").explained_as == "PushRefused"
    assert OfAThirdParty("x").explained_as == "SecretNotFound"
    assert RotationStopped("x").explained_as == "RotationStopped"


def test_a_copy_has_one_note():
    error = SecretNotFound("is missing", secret="KEY")
    for copy in (error.located(container="Split2"), pickle.loads(pickle.dumps(error))):
        assert "".join(traceback.format_exception(copy)).count("More: ") == 1


# -- the command -------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, ["explain", *arguments], env={"COLUMNS": "80"})


def test_the_command_says_what_an_error_means():
    said = run("secretforbidden", "RejectedVersion")
    assert said.exit_code == 0
    assert said.output.startswith(
        "SecretForbidden\n\n    CHANGENOW_API_KEY in Payments: this identity"
    )
    words = " ".join(said.output.split())
    assert "alone: the documentation, 'Who needs which role'; a grant" in words
    assert "\n\nRejectedVersion\n\n    TP_FLAT_FEE in Payments" in said.output
    assert not re.search(r"\*\*|```|\.\./", said.output)


def test_the_command_shows_frequent_causes_of_a_wrong_declaration():
    assert "A protected name:" in run("DeclarationError").output


def test_pages_are_named_by_their_titles_for_nobody_who_installed_it_has_their_files():
    found = re.findall(r'\]\(\.\./\.\./(\S+?)(?: "(.*?)")?\)', PAGE)
    assert found
    for path, title in found:
        assert (ROOT / path).read_text().startswith(f"# {title}\n")
    texts = " ".join(explanations().values())
    assert "docs/" not in texts
    assert "the runbook for an outage (the documentation, 'Outage of Secret Manager')" in texts


def test_a_misspelt_name_is_told_what_was_meant():
    said = run("SecretForbiden", "RejectedVersion")
    assert said.exit_code == 2
    assert "Did you mean SecretForbidden?" in said.output
    assert "Known are PgpConfigError, " in run("canary").output


def test_without_a_name_it_lists_all():
    said = run()
    assert said.exit_code == 0
    assert said.output.split("\n\n")[0].splitlines() == list(explanations())


def test_what_is_unknown_is_not_repeated():
    said = run("canary-value")
    assert said.exit_code == 2
    assert "there is no such error. Known are PgpConfigError" in said.output
    assert "canary-value" not in said.output


def test_as_json():
    document = json.loads(run("BuildError", "--json").output)
    assert [each["name"] for each in document["errors"]] == ["BuildError"]
    assert (document["error"], document["exit_code"]) == (None, 0)
    assert len(json.loads(run("--json").output)["errors"]) == len(explanations())
