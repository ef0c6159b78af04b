"""Scrubs the values known to this process from text, and from log records of any library."""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections import deque

#: Values of a secret that are remembered: the current one and those that it replaced lately.
REMEMBERED_VERSIONS = 8

#: Shorter texts are not scrubbed: they occur by chance, and would tear log lines apart.
SHORTEST = 4


class Redactor:
    """Knows the confidential texts of this process, and replaces them by their secret's name."""

    def __init__(self) -> None:
        self._texts: dict[str, deque[tuple[str, ...]]] = {}
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

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
            self._names = {
                text: secret
                for secret, remembered in self._texts.items()
                for version in remembered
                for text in version
            }
            longest_first = sorted(self._names, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def redact(self, text: str) -> str:
        """The text with each known value replaced by `[NAME]`."""
        pattern, names = self._pattern, self._names
        if pattern is None:
            return text
        return pattern.sub(lambda found: f"[{names.get(found[0], 'redacted')}]", text)

    def renew_after_fork(self) -> None:
        """Replace the lock, which another thread may have held at the fork."""
        self._lock = threading.Lock()


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
