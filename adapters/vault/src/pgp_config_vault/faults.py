"""What failed, as a status, and that as an error of pgp_config: one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgp_config import (
    PgpConfigError,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_FOUND = "not found"
FORBIDDEN = "forbidden by the policies"
REFUSED = "permission denied"
LOGIN_REFUSED = "sign-in refused"
CREDENTIALS = "no credentials"
INVALID = "invalid request"
REDIRECTED = "redirected"
UNTRUSTED = "untrusted certificate"
UNREACHABLE = "unreachable"
TIMEOUT = "no answer in time"
SERVER = "server error"
BUSY = "too many requests"
ODD = "odd answer"

#: After these the same request may succeed.
TRANSIENT = frozenset({UNREACHABLE, TIMEOUT, SERVER, BUSY, ODD})


class VaultFault(Exception):  # noqa: N818  it is the cause of an error, told by status
    """A request that failed.

    Attributes:
        status: One of this module's.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class _Meaning(NamedTuple):
    kind: type[PgpConfigError]
    happened: str
    remedy: str


_LOOK = "Look at the server's state (`bao status`) and at the network on the way there."

_POLICY = (
    'Let a policy of this identity have: path "{mount}/data/{path}" {{ capabilities = ["read"] }}'
)

_MEANINGS = {
    NOT_FOUND: _Meaning(
        SecretNotFound,
        "does not exist in {where}, or has no version {version}",
        "Write it: `bao kv put -mount={mount} {path} …`; or correct the name, the prefix, the mount (a KV "
        "engine of version 2) or the namespace.",
    ),
    FORBIDDEN: _Meaning(SecretForbidden, "this identity may not read it in {where}", _POLICY),
    REFUSED: _Meaning(
        SecretForbidden,
        "the token is expired or revoked, or may not read it in {where}",
        "Give a token that is alive, or let the process sign in (AppRole, Kubernetes). " + _POLICY,
    ),
    LOGIN_REFUSED: _Meaning(
        SecretForbidden,
        "Vault refuses to let this process sign in ({where})",
        "Correct the role, its credentials or the auth method's mount; a secret id may be used up or expired.",
    ),
    CREDENTIALS: _Meaning(
        SecretForbidden,
        "there is nothing to sign in with ({where})",
        "Give auth=Token(…), AppRole(…) or Kubernetes(…), or set VAULT_TOKEN; see the cause.",
    ),
    INVALID: _Meaning(
        SecretUnavailable,
        "Vault calls the request invalid ({where}, version {version})",
        "Correct the mount (a KV engine of version 2), the namespace or the secret's name.",
    ),
    REDIRECTED: _Meaning(
        SecretUnavailable,
        "the server sends to another one, where no token is sent ({where})",
        "Give the address of the active node, or of the load balancer before the cluster.",
    ),
    UNTRUSTED: _Meaning(
        SecretUnavailable,
        "the server's certificate is not trusted ({where})",
        "Give the file of its CA: ca='/path/ca.pem', or VAULT_CACERT; see the cause.",
    ),
    TIMEOUT: _Meaning(SourceTimeout, "Vault did not answer within {total:g} s ({where})", _LOOK),
    BUSY: _Meaning(
        SecretUnavailable,
        "a rate limit quota of Vault is exhausted ({where})",
        "Raise max_age, or the quota.",
    ),
}

_OTHER = _Meaning(SecretUnavailable, "Vault could not answer for {where} ({status})", _LOOK)


def may_pass(fault: BaseException) -> bool:
    """Whether the same request may succeed after this fault."""
    return isinstance(fault, VaultFault) and fault.status in TRANSIENT


def explained(fault: Exception, facts: Mapping[str, object]) -> PgpConfigError:
    """An error of pgp_config for a fault, with that as its cause.

    Args:
        fault: Whatever was raised.
        facts: `where`, `mount`, `path`, `version` and `total`.
    """
    if isinstance(fault, PgpConfigError):
        return fault.located()
    if isinstance(fault, TimeoutError):
        fault = VaultFault(TIMEOUT, str(fault) or "the attempt had no outcome")
    if not isinstance(fault, VaultFault):
        # Its text and its frames may hold a value.
        fault = VaultFault(type(fault).__name__, "nobody expected it")
    kind, happened, remedy = _MEANINGS.get(fault.status, _OTHER)
    words = {**facts, "status": fault.status}
    error = kind(happened.format_map(words), remedy=remedy.format_map(words))
    fault.__cause__ = fault.__context__ = None
    error.__cause__ = fault.with_traceback(None)
    return error
