"""The detector of leaks, under pytest: what it finds, what it leaves alone, and that it shows nothing."""

import logging

import pytest

pytest_plugins = ["pytester"]

SERVICE = """
import logging
import sys
import warnings
import pytest
from pgp_config import DynamicSecret, Memory, SecretContainer, StaticSecret, request_scope

class Service(SecretContainer):
    key = DynamicSecret("LEAKS_KEY")
    fixed = StaticSecret("LEAKS_FIXED")

VALUES = {"LEAKS_KEY": "".join(["can", "ary-key-1"]), "LEAKS_FIXED": "".join(["can", "ary-fixed"])}
NEXT = "".join(["can", "ary-key-2"])

@pytest.fixture
def made(make_secrets):
    return make_secrets(Service, VALUES)

@pytest.fixture
def key(made):
    return made.secrets.key().get_secret_value()

"""

ASKED = "pytestmark = pytest.mark.secret_leaks\n"


@pytest.fixture
def ran(run):
    """Runs tests that are looked after; whatever comes of it shows no value."""

    def ran(program, *options, asked=ASKED):
        result = run(SERVICE + asked + program, "-W", "always", *options)
        assert "canary-" not in result.stdout.str().replace("canary-]", "")
        assert "canary-" not in result.stderr.str()
        return result

    return ran


def test_a_test_that_leaves_nothing_passes(ran):
    ran(
        """
def test_it(made, capsys):
    with request_scope():
        assert made.secrets.key().get_secret_value() == VALUES["LEAKS_KEY"]
        print(made.secrets, made.secrets.key())
    assert "[" not in capsys.readouterr().out
"""
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("writes", "told"),
    [
        ("print('paid with', key)", "captured stdout of the test's call shows the value of LEAKS_KEY, in line 1: paid with [[]LEAKS_KEY[]]"),
        ("print(key, file=sys.stderr)", "captured stderr of the test's call shows the value of LEAKS_KEY*"),
        ("logging.getLogger('app').warning('with %s', key)", "a log record of app (*test_it.py:*) shows the value of LEAKS_KEY, in line 1: with [[]LEAKS_KEY[]]"),
        ("logging.getLogger('app').error('no', extra={'sent': {'key': key}})", "a log record of app * in line 2: {'key': '[[]LEAKS_KEY[]]'}"),
        ("warnings.warn(f'odd {key}')", "a UserWarning from *test_it.py:* shows the value of LEAKS_KEY, in line 1: odd [[]LEAKS_KEY[]]"),
        ("import base64; print('Basic', base64.b64encode(b'user:' + key.encode()).decode())", "captured stdout of the test's call shows the value of LEAKS_KEY, in line 1: Basic *[[]LEAKS_KEY[]]*"),
        ("import os; os.write(1, key.encode())", "captured stdout of the test's call shows*"),
        ("print(key); capsys.readouterr()", "stdout, which the test read, shows the value of LEAKS_KEY*"),
        ("print(repr(key), made.secrets.fixed().get_secret_value())", "*the value of LEAKS_FIXED, in line 1: '[[]LEAKS_KEY[]]' [[]LEAKS_FIXED[]]"),
    ],
)  # fmt: skip
def test_a_value_in_what_a_test_writes_fails_it_and_is_not_shown(ran, writes, told):
    result = ran(f"def test_it(made, key, capsys):\n    {writes}\n")
    result.assert_outcomes(passed=1, errors=1, warnings=1 if "warn(" in writes else 0)
    result.stdout.fnmatch_lines([f"Left behind: {told}"])


def test_fixtures_that_capture_bytes_and_file_descriptors_are_seen_as_well(ran):
    result = ran(
        """
import os
def test_it(key, capfdbinary):
    os.write(2, key.encode())
    assert capfdbinary.readouterr().err
"""
    )
    result.stdout.fnmatch_lines(
        ["Left behind: stderr, which the test read, shows the value of LEAKS_KEY*"]
    )


def test_what_is_captured_by_capsys_and_never_read_is_seen(ran):
    result = ran("def test_it(key, capsys):\n    print(key)\n")
    result.assert_outcomes(passed=1, errors=1)


def test_a_failing_test_shows_no_value_in_any_part_of_its_report(ran):
    result = ran(
        """
def test_it(key, caplog):
    print(key)
    logging.getLogger("app").error(key)
    assert key == 'another', key
""",
        "--showlocals",
    )
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "E  *AssertionError: [[]LEAKS_KEY[]]",
            "key * = '[[]LEAKS_KEY[]]'",
            "FAILED test_it.py::test_it - AssertionError: [[]LEAKS_KEY[]]",
            "ERROR test_it.py::test_it - Failed: Left behind: *",
        ]
    )


