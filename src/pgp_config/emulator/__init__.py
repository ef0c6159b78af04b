"""A local Secret Manager for development and tests: Google's own clients talk to it over gRPC and REST."""

from pgp_config.emulator.controls import Call, Calls, Hold
from pgp_config.emulator.publishing import Notice, PushUrl, Topic
from pgp_config.emulator.rules import StatusError
from pgp_config.emulator.server import SecretManagerEmulator
from pgp_config.emulator.signing import TokenSigner

__all__ = [
    "Call",
    "Calls",
    "Hold",
    "Notice",
    "PushUrl",
    "SecretManagerEmulator",
    "StatusError",
    "TokenSigner",
    "Topic",
]
