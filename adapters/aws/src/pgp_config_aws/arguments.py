"""What `AwsSecretsManager` may be given, checked before anything is connected."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from pgp_config import DeclarationError, SecretNotFound

_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+")
_STAGE = re.compile(r"[^\x00-\x1f]{1,256}")
_PREFIX = re.compile(r"[A-Za-z0-9/_+=.@!-]{0,511}")
_NAME = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}|arn:[A-Za-z0-9/_+=.@!:-]{1,2044}")


class Place(NamedTuple):
    """Where a secret is.

    Attributes:
        secret_id: Its name or its ARN.
        key: Which key of its JSON object is the value; None for all of it.
    """

    secret_id: str
    key: str | None


def checked_region(region: str | None) -> str | None:
    """The region, if it is one or None."""
    if region is None or (isinstance(region, str) and _REGION.fullmatch(region)):
        return region
    raise DeclarationError(
        f"the AWS region is {region!r}",
        remedy="Give one such as 'eu-west-1', or None for that of AWS_REGION or the profile.",
    )


def checked_endpoint(endpoint: str | None) -> str | None:
    """The endpoint, if it is encrypted, on this machine, or None."""
    if endpoint is None or _is_safe(endpoint):
        return endpoint
    raise DeclarationError(
        "the endpoint of Secrets Manager is no https URL, nor an http one of this machine",
        remedy="Give 'https://HOST' (a VPC endpoint), or 'http://127.0.0.1:PORT' (a local server).",
    )


def _is_safe(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_stage(stage: str) -> str:
    """The label, if there can be one."""
    if isinstance(stage, str) and _STAGE.fullmatch(stage):
        return stage
    raise DeclarationError(
        f"the staging label is {stage!r}",
        remedy="Give one such as 'AWSCURRENT', 256 characters at most.",
    )


def checked_prefix(prefix: str) -> str:
    """The prefix, if a name can begin with it."""
    if isinstance(prefix, str) and _PREFIX.fullmatch(prefix):
        return prefix
    raise DeclarationError(
        f"no secret's name in AWS can begin with {prefix!r}",
        remedy="Use letters, digits and any of /_+=.@!-, such as 'split2/'.",
    )


def checked_place(name: str, prefix: str) -> Place:
    """Where the secret of that name is.

    Raises:
        SecretNotFound: If there can be none of that name.
    """
    if isinstance(name, str):
        secret_id, *keys = name.split("#")
        full = secret_id if secret_id.startswith("arn:") else prefix + secret_id
        if secret_id and _NAME.fullmatch(full) and len(keys) <= 1 and all(keys):
            return Place(full, keys[0] if keys else None)
    raise SecretNotFound(
        f"a secret of AWS cannot be named {name!r}",
        remedy="Use letters, digits and any of /_+=.@!-, or an ARN; and '#KEY' after it for one key of its JSON.",
        secret=name if isinstance(name, str) else None,
    )
