"""What roles of Google's IAM allow with secrets, and who their members are.

By https://docs.cloud.google.com/secret-manager/docs/access-control and the reference of roles (2026-11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pgp_config.sources.administration import Grant

if TYPE_CHECKING:
    from collections.abc import Iterable

_READS = frozenset({"roles/secretmanager.secretAccessor"})

#: They read every value, and change or delete secrets, or give them away. An editor reads no value.
_MANAGES = frozenset({"roles/owner", "roles/secretmanager.admin"})

_PUBLIC = frozenset({"allUsers", "allAuthenticatedUsers"})

#: A whole organization's domain, and all who have a basic role.
_MANY = ("domain:", "projectOwner:", "projectEditor:", "projectViewer:")


def width_of(role: str) -> Literal["none", "reads", "manages", "unknown"]:
    """What a role allows with the values of secrets; of a custom one nobody knows it here."""
    if role in _READS:
        return "reads"
    if role in _MANAGES:
        return "manages"
    return "none" if role.startswith("roles/") else "unknown"


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
        Grant(role, member, width_of(role), reach_of(member), conditional)
        for role, members, conditional in bindings
        for member in members
    )
