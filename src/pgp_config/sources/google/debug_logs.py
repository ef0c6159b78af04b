"""Keeps requests and answers, and the secrets in them, out of what Google's libraries log at level DEBUG."""

from __future__ import annotations

import logging


def withhold_answers(*loggers: str) -> None:
    """Have these loggers tell of a call without showing it; a second call changes nothing."""
    for name in loggers:
        logging.getLogger(name).addFilter(_withhold)


def _withhold(record: logging.LogRecord) -> bool:
    for field in ("request", "httpRequest", "response", "httpResponse"):
        if hasattr(record, field):
            setattr(record, field, "withheld by pgp_config")
    return True
