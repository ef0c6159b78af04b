"""Keeps values and credentials out of what botocore logs at level DEBUG, where the call is one of ours.

botocore logs whole requests and answers. Other calls of the process are logged as before.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Those that show a request, an answer, or what is passed to a hook.
_LOGGERS = (
    "auth",
    "client",
    "credentials",
    "endpoint",
    "handlers",
    "hooks",
    "httpsession",
    "parsers",
    "regions",
    "tokens",
    "utils",
)

_calls = threading.local()


def withhold() -> None:
    """Have botocore's loggers keep quiet within `quiet`; a second call changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(f"botocore.{name}").addFilter(_passes)


@contextmanager
def quiet() -> Iterator[None]:
    """Around a call of ours."""
    _calls.are_ours = True
    try:
        yield
    finally:
        _calls.are_ours = False


def _passes(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not getattr(_calls, "are_ours", False)
