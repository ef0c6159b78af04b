"""What is public, and what importing it costs."""

import inspect
import subprocess
import sys

import pytest

import pgp_config


def test_all_that_is_public_is_in_all_and_nothing_else():
    public = {
        name
        for name in dir(pgp_config)
        if not name.startswith("_") and not inspect.ismodule(getattr(pgp_config, name))
    }
    assert public - {"TYPE_CHECKING", "deferred"} == set(pgp_config.__all__)
    assert sorted(set(pgp_config.__all__)) == sorted(pgp_config.__all__)


def test_what_is_not_public_is_not_found():
    with pytest.raises(AttributeError, match="module 'pgp_config' has no attribute 'Typo'"):
        pgp_config.Typo  # noqa: B018  the look-up is the test


def test_importing_it_imports_neither_google_nor_a_framework():
    program = (
        "before = set(sys.modules)\n"  # a namespace's .pth file imports google.cloud
        "import pgp_config\n"
        "heavy = {'grpc', 'google.cloud', 'google.auth', 'google_crc32c', 'typer', 'rich', 'httpx',"
        " 'pydantic.main', 'pydantic.types', 'pydantic.type_adapter', 'sqlite3', 'redis',"
        " 'requests', 'tenacity', 'opentelemetry', 'importlib.metadata'}\n"
        "import dependency_injector.containers\n"
        "print(sorted(heavy & set(sys.modules) - before))"
    )
    # Alone: dependency_injector imports frameworks where they are installed, and they what is heavy.
    hidden = (
        "import sys\n"
        "others = ['fastapi', 'starlette', 'werkzeug', 'pydantic_settings']\n"
        "sys.modules.update(dict.fromkeys(others))\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", hidden + program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
