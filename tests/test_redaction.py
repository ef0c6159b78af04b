"""Promise 15: known values are scrubbed from what other libraries log."""

import io
import logging
import re
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgp_config import DynamicSecret, SecretContainer, redaction
from pgp_config.redaction import RedactionFilter, Redactor, install_redaction, redact, redactor

CANARY = "canary-7f3a-91bd"


@pytest.fixture
def stream():
    """A handler with the filter, on a logger that is not ours."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(RedactionFilter())
    logger = logging.getLogger("foreign.library")
    logger.addHandler(handler)
    logger.propagate = False
    yield out
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.fixture
def foreign(stream):
    return logging.getLogger("foreign.library.child")


@pytest.fixture(autouse=True)
def known():
    redactor.learn("REDACTED_KEY", (CANARY,))
    yield
    redactor._texts.pop("REDACTED_KEY", None)


def test_message_and_arguments_are_scrubbed(foreign, stream):
    foreign.warning("using %s now", CANARY)
    foreign.warning(f"using {CANARY} now")
    foreign.warning("nothing to hide: %d", 7)
    assert stream.getvalue() == (
        "using [REDACTED_KEY] now\nusing [REDACTED_KEY] now\nnothing to hide: 7\n"
    )


def test_tracebacks_and_stacks_are_scrubbed(foreign, stream):
    try:
        raise ValueError(CANARY)  # noqa: TRY301  to be caught
    except ValueError:
        foreign.exception("it failed", stack_info=True)
    assert "ValueError: [REDACTED_KEY]" in stream.getvalue()
    assert "canary" not in stream.getvalue()


def test_a_stack_that_shows_a_value_is_scrubbed():
    record = logging.makeLogRecord({"msg": "x", "stack_info": f"frame {CANARY}"})
    RedactionFilter().filter(record)
    assert record.stack_info == "frame [REDACTED_KEY]"


def test_a_broken_format_string_does_not_print_its_arguments(foreign, stream, capsys):
    foreign.warning("%d %d", CANARY)
    assert "canary" not in stream.getvalue() + capsys.readouterr().err
    assert "[REDACTED_KEY]" in stream.getvalue()


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
    text = redact("first-canary second-canary https://plain.example")
    assert text == "[REDACTED_OWN] [REDACTED_OWN] https://plain.example"


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


def test_old_versions_are_forgotten_in_the_end():
    one = Redactor()
    for number in range(9):
        one.learn("KEY", (f"value-{number}",))
    assert one.redact("value-0 value-1 value-8") == "value-0 [KEY] [KEY]"


@given(st.text(min_size=4), st.text(), st.text())
def test_no_text_around_it_hides_a_value(value, before, after):
    one = Redactor()
    one.learn("K", (value,))
    assert value not in one.redact(before + value + after).replace("[K]", "\0")


def test_installing_it_filters_the_handlers_of_a_logger_once():
    logger = logging.Logger("own")  # noqa: LOG001  not to be kept
    logger.addHandler(logging.NullHandler())
    last = list(logging.lastResort.filters)
    try:
        install_redaction(logger)
        install_redaction(logger)
        assert [len(handler.filters) for handler in logger.handlers] == [1]
        install_redaction()
    finally:
        logging.lastResort.filters[:] = last
        for handler in logging.getLogger().handlers:
            handler.filters[:] = [f for f in handler.filters if not isinstance(f, RedactionFilter)]


def test_without_a_handler_of_last_resort(monkeypatch):
    monkeypatch.setattr(logging, "lastResort", None)
    install_redaction(logging.Logger("own"))  # noqa: LOG001  not to be kept


def test_new_versions_cost_nothing_until_somebody_writes(monkeypatch):
    compiled = []
    real = re.compile
    monkeypatch.setattr(redaction.re, "compile", lambda text: compiled.append(text) or real(text))
    redactor = Redactor()
    for number in range(500):
        redactor.learn(f"KEY_{number}", (f"canary-{number}-",))
    assert not compiled
    assert redactor.redact("a canary-7- and canary-77-") == "a [KEY_7] and [KEY_77]"
    assert redactor.redact("canary-499-") == "[KEY_499]"
    assert len(compiled) == 1


def test_a_text_is_left_as_it_is_while_the_first_value_is_being_learnt():
    redactor = Redactor()
    redactor._texts["KEY"] = deque()
    assert redactor.redact("a text") == "a text"
