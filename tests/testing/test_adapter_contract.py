"""What the author of an adapter is told by the contract suite, right or wrong."""

pytest_plugins = ["pytester"]

BACKEND = """
import json
import pytest
from pgp_config import request_scope
from pgp_config.testing.contracts import AdapterBackend, AdapterContract

class MyBackend(AdapterBackend):
    lacks = {
        "async": "no coroutines", "unavailable": "no errors", "health": "no pages",
        "in_process": "elsewhere", "concurrent": "one at a time", "load": "by hand",
        "stream": "whole bodies",
    }
    def __init__(self, stage):
        self.stage = stage
        stage.secrets.load()
    def get(self, path):
        with request_scope():
            return 200, {}, json.dumps(self.stage.answers[path]())

class TestMine(AdapterContract):
    @pytest.fixture
    def backend(self, stage):
        return MyBackend(stage)
"""


def test_a_good_adapter_passes_and_what_it_lacks_is_skipped_with_the_reason(run):
    ran = run(BACKEND, "-rs")
    assert ran.parseoutcomes() == {"passed": 2, "skipped": 9}
    ran.stdout.fnmatch_lines(["*MyBackend lacks 'stream': whole bodies"])


def test_an_adapter_without_a_scope_fails(run):
    ran = run(BACKEND.replace("with request_scope():", "if path:"))
    assert "failed" in ran.parseoutcomes()
    assert "errors" in ran.parseoutcomes()  # the stage looks at the scopes that it saw


def test_values_are_asked_for_at_those_pages_that_there_are(run):
    ran = run(BACKEND.replace('"in_process": "elsewhere",', ""), "-k", "values")
    ran.assert_outcomes(passed=1, deselected=10)


def test_a_suite_without_an_application_is_told_to_give_one(run):
    ran = run(
        "from pgp_config.testing.contracts import AdapterContract\n"
        "class TestMine(AdapterContract): ...\n",
        "-k",
        "scope_of_its_own",
    )
    ran.assert_outcomes(errors=1, deselected=10)
    ran.stdout.fnmatch_lines(["*TestMine has to override the fixture `backend`*"])


def test_an_application_that_cannot_be_asked_is_told_so(run):
    ran = run(BACKEND.replace("def get", "def ask"), "-k", "scope_of_its_own")
    ran.stdout.fnmatch_lines(["*NotImplementedError: MyBackend needs a method `get` for /twice"])
