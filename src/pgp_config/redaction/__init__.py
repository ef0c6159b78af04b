"""Scrubs the values known to this process from text, and from what any library logs, warns of or raises.

The cache tells `redactor` of each version that is promoted. Nothing else happens until somebody writes:
`install_redaction()` puts the scrubbing where records, warnings and tracebacks come out.
"""

from typing import TYPE_CHECKING

from pgp_config.deferred import deferred
from pgp_config.redaction.known import Redactor, redact, redactor

if TYPE_CHECKING:
    from pgp_config.redaction.installed import Redaction, install_redaction
    from pgp_config.redaction.processors import scrub_event, structlog_processor
    from pgp_config.redaction.records import RedactionFilter
    from pgp_config.redaction.structures import scrub
else:
    __getattr__, __dir__ = deferred(
        globals(),
        {
            "Redaction": "pgp_config.redaction.installed",
            "RedactionFilter": "pgp_config.redaction.records",
            "install_redaction": "pgp_config.redaction.installed",
            "scrub": "pgp_config.redaction.structures",
            "scrub_event": "pgp_config.redaction.processors",
            "structlog_processor": "pgp_config.redaction.processors",
        },
    )

__all__ = [
    "Redaction",
    "RedactionFilter",
    "Redactor",
    "install_redaction",
    "redact",
    "redactor",
    "scrub",
    "scrub_event",
    "structlog_processor",
]
