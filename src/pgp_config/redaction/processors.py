"""Scrubbing as other libraries ask for it: a processor of structlog, a hook of Sentry's SDK."""

from __future__ import annotations

from typing import Any, TypeVar

from pgp_config.redaction.structures import scrub

T = TypeVar("T")


def structlog_processor(_logger: object, _method: str, event: T, /) -> T:
    """Scrub the event of structlog, whatever it is by then: a dictionary, or the text of a renderer.

    Place it before the renderer, and after `format_exc_info` and what else adds to the event.
    """
    return scrub(event)  # type: ignore[no-any-return]  # of the same type


def scrub_event(event: Any, _hint: object = None, /) -> Any:  # noqa: ANN401  Sentry's types are its own
    """Scrub what Sentry is about to send: an event with its locals, a transaction, a breadcrumb, a log.

    Give it as `before_send`, `before_send_transaction`, `before_breadcrumb` and `before_send_log`.
    """
    return scrub(event)
