"""`aws://REGION?…`, through the entry-point group `pgp_config.sources`."""

from __future__ import annotations

from urllib.parse import urlsplit

from pgp_config import DeclarationError, source_options
from pgp_config_aws.source import AwsSecretsManager


def source_from_aws_url(url: str) -> AwsSecretsManager:
    """Make a source.

    Args:
        url: `aws://REGION`, or `aws:` for the region of AWS's configuration. Options: `prefix`, `stage`, `profile`,
            `endpoint`.

    Raises:
        DeclarationError: If the URL does not fit that.
    """
    options = source_options(url, allowed=("prefix", "stage", "profile", "endpoint"))
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.path not in ("", "/") or parts.fragment:
        raise DeclarationError(
            "the source URL with the scheme 'aws' names more than a region",
            remedy="Write aws://REGION?prefix=…, or aws: for the region of AWS's configuration.",
        )
    return AwsSecretsManager(
        parts.netloc or None,
        prefix=options.get("prefix", ""),
        stage=options.get("stage", "AWSCURRENT"),
        profile=options.get("profile"),
        endpoint=options.get("endpoint"),
    )
