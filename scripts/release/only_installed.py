"""A pytest plugin for a run on installed packages: it says where they are, and fails if one is of elsewhere."""

import os
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = os.environ["INSTALLED_PACKAGES"].split()
SITE_PACKAGES = Path(sysconfig.get_path("purelib")).resolve()


def pytest_report_header() -> list[str]:
    """Where each package is found."""
    found = {name: find_spec(name) for name in PACKAGES}
    return [f"installed: {name}: {spec and spec.origin}" for name, spec in found.items()]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Each module of ours that a test imported is an installed one."""
    strangers = [
        f"{name}: {module.__file__}"
        for name, module in sys.modules.items()
        if name.partition(".")[0] in PACKAGES
        and module.__file__ is not None
        and SITE_PACKAGES not in Path(module.__file__).resolve().parents
    ]
    if strangers or not {*PACKAGES} & {*sys.modules}:
        print("not from the installed packages:", *strangers, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
