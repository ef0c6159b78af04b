"""What `Vault` may be given, checked before anything is connected."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from pgp_config import DeclarationError, SecretNotFound

_SEGMENT = re.compile(r"[^/\x00-\x1f\x7f]+")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*/?")


class Address(NamedTuple):
    """A server's.

    Attributes:
        url: Scheme, host and port.
        is_local: Whether it is on this machine.
    """

    url: str
    is_local: bool


class Place(NamedTuple):
    """Where a secret is.

    Attributes:
        path: Below the mount, as it is written.
        key: Which key of it is the value.
    """

    path: str
    key: str


def checked_address(address: str | None, *, plain_http: bool) -> Address:
    """The server's address, from the environment if none is given."""
    given = address if address is not None else _variable("ADDR")
    found = _address(given)
    if found is None:
        raise DeclarationError(
            "Vault was given no address" if given is None else "the address of Vault is none",
            remedy="Give scheme, host and port alone: Vault('https://vault.example:8200'), or VAULT_ADDR.",
        )
    if found.url.startswith("http:") and not (found.is_local or plain_http):
        raise DeclarationError(
            f"the address of Vault, {found.url}, is not on this machine and not encrypted",
            remedy="Use https; or plain_http=True (tls=off in a URL) where something else encrypts the way there.",
        )
    return found


def _address(given: str | None) -> Address | None:
    try:
        parts = urlsplit(given or "")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return None
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return None
    return Address(f"{parts.scheme}://{parts.netloc}", _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_namespace(namespace: str | None) -> str | None:
    """The namespace, from the environment if none is given."""
    found = namespace if namespace is not None else _variable("NAMESPACE")
    if not found:
        return None
    if isinstance(found, str) and _NAMESPACE.fullmatch(found):
        return found
    raise DeclarationError(
        f"the namespace of Vault is {found!r}", remedy="Give a path such as 'team/live'."
    )


def checked_ca(ca: str | os.PathLike[str] | None) -> str | None:
    """The file of the CA, from the environment if none is given."""
    found = os.fspath(ca) if ca is not None else _variable("CACERT")
    if not found:
        return None
    if Path(found).exists():
        return found
    raise DeclarationError(
        f"the file of Vault's CA, {found}, does not exist",
        remedy="Give the file: ca='/etc/ca.pem'.",
    )


def checked_mount(mount: str) -> str:
    """The mount's path, without slashes around it."""
    found = mount.strip("/") if isinstance(mount, str) else ""
    if is_path(found):
        return found
    raise DeclarationError(
        f"the mount of Vault's KV engine is {mount!r}",
        remedy="Give its path, such as 'secret' or 'kv/live'.",
    )


def checked_key(key: str) -> str:
    """The key that is the value, where a name has none."""
    if isinstance(key, str) and key:
        return key
    raise DeclarationError(
        f"the key of Vault's secrets is {key!r}",
        remedy="Give key='value', or '*' for all as JSON.",
    )


def checked_place(name: str, prefix: str, key: str) -> Place:
    """Where the secret of that name is.

    Raises:
        SecretNotFound: If there can be none of that name.
    """
    path, *keys = f"{prefix}{name}".split("#") if isinstance(name, str) else ("",)
    if is_path(path) and len(keys) <= 1 and all(keys):
        return Place(path, keys[0] if keys else key)
    raise SecretNotFound(
        f"a secret of Vault cannot be named {name!r}",
        remedy="Write 'PATH' or 'PATH#KEY': parts between single slashes, none of them '.' or '..'.",
        secret=name if isinstance(name, str) else None,
    )


def is_path(path: str) -> bool:
    """Whether it is one that HTTP leaves as it is."""
    segments = path.split("/")
    return all(_SEGMENT.fullmatch(part) and part not in (".", "..") for part in segments)


def quoted(path: str) -> str:
    """A path as a URL has it."""
    return quote(path, safe="/", errors="surrogatepass")


def _variable(name: str) -> str | None:
    """A variable of OpenBao's, or else of Vault's."""
    return os.environ.get(f"BAO_{name}") or os.environ.get(f"VAULT_{name}")
