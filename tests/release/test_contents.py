"""What a built file has to hold, and may not."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

INFO = "pgp_x-1.0.dist-info"
METADATA = b"""Metadata-Version: 2.4
Name: pgp-x
Version: 1.0
Summary: A thing.
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.11
Description-Content-Type: text/markdown

# A thing
"""
SOURCES = ["pgp_x/__init__.py", "pgp_x/page.html"]
WHEEL = {
    "pgp_x/__init__.py": b"",
    "pgp_x/page.html": b"<p>",
    "pgp_x/py.typed": b"",
    f"{INFO}/METADATA": METADATA,
    f"{INFO}/RECORD": b"",
    f"{INFO}/WHEEL": b"",
    f"{INFO}/licenses/LICENSE": b"",
    f"{INFO}/entry_points.txt": b"",
}
SDIST = {
    "src/pgp_x/__init__.py": b"",
    "src/pgp_x/page.html": b"<p>",
    "LICENSE": b"",
    "README.md": b"",
    "PKG-INFO": METADATA,
    "pyproject.toml": b"",
}


@pytest.fixture
def one():
    from release.distributions import Distribution

    project = {"name": "pgp-x", "version": "1.0", "scripts": {"pgp-x": "pgp_x:main"}}
    return Distribution(Path("x"), project, ("pgp_x",))


@pytest.fixture
def faults(one):
    from release.contents import faults_of_sdist, faults_of_wheel

    def of(found):
        check = faults_of_sdist if "PKG-INFO" in found else faults_of_wheel
        return check(one, SOURCES, found)

    return of


@pytest.mark.parametrize("whole", [WHEEL, SDIST])
def test_what_is_whole_has_no_fault(faults, whole):
    assert faults(whole) == []


@pytest.mark.parametrize("missing", [path for path in WHEEL if "METADATA" not in path])
def test_what_is_missing_in_a_wheel_is_named(faults, missing):
    left = {path: content for path, content in WHEEL.items() if path != missing}
    assert faults(left) == [f"{missing} is missing"]


def test_what_is_missing_in_a_source_distribution_is_named(faults):
    left = {path: content for path, content in SDIST.items() if path != "src/pgp_x/page.html"}
    assert faults(left) == ["src/pgp_x/page.html is missing"]


@pytest.mark.parametrize(
    ("whole", "more"),
    [
        (WHEEL, "tests/test_x.py"),
        (WHEEL, "pgp_x/__pycache__/x.pyc"),
        (SDIST, "tests/test_x.py"),
        (SDIST, "docs/README.md"),
    ],
)
def test_what_does_not_belong_is_named(faults, whole, more):
    assert faults({**whole, more: b""}) == [f"{more} should not be there"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 64, "a private key"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * 64, "a private key"),
        (b"key = 'AIza" + b"b" * 35 + b"'", "a Google API key"),
        (b"AKIA" + b"Q" * 16, "an AWS access key"),
        (b"ghp_" + b"c" * 36, "a GitHub token"),
        (b"xoxb-1234567890-x", "a Slack token"),
        (b"open('/home/me/x')", "a path of the machine"),
    ],
)
def test_what_is_not_for_others_is_named_and_not_shown(faults, content, what):
    (fault,) = faults({**WHEEL, "pgp_x/__init__.py": content})
    assert fault == f"pgp_x/__init__.py contains {what}"


def test_patterns_that_only_look_for_keys_pass(faults):
    assert faults({**WHEEL, "pgp_x/__init__.py": b'"-----BEGIN PRIVATE KEY-----"'}) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"Name: pgp-x", b"Name: pgp-y", "is pgp-y 1.0, not pgp-x 1.0"),
        (b"Version: 1.0", b"Version: 1.1", "is pgp-x 1.1, not pgp-x 1.0"),
        (b"Summary: A thing.\n", b"", "Summary is missing"),
        (b"License-Expression: Apache-2.0\n", b"", "License-Expression is missing"),
        (b"Requires-Python: >=3.11\n", b"", "Requires-Python is missing"),
        (b"text/markdown", b"text/plain", "has no README in Markdown"),
        (b"Requires-Python: >=3.11", b"Requires-Python: new", "'new' is invalid"),
    ],
)
def test_faults_of_metadata_are_named(faults, old, new, fault):
    (said,) = faults({**WHEEL, f"{INFO}/METADATA": METADATA.replace(old, new)})
    assert said.startswith("metadata: ")
    assert fault in said


def test_files_are_read_of_both_kinds(tmp_path):
    from release.contents import files_of

    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr("pgp_x/py.typed", "yes")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as sdist:
        member = tarfile.TarInfo("pgp_x-1.0/src/pgp_x/py.typed")
        member.size = 3
        sdist.addfile(member, io.BytesIO(b"yes"))
        folder = tarfile.TarInfo("pgp_x-1.0/src")
        folder.type = tarfile.DIRTYPE
        sdist.addfile(folder)
    assert files_of(tmp_path / "x.whl") == {"pgp_x/py.typed": b"yes"}
    assert files_of(tmp_path / "x.tar.gz") == {"src/pgp_x/py.typed": b"yes"}
