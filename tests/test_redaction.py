"""Promise 15: known values are scrubbed from any text, in whatever usual form they stand there."""

import base64
import html
import json
import logging
import urllib.parse
from collections import UserDict, namedtuple

import markupsafe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import HttpUrl, PostgresDsn, SecretBytes

from pgp_config import DynamicSecret, KeyRing, SecretContainer, StaticSecret
from pgp_config.redaction import Redactor, index, redact, redactor, scrub
from pgp_config.redaction.forms import forms_of
from pgp_config.redaction.structures import CYCLE, scrub_exception, text_of
from pgp_config.secret import confidential_texts

CANARY = "canary-7f3a-91bd"


@pytest.fixture
def known():
    redactor.learn("REDACTED_KEY", (CANARY,))


def knowing(*values):
    made = Redactor()
    for number, value in enumerate(values):
        made.learn(f"K{number}", (value,))
    return made


# -- texts -----------------------------------------------------------------------------------


def test_a_longer_value_is_replaced_before_its_part():
    one = Redactor()
    assert one.redact("abcdef") == "abcdef"
    one.learn("SHORT", ("abcd",))
    one.learn("LONG", ("abcdef",))
    one.learn("LONG", ("abcdef",))
    one.learn("TINY", ("abc",))
    one.renew_after_fork()
    assert one.redact("abcdef abcd abc") == "[LONG] [SHORT] abc"
    assert repr(one) == "<Redactor of 2 secrets>"
    assert one.names == {"SHORT", "LONG"}
    assert repr([*one._versions["LONG"]]) == "[<A version of LONG>]"


def test_of_values_that_overlap_nothing_is_left():
    assert knowing("abcdef", "defghi").redact("-abcdefghi-") == "-[K0]-"
    assert knowing("defghi", "abcdef").redact("-abcdefghi-") == "-[K1]-"


def test_a_name_that_holds_a_value_is_cut():
    one = Redactor()
    one.learn("PASSWORD", ("PASS",))
    assert one.redact("it is PASS") == "it is [WORD]"


def test_values_at_both_ends_and_side_by_side_are_found():
    one = knowing("a-rather-long-value", "abcd")
    assert one.redact("abcda-rather-long-valueabcd") == "[K1][K0][K1]"
    assert one.redact("a-rather-long-valu") == "a-rather-long-valu"
    assert one.redact("") == ""


def test_old_versions_are_forgotten_in_the_end():
    one = Redactor()
    for number in range(9):
        one.learn("KEY", (f"value-{number}",))
    assert one.redact("value-0 value-1 value-8") == "value-0 [KEY] [KEY]"


def test_a_version_that_a_rollback_brings_back_is_the_newest_again():
    one = Redactor()
    for number in [*range(8), 0, 8]:
        one.learn("KEY", (f"value-{number}",))
    assert one.redact("value-0 value-1 value-8") == "[KEY] value-1 [KEY]"


def test_a_value_of_two_secrets_is_known_until_both_have_forgotten_it():
    one = Redactor()
    one.learn("FIRST", ("value-0",))
    one.learn("SECOND", ("value-0",))
    assert one.redact("value-0") == "[SECOND]"
    one.forget("SECOND", "UNKNOWN")
    assert one.redact("value-0") == "[FIRST]"
    one.forget("FIRST")
    assert one.redact("value-0") == "value-0"


def test_memory_ends_at_eight_versions_of_each_name(monkeypatch):
    monkeypatch.setattr(index, "WORTHWHILE", 20)
    one = Redactor()
    for number in range(300):
        one.learn("KEY", (f"value-number-{number}-of-a-secret",))
        one.redact("")
    blocks = sum(len(tier._places) for tier in one._index._tiers)
    assert len(one._index) == len(one._owners) < 100
    assert blocks < 3000
    assert one.redact("value-number-299-of-a-secret") == "[KEY]"
    assert one.redact("value-number-1-of-a-secret") == "value-number-1-of-a-secret"


