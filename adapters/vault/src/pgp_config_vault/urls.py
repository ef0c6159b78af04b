"""`vault://HOST:PORT/MOUNT?…`, through the entry-point group `pgp_config.sources`."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pgp_config import DeclarationError, source_options
from pgp_config_vault.auth import SERVICE_ACCOUNT, AppRole, Kubernetes, Token
from pgp_config_vault.source import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgp_config_vault.auth import Auth

_OF_SOURCE = ("prefix", "key", "namespace", "ca", "tls", "auth")
_OF_AUTH = {
    "token": ("token_file",),
    "approle": ("role_id", "secret_id_file", "auth_mount"),
    "kubernetes": ("role", "jwt_file", "auth_mount"),
}


def source_from_vault_url(url: str) -> Vault:
    """Make a source.

    Args:
        url: `vault://HOST[:PORT][/MOUNT]`, or `vault:///MOUNT` with `VAULT_ADDR`; the mount is `secret` where none is
            named. Options: `prefix`, `key`, `namespace`, `ca`, `tls=off`, and `auth`: `token` (with `token_file`),
            `approle` (`role_id`, and `secret_id_file` or the variable `VAULT_SECRET_ID`; `auth_mount`) or
            `kubernetes` (`role`, `jwt_file`, `auth_mount`). It has no place for a token or a secret id.

    Raises:
        DeclarationError: If the URL does not fit that.
    """
    options = source_options(
        url, allowed=dict.fromkeys(itertools.chain(_OF_SOURCE, *_OF_AUTH.values()))
    )
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.fragment:
        raise _misfit("has credentials or a fragment", "Write vault://HOST:PORT/MOUNT?prefix=…")
    tls = options.get("tls", "on")
    if tls not in ("on", "off"):
        raise _misfit("has an unknown tls", "Write tls=off, or leave it out.")
    scheme = "http" if tls == "off" else "https"
    return Vault(
        f"{scheme}://{parts.netloc}" if parts.netloc else None,
        mount=unquote(parts.path.strip("/")) or "secret",
        prefix=options.get("prefix", ""),
        key=options.get("key", "value"),
        auth=_auth(options),
        namespace=options.get("namespace"),
        ca=options.get("ca"),
        plain_http=tls == "off",
    )


def _auth(options: Mapping[str, str]) -> Auth | Token:
    method = options.get("auth", "token")
    if method not in _OF_AUTH:
        raise _misfit("has an unknown auth", f"It knows {', '.join(_OF_AUTH)}.")
    given = {
        name: options[name] for names in _OF_AUTH.values() for name in names if name in options
    }
    strange = [name for name in given if name not in _OF_AUTH[method]]
    if strange:
        raise _misfit(
            f"has options of another auth than {method}: {', '.join(strange)}",
            f"{method} knows {', '.join(_OF_AUTH[method])}.",
        )
    return _MAKERS[method](given)


def _token(given: Mapping[str, str]) -> Token:
    return Token(file=given.get("token_file"))


def _approle(given: Mapping[str, str]) -> AppRole:
    file = given.get("secret_id_file")
    secret_id = None if file else os.environ.get("VAULT_SECRET_ID")
    return AppRole(
        _needed(given, "role_id"), secret_id, file, mount=given.get("auth_mount", "approle")
    )


def _kubernetes(given: Mapping[str, str]) -> Kubernetes:
    return Kubernetes(
        _needed(given, "role"),
        given.get("jwt_file", SERVICE_ACCOUNT),
        given.get("auth_mount", "kubernetes"),
    )


_MAKERS: Mapping[str, Callable[[Mapping[str, str]], Auth | Token]] = {
    "token": _token,
    "approle": _approle,
    "kubernetes": _kubernetes,
}


def _needed(given: Mapping[str, str], name: str) -> str:
    if name in given:
        return given[name]
    raise _misfit(f"has no {name}", f"Give it: …&{name}=…")


def _misfit(happened: str, remedy: str) -> DeclarationError:
    return DeclarationError(f"the source URL with the scheme 'vault' {happened}", remedy=remedy)
