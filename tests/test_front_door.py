"""What is public, and what importing it costs."""

import inspect
import subprocess
import sys

import pgp_config


def test_all_that_is_public_is_in_all_and_nothing_else():
    public = {
        name
        for name, member in vars(pgp_config).items()
        if not name.startswith("_") and not inspect.ismodule(member)
    }
    assert public == set(pgp_config.__all__)
    assert sorted(set(pgp_config.__all__)) == sorted(pgp_config.__all__)


def test_importing_it_imports_neither_google_nor_a_framework():
    program = (
        "import sys, pgp_config\n"
        "heavy = {'grpc', 'google.cloud', 'google.auth', 'typer', 'rich', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
