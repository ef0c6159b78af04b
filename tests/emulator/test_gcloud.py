"""Google's own `gcloud secrets`, unchanged, on the REST side of the local Secret Manager."""

import json
import os
import shutil
import subprocess

import pytest

from pgp_config import GoogleSecretManager

READER = "roles/secretmanager.secretAccessor"
MEMBER = "serviceAccount:pay@local.iam.gserviceaccount.com"


@pytest.fixture
def gcloud(secret_manager, tmp_path):
    """Runs `gcloud secrets …`; its output, or with `fails=True` its errors."""
    program = shutil.which("gcloud")
    if program is None and "CI" not in os.environ:
        pytest.skip("the Google Cloud CLI (gcloud) is not installed")
    assert program, "CI has to have the Google Cloud CLI: this is its only test"
    environ = {
        **os.environ,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"http://{secret_manager.rest_endpoint}/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": "local",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "NO_PROXY": "127.0.0.1",
    }

    def run(*arguments, given=None, fails=False):
        ran = subprocess.run(
            [program, "secrets", *arguments],
            input=given,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (ran.returncode != 0) == fails, ran.stderr
        return ran.stderr if fails else ran.stdout

    return run


def test_a_secret_lives_its_life(gcloud, secret_manager):
    gcloud("create", "KEY", "--replication-policy=automatic", "--labels=env=prod,team=pay")
    for value in ("canary-1", "canary-2"):
        gcloud("versions", "add", "KEY", "--data-file=-", given=value)
    assert gcloud("versions", "access", "latest", "--secret=KEY") == "canary-2"
    assert gcloud("versions", "access", "1", "--secret=KEY") == "canary-1"

    gcloud("versions", "disable", "1", "--secret=KEY")
    states = json.loads(gcloud("versions", "list", "KEY", "--format=json(name.basename(),state)"))
    assert states == [{"name": "2", "state": "ENABLED"}, {"name": "1", "state": "DISABLED"}]
    said = gcloud("versions", "access", "1", "--secret=KEY", fails=True)
    assert "is in DISABLED state" in said
    gcloud("versions", "enable", "1", "--secret=KEY")
    gcloud("versions", "destroy", "1", "--secret=KEY")

    gcloud("update", "KEY", "--update-labels=env=test", "--update-version-aliases=now=2")
    secret = json.loads(gcloud("describe", "KEY", "--format=json"))
    assert secret["labels"] == {"env": "test", "team": "pay"}
    assert secret["versionAliases"] == {"now": "2"}
    assert gcloud("list", "--format=value(name)").strip() == "KEY"

    gcloud("add-iam-policy-binding", "KEY", f"--member={MEMBER}", f"--role={READER}")
    policy = json.loads(gcloud("get-iam-policy", "KEY", "--format=json"))
    assert policy["bindings"] == [{"members": [MEMBER], "role": READER}]

    # All of it is what a service finds, over gRPC.
    source = GoogleSecretManager("local", endpoint=secret_manager.endpoint)
    assert (source.fetch("KEY").data, source.fetch("KEY").version) == (b"canary-2", 2)
    source.close()
    gcloud("delete", "KEY")
    callers = [call.caller for call in secret_manager.calls.log() if "grpc" not in call.caller]
    assert all("gcloud" in caller for caller in callers)


def test_its_errors_can_be_read(gcloud, secret_manager):
    secret_manager.create("KEY")
    said = gcloud("versions", "access", "latest", "--secret=MISSING", fails=True)
    assert "NOT_FOUND: Secret [projects/local/secrets/MISSING] not found." in said
    said = gcloud("create", "KEY", "--replication-policy=automatic", fails=True)
    assert "Secret [projects/local/secrets/KEY] already exists." in said
    secret_manager.deny("KEY")
    said = gcloud("versions", "access", "latest", "--secret=KEY", fails=True)
    assert "PERMISSION_DENIED" in said
