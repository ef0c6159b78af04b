"""Records that are like frozen dataclasses, with shared methods."""

import copy
import pickle
from dataclasses import FrozenInstanceError, field, fields, replace
from typing import get_type_hints

import pytest

from pgp_config import Freshness, Payload
from pgp_config.events import Reloaded
from pgp_config.facts import Fact, Record, fact


@fact
class Parcel(Fact):
    """One."""

    sender: str
    content: str = field(repr=False)
    weight: float = 1.0


@fact
class Insured(Parcel):
    """Another, with more."""

    worth: int = 0


@fact
class Thing(Record):
    """Equal to nothing else."""

    name: str


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        (("me",), {}),
        (("me", "book", 2.0, 3), {}),
        (("me", "book"), {"sender": "you"}),
        (("me", "book"), {"colour": "red"}),
    ],
)
def test_what_does_not_fit_is_refused_with_the_names_and_without_the_values(values, named):
    with pytest.raises(TypeError, match="sender, content, weight") as caught:
        Parcel(*values, **named)
    assert "book" not in str(caught.value)


def test_values_come_by_place_by_name_or_by_default():
    assert Parcel("me", content="book") == Parcel("me", "book", 1.0)
    assert Insured("me", "book", worth=5) == Insured("me", "book", 1.0, 5)
    assert [part.name for part in fields(Insured)] == ["sender", "content", "weight", "worth"]


def test_nothing_of_it_changes_but_a_copy_may_differ():
    parcel = Parcel("me", "book")
    with pytest.raises(FrozenInstanceError, match="assign"):
        parcel.sender = "you"
    with pytest.raises(FrozenInstanceError, match="delete"):
        del parcel.sender
    assert not hasattr(parcel, "__dict__")
    assert replace(parcel, sender="you") == Parcel("you", "book")


def test_its_types_can_be_looked_up_as_serialisers_do():
    for kind in (Insured, Freshness, Payload, Reloaded):
        assert {*get_type_hints(kind)} >= {part.name for part in fields(kind)}


def test_it_shows_no_hidden_field():
    assert repr(Parcel("me", "book")) == "Parcel(sender='me', weight=1.0)"


def test_facts_are_equal_by_content_and_class_and_records_to_themselves():
    assert {Parcel("me", "book"), Parcel("me", "book")} == {Parcel("me", "book")}
    assert Parcel("me", "book") != Insured("me", "book")
    assert Parcel("me", "book") != ("me", "book", 1.0)
    thing = Thing("one")
    assert thing == thing  # noqa: PLR0124  itself is the point
    assert thing != Thing("one")


def test_it_is_copied_and_pickled():
    parcel = Parcel("me", "book")
    assert copy.deepcopy(parcel) == pickle.loads(pickle.dumps(parcel)) == parcel
