"""Log records, scrubbed in place before a handler sees them, and what a handler makes of them."""

from __future__ import annotations

import logging
import traceback

from pgp_config.redaction.known import redact
from pgp_config.redaction.structures import scrub, scrub_exception, text_of

#: What each record has; all else came in by `extra`, by a record factory, or by a handler that formatted it.
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None)))


def scrub_record(record: logging.LogRecord) -> None:
    """Scrub what was given to a record: message, arguments, `extra`, exception, stack. It never raises.

    A record whose message cannot be made is one with what could be shown of its parts; one that cannot be scrubbed
    says so and nothing else.
    """
    try:
        _scrub_message(record)
        _scrub_rest(record)
    except Exception as fault:  # noqa: BLE001  logging must not raise, and must not show what was not scrubbed
        record.msg = f"<a record that could not be scrubbed: {type(fault).__name__}>"
        record.args = record.exc_info = record.exc_text = record.stack_info = None
        for name in _others(record):
            setattr(record, name, None)


def _scrub_message(record: logging.LogRecord) -> None:
    if not isinstance(record.msg, str):
        # structlog's records have a dictionary there, and its formatter wants one.
        record.msg = scrub(record.msg)
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  a wrong format, or whatever an argument raises
        # logging would print the raw arguments to stderr.
        record.msg = redact(f"{text_of(record.msg)} {text_of(record.args, repr)}")
        record.args = None
        return
    scrubbed = redact(message)
    if scrubbed != message:
        record.msg, record.args = scrubbed, None
    elif record.args and not _shows_all(message, record.args):
        # A handler may send what the message does not show.
        record.args = scrub(record.args)


def _shows_all(message: str, arguments: object) -> bool:
    """Whether a text in which there is no value shows all that these arguments say."""
    if not isinstance(arguments, tuple):
        return False
    return all(part in message if isinstance(part, str) else True for part in arguments)


def _scrub_rest(record: logging.LogRecord) -> None:
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is not None:
        shown = scrub_exception(error)
        if shown is not error:
            record.exc_info = type(shown), shown, shown.__traceback__
            # Made of the original, by a handler that came first.
            record.exc_text = None
    if record.exc_text:
        record.exc_text = redact(record.exc_text)
    if record.stack_info:
        record.stack_info = redact(record.stack_info)
    for name in _others(record):
        setattr(record, name, scrub(getattr(record, name)))


def _others(record: logging.LogRecord) -> list[str]:
    if len(vars(record)) == len(_OWN):
        return []
    return [name for name in vars(record) if name not in _OWN]


class RedactionFilter(logging.Filter):
    """Scrubs the records that one handler writes, where `install_redaction` would be too much.

    Add it to handlers, not to loggers: a logger's filter does not see its children's records. The record is
    scrubbed in place, with its traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Scrub the record, and let it pass."""
        scrub_record(record)
        if record.exc_info and not record.exc_text:
            # A line of source may hold a value too, and is read when the handler formats it.
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_text = redact(text)
        return True
