"""What the author of a source is told by the contract suite, right or wrong."""

import pytest

pytest_plugins = ["pytester"]

BACKEND = """
import pytest
from pgp_config.errors import SecretNotFound
from pgp_config.sources import Memory
from pgp_config.testing.contracts import SourceBackend, SourceContract

class MyBackend(SourceBackend):
    lacks = {
        "forbid": "nobody is asked", "outage": "never out",
        "disable": "no states", "destroy": "no states",
    }
    def __init__(self):
        self.source = Memory()
    def add(self, name, data):
        self.source.add(name, data)

class TestMine(SourceContract):
    @pytest.fixture
    def backend(self):
        return MyBackend()
"""


def test_a_good_source_passes_and_what_it_lacks_is_skipped_with_the_reason(run):
    ran = run(BACKEND, "-rs", "-k", "not fork")
    outcomes = ran.parseoutcomes()
    assert set(outcomes) == {"passed", "skipped", "deselected"}
    assert outcomes["skipped"] == 6
    ran.stdout.fnmatch_lines(["*lacks 'destroy': no states", "*lacks 'forbid': nobody is asked"])


def test_a_suite_without_a_backend_is_told_to_give_one(run):
    ran = run(
        "from pgp_config.testing.contracts import SourceContract\n"
        "class TestMine(SourceContract): ...\n",
        "-k",
        "is_a_source",
    )
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*TestMine has to override the fixture `backend`*"])


@pytest.mark.parametrize(
    ("method", "test", "told"),
    [
        ("forbid", "may_not_be_read", 'lacks = {"forbid": "…"}'),
        ("outage", "outage", 'lacks = {"outage": "…"}'),
        ("disable", "no_value_shows_in_the_error_for", 'lacks = {"disable": "…"}'),
        ("destroy", "destroyed", 'lacks = {"destroy": "…"}'),
    ],
)
def test_a_backend_that_neither_has_a_method_nor_lacks_it_is_told_so(run, method, test, told):
    ran = run(BACKEND.replace(f'"{method}":', '"binary":'), "-k", test)
    ran.assert_outcomes(failed=1, deselected=ran.parseoutcomes()["deselected"])
    ran.stdout.fnmatch_lines([f"*MyBackend needs a method `{method}`, or say why not: {told}"])


def test_enabling_belongs_to_disabling(run):
    program = BACKEND.replace('"disable": "no states",', "").replace(
        "    def add(self", "    def disable(self, *_): pass\n    def add(self"
    )
    ran = run(program, "-k", "enabled_again")
    ran.stdout.fnmatch_lines(['*needs a method `enable`, or say why not: lacks = {"disable"*'])


def test_a_backend_that_adds_nothing_cannot_be_tested(run):
    ran = run(BACKEND.replace("def add", "def put"), "-k", "newest_version")
    ran.stdout.fnmatch_lines(["*NotImplementedError: MyBackend needs a method `add`"])


@pytest.mark.parametrize(
    ("fault", "caught_by"),
    [
        ("def __repr__(self): return repr(self.fetch('KEY').data)", "test_no_value_shows"),
        ("def __reduce__(self): return (Memory, ())", "test_it_is_neither_pickled_nor_copied"),
        (
            (
                "def fetch(self, name, version='latest'):\n"
                "        found = super().fetch(name)\n"
                "        data = found.data\n"
                "        if version not in ('latest', found.version): raise SecretNotFound('no 99', secret=name)\n"
                "        return found"
            ),
            "test_no_value_shows_in_an_error_with_all_its_frames",
        ),
        (
            "def fetch(self, name, version='latest'): return super().fetch(name or 'KEY', version)",
            "test_a_name_that_cannot_be_is_not_found",
        ),
        (
            (
                "def fetch(self, name, version='latest'):\n"
                "        from dataclasses import replace\n"
                "        return replace(super().fetch(name, version), crc32c=1)"
            ),
            "test_a_checksum_that_comes_along_is_right",
        ),
    ],
)
def test_a_source_with_a_fault_fails(run, fault, caught_by):
    program = BACKEND.replace("self.source = Memory()", "self.source = Mine()") + (
        f"\nclass Mine(Memory):\n    {fault}\n"
    )
    ran = run(program, "-k", caught_by)
    ran.stdout.fnmatch_lines([f"FAILED*{caught_by}*"])
