"""IAM policies as gcloud writes them: who has a role, without conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgp_services.ops.gcloud import Json


def holders(policy: Json, role: str) -> set[str]:
    """Who has a role without a condition.

    Args:
        policy: A policy as `get-iam-policy --format=json` writes it, or nothing.
        role: Such as `roles/run.invoker`.
    """
    bindings = policy.get("bindings", []) if isinstance(policy, dict) else []
    return {
        who
        for binding in bindings
        if binding.get("role") == role and not binding.get("condition")
        for who in binding.get("members", [])
    }


def roles_of(policy: Json, who: str) -> set[str]:
    """The roles that somebody has, with or without a condition."""
    bindings = policy.get("bindings", []) if isinstance(policy, dict) else []
    return {binding["role"] for binding in bindings if who in binding.get("members", [])}


def with_audit_logs(policy: Json, service: str, log_type: str) -> dict[str, Any] | None:
    """A project's policy with a kind of audit log switched on for everybody.

    Returns:
        The whole policy, with its etag; None if the log is on already.
    """
    policy = dict(policy) if isinstance(policy, dict) else {}
    configs = [dict(config) for config in policy.get("auditConfigs", [])]
    if any(_is_on(config, service, log_type) for config in configs):
        return None
    mine = next((config for config in configs if config["service"] == service), None)
    if mine is None:
        mine = {"service": service, "auditLogConfigs": []}
        configs.append(mine)
    others = [one for one in mine["auditLogConfigs"] if one["logType"] != log_type]
    # Anew, and not amended: members that were exempted are not.
    mine["auditLogConfigs"] = [*others, {"logType": log_type}]
    return {**policy, "auditConfigs": configs}


def _is_on(config: dict[str, Any], service: str, log_type: str) -> bool:
    return config["service"] in (service, "allServices") and any(
        one["logType"] == log_type and not one.get("exemptedMembers")
        for one in config["auditLogConfigs"]
    )
