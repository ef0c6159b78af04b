"""One line of configuration becomes a source; a wrong one says what is wrong, and not what it holds."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pgp_config import DeclarationError
from pgp_config.sources import Directory, Environment, Memory, source_from_url, urls


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Installs a distribution whose module has this text, under these entry points."""

    def install(text, *points, name="vaulted"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        lines = ["[pgp_config.sources]", *points]
        info.joinpath("entry_points.txt").write_text("\n".join(lines))
        tmp_path.joinpath(f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    for module in tmp_path.glob("*.py"):
        sys.modules.pop(module.stem, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("gsm://pgp-live", "GoogleSecretManager('pgp-live')"),
        ("GSM://pgp-live/", "GoogleSecretManager('pgp-live')"),
        ("gsm://4711", "GoogleSecretManager('4711')"),
        ("gsm://example.com:old", "GoogleSecretManager('example.com:old')"),
        (
            "gsm://p?location=europe-west1&endpoint=127.0.0.1:8085",
            "GoogleSecretManager('p', location='europe-west1', endpoint='127.0.0.1:8085')",
        ),
        (
            "gsm://p?transport=rest&endpoint=localhost:8086",
            "GoogleSecretManager('p', endpoint='localhost:8086', transport='rest')",
        ),
        ("gsm://p?transport=grpc", "GoogleSecretManager('p')"),
        ("gsm://p?user_agent=PGP_SPLIT2_v1", "GoogleSecretManager('p')"),
        ("env:", "Environment(prefix='')"),
        ("env:SPLIT2_", "Environment(prefix='SPLIT2_')"),
        ("dir:///run/secrets", "Directory('/run/secrets')"),
        ("dir:/run/secrets", "Directory('/run/secrets')"),
        ("dir:///run/my%20secrets", "Directory('/run/my secrets')"),
        ("memory:", "<Memory of 0 secrets>"),
    ],
)
def test_built_in_schemes(url, shown):
    assert repr(source_from_url(url)) == shown


@pytest.mark.parametrize(
    ("url", "happened", "remedy"),
    [
        ("", "has no scheme", "dir, env, gsm, memory"),
        ("pgp-live", "has no scheme", "Begin it with one of"),
        (None, "is malformed", "Begin it with one of"),
        (b"env:", "is malformed", "Begin it with one of"),
        ("gsm://[1/", "is malformed", "Begin it with one of"),
        ("locker://canary", "no source for the scheme 'locker'", "entry-point group"),
        ("gsm:", "names no project", "gsm://PROJECT"),
        ("gsm://", "names no project", "gsm://PROJECT"),
        ("gsm:///canary", "names more than a project", "gsm://PROJECT"),
        ("gsm://p/canary", "names more than a project", "gsm://PROJECT"),
        ("gsm://p#canary", "names more than a project", "gsm://PROJECT"),
        ("gsm://u:canary@p", "names more than a project", "gsm://PROJECT"),
        ("gsm://p%2Fq", "the Google Cloud project is", "project's id"),
        (
            "gsm://p?region=canary",
            "unknown options: region",
            "It knows location, endpoint, transport, user_agent",
        ),
        ("gsm://p?transport=http", "the transport is 'http'", "transport='rest'"),
        ("gsm://p?user_agent=a%20b", "the user agent is 'a b'", "Use letters"),
        ("gsm://p?location=", "empty or repeated options: location", "Give each option once"),
        ("gsm://p?location=a&location=b", "empty or repeated options", "Give each option once"),
        ("gsm://p?location=..", "the location of the secrets", "europe-west1"),
        ("gsm://p?endpoint=10.0.0.1:80", "is not on this machine", "127.0.0.1:PORT"),
        ("env://PREFIX_", "is no prefix", "env:PREFIX_"),
        ("env:/PREFIX_", "is no prefix", "env:PREFIX_"),
        ("env:P#canary", "is no prefix", "env:PREFIX_"),
        ("env:P?x=canary", "unknown options: x", "It knows none"),
        ("env:A%3DB", "cannot begin the name", "SPLIT2_"),
        ("dir:run/secrets", "has no absolute path", "three slashes"),
        ("dir://run/secrets", "has no absolute path", "three slashes"),
        ("dir:///run#canary", "has no absolute path", "three slashes"),
        ("dir:", "has no absolute path", "three slashes"),
        ("dir:///run?x=canary", "unknown options: x", "It knows none"),
        ("memory:canary", "has content", "memory: alone"),
        ("memory://canary", "has content", "memory: alone"),
        ("memory:#canary", "has content", "memory: alone"),
        ("memory:?x=canary", "unknown options: x", "It knows none"),
    ],
)
def test_a_wrong_url_says_what_is_wrong_and_what_to_do(url, happened, remedy):
    with pytest.raises(DeclarationError) as caught:
        source_from_url(url)
    assert happened in caught.value.happened
    assert remedy in caught.value.remedy
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["vault", "aws"])
def test_a_source_that_is_not_installed_says_what_to_install(scheme, monkeypatch):
    monkeypatch.setattr(urls, "entry_points", lambda **_: ())
    with pytest.raises(
        DeclarationError,
        match=rf"{scheme}' is not installed\. Install it: pip install pgp-config-{scheme}\.",
    ):
        source_from_url(f"{scheme}://canary")