def test_values_of_containers_are_known_current_and_previous(source, clock, make):
    class Service(SecretContainer):
        key = DynamicSecret("REDACTED_OWN")
        url = DynamicSecret("REDACTED_URL", str)

    source.add("REDACTED_OWN", "first-canary")
    source.add("REDACTED_URL", "https://plain.example")
    secrets = make(Service)
    secrets.load()
    source.add("REDACTED_OWN", "second-canary")
    clock.advance(6)
    secrets.key()
    secrets.close()  # what held a value may still write it
    text = redact("first-canary second-canary https://plain.example")
    assert text == "[REDACTED_OWN] [REDACTED_OWN] https://plain.example"


def test_new_versions_cost_nothing_until_somebody_writes(monkeypatch):
    one = Redactor()
    for number in range(500):
        one.learn(f"KEY_{number}", (f"canary-{number}-",))
    assert len(one._index) == 0
    assert one.redact("a canary-7- and canary-77-") == "a [KEY_7] and [KEY_77]"
    known = len(one._index)
    one.learn("ONE_MORE", ("canary-of-one-more",))
    monkeypatch.setattr(one._index, "add", counted := Counted(one._index.add))
    assert one.redact("canary-of-one-more canary-499-") == "[ONE_MORE] [KEY_499]"
    assert counted.calls == len(one._index) - known  # of the new one alone


class Counted:
    def __init__(self, real):
        self.real = real
        self.calls = 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.real(*arguments)


def test_a_signal_handler_that_writes_while_values_are_worked_in_does_the_same(monkeypatch):
    one = knowing("canary-one-", "canary-two-")
    real, shown = one._index.add, []

    def interrupted(text, name):
        monkeypatch.setattr(one._index, "add", real)
        shown.append(one.redact("canary-one- canary-two-"))
        real(text, name)

    monkeypatch.setattr(one._index, "add", interrupted)
    assert one.redact("canary-one- canary-two-") == "[K0] [K1]"
    assert shown == ["[K0] [K1]"]


def test_what_is_forgotten_twice_is_forgotten():
    one = knowing("value-0")
    one.redact("")
    one._index.discard("unknown")
    one._index.discard("value-0")
    one.forget("K0")
    assert one.redact("value-0") == "value-0"


def test_a_name_for_a_value_that_was_forgotten_meanwhile():
    assert knowing()._index.name("value-0") == "redacted"


# -- what a container knows -------------------------------------------------------------------


class Typed(SecretContainer):
    dsn = StaticSecret("REDACTED_DSN", PostgresDsn)
    hook = DynamicSecret("REDACTED_HOOK", HttpUrl)
    login = StaticSecret("REDACTED_PASSWORD", str)
    level = DynamicSecret("REDACTED_LEVEL", str)
    key = DynamicSecret("REDACTED_KEY")
    ring = KeyRing("REDACTED_RING")


TYPED = {
    "REDACTED_DSN": f"postgresql://app:{CANARY}%2Fdsn@db/prod",
    "REDACTED_HOOK": f"https://hook:{CANARY}-hook@example.com/in?a=1",
    "REDACTED_PASSWORD": f"{CANARY}-login",
    "REDACTED_LEVEL": "info",
    "REDACTED_KEY": f"{CANARY}-key",
    "REDACTED_RING": f"{CANARY}-ring",
}


@pytest.fixture
def typed(make, source):
    for name, value in TYPED.items():
        source.add(name, value)
    secrets = make(Typed)
    secrets.load()
    return secrets


def test_a_url_with_a_password_is_scrubbed_and_so_is_the_password(typed):
    assert redact(f"to {typed.dsn()}") == "to [REDACTED_DSN]"
    assert redact(f"password={CANARY}/dsn host=db") == "password=[REDACTED_DSN] host=db"
    assert redact(f"hook:{CANARY}-hook@other") == "hook:[REDACTED_HOOK]@other"
    assert redact(f"to {typed.hook()}") == "to [REDACTED_HOOK]"


