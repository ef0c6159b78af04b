"""What a person asks of a running process: which versions it has, how old they are, what went wrong."""

from pgp_config.status.access import Auth, Challenge, SecretAuth, StatusRequest
from pgp_config.status.page import StatusPage
from pgp_config.status.snapshot import Status

__all__ = ["Auth", "Challenge", "SecretAuth", "Status", "StatusPage", "StatusRequest"]
