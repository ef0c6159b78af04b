"""HashiCorp Vault and OpenBao as a source of pgp_config's secrets.

source ──▶ connection ──▶ sending: one request
  │            └──▶ auth: how this process signs in; leases: how long that holds
  └──▶ values: the bytes of one key; faults: what failed, as an error of pgp_config
"""

from pgp_config_vault.auth import AppRole, Auth, Kubernetes, Login, Token
from pgp_config_vault.source import Vault

__all__ = ["AppRole", "Auth", "Kubernetes", "Login", "Token", "Vault"]
