"""AWS Secrets Manager as a source of pgp_config's secrets.

source ──▶ connection: which version a number is ──▶ client: one call
  │              └──▶ history: the numbers of versions, which AWS does not number
  └──▶ values: the bytes; faults: what failed, as an error of pgp_config
"""

from pgp_config_aws.source import AwsSecretsManager

__all__ = ["AwsSecretsManager"]
