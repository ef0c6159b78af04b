"""Who may read the secrets: policies that allow more than a service needs, and what this identity may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgp_config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pgp_config.sources.administration import Grant, Rights

_LEAST = (
    "Take it away, and grant each service roles/secretmanager.secretAccessor on this secret alone: gcloud secrets "
    "remove-iam-policy-binding …, add-iam-policy-binding …."
)


def of_secret(name: str, grants: Iterable[Grant]) -> Iterator[Finding]:
    """What is too wide in the policy of a secret."""
    for grant in grants:
        has = f"{grant.member} has {grant.role}{_condition(grant)}"
        if grant.reach == "public" and grant.width != "none":
            yield Finding("public", "error", name, f"{has}: anybody may read it", _LEAST)
        elif grant.width == "manages":
            what = f"{has}: it reads, changes, deletes and gives away"
            yield Finding("wide-role", "warning", name, what, _LEAST)
        elif grant.reach == "many" and grant.width == "reads":
            what = f"{has}: many may read it"
            yield Finding("wide-member", "warning", name, what, _LEAST)
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
        if grant.reach == "public":
            yield Finding("public", "error", None, f"{has}: anybody may read every secret", _FEWER)
        elif grant.role != "roles/owner" or grant.member.startswith("serviceAccount:"):
            yield Finding("project-wide", "warning", None, f"{has}: it reads every secret", _FEWER)
        else:
            yield Finding("project-owner", "note", None, f"{has}: it reads every secret", _OWNERS)


_FEWER = (
    "Grant it on the secrets that it needs, one by one, and take it away from the project: gcloud projects "
    "remove-iam-policy-binding …."
)
_OWNERS = "Keep owners few."


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
