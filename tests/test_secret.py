"""Promise 10: from bytes to a typed value."""

import copy
import json
import pickle
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Literal

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AnyUrl,
    BaseModel,
    Field,
    HttpUrl,
    MongoDsn,
    NatsDsn,
    PostgresDsn,
    RedisDsn,
    Secret,
    SecretBytes,
    SecretStr,
)
from typing_extensions import TypedDict

from pgp_config import EVERY_REQUEST, DeclarationError, RejectedVersion
from pgp_config.secret import Decoder, Payload, SealedStr, confidential_texts, holds_private_key

CANARY = "canary-7f3a-91bd"


class Colour(Enum):
    RED = "red"


class Level(StrEnum):
    INFO = "info"


class Login(BaseModel):
    user: str
    password: SecretStr


@dataclass
class Pair:
    key: SecretStr
    number: int


class Typed(TypedDict):
    number: int


def decode(declared, data, **options):
    return Decoder(declared).decode(Payload(data, 1), **options)


@pytest.mark.parametrize(
    ("declared", "data", "value"),
    [
        (HttpUrl, b"https://a.example/\n", HttpUrl("https://a.example/")),
        (Decimal, b"3.50\n", Decimal("3.50")),
        (Annotated[Decimal, Field(ge=0, le=100)], b"100", Decimal(100)),
        (bool, b"true", True),
        (bool, b"false\r\n", False),
        (int, b"7", 7),
        (Colour, b"red", Colour.RED),
        (Literal["prod", "staging"], b"prod", "prod"),
        (str, b"text\n\n", "text\n"),
        (str, b"text\r", "text\r"),
        (bytes, b"\x00\xff\n", b"\x00\xff\n"),
        (list[int], b"[1, 2]", [1, 2]),
        (Typed, b'{"number": 1}', {"number": 1}),
        (dict[str, int], b'{"a": 1}\n', {"a": 1}),
    ],
)
def test_a_payload_becomes_a_value_of_its_type(declared, data, value):
    assert decode(declared, data) == value


def test_keys_are_secret_and_sealed():
    value = decode(SecretStr, b"key\n")
    assert value.get_secret_value() == "key"
    assert isinstance(value, SealedStr)
    assert decode(SecretBytes, b"key\n").get_secret_value() == b"key\n"


def test_models_are_read_from_json():
    login = decode(Login, b'{"user": "u", "password": "p"}')
    assert (login.user, login.password.get_secret_value()) == ("u", "p")
    assert decode(Pair, b'{"key": "k", "number": 1}').number == 1


@pytest.mark.parametrize(
    ("declared", "data", "reason"),
    [
        (Decimal, b"nan", "finite_number"),
        (Decimal, b"inf", "finite_number"),
        (Annotated[Decimal, Field(le=100)], b"101", "less_than_equal"),
        (HttpUrl, CANARY.encode(), "url_parsing"),
        (bool, CANARY.encode(), "bool_parsing"),
        (Colour, CANARY.encode(), "enum"),
        (Login, b'{"user": "u"}', "missing"),
        (Login, CANARY.encode(), "json_invalid"),
        (SecretStr, b"", "is empty"),
        (SecretStr, b" \n", "is empty"),
        (bytes, b"", "is empty"),
        (SecretStr, b"\xff" + CANARY.encode(), "is not UTF-8"),
    ],
)
def test_what_does_not_fit_is_refused_without_the_value(declared, data, reason):
    with pytest.raises(RejectedVersion) as caught:
        decode(declared, data)
    assert reason in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_validator_that_tells_the_value_is_not_repeated():
    def refuse(value):
        raise ValueError(f"bad key {value}")

    def crash(value):
        raise RuntimeError(f"bad key {value}")

    for validator in (refuse, crash):
        with pytest.raises(RejectedVersion) as caught:
            decode(Annotated[str, AfterValidator(validator)], CANARY.encode())
        assert "canary" not in repr(caught.value)


def test_the_checksum_is_checked():
    good = Payload(b"key", 1, google_crc32c.value(b"key"))
    assert Decoder(SecretStr).decode(good).get_secret_value() == "key"
    with pytest.raises(RejectedVersion, match="crc32c"):
        Decoder(SecretStr).decode(Payload(b"kez", 1, google_crc32c.value(b"key")))


def test_a_type_that_pydantic_does_not_know_is_a_declaration_error():
    with pytest.raises(DeclarationError, match="pydantic does not know"):
        Decoder(object().__class__.__class__("Unknown", (), {}))


