"""Findings as SARIF 2.1.0, which code hosts show beside the lines (docs.oasis-open.org/sarif/sarif/v2.1.0)."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pgp_config.audit.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgp_config.audit.findings import Finding

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif(findings: Iterable[Finding]) -> dict[str, Any]:
    """One document of findings, those that a comment lets pass included.

    It has no snippet of a line and no fingerprint made of one: both would carry a found value out of the source.

    Args:
        findings: Those that have a line are in a file, by a path with slashes; others stand for the whole.
    """
    driver = {
        "name": "pgp-config audit",
        "version": version("pgp-config"),
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": text},
                "defaultConfiguration": {"level": "error"},
            }
            for rule, text in RULES.items()
        ],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each) for each in findings],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": list(RULES).index(finding.rule),
        "level": "error",
        "message": {"text": f"{finding.text}. {finding.remedy}"},
    }
    if finding.line:
        place = {
            "artifactLocation": {"uri": quote(finding.where)},
            "region": {"startLine": finding.line},
        }
        result["locations"] = [{"physicalLocation": place}]
    else:
        result["locations"] = [{"logicalLocations": [{"fullyQualifiedName": finding.where}]}]
    if finding.reason is not None:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.reason}]
    return result