def test_a_skip_shows_no_value_in_its_reason(ran):
    ran("def test_it(key):\n    pytest.skip(key)\n", "-rs").assert_outcomes(skipped=1)


def test_previous_versions_are_looked_for(ran):
    result = ran(
        """
def test_it(made, key):
    made.rotate("LEAKS_KEY", NEXT)
    with request_scope():
        print(made.secrets.key().get_secret_value())
    print(key)
"""
    )
    result.stdout.fnmatch_lines(["*in line 1: [[]LEAKS_KEY[]]", "*in line 2: [[]LEAKS_KEY[]]"])


@pytest.mark.parametrize(
    "gives",
    [
        "with request_scope(values={'LEAKS_KEY': NEXT}): made.secrets.key()",
        "with made.secrets.key.override(NEXT): made.secrets.key()",
    ],
)
def test_values_that_a_test_gives_are_looked_for(ran, gives):
    result = ran(f"def test_it(made):\n    {gives}\n    print(NEXT)\n")
    result.stdout.fnmatch_lines(["*the value of LEAKS_KEY*"])


def test_values_of_a_container_of_the_session_are_looked_for_in_each_test(ran):
    result = ran(
        """
@pytest.fixture(scope="session")
def shared():
    container = Service(source=Memory(VALUES))
    container.load()
    yield container
    container.close()

def test_one(shared):
    print(shared.key().get_secret_value())

def test_two(shared):
    print(shared.key().get_secret_value())

def test_three(shared):
    shared.key()
"""
    )
    result.assert_outcomes(passed=3, errors=2)


def test_values_of_other_tests_are_not_looked_for(ran):
    ran("""
def test_one(make_secrets):
    make_secrets(Service, {"LEAKS_KEY": "elsewhere", "LEAKS_FIXED": "fixed"})

def test_two(make_secrets):
    print("elsewhere")
""").assert_outcomes(passed=2)


def test_a_canary_of_the_tests_own_is_looked_for_with_what_follows_it(ran):
    result = ran(
        """
@pytest.mark.secret_leaks("can" "ary-")
def test_marked():
    print("".join(["can", "ary-4711"]))

def test_named(secret_leaks):
    secret_leaks.look_for("can" "ary-")
    print("".join(["can", "ary-4711"]))
"""
    )
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*shows the value of canary 1, in line 1: [[]canary 1[]]"])


def test_canaries_can_be_named_for_all_tests(ran, pytester):
    pytester.makeini("[pytest]\nsecret_leaks = true\nsecret_canaries =\n    4711\n")
    result = ran("def test_it():\n    print('a-4711-b')\n", asked="")
    result.assert_outcomes(passed=1, errors=1)


def test_a_canary_that_is_too_short_is_refused(ran):
    result = ran("@pytest.mark.secret_leaks('abc')\ndef test_it(): ...\n", asked="")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["canary 1 has under 4 characters*"])


