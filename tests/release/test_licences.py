"""Which licences pass, and what is said of those that do not."""

import tomllib

import pytest

LIST = """
[runtime]
allowed = ["MIT", "Apache-2.0", "ISC"]
exceptions.certifi = { licence = "MPL-2.0", reason = "a list" }

[development]
allowed = ["MPL-2.0"]
exceptions.codespell = { licence = "GPL-2.0-only", reason = "a program" }

[names]
"MIT" = ["MIT License"]
"ISC" = ["ISC License (ISCL)"]
"""


@pytest.fixture
def rules():
    from release.licences import Rules

    return lambda kind: Rules.of(kind, tomllib.loads(LIST))


def package(name, expression="UNKNOWN", words="UNKNOWN", classifier="UNKNOWN"):
    return {
        "Name": name,
        "License-Expression": expression,
        "License-Metadata": words,
        "License-Classifier": classifier,
    }


CERTIFI = package("certifi", words="MPL-2.0")


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("mit license", True),
        ("ISC License (ISCL)", True),
        ("MIT OR GPL-3.0-only", True),
        ("(GPL-3.0-only OR Apache-2.0)", True),
        ("MIT AND Apache-2.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT License; GNU General Public License (GPL)", False),
        ("MPL-2.0", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_what_a_user_gets(rules, licence, allowed):
    assert rules("runtime").is_allowed(licence) is allowed


def test_development_may_more(rules):
    assert rules("development").is_allowed("MPL-2.0")
    assert rules("development").is_allowed("MIT")


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        (package("a", "MIT", "Other", "Other"), "MIT"),
        (package("a", words="MIT", classifier="MIT License"), "MIT"),
        (package("a", words="Copyright\nAll of it", classifier="BSD License"), "BSD License"),
        (package("a", words="Copyright\nAll of it"), "Copyright"),
        (package("a", words="", classifier="ISC"), "ISC"),
        (package("a"), "UNKNOWN"),
    ],
)
def test_a_licence_is_what_a_package_says_most_exactly(said, licence):
    from release.licences import declared

    assert declared(said) == licence


def test_those_that_are_not_allowed_are_named_with_their_licence(rules):
    from release.licences import refused

    packages = [package("Good", "MIT"), package("Bad_One", "SSPL-1.0"), CERTIFI, package("mute")]
    assert refused(packages, rules("runtime")) == ["bad-one: SSPL-1.0", "mute: UNKNOWN"]


def test_an_exception_is_for_one_licence(rules):
    from release.licences import refused

    faults = refused([package("certifi", "SSPL-1.0")], rules("runtime"))
    assert faults == ["certifi: the exception is for 'MPL-2.0', not 'SSPL-1.0'"]


def test_an_exception_that_is_not_needed_any_more_is_named(rules):
    from release.licences import refused

    assert refused([], rules("runtime")) == ["certifi: is excepted, and not required"]


def test_every_exception_of_this_project_has_its_reason():
    from release.licences import LIST as LISTED

    said = tomllib.loads(LISTED.read_text("utf-8"))
    exceptions = [
        each for kind in ("runtime", "development") for each in said[kind]["exceptions"].values()
    ]
    assert all(each["reason"] and each["licence"] for each in exceptions)