def test_a_plain_text_is_scrubbed_where_its_name_is_protected_and_nowhere_else(typed):
    assert redact(f"as {typed.login()}") == "as [REDACTED_PASSWORD]"
    assert redact(f"level {typed.level()}, information") == "level info, information"


def test_a_value_that_overrides_one_is_scrubbed(typed):
    with typed.key.override(f"{CANARY}-given"), typed.login.override(f"{CANARY}-as-given"):
        assert redact(f"{CANARY}-given") == "[REDACTED_KEY]"
        assert redact(f"{CANARY}-as-given") == "[REDACTED_PASSWORD]"
    with typed.ring.override((f"{CANARY}-new", f"{CANARY}-old")), typed.level.override("debug"):
        assert redact(f"{CANARY}-new {CANARY}-old") == "[REDACTED_RING] [REDACTED_RING]"
        assert redact("debug") == "debug"


def test_a_read_makes_nothing_known(typed, monkeypatch):
    monkeypatch.setattr(Redactor, "learn", None)
    for secret in (typed.dsn, typed.login, typed.key):
        assert secret()


# -- properties ------------------------------------------------------------------------------

VALUES = st.lists(st.text(min_size=4), min_size=1, max_size=5)
FEW = st.lists(st.text("ab", min_size=4, max_size=9), min_size=1, max_size=5)


@settings(deadline=None)
@given(st.one_of(VALUES, FEW), st.data())
def test_no_known_value_survives_and_doing_it_twice_changes_nothing(values, data):
    one = knowing(*values)
    around = st.one_of(st.text(), st.text("ab[K0]"), st.sampled_from(values))
    scrubbed = one.redact("".join(data.draw(st.lists(around, max_size=8))))
    assert [value for value in values if value in scrubbed] == []
    assert one.redact(scrubbed) == scrubbed


@settings(deadline=None)
@given(VALUES, st.text())
def test_a_text_without_a_value_is_left_as_it_is(values, text):
    one = knowing(*values)
    if not any(form in text for value in values for form in forms_of(value)):
        assert one.redact(text) is text


@settings(deadline=None)
@given(st.text(min_size=4), st.text(), st.text())
def test_no_text_around_it_hides_a_value(value, before, after):
    one = Redactor()
    one.learn("K", (value,))
    assert value not in one.redact(before + value + after).replace("[K]", "\0")


