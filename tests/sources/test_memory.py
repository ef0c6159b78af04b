"""The in-memory source beside the contract: its own verbs and its bad input."""

import pytest

from pgp_config import DeclarationError, SecretDisabled, SecretNotFound
from pgp_config.sources import Memory


def test_adding_gives_the_versions_number():
    memory = Memory({"KEY": "one"})
    assert memory.add("KEY", b"two") == 2
    assert memory.add("OTHER", "three") == 1
    assert memory.fetch("KEY").data == b"two"


def test_disabling_means_the_newest_version_unless_told_otherwise():
    memory = Memory({"KEY": "one"})
    memory.add("KEY", "two")
    memory.disable("KEY")
    with pytest.raises(SecretDisabled, match="version 2 is disabled"):
        memory.fetch("KEY")
    memory.enable("KEY")
    assert memory.fetch("KEY").version == 2


@pytest.mark.parametrize("verb", ["disable", "enable", "destroy", "delete"])
def test_what_is_not_there_cannot_be_changed(verb):
    with pytest.raises(SecretNotFound, match=r"KEY: does not exist in memory. Add it"):
        getattr(Memory(), verb)("KEY")


@pytest.mark.parametrize("verb", ["disable", "enable"])
def test_a_destroyed_version_has_no_state_but_that(verb):
    memory = Memory({"KEY": "one"})
    memory.destroy("KEY")
    memory.destroy("KEY")
    with pytest.raises(SecretDisabled, match="version 1 is destroyed"):
        getattr(memory, verb)("KEY", 1)
    with pytest.raises(SecretDisabled, match="version 1 is destroyed"):
        memory.fetch("KEY")


def test_a_deleted_secret_is_not_found_and_counts_from_one_again():
    memory = Memory({"KEY": "one"})
    memory.delete("KEY")
    with pytest.raises(SecretNotFound):
        memory.fetch("KEY")
    assert memory.add("KEY", "two") == 1


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_name_must_be_a_text(name):
    with pytest.raises(DeclarationError, match="Give a name"):
        Memory({name: "one"})


@pytest.mark.parametrize("value", [None, 7, 3.5, True, ["canary"]])
def test_a_value_must_be_text_or_bytes_and_is_not_shown(value):
    with pytest.raises(DeclarationError, match="KEY: was given a value of type") as caught:
        Memory({"KEY": value})
    assert "canary" not in str(caught.value)


def test_text_that_is_no_unicode_is_left_for_the_decoder_to_refuse():
    assert Memory({"KEY": "\ud800"}).fetch("KEY").data == b"\xed\xa0\x80"


def test_it_says_how_many_secrets_it_has():
    assert repr(Memory({"KEY": "canary"})) == "<Memory of 1 secrets>"


# promise 16
def test_a_child_does_not_wait_for_a_lock_that_its_parent_held():
    memory = Memory({"KEY": "one"})
    memory._lock.acquire()
    memory.renew_after_fork()
    assert memory.fetch("KEY").data == b"one"
