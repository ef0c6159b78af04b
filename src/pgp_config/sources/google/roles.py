"""What roles of Google's IAM allow with secrets, and who their members are.

By https://docs.cloud.google.com/secret-manager/docs/access-control and the references of roles and of permissions (2026-11).
Roles that only services which Google runs are given ("service agents") are not among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pgp_config.sources.administration import Grant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgp_config.sources.administration import Width

_READS = frozenset({"roles/secretmanager.secretAccessor"})

#: They read every value, and change or delete secrets, or give them away.
_MANAGES = frozenset({"roles/owner", "roles/secretmanager.admin"})

#: They read no value, and add versions, or decide who has a role: also whoever has one of these.
_CHANGES = frozenset(
    {
        "roles/editor",
        "roles/writer",
        "roles/secretmanager.editor",
        "roles/secretmanager.secretVersionAdder",
        "roles/secretmanager.secretVersionManager",
        "roles/admin",
        "roles/iam.securityAdmin",
        "roles/resourcemanager.organizationAdmin",
        "roles/resourcemanager.projectIamAdmin",
    }
)

#: They see which secrets and versions there are, and when they were made.
_LISTS = frozenset(
    {
        "roles/viewer",
        "roles/reader",
        "roles/secretmanager.viewer",
        "roles/iam.securityReviewer",
    }
)

_WIDTHS: tuple[tuple[frozenset[str], Width], ...] = (
    (_READS, "reads"),
    (_MANAGES, "manages"),
    (_CHANGES, "changes"),
    (_LISTS, "lists"),
)

_PUBLIC = frozenset({"allUsers", "allAuthenticatedUsers"})

#: A whole organization's domain, and all who have a basic role.
_MANY = ("domain:", "projectOwner:", "projectEditor:", "projectViewer:")


def width_of(role: str) -> Width:
    """What a role allows with secrets; of a custom one nobody knows it here."""
    others: Width = "none" if role.startswith("roles/") else "unknown"
    return next((width for roles, width in _WIDTHS if role in roles), others)


def is_program(member: str) -> bool:
    """Whether a member of a policy is a program, and neither a person nor a group."""
    # A "principal://" is of a pool: a workload of another cloud, or a person of a workforce.
    return member.startswith("serviceAccount:") or "/workloadIdentityPools/" in member


def reach_of(member: str) -> Literal["one", "many", "public"]:
    """How many a member of a policy stands for."""
    if member in _PUBLIC:
        return "public"
    # A set of all identities of a pool; "principalSet://" with a group or an attribute names a part of it.
    everyone = member.startswith("principalSet:") and member.endswith("/*")
    return "many" if everyone or member.startswith(_MANY) else "one"


def grants_of(bindings: Iterable[tuple[str, Iterable[str], bool]]) -> list[Grant]:
    """The grants of a policy.

    Args:
        bindings: Each a role, its members, and whether it has a condition.
    """
    return sorted(
        Grant(role, member, width_of(role), reach_of(member), conditional, is_program(member))
        for role, members, conditional in bindings
        for member in members
    )
