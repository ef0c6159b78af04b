"""What programs do with secrets by hand, found in their sources, and what the audit log says of static ones."""

from pgp_config.audit.accesses import Excess, Reading, judge, shown_time, static_reads
from pgp_config.audit.exports import FILTER, Access, Export, Start, export_of, read_export
from pgp_config.audit.files import select_files
from pgp_config.audit.findings import Finding
from pgp_config.audit.names import Names
from pgp_config.audit.rules import RULES, SOURCE_RULES
from pgp_config.audit.sources import Audit, audit_sources

__all__ = [
    "FILTER",
    "RULES",
    "SOURCE_RULES",
    "Access",
    "Audit",
    "Excess",
    "Export",
    "Finding",
    "Names",
    "Reading",
    "Start",
    "audit_sources",
    "export_of",
    "judge",
    "read_export",
    "select_files",
    "shown_time",
    "static_reads",
]
