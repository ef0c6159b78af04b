"""The tests, on installed wheels, in a folder where the source is not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.building import Workplace, export
from release.distributions import ROOT, runtime_requirements
from release.running import Environment, StepError, find_python, run, tool

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK = ROOT / "requirements" / "dev.txt"

#: The front door, the command, both adapters with servers, and the examples of the README.
SELECTION = (
    "tests/test_front_door.py",
    "tests/test_cli.py",
    "tests/test_cost.py",
    "tests/adapters/test_contract.py",
    "adapters/flask",
    "adapters/fastapi",
    "README.md",
)
#: How a new service comes about: by `pgp-config init`, and by the tutorial.
ADOPTION = ("tests/cli/test_init.py", "tests/site/test_tutorial.py")
SELECTION_NEEDS = (
    "cryptography",
    "gunicorn",
    "httpx",
    "httpx2",  # starlette's test client
    "hypothesis",
    "itsdangerous",
    "mypy",
    "pytest",
    "pytest-asyncio",
    "pytest-randomly",
    "requests",
    "ruff",
    "sybil",
    "tenacity",
    "uvicorn",
    "websockets",
)

#: Of requirements/dev.in: programs that no test imports. What they require of others would get in the oldest's way.
TOOLS = frozenset(
    [
        "basedpyright",
        "build",
        "codespell",
        "cyclonedx-bom",
        "editables",
        "furo",
        "import-linter",
        "mypy",
        "myst-parser",
        "pip-licenses",
        "pyrefly",
        "sphinx",
        "sphinx-copybutton",
        "types-protobuf",
        "types-psutil",
        "types-pyyaml",
    ]
)

#: Starlette's oldest test client and anyio's newest: their affair.
STREAMS = "ignore:Unclosed <MemoryObject:ResourceWarning"

#: They are about the source tree itself.
NOT_HERE = (
    "--ignore=tests/release",
    "--ignore=tests/site/test_commands.py",
    "--ignore=tests/site/test_site.py",
    "--deselect=tests/audit/test_sources.py::test_our_own_sources_are_clean",
)

#: What only newer versions do, and no promise needs.
NOT_OLDEST = (
    # It runs mypy, which is no oldest version's affair.
    "--deselect=tests/cli/test_init.py::test_a_new_service_passes_its_own_tests_at_once",
    # The exporter gives its series fewer labels.
    "--deselect=tests/test_otel.py::test_prometheus_scrapes_the_names_that_dashboards_use",
    # google-api-core has no debug log that could show a value.
    "--deselect=tests/sources/test_google.py::test_the_log_of_a_real_answer_at_debug_has_no_value",
    # pydantic calls it Url.
    "--deselect=tests/test_key_rings.py::test_a_wrong_declaration_says_so[<lambda>-is a key ring of HttpUrl]",
)

#: typer before 0.26 imports names of which click warns from 8.5 on. It works, and is their affair.
CLICK = "click~=8.4.0"

FIXTURES = """
from pgp_config import DynamicSecret, SecretContainer, request_scope

class Service(SecretContainer):
    key = DynamicSecret("KEY")

def test_a_rotation_is_seen(make_secrets, secret_leaks):
    made = make_secrets(Service, {"KEY": "k-1"})
    with request_scope():
        assert made.secrets.key().get_secret_value() == "k-1"
    made.rotate("KEY", "k-2")
    with request_scope():
        assert made.secrets.key().get_secret_value() == "k-2"