@settings(deadline=None)
@given(st.text(min_size=4), st.text(), st.text())
def test_every_usual_way_to_write_it_is_known(value, before, after):
    one = knowing(value)
    written = [
        repr(value)[1:-1],
        ascii(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        repr({before: [value, 'a "quoted" one']}),
        json.dumps({"key": before, "value": value}),
        json.dumps(json.dumps({"value": value})),
        json.dumps({"body": json.dumps({"value": value}, ensure_ascii=False)}),
        repr(json.dumps({"value": value}).encode()),
        json.dumps(repr(value)),
        str(markupsafe.escape(value)),
    ]
    if not any("\ud800" <= character <= "\udfff" for character in value):
        written += [
            urllib.parse.quote(value),
            urllib.parse.quote(value, safe=""),
            urllib.parse.quote_plus(value),
            urllib.parse.quote_plus(urllib.parse.urlencode({"a": value})),
            urllib.parse.urlencode({"a": value})[2:],
        ]
    for text in written:
        assert "K0" in one.redact(f"{before} {text} {after}")


@settings(deadline=None)
@given(st.text("abc\"'\\\nü", min_size=12), st.text(), st.text())
def test_in_base64_it_is_known_wherever_it_begins(value, before, after):
    one = knowing(value)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(f"{before}{value}{after}".encode(errors="replace")).decode()
        assert "K0" in one.redact(text)


@settings(deadline=None)
@given(st.binary(min_size=6, max_size=64))
def test_bytes_are_known_as_they_are_shown(data):
    one = knowing(*confidential_texts(SecretBytes(data)))
    for text in (
        data.hex(),
        data.hex().upper(),
        repr(data),
        repr([data, "'\""]),
        data.decode(errors="replace"),
        base64.b64encode(data).decode(),
    ):
        assert "K0" in one.redact(f"sent {text}")


def test_text_that_no_encoding_has_is_known_all_the_same():
    value = "canary-\ud800-\udcff"
    assert knowing(value).redact(f"sent {value} {value!r}") == "sent [K0] '[K0]'"


def test_each_long_line_of_a_key_is_known_by_itself():
    body = base64.b64encode(bytes(range(96))).decode()
    key = f"-----BEGIN PRIVATE KEY-----\n{body[:64]}\n{body[64:]}\nshort\n-----END PRIVATE KEY-----\n"
    one = knowing(key)
    assert one.redact(f"sent:\n    {body[64:]}\n") == "sent:\n    [K0]\n"
    assert one.redact("-----BEGIN PRIVATE KEY----- short") == "-----BEGIN PRIVATE KEY----- short"
    assert one.redact(json.dumps({"key": key})) == '{"key": "[K0]"}'


def test_what_is_not_known():
    """The limits that docs/redaction.md names."""
    one = knowing("a-rather-long-value", "1234")
    for text in ("a-rather-long-va", "a-rather-\nlong-value", "A-RATHER-LONG-VALUE", "123"):
        assert one.redact(text) == text


class Counting(dict):
    """Counts how often something is looked for in it."""

    def __init__(self, content):
        super().__init__(content)
        self.asked = 0

    def __contains__(self, key):
        self.asked += 1
        return super().__contains__(key)


def looks(one, text):
    """How many look-ups of a block a text takes."""
    tiers = one._index._tiers
    for tier in tiers:
        tier._places = Counting(tier._places)
    one.redact(text)
    return sum(tier._places.asked for tier in tiers)


def comparisons(one, text):
    """How often it compares a part of a text with what it knows."""
    names = one._index._names = Counting(one._index._names)
    one.redact(text)
    return names.asked


def test_time_is_linear_in_the_text_and_does_not_grow_with_the_number_of_secrets():
    text = "GET /v1/exchange?from=eth&to=usdt took 12 ms for user 4711, and nothing went wrong. "
    few, many = (
        knowing(*(f"{number:08x}-of-{number * 7919:x}-kind" for number in range(count)))
        for count in (10, 1000)
    )
    for one in (few, many):
        one.redact("")
    assert looks(few, text * 10) == looks(many, text * 10)
    assert looks(many, text * 1000) < 1.01 * 100 * looks(many, text * 10)


def test_values_that_are_alike_are_compared_once_for_each_length():
    one = knowing(*(f"common-prefix-{number:04}-and-end" for number in range(1000)))
    one.redact("")
    places = [place for tier in one._index._tiers for place in tier._places.values()]
    assert max(map(len, places)) < 60  # and not 1000
    text = "common-prefix-0999-and-en" * 1000
    assert one.redact(text) == text
    assert comparisons(one, text) < len(text)


def test_a_value_with_a_long_run_in_it_is_not_looked_for_wherever_a_text_has_one():
    one = knowing(f"user: someone{' ' * 100}\nkey: 7c9e6679-7425-40de-944b-e07fc1f90ae7")
    one.redact("")
    text = ("{" + " " * 400 + "}") * 100
    assert one.redact(text) == text
    assert comparisons(one, text) == 0


# -- structures ------------------------------------------------------------------------------


Pair = namedtuple("Pair", "key value")  # noqa: PYI024  what foreign code has


@pytest.mark.usefixtures("known")
def test_texts_are_found_wherever_they_are_in_a_structure():
    value = {
        CANARY: 1,
        "list": [CANARY, 2, (CANARY,), {CANARY}, frozenset({CANARY})],
        "bytes": f"<{CANARY}>".encode() + b"\xff",
        "pair": Pair("key", CANARY),
        "user": UserDict(key=CANARY),
    }
    name = "[REDACTED_KEY]"
    assert scrub(value) == {
        name: 1,
        "list": [name, 2, (name,), {name}, frozenset({name})],
        "bytes": f"<{name}>".encode() + b"\xff",
        "pair": ("key", name),
        "user": {"key": name},
    }


@pytest.mark.usefixtures("known")
def test_what_has_no_value_in_it_is_the_same_object():
    value = {"a": [1, "text", ("b", b"bytes\xff", Pair(1, 2)), {"c"}, object()]}
    assert scrub(value) is value


@pytest.mark.usefixtures("known")
def test_a_structure_that_holds_itself_is_scrubbed():
    value = [CANARY]
    value += [value, value]
    assert scrub(value) == ["[REDACTED_KEY]", CYCLE, CYCLE]


leaves = st.one_of(
    st.text(), st.binary(), st.integers(), st.just(CANARY), st.just(CANARY.encode())
)
structures = st.deferred(
    lambda: (
        leaves
        | st.lists(structures, max_size=3)
        | st.dictionaries(st.text(), structures, max_size=3)
        | st.tuples(structures)
    )
)


@settings(deadline=None)
@given(structures)
def test_no_known_value_survives_in_a_structure(value):
    redactor.learn("REDACTED_KEY", (CANARY,))
    try:
        scrubbed = scrub(value)
        assert CANARY not in repr(scrubbed)
        assert scrub(scrubbed) is scrubbed
    finally:
        redactor.forget("REDACTED_KEY")


# -- exceptions ------------------------------------------------------------------------------


class ApiError(Exception):
    pass


class Unprintable:
    def __str__(self):
        raise ApiError(CANARY)

    __repr__ = __str__


def raised(error, cause=None):
    try:
        raise error from cause  # noqa: TRY301  to be caught
    except BaseException as caught:  # noqa: BLE001  any kind
        return caught


@pytest.mark.usefixtures("known")
def test_an_exception_that_shows_no_value_is_the_same():
    error = raised(ApiError("no"), raised(KeyError("why")))
    assert scrub_exception(error) is error


@pytest.mark.usefixtures("known")
def test_one_that_stands_in_keeps_what_belongs_to_it():
    cause = raised(KeyError(CANARY))
    cause.add_note(f"with {CANARY}")
    error = raised(ApiError("it failed"), cause)
    twin = scrub_exception(error)
    assert (type(twin).__name__, type(twin).__module__) == ("ApiError", __name__)
    assert type(twin.__cause__).__qualname__ == "KeyError"
    assert str(twin.__cause__) == "'[REDACTED_KEY]'"
    assert twin.__cause__.__notes__ == ["with [REDACTED_KEY]"]
    assert twin.__traceback__ is error.__traceback__
    assert twin.__suppress_context__
    assert scrub_exception(raised(ApiError())).args == ()


@pytest.mark.usefixtures("known")
def test_groups_are_scrubbed_and_cycles_end():
    one, other = ApiError(CANARY), KeyboardInterrupt()
    twin = scrub_exception(BaseExceptionGroup(f"both {CANARY}", [one, other]))
    assert [str(each) for each in twin.exceptions] == ["[REDACTED_KEY]", ""]
    assert str(twin) == "both [REDACTED_KEY] (2 sub-exceptions)"
    assert isinstance(scrub_exception(ExceptionGroup("two", [one])), ExceptionGroup)
    first, second = ApiError(CANARY), ApiError("second")
    first.__cause__, second.__cause__ = second, first
    twin = scrub_exception(first)
    assert twin.__cause__.__cause__ is twin
    inner = ApiError(CANARY)
    group = ExceptionGroup("holds itself", [inner])
    inner.__cause__ = group
    assert CANARY not in str(scrub_exception(inner).__cause__.exceptions)


def test_an_object_that_cannot_be_shown_is_named_by_its_type():
    assert text_of(Unprintable()) == "<Unprintable that cannot be shown: ApiError>"
    assert text_of(7, repr) == "7"


def test_nothing_of_it_writes_to_the_log(caplog):
    with caplog.at_level(logging.DEBUG):
        knowing(CANARY).redact(CANARY)
    assert caplog.records == []
