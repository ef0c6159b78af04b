"""Keeps httpx and httpcore from logging our requests: httpx tells every URL at INFO, httpcore what comes back.

A key may be in the URL (Telegram, JSON-RPC, Slack), in a header that h11 finds illegal and quotes, or in an
answer that echoes it. What a program sets for these loggers stays as it is for its own requests; ours are told
by `pgp_services.clients`, without any of it.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Those that log in the course of a request. A filter counts for its own logger only, not for those below it.
LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)

_hushed = ContextVar("pgp_services_hushed", default=False)


def _passes(_: logging.LogRecord) -> bool:
    return not _hushed.get()


def install() -> None:
    """Filter these loggers; to do so twice changes nothing."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_passes)


def hushed_context() -> Context:
    """A copy of this context in which these loggers are silent.

    What a signal's handler raises may end a thread between any two of its steps: what was set in a copy needs not
    be set back.
    """
    context = copy_context()
    context.run(_hushed.set, True)
    return context


@contextmanager
def hushed() -> Iterator[None]:
    """Drop what these loggers say in this context: for a coroutine, which cannot change its own."""
    token = _hushed.set(True)
    try:
        yield
    finally:
        # A coroutine that is left half-way may be closed from another context, where nothing was set.
        with suppress(ValueError):
            _hushed.reset(token)
