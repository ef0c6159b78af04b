"""How a process signs in: with a token that it is given, as an AppRole, as a Kubernetes service account.

Files are read anew whenever it signs in: whoever writes them rotates what is in them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from pgp_config import DeclarationError
from pgp_config_vault.faults import CREDENTIALS, VaultFault

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where Kubernetes puts a service account's token.
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """What is sent to sign in; its answer has the token.

    Attributes:
        path: Of the auth method's login, such as `"auth/approle/login"`.
        body: Its fields; never shown.
    """

    path: str
    body: Mapping[str, str]


class Auth(Protocol):
    """A way to sign in; one of your own may be AWS IAM, GCP or LDAP."""

    def login(self) -> Login:
        """What is sent to sign in, made anew each time; called in any thread."""
        ...


class _Unpicklable:
    """Credentials are not pickled or copied."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials of Vault are not pickled or copied.")


@dataclass(frozen=True, eq=False)
class Token(_Unpicklable):
    """A token that was made elsewhere; it is renewed where it can be, until its longest life ends.

    Args:
        token: The token itself; by default `VAULT_TOKEN`, else what `file` holds.
        file: Read whenever a token is needed, such as the sink of a Vault Agent; by default `~/.vault-token`.
    """

    token: str | None = field(default=None, repr=False)
    file: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.token is not None and self.file is not None:
            raise DeclarationError(
                "Token was given a token and a file", remedy="Give one of them, or neither."
            )

    def current(self) -> str:
        """The token, now."""
        if self.file is None:
            found = self.token or os.environ.get("BAO_TOKEN") or os.environ.get("VAULT_TOKEN")
            if found:
                return found
        return _content(self.file or Path.home() / ".vault-token", "a token")


@dataclass(frozen=True, eq=False)
class AppRole(_Unpicklable):
    """An AppRole: a role's id, and a secret id unless the role needs none.

    Args:
        role_id: The role's id.
        secret_id: The secret id itself.
        secret_id_file: Or a file that holds it.
        mount: Where the auth method is mounted.
    """

    role_id: str
    secret_id: str | None = field(default=None, repr=False)
    secret_id_file: str | os.PathLike[str] | None = None
    mount: str = "approle"

    def __post_init__(self) -> None:
        if self.secret_id is not None and self.secret_id_file is not None:
            raise DeclarationError(
                "AppRole was given a secret_id and a secret_id_file", remedy="Give one of them."
            )

    def login(self) -> Login:
        """As `Auth.login`."""
        secret_id = self.secret_id
        if self.secret_id_file is not None:
            secret_id = _content(self.secret_id_file, "a secret id")
        body = {"role_id": self.role_id}
        return Login(
            f"auth/{self.mount}/login",
            body if secret_id is None else {**body, "secret_id": secret_id},
        )


@dataclass(frozen=True, eq=False)
class Kubernetes(_Unpicklable):
    """A Kubernetes service account; also what else signs in with a role and a JWT in a file.

    Args:
        role: The role of the auth method.
        jwt_file: Holds the service account's token, which Kubernetes rotates.
        mount: Where the auth method is mounted; `"jwt"` for that method.
    """

    role: str
    jwt_file: str | os.PathLike[str] = SERVICE_ACCOUNT
    mount: str = "kubernetes"

    def login(self) -> Login:
        """As `Auth.login`."""
        jwt = _content(self.jwt_file, "a service account's token")
        return Login(f"auth/{self.mount}/login", {"role": self.role, "jwt": jwt})


def _content(file: str | os.PathLike[str], what: str) -> str:
    try:
        content = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as fault:  # that of bytes that are no text holds them
        reason = type(fault).__name__
    else:
        if content:
            return content
        reason = "it is empty"
    raise VaultFault(CREDENTIALS, f"the file {os.fspath(file)} gives no {what[2:]} ({reason})")
