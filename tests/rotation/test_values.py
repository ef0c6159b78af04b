"""The new value: made, checked, and never shown; and where its type comes from."""

import base64
import pickle
import re
import sys
import types

import pytest
from pydantic import SecretBytes

from pgp_config import DeclarationError, DynamicSecret, Memory, SecretContainer, StaticSecret
from pgp_config.rotation.declarations import declarations_of
from pgp_config.rotation.values import Undeclared, Value, as_stored, generate
from pgp_config.secret import Payload

CANARY = "canary-7f3a"


class Split2(SecretContainer):
    key = DynamicSecret("KEY")
    blob = DynamicSecret("BLOB", SecretBytes)
    signing = StaticSecret("SIGNING_KEY")


class Row:
    def __init__(self, made):
        self.secret = lambda: made


@pytest.fixture(autouse=True)
def service(monkeypatch):
    """A module of a user."""
    module = types.ModuleType("canary_service")
    module.Split2 = Split2
    module.instance = Split2(source=Memory())
    module.CATALOGUE = {"KEY": Row(DynamicSecret("KEY", int)), "OTHER": "text"}
    monkeypatch.setitem(sys.modules, "canary_service", module)
    yield module
    module.instance.close()


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        ("hex:32", r"[0-9a-f]{64}"),
        ("urlsafe:16", r"[A-Za-z0-9_-]{22}"),
        ("base64:48", r"[A-Za-z0-9+/]{64}"),
        ("alphanumeric:24", r"[A-Za-z0-9]{24}"),
        ("fernet", r"[A-Za-z0-9_-]{43}="),
    ],
)
def test_a_generator_makes_what_it_says_and_never_the_same(recipe, form):
    one, two = generate(recipe), generate(recipe)
    assert re.fullmatch(form, one.data.decode())
    assert one.data != two.data


def test_a_fernet_key_is_one():
    assert len(base64.urlsafe_b64decode(generate("fernet").data)) == 32


@pytest.mark.parametrize("recipe", ["hex", "hex:8", "hex:5000", "hex:x", "uuid:16", "", "hex:-1"])
def test_there_is_no_other_generator(recipe):
    with pytest.raises(DeclarationError, match="Write one of hex:32"):
        generate(recipe)


def test_a_value_is_not_shown_pickled_or_given_a_dictionary():
    value = Value(CANARY.encode())
    assert CANARY not in f"{value!r}{value}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(value)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_line_break_of_echo_is_not_stored_and_is_no_difference(ending):
    assert as_stored(CANARY.encode() + ending, [Undeclared("KEY")]).data == CANARY.encode()
    assert Value(CANARY.encode()).is_in(Payload(CANARY.encode() + ending, 1))
    assert not Value(CANARY.encode()).is_in(Payload(b"other", 1))


def test_bytes_are_stored_as_they_are():
    declared = declarations_of("BLOB", ["split2=canary_service:Split2"], None)
    assert as_stored(b"\x00\n", declared).data == b"\x00\n"
    assert as_stored(b"\x00\n", [Undeclared("BLOB", bytes)]).data == b"\x00\n"


@pytest.mark.parametrize("path", ["canary_service:Split2", "canary_service:instance"])
def test_a_container_or_its_instance_says_the_type(path):
    (found,) = declarations_of("SIGNING_KEY", [path], None)
    assert (found.name, found.is_dynamic) == ("SIGNING_KEY", False)


def test_a_catalogue_says_it_too_and_all_are_taken():
    both = ["canary_service:Split2", "canary_service:CATALOGUE"]
    assert len(declarations_of("KEY", both, None)) == 2


def test_without_a_container_the_name_says_whether_it_is_static():
    (key,) = declarations_of("KEY", [], None)
    (password,) = declarations_of("DATABASE_PASSWORD", [], None)
    assert (key.is_dynamic, password.is_dynamic) == (True, False)


def test_a_type_can_be_named():
    (found,) = declarations_of("KEY", [], "pydantic:SecretBytes")
    assert found.is_binary
    (nested,) = declarations_of("KEY", [], "builtins:int.__class__")
    assert not nested.is_binary


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("canary_service", "no module:attribute"),
        (":x", "no module:attribute"),
        ("canary_service:", "no module:attribute"),
        ("canary_service:missing", "there is no missing in it"),
        ("canary_missing:x", "raised ModuleNotFoundError"),
        ("canary_service:__name__", "declares no secrets"),
    ],
)
def test_what_declares_nothing_is_a_clear_error(path, said):
    with pytest.raises(DeclarationError, match=said) as caught:
        declarations_of("KEY", [path], None)
    assert caught.value.__cause__ is None


def test_a_secret_that_no_container_declares_is_refused():
    with pytest.raises(DeclarationError, match="KEY2: is declared by none of canary_service"):
        declarations_of("KEY2", ["canary_service:Split2"], None)
