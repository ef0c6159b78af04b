"""Who may read the secrets: policies that allow more than a service needs, and what this identity may do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgp_config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pgp_config.checks.findings import Severity
    from pgp_config.sources.administration import Grant, Rights

_LEAST = (
    "Take it away, and grant each service roles/secretmanager.secretAccessor on this secret alone: gcloud secrets "
    "remove-iam-policy-binding …, add-iam-policy-binding …."
)


_FEWER = (
    "Grant it on the secrets that it needs, one by one, and take it away from the project: gcloud projects "
    "remove-iam-policy-binding …."
)
_OWNERS = "Keep owners few."
_AGENT = "Leave it while Google deploys something in this project, which it does as this account."
_LISTING = (
    "Fine for a job that looks after them, as pgp-config check does. A service never lists: take it away, there are 600 "
    "such calls a minute for the whole project."
)

#: What a role lets somebody do, by its width; of a custom one the worst is taken.
_MAY = {
    "lists": "see which versions there are of {}",
    "reads": "read {}",
    "changes": "change {}, or who reads it",
    "manages": "read and change {}",
    "unknown": "read {}",
}

#: Google deploys as this account in each project, and makes it an editor.
_OF_GOOGLE = re.compile(r"serviceAccount:\d+@cloudservices\.gserviceaccount\.com")


def of_secret(name: str, grants: Iterable[Grant]) -> Iterator[Finding]:
    """What is too wide in the policy of a secret."""
    for grant in grants:
        has = f"{grant.member} has {grant.role}{_condition(grant)}"
        may = _MAY.get(grant.width, "").format("it")
        if not may:
            continue
        if grant.reach == "public":
            yield _public(grant, name, f"{has}: anybody may {may}", _LEAST)
        elif grant.width == "manages":
            what = f"{has}: it reads, changes, deletes and gives away"
            yield Finding("wide-role", "warning", name, what, _LEAST)
        elif grant.reach == "many" and grant.width in ("reads", "changes"):
            yield Finding("wide-member", "warning", name, f"{has}: many may {may}", _LEAST)
        elif grant.width == "changes" and grant.program:
            yield Finding("wide-role", "warning", name, f"{has}: it may {may}", _LEAST)
        elif grant.width == "lists" and grant.program:
            yield Finding("lists", "note", name, f"{has}: it may {may}", _LISTING)
        elif grant.width == "unknown":
            yield Finding(
                "custom-role",
                "note",
                name,
                f"{has}, and what a custom role allows is not known here",
                "See that it has secretmanager.versions.access and nothing else of Secret Manager: gcloud iam roles "
                "describe ….",
            )


def of_project(grants: Iterable[Grant]) -> Iterator[Finding]:
    """What the policy of the project allows with every secret in it."""
    for grant in grants:
        if grant.width in ("none", "unknown"):
            continue
        has = f"{grant.member} has {grant.role}{_condition(grant)} on the whole project"
        may = _MAY[grant.width].format("every secret")
        if grant.reach == "public":
            yield _public(grant, None, f"{has}: anybody may {may}", _FEWER)
        elif grant.width == "lists":
            if grant.program:
                yield Finding("lists", "note", None, f"{has}: it may {may}", _LISTING)
        elif grant.role == "roles/owner" and not grant.program:
            yield Finding("project-owner", "note", None, f"{has}: it may {may}", _OWNERS)
        elif grant.width == "changes" and _OF_GOOGLE.fullmatch(grant.member):
            what = f"{has}: it may {may}, and Google deploys as it"
            yield Finding("google-agent", "note", None, what, _AGENT)
        else:
            yield Finding("project-wide", "warning", None, f"{has}: it may {may}", _FEWER)


def _public(grant: Grant, secret: str | None, what: str, remedy: str) -> Finding:
    """What everybody has: to see which versions there are gives nothing away but that."""
    severity: Severity = "warning" if grant.width == "lists" else "error"
    return Finding("public", severity, secret, what, remedy)


def of_identity(rights: Mapping[str, Rights]) -> Iterator[Finding]:
    """What this identity may do beyond reading, once for all secrets.

    Args:
        rights: By secret.
    """
    wider = sorted({permission for each in rights.values() for permission in each.wider})
    if wider:
        count = sum(bool(each.wider) for each in rights.values())
        yield Finding(
            "identity-wide",
            "note",
            None,
            f"this identity may do more than read {_secrets(count)}: {', '.join(wider)}",
            "Fine for whoever looks after them. A service needs secretmanager.versions.access alone.",
        )


def _condition(grant: Grant) -> str:
    return ", under a condition," if grant.conditional else ""


def _secrets(count: int) -> str:
    return "1 secret" if count == 1 else f"{count} secrets"
