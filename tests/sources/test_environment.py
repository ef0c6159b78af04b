"""The environment as a source, beside the contract."""

import pytest

from pgp_config import DeclarationError, SecretNotFound
from pgp_config.sources import Environment


def test_it_reads_the_process_environment_anew(monkeypatch):
    source = Environment()
    monkeypatch.setenv("PGP_TEST_KEY", "one")
    assert source.fetch("PGP_TEST_KEY").data == b"one"
    monkeypatch.setenv("PGP_TEST_KEY", "two")
    assert source.fetch("PGP_TEST_KEY").data == b"two"


def test_contents_are_counted_as_they_come_also_when_they_come_back():
    environ = {"KEY": "blue"}
    source = Environment(environ=environ)
    versions = []
    for value in ("blue", "green", "green", "blue"):
        environ["KEY"] = value
        versions.append(source.fetch("KEY").version)
    assert versions == [1, 2, 2, 3]


def test_a_missing_variable_is_named_with_its_prefix():
    with pytest.raises(SecretNotFound, match="environment variable SPLIT2_KEY is not set"):
        Environment("SPLIT2_", {}).fetch("KEY")


def test_an_old_number_says_which_one_is_present():
    environ = {"KEY": "one"}
    source = Environment(environ=environ)
    source.fetch("KEY")
    environ["KEY"] = "two"
    with pytest.raises(SecretNotFound, match="no version 1 here: the contents now are version 2"):
        source.fetch("KEY", 1)


def test_an_empty_variable_is_let_through_for_the_decoder_to_refuse():
    assert Environment(environ={"KEY": ""}).fetch("KEY").data == b""


def test_text_that_is_no_unicode_is_let_through_too():
    assert Environment(environ={"KEY": "\ud800"}).fetch("KEY").data == b"\xed\xa0\x80"


@pytest.mark.parametrize("prefix", ["A=B", "A\0", None, 7])
def test_a_prefix_that_can_begin_no_variable_is_refused(prefix):
    with pytest.raises(DeclarationError, match="cannot begin the name"):
        Environment(prefix)


def test_the_last_value_is_not_kept():
    source = Environment(environ={"KEY": "canary"})
    source.fetch("KEY")
    counted = source._contents._seen["KEY"]
    assert b"canary" not in counted.mark


def test_it_shows_its_prefix_only():
    assert (
        repr(Environment("SPLIT2_", {"SPLIT2_KEY": "canary"})) == "Environment(prefix='SPLIT2_')"
    )


# promise 16
def test_a_child_does_not_wait_for_a_lock_that_its_parent_held():
    source = Environment(environ={"KEY": "one"})
    source.fetch("KEY")
    source._contents._seen["KEY"].lock.acquire()
    source._contents.renew_after_fork()
    assert source.fetch("KEY").version == 1
