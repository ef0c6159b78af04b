"""Scrubs the values known to this process from text, and from log records of any library."""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections import deque
from typing import NamedTuple

#: Values of a secret that are remembered: the current one and those that it replaced lately.
REMEMBERED_VERSIONS = 8

#: Shorter texts are not scrubbed: they occur by chance, and would tear log lines apart.
SHORTEST = 4


class _Search(NamedTuple):
    """What finds all texts, and the secret's name for each."""

    pattern: re.Pattern[str]
    names: dict[str, str]


class Redactor:
    """Knows the confidential texts of this process, and replaces them by their secret's name."""

    def __init__(self) -> None:
        self._texts: dict[str, deque[tuple[str, ...]]] = {}
        self._search: _Search | None = None
        self.renew_after_fork()

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._texts)} secrets>"

    def learn(self, name: str, texts: tuple[str, ...]) -> None:
        """Remember the confidential texts of a secret's new version.

        Args:
            name: The secret's name, which will stand in their place.
            texts: What may not be shown; texts of under 4 characters are left out.
        """
        kept = tuple(text for text in texts if len(text) >= SHORTEST)
        if not kept:
            return
        with self._lock:
            versions = self._texts.setdefault(name, deque(maxlen=REMEMBERED_VERSIONS))
            if kept in versions:
                return
            versions.append(kept)
            self._search = None

    def redact(self, text: str) -> str:
        """The text with each known value replaced by `[NAME]`."""
        if not self._texts:
            return text
        search = self._search or self._compiled()
        return search.pattern.sub(lambda found: f"[{search.names[found[0]]}]", text)

    def _compiled(self) -> _Search:
        # When somebody writes, and not with each version: 500 secrets would take seconds to load.
        with self._lock:
            names = {
                text: secret
                for secret, remembered in list(self._texts.items())
                for version in list(remembered)
                for text in version
            }
            longest_first = sorted(names, key=len, reverse=True)
            # Without a text, something that is nowhere: a handler may interrupt the first `learn`.
            pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
            self._search = _Search(pattern, names)
            return self._search

    def renew_after_fork(self) -> None:
        """Replace the lock, which another thread may have held at the fork."""
        # Re-entrant: a signal handler may write to the log in a thread that holds it.
        self._lock = threading.RLock()


redactor = Redactor()


def redact(text: str) -> str:
    """The text with every confidential value known to this process replaced by `[NAME]`."""
    return redactor.redact(text)


class RedactionFilter(logging.Filter):
    """Scrubs known values from the message, the traceback and the stack of a log record.

    Add it to handlers, not to loggers: a logger's filter does not see its children's records.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Scrub the record in place, and let it pass."""
        message = _message_of(record)
        scrubbed = redact(message)
        if scrubbed != message:
            record.msg, record.args = scrubbed, None
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # A broken format string would make logging print the raw arguments to stderr.
        message = f"{record.msg} {record.args!r}"
        record.msg, record.args = message, None
        return message


def install_redaction(logger: logging.Logger | None = None) -> None:
    """Scrub what the handlers of a logger write, now and once only.

    Args:
        logger: The logger whose handlers are filtered; the root logger by default. Handlers that are
            added later need `addFilter(RedactionFilter())` of their own.
    """
    handlers = list((logger or logging.getLogger()).handlers)
    if logging.lastResort is not None:
        handlers.append(logging.lastResort)
    for handler in handlers:
        if not any(isinstance(known, RedactionFilter) for known in handler.filters):
            handler.addFilter(RedactionFilter())
