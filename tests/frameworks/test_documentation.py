"""The examples of docs/frameworks.md that are files of a project, run as such; Sybil runs the others."""

import pathlib
import re
import subprocess
import sys

import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "frameworks.md"

SECRETS = """
from pgp_config import DynamicSecret, Memory, SecretContainer, StaticSecret

class Shop(SecretContainer):
    api_key = DynamicSecret("API_KEY")
    seal = StaticSecret("SEAL")

secrets = Shop(source=Memory({"API_KEY": "k-1", "SEAL": "s-1"}))
"""

MORE_SETTINGS = """
INSTALLED_APPS = ["shop"]
SECRET_KEY = "of-the-test"
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["*"]
"""

URLS = """
from django.urls import path
from shop import views

urlpatterns = [path("", views.index), path("asynchronous", views.asynchronous)]
"""

IMPORTS_OF_COMMAND = """
from django.core.management.base import BaseCommand
from pgp_config import request_scope
from shop.secrets import secrets

"""


def files():
    """The text of each file on the page, by its name."""
    blocks = re.findall(r"```text\n# (\S+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return dict(blocks)


@pytest.fixture
def project(tmp_path):
    text = files()
    text["shop/__init__.py"] = text["shop/management/__init__.py"] = ""
    text["shop/secrets.py"] = SECRETS
    text["settings.py"] += MORE_SETTINGS
    text["urls.py"] = URLS
    text["shop/management/commands/report.py"] = (
        IMPORTS_OF_COMMAND + text["shop/management/commands/report.py"]
    )
    text["tasks.py"] = text["tasks.py"].replace("redis://…", "memory://")
    text["tasks.py"] += "\ndef charge(order, key):\n    print(order, key.get_secret_value())\n"
    text["job.py"] = text["job.py"].replace(
        "    ...", "    print(secrets.api_key().get_secret_value())"
    )
    for name, content in text.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


LITESTAR = """
from app import app
from litestar.testing import TestClient

with TestClient(app) as client:
    print(client.get("/").text, client.get("/sync").text)
"""

DJANGO = """
import django; django.setup()
from django.test import Client
print(Client().get("/").text, Client().get("/asynchronous").text)
"""

CELERY = """
import tasks
tasks.secrets.load()
tasks.pay.apply(["order-1"])
"""

FUNCTIONS = """
import functions_framework
print(functions_framework.create_app("function", "main.py").test_client().get("/").text)
event = functions_framework.create_app("on_event", "main.py").test_client()
event.post("/", json={}, headers={
    "ce-id": "e-1", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0",
})
print(functions_framework.create_app("function", "streaming.py").test_client().get("/").text)
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-c", LITESTAR], "k-1 k-1"),
        (["-c", DJANGO], "k-1 k-1"),
        (["-m", "django", "report"], "s-1"),
        (["-c", CELERY], "order-1 k-1"),
        (["job.py"], "k-1"),
        (["-c", FUNCTIONS], "k-1\ne-1 True\nk-1k-1"),
    ],
    ids=["litestar", "django", "django command", "celery", "job", "functions"],
)
def test_a_project_of_the_pages_files_works(project, arguments, said):
    run = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=project,
        env={"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == said


# promise 11
def test_a_job_whose_load_fails_ends_with_every_fault(project):
    secrets = project / "shop" / "secrets.py"
    secrets.write_text(secrets.read_text().replace('{"API_KEY": "k-1", "SEAL": "s-1"}', "{}"))
    run = subprocess.run(
        [sys.executable, "job.py"], cwd=project, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "API_KEY in Shop" in run.stderr
    assert "SEAL in Shop" in run.stderr