def test_kinds():
    assert isinstance(source_from_url("env:"), Environment)
    assert isinstance(source_from_url("dir:///x"), Directory)
    assert isinstance(source_from_url("memory:"), Memory)


def test_a_distribution_adds_a_scheme(distribution):
    distribution(
        "class Vault:\n"
        "    def __init__(self, url): self.url = url\n"
        "    def fetch(self, name, version='latest'): ...\n",
        "locker = vaulted:Vault",
    )
    assert source_from_url("locker://host/path?token=t").url == "locker://host/path?token=t"
    with pytest.raises(DeclarationError, match="dir, env, gsm, locker, memory"):
        source_from_url("volt://host")


def test_a_distribution_found_twice_is_one(distribution, monkeypatch):
    distribution(
        "from pgp_config.sources import Memory\ndef make(url): return Memory()\n",
        "v = vaulted:make",
    )
    point = EntryPoint("v", "vaulted:make", urls.GROUP)
    monkeypatch.setattr(urls, "entry_points", lambda **_: [point, point])
    assert isinstance(source_from_url("v:"), Memory)


def test_the_built_in_schemes_cannot_be_shadowed(distribution):
    distribution("def make(url): raise AssertionError\n", "memory = vaulted:make")
    assert isinstance(source_from_url("memory:"), Memory)


def test_two_distributions_with_one_scheme_are_an_error(distribution):
    distribution("make = None", "locker = vaulted:make")
    distribution("make = None", "locker = revaulted:make", name="revaulted")
    with pytest.raises(DeclarationError, match="revaulted:make, vaulted:make") as caught:
        source_from_url("locker://host")
    assert "Uninstall all but one" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "happened"),
    [
        ("import no_such_module_at_all", "vaulted:make, cannot be imported"),
        ("other = 1", "vaulted:make, cannot be imported"),
        ("make = 1", "vaulted:make, cannot be called"),
        ("def make(url): return url", "made a str, no source"),
        ("def make(url): raise ValueError(url)", "raised ValueError"),
        ("def make(): return 1", "raised TypeError"),
    ],
)
def test_a_broken_registration_is_named(distribution, text, happened):
    distribution(text, "locker = vaulted:make")
    with pytest.raises(DeclarationError) as caught:
        source_from_url("locker://host?token=canary")
    assert happened in str(caught.value)
    assert "'locker'" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is caught.value.__cause__


def test_a_registered_scheme_reports_its_own_errors(distribution):
    distribution(
        "from pgp_config import DeclarationError\n"
        "def make(url): raise DeclarationError('has no mount', remedy='Name one.')\n",
        "locker = vaulted:make",
    )
    with pytest.raises(DeclarationError, match=r"has no mount\. Name one"):
        source_from_url("locker://host")


def test_no_file_of_the_tests_is_left_on_the_path():
    assert not [entry for entry in sys.path if Path(entry, "vaulted.py").exists()]