"""


def test_needs() -> list[str]:
    """What the tests import, of requirements/dev.in."""
    lines = (ROOT / "requirements" / "dev.in").read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    return [one for one in wanted if Requirement(one).name.lower() not in TOOLS]


def installed(place: Workplace) -> None:
    """All wheels with their extras and the locked versions of others: the command, and a selection of the tests."""
    made = _with_all(place)
    for one in place.distributions:
        for name in one.project.get("scripts", {}):
            run([made.python.with_name(name), "--help"], cwd=made.folder)
            print(f"  {name} --help answers")
    _test(place, made, SELECTION)


def adopted(place: Workplace) -> None:
    """New services, made with the same wheels."""
    _test(place, _with_all(place), ADOPTION)


def _with_all(place: Workplace) -> Environment:
    made = Environment(place.scratch / "installed", find_python("3.11"))
    wheels = [place.wheel(one, extras=one.is_library) for one in place.distributions]
    made.install("--constraint", LOCK, *wheels, *SELECTION_NEEDS)
    return made


def on_python(place: Workplace, version: str) -> None:
    """The tests of the core and the adapters on another Python, with the locked versions of others."""
    made = Environment(place.scratch / f"python-{version}", find_python(version))
    wheels = [place.wheel(one) for one in place.libraries]
    made.install("--constraint", LOCK, *wheels, *test_needs(), "mypy")
    _test(place, made, ["tests", "adapters"])


def newest(place: Workplace) -> None:
    """The same with the newest versions of others that there are today, whatever the lock says."""
    made = Environment(place.scratch / "newest", find_python("3.11"))
    wheels = [place.wheel(one) for one in place.libraries]
    made.install("--resolution", "highest", "--upgrade", *wheels, *test_needs(), "mypy")
    for line in newer_than(LOCK.read_text("utf-8"), made.frozen()):
        print(f"  {line}")
    _test(place, made, ["tests", "adapters"])


def newer_than(lock: str, frozen: str) -> list[str]:
    """What is there in another version than the lock's, such as `flask 3.1.2 -> 3.2.0`.

    Args:
        lock: The text of a requirements file; its hashes are not looked at, nor for which Python a line is.
        frozen: What `pip freeze` prints.
    """
    pin = re.compile(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
    locked: dict[str, list[str]] = {}
    for name, version in pin.findall(lock):
        locked.setdefault(canonicalize_name(name), []).append(version)
    found = {canonicalize_name(name): version for name, version in pin.findall(frozen)}
    return [
        f"{name} {', '.join(locked[name])} -> {version}"
        for name, version in found.items()
        if version not in locked.get(name, [version])
    ]


def oldest(place: Workplace) -> None:
    """The same on the oldest Python, with the oldest versions that the libraries declare to work with."""
    lowest = place.scratch / "oldest.txt"
    required = runtime_requirements(place.libraries)
    bounds = "\n".join([*(one for one in required if Requirement(one).name != "pytest"), CLICK])
    found = lowest_of(bounds, "3.11")
    lowest.write_text("\n".join(found), "utf-8")
    made = Environment(place.scratch / "oldest", find_python("3.11"))
    wheels = [place.wheel(one) for one in place.libraries]
    made.install("--constraint", lowest, *wheels, *test_needs())
    _test(place, made, ["tests", "adapters"], "-W", STREAMS, *NOT_OLDEST)
    names = {Requirement(line).name for line in bounds.splitlines()}
    print("  " + ", ".join(line for line in found if Requirement(line).name in names))
    _fixtures(place)


def _fixtures(place: Workplace) -> None:
    """The plugin on the oldest pytest that it declares; these tests' own settings need a newer one."""
    core = place.distributions[0]
    bound = next(str(one) for one in core.requirements if one.name == "pytest")
    made = Environment(place.scratch / "oldest-pytest", find_python("3.11"))
    (pytest,) = (line for line in lowest_of(bound, "3.11") if Requirement(line).name == "pytest")
    made.install(pytest, f"{core.name} @ {place.wheels[core.name].as_uri()}")
    (made.folder / "test_fixtures.py").write_text(FIXTURES, "utf-8")
    said = made.run("-m", "pytest", "-W", "error", "test_fixtures.py", cwd=made.folder)
    print(f"  {pytest}: the fixtures: " + said.strip().rpartition("\n")[2].strip("= "))


def lowest_of(bounds: str, python: str) -> list[str]:
    """The oldest versions with wheels that satisfy requirements; of what those require, the newest.

    Args:
        bounds: Requirements, one a line.
        python: Such as `3.14`; it need not be here.

    Raises:
        StepError: If there are none.
    """
    options = ["--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
    which = ["--resolution", "lowest-direct", "--python-version", python]
    compiled = run([tool("uv"), "pip", "compile", *options, *which, "-"], stdin=bounds)
    return compiled.splitlines()


def _test(place: Workplace, made: Environment, what: Sequence[str], *options: str) -> None:
    """Run tests in a clone without the source.

    Raises:
        StepError: If a test fails, or imports one of our packages from elsewhere.
    """
    clone = made.folder.with_name(f"{made.folder.name}-tests")
    export(clone)
    for source in (clone, *clone.glob("adapters/*"), clone / "services"):
        shutil.rmtree(source / "src")
    plugin = Path(__file__).with_name("only_installed.py")
    shutil.copy(plugin, made.folder)
    said = made.run(
        "-m",
        "pytest",
        *("-p", "only_installed", *NOT_HERE, *options, *what),
        cwd=clone,
        PYTHONPATH=str(made.folder),
        INSTALLED_PACKAGES=" ".join(name for one in place.distributions for name in one.packages),
    )
    for path in re.findall(r"^installed: \w+: (/.*)$", said, re.MULTILINE):
        if not Path(path).is_relative_to(made.folder):
            raise StepError(f"{path} is not in {made.folder}")
        print(f"  tested: {Path(path).relative_to(made.folder)}")
    print("  " + said.strip().rpartition("\n")[2].strip("= "))