@pytest.mark.parametrize(
    ("leaves", "told"),
    [
        (
            "KEPT.append(request_scope().__enter__())",
            "a scope is open, from *test_it.py:* in test_it",
        ),
        (
            "KEPT.append(Service(source=Memory(VALUES))); KEPT[0].load()",
            "Service was not closed: call close()*",
        ),
    ],
)
def test_what_a_test_leaves_open_fails_it(ran, leaves, told):
    result = ran(
        f"""
KEPT = []

def test_it():
    {leaves}

def test_then():
    KEPT[0].close()
"""
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([f"Left behind: {told}"])


def test_a_scope_that_a_coroutine_left_open_is_found(ran):
    result = ran(
        """
import asyncio

async def opens():
    await request_scope().__aenter__()

def test_it():
    asyncio.run(opens())
"""
    )
    result.stdout.fnmatch_lines(["Left behind: a scope is open, from *test_it.py:* in opens"])


def test_what_is_open_before_a_test_or_lives_longer_is_left_alone(ran):
    ran("""
BEFORE = Service(source=Memory(VALUES))  # fetches for the first time in a test

@pytest.fixture(scope="module")
def longer():
    container = Service(source=Memory(VALUES))
    with request_scope():
        yield container
    container.close()

def test_one(longer):
    BEFORE.key()
    longer.key()

def test_two(longer):
    BEFORE.key()

def teardown_module():
    BEFORE.close()
""").assert_outcomes(passed=2)


def test_fixtures_close_after_the_test_and_before_the_look(ran):
    ran("""
@pytest.fixture(autouse=True)
def opened():
    container = Service(source=Memory(VALUES))
    container.load()
    with request_scope():
        yield
    container.close()

def test_it(): ...
""").assert_outcomes(passed=1)


def test_a_teardown_that_fails_tells_of_itself(ran):
    result = ran(
        """
@pytest.fixture
def failing():
    yield
    raise RuntimeError("the teardown's own")

def test_it(failing, key):
    print(key)
"""
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*RuntimeError: the teardown's own"])


@pytest.mark.parametrize(
    ("allowed", "outcome"),
    [("", {}), ("'output', 'scopes'", {}), ("'containers'", {"errors": 1})],
)
def test_leaks_can_be_allowed_by_kind_or_all(ran, allowed, outcome):
    result = ran(
        f"""
@pytest.mark.allow_secret_leaks({allowed})
def test_it(key):
    request_scope().__enter__()
    print(key)
"""
    )
    result.assert_outcomes(passed=1, **outcome)


def test_a_kind_that_there_is_not_is_refused(ran):
    result = ran("@pytest.mark.allow_secret_leaks('threads')\ndef test_it(): ...\n")
    result.stdout.fnmatch_lines(["*a leak of the kind 'threads' is to be allowed*"])


def test_nothing_is_looked_for_unless_asked(run):
    run(
        SERVICE + "def test_it(key):\n    request_scope().__enter__()\n    print(key)\n"
    ).assert_outcomes(passed=1)


def test_a_program_that_redacts_its_log_leaks_nothing_and_the_next_test_does(ran):
    result = ran(
        """
from pgp_config.redaction import install_redaction

def test_one(key):
    install_redaction()
    logging.getLogger("app").error("with %s", key)

def test_two(key):
    logging.getLogger("app").error("with %s", key)
"""
    )
    result.assert_outcomes(passed=2, errors=1)


def test_without_pytests_own_logging_records_are_seen(ran):
    result = ran(
        "def test_it(key):\n    logging.getLogger('app').error(key)\n", "-p", "no:logging"
    )
    result.assert_outcomes(passed=1, errors=1)


def test_a_value_of_several_lines_is_found_by_each_of_them(ran):
    result = ran(
        """
from pydantic import SecretStr

class Keys(SecretContainer):
    pem = StaticSecret("PEM")

LINES = ["-----BEGIN-----", "c2VjcmV0LWxpbmUtMQ==", "c2VjcmV0LWxpbmUtMg==", "-----END-----"]

def test_it(make_secrets):
    make_secrets(Keys, {"PEM": chr(10).join(LINES)})
    for line in LINES:
        print("  " + line)
"""
    )
    result.stdout.fnmatch_lines(["*value of PEM, in line 2: [[]PEM[]]", "*in line 3: [[]PEM[]]"])
    assert "c2Vj" not in result.stdout.str()


def test_unittest_cases_under_pytest_are_looked_after_too(ran):
    result = ran(
        """
import unittest

class TestIt(unittest.TestCase):
    def test_it(self):
        request_scope().__enter__()
"""
    )
    result.assert_outcomes(passed=1, errors=1)


def test_a_value_over_several_short_lines_of_a_report_is_not_shown(ran):
    result = ran(
        """
class Short(SecretContainer):
    lines = StaticSecret("SHORT_LINES")

def test_it(make_secrets):
    value = chr(10).join(["ab" + "c1", "de" + "f2"])
    make_secrets(Short, {"SHORT_LINES": value})
    pytest.fail("with " + value, pytrace=False)
"""
    )
    result.assert_outcomes(failed=1)
    assert "abc1" not in result.stdout.str()


def test_making_and_rotating_show_no_value_with_locals(ran):
    result = ran(
        """
def test_one(make_secrets):
    make_secrets(Service, {**VALUES, "LEAKS_KEY": 5})

def test_two(make_secrets):
    make_secrets("Service", VALUES)

def test_three(made):
    made.rotate("LEAKS_KYE", NEXT)
""",
        "--showlocals",
    )
    result.assert_outcomes(failed=3)


def test_a_marker_without_names_is_refused(ran):
    result = ran(
        """
@pytest.mark.secret_values("nonsense")
def test_it(make_secrets): ...
"""
    )
    result.stdout.fnmatch_lines(["secret_values takes values by name, not a str"])


def test_an_answer_that_was_dropped_leaves_no_scope_open_also_when_it_was_an_error(
    ran, monkeypatch
):
    # Those of this test's own pytest would keep the traceback, and with it the answer.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    result = ran(
        """
import pgp_config_flask
from flask import Flask

def test_it(made):
    app = Flask("dropped")
    app.add_url_rule("/", "index", lambda: 1 / 0)
    pgp_config_flask.install(app, made.secrets)
    assert app.test_client().get("/").status_code == 500
"""
    )
    result.assert_outcomes(passed=1)