# promise 13
@pytest.mark.parametrize(
    "data",
    [
        b"-----BEGIN PRIVATE KEY-----\nMII",
        b"-----BEGIN RSA PRIVATE KEY-----",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
        b"-----BEGIN OPENSSH PRIVATE KEY-----",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----",
        b"\xef\xbb\xbf \n-----BEGIN EC PRIVATE KEY-----",
        b'{"type": "service_account", "project_id": "p"}',
        b' {"private_key": "x"}',
    ],
)
def test_private_key_material_is_refused_under_a_dynamic_name_only(data):
    assert holds_private_key(data)
    with pytest.raises(RejectedVersion, match="private-key material"):
        decode(bytes, data, refuse_private_keys=True)
    assert decode(bytes, data) == data


@pytest.mark.parametrize("data", [b"-----BEGIN PUBLIC KEY-----", b"{", b'{"type": "x"}', b"abc"])
def test_other_things_are_no_private_keys(data):
    assert not holds_private_key(data)


@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip))
def test_any_text_comes_through_but_for_one_line_break(text):
    wanted = text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
    assert decode(SecretStr, text.encode()).get_secret_value() == wanted


def test_given_values_may_be_text_bytes_or_of_the_type():
    decoder = Decoder(SecretStr)
    assert decoder.given("key").get_secret_value() == "key"
    assert decoder.given(b"key").get_secret_value() == "key"
    assert decoder.given(SecretStr("key")).get_secret_value() == "key"
    with pytest.raises(RejectedVersion, match=r"the value given is not a valid SecretStr \("):
        decoder.given(7)


# promise 15: what it may be can be all that there is to know of a value
@pytest.mark.parametrize("declared", [Literal["canary-on", "off"], list[Literal["canary-on"]]])
def test_an_error_does_not_say_what_a_value_might_have_been(declared):
    with pytest.raises(RejectedVersion, match=r"is not a valid .*Literal") as caught:
        decode(declared, b'["x"]')
    assert "canary" not in str(caught.value)


def test_what_is_no_type_is_refused():
    with pytest.raises(
        DeclarationError, match=r"does not know the type Freshness\(.*AttributeError"
    ):
        Decoder(EVERY_REQUEST)


def test_confidential_texts_are_found_wherever_they_are():
    value = [
        SecretStr("a"),
        SecretBytes(b"b"),
        b"c",
        {"k": SecretStr("d")},
        Login(user="plain", password=SecretStr("e")),
        Pair(SecretStr("f"), 1),
        "plain",
        7,
        Pair,
    ]
    assert list(confidential_texts(value)) == list("abcdef")


@pytest.mark.parametrize(
    ("declared", "url", "passwords"),
    [
        (PostgresDsn, "postgresql://app:p%2Fw-9f41@db/prod", ["p%2Fw-9f41", "p/w-9f41"]),
        (PostgresDsn, "postgresql://a:pw-1@one,b@two,c:pw-2@three/prod", ["pw-1", "pw-2"]),
        (MongoDsn, "mongodb://a:pw-1@one,b:pw-2@two:27017/x", ["pw-1", "pw-2"]),
        (NatsDsn, "nats://a:pw-1@one:4222", ["pw-1"]),
        (RedisDsn, "redis://:pw-1@cache:6379/0", ["pw-1"]),
        (HttpUrl, "https://hook:pw-1@example.com/", ["pw-1"]),
        (AnyUrl, "amqp://a:%70w-1@mq/", ["%70w-1", "pw-1"]),
        (list[HttpUrl], "https://hook:pw-1@example.com/", ["pw-1"]),
    ],
)
def test_a_url_with_a_password_is_confidential_and_so_is_the_password(declared, url, passwords):
    content = json.dumps([url]) if declared == list[HttpUrl] else url
    assert list(confidential_texts(decode(declared, content.encode()))) == [url, *passwords]


def test_a_url_without_a_password_is_configuration():
    assert list(confidential_texts(decode(HttpUrl, b"https://user@example.com/T0/B0"))) == []


def test_what_pydantics_secret_holds_is_confidential_whatever_it_is():
    for declared, text in ((Secret[str], "a-plain-text"), (Secret[HttpUrl], "https://a.org/T0")):
        assert list(confidential_texts(decode(declared, text.encode()))) == [text]


def test_plain_texts_are_confidential_where_the_name_says_so():
    value = ["a", {"k": "b"}, Login(user="c", password=SecretStr("d")), Level.INFO, 7]
    assert list(confidential_texts(value, plain=True)) == list("abcd")
    assert list(confidential_texts(value)) == ["d"]


# promise 15
def test_values_and_payloads_are_not_pickled_and_not_shown():
    sealed = SealedStr(CANARY)
    assert copy.copy(sealed) is copy.deepcopy(sealed) is sealed
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(sealed)
    payload = Payload(CANARY.encode(), 1)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled or copied"):
            attempt(payload)
    shown = f"{sealed} {sealed!r} {payload} {payload!r}"
    assert "canary" not in shown
    assert str(len(CANARY)) not in shown
